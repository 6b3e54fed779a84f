/**
 * Reads the ledgers' own bytes in the browser, with the project's own parsers: what the page shows of a transaction is what stands on
 * record, not what a node says of it. Loaded when the first entry is opened.
 */
import { ledgerIdOf, parseGenesis } from '@healthblock/chain/genesis'
import { PolicyTrail } from '@healthblock/chain/policy-trail'
import { parseProof, verifyProof } from '@healthblock/chain/proof'
import { parseTrail } from '@healthblock/chain/receipt'
import { parseSealLeaf, type Seal } from '@healthblock/chain/seal'
import { verifyStateProof } from '@healthblock/chain/state-tree'
import { keyRoles, userTables } from '@healthblock/chain/tables'
import { parseTransactionLeaf, type Transaction, transactionId } from '@healthblock/chain/transaction'
import { fromBase64, fromHex, toBase64Url, toHex } from '@healthblock/encoding/bytes'
import { decodeCbor, decodeCborAt } from '@healthblock/encoding/cbor'
import { ApiError, call, callBytes } from '../frame/api.ts'
import type { ChainName } from './model.ts'

/** A transaction with its place. */
export interface PlacedEntry {
  readonly index: number
  readonly id: string
  readonly transaction: Transaction
}

/** A block taken apart. */
export interface ReadBlock {
  readonly height: number
  readonly from: number
  readonly seal: Seal
  readonly sealLeaf: Uint8Array
  readonly entries: readonly PlacedEntry[]
}

let genesisAsked: Promise<Uint8Array<ArrayBuffer>> | undefined

/** The genesis file that this node was set up with. */
export function genesisBytes(): Promise<Uint8Array<ArrayBuffer>> {
  genesisAsked ??= callBytes('/v1/genesis', { isBackground: true }).catch((error: unknown) => {
    genesisAsked = undefined
    throw error
  })
  return genesisAsked
}

/** The block that holds an index, from the ledger's bytes. */
export async function readBlock(chain: ChainName, index: number): Promise<ReadBlock> {
  const [genesis, bytes] = await Promise.all([
    genesisBytes(),
    callBytes(`/v1/${chain}/blocks?from=${index}&limit=1`, { headers: { accept: '*/*' } }),
  ])
  const ledgerId = ledgerIdOf(genesis)
  const [height, from, leaves] = decodeCborAt(bytes, 0).value as unknown as [number, number, Uint8Array[]]
  const sealLeaf = leaves.at(-1) as Uint8Array
  const entries = leaves.slice(0, -1).map((leaf, at) => {
    const transaction = parseTransactionLeaf(leaf)
    const id = toHex(transactionId({ ledgerId, chain, bodyBytes: transaction.bodyBytes }))
    return { index: from + at, id, transaction }
  })
  return { height, from, seal: parseSealLeaf(sealLeaf), sealLeaf, entries }
}

/** After which block, or after the block that holds which entry. */
export interface AsOf {
  readonly kind: 'block' | 'entry'
  readonly number: number
}

/** The node executes its log again as far as that block: how far it is. */
export interface Executing {
  readonly executed: number
  readonly height: number
}

/** How a record is asked for. */
export interface RecordQuestion {
  /** Absent: at the newest block. */
  readonly at?: AsOf | undefined
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: Executing) => void
}

/** A node that gets no further for so long is not waited for. */
const standstillMs = 60_000

interface StateJson {
  readonly value: string | null
  readonly proof: { readonly leaf: readonly [string, string] | null; readonly siblings: readonly string[] }
  readonly seal: string
  readonly inclusion: string
}

/** A record of the state, proved. */
export interface ProvedRecord<T> {
  /** Undefined: it is proved that there is none. */
  readonly value: T | undefined
  readonly height: number
  /** Nodes that signed the summary under which it stands. */
  readonly signedBy: number
}

/** Who may sign, as far as the ledger is governed now. */
export async function readTrail(): Promise<PolicyTrail> {
  const [genesis, steps] = await Promise.all([genesisBytes(), callBytes('/v1/trail', { isBackground: true })])
  const trail = new PolicyTrail(parseGenesis(genesis))
  for (const step of parseTrail(steps)) if (!trail.knows(step)) trail.extend(step)
  return trail
}

