/**
 * A person's own measurements in the clear, for her own screen: what is sealed is fetched, checked and opened with her vault's keys, what
 * waits to be sealed is read as it is. Nothing opened is kept.
 */
import { openPayload, payloadKinds } from '@healthblock/crypto/payload'
import { parseBatch, type ReadingBatch } from '@healthblock/diagnosis/batch'
import type { Logger } from '@healthblock/runtime/logger'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import type { LedgerView } from '../ledger-view.ts'
import type { Session } from '../people/sessions.ts'
import { epochKeyOf, type Person, type PersonStream } from '../store/person.ts'

/** Records that one question opens at most: a stretch that holds more is thinned evenly. */
export const recordsOpenedMax = 256
const openedAtOnce = 8
const waitingMax = 1024
/** No record is longer than the longest publication period. */
const recordMsMax = 3_600_000

/** What of a stretch could be shown. */
export interface Measured {
  /** Oldest first. */
  readonly batches: readonly ReadingBatch[]
  /** Sealed records that the stretch holds, and how many of them were opened. */
  readonly records: number
  readonly opened: number
  /** Records that were looked for and did not open: erased, or not to be had now. */
  readonly unread: readonly { readonly fromMs: number; readonly toMs: number; readonly isErased: boolean }[]
}

/** Why a record gives no readings: `absent` does not open now, `gap` was lost, `pending` is not on the ledger yet. */
export type NoReadings = 'erased' | 'absent' | 'gap' | 'pending'

/** A record of this node, and what it holds. */
export interface MeasuredRecord {
  readonly sequence: number
  /** Unix ms. */
  readonly fromMs: number
  readonly toMs: number
  /** Of a record that is not pending. */
  readonly transactionId: Uint8Array
  /** SHA-256 of the block. */
  readonly cid: Uint8Array
  readonly batch: ReadingBatch | NoReadings
}

interface Dependencies {
  readonly database: Database
  readonly ledger: LedgerView
  readonly logger: Logger
  readonly storageOf: (account: Uint8Array) => StorageClient
}

/** Opens measurements. */
export class Measurements {
  readonly #deps: Dependencies
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /** From when to when there is anything of a stream, Unix ms; undefined if nothing was ever measured. */
  extent(person: Person, { stream }: PersonStream): { firstMs: number; lastMs: number } | undefined {
    const { database } = this.#deps
    const place = [person.account, stream] as const
    const sealed = database.get(
      'SELECT min(start) AS first, max(until) AS last FROM batch WHERE account = ? AND stream = ? AND kind = ?',
      ...[...place, payloadKinds.data],
    )
    const waiting = database.get(
      'SELECT min(start) AS first, max(until) AS last FROM sample WHERE account = ? AND stream = ?',
      ...place,
    )
    const known = [sealed, waiting].filter((row) => row !== undefined && row.first !== null) as SqlRow[]
    if (known.length === 0) return undefined
    return {
      firstMs: Math.min(...known.map(({ first }) => Number(first))),
      lastMs: Math.max(...known.map(({ last }) => Number(last))),
    }
  }

  /**
   * What was measured between two moments.
   *
   * @param window - Unix ms; `most`: records to open, at most {@link recordsOpenedMax}.
   */
  async read(
    session: Session,
    { stream }: PersonStream,
    window: { fromMs: number; untilMs: number; most: number },
  ): Promise<Measured> {
    const { database } = this.#deps
    const { account } = session.person
    const place = [account, stream, window.untilMs, window.fromMs]
    const rows = database.all(
      `SELECT sequence, generation, epoch, start, until, cid, block FROM batch
       WHERE account = ? AND stream = ? AND start < ? AND until > ? AND until <= ? AND kind = ? ORDER BY until LIMIT 100000`,
      ...[...place, window.untilMs + recordMsMax, payloadKinds.data],
    )
    const chosen = thin(rows, Math.min(recordsOpenedMax, window.most))
    const batches: ReadingBatch[] = []
    const unread: { fromMs: number; toMs: number; isErased: boolean }[] = []
    for (let first = 0; first < chosen.length; first += openedAtOnce) {
      const some = chosen.slice(first, first + openedAtOnce)
      const opened = await Promise.all(some.map((row) => this.#open(session, stream, row)))
      for (const [i, batch] of opened.entries()) {
        const row = some[i] as SqlRow
        if (typeof batch === 'object') batches.push(batch)
        else unread.push({ fromMs: Number(row.start), toMs: Number(row.until), isErased: batch === 'erased' })
      }
    }
    const waiting = database.all(
      'SELECT content FROM sample WHERE account = ? AND stream = ? AND start < ? AND until > ? ORDER BY start LIMIT ?',
      ...[...place, waitingMax],
    )
    for (const { content } of waiting) batches.push(parseBatch(content as Uint8Array))
    batches.sort((a, b) => a.startMs - b.startMs)
    return { batches, records: rows.length, opened: chosen.length - unread.length, unread }
  }

  /** From when to when there are samples of a stretch that are not sealed yet; undefined if there are none. */
  waiting(
    person: Person,
    { stream }: PersonStream,
    window: { fromMs: number; untilMs: number },
  ): { fromMs: number; toMs: number } | undefined {
    const row = this.#deps.database.get(
      'SELECT min(start) AS first, max(until) AS last FROM sample WHERE account = ? AND stream = ? AND start < ? AND until > ?',
      ...[person.account, stream, window.untilMs, window.fromMs],
    )
    return row === undefined || row.first === null ? undefined : { fromMs: Number(row.first), toMs: Number(row.last) }
  }

  /** How many records {@link each} gives. */
  count({ account }: Person, { stream }: PersonStream, window: { fromMs: number; untilMs: number }): number {
    const row = this.#deps.database.get(
      'SELECT count(*) AS n FROM batch WHERE account = ? AND stream = ? AND kind IN (?, ?) AND start < ? AND until > ?',
      ...[account, stream, payloadKinds.data, payloadKinds.gap, window.untilMs, window.fromMs],
    )
    return Number(row?.n ?? 0)
  }

