/**
 * SQLite as every service uses it: WAL, a stated durability, deleted bytes overwritten, versions of the schema in
 * `user_version`. One `Database` belongs to one thread; its calls are synchronous.
 */
import { chmodSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { RuntimeError } from '../errors.ts'
import { databaseError, fileError } from './disk-errors.ts'

export { databaseError } from './disk-errors.ts'

/** A step from one version of the schema to the next: statements, or a function for what SQL alone cannot do. */
export type Migration = string | ((database: DatabaseSync) => void)

/** A value that a column may hold. */
export type SqlValue = SQLInputValue
/** A row as SQLite gives it: integers as numbers, blobs as `Uint8Array`. */
export type SqlRow = Record<string, null | number | bigint | string | Uint8Array>

/** How to open a database. */
export interface DatabaseOptions {
  /** File, or `:memory:`. */
  readonly path: string
  /** `full`: a committed transaction survives the loss of power. `normal`: it survives the end of the process; after a loss of power the newest may be gone, none is torn, unless `sync` was awaited. `off`: for a file that is thrown away, and that nobody opens again. */
  readonly synchronous: 'full' | 'normal' | 'off'
  /** Steps from an empty file, in order; `user_version` counts those done. Never change a released one. */
  readonly migrations: readonly Migration[]
  /** How long to wait for another connection's lock, default 5,000. */
  readonly busyTimeoutMs?: number
  /** True: every page is read and checked before anything is done, some 3 s per GiB. For files that hold what nothing else does, and for those that can be made anew, but only at a start. */
  readonly isLookedThrough?: boolean
  /** Page cache, default 8 MiB. */
  readonly cacheSizeBytes?: number
}

/** An open database with its prepared statements. */
export class Database {
  readonly path: string
  readonly #database: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  #inTransaction = false
  /** The write-ahead log, for `sync`. */
  #walFile: FileHandle | undefined
  #isSyncLost = false

  /** Called by `openDatabase` only. */
  constructor(path: string, database: DatabaseSync) {
    this.path = path
    this.#database = database
  }

  /** A prepared statement, made once per SQL text: for the hot paths. Its errors are SQLite's own. */
  statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#database.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }

  /** Runs a statement that changes; returns how many rows it changed. */
  run(sql: string, ...values: SqlValue[]): number {
    return this.#guard(() => Number(this.statement(sql).run(...values).changes))
  }

  /** The first row, if there is one. */
  get(sql: string, ...values: SqlValue[]): SqlRow | undefined {
    return this.#guard(() => this.statement(sql).get(...values) as SqlRow | undefined)
  }

  /** All rows; the statement must bound their number. */
  all(sql: string, ...values: SqlValue[]): SqlRow[] {
    return this.#guard(() => this.statement(sql).all(...values) as SqlRow[])
  }

  /**
   * Runs `work` in one transaction: all of it happens, or, if it throws, nothing. It must not be asynchronous. Inside
   * another transaction of this database it becomes a part of that one.
   */
  transaction<T>(work: () => T): T {
    if (this.#inTransaction) return work()
    this.#begin()
    try {
      const result = this.#guard(work)
      if (result instanceof Promise) throw new TypeError('a transaction cannot wait')
      this.#commit()
      return result
    } finally {
      this.#end()
    }
  }

  /**
   * As `transaction`, in steps: between two of them the database is read, by statements that see what is written so far, and nobody else
   * may write. Whoever leaves it before its end (`return`) leaves nothing of it.
   */
  *transactionInSteps<T>(work: () => Generator<void, T>): Generator<void, T> {
    this.#begin()
    try {
      const steps = work()
      for (;;) {
        const step = this.#guard(() => steps.next())
        if (step.done === true) {
          this.#commit()
          return step.value
        }
        yield
      }
    } finally {
      this.#end()
    }
  }

  #begin(): void {
    this.#guard(() => this.#database.exec('BEGIN IMMEDIATE'))
    this.#inTransaction = true
  }

  /** The commit point of everything that was written since `#begin`. */
  #commit(): void {
    this.#guard(() => this.#database.exec('COMMIT'))
  }

  /** Takes back what was not committed. */
  #end(): void {
    this.#inTransaction = false
    if (this.#database.isOpen && this.#database.isTransaction) this.#database.exec('ROLLBACK')
  }

  /** As `transaction`, for a database opened with `normal`, and it survives the loss of power when it returns, as all before it. */
  transactionSynced<T>(work: () => T): T {
    this.#database.exec('PRAGMA synchronous = FULL')
    try {
      return this.transaction(work)
    } finally {
      this.#database.exec('PRAGMA synchronous = NORMAL')
    }
  }

  /**
   * Resolves once all that was committed before the call survives the loss of power: for a database opened with `normal` whose thread
   * shall not wait for the disk. One call at a time. SQLite syncs its write-ahead log itself before it moves it into the file
   * (https://sqlite.org/wal.html).
   *
   * @throws {RuntimeError} `ERR_DISK_FULL`, `ERR_FILE_FAILED`: what was committed may last or not.
   */
  async sync(): Promise<void> {
    if (this.path === ':memory:') return
    const path = `${this.path}-wal`
    if (this.#isSyncLost) {
      // What a failed sync left unwritten the next one would not write either: the log is emptied into the file, and begins anew.
      const { busy } = this.get('PRAGMA wal_checkpoint(TRUNCATE)') as { busy: number }
      if (busy !== 0) throw fileError(path, new Error('its last sync failed, and a reader holds it'))
      this.#isSyncLost = false
    }
    try {
      this.#walFile ??= await open(path, 'r+')
      await this.#walFile.datasync()
    } catch (error) {
      this.#isSyncLost = true
      throw fileError(path, error)
    }
  }

  /** Moves the write-ahead log into the file, as far as readers allow. */
  checkpoint(): void {
    this.#guard(() => this.#database.exec('PRAGMA wal_checkpoint(PASSIVE)'))
  }

  /** Pages in the write-ahead log, those that are in the file already too. */
  walPages(): number {
    return (this.get('PRAGMA wal_checkpoint(NOOP)') as { log: number }).log
  }

  /** True until `close`. */
  get isOpen(): boolean {
    return this.#database.isOpen
  }

  /** Closes the file. Twice is once. */
  close(): void {
    this.#statements.clear()
    this.#walFile?.close().catch(() => {})
    this.#walFile = undefined
    if (this.#database.isOpen) this.#database.close()
  }

  #guard<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      throw databaseError(this.path, error)
    }
  }
}

