/** Transactions: leaf bytes, ids and signatures (SPEC.md §1), and the shape of each type's body (§6). */

import { sha256 } from '@healthblock/crypto/hash'
import { compareBytes, concatBytes, encodeUtf8 } from '@healthblock/encoding/bytes'
import { type CborMap, type CborValue, decodeCborAt, encodeCbor } from '@healthblock/encoding/cbor'
import { EncodingError } from '@healthblock/encoding/errors'
import type { ChainName } from '../chains.ts'
import { ChainError } from '../errors.ts'
import { type BodyOf, bodyShape, bodyShapes, type TransactionType } from './bodies.ts'
import { bytes, faultFinder, isMap, list, tuple, uint } from './schema.ts'

export type {
  BodyOf,
  Cut,
  EnvelopeEntry,
  GenesisNode,
  GenesisOrganisation,
  GenesisPrior,
  GenesisStore,
  GrantOpening,
  IotRecord,
  LogHead,
  SequenceRange,
  TransactionType,
} from './bodies.ts'

/** Largest leaf. */
export const leafSizeBytesMax = 65_535
/** Largest body. */
export const bodySizeBytesMax = 60_000
/** Most signatures of one transaction. */
export const signaturesMax = 256

/** Body of the account that a person, an organisation or a device registers with. */
export type RegisterBody = BodyOf<'register'>
/** Body that changes an account's keys. */
export type UpdateBody = BodyOf<'update'>
/** Body that states whether a doctor may practise. */
export type LicenceBody = BodyOf<'licence'>
/** Body that adds or removes a device. */
export type DeviceBody = BodyOf<'device'>
/** Body that commits records of streams. */
export type IotBody = BodyOf<'iot'>
/** Body that rotates keys, opens and closes grants. */
export type KeyBody = BodyOf<'key'>
/** Body with further envelopes of a `key`. */
export type EnvelopeBody = BodyOf<'envelope'>
/** Body by which a patient erases records. */
export type EraseBody = BodyOf<'erase'>
/** Body that registers or withdraws an algorithm. */
export type AlgorithmBody = BodyOf<'algorithm'>
/** Body by which the organisations govern the ledger. */
export type GovernBody = BodyOf<'govern'>
/** Body that shows what a node did wrong. */
export type EvidenceBody = BodyOf<'evidence'>
/** Body that commits a diagnosis. */
export type DiagnosisBody = BodyOf<'diagnosis'>
/** Body that signs, corrects or withdraws a diagnosis. */
export type AmendBody = BodyOf<'amend'>
/** Body that states which records could not be read. */
export type UnreadableBody = BodyOf<'unreadable'>
/** Body of block 0. */
export type GenesisBody = BodyOf<'genesis'>

/** Body of any transaction, told apart by `t`. */
export type TransactionBody = { [T in TransactionType]: BodyOf<T> }[TransactionType]

/** One signature: `key` 0 root, 1 op, 2 node or store key; `signature` 64 bytes. */
export interface TransactionSignature {
  readonly account: Uint8Array
  readonly key: number
  readonly signature: Uint8Array
}

/** A transaction of the right shape. Nothing here says that its signatures or its rules hold. */
export interface Transaction {
  /** The leaf's bytes. */
  readonly leaf: Uint8Array
  /** The body's bytes, as they lie in the leaf. */
  readonly bodyBytes: Uint8Array
  readonly body: TransactionBody
  /** Strictly ascending by (account, key). */
  readonly signatures: readonly TransactionSignature[]
}

/** A transaction as it was read, with the id that it was last asked for: a node asks at every step, and hashing is most of the answer. */
class ParsedTransaction implements Transaction {
  readonly leaf: Uint8Array
  readonly bodyBytes: Uint8Array
  readonly body: TransactionBody
  readonly signatures: readonly TransactionSignature[]
  #ledgerId: Uint8Array | undefined
  #chain: ChainName | undefined
  #id: Uint8Array | undefined

  constructor({ leaf, bodyBytes, body, signatures }: Transaction) {
    this.leaf = leaf
    this.bodyBytes = bodyBytes
    this.body = body
    this.signatures = signatures
  }

  static id(transaction: ParsedTransaction, ledgerId: Uint8Array, chain: ChainName): Uint8Array {
    if (transaction.#id === undefined || transaction.#ledgerId !== ledgerId || transaction.#chain !== chain) {
      transaction.#id = transactionId({ ledgerId, chain, bodyBytes: transaction.bodyBytes })
      transaction.#ledgerId = ledgerId
      transaction.#chain = chain
    }
    return transaction.#id
  }
}

