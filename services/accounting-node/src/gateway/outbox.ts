/**
 * What this gateway promised and what it answered, durably: a promise is on disk before it is given. One database per
 * chain, owned by the gateway of that chain. A row of `pending` goes when its transaction is published or answered;
 * refusals and deferrals stay as evidence for `answersKeptMs`.
 */
import { type Database, openDatabase } from '@healthblock/runtime/sqlite'

/** A statement and its signature by the node key, as bytes. */
export interface Signed {
  /** Canonical CBOR of the statement. */
  readonly statement: Uint8Array
  readonly signature: Uint8Array
}

/** What an answer that is not `committed` can be; the numbers are those of SPEC.md §1. */
export const answerKinds = { refused: 3, deferred: 4 } as const
/** 3 refused, 4 deferred. */
export type AnswerKind = (typeof answerKinds)[keyof typeof answerKinds]

/** A final answer that was given. */
export interface StoredAnswer extends Signed {
  readonly kind: AnswerKind
}

/** What is to be promised in one transaction: one submission's accepted leaves. */
export interface Acceptance {
  readonly promise: Signed
  readonly acceptedMs: number
  readonly deadlineMs: number
  readonly transactions: readonly { readonly id: Uint8Array; readonly leaf: Uint8Array }[]
}

/** A promised transaction that is neither published nor answered. */
export interface PendingRow {
  /** Order of acceptance. */
  readonly number: number
  readonly id: Uint8Array
  readonly acceptedMs: number
  readonly deadlineMs: number
  /** Number of the promise that names it. */
  readonly promise: number
}

/** Refusals and deferrals are kept this long: 30 days. */
export const answersKeptMs = 30 * 86_400_000

const schema = `
  CREATE TABLE promise (number INTEGER PRIMARY KEY, statement BLOB NOT NULL, signature BLOB NOT NULL) STRICT;
  CREATE TABLE pending (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    leaf BLOB NOT NULL,
    accepted INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    promise INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX pending_of_promise ON pending (promise);
  CREATE TABLE answer (
    id BLOB PRIMARY KEY,
    kind INTEGER NOT NULL,
    statement BLOB NOT NULL,
    signature BLOB NOT NULL,
    at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX answer_at ON answer (at);
`

/** The durable outbox of one chain's gateway. Every call is synchronous; what returned is on disk. */
export class Outbox {
  readonly #database: Database

  constructor(path: string) {
    this.#database = openDatabase({ path, synchronous: 'full', migrations: [schema], cacheSizeBytes: 2 * 1024 * 1024 })
  }

  /**
   * Stores promises and their leaves in one transaction: the point from which a 202 may be answered. An older answer
   * to one of the transactions goes, since the sender asked anew; so does an older row, which an earlier call left here
   * that failed after it was done.
   *
   * @returns The rows, in the order given.
   */
  accept(acceptances: readonly Acceptance[]): PendingRow[] {
    const database = this.#database
    return database.transaction(() => {
      const rows: PendingRow[] = []
      for (const { promise, acceptedMs, deadlineMs, transactions } of acceptances) {
        const promised = database
          .statement('INSERT INTO promise (statement, signature) VALUES (?, ?)')
          .run(promise.statement, promise.signature)
        const promiseNumber = Number(promised.lastInsertRowid)
        for (const { id, leaf } of transactions) {
          database.statement('DELETE FROM answer WHERE id = ?').run(id)
          const inserted = database
            .statement('INSERT OR REPLACE INTO pending (id, leaf, accepted, deadline, promise) VALUES (?, ?, ?, ?, ?)')
            .run(id, leaf, acceptedMs, deadlineMs, promiseNumber)
          rows.push({ number: Number(inserted.lastInsertRowid), id, acceptedMs, deadlineMs, promise: promiseNumber })
        }
      }
      return rows
    })
  }

  /** Removes what became final by publication. */
  finish(rows: readonly Pick<PendingRow, 'number' | 'promise'>[]): void {
    if (rows.length === 0) return
    this.#database.transaction(() => {
      const remove = this.#database.statement('DELETE FROM pending WHERE number = ?')
      for (const { number } of rows) remove.run(number)
      this.#forgetPromises(rows)
    })
  }

  /** Replaces pending rows by the signed answers that their senders get. */
  answer(
    answers: readonly { readonly row: PendingRow; readonly kind: AnswerKind; readonly signed: Signed }[],
    atMs: number,
  ): void {
    if (answers.length === 0) return
    this.#database.transaction(() => {
      for (const { row, kind, signed } of answers) {
        this.#database.statement('DELETE FROM pending WHERE number = ?').run(row.number)
        this.#database
          .statement('INSERT OR REPLACE INTO answer (id, kind, statement, signature, at) VALUES (?, ?, ?, ?, ?)')
          .run(row.id, kind, signed.statement, signed.signature, atMs)
      }
      this.#forgetPromises(answers.map(({ row }) => row))
    })
  }

  #forgetPromises(rows: readonly Pick<PendingRow, 'promise'>[]): void {
    const forget = this.#database.statement(
      'DELETE FROM promise WHERE number = ?1 AND NOT EXISTS (SELECT 1 FROM pending WHERE promise = ?1)',
    )
    for (const promise of new Set(rows.map((row) => row.promise))) forget.run(promise)
  }

  /** Everything pending, in order of acceptance, at most `countMax` rows. */
  pending(countMax: number): PendingRow[] {
    return this.#database
      .all('SELECT number, id, accepted, deadline, promise FROM pending ORDER BY number LIMIT ?', countMax)
      .map((row) => ({
        number: row.number as number,
        id: row.id as Uint8Array,
        acceptedMs: row.accepted as number,
        deadlineMs: row.deadline as number,
        promise: row.promise as number,
      }))
  }

  /** The leaf of a pending row; undefined once it is final. */
  leaf(number: number): Uint8Array | undefined {
    return this.#database.get('SELECT leaf FROM pending WHERE number = ?', number)?.leaf as Uint8Array | undefined
  }

  /** A promise that still holds for at least one pending row. */
  promise(number: number): Signed | undefined {
    const row = this.#database.get('SELECT statement, signature FROM promise WHERE number = ?', number)
    if (row === undefined) return undefined
    return { statement: row.statement as Uint8Array, signature: row.signature as Uint8Array }
  }

  /** The signed answer that a transaction got, if it was refused or deferred in the last 30 days. */
  storedAnswer(id: Uint8Array): StoredAnswer | undefined {
    const row = this.#database.get('SELECT kind, statement, signature FROM answer WHERE id = ?', id)
    if (row === undefined) return undefined
    return {
      kind: row.kind as AnswerKind,
      statement: row.statement as Uint8Array,
      signature: row.signature as Uint8Array,
    }
  }

  /** Forgets answers given before `nowMs - answersKeptMs`, at most 10,000 at a time, and promises of which no row is left. */
  prune(nowMs: number): void {
    this.#database.run('DELETE FROM promise WHERE number NOT IN (SELECT promise FROM pending)')
    this.#database.run(
      'DELETE FROM answer WHERE id IN (SELECT id FROM answer WHERE at < ? LIMIT 10000)',
      nowMs - answersKeptMs,
    )
  }

  /** Closes the file. */
  close(): void {
    this.#database.close()
  }
}
