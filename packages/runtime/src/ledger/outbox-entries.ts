/**
 * What an outbox keeps on disk: its entries with their promises, and the receipts. Each method is one durable step. A finished entry's leaf is
 * erased; its receipt is a file.
 */
import { join } from 'node:path'
import { type ChainName, chainNames } from '@healthblock/chain/chains'
import { parseStatement } from '@healthblock/chain/statement'
import { parseTransactionLeaf, transactionId } from '@healthblock/chain/transaction'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { ensureFolder, readFileIfPresent, writeFileDurably } from '../disk/files.ts'
import { type Database, openDatabase, type SqlRow } from '../disk/sqlite.ts'
import { RuntimeError } from '../errors.ts'
import { isYetToCome } from '../process/pauses.ts'
import { KeptPromises, type PassedPromise, promisesSchema } from './kept-promises.ts'
import type { SignedRefusal, Submission } from './ledger-answers.ts'
import { promiseMsMax, readStatement } from './ledger-client.ts'

/** A transaction to deliver. */
export interface OutboxItem {
  readonly chain: ChainName
  /** The signed leaf. */
  readonly leaf: Uint8Array
  /** Id of an entry that must be committed before this one is sent; if it is refused, this one is refused with it. */
  readonly dependsOn?: Uint8Array
  /** True: one that was refused is sent again, with this leaf's signatures; the refusal is forgotten. */
  readonly isAnew?: boolean
}

/** Where an entry is: `waiting` to be sent (again), `promised` by a gateway, or finished. */
export type OutboxStatus = 'waiting' | 'promised' | 'committed' | 'refused'

/** An entry as it is now. */
export interface OutboxEntry {
  /** Transaction id, lower-case hex. */
  readonly id: string
  readonly chain: ChainName
  readonly status: OutboxStatus
  /** When it was added, Unix ms. */
  readonly addedMs: number
  /** How often it was sent. */
  readonly attempts: number
  /** Index and height of the committed transaction. */
  readonly index?: number
  readonly height?: number
  /** Path of the verified receipt. */
  readonly receiptPath?: string
  /** The rule that refused it; `outbox.dependency` if what it depends on was refused. */
  readonly rule?: string
  /** Of a refused one: the last gateway's signed refusal, canonical CBOR `[statement, signature]`. */
  readonly refusal?: Uint8Array
}

/** An entry that may be sent now. */
export interface SendableEntry {
  readonly id: Uint8Array
  readonly leaf: Uint8Array
  /** The gateway that failed it, to be passed by. */
  readonly avoid: string | undefined
}

/** An entry that a gateway promised to answer. */
export interface PromisedEntry {
  readonly id: Uint8Array
  readonly gateway: string
  /** Unix ms. */
  readonly deadlineMs: number
}

/** How to open {@link OutboxEntries}. */
export interface OutboxEntriesOptions {
  /** Data folder: `outbox.db` and `receipts/` are made in it. */
  readonly dir: string
  /** 32 bytes. */
  readonly ledgerId: Uint8Array
  /** Most unfinished entries. */
  readonly entriesMax: number
  /** First and longest time between attempts. */
  readonly retryMs: { readonly min: number; readonly max: number }
  /** True if there is nobody else whose word could be asked for. */
  readonly hasOneGateway: boolean
  readonly now: () => number
}

/** How long the word of one gateway alone does not refuse an entry, while others may answer. */
const secondWordMs = 600_000

const statuses: readonly OutboxStatus[] = ['waiting', 'promised', 'committed', 'refused']

const schema = `
CREATE TABLE entry (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL UNIQUE,
  chain INTEGER NOT NULL,
  status INTEGER NOT NULL,
  leaf BLOB NOT NULL,
  stream BLOB,
  depends_on BLOB,
  added_ms INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  due_ms INTEGER NOT NULL DEFAULT 0,
  gateway TEXT,
  deadline_ms INTEGER,
  position INTEGER,
  height INTEGER,
  rule TEXT,
  refusal BLOB
) STRICT;
CREATE INDEX entry_open ON entry (chain, status, number) WHERE status < 2;
CREATE INDEX entry_stream ON entry (stream, number) WHERE status < 2 AND stream IS NOT NULL;
CREATE INDEX entry_dependency ON entry (depends_on) WHERE depends_on IS NOT NULL;
`

/** When a gateway refused an entry for the first time, and its word, once that of another one refused it for good. */
const refusalsSchema = `
ALTER TABLE entry ADD COLUMN refused_ms INTEGER;
ALTER TABLE entry ADD COLUMN first_refusal BLOB;
`

/** What must not overtake: records of one stream. Others order themselves (counters, dependencies, the diagnosis stream). */
function streamOf(leaf: Uint8Array): Uint8Array | null {
  const { body } = parseTransactionLeaf(leaf)
  if (body.t === 'iot') return body.r[0]?.[0] ?? null
  return null
}

