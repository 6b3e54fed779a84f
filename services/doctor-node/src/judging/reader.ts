/** Fetches, opens and checks records in the order of their streams. What cannot be read is said so, with its reason. */
import { grantRights } from '@healthblock/chain/live-at'
import { openPayload, type PayloadKind, parsePayloadHeader, payloadKinds } from '@healthblock/crypto/payload'
import { parseBatch, type ReadingBatch } from '@healthblock/diagnosis/batch'
import { isJudgeable, spanOf } from '@healthblock/diagnosis/judgeable'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { isRuntimeError } from '@healthblock/runtime/errors'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import type { DoctorNodeEvents } from '../events.ts'
import type { Envelopes } from '../watch/envelopes.ts'
import { coversRecord, type Grant, type Grants } from '../watch/grants.ts'
import type { Alarms } from './alarms.ts'

/** Why a record could not be read: `code` of `unreadable` (chain SPEC §6). */
export const unreadableCodes = { missing: 1, noKey: 2, header: 3, commitment: 4, format: 5 } as const
type UnreadableCode = (typeof unreadableCodes)[keyof typeof unreadableCodes]

/** Kinds of streams that are judged, and of the batches in them. */
export const streamKinds = { ecg: 1, vitals: 2 } as const
const judgedKinds: readonly number[] = Object.values(streamKinds)
/** How long a record may be missing, or without a key, before that is said on the ledger. */
const patienceMs = 60_000
const retryMsMin = 1_000
const retryMsMax = 10_000
/** Until a record is tried again that no node that answered had, while another did not answer. */
const networkPauseMs = 2_000
const fetchesAtOnce = 4
/** After so many records, or so long, it is the next patient's turn: nobody's backlog holds up the others. */
const turnMax = { records: 64, lengthMs: 2_000 } as const

/** Most records, and most bytes of blocks, that wait on disk to be judged, per patient. */
export const backlogMax = { records: 4_096, sizeBytes: 64 * 1024 * 1024 } as const

interface Dependencies {
  readonly database: Database
  readonly grants: Grants
  readonly envelopes: Envelopes
  readonly storage: () => StorageClient
  readonly ledgerId: Uint8Array
  readonly alarms: Alarms
  readonly events: DoctorNodeEvents
  readonly nowMs: () => number
}

/** A record of the database, as the ledger has it. */
export interface LedgerRecord {
  readonly patient: Uint8Array
  readonly stream: Uint8Array
  readonly sequence: number
  readonly generation: number
  readonly epoch: number
  /** 0 data, 1 empty, 2 gap, 3 file. */
  readonly kind: number
  readonly sizeBytes: number
  readonly cid: Uint8Array
  readonly tx: Uint8Array
}

/** Reads a row of the table `record`. */
export function recordOf(row: SqlRow): LedgerRecord {
  return {
    patient: row.patient as Uint8Array,
    stream: row.stream as Uint8Array,
    sequence: Number(row.sequence),
    generation: Number(row.generation),
    epoch: Number(row.epoch),
    kind: Number(row.kind),
    sizeBytes: Number(row.size),
    cid: row.cid as Uint8Array,
    tx: row.tx as Uint8Array,
  }
}

type Opened = { batch: ReadingBatch | undefined } | { code: UnreadableCode }

/** Opens a block under a key, with every field of its header as the ledger has it. */
export function openRecord(options: {
  ledgerId: Uint8Array
  record: LedgerRecord
  block: Uint8Array
  epochKey: Uint8Array
}): Opened {
  const { ledgerId, record, block, epochKey } = options
  const { patient, stream, generation, epoch, sequence } = record
  const kind = record.kind as PayloadKind
  const expected = { kind, ledgerId, owner: patient, writer: patient, stream, generation, epoch, sequence }
  if (!isHeaderOf(block, expected, record.sizeBytes)) return { code: unreadableCodes.header }
  let plaintext: Uint8Array
  try {
    plaintext = openPayload({ block, epochKey, expected })
  } catch {
    return { code: unreadableCodes.commitment }
  }
  if (kind === payloadKinds.empty)
    return plaintext.length === 0 ? { batch: undefined } : { code: unreadableCodes.format }
  try {
    const batch = parseBatch(plaintext)
    return isJudgeable(batch) ? { batch } : { code: unreadableCodes.format }
  } catch {
    return { code: unreadableCodes.format }
  }
}

