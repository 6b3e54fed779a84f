/**
 * A durable outbox of transactions. What `add` returned for is on disk, and will be committed or refused whatever
 * happens to this process, its network or a gateway: entries are sent in the order in which they were added, resubmitted
 * (to another gateway) when a promise's deadline has passed, and finished only by a verified receipt or a signed refusal.
 *
 * Sending twice is harmless: an id is committed at most once. Entries that a gateway deferred wait with a capped
 * back-off, and so do later ones of the same stream. A finished entry's leaf is erased; its receipt is a file.
 */
import { join } from 'node:path'
import { type ChainName, chainNames } from '@healthblock/chain/chains'
import { parseTransactionLeaf, transactionId } from '@healthblock/chain/transaction'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import { isRuntimeError, RuntimeError } from './errors.ts'
import { ensureFolder, readFileIfPresent, writeFileDurably } from './files.ts'
import { KeptPromises, type PassedPromise, promisesSchema } from './kept-promises.ts'
import type { Answer } from './ledger-answers.ts'
import { type LedgerClient, promiseMsMax } from './ledger-client.ts'
import type { Logger } from './logger.ts'
import { isYetToCome } from './pauses.ts'
import { type Database, openDatabase, type SqlRow } from './sqlite.ts'

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
  /** The gateway's signed refusal, canonical CBOR `[statement, signature]`. */
  readonly refusal?: Uint8Array
}

/** How to open an {@link Outbox}. */
export interface OutboxOptions {
  /** Data folder: `outbox.db` and `receipts/` are made in it. */
  readonly dir: string
  /** 32 bytes. */
  readonly ledgerId: Uint8Array
  readonly client: Pick<LedgerClient, 'submit' | 'answers' | 'receipt'>
  readonly logger: Logger
  /** Told of each entry that is finished; what it throws is logged. */
  readonly onFinished?: (entry: OutboxEntry) => void
  /** Most unfinished entries, default 100,000. */
  readonly entriesMax?: number
  /** First and longest time between attempts, default 250 and 30,000. */
  readonly retryMs?: { readonly min: number; readonly max: number }
  /** Longest wait of one question for answers, default 1,000; the gateway holds it until then. */
  readonly answerWaitMs?: number
  readonly now?: () => number
}

const batchCountMax = 256
/** Most transactions of one submission: a promise about them is evidence as it is (at most 4,096 bytes, chain SPEC §6). */
const submissionCountMax = 100
const batchSizeBytesMax = 1_000_000
const receiptsAtOnce = 8
/** Whoever has nothing to do looks again after so long, unless a bell rings. */
const idleMs = 60_000
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

/** What must not overtake: records of one stream. Others order themselves (counters, dependencies, the diagnosis stream). */
function streamOf(leaf: Uint8Array): Uint8Array | null {
  const { body } = parseTransactionLeaf(leaf)
  if (body.t === 'iot') return body.r[0]?.[0] ?? null
  return null
}

/** True if every gateway said that somebody has more under way than his share. */
function isTurnedAway(error: RuntimeError): boolean {
  return isRuntimeError(error, 'ERR_SOURCE_REFUSED') && error.detail.status === 429
}

/** Parts of a batch that are sent apart at most: those who turn it away have enough to do. */
const partsMax = 8

/** Entries by who signed them first, each sender's in order; of many senders the last share a part. */
function bySender(rows: readonly SqlRow[]): SqlRow[][] {
  const parts = new Map<string, SqlRow[]>()
  for (const row of rows) {
    const [signature] = parseTransactionLeaf(row.leaf as Uint8Array).signatures
    const own = toHex(signature?.account ?? (row.id as Uint8Array))
    const sender = parts.has(own) || parts.size < partsMax - 1 ? own : 'others'
    const part = parts.get(sender)
    if (part === undefined) parts.set(sender, [row])
    else part.push(row)
  }
  return [...parts.values()]
}

