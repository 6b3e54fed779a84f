/**
 * What can be computed of leaves before their block is executed, on any thread: hashes, transaction ids, signatures. All of it is a
 * function of bytes; what a signature must be good under is decided by execution alone, which uses only what fits.
 */
import { areSignaturesAhead } from '@healthblock/crypto/signature'
import { byteText, concatBytes } from '@healthblock/encoding/bytes'
import type { ChainName } from '../chains.ts'
import { ChainError } from '../errors.ts'
import { hashSizeBytes, leafHash, nodeHash } from '../log/merkle.ts'
import { encodeEntryBundle, parseEntryBundle, tileWidth } from '../log/tile.ts'
import type { SignatureCache } from '../transaction/signature-cache.ts'
import {
  idOf,
  leafKind,
  parseTransactionLeaf,
  signingMessage,
  type Transaction,
  type TransactionSignature,
  transactionId,
} from '../transaction/transaction.ts'

/** Bytes of one claim: a public key, then a signature. */
const claimSizeBytes = 32 + 64
/** Transactions that one request has verified before their block exists: what is urgent waits for no more than such a piece. */
const preverifiedMax = 32

/** A bundle of leaves to be hashed, its transactions to be named and verified: packed, so that it travels between threads in few pieces. */
export interface PreparationRequest {
  readonly ledgerId: Uint8Array
  readonly chain: ChainName
  /** A C2SP entry bundle of `width` leaves, which must be readable. */
  readonly bundle: Uint8Array
  readonly width: number
  /** True: somebody waits for it with many others; it goes before what is not. */
  readonly isUrgent?: boolean
  /** True: only the claims are looked at; `hashes`, `root` and `ids` of the answer are empty. */
  readonly isClaimsOnly?: boolean
  /** Where the body of each transaction starts and ends in `bundle`, in order. */
  readonly bodies: Uint32Array
  /** Public key and signature of each claim, one behind the other, in the order of the bodies. */
  readonly claims: Uint8Array
  /** Number of claims up to and with each body. */
  readonly claimEnds: Uint32Array
}

/** The answer to a `PreparationRequest`. */
export interface PreparationResult extends HashedBundle {
  /** Transaction ids, 32 bytes each. */
  readonly ids: Uint8Array
  /** For each claim 1 if the signature is good under the key, else 0. */
  readonly good: Uint8Array
}

/** The hashes of a bundle's leaves. */
export interface HashedBundle {
  /** Leaf hashes, 32 bytes each. */
  readonly hashes: Uint8Array
  /** Root of the tree over these leaves: 32 bytes. */
  readonly root: Uint8Array
}

/** Who computes: threads of the caller, or this one (`sameThread`). */
export interface PreparationWorkers {
  /** As `prepare`. Rejects only if the thread is lost. */
  prepare(request: PreparationRequest): Promise<PreparationResult>
}

/** A transaction that was read, named and verified before its block is executed. */
export interface PreparedTransaction {
  readonly transaction: Transaction
  /** 32 bytes. */
  readonly id: Uint8Array
  /**
   * For each signature the public key under which it is good, if that is a signing key at all: rules demand only keys that were checked
   * when they were registered. Undefined if nothing is known.
   */
  readonly goodUnder: readonly (Uint8Array | undefined)[]
}

/** A leaf of which something is known. */
export interface PreparedLeaf {
  readonly leaf: Uint8Array
  /** RFC 6962 hash of `leaf`: 32 bytes. */
  readonly hash: Uint8Array
  /** Absent for a SEAL, and for what cannot be read. */
  readonly prepared?: PreparedTransaction
}

/** The ledger that leaves are prepared for, as far as it stands now. */
export interface PreparedLedger {
  readonly ledgerId: Uint8Array
  /** Good signatures that were seen before. */
  readonly signatures: SignatureCache
  /** Under which key execution will probably judge a signature; undefined if none is known yet. */
  expectedKey(transaction: Transaction, signer: TransactionSignature): Uint8Array | undefined
}

/** What a bundle of leaves is prepared with. */
export interface PreparationOrder {
  readonly workers: PreparationWorkers
  /** Gives the public keys that execution will probably demand. */
  readonly ledger: PreparedLedger
  readonly chain: ChainName
  /** False: leaves that were executed before are hashed and named, their signatures are left alone. Default true. */
  readonly isVerified?: boolean
  /** True: a block waits for it. */
  readonly isUrgent?: boolean
  /** Good signatures that execution will find there: they are not verified again. */
  readonly seen?: SignatureCache
}

/** A bundle whose leaves are prepared for `Replay.push`. */
export interface PreparedBundle extends HashedBundle {
  readonly leaves: readonly PreparedLeaf[]
}