function lookThrough(database: DatabaseSync, path: string): void {
  const row = database.prepare('PRAGMA quick_check(1)').get() as { quick_check: string }
  if (row.quick_check === 'ok') return
  const message = `${path} is damaged (${row.quick_check.split('\n').at(-1)}): restore it from a backup of its folder`
  throw new RuntimeError(message, { code: 'ERR_DATABASE_CORRUPT', path })
}

function makePrivate(path: string): void {
  try {
    chmodSync(path, 0o600)
  } catch (error) {
    throw fileError(path, error)
  }
}

/** How many steps were done. */
function stepsDone(database: DatabaseSync, options: DatabaseOptions): number {
  const known = options.migrations.length
  const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number }
  if (version > known) {
    throw new RuntimeError(
      `${options.path} was written by a newer release (schema ${version}, this one knows ${known}): run that release`,
      { code: 'ERR_DATABASE_NEWER', path: options.path, version, versionKnown: known },
    )
  }
  return version
}

function migrate(database: DatabaseSync, options: DatabaseOptions): void {
  const known = options.migrations.length
  if (stepsDone(database, options) === known) return
  // All steps in one transaction: after a crash the file is of the old version or of the new one.
  database.exec('BEGIN IMMEDIATE')
  try {
    // Another process may have done them while this one waited for its turn.
    for (const step of options.migrations.slice(stepsDone(database, options))) {
      if (typeof step === 'string') database.exec(step)
      else step(database)
    }
    database.exec(`PRAGMA user_version = ${known}`)
    database.exec('COMMIT')
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

const sqliteBusy = 5
const journalPauseMs = 5

/** Of several that open a new file at once, SQLite refuses some at this step without waiting, whatever the timeout. */
function setJournal(database: DatabaseSync, mode: 'MEMORY' | 'WAL', timeoutMs: number): void {
  const deadlineMs = performance.now() + timeoutMs
  for (;;) {
    try {
      database.exec(`PRAGMA journal_mode = ${mode}`)
      return
    } catch (error) {
      const { errcode } = error as { errcode?: number }
      if (errcode === undefined || (errcode & 0xff) !== sqliteBusy || performance.now() >= deadlineMs) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, journalPauseMs)
    }
  }
}

/**
 * Opens a database, creating it if absent, and brings its schema to the newest version.
 *
 * @throws {RuntimeError} `ERR_DATABASE_NEWER` if a newer release wrote it; `ERR_DATABASE_CORRUPT`, `ERR_DISK_FULL`, `ERR_DATABASE_FAILED`.
 */
export function openDatabase(options: DatabaseOptions): Database {
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(options.path)
    const cacheKibibytes = Math.ceil((options.cacheSizeBytes ?? 8 * 1024 * 1024) / 1024)
    const busyTimeoutMs = Math.trunc(options.busyTimeoutMs ?? 5_000)
    database.exec(`PRAGMA busy_timeout = ${busyTimeoutMs}`)
    setJournal(database, options.synchronous === 'off' ? 'MEMORY' : 'WAL', busyTimeoutMs)
    database.exec(`PRAGMA synchronous = ${options.synchronous.toUpperCase()}`)
    database.exec('PRAGMA secure_delete = ON')
    database.exec('PRAGMA foreign_keys = ON')
    database.exec(`PRAGMA cache_size = -${cacheKibibytes}`)
    database.exec('PRAGMA wal_autocheckpoint = 1000')
    database.exec('PRAGMA journal_size_limit = 16777216')
    if (options.path !== ':memory:') makePrivate(options.path)
    if (options.isLookedThrough === true) lookThrough(database, options.path)
    migrate(database, options)
    return new Database(options.path, database)
  } catch (error) {
    if (database?.isOpen) database.close()
    throw databaseError(options.path, error)
  }
}
