/**
 * Alarms: findings of severity high or critical, gaps, and streams that fell silent. Each is told once when it begins and
 * once when it ends. Only code, severity and times are kept, as long as the doctor keeps the node.
 */
import { type Finding, type Severity, severities } from '@healthblock/diagnosis/findings'
import { toHex } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import { DoctorNodeError } from '../errors.ts'
import type { DoctorNodeEvents } from '../events.ts'

/** An alarm, as people see it. */
export interface AlarmView {
  readonly id: number
  readonly patient: string
  readonly code: string
  readonly severity: string
  readonly from: string
  readonly toldAt: string
  readonly endedAt: string | null
  readonly acknowledgedAt: string | null
}

const alarmFrom: Severity = 'high'
const silenceCode = 'stream.silent'
const gapCode = 'stream.gap'
const silenceMsMin = 120_000
/** A stream is silent when it paused three times as long as its last records lay apart. */
const silenceFactor = 3
const recentRecords = 8

/** True for a finding that wakes somebody. */
export function isAlarming(finding: { code: string; severity: Severity }): boolean {
  return severities.indexOf(finding.severity) >= severities.indexOf(alarmFrom) || finding.code === gapCode
}

/** Keeps alarms. */
export class Alarms {
  readonly #database: Database
  readonly #events: DoctorNodeEvents
  readonly #nowMs: () => number
  constructor(options: { database: Database; events: DoctorNodeEvents; nowMs: () => number }) {
    this.#database = options.database
    this.#events = options.events
    this.#nowMs = options.nowMs
  }

  /** Takes in what was found now, which names everything that lasts still: the same findings again change nothing. */
  see(patient: Uint8Array, findings: readonly Finding[]): void {
    const lasting = new Set<string>()
    for (const finding of findings) {
      if (!isAlarming(finding)) continue
      const { code, severity, fromMs, isOpen, toMs } = finding
      this.#begin(patient, { code, severity, about: String(fromMs), startedMs: fromMs })
      if (isOpen) lasting.add(`${code}:${fromMs}`)
      else this.#end(patient, code, String(fromMs), toMs)
    }
    // The analyser may have begun afresh after a pause: what it does not follow any more does not last.
    const rows = this.#database.all(
      'SELECT code, about FROM alarm WHERE patient = ? AND ended IS NULL AND code <> ? LIMIT 1000',
      ...[patient, silenceCode],
    )
    for (const { code, about } of rows) {
      if (!lasting.has(`${code}:${about}`)) this.#end(patient, code as string, about as string, this.#nowMs())
    }
  }

  /** A gap record: the patient's node says that a reading is missing. Over as soon as it is told. */
  seeGap(patient: Uint8Array, record: { stream: Uint8Array; sequence: number; atMs: number }): void {
    const about = `${toHex(record.stream)}:${record.sequence}`
    this.#begin(patient, { code: gapCode, severity: 'medium', about, startedMs: record.atMs })
    this.#end(patient, gapCode, about, record.atMs)
  }

  /** Looks whether a stream that is read fell silent, or speaks again. */
  watchSilence(patient: Uint8Array, stream: Uint8Array): void {
    // Empty records say that the device is switched on and sends nothing: they are no sign of life.
    const rows = this.#database.all(
      'SELECT ms FROM record WHERE patient = ? AND stream = ? AND kind = 0 ORDER BY sequence DESC LIMIT ?',
      ...[patient, stream, recentRecords],
    )
    const [newest, oldest] = [Number(rows[0]?.ms ?? 0), Number(rows.at(-1)?.ms ?? 0)]
    if (rows.length < 2) return
    const name = toHex(stream)
    const limitMs = Math.max(silenceMsMin, (silenceFactor * (newest - oldest)) / (rows.length - 1))
    const kept = this.#database.all(
      'SELECT about FROM alarm WHERE patient = ? AND code = ? AND ended IS NULL AND about >= ? AND about < ? LIMIT 100',
      ...[patient, silenceCode, `${name}:`, `${name};`],
    )
    for (const { about } of kept) {
      if (about !== `${name}:${newest}`) this.#end(patient, silenceCode, about as string, newest)
    }
    if (this.#nowMs() - newest <= limitMs) return
    this.#begin(patient, { code: silenceCode, severity: 'medium', about: `${name}:${newest}`, startedMs: newest })
  }

  #begin(patient: Uint8Array, alarm: { code: string; severity: Severity; about: string; startedMs: number }): void {
    const now = this.#nowMs()
    const isNew = this.#database.run(
      'INSERT OR IGNORE INTO alarm (patient, code, about, severity, started, told) VALUES (?, ?, ?, ?, ?, ?)',
      ...[patient, alarm.code, alarm.about, alarm.severity, alarm.startedMs, now],
    )
    if (isNew === 0) {
      this.#database.run(
        'UPDATE alarm SET severity = ? WHERE patient = ? AND code = ? AND about = ? AND severity <> ?',
        ...[alarm.severity, patient, alarm.code, alarm.about, alarm.severity],
      )
      return
    }
    const { code, severity } = alarm
    this.#events.emit({ type: 'alarm', patient: toHex(patient), atMs: now, code, severity, step: 'began' })
  }

  #end(patient: Uint8Array, code: string, about: string, endedMs: number): void {
    const ended = this.#database.run(
      'UPDATE alarm SET ended = ? WHERE patient = ? AND code = ? AND about = ? AND ended IS NULL',
      ...[endedMs, patient, code, about],
    )
    if (ended === 0) return
    this.#events.emit({ type: 'alarm', patient: toHex(patient), atMs: this.#nowMs(), code, step: 'ended' })
  }

  /** Newest first. */
  list(): AlarmView[] {
    const iso = (ms: number): string => new Date(ms).toISOString()
    return this.#database.all('SELECT * FROM alarm ORDER BY id DESC LIMIT 10000').map((row) => ({
      id: Number(row.id),
      patient: toHex(row.patient as Uint8Array),
      code: row.code as string,
      severity: row.severity as string,
      from: iso(Number(row.started)),
      toldAt: iso(Number(row.told)),
      endedAt: row.ended === null ? null : iso(Number(row.ended)),
      acknowledgedAt: row.acknowledged === null ? null : iso(Number(row.acknowledged)),
    }))
  }

  /** @throws {DoctorNodeError} `ERR_ALARM_UNKNOWN`. */
  acknowledge(id: number): AlarmView {
    this.#database.run(
      'UPDATE alarm SET acknowledged = ? WHERE id = ? AND acknowledged IS NULL',
      ...[this.#nowMs(), id],
    )
    const found = this.list().find((alarm) => alarm.id === id)
    if (found === undefined)
      throw new DoctorNodeError('there is no such alarm', { code: 'ERR_ALARM_UNKNOWN', alarm: id })
    return found
  }
}