/**
 * Prepares a bundle: reads its leaves here, and has them hashed, named and verified by the workers. Whatever is no transaction is left to
 * replay, which says why.
 *
 * @param bundle - A C2SP entry bundle of `width` leaves. It must not change until the promise settles.
 * @throws {ChainError} `ERR_TILE_FORMAT` if the bundle cannot be read.
 */
export async function prepareBundle(
  { workers, ledger, chain, seen, isVerified = true, isUrgent = false }: PreparationOrder,
  bundle: Uint8Array,
  width: number,
): Promise<PreparedBundle> {
  const leaves = parseEntryBundle(bundle, width)
  const read = leaves.map(readTransaction)
  const transactions = read.filter((transaction) => transaction !== undefined)
  const { claims, claimEnds, keys } = packClaims(isVerified ? ledger : undefined, transactions, seen)
  const bodies = bodiesOf(bundle, transactions)
  const { ledgerId } = ledger
  const result = await workers.prepare({ ledgerId, chain, bundle, width, isUrgent, bodies, claims, claimEnds })
  const { hashes, root } = result
  const prepared = unpackResult(transactions, keys, result)
  let next = 0
  const known = leaves.map((leaf, position): PreparedLeaf => {
    const hash = hashes.subarray(position * hashSizeBytes, (position + 1) * hashSizeBytes)
    const own = read[position] === undefined ? undefined : prepared[next++]
    return own === undefined ? { leaf, hash } : { leaf, hash, prepared: own }
  })
  return { leaves: known, hashes, root }
}

/**
 * Prepares the leaves of one block, in pieces of a bundle each.
 *
 * @returns The leaves in their order, as views into new arrays.
 * @throws {ChainError} `ERR_TILE_FORMAT` for a leaf above 65,535 bytes.
 */
export async function prepareLeaves(order: PreparationOrder, leaves: readonly Uint8Array[]): Promise<PreparedLeaf[]> {
  const pieces: Promise<PreparedBundle>[] = []
  for (let from = 0; from < leaves.length; from += tileWidth) {
    const piece = leaves.slice(from, from + tileWidth)
    pieces.push(prepareBundle(order, encodeEntryBundle(piece), piece.length))
  }
  return (await Promise.all(pieces)).flatMap((piece) => piece.leaves)
}

/** Has the workers verify the signatures of transactions that were read already, and remembers the good ones. Never rejects. */
export async function preverifyWith(order: PreparationOrder, transactions: readonly Transaction[]): Promise<void> {
  const seen = order.ledger.signatures
  const open = transactions.filter(({ signatures }) => signatures.some((one) => !seen.hasSeen(one.signature)))
  const pieces: Promise<void>[] = []
  for (let from = 0; from < open.length; from += preverifiedMax) {
    pieces.push(preverifyPiece(order, open.slice(from, from + preverifiedMax)))
  }
  await Promise.allSettled(pieces)
}

async function preverifyPiece(order: PreparationOrder, piece: readonly Transaction[]): Promise<void> {
  const { workers, ledger, chain } = order
  const { ledgerId, signatures } = ledger
  const { claims, claimEnds, keys } = packClaims(ledger, piece, signatures)
  if (claims.length === 0) return
  const bundle = encodeEntryBundle(piece.map(({ leaf }) => leaf))
  const width = piece.length
  const bodies = new Uint32Array(2 * piece.length)
  let at = 0
  for (const [position, { leaf, bodyBytes }] of piece.entries()) {
    const start = at + 2 + bodyBytes.byteOffset - leaf.byteOffset
    bodies[2 * position] = start
    bodies[2 * position + 1] = start + bodyBytes.length
    at += 2 + leaf.length
  }
  const { good } = await workers.prepare({
    ledgerId,
    chain,
    bundle,
    width,
    isUrgent: order.isUrgent === true,
    isClaimsOnly: true,
    bodies,
    claims,
    claimEnds,
  })
  let claim = 0
  for (const [position, transaction] of piece.entries()) {
    for (const [i, publicKey] of (keys[position] ?? []).entries()) {
      if (publicKey === undefined || good[claim++] !== 1) continue
      const { signature } = transaction.signatures[i] as TransactionSignature
      signatures.remember({ id: idOf(transaction, ledgerId, chain), publicKey, signature })
    }
  }
}

function readTransaction(leaf: Uint8Array): Transaction | undefined {
  try {
    return leafKind(leaf) === 'transaction' ? parseTransactionLeaf(leaf) : undefined
  } catch (error) {
    if (!(error instanceof ChainError)) throw error
    return undefined
  }
}

