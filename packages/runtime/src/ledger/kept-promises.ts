/**
 * Promises of gateways, as a sender keeps them: word for word, until each transaction is answered. What a gateway left unanswered beyond its
 * deadline stays, for an audit or as evidence on the ledger: the promise and the log show it together, whatever the gateway says later.
 */
import { type ChainName, chainNames } from '@healthblock/chain/chains'
import type { Database } from '../disk/sqlite.ts'

/** Tables of the outbox's file. */
export const promisesSchema = `
CREATE TABLE promise (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  chain INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  deadline_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE promised (
  id BLOB NOT NULL,
  promise INTEGER NOT NULL,
  passed INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (id, promise)
) STRICT, WITHOUT ROWID;
CREATE INDEX promised_promise ON promised (promise);
`

/** Most promises that were left behind and are kept; the oldest go. */
const passedMax = 1_000

/** A promise whose gateway let its deadline pass. */
export interface PassedPromise {
  readonly chain: ChainName
  /** Canonical CBOR `[statement, signature]`. */
  readonly promise: Uint8Array
  /** Unix ms. */
  readonly deadlineMs: number
  /** Ids of the transactions that it left unanswered, 32 bytes each. */
  readonly transactions: readonly Uint8Array[]
}

/** The promises in an outbox's file. Every method is called inside of a transaction of the caller, or changes one row. */
export class KeptPromises {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** Keeps a promise about these transactions. */
  keep(chain: ChainName, promise: Uint8Array, options: { deadlineMs: number; ids: readonly Uint8Array[] }): void {
    this.#database.run(
      'INSERT INTO promise (chain, bytes, deadline_ms) VALUES (?, ?, ?)',
      ...[chainNames.indexOf(chain), promise, options.deadlineMs],
    )
    const number = Number(this.#database.get('SELECT max(number) AS number FROM promise')?.number)
    for (const id of options.ids) {
      this.#database.run('INSERT OR IGNORE INTO promised (id, promise) VALUES (?, ?)', id, number)
    }
  }

  /**
   * The gateway that promised last has signed another answer than that a transaction is on record. Of those that promised before it, and were
   * away, those have left theirs behind whose deadline is not within this time.
   */
  answered(id: Uint8Array, toCome: readonly [from: number, to: number]): void {
    const last = this.#database.get('SELECT max(promise) AS last FROM promised WHERE id = ? AND passed = 0', id)?.last
    if (typeof last !== 'number') return
    this.#database.run('DELETE FROM promised WHERE id = ? AND promise = ?', id, last)
    this.#forget(last)
    this.passed(id, toCome)
  }

  /** A transaction is on record, or nobody will ask for it again: no promise about it matters, but for those that were left behind before. */
  settled(id: Uint8Array): void {
    const numbers = this.#database.all('SELECT promise FROM promised WHERE id = ? AND passed = 0', id)
    this.#database.run('DELETE FROM promised WHERE id = ? AND passed = 0', id)
    for (const { promise } of numbers) this.#forget(Number(promise))
  }

  /** By its number: a backlog of thousands of promises is not searched for each answer. */
  #forget(number: number): void {
    const forget = 'DELETE FROM promise WHERE number = ? AND NOT EXISTS (SELECT 1 FROM promised WHERE promise = number)'
    this.#database.run(forget, number)
  }

  /** A transaction is not answered: of the promises about it those are left behind whose deadline is not within this time. */
  passed(id: Uint8Array, toCome: readonly [from: number, to: number]): void {
    const isOver = '(SELECT deadline_ms FROM promise WHERE number = promised.promise) NOT BETWEEN ? AND ?'
    const mark = `UPDATE promised SET passed = 1 WHERE id = ? AND passed = 0 AND ${isOver}`
    if (this.#database.run(mark, id, ...toCome) === 0) return
    const oldest = this.#database.get(
      'SELECT DISTINCT promise FROM promised WHERE passed = 1 ORDER BY promise DESC LIMIT 1 OFFSET ?',
      passedMax,
    )?.promise
    if (typeof oldest !== 'number') return
    this.#database.run('DELETE FROM promised WHERE passed = 1 AND promise <= ?', oldest)
    const forget =
      'DELETE FROM promise WHERE number <= ? AND NOT EXISTS (SELECT 1 FROM promised WHERE promise = number)'
    this.#database.run(forget, oldest)
  }

  /** What gateways left unanswered, oldest first. */
  list(): PassedPromise[] {
    const rows = this.#database.all(
      'SELECT * FROM promise WHERE number IN (SELECT promise FROM promised WHERE passed = 1) ORDER BY number',
    )
    return rows.map((row) => ({
      chain: chainNames[Number(row.chain)] as ChainName,
      promise: row.bytes as Uint8Array,
      deadlineMs: Number(row.deadline_ms),
      transactions: this.#database
        .all('SELECT id FROM promised WHERE promise = ? AND passed = 1 ORDER BY id', Number(row.number))
        .map(({ id }) => id as Uint8Array),
    }))
  }
}
