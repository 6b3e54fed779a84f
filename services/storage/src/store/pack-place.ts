/** Where a large block lies: what its row has in place of the bytes (SPEC.md §8). */
import { join } from 'node:path'

/** Sealed bytes from which a block lies in a pack. */
export const packedBytesMin = 16_384
/** Length of a place in a row: shorter than any sealed block. */
export const markBytes = 16
/** Digest and length before the sealed bytes. */
export const recordHeadBytes = 36

/** A record in a pack. */
export interface Place {
  readonly pack: number
  /** Where its head begins. */
  readonly offset: number
  /** Of the sealed bytes. */
  readonly length: number
}

/** A record as it is found in its pack. */
export interface RecordPlace extends Place {
  readonly digest: Uint8Array
}

/** The folder of a store's packs. @param path - of the SQLite file. */
export function packsFolderOf(path: string): string {
  return `${path}-packs`
}

/** Path of a pack. */
export function packPathOf(folder: string, pack: number): string {
  return join(folder, String(pack))
}

/** Writes a place. */
export function encodeMark({ pack, offset, length }: Place): Uint8Array {
  const mark = new Uint8Array(markBytes)
  const view = new DataView(mark.buffer)
  view.setUint32(0, pack)
  view.setBigUint64(4, BigInt(offset))
  view.setUint32(12, length)
  return mark
}

/** Reads a place. */
export function parseMark(mark: Uint8Array): Place {
  const view = new DataView(mark.buffer, mark.byteOffset, mark.length)
  return { pack: view.getUint32(0), offset: Number(view.getBigUint64(4)), length: view.getUint32(12) }
}

/** Where the next record begins. */
export function endOf({ offset, length }: Place): number {
  return offset + recordHeadBytes + length
}