/** The keys that the signatures are probably judged under, and the claims that follow from them. An account signs often: it is looked up once. */
function packClaims(
  ledger: PreparedLedger | undefined,
  transactions: readonly Transaction[],
  seen: SignatureCache | undefined,
) {
  const claimEnds = new Uint32Array(transactions.length)
  const claims: Uint8Array[] = []
  const known = new Map<string, Uint8Array | undefined>()
  const keyOf = (transaction: Transaction, signer: TransactionSignature): Uint8Array | undefined => {
    if (ledger === undefined) return undefined
    if (transaction.body.t === 'register') return ledger.expectedKey(transaction, signer)
    const name = `${signer.key}${byteText(signer.account)}`
    const found = known.get(name)
    if (found !== undefined || known.has(name)) return found
    const key = ledger.expectedKey(transaction, signer)
    known.set(name, key)
    return key
  }
  const keys = transactions.map((transaction, position) => {
    const own = transaction.signatures.map((signer) => {
      const key = seen?.hasSeen(signer.signature) === true ? undefined : keyOf(transaction, signer)
      if (key !== undefined) claims.push(key, signer.signature)
      return key
    })
    claimEnds[position] = claims.length / 2
    return own
  })
  return { claims: concatBytes(...claims), claimEnds, keys }
}

function bodiesOf(bundle: Uint8Array, transactions: readonly Transaction[]): Uint32Array {
  const bodies = new Uint32Array(2 * transactions.length)
  for (const [position, { bodyBytes }] of transactions.entries()) {
    const start = bodyBytes.byteOffset - bundle.byteOffset
    bodies[2 * position] = start
    bodies[2 * position + 1] = start + bodyBytes.length
  }
  return bodies
}

/** Joins the answer with what was asked: the transactions in their order. */
function unpackResult(
  transactions: readonly Transaction[],
  keys: readonly (readonly (Uint8Array | undefined)[])[],
  { ids, good }: PreparationResult,
): PreparedTransaction[] {
  let claim = 0
  return transactions.map((transaction, position) => {
    const id = ids.subarray(position * hashSizeBytes, (position + 1) * hashSizeBytes)
    const goodUnder = (keys[position] ?? []).map((key) => (key !== undefined && good[claim++] === 1 ? key : undefined))
    return { transaction, id, goodUnder }
  })
}

/** Hashes leaves, computes ids and verifies claims, on this thread. */
export function prepare(request: PreparationRequest): PreparationResult {
  const good = verifyClaims(request)
  if (request.isClaimsOnly === true)
    return { hashes: new Uint8Array(), root: new Uint8Array(), ids: new Uint8Array(), good }
  const { ledgerId, chain, bundle, width, bodies, claimEnds } = request
  const hashes = new Uint8Array(width * hashSizeBytes)
  for (const [i, leaf] of parseEntryBundle(bundle, width).entries()) hashes.set(leafHash(leaf), i * hashSizeBytes)
  const ids = new Uint8Array(claimEnds.length * hashSizeBytes)
  for (let position = 0; position < claimEnds.length; position++) {
    const bodyBytes = bundle.subarray(bodies[2 * position], bodies[2 * position + 1])
    ids.set(transactionId({ ledgerId, chain, bodyBytes }), position * hashSizeBytes)
  }
  return { hashes, root: rootOf(hashes, 0, width), ids, good }
}

function verifyClaims({ ledgerId, chain, bundle, bodies, claims, claimEnds }: PreparationRequest): Uint8Array {
  const asked: { publicKey: Uint8Array; signature: Uint8Array; message: Uint8Array }[] = []
  for (const [position, lastClaim] of claimEnds.entries()) {
    if (asked.length === lastClaim) continue
    const bodyBytes = bundle.subarray(bodies[2 * position], bodies[2 * position + 1])
    const message = signingMessage({ ledgerId, chain, bodyBytes })
    while (asked.length < lastClaim) {
      const at = asked.length * claimSizeBytes
      const [publicKey, signature] = [claims.subarray(at, at + 32), claims.subarray(at + 32, at + claimSizeBytes)]
      asked.push({ publicKey, signature, message })
    }
  }
  return Uint8Array.from(areSignaturesAhead(asked), Number)
}

/** RFC 6962 root over the hashes `start` to `end` (at least one). */
function rootOf(hashes: Uint8Array, start: number, end: number): Uint8Array {
  if (end - start === 1) return hashes.subarray(start * hashSizeBytes, end * hashSizeBytes)
  let split = 1
  while (split * 2 < end - start) split *= 2
  return nodeHash(rootOf(hashes, start, start + split), rootOf(hashes, start + split, end))
}

/** Does the work when it is asked for, on the calling thread. */
export const sameThread: PreparationWorkers = { prepare: async (request) => prepare(request) }