/** Wakes whoever waits; a signal given while nobody waits is kept. */
class Bell {
  #rung = false
  #wake: (() => void) | undefined

  ring(): void {
    this.#rung = true
    this.#wake?.()
  }

  async wait(ms: number): Promise<void> {
    if (!this.#rung && ms > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(ms, idleMs))
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    this.#wake = undefined
    this.#rung = false
  }
}

/** The outbox of one service. Open it, add to it, close it. */
export class Outbox {
  readonly #options: OutboxOptions
  readonly #database: Database
  readonly #receipts: string
  readonly #now: () => number
  readonly #retry: { readonly min: number; readonly max: number }
  readonly #stop = new AbortController()
  readonly #senders = new Map<ChainName, Bell>()
  /** By chain and gateway: one that is away holds up no news of another. */
  readonly #watchers = new Map<string, Bell>()
  readonly #promises: KeptPromises
  readonly #waiters = new Map<string, Set<(entry: OutboxEntry) => void>>()
  readonly #running: Promise<void>[] = []

  constructor(options: OutboxOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#retry = options.retryMs ?? { min: 250, max: 30_000 }
    this.#receipts = join(options.dir, 'receipts')
    ensureFolder(this.#receipts)
    this.#database = openDatabase({
      path: join(options.dir, 'outbox.db'),
      synchronous: 'full',
      migrations: [schema, promisesSchema],
      isLookedThrough: true,
    })
    this.#promises = new KeptPromises(this.#database)
  }

