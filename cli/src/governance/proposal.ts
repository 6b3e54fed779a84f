/**
 * A proposal on its way from one organisation to the next: the body of a `govern`, whom it needs, and the signatures so far. It is a file
 * that travels by any means; nothing in it but the body is signed, so whoever signs reads what the body says.
 */
import { rulesVersionNewest } from '@healthblock/chain/genesis'
import { governActs, type PolicyArgument, parseGovernArgument } from '@healthblock/chain/governing'
import { rankedNodes } from '@healthblock/chain/policy'
import type { PolicyRecord } from '@healthblock/chain/tables'
import { encodeBody, type GovernBody, parseBody } from '@healthblock/chain/transaction'
import { equalBytes, fromBase64, fromHex, toBase64, toHex } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { writeFileDurably } from '@healthblock/runtime/files'
import { readFileText } from '../input-file.ts'
import { CommandError } from '../io.ts'
import type { GoverningOrganisation, GoverningState } from './state.ts'

/** A proposal taken apart. */
export interface Proposal {
  readonly ledgerId: Uint8Array
  readonly body: GovernBody
  readonly bodyBytes: Uint8Array
  /** Those who govern, as the proposer found them: for telling whose key signs. */
  readonly organisations: readonly GoverningOrganisation[]
  /** Record of the policy that was in force, for showing the differences. */
  readonly before: Uint8Array | undefined
  readonly signatures: readonly { readonly account: Uint8Array; readonly signature: Uint8Array }[]
}

interface ProposalFile {
  readonly v: 1
  readonly kind: 'govern'
  readonly ledgerId: string
  readonly body: string
  readonly organisations: readonly { readonly account: string; readonly root: string }[]
  readonly before?: string
  readonly signatures: readonly { readonly account: string; readonly signature: string }[]
}

/** Writes a proposal's file. */
export function writeProposal(path: string, proposal: Omit<Proposal, 'bodyBytes'>): void {
  const file: ProposalFile = {
    v: 1,
    kind: 'govern',
    ledgerId: toHex(proposal.ledgerId),
    body: toBase64(encodeBody(proposal.body)),
    organisations: proposal.organisations.map(({ account, root }) => ({ account: toHex(account), root: toHex(root) })),
    ...(proposal.before === undefined ? {} : { before: toBase64(proposal.before) }),
    signatures: proposal.signatures.map(({ account, signature }) => ({
      account: toHex(account),
      signature: toBase64(signature),
    })),
  }
  writeFileDurably(path, `${JSON.stringify(file, null, 2)}\n`)
}

/** Reads a proposal's file. @throws {CommandError} if it is none. */
export function readProposal(path: string): Proposal {
  const text = readFileText(path)
  try {
    const file = JSON.parse(text) as ProposalFile
    if (file.v !== 1 || file.kind !== 'govern') throw new TypeError('not a proposal')
    const bodyBytes = fromBase64(file.body)
    const body = parseBody(bodyBytes)
    if (body.t !== 'govern') throw new TypeError('not a proposal to govern')
    const proposal: Proposal = {
      ledgerId: fromHex(file.ledgerId),
      body,
      bodyBytes,
      organisations: file.organisations.map(({ account, root }) => ({
        account: fromHex(account),
        root: fromHex(root),
      })),
      before: file.before === undefined ? undefined : fromBase64(file.before),
      signatures: file.signatures.map(({ account, signature }) => ({
        account: fromHex(account),
        signature: fromBase64(signature),
      })),
    }
    // What cannot be shown to whoever is to sign is no proposal.
    previewLines(proposal)
    return proposal
  } catch (cause) {
    throw new CommandError(`${path}: ${(cause as Error).message}`, undefined, { cause })
  }
}

/**
 * Holds what a proposal says of the present against the ledger: the marks of what is new and gone follow from it, so a proposer who gives
 * another policy for the one in force could pass off changed keys as the old ones.
 *
 * @throws {CommandError} if it was made against another state than the one in force.
 */
export function checkProposal(proposal: Proposal, state: GoverningState): void {
  const inForce = encodeCbor(state.policy as unknown as CborValue)
  const isPolicy = proposal.before === undefined || equalBytes(proposal.before, inForce)
  const named = (list: readonly GoverningOrganisation[]): string =>
    list.map(({ account, root }) => `${toHex(account)}/${toHex(root)}`).join()
  const what = !isPolicy
    ? 'another policy than the one in force'
    : named(proposal.organisations) !== named(state.organisations)
      ? 'other organisations than those that govern'
      : proposal.body.n !== state.n + 1
        ? `act ${proposal.body.n}, and the next one is ${state.n + 1}`
        : undefined
  if (what !== undefined) throw new CommandError(`the proposal goes by ${what}: sign nothing, and have it made again`)
}

