/** What devices bring, durable before it is acknowledged, until it is sealed. */

import { sha256 } from '@healthblock/crypto/hash'
import {
  batchSizeMax,
  type EcgBatch,
  encodeBatch,
  parseBatch,
  type ReadingBatch,
  type VitalRow,
} from '@healthblock/diagnosis/batch'
import { equalBytes } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import { UserNodeError } from '../errors.ts'
import type { Person, PersonStream, StreamName } from '../store/person.ts'

/** Most samples, in bytes, that wait to be sealed for one stream. */
export const waitingBytesMax = 64 * 1024 * 1024
/** How long a piece that was accepted is known again. */
export const rememberedMs = 48 * 3_600_000
const forgetEveryMs = 3_600_000
/** Of a piece's SHA-256: enough to tell what one household sends in two days apart. */
const digestBytes = 16
/** How far the clock of a device may be ahead of the node's. */
export const aheadMsMax = 600_000
/** When a device is to ask again at the latest: the node's clock may be set right at any moment. */
const askAgainMsMax = 60_000
/** Beyond this, ahead of the node's clock and of the ledger's too, it is the device's clock that is wrong: what it dated so is never taken. */
export const aheadMsNever = 30 * 86_400_000
/** Most rows of vital signs in one batch: half of what its format takes, and so of the largest block. */
const vitalRowsMax = 7_500

/** A piece of a stream that waits. */
export interface WaitingPiece {
  readonly id: number
  readonly startMs: number
  readonly untilMs: number
  readonly arrivedMs: number
  readonly batch: ReadingBatch
}

interface EncodedPiece {
  readonly stream: Uint8Array
  readonly batch: ReadingBatch
  readonly content: Uint8Array
}

/** The person's stream of a kind. */
export function streamOfKind(person: Person, kind: string): PersonStream {
  const found = person.streams.find((stream) => stream.kind === (kind as StreamName))
  if (found === undefined) {
    const kinds = person.streams.map((stream) => stream.kind).join(', ')
    throw new UserNodeError(`there is no stream "${kind}" (${kinds})`, { code: 'ERR_STREAM_UNKNOWN', kind })
  }
  return found
}

/** Milliseconds that a batch covers, from its first sample. */
export function durationMs(batch: ReadingBatch): number {
  if (batch.kind === 'vitals') return Math.max(1, (batch.rows.at(-1)?.atMs ?? batch.startMs) - batch.startMs + 1)
  return Math.round((batch.samples.length / batch.leads.length) * (1_000_000 / batch.rateMilliHz))
}

const endMs = (batch: ReadingBatch): number => batch.startMs + durationMs(batch)

/**
 * Nobody knows which of two clocks is wrong: a node that starts without power for its own is behind until it hears the time. What is refused here is
 * taken later, and is to be kept until then: the answer is one that devices repeat. Only the ledger can tell that it is the device's: what waits
 * behind a batch that no time makes right would wait for ever.
 *
 * @param clocks - Unix ms; `ledgerMs`: the newest moment that the ledger's quorum signed since this node started, if it was heard.
 * @throws {UserNodeError} `ERR_SAMPLES_AHEAD` naming the field that brings the readings so far ahead of the node's clock;
 *   `ERR_SAMPLES_FAR_AHEAD` if they are more than {@link aheadMsNever} ahead of the ledger's, too.
 */
function requireMeasured(
  batch: ReadingBatch,
  { nowMs, ledgerMs }: { nowMs: number; ledgerMs: number | undefined },
): void {
  const atMs = endMs(batch)
  if (atMs <= nowMs + aheadMsMax) return
  const field = batch.kind === 'ecg' ? 'startMs' : 'rows.timeMs'
  const here = new Date(nowMs).toISOString()
  const words = `${field}: the readings reach ${wordsOf(atMs - nowMs)} ahead of this node's clock, ${here}`
  if (ledgerMs !== undefined && atMs > Math.max(nowMs, ledgerMs) + aheadMsNever) {
    const never = "and more than 30 days ahead of the ledger's time: what is dated so is never taken"
    throw new UserNodeError(`${words}, ${never}; set the clock of the device, and drop it`, {
      ...{ code: 'ERR_SAMPLES_FAR_AHEAD', field, atMs, nowMs },
    })
  }
  const advice = 'set the clock of the device, or that of the node if it is the one that is wrong'
  const retryAfterMs = Math.min(atMs - aheadMsMax - nowMs, askAgainMsMax)
  throw new UserNodeError(`${words}: ${advice}, and send them again`, {
    ...{ code: 'ERR_SAMPLES_AHEAD', field, atMs, nowMs, retryAfterMs },
  })
}

