/**
 * The disk of one chain of one node: a folder of the file system. Syncs run in libuv's pool, so that they do not hold up the
 * event loop; reads and short writes are synchronous, and the page cache answers them.
 */
import { readSync, writeSync } from 'node:fs'
import { type FileHandle, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { RuntimeError } from '@healthblock/runtime/errors'
import { ensureFolder, fileError, syncFolder } from '@healthblock/runtime/files'
import type { AppendFile, Disk } from '../core/ports.ts'

/** What is written at once, on the event loop. */
const shortSizeBytesMax = 64 * 1024

function isAbsent(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT'
}

async function writeAtomically(path: string, bytes: Uint8Array, durable: boolean): Promise<void> {
  // One writer per file (the port's promise), so one temporary name is enough, and a crash leaves at most one behind.
  const temporary = `${path}.new`
  const handle = await open(temporary, 'w', 0o600)
  try {
    await handle.writeFile(bytes)
    if (durable) await handle.datasync()
  } finally {
    await handle.close()
  }
  await rename(temporary, path)
  if (durable) syncFolder(dirname(path))
}

/** Gives a file's faults their type and words. */
async function typed<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw error instanceof RuntimeError ? error : fileError(path, error)
  }
}

class FileAppend implements AppendFile {
  readonly #path: string
  #handle: FileHandle
  readonly #onSync: (seconds: number) => void
  #size: number

  constructor(path: string, handle: FileHandle, options: { size: number; onSync: (seconds: number) => void }) {
    this.#path = path
    this.#handle = handle
    this.#size = options.size
    this.#onSync = options.onSync
  }

  size(): number {
    return this.#size
  }

  async append(bytes: Uint8Array): Promise<void> {
    const begunMs = performance.now()
    const isShort = bytes.length <= shortSizeBytesMax
    await typed(this.#path, async () => {
      for (let written = 0; written < bytes.length; ) {
        const place = [bytes, written, bytes.length - written, this.#size + written] as const
        // The page cache takes a short write in less time than the pool takes to hear of it; the sync is what waits for the disk.
        written += isShort ? writeSync(this.#handle.fd, ...place) : (await this.#handle.write(...place)).bytesWritten
      }
      await this.#handle.datasync()
    })
    this.#onSync((performance.now() - begunMs) / 1000)
    this.#size += bytes.length
  }

  read(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(Math.max(0, Math.min(length, this.#size - offset)))
    let filled = 0
    while (filled < bytes.length) {
      const count = readSync(this.#handle.fd, bytes, filled, bytes.length - filled, offset + filled)
      if (count === 0) break
      filled += count
    }
    return filled === bytes.length ? bytes : bytes.subarray(0, filled)
  }

  async replace(bytes: Uint8Array): Promise<void> {
    await typed(this.#path, () => writeAtomically(this.#path, bytes, true))
    const old = this.#handle
    this.#handle = await open(this.#path, 'r+')
    this.#size = bytes.length
    await old.close()
  }

  async truncate(sizeBytes: number): Promise<void> {
    await this.#handle.truncate(sizeBytes)
    await this.#handle.datasync()
    this.#size = sizeBytes
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }
}

/** Opens the folder `dir` as a disk, creating it (0700) if absent. `onSync` is told how long each append took with its sync. */
export function openFileDisk(dir: string, onSync: (seconds: number) => void = () => {}): Disk {
  ensureFolder(dir)
  return {
    async open(name) {
      const path = join(dir, name)
      ensureFolder(dirname(path))
      return typed(path, async () => {
        // 'a' would write at the end whatever the position says; a failed append could then leave a hole unseen.
        await (await open(path, 'a+', 0o600)).close()
        const handle = await open(path, 'r+')
        syncFolder(dirname(path))
        const { size } = await handle.stat()
        return new FileAppend(path, handle, { size, onSync })
      })
    },
    async read(name) {
      try {
        return new Uint8Array(await readFile(join(dir, name)))
      } catch (error) {
        if (isAbsent(error)) return undefined
        throw error
      }
    },
    async write(name, bytes, { durable }) {
      const path = join(dir, name)
      ensureFolder(dirname(path))
      await typed(path, async () => {
        if (durable) return writeAtomically(path, bytes, true)
        await writeFile(`${path}.new`, bytes, { mode: 0o600 })
        await rename(`${path}.new`, path)
      })
    },
    async list(folder) {
      try {
        return (await readdir(join(dir, folder))).sort()
      } catch (error) {
        if (isAbsent(error)) return []
        throw error
      }
    },
    async remove(name) {
      await rm(join(dir, name), { force: true })
    },
  }
}
