import { toHex } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'

/** A signed transaction on its way from this node's own file into the outbox. */
export interface Posting {
  /** Transaction id. */
  readonly tx: Uint8Array
  readonly account: Uint8Array
  readonly what: 'register' | 'device' | 'key' | 'envelope' | 'iot' | 'erase' | 'update'
  readonly leaf: Uint8Array
  /** Id of a transaction that must be committed first. */
  readonly requires: Uint8Array | undefined
}

/** What became of a posting. */
export type PostingState = 'pending' | 'committed' | 'refused'

/**
 * Signed transactions are written here in the transaction of what they belong to, and handed to the outbox afterwards:
 * handing over twice is harmless, for the id is the same.
 */
export class Postings {
  readonly #database: Database
  constructor(database: Database) {
    this.#database = database
  }

  /** Inside the caller's transaction. */
  add(posting: Posting, nowMs: number): void {
    this.#database.run(
      "INSERT OR IGNORE INTO posting (tx, account, what, leaf, requires, handed, state, ms) VALUES (?, ?, ?, ?, ?, 0, 'pending', ?)",
      posting.tx,
      posting.account,
      posting.what,
      posting.leaf,
      posting.requires ?? null,
      nowMs,
    )
  }

  /** Inside the caller's transaction: a refused one is signed again, and goes on its way once more. */
  renew({ tx, leaf }: Pick<Posting, 'tx' | 'leaf'>, nowMs: number): void {
    this.#database.run(
      "UPDATE posting SET leaf = ?, handed = 0, state = 'pending', ms = ? WHERE tx = ? AND state = 'refused'",
      ...[leaf, nowMs, tx],
    )
  }

  /** Not yet handed to the outbox, in the order in which they were signed; at most 256. */
  unhanded(): Posting[] {
    const rows = this.#database.all(
      "SELECT tx, account, what, leaf, requires FROM posting WHERE handed = 0 AND state = 'pending' ORDER BY number LIMIT 256",
    )
    return rows.map((row) => ({
      tx: row.tx as Uint8Array,
      account: row.account as Uint8Array,
      what: row.what as Posting['what'],
      leaf: row.leaf as Uint8Array,
      requires: (row.requires as Uint8Array | null) ?? undefined,
    }))
  }

  /** The outbox has it durably. */
  markHanded(tx: Uint8Array): void {
    this.#database.run('UPDATE posting SET handed = 1 WHERE tx = ?', tx)
  }

  /** The outbox's final word, also about what it has and this node was killed before it noted that. A committed leaf is dropped, the ledger has it; a refused one may have to be signed again. */
  markFinal(tx: Uint8Array, state: PostingState): void {
    if (state === 'committed')
      this.#database.run("UPDATE posting SET state = ?, handed = 1, leaf = x'' WHERE tx = ?", state, tx)
    else this.#database.run('UPDATE posting SET state = ?, handed = 1 WHERE tx = ?', state, tx)
  }

  /** Leaves of the transactions that were to follow another one, refused with it. */
  followers(tx: Uint8Array): Uint8Array[] {
    return this.#database
      .all("SELECT leaf FROM posting WHERE requires = ? AND what = 'envelope' ORDER BY number LIMIT 4096", tx)
      .map(({ leaf }) => leaf as Uint8Array)
  }

  /** What became of a transaction of this person; undefined if it is not hers. */
  find(
    account: Uint8Array,
    tx: Uint8Array,
  ): { what: Posting['what']; state: PostingState; requires: string | undefined } | undefined {
    const row = this.#database.get(
      'SELECT what, state, requires FROM posting WHERE tx = ? AND account = ?',
      tx,
      account,
    )
    if (row === undefined) return undefined
    const requires = row.requires as Uint8Array | null
    return {
      what: row.what as Posting['what'],
      state: row.state as PostingState,
      requires: requires === null ? undefined : toHex(requires),
    }
  }

  /** The newest 1,000 transactions of a person's enrolment and consent, in the order in which they were signed. */
  of(account: Uint8Array): { tx: Uint8Array; what: Posting['what']; state: PostingState }[] {
    return this.#database
      .all(
        "SELECT tx, what, state FROM posting WHERE account = ? AND what <> 'iot' ORDER BY number DESC LIMIT 1000",
        account,
      )
      .reverse()
      .map((row) => ({ tx: row.tx as Uint8Array, what: row.what as Posting['what'], state: row.state as PostingState }))
  }
}