/** The account of the gateway that signed a refusal. */
function refuserOf(refusal: Uint8Array): Uint8Array {
  return parseStatement('refused', readStatement(refusal).statement).gateway
}

/** The entries of one outbox. */
export class OutboxEntries {
  readonly #options: OutboxEntriesOptions
  readonly #database: Database
  readonly #receipts: string
  readonly #promises: KeptPromises

  constructor(options: OutboxEntriesOptions) {
    this.#options = options
    this.#receipts = join(options.dir, 'receipts')
    ensureFolder(this.#receipts)
    this.#database = openDatabase({
      path: join(options.dir, 'outbox.db'),
      synchronous: 'full',
      migrations: [schema, promisesSchema, refusalsSchema],
      isLookedThrough: true,
    })
    this.#promises = new KeptPromises(this.#database)
  }

  /** As `Outbox.add`. */
  add(items: readonly OutboxItem[]): Uint8Array[] {
    const rows = items.map((item) => {
      const { bodyBytes } = parseTransactionLeaf(item.leaf)
      const id = transactionId({ ledgerId: this.#options.ledgerId, chain: item.chain, bodyBytes })
      return { ...item, id, stream: streamOf(item.leaf) }
    })
    const max = this.#options.entriesMax
    this.#database.transaction(() => {
      if (this.pending() + rows.length > max) {
        throw new RuntimeError(`the outbox holds ${max} unfinished transactions`, { code: 'ERR_OUTBOX_FULL', max })
      }
      for (const row of rows) {
        if (row.isAnew === true) {
          const set =
            'status = 0, leaf = ?, attempts = 0, due_ms = 0, rule = NULL, refusal = NULL, refused_ms = NULL, first_refusal = NULL'
          this.#database.run(`UPDATE entry SET ${set} WHERE id = ? AND status = 3`, row.leaf, row.id)
        }
        this.#database.run(
          'INSERT OR IGNORE INTO entry (id, chain, status, leaf, stream, depends_on, added_ms) VALUES (?, ?, 0, ?, ?, ?, ?)',
          row.id,
          chainNames.indexOf(row.chain),
          row.leaf,
          row.stream,
          row.dependsOn ?? null,
          this.#options.now(),
        )
      }
    })
    return rows.map((row) => row.id)
  }

  /** Number of unfinished entries. */
  pending(): number {
    return Number(this.#database.get('SELECT count(*) AS n FROM entry WHERE status < 2')?.n)
  }

  /** The entry with this id, if it was ever added. */
  find(id: Uint8Array): OutboxEntry | undefined {
    const row = this.#database.get('SELECT * FROM entry WHERE id = ?', id)
    return row === undefined ? undefined : this.#entryOf(row)
  }

  /** Unfinished entries, oldest first. */
  unfinished(limit: number): OutboxEntry[] {
    return this.#database
      .all('SELECT * FROM entry WHERE status < 2 ORDER BY number LIMIT ?', limit)
      .map((row) => this.#entryOf(row))
  }

  /** As `Outbox.passedPromises`. */
  passedPromises(): PassedPromise[] {
    return this.#promises.list()
  }

  /** As `Outbox.refusals`. */
  refusals(limit: number): { chain: ChainName; id: Uint8Array; refusal: Uint8Array }[] {
    return this.#database
      .all(
        'SELECT chain, id, refusal, first_refusal FROM entry WHERE refusal IS NOT NULL ORDER BY number DESC LIMIT ?',
        limit,
      )
      .flatMap(({ chain, id, refusal, first_refusal: first }) =>
        [refusal, first].flatMap((one) =>
          one === null
            ? []
            : [
                {
                  chain: chainNames[Number(chain)] as ChainName,
                  id: id as Uint8Array,
                  refusal: one as Uint8Array,
                },
              ],
        ),
      )
      .slice(0, limit)
  }

  /** The receipt's bytes of a committed entry. */
  receipt(id: Uint8Array): Uint8Array | undefined {
    return readFileIfPresent(this.#receiptPath(toHex(id)))
  }

  /**
   * Entries that may be sent now, in order: nothing overtakes an earlier one of its stream that is in back-off, or one that it depends on. All
   * have failed at the same gateway, or none has.
   */
  sendable(chain: ChainName, nowMs: number, limits: { count: number; sizeBytes: number }): SendableEntry[] {
    const rows = this.#database.all(
      `SELECT id, leaf, gateway FROM entry AS e
       WHERE chain = ? AND status = 0 AND due_ms NOT BETWEEN ? AND ?
         AND (depends_on IS NULL OR EXISTS (SELECT 1 FROM entry AS d WHERE d.id = e.depends_on AND d.status = 2))
         AND NOT EXISTS (SELECT 1 FROM entry AS p WHERE p.stream = e.stream AND p.number < e.number AND p.status = 0 AND p.due_ms BETWEEN ? AND ?)
       ORDER BY number LIMIT ?`,
      chainNames.indexOf(chain),
      ...this.#later(nowMs),
      ...this.#later(nowMs),
      limits.count,
    )
    let sizeBytes = 0
    const avoided = rows[0]?.gateway
    const end = rows.findIndex((row) => {
      sizeBytes += (row.leaf as Uint8Array).length
      return sizeBytes > limits.sizeBytes || row.gateway !== avoided
    })
    const taken = end === -1 ? rows : rows.slice(0, Math.max(1, end))
    const avoid = typeof avoided === 'string' ? avoided : undefined
    return taken.map(({ id, leaf }) => ({ id: id as Uint8Array, leaf: leaf as Uint8Array, avoid }))
  }

  /** When the next entry that waits becomes due, Unix ms; undefined if none does. */
  nextDueMs(chain: ChainName, nowMs: number): number | undefined {
    const due = this.#database.get(
      'SELECT min(due_ms) AS due FROM entry WHERE chain = ? AND status = 0 AND due_ms BETWEEN ? AND ?',
      chainNames.indexOf(chain),
      ...this.#later(nowMs),
    )?.due
    return typeof due === 'number' ? due : undefined
  }

  /** Everything that waits is due. */
  hurry(): void {
    this.#database.run('UPDATE entry SET due_ms = 0 WHERE status = 0')
  }

  /** Takes over what a gateway answered to a submission of these. */
  submitted(chain: ChainName, sent: readonly SendableEntry[], submission: Submission): void {
    const { promise, deadlineMs, refused, url } = submission
    this.#database.transaction(() => {
      const promised = sent.map(({ id }) => id).filter((id) => !refused.has(toHex(id)))
      if (promise !== undefined) this.#promises.keep(chain, promise, { deadlineMs, ids: promised })
      for (const { id } of sent) {
        const refusal = refused.get(toHex(id))
        if (refusal !== undefined) {
          // It has promised nothing: what was promised before was another's to answer.
          this.passed(id)
          this.refused(id, refusal, url)
        } else {
          const set =
            'UPDATE entry SET status = 1, attempts = attempts + 1, gateway = ?, deadline_ms = ? WHERE id = ? AND status = 0'
          this.#database.run(set, url, deadlineMs, id)
        }
      }
    })
  }

  /** Gateways that have promised something and not answered it. */
  gateways(chain: ChainName): string[] {
    return this.#database
      .all('SELECT DISTINCT gateway FROM entry WHERE chain = ? AND status = 1', chainNames.indexOf(chain))
      .map(({ gateway }) => String(gateway))
  }

  /** What a gateway has promised, oldest first. */
  promised(chain: ChainName, gateway: string, limit: number): PromisedEntry[] {
    return this.#database
      .all(
        'SELECT id, deadline_ms FROM entry WHERE chain = ? AND status = 1 AND gateway = ? ORDER BY number LIMIT ?',
        ...[chainNames.indexOf(chain), gateway, limit],
      )
      .map((row) => ({ id: row.id as Uint8Array, gateway, deadlineMs: Number(row.deadline_ms) }))
  }

  /** Back to waiting, each with its own capped back-off. `avoid`: the gateway that failed them. */
  postpone(ids: readonly Uint8Array[], avoid: string | undefined): void {
    const { retryMs, now } = this.#options
    this.#database.transaction(() => {
      for (const id of ids) {
        const attempts = Number(this.#database.get('SELECT attempts FROM entry WHERE id = ?', id)?.attempts ?? 0)
        const pauseMs = Math.min(retryMs.max, retryMs.min * 2 ** Math.min(20, attempts))
        const set =
          'UPDATE entry SET status = 0, attempts = attempts + 1, due_ms = ?, gateway = ?, deadline_ms = NULL WHERE id = ? AND status < 2'
        this.#database.run(set, now() + pauseMs, avoid ?? null, id)
      }
    })
  }

  /** Those of these promises that still stand: of others the entry is finished, or in other hands. */
  standing(promised: readonly PromisedEntry[]): PromisedEntry[] {
    const find = 'SELECT 1 AS one FROM entry WHERE id = ? AND status = 1 AND gateway = ? AND deadline_ms = ?'
    return promised.filter((one) => this.#database.get(find, one.id, one.gateway, one.deadlineMs) !== undefined)
  }

  /** The deadline of an entry's promise passed without an answer. */
  passed(id: Uint8Array): void {
    this.#promises.passed(id, this.#toCome())
  }

  /** The gateway that promised last answered. */
  answered(id: Uint8Array): void {
    this.#promises.answered(id, this.#toCome())
  }

  /** As one durable step. */
  together(steps: () => void): void {
    this.#database.transaction(steps)
  }

  /** Finishes an entry. Its receipt is durable first. */
  commit(id: Uint8Array, place: { index: number; height: number; receipt: Uint8Array }): void {
    writeFileDurably(this.#receiptPath(toHex(id)), place.receipt)
    this.#database.transaction(() => {
      this.#database.run(
        "UPDATE entry SET status = 2, leaf = x'', position = ?, height = ?, gateway = NULL, deadline_ms = NULL WHERE id = ? AND status < 2",
        place.index,
        place.height,
        id,
      )
      this.#promises.settled(id)
    })
  }

  /**
   * A gateway signed a refusal, and one alone may lie: the entry waits for another gateway, whose refusal finishes it. That of the same one does if
   * there is no other, or none answered for ten minutes.
   */
  refused(id: Uint8Array, { rule, evidence }: Pick<SignedRefusal, 'rule' | 'evidence'>, gateway: string): void {
    const row = this.#database.get('SELECT refusal, refused_ms FROM entry WHERE id = ? AND status < 2', id)
    if (row === undefined) return
    const first = row.refusal as Uint8Array | null
    const nowMs = this.#options.now()
    if (first === null) {
      const set = 'refusal = ?, refused_ms = ?, status = 0, due_ms = 0, gateway = ?, deadline_ms = NULL'
      this.#database.run(`UPDATE entry SET ${set} WHERE id = ?`, evidence, nowMs, gateway, id)
      return
    }
    const isOther = !equalBytes(refuserOf(first), refuserOf(evidence))
    const isEarly = isYetToCome(Number(row.refused_ms ?? 0) + secondWordMs, { nowMs, lengthMs: secondWordMs })
    if (!isOther && isEarly && !this.#options.hasOneGateway) {
      this.postpone([id], gateway)
      return
    }
    this.#database.transaction(() => {
      if (isOther) this.#database.run('UPDATE entry SET first_refusal = ? WHERE id = ?', first, id)
      this.refuse(id, rule, evidence)
    })
  }

  /** Finishes an entry. `refusal`: canonical CBOR `[statement, signature]`, if a gateway signed it. */
  refuse(id: Uint8Array, rule: string, refusal: Uint8Array | null): void {
    const set =
      "UPDATE entry SET status = 3, leaf = x'', rule = ?, refusal = ?, gateway = NULL, deadline_ms = NULL WHERE id = ? AND status < 2"
    this.#database.transaction(() => {
      this.#database.run(set, rule, refusal, id)
      this.answered(id)
      this.#promises.settled(id)
    })
  }

  /** Refuses what depends on something that was refused, 1,000 at a time; returns their ids. */
  refuseDependents(): Uint8Array[] {
    const rows = this.#database.all(
      'SELECT id FROM entry AS e WHERE status = 0 AND depends_on IS NOT NULL AND EXISTS (SELECT 1 FROM entry AS d WHERE d.id = e.depends_on AND d.status = 3) LIMIT 1000',
    )
    const ids = rows.map((row) => row.id as Uint8Array)
    if (ids.length > 0)
      this.#database.transaction(() => {
        for (const id of ids) this.refuse(id, 'outbox.dependency', null)
      })
    return ids
  }

  close(): void {
    this.#database.close()
  }

  /** Deadlines of promises that may still be kept. */
  #toCome(): [from: number, to: number] {
    const nowMs = this.#options.now()
    return [nowMs + 1, nowMs + promiseMsMax]
  }

  /** Moments at which an entry is still to be tried later: what was put off further was put off by a clock that was ahead. */
  #later(nowMs: number): [from: number, to: number] {
    return [nowMs + 1, nowMs + this.#options.retryMs.max]
  }

  #receiptPath(id: string): string {
    return join(this.#receipts, `${id}.json`)
  }

  #entryOf(row: SqlRow): OutboxEntry {
    const id = toHex(row.id as Uint8Array)
    const status = statuses[Number(row.status)] as OutboxStatus
    return {
      id,
      chain: chainNames[Number(row.chain)] as ChainName,
      status,
      addedMs: Number(row.added_ms),
      attempts: Number(row.attempts),
      ...(row.position === null ? {} : { index: Number(row.position), height: Number(row.height) }),
      ...(status === 'committed' ? { receiptPath: this.#receiptPath(id) } : {}),
      ...(row.rule === null ? {} : { rule: String(row.rule) }),
      ...(status !== 'refused' || row.refusal === null ? {} : { refusal: row.refusal as Uint8Array }),
    }
  }
}