function wordsOf(ms: number): string {
  const minutes = Math.ceil(ms / 60_000)
  return minutes < 2 * 1_440 ? `${minutes} minutes` : `${Math.floor(minutes / 1_440)} days`
}

/** @throws {UserNodeError} `ERR_SAMPLES_INVALID` naming the field. */
function encodeChecked(batch: ReadingBatch): Uint8Array {
  try {
    return encodeBatch(batch)
  } catch (cause) {
    const field = (cause as { detail?: { field?: string } }).detail?.field ?? 'samples'
    throw new UserNodeError(`the samples cannot be used: ${field}`, { code: 'ERR_SAMPLES_INVALID', field }, { cause })
  }
}

function encodePiece({ stream, batch }: { stream: Uint8Array; batch: ReadingBatch }): EncodedPiece {
  return { stream, batch, content: encodeChecked(batch) }
}

/** The waiting samples of all streams. */
export class Samples {
  readonly #database: Database
  readonly #nowMs: () => number
  readonly #ledgerMs: () => number | undefined
  #forgotMs = 0

  /** @param ledgerMs - the newest moment that the ledger's quorum signed since this node started, Unix ms; undefined until it was heard. */
  constructor(database: Database, nowMs: () => number, ledgerMs: () => number | undefined = () => undefined) {
    this.#database = database
    this.#nowMs = nowMs
    this.#ledgerMs = ledgerMs
  }

  /**
   * Takes a piece. Durable when it returns. The same piece again changes nothing, sealed or not, for {@link rememberedMs}: a
   * device that did not hear the answer sends it again.
   *
   * @throws {UserNodeError} `ERR_SAMPLES_INVALID`, `ERR_BUFFER_FULL`; `ERR_SAMPLES_CONFLICT` for an ECG that starts with another one.
   */
  add(person: Person, stream: Uint8Array, batch: ReadingBatch): void {
    this.addAll(person, [{ stream, batch }])
  }

  /** As {@link Samples.add}, for several pieces: all of them are taken, or none. */
  addAll(person: Person, pieces: readonly { stream: Uint8Array; batch: ReadingBatch }[]): void {
    this.#takeAll(person, pieces.map(encodePiece))
  }

