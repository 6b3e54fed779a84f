/** The arguments of `govern` (SPEC.md §6), act by act: canonical CBOR with exactly these fields. */
import { type CborMap, type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { EncodingError } from '@healthblock/encoding/errors'
import { ChainError } from '../errors.ts'
import type { PolicyStore } from '../state/tables.ts'
import { bytes, bytesMax, type Check, list, map, optional, tuple, uint } from '../transaction/schema.ts'

/** Numbers of the acts. */
export const governActs = { admit: 1, remove: 2, policy: 3, parameters: 4 } as const

/** A node of a new policy under its rank. */
export type GovernedNode = readonly [
  rank: number,
  org: Uint8Array,
  account: Uint8Array,
  node: Uint8Array,
  ulog: Uint8Array,
  ucos: Uint8Array,
  dlog: Uint8Array,
  dcos: Uint8Array,
]

/** An organisation, registered before, is admitted with the right to sponsor `quota` accounts. */
export type AdmitArgument = readonly [account: Uint8Array, quota: number]
/** An organisation is removed. */
export type RemoveArgument = readonly [account: Uint8Array]

const u = uint()
const b32 = bytes(32)
const itemsMax = 64

const isPolicy = map({
  q: uint(1),
  nodes: list(tuple<GovernedNode>([u, b32, b32, b32, b32, b32, b32, b32]), 1, itemsMax),
  stores: list(tuple<PolicyStore>([b32, b32, b32, bytesMax(64)]), 0, itemsMax),
  last: list(tuple<readonly [key: Uint8Array, size: number]>([b32, u]), 0, 2 * itemsMax),
})
const isParameters = map({
  quota: list(tuple<readonly [org: Uint8Array, maximum: number]>([b32, u]), 0, itemsMax),
  rules: optional(tuple<readonly [version: number, from: number]>([u, u])),
})

type ValueOf<C> = C extends Check<infer T> ? T : never

/** The policy from the next block on: q, nodes by rank, stores, and the last sizes of the cosigner keys that it replaces. */
export type PolicyArgument = ValueOf<typeof isPolicy>
/** Quotas, and a version of the rules from a height of Userchain on. */
export type ParametersArgument = ValueOf<typeof isParameters>

/** The argument of each act. */
export interface GovernArguments {
  1: AdmitArgument
  2: RemoveArgument
  3: PolicyArgument
  4: ParametersArgument
}

const checks: { readonly [A in keyof GovernArguments]: Check<GovernArguments[A]> } = {
  1: tuple<AdmitArgument>([b32, u]),
  2: tuple<RemoveArgument>([b32]),
  3: isPolicy,
  4: isParameters,
}

function argError(cause?: unknown): ChainError {
  const detail = { code: 'ERR_TRANSACTION_FORMAT', rule: 'govern.arg', field: 'arg' } as const
  return new ChainError('not the argument of this act', detail, { cause })
}

/**
 * Reads the argument of an act: shape only.
 *
 * @throws {ChainError} `ERR_TRANSACTION_FORMAT` with rule `govern.arg`.
 */
export function parseGovernArgument<A extends keyof GovernArguments>(act: A, arg: Uint8Array): GovernArguments[A] {
  let decoded: CborValue
  try {
    decoded = decodeCbor(arg)
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
    throw argError(cause)
  }
  if (!(checks[act] as Check<unknown>)(decoded)) throw argError()
  return decoded as unknown as GovernArguments[A]
}

/**
 * Encodes the argument of an act.
 *
 * @throws {ChainError} `ERR_TRANSACTION_FORMAT` with rule `govern.arg`.
 */
export function encodeGovernArgument<A extends keyof GovernArguments>(
  act: A,
  argument: GovernArguments[A],
): Uint8Array<ArrayBuffer> {
  const encoded = encodeCbor(argument as unknown as CborMap)
  parseGovernArgument(act, encoded)
  return encoded
}