/** Asks for a record until the node has it; each answer comes within seconds. */
async function askRecord(
  chain: ChainName,
  key: Uint8Array,
  { at, signal, onProgress }: RecordQuestion,
): Promise<StateJson> {
  const place = at === undefined ? '' : `&${at.kind === 'block' ? 'height' : 'index'}=${at.number}`
  let last = { executed: -1, atMs: performance.now() }
  for (;;) {
    const options = signal === undefined ? {} : { signal }
    const answer = await call<StateJson | Executing>(`/v1/${chain}/state?key=${toBase64Url(key)}${place}`, options)
    if (!('executed' in answer)) return answer
    onProgress?.(answer)
    const nowMs = performance.now()
    if (answer.executed > last.executed) last = { executed: answer.executed, atMs: nowMs }
    else if (nowMs - last.atMs > standstillMs) throw new ApiError('', 503, { code: 'ERR_STATE_BUSY' })
  }
}

/** A state that was true at another block proves nothing about this one. */
function checkPlace({ h, i0, k }: Seal, at: AsOf | undefined): void {
  if (at === undefined) return
  const isThere = at.kind === 'block' ? h === at.number : i0 <= at.number && at.number <= i0 + k
  if (!isThere) throw new ApiError('', 0, { code: 'ERR_STATE_ELSEWHERE' })
}

/**
 * Asks for a record of a ledger's state and checks its proof: the record under the state root, the root in the SEAL of the wanted block, the
 * SEAL in the log, the log's head under the signatures of a quorum.
 *
 * @throws {ChainError} {ApiError} that says what does not hold.
 */
export async function provedRecord<T>(
  trail: PolicyTrail,
  { chain, key }: { readonly chain: ChainName; readonly key: Uint8Array },
  question: RecordQuestion = {},
): Promise<ProvedRecord<T>> {
  const json = await askRecord(chain, key, question)
  const leaf = fromBase64(json.seal)
  const { checkpoint } = parseProof(json.inclusion)
  const { policy } = trail.verify(chain, checkpoint)
  const origin = checkpoint.slice(0, checkpoint.indexOf('\n'))
  const verified = verifyProof({ proof: json.inclusion, leaf, origin, policy })
  const seal = parseSealLeaf(leaf)
  checkPlace(seal, question.at)
  const [pathHash, valueHash] = (json.proof.leaf ?? []).map(fromBase64)
  const siblings = json.proof.siblings.map(fromBase64)
  const value = json.value === null ? undefined : fromBase64(json.value)
  const proof =
    pathHash === undefined || valueHash === undefined ? { siblings } : { siblings, leaf: { pathHash, valueHash } }
  verifyStateProof({ key, value, proof, root: seal.st })
  const signedBy = verified.cosigners.length
  return { value: value === undefined ? undefined : (decodeCbor(value) as T), height: seal.h, signedBy }
}

/** The newest published summary of a ledger, under the signatures of a quorum. */
export interface VerifiedHead {
  readonly size: number
  /** Hex. */
  readonly root: string
  readonly signedBy: number
  /** Nodes that may sign. */
  readonly nodes: number
  /** Unix ms: the last moment at which a quorum had signed it. */
  readonly signedAtMs: number
}

/** Asks for a ledger's newest summary and checks who signed it. @throws {ChainError} that says what does not hold. */
export async function verifiedHead(chain: ChainName): Promise<VerifiedHead> {
  const [trail, note] = await Promise.all([readTrail(), callBytes(`/${chain}/checkpoint`, { isBackground: true })])
  const { size, root, cosigners, oldestTime, policy } = trail.verify(chain, new TextDecoder().decode(note))
  return {
    ...{ size, root: toHex(root), signedBy: cosigners.length, signedAtMs: oldestTime },
    nodes: policy.cosigners.filter((key) => key !== undefined).length,
  }
}

/** What is on record of an account. Keys in hex. */
export interface AccountState {
  readonly account: { readonly role: number; readonly o: number; readonly sponsor?: Uint8Array } | undefined
  readonly licence: { readonly state: number; readonly from: number; readonly to: number } | undefined
  readonly height: number
  readonly signedBy: number
}

/** Reads an account's records, each with its proof. */
export async function accountState(account: string, question: RecordQuestion): Promise<AccountState> {
  const trail = await readTrail()
  const id = fromHex(account)
  const ask = <T>(key: Uint8Array): Promise<ProvedRecord<T>> =>
    provedRecord<T>(trail, { chain: 'userchain', key }, question)
  const { value, height, signedBy } = await ask<AccountState['account']>(userTables.account.key(id))
  if (value?.role !== 2) return { account: value, licence: undefined, height, signedBy }
  const { value: k } = await ask<number>(userTables.licenceHead.key(id))
  const licence =
    k === undefined ? undefined : (await ask<AccountState['licence']>(userTables.licence.key(id, k))).value
  return { account: value, licence, height, signedBy }
}

/** Names of an account's keys, by number. */
export const keyNames: Readonly<Record<number, 'root' | 'op' | 'node'>> = {
  [keyRoles.root]: 'root',
  [keyRoles.op]: 'op',
  [keyRoles.node]: 'node',
}