/** The chain on which a type is valid; `genesis` and `evidence` are valid on both. */
export const typeChains: Readonly<Record<TransactionType, ChainName | 'both'>> = {
  genesis: 'both',
  register: 'userchain',
  update: 'userchain',
  licence: 'userchain',
  device: 'userchain',
  iot: 'userchain',
  key: 'userchain',
  envelope: 'userchain',
  erase: 'userchain',
  algorithm: 'userchain',
  govern: 'userchain',
  evidence: 'both',
  diagnosis: 'docchain',
  amend: 'docchain',
  unreadable: 'docchain',
}

/** First part of the names of a type's rules: `D` for diagnosis, `A` for amend, else the type's name. */
export function rulePrefix(type: TransactionType): string {
  if (type === 'diagnosis') return 'D'
  return type === 'amend' ? 'A' : type
}

const finders = new Map(
  (Object.keys(bodyShapes) as TransactionType[]).map((type) => [type as string, faultFinder(bodyShape(type))]),
)
type SignatureTuple = readonly [account: Uint8Array, key: number, signature: Uint8Array]
const isSignatures = list(tuple<SignatureTuple>([bytes(32), uint(0, 2), bytes(64)]), 0, signaturesMax)

function formatError(rule: string, field: string, cause?: unknown): ChainError {
  return new ChainError(`not a transaction: ${field}`, { code: 'ERR_TRANSACTION_FORMAT', rule, field }, { cause })
}

/** Decodes at an offset; what is wrong with the bytes becomes a format error of the transaction. */
function decodePart(leaf: Uint8Array, offset: number, rule: string, field: string) {
  try {
    return decodeCborAt(leaf, offset)
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
    throw formatError(rule, field, cause)
  }
}

function checkBody(decoded: CborValue, size: number): TransactionBody {
  if (!isMap(decoded)) throw formatError('transaction.format', 'body')
  const type = decoded.t
  const faultIn = typeof type === 'string' ? finders.get(type) : undefined
  if (faultIn === undefined) throw formatError('transaction.format', 't')
  const rule = `${rulePrefix(type as TransactionType)}.format`
  if (size > bodySizeBytesMax) throw formatError(rule, 'body')
  const fault = faultIn(decoded)
  if (fault !== undefined) throw formatError(rule, fault)
  return decoded as CborMap as unknown as TransactionBody
}

/**
 * What kind of leaf the bytes claim to be, from their first two.
 *
 * @throws {ChainError} `ERR_LEAF_FORMAT` for neither.
 */
export function leafKind(leaf: Uint8Array): 'transaction' | 'seal' {
  if (leaf[0] === 0x83 && leaf[1] === 0x01) return 'transaction'
  if (leaf[0] === 0x82 && leaf[1] === 0x02) return 'seal'
  throw new ChainError('neither a transaction nor a SEAL', { code: 'ERR_LEAF_FORMAT', field: 'kind' })
}

/**
 * Reads a transaction leaf: canonical bytes, a known type, exactly its fields within their limits, signatures in order.
 * Byte strings of the result are views into `leaf`, which must not change afterwards.
 *
 * @throws {ChainError} `ERR_TRANSACTION_FORMAT`.
 * @see SPEC.md §1, §6
 */
export function parseTransactionLeaf(leaf: Uint8Array): Transaction {
  const unknown = 'transaction.format'
  if (leaf.length > leafSizeBytesMax) throw formatError(unknown, 'leaf')
  if (leaf[0] !== 0x83 || leaf[1] !== 0x01) throw formatError(unknown, 'leaf')
  const decoded = decodePart(leaf, 2, unknown, 'body')
  const body = checkBody(decoded.value, decoded.end - 2)
  const rule = `${rulePrefix(body.t)}.format`
  const { value, end } = decodePart(leaf, decoded.end, rule, 'sigs')
  if (end !== leaf.length) throw formatError(rule, 'leaf')
  if (!isSignatures(value)) throw formatError(rule, 'sigs')
  const signatures = (value as unknown as readonly SignatureTuple[]).map(toSignature)
  for (let i = 1; i < signatures.length; i++) {
    const [previous, next] = [signatures[i - 1], signatures[i]] as [TransactionSignature, TransactionSignature]
    if (compareSigners(previous, next) >= 0) throw formatError(rule, 'sigs')
  }
  return new ParsedTransaction({ leaf, bodyBytes: leaf.subarray(2, decoded.end), body, signatures })
}

function toSignature([account, key, signature]: SignatureTuple): TransactionSignature {
  return { account, key, signature }
}

function compareSigners(a: TransactionSignature, b: TransactionSignature): number {
  return compareBytes(a.account, b.account) || a.key - b.key
}

