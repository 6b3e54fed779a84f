/**
 * What was stored of uploads that were given up goes again: the first leaf, which says whose it is, by its owner's
 * tombstone, the others with her account's reference. The list is durable, and an entry stays until a store has done it,
 * twice: a store that was slow may still store a leaf for which nobody waited any more, after it was given up.
 */
import { toHex } from '@healthblock/encoding/bytes'
import type { Logger } from '@healthblock/runtime/logger'
import { type PauseLimits, Pauses } from '@healthblock/runtime/pauses'
import type { Database } from '@healthblock/runtime/sqlite'
import { erasedAtOnceMax, type StorageClient } from '@healthblock/runtime/storage-client'

/** Between attempts for one person. */
const pauseLimits: PauseLimits = { minMs: 1_000, maxMs: 600_000 }
/** When it is asked for again: longer than a store waits for the body of a put. */
const againMs = 300_000

interface Dependencies {
  readonly database: Database
  readonly storageOf: (account: Uint8Array) => StorageClient
  readonly logger: Logger
  readonly nowMs: () => number
}

/** Takes abandoned blocks back. */
export class Reclaim {
  readonly #deps: Dependencies
  readonly #pauses: Pauses

  constructor(deps: Dependencies) {
    this.#deps = deps
    this.#pauses = new Pauses(pauseLimits, deps.nowMs)
  }

  /** Notes every leaf of an upload, stored or not, within the caller's transaction. */
  note(account: Uint8Array, stream: Uint8Array, sequence: number): void {
    this.#deps.database.run(
      `INSERT OR IGNORE INTO reclaim (account, digest) SELECT account, digest FROM leaf
       WHERE account = ? AND stream = ? AND sequence = ?`,
      ...[account, stream, sequence],
    )
  }

  /** Has the storage network give up what is noted. What it cannot be asked for now is left for a later step. */
  async step(): Promise<void> {
    const { database, logger } = this.#deps
    for (const row of database.all('SELECT DISTINCT account FROM reclaim')) {
      const account = row.account as Uint8Array
      const name = toHex(account)
      if (this.#pauses.isPausing(name)) continue
      try {
        while ((await this.#some(account)) === erasedAtOnceMax);
        this.#pauses.succeeded(name)
      } catch (error) {
        logger.info({ err: error, againInMs: this.#pauses.failed(name) }, 'abandoned blocks are still stored')
      }
    }
  }

  /** @returns how many were asked for. */
  async #some(account: Uint8Array): Promise<number> {
    const { database, storageOf, nowMs } = this.#deps
    const now = nowMs()
    const rows = database.all(
      'SELECT digest FROM reclaim WHERE account = ? AND (asked IS NULL OR asked NOT BETWEEN ? AND ?) LIMIT ?',
      ...[account, now - againMs + 1, now, erasedAtOnceMax],
    )
    const digests = rows.map(({ digest }) => digest as Uint8Array)
    if (digests.length === 0) return 0
    const left = await storageOf(account).erase(digests)
    const isLeft = new Set(left.map(toHex))
    database.transaction(() => {
      for (const digest of digests) {
        if (isLeft.has(toHex(digest))) continue
        database.run('DELETE FROM reclaim WHERE account = ? AND digest = ? AND asked IS NOT NULL', ...[account, digest])
        database.run('UPDATE reclaim SET asked = ? WHERE account = ? AND digest = ?', now, account, digest)
      }
    })
    if (left.length > 0) throw new Error(`${left.length} blocks were not given up`)
    return digests.length
  }
}
