/** What is done to the files of packs: written to, walked, overwritten. */
import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, rmSync, writeSync, writevSync } from 'node:fs'
import { type Place, packPathOf, type RecordPlace, recordHeadBytes } from './pack-place.ts'

const zeros = new Uint8Array(65_536)

/** Writes buffers one after the other. @returns how many bytes they are. */
export function writeAll(file: number, buffers: readonly Uint8Array[], position: number): number {
  const size = buffers.reduce((sum, { length }) => sum + length, 0)
  let done = writevSync(file, buffers, position)
  if (done === size) return size
  const rest = Buffer.concat(buffers)
  while (done < size) done += writeSync(file, rest, done, size - done, position + done)
  return size
}

/** The records of a part of a pack, in their order, without their bytes, as far as they can be told from each other. */
export function* recordsOf(
  path: string,
  { from, to }: { from: number; to: number },
): Generator<Omit<RecordPlace, 'pack'>> {
  const file = openSync(path, 'r')
  try {
    for (let offset = from; offset < to; ) {
      const head = new Uint8Array(recordHeadBytes)
      if (readSync(file, head, 0, head.length, offset) < head.length) return
      const length = new DataView(head.buffer).getUint32(32)
      if (length === 0 || offset + recordHeadBytes + length > to) return
      yield { digest: head.subarray(0, 32), offset, length }
      offset += recordHeadBytes + length
    }
  } finally {
    closeSync(file)
  }
}

/** The sealed bytes of a record; undefined if they cannot be read. @param folder - of the packs. */
export function readRecord(folder: string, { pack, offset, length }: Place): Uint8Array | undefined {
  try {
    const file = openSync(packPathOf(folder, pack), 'r')
    try {
      const sealed = new Uint8Array(length)
      return readSync(file, sealed, 0, length, offset + recordHeadBytes) === length ? sealed : undefined
    } finally {
      closeSync(file)
    }
  } catch {
    return undefined
  }
}

/** Overwrites a range of a file. */
export function wipeRange(file: number, from: number, to: number): void {
  for (let at = from; at < to; at += zeros.length) writeSync(file, zeros, 0, Math.min(zeros.length, to - at), at)
}

/** Overwrites the sealed bytes of records; their heads stay, so that the pack can still be walked. False if it cannot. */
export function wipeRecords(path: string, places: readonly Place[]): boolean {
  let file: number | undefined
  try {
    file = openSync(path, 'r+')
    for (const { offset, length } of places) {
      const from = offset + recordHeadBytes
      wipeRange(file, from, from + length)
    }
    fdatasyncSync(file)
    return true
  } catch {
    return false
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

/** Overwrites a file and removes it. One that cannot be overwritten stays, and is tried again at the next start. */
export function wipeFile(path: string): void {
  let file: number | undefined
  try {
    file = openSync(path, 'r+')
    wipeRange(file, 0, fstatSync(file).size)
    fdatasyncSync(file)
    rmSync(path, { force: true })
  } catch {
    // No row names it any more: it holds up nothing.
  } finally {
    if (file !== undefined) closeSync(file)
  }
}