/**
 * Reads a body that comes without its leaf: the bytes end with it. Joining untrusted bytes into a leaf would not show that, because what
 * follows the body there could be taken for signatures.
 *
 * @throws {ChainError} `ERR_TRANSACTION_FORMAT`.
 */
export function parseBody(bodyBytes: Uint8Array): TransactionBody {
  const { value, end } = decodePart(bodyBytes, 0, 'transaction.format', 'body')
  if (end !== bodyBytes.length) throw formatError('transaction.format', 'body')
  return checkBody(value, end)
}

/**
 * Encodes a body, after the same checks that reading makes.
 *
 * @throws {ChainError} `ERR_TRANSACTION_FORMAT`.
 */
export function encodeBody(body: TransactionBody): Uint8Array<ArrayBuffer> {
  let encoded: Uint8Array<ArrayBuffer>
  try {
    encoded = encodeCbor(body as unknown as CborMap)
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
    throw formatError('transaction.format', 'body', cause)
  }
  checkBody(decodePart(encoded, 0, 'transaction.format', 'body').value, encoded.length)
  return encoded
}

/** A body's place: the ledger (32 bytes) and the chain that it is meant for. */
export interface BodyPlace {
  readonly ledgerId: Uint8Array
  readonly chain: ChainName
  readonly bodyBytes: Uint8Array
}

const idLabel = encodeUtf8('healthblock/1 id\0')
const transactionLabel = encodeUtf8('healthblock/1 tx\0')
const chainBytes = { userchain: Uint8Array.of(1), docchain: Uint8Array.of(2) } as const

/** Transaction id, 32 bytes: of the body alone, so that signing again does not make another transaction. */
export function transactionId(place: BodyPlace): Uint8Array<ArrayBuffer> {
  return sha256(idLabel, place.ledgerId, chainBytes[place.chain], place.bodyBytes)
}

/** The id of a transaction that was read; computed once as long as `ledgerId` is the same array. Not to be changed. */
export function idOf(transaction: Transaction, ledgerId: Uint8Array, chain: ChainName): Uint8Array {
  if (transaction instanceof ParsedTransaction) return ParsedTransaction.id(transaction, ledgerId, chain)
  return transactionId({ ledgerId, chain, bodyBytes: transaction.bodyBytes })
}

/** M: the bytes that each signer of the body signs. */
export function signingMessage(place: BodyPlace): Uint8Array<ArrayBuffer> {
  return concatBytes(transactionLabel, place.ledgerId, chainBytes[place.chain], place.bodyBytes)
}

/**
 * Joins a body and its signatures, which it puts in order, into a leaf.
 *
 * @throws {ChainError} `ERR_TRANSACTION_FORMAT` for two signatures of one key, or a leaf that is too large.
 */
export function encodeTransactionLeaf(parts: {
  readonly bodyBytes: Uint8Array
  readonly signatures: readonly TransactionSignature[]
}): Uint8Array<ArrayBuffer> {
  const sorted = [...parts.signatures].sort(compareSigners)
  for (let i = 1; i < sorted.length; i++) {
    const [previous, next] = [sorted[i - 1], sorted[i]] as [TransactionSignature, TransactionSignature]
    if (compareSigners(previous, next) === 0) throw formatError('transaction.format', 'sigs')
  }
  const encoded = encodeCbor(sorted.map(({ account, key, signature }) => [account, key, signature]))
  const leaf = concatBytes(Uint8Array.of(0x83, 0x01), parts.bodyBytes, encoded)
  if (leaf.length > leafSizeBytesMax) throw formatError('transaction.format', 'leaf')
  return leaf
}

/** What signs: crypto's `SigningKey`, or anything that keeps its key elsewhere. */
export interface TransactionSigner {
  /** Absent: the account that this very transaction registers, which is its id. */
  readonly account?: Uint8Array
  /** 0 root, 1 op, 2 node or store key. */
  readonly key: number
  readonly signingKey: { sign(message: Uint8Array): Uint8Array }
}

/**
 * Encodes and signs a body.
 *
 * @throws {ChainError} `ERR_TRANSACTION_FORMAT`.
 */
export function signTransaction(request: {
  readonly ledgerId: Uint8Array
  readonly chain: ChainName
  readonly body: TransactionBody
  readonly signers: readonly TransactionSigner[]
}): Transaction {
  const place = { ledgerId: request.ledgerId, chain: request.chain, bodyBytes: encodeBody(request.body) }
  const message = signingMessage(place)
  const id = transactionId(place)
  const signatures = request.signers.map(({ account, key, signingKey }) => ({
    account: account ?? id,
    key,
    signature: signingKey.sign(message),
  }))
  return parseTransactionLeaf(encodeTransactionLeaf({ bodyBytes: place.bodyBytes, signatures }))
}
