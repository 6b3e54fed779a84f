/**
 * Readings in the clear, for the doctor's own screen: what a live grant covers at the moment of the question is fetched, checked and opened
 * in memory, for this one answer. Sealed blocks are remembered for a while, opened ones never.
 */
import { grantRights } from '@healthblock/chain/live-at'
import { payloadKinds } from '@healthblock/crypto/payload'
import type { ReadingBatch } from '@healthblock/diagnosis/batch'
import { toHex } from '@healthblock/encoding/bytes'
import { isRuntimeError } from '@healthblock/runtime/errors'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import { DoctorNodeError } from '../errors.ts'
import { type LedgerRecord, openRecord, recordOf, unreadableCodes } from '../judging/reader.ts'
import type { Envelopes } from '../watch/envelopes.ts'
import { coversRecord, type Grant, type Grants } from '../watch/grants.ts'

const openedAtOnce = 8
const rememberedBytesMax = 16 * 1024 * 1024
/** A time that no reading has. */
const timeMsMax = 2 ** 45

/** Beside `unreadableCodes`: no store that has the block answers now, which nothing on the ledger is said of. */
export const unreachableCode = 0

/** No store answers, or each that does turns this node away. */
const noAnswer = ['ERR_NO_SOURCE', 'ERR_SOURCE_REFUSED', 'ERR_SOURCE_MISBEHAVED'] as const

/** A record that was opened. */
export interface OpenedRecord {
  readonly sequence: number
  /** Unix ms. */
  readonly fromMs: number
  readonly toMs: number
  readonly batch: ReadingBatch
}

/** A record that was read before and does not open now; times as far as they are known, Unix ms. */
interface Unopened {
  readonly sequence: number
  readonly fromMs?: number
  readonly toMs?: number
  readonly code: number
}

/** What of a stretch opened, oldest first. */
export interface OpenedStretch {
  /** 1 ECG, 2 vital signs. */
  readonly kind: number
  readonly records: readonly OpenedRecord[]
  readonly unread: readonly Unopened[]
  /** Unix ms from where to go on, if the stretch holds more. */
  readonly nextMs?: number
}

interface Dependencies {
  readonly database: Database
  readonly grants: Grants
  readonly envelopes: Envelopes
  readonly storage: () => StorageClient
  readonly ledgerId: Uint8Array
}

/** Opens stretches of streams. */
export class OpenedRecords {
  readonly #deps: Dependencies
  readonly #sealed = new Map<string, Uint8Array>()
  #sealedBytes = 0
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /** Kinds and times of a patient's streams, as far as a live grant covers them: from the first to the newest reading. */
  async streams(
    patient: Uint8Array,
  ): Promise<{ stream: Uint8Array; kind: number; firstMs?: number; lastMs?: number }[]> {
    const { database, envelopes } = this.#deps
    const kinds = await envelopes.streamKinds(patient)
    const names = new Map(
      this.#live(patient).flatMap((grant) => grant.streams.map((stream) => [toHex(stream), stream])),
    )
    return [...names].map(([name, stream]) => {
      const row = database.get(
        `SELECT min(start) AS first, max(until) AS last FROM record
         WHERE patient = ? AND stream = ? AND state = 'open' AND kind = 0`,
        ...[patient, stream],
      )
      const isEmpty = row === undefined || row.first === null
      return {
        ...{ stream, kind: kinds.get(name) ?? 0 },
        ...(isEmpty ? {} : { firstMs: Number(row.first), lastMs: Number(row.last) }),
      }
    })
  }

  /**
   * Opens what was measured between two moments, Unix ms.
   *
   * @param options - `recordsMax`: the oldest so many, or with `isNewest` the newest; `rowsMax`: once so many values of vital signs are open,
   *   no more records are opened; `signal`: once it aborts the stores are waited for, and asked, no more: what they did not bring is unreachable.
   * @throws {DoctorNodeError} `ERR_GRANT_NONE` without a live grant to this stream; `ERR_RANGE_INVALID`.
   */
  async read(
    place: { patient: Uint8Array; stream: Uint8Array },
    options: {
      fromMs: number
      toMs: number
      recordsMax: number
      bytesMax: number
      isNewest?: boolean
      rowsMax?: number
      signal?: AbortSignal
    },
  ): Promise<OpenedStretch> {
    const { patient, stream } = place
    const { fromMs, toMs, recordsMax, bytesMax, isNewest = false, rowsMax = Number.POSITIVE_INFINITY, signal } = options
    if (!(fromMs < toMs)) throw new DoctorNodeError('the stretch ends before it begins', { code: 'ERR_RANGE_INVALID' })
    const live = this.#live(patient).filter((grant) => coversStream(grant, stream))
    if (live.length === 0) {
      throw new DoctorNodeError('there is no access to this now', { code: 'ERR_GRANT_NONE', patient: toHex(patient) })
    }
    const found = this.#rows(place, { fromMs, toMs, isNewest, limit: recordsMax + 1 })
    const rows: SqlRow[] = []
    let sizeBytes = 0
    for (const row of found) {
      sizeBytes += Number(row.size)
      if (rows.length >= recordsMax || (rows.length > 0 && sizeBytes > bytesMax)) break
      rows.push(row)
    }
    const granted = rows.filter((row) => live.some((grant) => coversRecord(grant, recordOf(row))))
    const { next, ...opened } = await this.#openAll(granted, rowsMax, signal)
    const rest = next ?? found[rows.length]
    if (isNewest) for (const list of [opened.records, opened.unread]) list.reverse()
    const kind = Number(rows.find((row) => row.streamkind !== null)?.streamkind ?? 0)
    return { kind, ...opened, ...(rest === undefined ? {} : { nextMs: Number(rest.start) }) }
  }