  /** Begins to deliver: what a former process left, too. Without it, entries are only kept. */
  start(): void {
    if (this.#running.length > 0) return
    for (const chain of chainNames) {
      const sender = new Bell()
      this.#senders.set(chain, sender)
      this.#running.push(this.#loop(sender, () => this.#send(chain)))
    }
    for (const { chain, gateway } of this.#database.all('SELECT DISTINCT chain, gateway FROM entry WHERE status = 1'))
      this.#watchFor(chainNames[Number(chain)] as ChainName, String(gateway))
  }

  /**
   * Takes transactions over. They are durable when this returns, all or none; one that is there already is left as it is, unless it was refused
   * and `isAnew` says to try again.
   *
   * @returns Their ids, in the same order, 32 bytes each.
   * @throws {RuntimeError} `ERR_OUTBOX_FULL`, `ERR_DISK_FULL`; {ChainError} `ERR_TRANSACTION_FORMAT` for a leaf that is none.
   */
  add(items: readonly OutboxItem[]): Uint8Array[] {
    this.#assertOpen()
    const rows = items.map((item) => {
      const { bodyBytes } = parseTransactionLeaf(item.leaf)
      const id = transactionId({ ledgerId: this.#options.ledgerId, chain: item.chain, bodyBytes })
      return { ...item, id, stream: streamOf(item.leaf) }
    })
    const max = this.#options.entriesMax ?? 100_000
    this.#database.transaction(() => {
      if (this.pending() + rows.length > max) {
        throw new RuntimeError(`the outbox holds ${max} unfinished transactions`, { code: 'ERR_OUTBOX_FULL', max })
      }
      for (const row of rows) {
        if (row.isAnew === true) {
          const set = 'status = 0, leaf = ?, attempts = 0, due_ms = 0, rule = NULL, refusal = NULL'
          this.#database.run(`UPDATE entry SET ${set} WHERE id = ? AND status = 3`, row.leaf, row.id)
        }
        this.#database.run(
          'INSERT OR IGNORE INTO entry (id, chain, status, leaf, stream, depends_on, added_ms) VALUES (?, ?, 0, ?, ?, ?, ?)',
          row.id,
          chainNames.indexOf(row.chain),
          row.leaf,
          row.stream,
          row.dependsOn ?? null,
          this.#now(),
        )
      }
    })
    for (const bell of this.#senders.values()) bell.ring()
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

  /** Unfinished entries, oldest first, at most `limit` (default 1,000). */
  unfinished(limit = 1_000): OutboxEntry[] {
    return this.#database
      .all('SELECT * FROM entry WHERE status < 2 ORDER BY number LIMIT ?', limit)
      .map((row) => this.#entryOf(row))
  }

  /** Promises that a gateway left behind without an answer: evidence, once the ledger shows the same. */
  passedPromises(): PassedPromise[] {
    return this.#promises.list()
  }

  /** Signed refusals, newest first, at most `limit` (default 1,000). */
  refusals(limit = 1_000): { chain: ChainName; id: Uint8Array; refusal: Uint8Array }[] {
    return this.#database
      .all('SELECT chain, id, refusal FROM entry WHERE refusal IS NOT NULL ORDER BY number DESC LIMIT ?', limit)
      .map(({ chain, id, refusal }) => ({
        ...{ chain: chainNames[Number(chain)] as ChainName, id: id as Uint8Array, refusal: refusal as Uint8Array },
      }))
  }

  /** The receipt's bytes of a committed entry. */
  receipt(id: Uint8Array): Uint8Array | undefined {
    return readFileIfPresent(this.#receiptPath(toHex(id)))
  }

  /**
   * Waits until the entry is committed or refused. A refusal is a result, not an error.
   *
   * @throws {RuntimeError} `ERR_NOT_FOUND` for an id that was never added; `ERR_CLOSED` if the outbox closes first; the signal's reason.
   */
  async wait(id: Uint8Array, options: { signal?: AbortSignal } = {}): Promise<OutboxEntry> {
    const found = this.find(id)
    if (found === undefined)
      throw new RuntimeError('no such entry in the outbox', { code: 'ERR_NOT_FOUND', what: 'transaction' })
    if (found.status === 'committed' || found.status === 'refused') return found
    const signals = [this.#stop.signal]
    if (options.signal !== undefined) signals.push(options.signal)
    const signal = AbortSignal.any(signals)
    signal.throwIfAborted()
    return new Promise<OutboxEntry>((resolve, reject) => {
      const waiters = this.#waiters.get(found.id) ?? new Set()
      this.#waiters.set(found.id, waiters)
      const abort = (): void => {
        waiters.delete(done)
        reject(signal.reason as Error)
      }
      const done = (entry: OutboxEntry): void => {
        signal.removeEventListener('abort', abort)
        resolve(entry)
      }
      waiters.add(done)
      signal.addEventListener('abort', abort, { once: true })
    })
  }

  /** Waits until nothing is unfinished, or the time is over; returns how many are left. */
  async drain(timeoutMs: number): Promise<number> {
    const signal = AbortSignal.timeout(timeoutMs)
    for (;;) {
      const [first] = this.unfinished(1)
      if (first === undefined) return 0
      try {
        await this.wait(fromHex(first.id), { signal })
      } catch (error) {
        if (signal.aborted) return this.pending()
        throw error
      }
    }
  }

  /** Tries everything that waits now: when the network is back. */
  retryNow(): void {
    this.#database.run('UPDATE entry SET due_ms = 0 WHERE status = 0')
    for (const bell of this.#senders.values()) bell.ring()
  }

  /** Stops delivering and closes the file. What is unfinished goes on at the next start. */
  async close(): Promise<void> {
    if (this.#stop.signal.aborted) return
    this.#stop.abort(new RuntimeError('the outbox is closed', { code: 'ERR_CLOSED', what: 'outbox' }))
    for (const bell of [...this.#senders.values(), ...this.#watchers.values()]) bell.ring()
    await Promise.all(this.#running)
    this.#database.close()
  }

  #assertOpen(): void {
    this.#stop.signal.throwIfAborted()
  }

  /** Runs a step for ever; the step says when it wants to run again, unless the bell rings first. */
  async #loop(bell: Bell, step: () => Promise<number>): Promise<void> {
    while (!this.#stop.signal.aborted) {
      let pauseMs = this.#retry.min
      try {
        pauseMs = await step()
      } catch (error) {
        if (this.#stop.signal.aborted) return
        // Anything but the network (a full disk, say): the entries stay, and this is tried again.
        this.#options.logger.error({ err: error }, 'outbox step failed')
        pauseMs = this.#retry.max
      }
      if (!this.#stop.signal.aborted) await bell.wait(pauseMs)
    }
  }

  /** Moments at which an entry is still to be tried later: what was put off further was put off by a clock that was ahead. */
  #later(nowMs: number): [from: number, to: number] {
    return [nowMs + 1, nowMs + this.#retry.max]
  }

  /** Entries that may be sent now, in order: nothing overtakes an earlier one of its stream that is in back-off. */
  #sendable(chain: ChainName, nowMs: number): SqlRow[] {
    const rows = this.#database.all(
      `SELECT number, id, leaf, attempts, gateway FROM entry AS e
       WHERE chain = ? AND status = 0 AND due_ms NOT BETWEEN ? AND ?
         AND (depends_on IS NULL OR EXISTS (SELECT 1 FROM entry AS d WHERE d.id = e.depends_on AND d.status = 2))
         AND NOT EXISTS (SELECT 1 FROM entry AS p WHERE p.stream = e.stream AND p.number < e.number AND p.status = 0 AND p.due_ms BETWEEN ? AND ?)
       ORDER BY number LIMIT ?`,
      chainNames.indexOf(chain),
      ...this.#later(nowMs),
      ...this.#later(nowMs),
      submissionCountMax,
    )
    let size = 0
    const avoided = rows[0]?.gateway
    const end = rows.findIndex((row) => {
      size += (row.leaf as Uint8Array).length
      // One batch goes to one gateway: entries that avoid different ones are sent apart.
      return size > batchSizeBytesMax || row.gateway !== avoided
    })
    return end === -1 ? rows : rows.slice(0, Math.max(1, end))
  }

  async #send(chain: ChainName): Promise<number> {
    this.#refuseDependents()
    // One moment for both questions: what becomes due between two would be in neither answer.
    const nowMs = this.#now()
    const rows = this.#sendable(chain, nowMs)
    if (rows.length === 0) return this.#nextDueMs(chain, nowMs)
    const failure = await this.#trySubmitting(chain, rows)
    if (failure === undefined) return 0
    const parts = isTurnedAway(failure) ? bySender(rows) : [rows]
    let left = 0
    for (const part of parts) {
      // One sender of many has more under way than its share: the others do not wait with it.
      const error = parts.length === 1 ? failure : await this.#trySubmitting(chain, part)
      if (error === undefined) continue
      this.#options.logger.warn({ chain, count: part.length, code: error.detail.code }, 'submission failed')
      this.#postpone(part.map((row) => row.id as Uint8Array))
      left++
    }
    return left === 0 ? 0 : this.#retry.min
  }

  /** Hands entries to a gateway as one submission. Answers why that was not possible, if it was not. */
  async #trySubmitting(chain: ChainName, rows: readonly SqlRow[]): Promise<RuntimeError | undefined> {
    try {
      await this.#submit(chain, rows)
      return undefined
    } catch (error) {
      this.#stop.signal.throwIfAborted()
      if (!(error instanceof RuntimeError)) throw error
      return error
    }
  }

  async #submit(chain: ChainName, rows: readonly SqlRow[]): Promise<void> {
    const batch = rows.map((row) => ({ id: row.id as Uint8Array, leaf: row.leaf as Uint8Array }))
    const failedAt = rows[0]?.gateway as string | null
    const submission = await this.#options.client.submit(chain, batch, {
      signal: this.#stop.signal,
      ...(failedAt === null ? {} : { avoid: failedAt }),
    })
    this.#database.transaction(() => {
      const { promise, deadlineMs, refused } = submission
      const ids = batch.map(({ id }) => id).filter((id) => !refused.has(toHex(id)))
      if (promise !== undefined) this.#promises.keep(chain, promise, { deadlineMs, ids })
      for (const { id } of batch) {
        const refusal = refused.get(toHex(id))
        if (refusal !== undefined) this.#refuse(id, refusal.rule, refusal.evidence)
        else {
          const set =
            'UPDATE entry SET status = 1, attempts = attempts + 1, gateway = ?, deadline_ms = ? WHERE id = ? AND status = 0'
          this.#database.run(set, submission.url, deadlineMs, id)
        }
      }
    })
    this.#announce(batch.map(({ id }) => id))
    this.#watchFor(chain, submission.url)
  }

  /** Sees to it that what this gateway promised is asked for now. */
  #watchFor(chain: ChainName, gateway: string): void {
    const name = `${chain} ${gateway}`
    const known = this.#watchers.get(name)
    if (known === undefined) {
      const watcher = new Bell()
      this.#watchers.set(name, watcher)
      this.#running.push(this.#loop(watcher, () => this.#watch(chain, gateway)))
    } else known.ring()
  }

  /** Back to waiting, each with its own capped back-off. */
  #postpone(ids: readonly Uint8Array[], options: { gateway?: string | null } = {}): void {
    this.#database.transaction(() => {
      for (const id of ids) {
        const attempts = Number(this.#database.get('SELECT attempts FROM entry WHERE id = ?', id)?.attempts ?? 0)
        const pauseMs = Math.min(this.#retry.max, this.#retry.min * 2 ** Math.min(20, attempts))
        const set =
          'UPDATE entry SET status = 0, attempts = attempts + 1, due_ms = ?, gateway = ?, deadline_ms = NULL WHERE id = ? AND status < 2'
        this.#database.run(set, this.#now() + pauseMs, options.gateway ?? null, id)
      }
    })
  }