  /** Every record of a stream that was measured between two moments, Unix ms, oldest first, gaps among them, a few in memory at a time. */
  async *each(
    session: Session,
    { stream }: PersonStream,
    window: { fromMs: number; untilMs: number },
  ): AsyncGenerator<MeasuredRecord> {
    const { database } = this.#deps
    let after: [untilMs: number, sequence: number] = [window.fromMs, Number.MAX_SAFE_INTEGER]
    for (;;) {
      const rows = database.all(
        `SELECT sequence, generation, epoch, kind, start, until, cid, block, tx, state FROM batch
         WHERE account = ? AND stream = ? AND kind IN (?, ?) AND start < ? AND (until, sequence) > (?, ?)
         ORDER BY until, sequence LIMIT ?`,
        ...[session.person.account, stream, payloadKinds.data, payloadKinds.gap, window.untilMs, ...after],
        openedAtOnce,
      )
      if (rows.length === 0) return
      const opened = await Promise.all(rows.map((row) => this.#openRecorded(session, stream, row)))
      for (const [i, row] of rows.entries()) {
        after = [Number(row.until), Number(row.sequence)]
        yield {
          ...{ sequence: Number(row.sequence), fromMs: Number(row.start), toMs: Number(row.until) },
          ...{ transactionId: row.tx as Uint8Array, cid: row.cid as Uint8Array },
          batch: opened[i] as ReadingBatch | NoReadings,
        }
      }
    }
  }

  async #openRecorded(session: Session, stream: Uint8Array, row: SqlRow): Promise<ReadingBatch | NoReadings> {
    if (Number(row.kind) === payloadKinds.gap) return 'gap'
    return row.state === 'committed' ? this.#open(session, stream, row) : 'pending'
  }

  async #open(session: Session, stream: Uint8Array, row: SqlRow): Promise<ReadingBatch | 'erased' | 'absent'> {
    const { ledger, storageOf, logger } = this.#deps
    const { person, vault } = session
    const place = { stream, generation: Number(row.generation), epoch: Number(row.epoch) }
    const epochKey = epochKeyOf(vault.contents.nodes, place) ?? epochKeyOf(person.hot.nodes, place)
    if (epochKey === undefined) return 'erased'
    const { account } = person
    try {
      const block = (row.block as Uint8Array | null) ?? (await storageOf(account).get(row.cid as Uint8Array))
      const accounts = { ledgerId: ledger.ledgerId, owner: account, writer: account }
      const expected = { kind: payloadKinds.data, ...accounts, ...place, sequence: Number(row.sequence) }
      return parseBatch(openPayload({ block, epochKey, expected }))
    } catch (error) {
      logger.warn({ err: error }, 'a reading cannot be shown')
      return 'absent'
    } finally {
      epochKey.fill(0)
    }
  }
}

/** Evenly chosen, the first and the last among them. */
function thin(rows: readonly SqlRow[], most: number): readonly SqlRow[] {
  if (rows.length <= most) return rows
  if (most <= 1) return rows.slice(-1)
  return Array.from({ length: most }, (_, i) => rows[Math.round((i * (rows.length - 1)) / (most - 1))] as SqlRow)
}
