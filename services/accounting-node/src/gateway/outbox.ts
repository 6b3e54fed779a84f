/**
 * What this gateway promised and what it answered, durably: a promise is on disk before it is given. One database per
 * chain, owned by the gateway of that chain. What one submission promised is one row, which goes when the last of its transactions is
 * published or answered; refusals and deferrals stay as evidence for `answersKeptMs`. What was published since the last opening is
 * known in memory alone: after a restart the gateway finds it on the ledger and says so again.
 */
import { byteText, concatBytes } from '@healthblock/encoding/bytes'
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

/** `ids`: 32 bytes each. `lengths`: of the leaves, u16 each, most significant byte first. `answer.promise`: the promise that was answered. */
const bySubmission = `
  CREATE TABLE promised (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    statement BLOB NOT NULL,
    signature BLOB NOT NULL,
    accepted INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    ids BLOB NOT NULL,
    lengths BLOB NOT NULL,
    leaves BLOB NOT NULL
  ) STRICT;
  INSERT INTO promised (statement, signature, accepted, deadline, ids, lengths, leaves)
    SELECT promise.statement, promise.signature, accepted, deadline, id, unhex(printf('%04x', length(leaf))), leaf
    FROM pending JOIN promise ON promise.number = pending.promise ORDER BY pending.number;
  DROP TABLE pending;
  DROP TABLE promise;
  ALTER TABLE answer ADD COLUMN promise INTEGER NOT NULL DEFAULT 0;
`

const idSizeBytes = 32
/** Rows of one promise are numbered from its number times this: a submission has at most as many transactions. */
const rowsPerPromise = 256

/** Opens the database of an outbox, for who keeps it longer than one outbox. */
export function openOutboxDatabase(path: string): Database {
  return openDatabase({
    path,
    synchronous: 'normal',
    migrations: [schema, bySubmission],
    cacheSizeBytes: 2 * 1024 * 1024,
  })
}

/**
 * The durable outbox of one chain's gateway. Promises and answers are on the disk once the call returned or resolved; what was removed
 * because it is published may come back after a loss of power, and is then found on the ledger.
 */
export class Outbox {
  readonly #database: Database
  /** Rows that are neither published nor answered, by their promise; in order of acceptance. */
  readonly #open = new Map<number, Map<number, PendingRow>>()
  /** The same rows by their id. */
  readonly #byId = new Map<string, PendingRow>()

  /** @param at - A file, or what `openOutboxDatabase` opened. */
  constructor(at: string | Database) {
    this.#database = typeof at === 'string' ? openOutboxDatabase(at) : at
    const answered = this.#database.statement('SELECT 1 FROM answer WHERE id = ? AND promise >= ?')
    for (const row of this.#database
      .statement('SELECT number, accepted, deadline, ids FROM promised ORDER BY number')
      .iterate()) {
      const { number, accepted, deadline, ids } = row as Record<string, number> & { ids: Uint8Array }
      const rows = rowsOf(
        { promise: number as number, acceptedMs: accepted as number, deadlineMs: deadline as number },
        ids,
      )
      const open = rows.filter(({ id, promise }) => answered.get(id, promise) === undefined)
      this.#close(this.#replacedBy(open))
      this.#note(open)
    }
    const held = this.#database.statement('SELECT number FROM promised').all() as { number: number }[]
    this.#removePromises(held.map(({ number }) => number).filter((number) => !this.#open.has(number)))
  }

