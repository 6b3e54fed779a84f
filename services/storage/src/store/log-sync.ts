/**
 * Syncs SQLite's write-ahead log for commits that did not wait for the disk. SQLite syncs within a commit, and by `fsync`: meanwhile the
 * thread can do nothing, and the system writes down the file's times, too. Here the thread applies the next groups while
 * the disk is busy with those before, and one `fdatasync` serves all that were committed when it began.
 *
 * What SQLite itself needs it still does: the log is synced before it is written back, and so is its first frame.
 */
import { closeSync, fdatasync, openSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import { isDiskFull } from './disk-room.ts'

const syncData = promisify(fdatasync)

/** Somebody who is to be answered. */
interface Waiting {
  readonly isDurable: boolean
  readonly answer: (failure: Error | undefined) => void
}

/** The log of one writer. Owned by its thread. */
export class LogSync {
  /** No lock of SQLite's is on this file, so that it may be closed. */
  readonly #file: number
  readonly #onFailure: (error: Error) => void
  #waiting: Waiting[] = []
  #running: Promise<void> | undefined
  #failure: Error | undefined

  /**
   * Writes back first what is in the log: an earlier process may have ended because it could not be synced.
   *
   * @param path - of the SQLite file, which is in WAL mode and stays open.
   * @param onFailure - called once a sync has failed, after those who waited for it were told. The system tells of such a failure once;
   *   what was in the log then may be lost, and all that is added behind it with it: the process must end.
   * @throws what SQLite says, unless the disk is full.
   */
  constructor(database: DatabaseSync, path: string, onFailure: (error: Error) => void) {
    this.#onFailure = onFailure
    try {
      database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    } catch (error) {
      if (!isDiskFull(error as Error)) throw error
    }
    this.#file = openSync(`${path}-wal`, 'r')
  }

  /** Closes the file. Nobody may wait. */
  close(): void {
    closeSync(this.#file)
  }

  /** Answers after all who were added before, and but for what is durable already after a sync that began later than this call. */
  add(isDurable: boolean, answer: Waiting['answer']): void {
    if (isDurable && this.isSettled) {
      answer(undefined)
      return
    }
    this.#waiting.push({ isDurable, answer })
    this.#running ??= this.#run()
  }

  /** True if nobody waits. */
  get isSettled(): boolean {
    return this.#running === undefined
  }

  /** Resolves when nobody waits. */
  async settled(): Promise<void> {
    await this.#running
  }

  /** Why nothing can be made durable any more. */
  get failure(): Error | undefined {
    return this.#failure
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const answered = this.#waiting
      this.#waiting = []
      const isSynced = answered.every(({ isDurable }) => isDurable) || (await this.#sync())
      for (const { isDurable, answer } of answered) answer(isDurable || isSynced ? undefined : this.#failure)
    }
    this.#running = undefined
    if (this.#failure !== undefined) this.#onFailure(this.#failure)
  }

  async #sync(): Promise<boolean> {
    try {
      await syncData(this.#file)
    } catch (error) {
      this.#failure ??= error as Error
    }
    return this.#failure === undefined
  }
}
