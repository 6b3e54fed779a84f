/** The head record of a chain's store: what a ledger goes on from. It is derived, local and never signed. */
import { type CborMap, type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { ChainError } from '../errors.ts'
import { CompactRange } from '../log/merkle.ts'
import type { ChainHead, SizeAndRoot } from './block-types.ts'

/** A head and the compact range of the log up to it. */
export interface HeadState {
  readonly head: ChainHead
  readonly range: CompactRange
}

/** Encodes a head for `ChainStore.apply`. */
export function encodeHead({ head, range }: HeadState): Uint8Array {
  const { height, size, root, stateRoot, ms, anchor } = head
  const fields: CborMap = { height, size, root, st: stateRoot, ms, range: range.encode() }
  if (anchor !== undefined) fields.anchor = [anchor.size, anchor.root]
  return encodeCbor(fields)
}

/**
 * Reads what `encodeHead` wrote.
 *
 * @throws {ChainError} `ERR_STATE_CORRUPT`.
 */
export function parseHead(bytes: Uint8Array): HeadState {
  try {
    const fields = decodeCbor(bytes) as { readonly [key: string]: CborValue }
    const range = CompactRange.parse(fields.range as Uint8Array)
    const anchor = fields.anchor as readonly [number, Uint8Array] | undefined
    const head: ChainHead = {
      height: fields.height as number,
      size: fields.size as number,
      root: fields.root as Uint8Array,
      stateRoot: fields.st as Uint8Array,
      ms: fields.ms as number,
      ...(anchor === undefined ? {} : { anchor: toSizeAndRoot(anchor) }),
    }
    return { head, range }
  } catch (cause) {
    throw new ChainError('the stored head cannot be read', { code: 'ERR_STATE_CORRUPT' }, { cause })
  }
}

/** `[size, root]` of a body or a SEAL, by name. */
export function toSizeAndRoot([size, root]: readonly [number, Uint8Array]): SizeAndRoot {
  return { size, root }
}