  #note(rows: readonly PendingRow[]): void {
    const [first] = rows
    if (first === undefined) return
    this.#open.set(first.promise, new Map(rows.map((row) => [row.number, row])))
    for (const row of rows) this.#byId.set(byteText(row.id), row)
  }

  /** Rows of earlier promises of the same transactions: a write that was reported as failed may have been done. */
  #replacedBy(rows: readonly Pick<PendingRow, 'id'>[]): PendingRow[] {
    return rows.flatMap(({ id }) => this.#byId.get(byteText(id)) ?? [])
  }

  /**
   * Stores promises and their leaves in one transaction, and syncs it without holding up the thread: once it resolved, a 202 may be
   * answered. An older answer to one of the transactions counts no more, since the sender asked anew. One call at a time.
   *
   * @param acceptances - With 1 to 256 transactions each.
   * @param finished - Removed in the same transaction, as by `finish`.
   * @returns The rows, in the order given.
   * @throws {RuntimeError} if the disk failed: what was not promised may be stored all the same, and is taken up at the next start.
   */
  async accept(
    acceptances: readonly Acceptance[],
    finished: readonly Pick<PendingRow, 'number' | 'promise'>[] = [],
  ): Promise<PendingRow[]> {
    const database = this.#database
    const replaced = acceptances.flatMap(({ transactions }) => this.#replacedBy(transactions))
    const accepted = database.transaction(() => {
      this.#removePromises(this.#emptiedBy([...replaced, ...finished]))
      return acceptances.map(({ promise, acceptedMs, deadlineMs, transactions }) => {
        const ids = concatBytes(...transactions.map(({ id }) => id))
        const leaves = transactions.map(({ leaf }) => leaf)
        const lengths = Uint8Array.from(leaves.flatMap(({ length }) => [length >> 8, length & 0xff]))
        const { lastInsertRowid } = database
          .statement(
            'INSERT INTO promised (statement, signature, accepted, deadline, ids, lengths, leaves) VALUES (?, ?, ?, ?, ?, ?, ?)',
          )
          .run(promise.statement, promise.signature, acceptedMs, deadlineMs, ids, lengths, concatBytes(...leaves))
        return rowsOf({ promise: Number(lastInsertRowid), acceptedMs, deadlineMs }, ids)
      })
    })
    this.#close(replaced)
    this.#close(finished)
    for (const rows of accepted) this.#note(rows)
    // The commit point of the promises.
    if (acceptances.length > 0) await database.sync()
    return accepted.flat()
  }

  /** Removes what became final by publication. */
  finish(rows: readonly Pick<PendingRow, 'number' | 'promise'>[]): void {
    const emptied = this.#emptiedBy(rows)
    if (emptied.length > 0) this.#database.transaction(() => this.#removePromises(emptied))
    this.#close(rows)
  }

  /** Replaces pending rows by the signed answers that their senders get. */
  answer(
    answers: readonly { readonly row: PendingRow; readonly kind: AnswerKind; readonly signed: Signed }[],
    atMs: number,
  ): void {
    if (answers.length === 0) return
    const rows = answers.map(({ row }) => row)
    this.#database.transactionSynced(() => {
      const insert = this.#database.statement(
        'INSERT OR REPLACE INTO answer (id, kind, statement, signature, at, promise) VALUES (?, ?, ?, ?, ?, ?)',
      )
      for (const { row, kind, signed } of answers) {
        insert.run(row.id, kind, signed.statement, signed.signature, atMs, row.promise)
      }
      this.#removePromises(this.#emptiedBy(rows))
    })
    this.#close(rows)
  }

  /** Promises of which nothing is open once these rows are closed. */
  #emptiedBy(rows: readonly Pick<PendingRow, 'number' | 'promise'>[]): number[] {
    const closing = new Map<number, Set<number>>()
    for (const { number, promise } of rows) {
      if (this.#open.get(promise)?.has(number) !== true) continue
      const numbers = closing.get(promise)
      if (numbers === undefined) closing.set(promise, new Set([number]))
      else numbers.add(number)
    }
    return [...closing].flatMap(([promise, numbers]) =>
      numbers.size === this.#open.get(promise)?.size ? [promise] : [],
    )
  }

  #removePromises(promises: readonly number[]): void {
    const remove = this.#database.statement('DELETE FROM promised WHERE number = ?')
    for (const promise of promises) remove.run(promise)
  }

  /** After the commit. */
  #close(rows: readonly Pick<PendingRow, 'number' | 'promise'>[]): void {
    for (const { number, promise } of rows) {
      const open = this.#open.get(promise)
      const row = open?.get(number)
      if (open === undefined || row === undefined) continue
      open.delete(number)
      if (open.size === 0) this.#open.delete(promise)
      const id = byteText(row.id)
      if (this.#byId.get(id) === row) this.#byId.delete(id)
    }
  }

  /** Everything pending, in order of acceptance, at most `countMax` rows. */
  pending(countMax: number): PendingRow[] {
    const found: PendingRow[] = []
    for (const rows of this.#open.values()) {
      for (const row of rows.values()) {
        if (found.length >= countMax) return found
        found.push(row)
      }
    }
    return found
  }

  /** The leaf of a pending row; undefined once its promise is final. */
  leaf(number: number): Uint8Array | undefined {
    const promise = Math.floor(number / rowsPerPromise)
    const lengths = this.#database.get('SELECT lengths FROM promised WHERE number = ?', promise)?.lengths as
      | Uint8Array
      | undefined
    if (lengths === undefined) return undefined
    const lengthAt = (position: number): number =>
      (lengths[2 * position] as number) * 256 + (lengths[2 * position + 1] as number)
    const position = number % rowsPerPromise
    let start = 1
    for (let before = 0; before < position; before++) start += lengthAt(before)
    const sql = 'SELECT substr(leaves, ?, ?) AS leaf FROM promised WHERE number = ?'
    return this.#database.get(sql, start, lengthAt(position), promise)?.leaf as Uint8Array | undefined
  }

  /** A promise that still holds for at least one pending row. */
  promise(number: number): Signed | undefined {
    const row = this.#database.get('SELECT statement, signature FROM promised WHERE number = ?', number)
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

  /** Forgets answers given before `nowMs - answersKeptMs`, at most 10,000 at a time. */
  prune(nowMs: number): void {
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

function rowsOf(common: Pick<PendingRow, 'promise' | 'acceptedMs' | 'deadlineMs'>, ids: Uint8Array): PendingRow[] {
  return Array.from({ length: ids.length / idSizeBytes }, (_, position) => {
    const id = ids.slice(position * idSizeBytes, (position + 1) * idSizeBytes)
    return { number: common.promise * rowsPerPromise + position, id, ...common }
  })
}