  /**
   * As {@link Samples.addAll}, for what a device measured and dated by its own clock. One that is wildly ahead would stretch her record into
   * years to come; what comes late is taken however late it is.
   *
   * @throws {UserNodeError} as {@link Samples.add}; `ERR_SAMPLES_AHEAD` for what reaches more than {@link aheadMsMax} beyond the node's clock, which
   *   may be the wrong one; `ERR_SAMPLES_FAR_AHEAD` for what reaches more than {@link aheadMsNever} beyond the ledger's word, too.
   */
  addMeasured(person: Person, pieces: readonly { stream: Uint8Array; batch: ReadingBatch }[]): void {
    const nowMs = this.#nowMs()
    const encoded = pieces.map(encodePiece)
    // The one that reaches furthest says whether time makes all of them right.
    const [furthest] = pieces.map(({ batch }) => batch).sort((a, b) => endMs(b) - endMs(a))
    if (furthest !== undefined) requireMeasured(furthest, { nowMs, ledgerMs: this.#ledgerMs() })
    this.#takeAll(person, encoded)
  }

  #takeAll(person: Person, pieces: readonly EncodedPiece[]): void {
    this.#database.transaction(() => {
      for (const piece of pieces) this.#take(person, piece)
      this.#forget()
    })
  }

  #take(person: Person, piece: EncodedPiece): void {
    const { stream, batch, content } = piece
    const place = [person.account, stream, batch.startMs] as const
    const now = this.#nowMs()
    const digest = sha256(content).subarray(0, digestBytes)
    const rows = this.#database.all(
      'SELECT digest FROM accepted WHERE account = ? AND stream = ? AND start = ?',
      ...place,
    )
    if (!rows.some((row) => equalBytes(row.digest as Uint8Array, digest))) {
      if (batch.kind === 'ecg' && rows.length > 0)
        throw new UserNodeError('other samples of this stream that start at the same time were accepted before', {
          ...{ code: 'ERR_SAMPLES_CONFLICT', startMs: batch.startMs },
        })
      this.#requireRoom(person, stream)
      this.#insert(place, batch, content, now)
      this.#database.run(
        'INSERT INTO accepted (account, stream, start, digest, arrived) VALUES (?, ?, ?, ?, ?)',
        ...[...place, digest, now],
      )
    }
    this.#database.run(
      'UPDATE switched SET heard = ? WHERE account = ? AND stream = ?',
      ...[now, person.account, stream],
    )
  }

  #requireRoom(person: Person, stream: Uint8Array): void {
    const waiting = this.#database.get(
      'SELECT coalesce(sum(length(content)), 0) AS bytes FROM sample WHERE account = ? AND stream = ?',
      ...[person.account, stream],
    )
    if (Number(waiting?.bytes ?? 0) > waitingBytesMax)
      throw new UserNodeError('too many samples wait to be sealed: try again later', { code: 'ERR_BUFFER_FULL' })
  }

  #insert(
    place: readonly [account: Uint8Array, stream: Uint8Array, startMs: number],
    batch: ReadingBatch,
    content: Uint8Array,
    arrivedMs: number,
  ): void {
    this.#database.run(
      'INSERT INTO sample (account, stream, start, until, arrived, content) VALUES (?, ?, ?, ?, ?, ?)',
      ...[...place, batch.startMs + durationMs(batch), arrivedMs, content],
    )
  }

  /** Once an hour, what is older than {@link rememberedMs}. */
  #forget(): void {
    const now = this.#nowMs()
    if (Math.abs(now - this.#forgotMs) < forgetEveryMs) return
    this.#forgotMs = now
    this.#database.run('DELETE FROM accepted WHERE arrived < ?', now - rememberedMs)
  }

  /** Inside the caller's transaction: a batch that was sealed already, and whose record the ledger refused, waits again. */
  putBack(person: Person, stream: Uint8Array, batch: ReadingBatch): void {
    this.#insert([person.account, stream, batch.startMs], batch, encodeBatch(batch), this.#nowMs())
  }

  /** What of a stream waits: how many pieces, the newest of them, and when it came. Changes whenever they do. */
  extent(person: Person, stream: Uint8Array): { count: number; newest: number; arrivedMs: number } {
    const row = this.#database.get(
      `SELECT count(*) AS n, coalesce(max(id), 0) AS newest, coalesce(max(arrived), 0) AS arrived
       FROM sample WHERE account = ? AND stream = ?`,
      ...[person.account, stream],
    )
    return { count: Number(row?.n), newest: Number(row?.newest), arrivedMs: Number(row?.arrived) }
  }

  /** Nobody adds to what waits of a stream: it is sealed as what came long ago. */
  makeDue(person: Person, stream: Uint8Array): void {
    this.#database.run('UPDATE sample SET arrived = 0 WHERE account = ? AND stream = ?', person.account, stream)
  }

  /** The oldest pieces of a stream, in order of time, at most 4,096. */
  waiting(person: Person, stream: Uint8Array): WaitingPiece[] {
    const rows = this.#database.all(
      'SELECT id, start, until, arrived, content FROM sample WHERE account = ? AND stream = ? ORDER BY start, id LIMIT 4096',
      ...[person.account, stream],
    )
    return rows.map((row) => ({
      id: Number(row.id),
      startMs: Number(row.start),
      untilMs: Number(row.until),
      arrivedMs: Number(row.arrived),
      batch: parseBatch(row.content as Uint8Array),
    }))
  }

  /** Inside the caller's transaction: drops a piece, or leaves of it what was not sealed. */
  replace(
    person: Person,
    stream: Uint8Array,
    ids: readonly number[],
    rest: ReadingBatch | undefined,
    arrivedMs: number,
  ): void {
    for (const id of ids) this.#database.run('DELETE FROM sample WHERE id = ?', id)
    if (rest === undefined) return
    this.#insert([person.account, stream, rest.startMs], rest, encodeBatch(rest), arrivedMs)
  }
}

function isSameForm(a: EcgBatch, b: EcgBatch): boolean {
  return (
    a.rateMilliHz === b.rateMilliHz &&
    a.gainMilli === b.gainMilli &&
    a.baseline === b.baseline &&
    a.unit === b.unit &&
    a.leads.join(' ') === b.leads.join(' ')
  )
}

/** One batch of at most a period, what is left over, and the pieces that it was made of. */
export interface NextBatch {
  readonly batch: ReadingBatch
  readonly rest: ReadingBatch | undefined
  readonly ids: readonly number[]
  readonly arrivedMs: number
}

/** How much a batch may hold. */
export interface BatchLimit {
  readonly periodMs: number
  /** Bytes of the encoded batch. */
  readonly sizeBytesMax: number
}

