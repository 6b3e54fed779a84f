/** `org rekey`: an organisation's op key, which lies among the secrets of its nodes, is replaced by a new one. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Genesis, ledgerIdOf, parseGenesis } from '@healthblock/chain/genesis'
import { rankedNodes } from '@healthblock/chain/policy'
import { userTables } from '@healthblock/chain/tables'
import { signTransaction, transactionId } from '@healthblock/chain/transaction'
import type { SigningKey } from '@healthblock/crypto/signature'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { accountOfNode } from '../cluster/addresses.ts'
import { changeCluster, clusterFolder, clusterPaths } from '../cluster/layout.ts'
import { readKeyFile, writeKeyFile, writeSecretFile } from '../governance/card.ts'
import { organisationOf, readGoverningState, StateRecords } from '../governance/state.ts'
import { CommandError } from '../io.ts'
import { type LedgerSubject, ledgerSubject, type SubjectValues } from '../ledger-subject.ts'

/** How long the transaction may wait. */
const consentMs = 3_600_000
const keyRoleRoot = 0
const keyRoleOp = 1

/** What was replaced. */
export interface Rekeyed {
  readonly account: string
  /** Of the transaction; absent if an earlier call had it put on record, and this one finished what that began. */
  readonly transactionId?: string
  readonly index?: number
  /** Nodes of this cluster that have the new key among their secrets now, and take it when they are started again. */
  readonly nodes: readonly string[]
}

/**
 * Posts a signed transaction and waits until it is on record.
 *
 * @throws {CommandError} naming the rule that refuses it; after 30 s.
 */
export async function postSigned(
  { client }: LedgerSubject,
  { id, leaf }: { readonly id: Uint8Array; readonly leaf: Uint8Array },
): Promise<{ readonly index: number; readonly height: number }> {
  const { url, refused } = await client.submit('userchain', [{ id, leaf }])
  const refusal = refused.get(toHex(id))
  const [answer] = refusal === undefined ? await client.answers('userchain', [id], { url, waitMs: 30_000 }) : []
  const failed = refusal ?? (answer?.status === 'refused' ? answer : undefined)
  if (failed !== undefined) {
    throw new CommandError(`refused by the rule ${failed.rule}`, {
      refused: { rule: failed.rule, height: failed.height },
    })
  }
  if (answer?.status !== 'committed') throw new CommandError('not committed within 30 s; see ./healthblock status')
  return { index: answer.index, height: answer.height }
}

/** Puts the new key among the secrets of the organisation's nodes in this cluster; from then on they go by their accounts, for genesis lists the old key. */
async function renewSecrets(
  dir: string,
  genesis: Genesis,
  { next, organisation, accounts }: { next: SigningKey; organisation: string; accounts: ReadonlySet<string> },
): Promise<string[]> {
  const renewed: string[] = []
  await changeCluster(dir, (latest) => {
    const nodes = latest.nodes.map((node) => {
      const account = node.role === 'accounting' ? accountOfNode(latest, node.name, genesis) : undefined
      if (account === undefined || !accounts.has(account)) return node
      const path = join(clusterPaths.node(dir, node.name), 'secrets', 'organisation-op.key')
      const isThere = existsSync(path) && equalBytes(readKeyFile(path).publicKey, next.publicKey)
      if (isThere && node.account !== undefined) return node
      writeSecretFile(path, toHex(next.exportSeed()))
      renewed.push(node.name)
      return { ...node, account, organisation }
    })
    return { ...latest, nodes }
  })
  return renewed
}

/**
 * Replaces the op key of the organisation that a root key is of. The new key is in its file before anything is posted; a file that is there
 * already is taken as it is, so that the command can be given again after it was interrupted: it goes on where that stopped.
 *
 * @param files - root: the root key; next: where the new op key is, or is made.
 * @throws {CommandError} for a root key of nobody who governs, a refusal, or if nothing is left to be done.
 */
export async function rekey(
  values: SubjectValues,
  files: { readonly root: string; readonly next: string },
): Promise<Rekeyed> {
  const root = readKeyFile(files.root)
  const subject = ledgerSubject(values)
  const genesis = parseGenesis(subject.genesis)
  const state = await readGoverningState(subject.client, genesis)
  const { account } = organisationOf(state.organisations, root.publicKey)
  const records = new StateRecords(subject.client)
  const old = await records.key(account, keyRoleOp)
  const ledgerId = ledgerIdOf(subject.genesis)
  const next = existsSync(files.next) ? readKeyFile(files.next) : writeKeyFile(files.next)
  const organisation = toHex(account)
  const ours = rankedNodes(state.policy).filter(({ org }) => equalBytes(org, account))
  const renewing = { next, organisation, accounts: new Set(ours.map((node) => toHex(node.account))) }
  const renew = async (): Promise<string[]> =>
    values.url === undefined ? renewSecrets(clusterFolder(values.dir), genesis, renewing) : []
  if (old === undefined || equalBytes(old, next.publicKey)) {
    const nodes = await renew()
    if (nodes.length > 0) return { account: organisation, nodes }
    throw new CommandError(
      `${files.next} holds the op key that is in force: name a file for a new one; a node that lacks it has it among its secrets as organisation-op.key`,
    )
  }
  const counter = (await records.get<number>(userTables.counter.key(account))) ?? 0
  const n = Math.max(counter + 1, Date.now())
  const signed = signTransaction({
    ...{ ledgerId, chain: 'userchain' as const },
    body: { v: 1, t: 'update', a: account, n, x: Date.now() + consentMs, op: next.publicKey, why: 1 },
    signers: [{ account, key: keyRoleRoot, signingKey: root }],
  })
  const id = transactionId({ ledgerId, chain: 'userchain', bodyBytes: signed.bodyBytes })
  const { index } = await postSigned(subject, { id, leaf: signed.leaf })
  return { account: organisation, transactionId: toHex(id), index, nodes: await renew() }
}
