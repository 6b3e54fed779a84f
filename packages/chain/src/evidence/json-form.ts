/** What receipts and dispute bundles share: canonical JSON in exactly one form, and the pieces that both carry (SPEC.md §7). */
import { fromBase64, toBase64 } from '@healthblock/encoding/bytes'
import { EncodingError } from '@healthblock/encoding/errors'
import { ChainError } from '../errors.ts'
import type { TrailStep } from '../policy/policy-trail.ts'
import type { StateProof } from '../state/state-tree.ts'

/** Largest file. */
export const fileSizeBytesMax = 8_388_608
/** Most steps of the policy trail of one file. */
export const fileTrailStepsMax = 1024

/** A state proof as a receipt carries it: of `value`, or of absence if that is absent. */
export interface ReceiptState {
  /** Canonical CBOR of the key. */
  readonly key: Uint8Array
  readonly value?: Uint8Array
  readonly proof: StateProof
}

/** The bytes are not of the one form. */
export function formatError(reason: string, cause?: unknown): ChainError {
  return new ChainError(
    `not a receipt, bundle or succession: ${reason}`,
    { code: 'ERR_RECEIPT_FORMAT', reason },
    { cause },
  )
}

/** Reads JSON in UTF-8, of a limited size. */
export function parseJson(bytes: Uint8Array): unknown {
  if (bytes.length > fileSizeBytesMax) throw formatError('too large')
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch (cause) {
    throw formatError('not JSON in UTF-8', cause)
  }
}

/** An object with keys that were looked at. */
export type JsonObject = Readonly<Record<string, unknown>>

/** The value as an object with exactly these keys, `optional` ones excepted. */
export function object(value: unknown, keys: readonly string[], optional: readonly string[] = []): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw formatError('shape')
  const names = Object.keys(value)
  if (names.some((name) => !keys.includes(name) && !optional.includes(name))) throw formatError('an unknown key')
  if (keys.some((key) => !names.includes(key))) throw formatError('a missing key')
  return value as JsonObject
}

/** The value as an array of at most so many. */
export function array(value: unknown, lengthMax: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length > lengthMax) throw formatError('shape')
  return value
}

/** The bytes of a base64 text. */
export function base64(value: unknown): Uint8Array {
  if (typeof value !== 'string') throw formatError('shape')
  try {
    return fromBase64(value)
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
    throw formatError('base64', cause)
  }
}

/** One of these words. */
export function oneOf<const T extends string>(value: unknown, allowed: readonly T[]): T {
  const found = allowed.find((word) => word === value)
  if (found === undefined) throw formatError('an unknown word')
  return found
}

/** A whole number that is not negative. */
export function uintOfJson(value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0 || Object.is(value, -0)) throw formatError('shape')
  return value as number
}

/** A text. */
export function textOfJson(value: unknown): string {
  if (typeof value !== 'string') throw formatError('shape')
  return value
}

/** Writes a state proof. */
export function stateToJson(state: ReceiptState): unknown {
  const { leaf, siblings } = state.proof
  return {
    key: toBase64(state.key),
    leaf: leaf === undefined ? null : [toBase64(leaf.pathHash), toBase64(leaf.valueHash)],
    siblings: siblings.map(toBase64),
    value: state.value === undefined ? null : toBase64(state.value),
  }
}

/** Reads a state proof. */
export function stateOfJson(value: unknown): ReceiptState {
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

/** Writes a step of the policy trail. */
export function stepToJson({ chain, leaf, proof }: TrailStep): unknown {
  return { chain, leaf: toBase64(leaf), proof }
}

/** Reads a step of the policy trail. */
export function stepOfJson(value: unknown): TrailStep {
  const { chain, leaf, proof } = object(value, ['chain', 'leaf', 'proof'])
  if (typeof proof !== 'string') throw formatError('shape')
  return { chain: oneOf(chain, ['userchain', 'docchain']), leaf: base64(leaf), proof }
}