function isHeaderOf(
  block: Uint8Array,
  expected: Parameters<typeof openPayload>[0]['expected'],
  sizeBytes: number,
): boolean {
  try {
    const header = parsePayloadHeader(block)
    const numbers = ['kind', 'generation', 'epoch', 'sequence'] as const
    const bytes = ['ledgerId', 'owner', 'writer', 'stream'] as const
    return (
      header.sizeBytes === sizeBytes &&
      numbers.every((name) => header[name] === expected[name]) &&
      bytes.every((name) => equalBytes(header[name], expected[name]))
    )
  } catch {
    return false
  }
}

/** Reads what the queue holds. */
export class Reader {
  readonly #deps: Dependencies
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /**
   * Reads a patient's waiting records until none is due, the backlog is full, or her turn is over.
   *
   * @returns true if her turn is over and more is due.
   * @throws {RuntimeError} `ERR_NO_SOURCE` and others of the network: nothing is said about the records then, and they are tried again after the others.
   */
  async read(patient: Uint8Array, signal: AbortSignal): Promise<boolean> {
    const { database, nowMs, grants } = this.#deps
    const open = grants.open(patient).filter(({ untilMs }) => untilMs > nowMs())
    if (open.length === 0) {
      this.#forget(patient)
      return false
    }
    const endMs = performance.now() + turnMax.lengthMs
    for (let count = 0; !signal.aborted && !this.#isFull(patient); ) {
      if (count >= turnMax.records || performance.now() >= endMs) return true
      const rows = database.all(
        // What was put off further was put off by a clock that was ahead.
        "SELECT * FROM record WHERE patient = ? AND state = 'waiting' AND due NOT BETWEEN ? AND ? ORDER BY stream, sequence LIMIT ?",
        ...[patient, nowMs() + 1, nowMs() + retryMsMax, fetchesAtOnce],
      )
      if (rows.length === 0) return false
      count += rows.length
      const results = await Promise.allSettled(rows.map((row) => this.#readOne(row, open, signal)))
      const failed = results.find((result) => result.status === 'rejected')
      if (failed !== undefined) throw failed.reason
    }
    return false
  }

  #isFull(patient: Uint8Array): boolean {
    const row = this.#deps.database.get(
      "SELECT count(*) AS n, coalesce(sum(size), 0) AS size FROM record WHERE patient = ? AND state = 'open' AND diagnosis IS NULL AND block IS NOT NULL",
      patient,
    )
    return Number(row?.n) >= backlogMax.records || Number(row?.size) >= backlogMax.sizeBytes
  }