/**
 * Joins waiting pieces to one period, or to as much as fits. A gap between pieces, or another form (rate, leads, gain),
 * ends the batch early.
 *
 * @param isFlushed - true: take what there is, even if it is less than a period.
 */
export function nextBatch(
  pieces: readonly WaitingPiece[],
  limit: BatchLimit,
  isFlushed: boolean,
): NextBatch | undefined {
  const [first] = pieces
  if (first === undefined) return undefined
  return first.batch.kind === 'ecg'
    ? nextEcg(pieces, first.batch, limit, isFlushed)
    : nextVitals(pieces, limit, isFlushed)
}

/** Frames of an ECG in one batch: a period of them, or as many as fit. */
function framesMax(head: EcgBatch, { periodMs, sizeBytesMax }: BatchLimit): number {
  const frames = Math.max(1, Math.floor((periodMs * head.rateMilliHz) / 1_000_000))
  const leads = head.leads.length
  const overheadBytes = batchSizeMax({ kind: 'ecg', rateMilliHz: 0, leads, periodMs: 0 }) - 2 * leads
  return Math.max(1, Math.min(frames, Math.floor((sizeBytesMax - overheadBytes) / (2 * leads))))
}

function nextEcg(
  pieces: readonly WaitingPiece[],
  head: EcgBatch,
  limit: BatchLimit,
  isFlushed: boolean,
): NextBatch | undefined {
  const wanted = framesMax(head, limit) * head.leads.length
  const samples: number[] = []
  const ids: number[] = []
  const toleranceMs = Math.ceil(2_000_000 / head.rateMilliHz)
  let endMs = head.startMs
  let isEnded = false
  let arrivedMs = 0
  for (const piece of pieces) {
    const { batch } = piece
    const continues = batch.kind === 'ecg' && isSameForm(batch, head) && Math.abs(piece.startMs - endMs) <= toleranceMs
    if (ids.length > 0 && !continues) {
      isEnded = true
      break
    }
    for (const sample of (batch as EcgBatch).samples) samples.push(sample)
    ids.push(piece.id)
    arrivedMs = piece.arrivedMs
    endMs = piece.untilMs
    if (samples.length >= wanted) break
  }
  if (samples.length < wanted && !isFlushed && !isEnded) return undefined
  const taken = samples.slice(0, wanted)
  const left = samples.slice(wanted)
  const restStartMs = head.startMs + Math.round((taken.length / head.leads.length) * (1_000_000 / head.rateMilliHz))
  return {
    batch: { ...head, samples: Int16Array.from(taken) },
    rest: left.length === 0 ? undefined : { ...head, startMs: restStartMs, samples: Int16Array.from(left) },
    ids,
    arrivedMs,
  }
}

/** Rows of vital signs that fit into one batch. */
function rowsMax({ sizeBytesMax }: BatchLimit): number {
  const ofRows = (rows: number): number => batchSizeMax({ kind: 'vitals', rateMilliHz: 0, leads: rows, periodMs: 0 })
  const overheadBytes = ofRows(0)
  const fitting = Math.floor((sizeBytesMax - overheadBytes) / (ofRows(1) - overheadBytes))
  return Math.max(1, Math.min(vitalRowsMax, fitting))
}

function nextVitals(pieces: readonly WaitingPiece[], limit: BatchLimit, isFlushed: boolean): NextBatch | undefined {
  const rows: VitalRow[] = []
  const ids: number[] = []
  let arrivedMs = 0
  const startMs = pieces[0]?.startMs ?? 0
  const endMs = startMs + limit.periodMs
  const most = rowsMax(limit)
  let isEnded = false
  for (const piece of pieces) {
    isEnded = piece.batch.kind !== 'vitals' || piece.startMs >= endMs || rows.length > most
    if (isEnded || piece.batch.kind !== 'vitals') break
    rows.push(...piece.batch.rows)
    ids.push(piece.id)
    arrivedMs = piece.arrivedMs
  }
  rows.sort((a, b) => a.atMs - b.atMs)
  const isFull = rows.length > most || (rows.at(-1)?.atMs ?? startMs) >= endMs
  if (!isFlushed && !isEnded && !isFull) return undefined
  const taken = rows.filter(({ atMs }) => atMs < endMs).slice(0, most)
  const left = rows.slice(taken.length)
  return {
    batch: { kind: 'vitals', startMs, rows: taken },
    rest: left.length === 0 ? undefined : { kind: 'vitals', startMs: left[0]?.atMs ?? endMs, rows: left },
    ids,
    arrivedMs,
  }
}
