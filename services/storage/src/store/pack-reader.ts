/** Reads sealed blocks out of packs. */
import { closeSync, openSync, readSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { packPathOf, packsFolderOf, parseMark, recordHeadBytes } from './pack-place.ts'

/** Sealed bytes from which a block is read without making others wait. */
const asyncBytesMin = 131_072

function readAt(path: string, offset: number, length: number): Uint8Array | undefined {
  const file = openSync(path, 'r')
  try {
    const sealed = Buffer.allocUnsafeSlow(length)
    return readSync(file, sealed, 0, length, offset + recordHeadBytes) === length ? sealed : undefined
  } finally {
    closeSync(file)
  }
}

async function readAtAsync(path: string, offset: number, length: number): Promise<Uint8Array | undefined> {
  const file = await open(path, 'r')
  try {
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafeSlow(length), 0, length, offset + recordHeadBytes)
    return bytesRead === length ? buffer : undefined
  } finally {
    await file.close()
  }
}

/**
 * The sealed bytes of a block.
 *
 * @param database - path of the SQLite file beside which the packs are.
 * @param mark - where the block lies, as its row has it.
 * @returns undefined if they cannot be read.
 */
export async function readPacked(database: string, mark: Uint8Array): Promise<Uint8Array | undefined> {
  const { pack, offset, length } = parseMark(mark)
  const path = packPathOf(packsFolderOf(database), pack)
  try {
    return length < asyncBytesMin ? readAt(path, offset, length) : await readAtAsync(path, offset, length)
  } catch {
    return undefined
  }
}