  async #readOne(row: SqlRow, open: readonly Grant[], signal: AbortSignal): Promise<void> {
    const { envelopes, ledgerId } = this.#deps
    const record = recordOf(row)
    // Files are opened when someone looks at them, not by the machine.
    if (record.kind === payloadKinds.file) return this.#settle(record, 'skipped', {})
    const key = await envelopes.epochKey(record)
    if (key === undefined) return this.#fail(row, record, unreadableCodes.noKey)
    if (!judgedKinds.includes(key.kind)) return this.#settle(record, 'skipped', { streamkind: key.kind })
    if (record.kind === payloadKinds.gap) {
      key.epochKey.fill(0)
      this.#settle(record, 'open', { streamkind: key.kind })
      const { stream, sequence } = record
      return this.#deps.alarms.seeGap(record.patient, { stream, sequence, atMs: Number(row.ms) })
    }
    const block = await this.#fetch(record, signal)
    if (block === undefined) return this.#fail(row, record, unreadableCodes.missing)
    const opened = openRecord({ ledgerId, record, block, epochKey: key.epochKey })
    key.epochKey.fill(0)
    if ('code' in opened) return this.#fail(row, record, opened.code)
    const span = opened.batch === undefined ? {} : spanOf(opened.batch)
    // Without the right to diagnose, or judged on record already, a reading is looked at and not kept to be judged.
    const isNew = row.diagnosis === null
    const isJudged =
      isNew && open.some((grant) => (grant.rights & grantRights.diagnose) !== 0 && coversRecord(grant, record))
    // What it is, whatever the stream is said to be: what a record costs goes by that.
    const streamkind = opened.batch === undefined ? key.kind : streamKinds[opened.batch.kind]
    this.#settle(record, 'open', { streamkind, ...(isJudged ? { block } : {}), ...span })
  }

  /** No grant is left: what waits is not read, and what was not judged is not kept. */
  #forget(patient: Uint8Array): void {
    const { database } = this.#deps
    database.run("UPDATE record SET state = 'foreign', failed = NULL WHERE patient = ? AND state = 'waiting'", patient)
    database.run(
      "UPDATE record SET block = NULL WHERE patient = ? AND state = 'open' AND diagnosis IS NULL AND block IS NOT NULL",
      patient,
    )
  }

  async #fetch(record: LedgerRecord, signal: AbortSignal): Promise<Uint8Array | undefined> {
    try {
      return await this.#deps.storage().get(record.cid, { signal })
    } catch (error) {
      if (isRuntimeError(error, 'ERR_BLOCK_NOT_FOUND')) return undefined
      this.#putOff(record)
      throw error
    }
  }

  /** True while a record waits that the network did not give when it was last asked. */
  isPuttingOff(): boolean {
    const patients = this.#deps.database.all(
      "SELECT DISTINCT patient FROM record WHERE state = 'waiting' AND due > 0 AND failed IS NULL LIMIT 4096",
    )
    // With a full backlog nobody asks: it waits for what is to be judged before it.
    return patients.some(({ patient }) => !this.#isFull(patient as Uint8Array))
  }

  /** Nothing can be said about the record now: the others take their turn before it is tried again. */
  #putOff({ patient, stream, sequence }: LedgerRecord): void {
    const { database, nowMs } = this.#deps
    database.run(
      "UPDATE record SET due = ?, failed = NULL WHERE patient = ? AND stream = ? AND sequence = ? AND state = 'waiting'",
      ...[nowMs() + networkPauseMs, patient, stream, sequence],
    )
  }

  /** The state is changed only while the record still waits: access may have ended meanwhile. */
  #settle(
    record: LedgerRecord,
    state: 'open' | 'skipped',
    found: { streamkind?: number; block?: Uint8Array; startMs?: number; untilMs?: number },
  ): void {
    const { database, events, nowMs } = this.#deps
    const changed = database.run(
      `UPDATE record SET state = ?, streamkind = ?, block = ?, start = ?, until = ?, failed = NULL, code = NULL
       WHERE patient = ? AND stream = ? AND sequence = ? AND state = 'waiting'`,
      ...[state, found.streamkind ?? null, found.block ?? null, found.startMs ?? null, found.untilMs ?? null],
      ...[record.patient, record.stream, record.sequence],
    )
    // Gaps and empty records are no readings.
    if (changed === 0 || state !== 'open' || record.kind !== payloadKinds.data) return
    const { patient, stream, sequence } = record
    events.emit({ type: 'reading', patient: toHex(patient), atMs: nowMs(), stream: toHex(stream), sequence })
  }

  /** What is missing, or has no key yet, is tried again for a while; what is wrong stays wrong. */
  #fail(row: SqlRow, record: LedgerRecord, code: UnreadableCode): void {
    const { database, events, nowMs } = this.#deps
    const now = nowMs()
    // A time in which nobody looked does not count: the clock was set ahead, this node was off, or others had their turn.
    const unseenMs = Math.max(0, now - Number(row.due) - retryMsMax)
    const failedMs = row.failed === null ? now : Math.min(now, Number(row.failed) + unseenMs)
    const isTransient = code === unreadableCodes.missing || code === unreadableCodes.noKey
    const isFinal = !isTransient || now - failedMs >= patienceMs
    const dueMs = now + Math.min(retryMsMax, Math.max(retryMsMin, now - failedMs))
    const changed = database.run(
      `UPDATE record SET state = ?, due = ?, failed = ?, code = ?
       WHERE patient = ? AND stream = ? AND sequence = ? AND state = 'waiting'`,
      ...[isFinal ? 'unreadable' : 'waiting', dueMs, failedMs, code],
      ...[record.patient, record.stream, record.sequence],
    )
    if (changed === 0 || !isFinal) return
    const { patient, stream, sequence } = record
    events.emit({ type: 'unreadable', patient: toHex(patient), atMs: now, stream: toHex(stream), sequence, code })
  }
}
