/**
 * Makes a succession (chain SPEC §10) from what survivors still serve: the newest heads that the lost quorum attested, with the proof of who
 * governed below them. Each survivor is asked alone, since none may have both newest heads.
 */

import type { ChainName } from '@healthblock/chain/chains'
import type { Genesis } from '@healthblock/chain/genesis'
import { inclusionProofAsync } from '@healthblock/chain/merkle'
import { encodeProof } from '@healthblock/chain/proof'
import { parseSealLeaf } from '@healthblock/chain/seal'
import { signStatement } from '@healthblock/chain/statement'
import {
  type Approval,
  encodeSuccession,
  parseSuccession,
  type Succession,
  successionKeys,
  type VerifiedSuccession,
  verifySuccessionProof,
} from '@healthblock/chain/succession'
import { type RulesRecord, userTables } from '@healthblock/chain/tables'
import { tileHashReader, tilePath } from '@healthblock/chain/tile'
import type { GenesisOrganisation, LogHead } from '@healthblock/chain/transaction'
import type { SigningKey } from '@healthblock/crypto/signature'
import { compareBytes, equalBytes, toHex } from '@healthblock/encoding/bytes'
import { decodeCbor } from '@healthblock/encoding/cbor'
import { RuntimeError } from '@healthblock/runtime/errors'
import type { LedgerClient } from '@healthblock/runtime/ledger-client'
import { CommandError } from '../io.ts'

/** A quorum that cosigned within this time is not lost. */
const aliveMs = 150_000
const roles = { root: 0, op: 1, kem: 3 } as const

/** A chain's newest head and who serves it. */
interface LastHead {
  readonly chain: ChainName
  readonly size: number
  readonly root: Uint8Array
  readonly note: string
  readonly url: string
  /** Unix ms of the oldest cosignature of its quorum. */
  readonly cosignedMs: number
}

/** What a ledger leaves to its successor. */
export interface Legacy {
  readonly heads: readonly [LogHead, LogHead]
  /** Unix ms of the later SEAL. */
  readonly endMs: number
  /** In the order of their admission, with the keys on record. */
  readonly organisations: readonly { readonly account: Uint8Array; readonly entry: GenesisOrganisation }[]
  /** Newest version of the rules on record. */
  readonly rules: number
  /** Everything of the file but the successor and its approvals. */
  readonly proofs: Pick<Succession, 'genesis' | 'parts' | 'trail'>
}

async function lastHead(client: LedgerClient, chain: ChainName, urls: readonly string[]): Promise<LastHead> {
  let last: LastHead | undefined
  for (const url of urls) {
    try {
      const { size, root, note, oldestTime } = await client.checkpoint(chain, { url })
      if (last === undefined || size > last.size || (size === last.size && oldestTime > last.cosignedMs))
        last = { chain, size, root, note, url, cosignedMs: oldestTime }
    } catch (error) {
      // A survivor that serves nothing good leaves it to the others.
      if (!(error instanceof RuntimeError)) throw error
    }
  }
  if (last === undefined) throw new CommandError(`no node serves a head of ${chain} that a quorum attested`)
  return last
}

async function partOf(client: LedgerClient, head: LastHead, leaf: Uint8Array) {
  const { chain, note, size, url } = head
  const { note: checkpoint, k } = client.trail.receiptForm(chain, note)
  const read = tileHashReader({ size, readTile: (tile) => client.tile(chain, tilePath(tile), { url }) })
  const hashes = await inclusionProofAsync({ index: size - 1, size }, read)
  return { chain, leaf, proof: encodeProof({ index: size - 1, hashes, checkpoint }), k }
}

/** Reads records of Userchain's state at its last head. */
function recordReader(client: LedgerClient, { url, size }: LastHead) {
  return async (key: Uint8Array) => {
    const proved = await client.provedState('userchain', key, { url })
    if (proved.index !== size - 1) throw new CommandError(`${url} goes on: its ledger is not at its end`)
    return proved
  }
}

async function carriedOrganisations(
  accounts: readonly Uint8Array[],
  get: <T>(key: Uint8Array) => Promise<T | undefined>,
): Promise<Legacy['organisations']> {
  const organisations = []
  for (const account of accounts) {
    const keyOf = async (role: number) => {
      const k = (await get<number>(userTables.keyHead.key(account, role))) ?? 0
      return await get<{ key: Uint8Array; suite?: number }>(userTables.key.key(account, role, k))
    }
    const [root, op, kem] = [await keyOf(roles.root), await keyOf(roles.op), await keyOf(roles.kem)]
    if (root === undefined || op === undefined || kem === undefined)
      throw new CommandError(`organisation ${toHex(account)} has no keys on record`)
    const [quota] = (await get<readonly [number, number]>(userTables.quota.key(account))) ?? [0]
    organisations.push({ account, entry: [root.key, op.key, kem.key, kem.suite ?? 1, quota] as const })
  }
  return organisations
}

