/** The SEAL: the leaf that ends a block (SPEC.md §3). */
import { type CborMap, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { EncodingError } from '@healthblock/encoding/errors'
import { ChainError } from '../errors.ts'
import type { LogHead } from '../transaction/bodies.ts'
import { bytes, type Fields, faultFinder, isMap, list, optional, tuple, uint } from '../transaction/schema.ts'

/** Most transactions of one block. */
export const blockTransactionsMax = 4096

const sealShape = {
  h: uint(),
  i0: uint(),
  k: uint(0, blockTransactionsMax),
  psize: uint(),
  proot: bytes(32),
  st: bytes(32),
  ms: uint(),
  rules: uint(),
  anchor: optional(list(tuple<LogHead>([uint(), bytes(32)]), 1, 1)),
} as const

/**
 * Fields of a SEAL: height `h`; the block's `k` transactions begin at index `i0`; `psize` and `proot` are the log before
 * the block; `st` the state root after it; `ms` its time; `rules` the version of the rules; `anchor`, on Docchain only,
 * one Userchain head.
 */
export type Seal = Fields<typeof sealShape>

const faultIn = faultFinder(sealShape)

function sealError(field: string, cause?: unknown): ChainError {
  return new ChainError(`not a SEAL: ${field}`, { code: 'ERR_LEAF_FORMAT', field }, { cause })
}

/** Encodes a SEAL as the leaf `[2, seal]`. */
export function encodeSealLeaf(seal: Seal): Uint8Array<ArrayBuffer> {
  return encodeCbor([2, seal as unknown as CborMap])
}

/**
 * Reads a SEAL leaf: canonical bytes with exactly a SEAL's fields. Whether they fit the chain is a matter of replay.
 *
 * @throws {ChainError} `ERR_LEAF_FORMAT`.
 */
export function parseSealLeaf(leaf: Uint8Array): Seal {
  let decoded: ReturnType<typeof decodeCbor>
  try {
    decoded = decodeCbor(leaf)
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
    throw sealError('leaf', cause)
  }
  if (!Array.isArray(decoded) || decoded.length !== 2 || decoded[0] !== 2 || !isMap(decoded[1])) throw sealError('leaf')
  const fault = faultIn(decoded[1])
  if (fault !== undefined) throw sealError(fault)
  return decoded[1] as unknown as Seal
}
