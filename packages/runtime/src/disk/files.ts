/**
 * Files that survive a crash: a reader sees the old content or the new one, never a part, and what was written is on
 * disk before the call returns. One process owns a data folder at a time.
 */
import { randomBytes } from 'node:crypto'
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { codeOf, RuntimeError } from '../errors.ts'
import { databaseError, fileError } from './disk-errors.ts'

export { fileError } from './disk-errors.ts'

/** Makes names in a folder durable: a rename is on disk only once its folder is. */
export function syncFolder(dir: string): void {
  const descriptor = openSync(dir, constants.O_RDONLY)
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/**
 * Replaces a file's content atomically and durably (temporary file, fsync, rename, fsync of the folder).
 *
 * @param options - `mode` of the new file, default 0644.
 * @throws {RuntimeError} `ERR_DISK_FULL` or `ERR_FILE_FAILED`; the old content then still stands, unless only the last step failed.
 */
export function writeFileDurably(path: string, content: Uint8Array | string, options: { mode?: number } = {}): void {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.new`
  const mode = options.mode ?? 0o644
  try {
    const descriptor = openSync(temporary, 'wx', mode)
    try {
      // The process's mask may have taken bits away.
      fchmodSync(descriptor, mode)
      writeFileSync(descriptor, content)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    renameSync(temporary, path)
    syncFolder(dirname(path))
  } catch (error) {
    rmSync(temporary, { force: true })
    throw fileError(path, error)
  }
}

/** As `writeFileDurably`, readable by the owner alone (0600). */
export function writeSecretFile(path: string, content: Uint8Array | string): void {
  writeFileDurably(path, content, { mode: 0o600 })
}

/**
 * Reads a file that may be absent.
 *
 * @returns Its bytes, or undefined if there is none.
 * @throws {RuntimeError} `ERR_FILE_FAILED` for any other cause, and for a file larger than `sizeBytesMax`.
 */
export function readFileIfPresent(path: string, options: { sizeBytesMax?: number } = {}): Uint8Array | undefined {
  let bytes: Uint8Array
  try {
    bytes = new Uint8Array(readFileSync(path))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw fileError(path, error)
  }
  const max = options.sizeBytesMax ?? 64 * 1024 * 1024
  if (bytes.length > max) throw fileError(path, new Error(`larger than ${max} bytes`))
  return bytes
}

/**
 * Makes a folder and those above it, if absent, and their names durable.
 *
 * @param options - `mode` of those that are made: private (0700) unless it says otherwise.
 * @throws {RuntimeError} `ERR_DISK_FULL` or `ERR_FILE_FAILED`.
 */
export function ensureFolder(dir: string, options: { mode?: number } = {}): void {
  try {
    const missing: string[] = []
    for (let at = resolve(dir); !existsSync(at); at = dirname(at)) missing.push(at)
    // One by one: where nothing can be made (/proc), Node's recursive form never comes back.
    for (const folder of missing.toReversed()) {
      makeFolder(folder, options.mode ?? 0o700)
      syncFolder(dirname(folder))
    }
    if (!statSync(dir).isDirectory()) throw Object.assign(new Error('not a folder'), { code: 'ENOTDIR' })
  } catch (error) {
    // So the system says it where nothing can be made: to whoever asks for a folder, that it is not there says nothing.
    const isNowhere = codeOf(error) === 'ENOENT'
    throw fileError(dir, isNowhere ? new Error('a folder cannot be made there', { cause: error }) : error)
  }
}

function makeFolder(dir: string, mode: number): void {
  try {
    mkdirSync(dir, { mode })
  } catch (error) {
    // Somebody else has made it meanwhile.
    if (codeOf(error) !== 'EEXIST') throw error
  }
}

/** A held data folder. */
export interface FolderLock {
  readonly dir: string
  /** Gives the folder back. Twice is once. */
  release(): void
}

const sqliteBusy = 5

/** Locks that this process holds: referenced here, so that none ends by garbage collection. */
const heldLocks = new Set<DatabaseSync>()

function readHolder(path: string): number | undefined {
  try {
    const pid = Number(readFileSync(path, 'utf8').trim())
    return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined
  } catch {
    return undefined
  }
}

/**
 * Takes a data folder for this process alone. The lock is one of the operating system, held on `DIR/lock` through
 * SQLite, so it ends with its process, however that ends: a dead holder's folder can be taken at once, and no pid that
 * was given out anew is mistaken for the holder. `DIR/lock.pid` only tells people who holds it.
 *
 * @throws {RuntimeError} `ERR_FOLDER_LOCKED` while another process (or another part of this one) holds it.
 */
export function lockFolder(dir: string): FolderLock {
  ensureFolder(dir)
  const pidPath = join(dir, 'lock.pid')
  const path = join(dir, 'lock')
  let database: DatabaseSync
  try {
    database = new DatabaseSync(path)
    // A file that may only be read would be opened all the same, and lock nobody out.
    accessSync(path, constants.W_OK)
  } catch (error) {
    throw codeOf(error) === 'ERR_SQLITE_ERROR' ? databaseError(path, error) : fileError(path, error)
  }
  try {
    // Its journal stays in memory: the lock writes nothing, so a full disk does not refuse it.
    database.exec('PRAGMA busy_timeout = 200; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
  } catch (cause) {
    database.close()
    if ((cause as { errcode?: number }).errcode !== sqliteBusy) throw databaseError(path, cause)
    const pid = readHolder(pidPath)
    const who = pid === undefined ? 'another process' : `process ${pid}`
    throw new RuntimeError(
      `${dir} is in use by ${who}: stop it first, or name another folder`,
      { code: 'ERR_FOLDER_LOCKED', dir, ...(pid === undefined ? {} : { pid }) },
      { cause },
    )
  }
  heldLocks.add(database)
  try {
    writeFileSync(pidPath, `${process.pid}\n`)
  } catch {
    // It only tells people who holds the folder: a full disk is no reason not to start.
  }
  return {
    dir,
    release() {
      if (!heldLocks.delete(database)) return
      rmSync(pidPath, { force: true })
      database.close()
    },
  }
}