/**
 * Reads what a ledger leaves.
 *
 * @param request - `isForced`: also of a ledger whose quorum cosigned within the last 150 s.
 * @throws {CommandError} for a ledger that is alive, or of which no survivor serves enough.
 */
export async function readLegacy(request: {
  readonly genesis: Genesis
  readonly client: LedgerClient
  readonly urls: readonly string[]
  readonly nowMs: number
  readonly isForced: boolean
}): Promise<Legacy> {
  const { genesis, client, urls, nowMs, isForced } = request
  const userchain = await lastHead(client, 'userchain', urls)
  const docchain = await lastHead(client, 'docchain', urls)
  const ageMs = nowMs - Math.max(userchain.cosignedMs, docchain.cosignedMs)
  if (ageMs < aliveMs && !isForced) {
    const words = `a quorum cosigned ${Math.round(ageMs / 1000)} s ago: this ledger is alive, and "org propose" changes it`
    throw new CommandError(`${words}; if its nodes were lost just now, wait, or say --force`)
  }
  const read = recordReader(client, userchain)
  const get = async <T>(key: Uint8Array): Promise<T | undefined> => {
    const { value } = await read(key)
    return value === undefined ? undefined : (decodeCbor(value) as T)
  }
  const keys = await successionKeys(genesis, get)
  const proved = await Promise.all(keys.map(read))
  const { seal } = proved[0] as (typeof proved)[0]
  const state = proved.map(({ proof, value }, i) => {
    const key = keys[i] as Uint8Array
    return value === undefined ? { key, proof } : { key, proof, value }
  })
  const { frames } = await client.blocks('docchain', docchain.size - 1, { url: docchain.url, limit: 1 })
  const docSeal = frames[0]?.leaves.at(-1)
  if (docSeal === undefined) throw new CommandError(`${docchain.url} does not serve the end of docchain`)
  const parts = [await partOf(client, userchain, seal), await partOf(client, docchain, docSeal)] as const
  const rules = await newestRules(get)
  // Who governed: the key heads, one for each organisation, follow the list.
  const accounts = accountsOf(keys)
  const strip = ({ chain, leaf, proof }: (typeof parts)[0]) => ({ chain, leaf, proof })
  return {
    heads: [
      [userchain.size, userchain.root],
      [docchain.size, docchain.root],
    ],
    endMs: Math.max(parseSealLeaf(seal).ms, parseSealLeaf(docSeal).ms),
    organisations: await carriedOrganisations(accounts, get),
    rules: rules ?? genesis.body.params.seals,
    proofs: {
      genesis: genesis.bytes,
      parts: [{ ...strip(parts[0]), state }, strip(parts[1])],
      trail: client.trail.needed(parts),
    },
  }
}

/** Accounts of the key heads among the records of a succession. */
function accountsOf(keys: readonly Uint8Array[]): Uint8Array[] {
  return keys.flatMap((key) => {
    const [table, account] = decodeCbor(key) as unknown as [string, Uint8Array]
    return table === 'keyhead' ? [account] : []
  })
}

async function newestRules(get: <T>(key: Uint8Array) => Promise<T | undefined>): Promise<number | undefined> {
  let version: number | undefined
  for (let k = 0; ; k++) {
    const record = await get<RulesRecord>(userTables.rules.key(k))
    if (record === undefined) return version
    version = record.version
  }
}

/** The file of a succession without approvals. */
export function unapproved(legacy: Legacy, successor: Uint8Array): Uint8Array {
  return encodeSuccession({ ...legacy.proofs, successor, approvals: [] })
}

/**
 * Adds an organisation's approval to the file.
 *
 * @throws {CommandError} if the key is no root key of an organisation that governed. {ChainError} for a file that does not hold.
 */
export function approve(
  bytes: Uint8Array,
  key: SigningKey,
): { bytes: Uint8Array; account: Uint8Array; verified: VerifiedSuccession } {
  const { organisations, prior, successor } = verifySuccessionProof(bytes)
  const organisation = organisations.find(({ root }) => equalBytes(root, key.publicKey))
  if (organisation === undefined)
    throw new CommandError(`this key (${toHex(key.publicKey)}) is the root key of no organisation that governed`)
  const { account } = organisation
  const { signature } = signStatement({
    name: 'successor',
    statement: [successor.ledgerId],
    ledgerId: prior.ledgerId,
    signingKey: key,
  })
  const succession = parseSuccession(bytes)
  const others = succession.approvals.filter((one) => !equalBytes(one.account, account))
  const approvals: Approval[] = [...others, { account, signature }].sort((a, b) => compareBytes(a.account, b.account))
  const approved = encodeSuccession({ ...succession, approvals })
  return { bytes: approved, account, verified: verifySuccessionProof(approved) }
}
