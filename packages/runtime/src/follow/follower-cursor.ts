/** Where a consumer of a follower stands: canonical CBOR `[height, compact range]` of the last block that it is done with. */
import type { ChainName } from '@healthblock/chain/chains'
import { CompactRange } from '@healthblock/chain/merkle'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { RuntimeError } from '../errors.ts'

/** Writes the cursor of a block. `range`: the log up to its end. */
export function encodeCursor(height: number, range: CompactRange): Uint8Array {
  return encodeCbor([height, range.encode()])
}

/**
 * Reads a cursor; whether it is of the history that is followed is the follower's to say.
 *
 * @throws {RuntimeError} `ERR_CURSOR_INVALID`.
 */
export function decodeCursor(chain: ChainName, cursor: Uint8Array): { height: number; range: CompactRange } {
  try {
    const [height, bytes] = decodeCbor(cursor) as [number, Uint8Array]
    return { height, range: CompactRange.parse(bytes) }
  } catch (cause) {
    throw new RuntimeError('the cursor cannot be read', { code: 'ERR_CURSOR_INVALID', chain }, { cause })
  }
}