  #nextDueMs(chain: ChainName, nowMs: number): number {
    const row = this.#database.get(
      'SELECT min(due_ms) AS due FROM entry WHERE chain = ? AND status = 0 AND due_ms BETWEEN ? AND ?',
      chainNames.indexOf(chain),
      ...this.#later(nowMs),
    )
    const due = row?.due
    return typeof due === 'number' ? Math.max(1, due - this.#now()) : idleMs
  }

  /** Asks a gateway about what it promised. */
  async #watch(chain: ChainName, gateway: string): Promise<number> {
    const rows = this.#database.all(
      'SELECT id, gateway, deadline_ms FROM entry WHERE chain = ? AND status = 1 AND gateway = ? ORDER BY number LIMIT ?',
      chainNames.indexOf(chain),
      gateway,
      batchCountMax,
    )
    if (rows.length === 0) return idleMs
    const deadlineMs = Math.min(...rows.map((row) => Number(row.deadline_ms)))
    const ids = rows.map((row) => row.id as Uint8Array)
    const waitMs = Math.max(0, Math.min(this.#options.answerWaitMs ?? 1_000, deadlineMs - this.#now()))
    try {
      const answers = await this.#options.client.answers(chain, ids, {
        url: gateway,
        waitMs,
        signal: this.#stop.signal,
      })
      for (let first = 0; first < ids.length; first += receiptsAtOnce) {
        const some = ids.slice(first, first + receiptsAtOnce)
        const settled = await Promise.allSettled(
          some.map((id, i) => this.#settle(chain, id, answers[first + i], rows[first + i] as SqlRow)),
        )
        const failed = settled.find((result) => result.status === 'rejected')
        if (failed !== undefined) throw failed.reason
      }
      this.#announce(ids)
    } catch (error) {
      // Some may be finished although another's receipt was not to be had.
      this.#announce(ids)
      this.#stop.signal.throwIfAborted()
      if (!(error instanceof RuntimeError)) throw error
      this.#options.logger.warn(
        { chain, count: ids.length, code: error.detail.code },
        'no answer about submitted transactions',
      )
      // A source that left its promise's deadline behind, or lied, is passed by; before that it may come back.
      const lied = isRuntimeError(error, 'ERR_SOURCE_MISBEHAVED') || isRuntimeError(error, 'ERR_NO_SOURCE')
      const late = rows.filter((row) => lied || this.#isPast(row))
      for (const row of late) if (this.#isPast(row)) this.#promises.passed(row.id as Uint8Array)
      this.#postpone(
        late.map((row) => row.id as Uint8Array),
        { gateway },
      )
      if (late.length < rows.length) return this.#retry.min
    }
    this.#senders.get(chain)?.ring()
    const left = this.#database.get('SELECT 1 AS one FROM entry WHERE id = ? AND status = 1', ids[0] as Uint8Array)
    return left === undefined ? 0 : this.#retry.min
  }

  async #settle(chain: ChainName, id: Uint8Array, answer: Answer | undefined, row: SqlRow): Promise<void> {
    if (answer?.status === 'committed') await this.#commit(chain, id, answer)
    else if (answer?.status === 'refused') this.#refuse(id, answer.rule, answer.evidence)
    else if (answer?.status === 'deferred') {
      this.#promises.answered(id)
      this.#postpone([id])
    } else if (this.#isPast(row)) {
      this.#promises.passed(id)
      this.#postpone([id], { gateway: String(row.gateway) })
    }
  }

  /** True if the deadline of the entry's promise is over. */
  #isPast(row: SqlRow): boolean {
    return !isYetToCome(Number(row.deadline_ms), { nowMs: this.#now(), lengthMs: promiseMsMax })
  }

  /** The receipt is verified by the client and durable before the entry is finished. */
  async #commit(chain: ChainName, id: Uint8Array, answer: { index: number; height: number }): Promise<void> {
    const bytes = await this.#options.client.receipt(chain, id, { signal: this.#stop.signal })
    writeFileDurably(this.#receiptPath(toHex(id)), bytes)
    this.#database.run(
      "UPDATE entry SET status = 2, leaf = x'', position = ?, height = ?, gateway = NULL, deadline_ms = NULL WHERE id = ? AND status < 2",
      answer.index,
      answer.height,
      id,
    )
    this.#promises.answered(id)
  }

  #refuse(id: Uint8Array, rule: string, evidence: Uint8Array | null): void {
    const set =
      "UPDATE entry SET status = 3, leaf = x'', rule = ?, refusal = ?, gateway = NULL, deadline_ms = NULL WHERE id = ? AND status < 2"
    this.#database.run(set, rule, evidence, id)
    this.#promises.answered(id)
  }

  #refuseDependents(): void {
    const rows = this.#database.all(
      'SELECT id FROM entry AS e WHERE status = 0 AND depends_on IS NOT NULL AND EXISTS (SELECT 1 FROM entry AS d WHERE d.id = e.depends_on AND d.status = 3) LIMIT 1000',
    )
    if (rows.length === 0) return
    const ids = rows.map((row) => row.id as Uint8Array)
    this.#database.transaction(() => {
      for (const id of ids) this.#refuse(id, 'outbox.dependency', null)
    })
    this.#announce(ids)
  }

  /** Tells waiters and the owner of entries that are finished now; wakes what depended on them. */
  #announce(ids: readonly Uint8Array[]): void {
    let finished = false
    for (const id of ids) {
      const entry = this.find(id)
      if (entry === undefined || (entry.status !== 'committed' && entry.status !== 'refused')) continue
      finished = true
      const waiters = this.#waiters.get(entry.id) ?? []
      this.#waiters.delete(entry.id)
      for (const waiter of waiters) waiter(entry)
      try {
        this.#options.onFinished?.(entry)
      } catch (error) {
        this.#options.logger.error({ err: error }, 'the listener of finished transactions failed')
      }
    }
    if (finished) for (const bell of this.#senders.values()) bell.ring()
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
      ...(row.refusal === null ? {} : { refusal: row.refusal as Uint8Array }),
    }
  }
}
