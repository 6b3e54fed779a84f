/** Files that the caller of a command names: bounded, and every fault says which file. */
import { closeSync, openSync, readSync } from 'node:fs'
import { concatBytes } from '@healthblock/encoding/bytes'
import { fileError } from '@healthblock/runtime/files'
import { CommandError } from './io.ts'

/** Largest file that is read: bundles of this project are below it by far, and a device that never ends is not waited for. */
const fileBytesMax = 256 * 1024 * 1024

/** The bytes of a file, or of a pipe, up to a limit. */
function readUpTo(path: string, bytesMax: number): Uint8Array {
  const descriptor = openSync(path, 'r')
  try {
    const pieces: Uint8Array[] = []
    for (let total = 0; ; ) {
      const piece = new Uint8Array(Math.min(1 << 20, bytesMax + 1 - total))
      const count = readSync(descriptor, piece)
      if (count === 0) return concatBytes(...pieces)
      total += count
      if (total > bytesMax) throw new Error(`it is larger than ${bytesMax / 2 ** 20} MiB`)
      pieces.push(piece.subarray(0, count))
    }
  } finally {
    closeSync(descriptor)
  }
}

/** Text in UTF-8, without a byte order mark. `name` is that of the file it comes from. @throws {CommandError} that names it. */
export function decodeText(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new CommandError(`${name} is not a text in UTF-8`, undefined, { cause })
  }
}

/** Reads a text file of at most 256 MiB. @throws {CommandError} that names it. */
export function readFileText(path: string): string {
  return decodeText(readFileBytes(path), path)
}

/** Reads a file of at most 256 MiB. @throws {CommandError} that names it. */
export function readFileBytes(path: string): Uint8Array {
  try {
    return readUpTo(path, fileBytesMax)
  } catch (cause) {
    const { message } = fileError(path, cause)
    throw new CommandError(`cannot read ${message}`, undefined, { cause })
  }
}