/** How many signatures an act needs: two thirds of those who govern. */
export function signaturesNeeded(organisationCount: number): number {
  return Math.ceil((organisationCount * 2) / 3)
}

/** What a proposal does, in words for whoever is asked to sign it; read from the body alone but for the marks of what is new. */
export function previewLines({ ledgerId, body, before }: Pick<Proposal, 'ledgerId' | 'body' | 'before'>): string[] {
  const lines = [`ledger ${toHex(ledgerId)}, act ${body.n} of the organisations`]
  switch (body.act) {
    case governActs.admit: {
      const [account, quota] = parseGovernArgument(1, body.arg)
      return [
        ...lines,
        `ADMIT organisation ${toHex(account)}; it may sponsor ${quota} accounts and governs with the others`,
      ]
    }
    case governActs.remove: {
      const [account] = parseGovernArgument(2, body.arg)
      return [
        ...lines,
        `REMOVE organisation ${toHex(account)}: its doctors lose their licences, its keys and tokens end`,
      ]
    }
    case governActs.policy: {
      const record = before === undefined ? undefined : (decodeCbor(before) as unknown as PolicyRecord)
      return [...lines, ...policyLines(parseGovernArgument(3, body.arg), record)]
    }
    default: {
      const { quota, rules } = parseGovernArgument(4, body.arg)
      const quotas = quota.map(([account, maximum]) => `QUOTA of ${toHex(account)}: ${maximum} accounts`)
      const version =
        rules === undefined
          ? []
          : [`RULES version ${rules[0]} from height ${rules[1]} of userchain: older programs stop there`]
      const unknown =
        rules === undefined || rules[0] <= rulesVersionNewest
          ? []
          : [
              `  UNKNOWN: this program knows up to version ${rulesVersionNewest}; every node like it stops at that height`,
            ]
      return [...lines, ...quotas, ...version, ...unknown]
    }
  }
}

/** Stores that stay as they are go without a line. */
function storeLines(stores: PolicyArgument['stores'], before: PolicyArgument['stores']): string[] {
  const lines = [`  ${stores.length} stores`]
  for (const [org, account, key, peer] of stores) {
    const old = before.find((store) => equalBytes(store[1], account))
    const isSame = old !== undefined && equalBytes(old[2], key) && equalBytes(old[3], peer)
    if (isSame) continue
    const mark = old === undefined ? 'NEW ' : 'KEYS'
    lines.push(`  ${mark} store  account ${toHex(account)}  organisation ${toHex(org).slice(0, 16)}…`)
    lines.push(`         store key ${toHex(key)}`)
  }
  for (const [, account] of before) {
    if (!stores.some((store) => equalBytes(store[1], account))) lines.push(`  GONE store ${toHex(account)}`)
  }
  return lines
}

function policyLines(argument: PolicyArgument, before: PolicyRecord | undefined): string[] {
  const known = before === undefined ? [] : rankedNodes(before)
  const { q, nodes, stores, last } = argument
  const lines = [
    `POLICY: ${q} of ${nodes.length} nodes cosign${before === undefined ? '' : ` (before: ${before.q} of ${known.length})`}`,
  ]
  // What a single node staged may then have been decided, and is proposed again, free of the rules about its time.
  if (nodes.length > 1 && 2 * q - nodes.length < 2) {
    const least = Math.ceil(nodes.length / 2) + 1
    lines.push(
      `  WEAK: one node that lies could put its clock into the ledger; ${least} of ${nodes.length} stands that`,
    )
  }
  if (nodes.length > 1 && q === nodes.length) {
    lines.push(
      '  BRITTLE: one node that is down stops the ledger, and none can be taken out or get other keys before q is lowered',
    )
  }
  for (const [rank, org, account, ...keys] of nodes) {
    const old = known.find((node) => node.rank === rank)
    const isSame = old?.node.slice(2).every((key, i) => equalBytes(key, keys[i] as Uint8Array))
    const mark = old === undefined ? 'NEW ' : isSame === true ? '    ' : 'KEYS'
    lines.push(`  ${mark} node ${rank}  account ${toHex(account)}  organisation ${toHex(org).slice(0, 16)}…`)
    if (mark !== '    ') lines.push(`         node key ${toHex(keys[0] as Uint8Array)}`)
  }
  for (const { rank, account } of known) {
    if (!nodes.some(([other]) => other === rank)) lines.push(`  GONE node ${rank}  account ${toHex(account)}`)
  }
  lines.push(...storeLines(stores, before?.stores ?? []))
  for (const [key, size] of last) lines.push(`  replaced key ${toHex(key).slice(0, 16)}… counts up to size ${size}`)
  return lines
}
