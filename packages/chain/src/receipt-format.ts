/** The file of a receipt: canonical JSON in exactly one form (SPEC.md §7). It verifies nothing. */
import { encodeUtf8, equalBytes, fromBase64, toBase64 } from '@healthblock/encoding/bytes'
import { EncodingError } from '@healthblock/encoding/errors'
import { ChainError } from './errors.ts'
import type { TrailStep } from './policy-trail.ts'
import type { StateProof } from './state-tree.ts'
import type { ChainName } from './transaction.ts'

/** A state proof as a receipt carries it: of `value`, or of absence if that is absent. */
export interface ReceiptState {
  /** Canonical CBOR of the key. */
  readonly key: Uint8Array
  readonly value?: Uint8Array
  readonly proof: StateProof
}

/** What a part shows. */
export type ReceiptPartName = 'transaction' | 'seal' | 'anchor'

/** One leaf with its proof. */
export interface ReceiptPart {
  readonly what: ReceiptPartName
  readonly chain: ChainName
  readonly leaf: Uint8Array
  /** tlog-proof text. */
  readonly proof: string
  /** Only in a `seal`, and always there. */
  readonly state?: readonly ReceiptState[]
}

/** A receipt taken apart. */
export interface Receipt {
  readonly kind: 'transaction' | 'revocation'
  /** The genesis file. */
  readonly genesis: Uint8Array
  readonly parts: readonly ReceiptPart[]
  /** The policy trail, as far as the parts need it. */
  readonly trail?: readonly TrailStep[]
}

/** Largest receipt. */
export const receiptSizeBytesMax = 8_388_608
/** Most steps of the policy trail of one receipt. */
const trailStepsMax = 1024
/** Most state proofs of one part: as many as a `key` can close grants. */
const statesMax = 256

function formatError(reason: string, cause?: unknown): ChainError {
  return new ChainError(`not a receipt: ${reason}`, { code: 'ERR_RECEIPT_FORMAT', reason }, { cause })
}

function stateToJson(state: ReceiptState): unknown {
  const { leaf, siblings } = state.proof
  return {
    key: toBase64(state.key),
    leaf: leaf === undefined ? null : [toBase64(leaf.pathHash), toBase64(leaf.valueHash)],
    siblings: siblings.map(toBase64),
    value: state.value === undefined ? null : toBase64(state.value),
  }
}

function partToJson({ chain, leaf, proof, state, what }: ReceiptPart): unknown {
  // `undefined` is left out by JSON.stringify.
  return { chain, leaf: toBase64(leaf), proof, state: state?.map(stateToJson), what }
}

function stepToJson({ chain, leaf, proof }: TrailStep): unknown {
  return { chain, leaf: toBase64(leaf), proof }
}

/** Writes a policy trail by itself, as nodes serve it: a JSON list of steps. */
export function encodeTrail(steps: readonly TrailStep[]): Uint8Array<ArrayBuffer> {
  return encodeUtf8(JSON.stringify(steps.map(stepToJson)))
}

/**
 * Reads what `encodeTrail` wrote; it verifies nothing.
 *
 * @throws {ChainError} `ERR_RECEIPT_FORMAT`.
 */
export function parseTrail(bytes: Uint8Array): readonly TrailStep[] {
  return array(parseJson(bytes), trailStepsMax).map(stepOfJson)
}

/** Writes a receipt; keys stand in the order of their code units. A trail without steps is left out. */
export function encodeReceipt({ genesis, kind, parts, trail }: Receipt): Uint8Array<ArrayBuffer> {
  const steps = trail === undefined || trail.length === 0 ? undefined : trail.map(stepToJson)
  const file = { genesis: toBase64(genesis), kind, parts: parts.map(partToJson), trail: steps, v: 1 }
  return encodeUtf8(JSON.stringify(file))
}

type JsonObject = Readonly<Record<string, unknown>>

/** The value as an object with exactly these keys, `optional` ones excepted. */
function object(value: unknown, keys: readonly string[], optional: readonly string[] = []): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw formatError('shape')
  const names = Object.keys(value)
  if (names.some((name) => !keys.includes(name) && !optional.includes(name))) throw formatError('an unknown key')
  if (keys.some((key) => !names.includes(key))) throw formatError('a missing key')
  return value as JsonObject
}

function array(value: unknown, lengthMax: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length > lengthMax) throw formatError('shape')
  return value
}

function base64(value: unknown): Uint8Array {
  if (typeof value !== 'string') throw formatError('shape')
  try {
    return fromBase64(value)
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
    throw formatError('base64', cause)
  }
}

function oneOf<const T extends string>(value: unknown, allowed: readonly T[]): T {
  const found = allowed.find((word) => word === value)
  if (found === undefined) throw formatError('an unknown word')
  return found
}

function stateOfJson(value: unknown): ReceiptState {
  const state = object(value, ['key', 'leaf', 'siblings', 'value'])
  const siblings = array(state.siblings, 256).map(base64)
  const proof: { -readonly [K in keyof StateProof]: StateProof[K] } = { siblings }
  if (state.leaf !== null) {
    const [pathHash, valueHash, ...more] = array(state.leaf, 2).map(base64)
    if (pathHash === undefined || valueHash === undefined || more.length > 0) throw formatError('shape')
    proof.leaf = { pathHash, valueHash }
  }
  const key = base64(state.key)
  return state.value === null ? { key, proof } : { key, proof, value: base64(state.value) }
}

function partOfJson(value: unknown): ReceiptPart {
  const part = object(value, ['chain', 'leaf', 'proof', 'what'], ['state'])
  if (typeof part.proof !== 'string') throw formatError('shape')
  const plain = {
    what: oneOf(part.what, ['transaction', 'seal', 'anchor']),
    chain: oneOf(part.chain, ['userchain', 'docchain']),
    leaf: base64(part.leaf),
    proof: part.proof,
  }
  return part.state === undefined ? plain : { ...plain, state: array(part.state, statesMax).map(stateOfJson) }
}

function stepOfJson(value: unknown): TrailStep {
  const { chain, leaf, proof } = object(value, ['chain', 'leaf', 'proof'])
  if (typeof proof !== 'string') throw formatError('shape')
  return { chain: oneOf(chain, ['userchain', 'docchain']), leaf: base64(leaf), proof }
}

function parseJson(bytes: Uint8Array): unknown {
  if (bytes.length > receiptSizeBytesMax) throw formatError('too large')
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch (cause) {
    throw formatError('not JSON in UTF-8', cause)
  }
}

/**
 * Reads a receipt in its one form: what `encodeReceipt` would write again, byte for byte.
 *
 * @throws {ChainError} `ERR_RECEIPT_FORMAT`.
 */
export function parseReceipt(bytes: Uint8Array): Receipt {
  const file = object(parseJson(bytes), ['genesis', 'kind', 'parts', 'v'], ['trail'])
  if (file.v !== 1) throw formatError('an unknown version')
  const receipt: Receipt = {
    kind: oneOf(file.kind, ['transaction', 'revocation']),
    genesis: base64(file.genesis),
    parts: array(file.parts, 3).map(partOfJson),
    ...(file.trail === undefined ? {} : { trail: array(file.trail, trailStepsMax).map(stepOfJson) }),
  }
  // White space, another order of keys, repeated keys, other escapes, a byte order mark: all end here.
  if (!equalBytes(encodeReceipt(receipt), bytes)) throw formatError('not canonical')
  return receipt
}
