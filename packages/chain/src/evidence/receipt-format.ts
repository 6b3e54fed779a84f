/** The file of a receipt: canonical JSON in exactly one form (SPEC.md §7). It verifies nothing. */
import { encodeUtf8, equalBytes, toBase64 } from '@healthblock/encoding/bytes'
import type { ChainName } from '../chains.ts'
import { witnessesMax } from '../log/witness.ts'
import type { TrailStep } from '../policy/policy-trail.ts'
import {
  array,
  base64,
  fileSizeBytesMax,
  fileTrailStepsMax,
  formatError,
  object,
  oneOf,
  parseJson,
  type ReceiptState,
  stateOfJson,
  stateToJson,
  stepOfJson,
  stepToJson,
  textOfJson,
} from './json-form.ts'

export type { ReceiptState } from './json-form.ts'

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
  /** Keys (vkey) of the witnesses whose lines end the checkpoint of every part, in the order of their code units. */
  readonly witnesses?: readonly string[]
}

/** Largest receipt. */
export const receiptSizeBytesMax = fileSizeBytesMax
/** Most state proofs of one part: as many as a `key` can close grants. */
const statesMax = 256

function partToJson({ chain, leaf, proof, state, what }: ReceiptPart): unknown {
  // `undefined` is left out by JSON.stringify.
  return { chain, leaf: toBase64(leaf), proof, state: state?.map(stateToJson), what }
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
  return array(parseJson(bytes), fileTrailStepsMax).map(stepOfJson)
}

/** Writes a receipt; keys stand in the order of their code units. A trail without steps and an empty list of witnesses are left out. */
export function encodeReceipt({ genesis, kind, parts, trail, witnesses }: Receipt): Uint8Array<ArrayBuffer> {
  const steps = trail === undefined || trail.length === 0 ? undefined : trail.map(stepToJson)
  const keys = witnesses === undefined || witnesses.length === 0 ? undefined : witnesses
  const file = { genesis: toBase64(genesis), kind, parts: parts.map(partToJson), trail: steps, v: 1, witnesses: keys }
  return encodeUtf8(JSON.stringify(file))
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

/**
 * Reads a receipt in its one form: what `encodeReceipt` would write again, byte for byte.
 *
 * @throws {ChainError} `ERR_RECEIPT_FORMAT`.
 */
export function parseReceipt(bytes: Uint8Array): Receipt {
  const file = object(parseJson(bytes), ['genesis', 'kind', 'parts', 'v'], ['trail', 'witnesses'])
  if (file.v !== 1) throw formatError('an unknown version')
  const receipt: Receipt = {
    kind: oneOf(file.kind, ['transaction', 'revocation']),
    genesis: base64(file.genesis),
    parts: array(file.parts, 3).map(partOfJson),
    ...(file.trail === undefined ? {} : { trail: array(file.trail, fileTrailStepsMax).map(stepOfJson) }),
    ...(file.witnesses === undefined ? {} : { witnesses: array(file.witnesses, witnessesMax).map(textOfJson) }),
  }
  // White space, another order of keys, repeated keys, other escapes, a byte order mark: all end here.
  if (!equalBytes(encodeReceipt(receipt), bytes)) throw formatError('not canonical')
  return receipt
}