  /** Records that a live grant covers and of which nothing was ever read, by the ledger's time, Unix ms: at most 100,000. */
  lost(
    { patient, stream }: { patient: Uint8Array; stream: Uint8Array },
    { fromMs, toMs }: { fromMs: number; toMs: number },
  ): { atMs: number; isGap: boolean }[] {
    const live = this.#live(patient)
    const rows = this.#deps.database.all(
      `SELECT * FROM record WHERE patient = ? AND stream = ? AND ms >= ? AND ms < ?
       AND (state IN ('waiting', 'unreadable') OR (state = 'open' AND kind = ?)) ORDER BY sequence LIMIT 100000`,
      ...[patient, stream, fromMs, Math.min(toMs, timeMsMax), payloadKinds.gap],
    )
    const granted = rows.filter((row) => live.some((grant) => coversRecord(grant, recordOf(row))))
    return granted.map((row) => ({ atMs: Number(row.ms), isGap: Number(row.kind) === payloadKinds.gap }))
  }

  #live(patient: Uint8Array): Grant[] {
    return this.#deps.grants.live(patient, grantRights.read)
  }

  #rows(
    { patient, stream }: { patient: Uint8Array; stream: Uint8Array },
    options: { fromMs: number; toMs: number; isNewest: boolean; limit: number },
  ): SqlRow[] {
    const { fromMs, toMs, isNewest, limit } = options
    const { database } = this.#deps
    // The record that began before `fromMs` and lasts into it: there is at most one.
    const before = database.get(
      `SELECT start FROM record WHERE patient = ? AND stream = ? AND state = 'open' AND kind = 0 AND start <= ? AND until > ?
       ORDER BY start DESC LIMIT 1`,
      ...[patient, stream, fromMs, fromMs],
    )
    return database.all(
      `SELECT * FROM record WHERE patient = ? AND stream = ? AND state = 'open' AND kind = 0 AND start >= ? AND start < ?
       ORDER BY start ${isNewest ? 'DESC' : 'ASC'}, sequence LIMIT ?`,
      ...[patient, stream, Number(before?.start ?? fromMs), Math.min(toMs, timeMsMax), limit],
    )
  }

  /** `next`: the first record that was not opened any more. */
  async #openAll(
    rows: readonly SqlRow[],
    rowsMax: number,
    signal: AbortSignal | undefined,
  ): Promise<{ records: OpenedRecord[]; unread: Unopened[]; next: SqlRow | undefined }> {
    const records: OpenedRecord[] = []
    const unread: Unopened[] = []
    let first = 0
    for (let values = 0; first < rows.length && values < rowsMax; first += openedAtOnce) {
      const some = rows.slice(first, first + openedAtOnce)
      const opened = await Promise.all(some.map((row) => this.#open(row, signal)))
      for (const [index, result] of opened.entries()) {
        const row = some[index] as SqlRow
        const place = { sequence: Number(row.sequence), fromMs: Number(row.start), toMs: Number(row.until) }
        if (typeof result === 'number') unread.push({ ...place, code: result })
        else records.push({ ...place, batch: result })
        if (typeof result !== 'number' && result.kind === 'vitals') values += result.rows.length
      }
    }
    return { records, unread, next: rows[first] }
  }

  /** A record's batch, or the code of why it does not open. */
  async #open(row: SqlRow, signal: AbortSignal | undefined): Promise<ReadingBatch | number> {
    const { envelopes, ledgerId } = this.#deps
    const record = recordOf(row)
    const key = await envelopes.epochKey(record)
    if (key === undefined) return unreadableCodes.noKey
    const block = row.block === null ? await this.#fetch(record, signal) : (row.block as Uint8Array)
    if (block === undefined) return unreadableCodes.missing
    if (block === unreachableCode) return unreachableCode
    const opened = openRecord({ ledgerId, record, block, epochKey: key.epochKey })
    key.epochKey.fill(0)
    if ('code' in opened) return opened.code
    return opened.batch ?? unreadableCodes.format
  }

  async #fetch(
    { cid, kind }: LedgerRecord,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array | typeof unreachableCode | undefined> {
    if (kind !== payloadKinds.data) return undefined
    const name = toHex(cid)
    const known = this.#sealed.get(name)
    if (known !== undefined) return known
    const isOver = (): boolean => signal?.aborted === true
    if (isOver()) return unreachableCode
    let block: Uint8Array
    try {
      block = await this.#deps.storage().get(cid, signal === undefined ? {} : { signal })
    } catch (error) {
      if (isOver()) return unreachableCode
      if (isRuntimeError(error, 'ERR_BLOCK_NOT_FOUND')) return undefined
      if (noAnswer.some((code) => isRuntimeError(error, code))) return unreachableCode
      throw error
    }
    this.#remember(name, block)
    return block
  }

  #remember(name: string, block: Uint8Array): void {
    if (this.#sealed.has(name)) return
    this.#sealed.set(name, block)
    this.#sealedBytes += block.length
    for (const [oldest, bytes] of this.#sealed) {
      if (this.#sealedBytes <= rememberedBytesMax) return
      this.#sealed.delete(oldest)
      this.#sealedBytes -= bytes.length
    }
  }
}

function coversStream(grant: Grant, stream: Uint8Array): boolean {
  const name = toHex(stream)
  return grant.streams.some((one) => toHex(one) === name)
}
