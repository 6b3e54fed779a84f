/**
 * Large blocks, each in a file of its own: SQLite would write every byte twice, to its log and to its file. The row of a
 * block stays the commit point. A file is written and synced, and its name is durable, before the row that names it is
 * committed; it is overwritten and removed only after its row is gone. If we crash in between, a file without a row is
 * left: the next start removes it. A name is never used twice, so that no write touches bytes that a row still names.
 */
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { fromHex, toHex } from '@healthblock/encoding/bytes'

/** Sealed bytes from which a block has a file. */
export const largeBytesMin = 131_072
/** What a row has in place of the bytes: the second half of the file's name. Shorter than any sealed block. */
export const fileMarkBytes = 8
const zeros = new Uint8Array(65_536)
const namePattern = /^([0-9a-f]{64})\.([0-9a-f]{16})$/

/** The folder of a store's large blocks. */
export function largeFolderOf(path: string): string {
  return `${path}-large`
}

/** Where a large block is. */
export function largePathOf(folder: string, digest: Uint8Array, mark: Uint8Array): string {
  return join(folder, `${toHex(digest)}.${toHex(mark)}`)
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at)
}

/** Files that a transaction has written, and those that go with it. Owned by the writer's thread. */
export class LargeBlocks {
  readonly #folder: string
  readonly #directory: number
  #written: { path: string; file: number }[] = []
  #removed: string[] = []

  constructor(folder: string) {
    this.#folder = folder
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    this.#directory = openSync(folder, 'r')
  }

  /** Closes the folder. */
  close(): void {
    closeSync(this.#directory)
  }

  /** Writes a block; it is durable with {@link sync}. @returns what its row says in place of the bytes. */
  write(digest: Uint8Array, sealed: Uint8Array): Uint8Array {
    const mark = new Uint8Array(randomBytes(fileMarkBytes))
    const path = largePathOf(this.#folder, digest, mark)
    const file = openSync(path, 'wx', 0o600)
    this.#written.push({ path, file })
    writeAll(file, sealed)
    return mark
  }

  /** A block's row goes with this transaction. */
  remove(digest: Uint8Array, mark: Uint8Array): void {
    this.#removed.push(largePathOf(this.#folder, digest, mark))
  }

  /** A block's sealed bytes; undefined if they cannot be read. */
  read(digest: Uint8Array, mark: Uint8Array): Uint8Array | undefined {
    try {
      return readFileSync(largePathOf(this.#folder, digest, mark))
    } catch {
      return undefined
    }
  }

  /** How far the transaction is. */
  place(): { written: number; removed: number } {
    return { written: this.#written.length, removed: this.#removed.length }
  }

  /** Undoes what came after a place. */
  rollBack({ written, removed }: { written: number; removed: number }): void {
    for (const { path, file } of this.#written.splice(written)) {
      closeSync(file)
      rmSync(path, { force: true })
    }
    this.#removed.splice(removed)
  }

  /** Makes the transaction's files durable: before its commit. */
  sync(): void {
    if (this.#written.length === 0) return
    for (const { file } of this.#written) fdatasyncSync(file)
    fsyncSync(this.#directory)
  }

  /** The transaction is committed: no byte is left of what went with it. */
  settle(): void {
    for (const { file } of this.#written) closeSync(file)
    this.#written = []
    for (const path of this.#removed.splice(0)) wipe(path)
  }

  /** Removes files without a row: of transactions that a crash cut short. */
  sweep(hasRow: (digest: Uint8Array, mark: Uint8Array) => boolean): void {
    for (const name of readdirSync(this.#folder)) {
      const [, digest, mark] = namePattern.exec(name) ?? []
      if (digest === undefined || mark === undefined || hasRow(fromHex(digest), fromHex(mark))) continue
      wipe(join(this.#folder, name))
    }
  }
}

/** Overwrites a file and removes it. One that cannot be opened any more is removed at the next start. */
function wipe(path: string): void {
  let file: number
  try {
    file = openSync(path, 'r+')
  } catch {
    return
  }
  try {
    const { size } = fstatSync(file)
    for (let at = 0; at < size; at += zeros.length) {
      writeSync(file, zeros, 0, Math.min(zeros.length, size - at), at)
    }
    fdatasyncSync(file)
  } finally {
    closeSync(file)
    rmSync(path, { force: true })
  }
}
