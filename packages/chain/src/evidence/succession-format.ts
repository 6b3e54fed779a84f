/** The file that proves a succession: canonical JSON in exactly one form (SPEC.md §10). It verifies nothing. */
import { encodeUtf8, equalBytes, toBase64 } from '@healthblock/encoding/bytes'
import type { TrailStep } from '../policy/policy-trail.ts'
import { type DisputePart, partOfJson, partToJson } from './dispute-format.ts'
import {
  array,
  base64,
  fileTrailStepsMax,
  formatError,
  object,
  oneOf,
  parseJson,
  stepOfJson,
  stepToJson,
} from './json-form.ts'

/** An organisation's signature under the statement `successor`. */
export interface Approval {
  /** On the ledger that is succeeded. */
  readonly account: Uint8Array
  readonly signature: Uint8Array
}

/** A succession taken apart. */
export interface Succession {
  /** The genesis file of the ledger that is succeeded. */
  readonly genesis: Uint8Array
  /** The genesis file of its successor. */
  readonly successor: Uint8Array
  /** The SEALs that end both logs, Userchain's with the records that say who governed. */
  readonly parts: readonly DisputePart[]
  /** Ascending by account. */
  readonly approvals: readonly Approval[]
  readonly trail: readonly TrailStep[]
}

/** Most organisations that govern a ledger, and so most approvals. */
const approvalsMax = 256

/** Writes a succession; keys stand in the order of their code units. */
export function encodeSuccession({ genesis, successor, parts, approvals, trail }: Succession): Uint8Array<ArrayBuffer> {
  const file = {
    approvals: approvals.map(({ account, signature }) => [toBase64(account), toBase64(signature)]),
    genesis: toBase64(genesis),
    kind: 'succession',
    parts: parts.map(partToJson),
    successor: toBase64(successor),
    trail: trail.length === 0 ? undefined : trail.map(stepToJson),
    v: 1,
  }
  return encodeUtf8(JSON.stringify(file))
}

function approvalOfJson(value: unknown): Approval {
  const [account, signature, ...more] = array(value, 2).map(base64)
  if (account?.length !== 32 || signature?.length !== 64 || more.length > 0) throw formatError('shape')
  return { account, signature }
}

/**
 * Reads a succession in its one form: what `encodeSuccession` would write again, byte for byte.
 *
 * @throws {ChainError} `ERR_RECEIPT_FORMAT`.
 */
export function parseSuccession(bytes: Uint8Array): Succession {
  const file = object(parseJson(bytes), ['approvals', 'genesis', 'kind', 'parts', 'successor', 'v'], ['trail'])
  if (file.v !== 1) throw formatError('an unknown version')
  oneOf(file.kind, ['succession'])
  const succession: Succession = {
    genesis: base64(file.genesis),
    successor: base64(file.successor),
    parts: array(file.parts, 2).map(partOfJson),
    approvals: array(file.approvals, approvalsMax).map(approvalOfJson),
    trail: file.trail === undefined ? [] : array(file.trail, fileTrailStepsMax).map(stepOfJson),
  }
  if (!equalBytes(encodeSuccession(succession), bytes)) throw formatError('not canonical')
  return succession
}
