/**
 * Alarms: findings of severity high or critical, gaps, and streams that fell silent. Each is told once when it begins and
 * once when it ends. Only code, severity and times are kept, as long as the doctor keeps the node.
 */

import { RecentMap } from '@healthblock/chain/recent-map'
import { type Finding, type Severity, severities } from '@healthblock/diagnosis/findings'
import { toHex } from '@healthblock/encoding/bytes'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import { DoctorNodeError } from '../errors.ts'
import type { DoctorNodeEvents } from '../events.ts'

/** An alarm, as people see it. */
export interface AlarmView {
  readonly id: number
  readonly patient: string
  readonly code: string
  /** The stream that is silent or has a gap; null for what a finding says. */
  readonly stream: string | null
  /** What was found, in the program's own sentence, as far as it was found since the node started or looked up since; else null. */
  readonly sentence: string | null
  readonly severity: string
  readonly from: string
  readonly toldAt: string
  readonly endedAt: string | null
  readonly acknowledgedAt: string | null
  readonly acknowledgedBy: string | null
  readonly escalatedAt: string | null
  readonly escalatedBy: string | null
  /** It stands below the others until then. */
  readonly snoozedUntil: string | null
  readonly snoozedBy: string | null
}

/** What somebody does about an alarm, and can take back. */
export const alarmActs = ['acknowledge', 'escalate', 'snooze'] as const
/** One of {@link alarmActs}. */
export type AlarmAct = (typeof alarmActs)[number]

const alarmFrom: Severity = 'high'
const silenceCode = 'stream.silent'
const gapCode = 'stream.gap'
const silenceMsMin = 120_000
/** A stream is silent when it paused three times as long as its last records lay apart. */
const silenceFactor = 3
const recentRecords = 8
/** A critical alarm is put off for at most this long. */
const criticalSnoozeMsMax = 15 * 60_000

const iso = (ms: unknown): string => new Date(Number(ms)).toISOString()
const isoOrNull = (ms: unknown): string | null => (ms === null ? null : iso(ms))

function viewOf(row: SqlRow, sentence: string | null): AlarmView {
  const by = (name: unknown): string | null => (typeof name === 'string' ? name : null)
  return {
    ...{ id: Number(row.id), patient: toHex(row.patient as Uint8Array), code: row.code as string },
    ...{ stream: /^([0-9a-f]+):\d+$/.exec(row.about as string)?.[1] ?? null },
    ...{ sentence, severity: row.severity as string, from: iso(row.started), toldAt: iso(row.told) },
    ...{ endedAt: isoOrNull(row.ended), acknowledgedAt: isoOrNull(row.acknowledged) },
    ...{ acknowledgedBy: by(row.acknowledgedby), escalatedAt: isoOrNull(row.escalated) },
    ...{ escalatedBy: by(row.escalatedby), snoozedUntil: isoOrNull(row.snoozed), snoozedBy: by(row.snoozedby) },
  }
}

/** True for a finding that wakes somebody. */
export function isAlarming(finding: { code: string; severity: Severity }): boolean {
  return severities.indexOf(finding.severity) >= severities.indexOf(alarmFrom) || finding.code === gapCode
}

function sentenceKey(patient: Uint8Array, code: string, about: string): string {
  return `${toHex(patient)} ${code} ${about}`
}

/** Alarms of one list. */
const listMax = { all: 10_000, ofOnePatient: 1_000 } as const

/** Sentences that are remembered. */
const sentencesMax = 10_000

/** Keeps alarms. */
export class Alarms {
  /** The newest sentence of what an alarm is about, by patient, code and begin: in memory alone, since it tells values. */
  readonly #sentences = new RecentMap<string, string>(sentencesMax)
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
      this.#sentences.set(sentenceKey(patient, code, String(fromMs)), finding.sentence)
      this.#begin(patient, { code, severity, about: String(fromMs), startedMs: fromMs, isOpen })
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

  /** What an older diagnosis said: it is shown where nothing newer was seen. */
  recall(patient: Uint8Array, finding: Pick<Finding, 'code' | 'fromMs' | 'sentence'>): void {
    const key = sentenceKey(patient, finding.code, String(finding.fromMs))
    if (!this.#sentences.has(key)) this.#sentences.set(key, finding.sentence)
  }

  #viewOf(row: SqlRow): AlarmView {
    const key = sentenceKey(row.patient as Uint8Array, row.code as string, row.about as string)
    return viewOf(row, this.#sentences.get(key) ?? null)
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

  /** `isOpen`: it lasts, also if it was taken for over. */
  #begin(
    patient: Uint8Array,
    alarm: { code: string; severity: Severity; about: string; startedMs: number; isOpen?: boolean },
  ): void {
    const now = this.#nowMs()
    const isNew = this.#database.run(
      'INSERT OR IGNORE INTO alarm (patient, code, about, severity, started, told) VALUES (?, ?, ?, ?, ?, ?)',
      ...[patient, alarm.code, alarm.about, alarm.severity, alarm.startedMs, now],
    )
    const { code, severity, about, isOpen = false } = alarm
    const again = 'UPDATE alarm SET ended = NULL WHERE patient = ? AND code = ? AND about = ? AND ended IS NOT NULL'
    const isAgain = isNew === 0 && isOpen && this.#database.run(again, patient, code, about) > 0
    if (isNew === 0) this.#grow(patient, alarm)
    if (isNew === 0 && !isAgain) return
    this.#events.emit({ type: 'alarm', patient: toHex(patient), atMs: now, code, severity, step: 'began' })
  }

  /** The severity of an alarm that lasts changed. One that rose is told again, whoever had it in hand. */
  #grow(patient: Uint8Array, alarm: { code: string; severity: Severity; about: string }): void {
    const { code, severity, about } = alarm
    const place = [patient, code, about]
    const row = this.#database.get(
      'SELECT id, severity FROM alarm WHERE patient = ? AND code = ? AND about = ? AND severity <> ?',
      ...[...place, severity],
    )
    if (row === undefined) return
    const hasRisen = severities.indexOf(severity) > severities.indexOf(row.severity as Severity)
    const again = hasRisen ? ', acknowledged = NULL, acknowledgedby = NULL, snoozed = NULL, snoozedby = NULL' : ''
    this.#database.run(`UPDATE alarm SET severity = ?${again} WHERE id = ?`, severity, row.id as number)
    if (!hasRisen) return
    this.#events.emit({ type: 'alarm', patient: toHex(patient), atMs: this.#nowMs(), code, severity, step: 'rose' })
  }

  #end(patient: Uint8Array, code: string, about: string, endedMs: number): void {
    const ended = this.#database.run(
      'UPDATE alarm SET ended = ? WHERE patient = ? AND code = ? AND about = ? AND ended IS NULL',
      ...[endedMs, patient, code, about],
    )
    if (ended === 0) return
    this.#events.emit({ type: 'alarm', patient: toHex(patient), atMs: this.#nowMs(), code, step: 'ended' })
  }

  /**
   * Newest first; `isOpen`: only those that last or wait to be acknowledged. Where there are more than fit, each patient's most urgent go
   * in before anybody's next: nobody's alarms push out somebody else's.
   */
  list(isOpen = false): AlarmView[] {
    const which = isOpen ? 'WHERE ended IS NULL OR acknowledged IS NULL' : ''
    const rank = severities.map((severity, index) => `WHEN '${severity}' THEN ${index}`).join(' ')
    const urgent = `acknowledged IS NOT NULL, escalated IS NULL, CASE severity ${rank} END DESC, id DESC`
    return this.#database
      .all(
        `SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY patient ORDER BY ${urgent}) AS turn FROM alarm ${which})
         WHERE turn <= ? ORDER BY turn, id DESC LIMIT ?`,
        ...[listMax.ofOnePatient, listMax.all],
      )
      .map((row) => this.#viewOf(row))
      .sort((a, b) => b.id - a.id)
  }

  /** Somebody takes care of it; the first one counts. @throws {DoctorNodeError} `ERR_ALARM_UNKNOWN`. */
  acknowledge(id: number, by: string): AlarmView {
    const set = 'acknowledged = ?, acknowledgedby = ?, snoozed = NULL, snoozedby = NULL'
    return this.#act(id, 'acknowledged', `UPDATE alarm SET ${set} WHERE id = ? AND acknowledged IS NULL`, [
      ...[this.#nowMs(), by, id],
    ])
  }

  /**
   * More than the usual is needed: it stands above the others until somebody acknowledges it.
   *
   * @throws {DoctorNodeError} `ERR_ALARM_UNKNOWN`; `ERR_ALARM_STATE` once it is acknowledged.
   */
  escalate(id: number, by: string): AlarmView {
    this.#requireUntaken(id, false)
    const set = 'escalated = ?, escalatedby = ?, snoozed = NULL, snoozedby = NULL'
    return this.#act(id, 'escalated', `UPDATE alarm SET ${set} WHERE id = ? AND escalated IS NULL`, [
      ...[this.#nowMs(), by, id],
    ])
  }

  /**
   * Puts an alarm off.
   *
   * @throws {DoctorNodeError} `ERR_ALARM_UNKNOWN`; `ERR_ALARM_STATE` once it is acknowledged or escalated, and for a critical one that
   * is put off for more than 15 minutes.
   */
  snooze(id: number, minutes: number, by: string): AlarmView {
    const { severity } = this.#requireUntaken(id, true)
    const lengthMs = minutes * 60_000
    if (severity === 'critical' && lengthMs > criticalSnoozeMsMax) {
      const most = criticalSnoozeMsMax / 60_000
      throw new DoctorNodeError(`a critical alarm is put off for ${most} minutes at most`, {
        ...{ code: 'ERR_ALARM_STATE', alarm: id },
      })
    }
    return this.#act(id, 'snoozed', 'UPDATE alarm SET snoozed = ?, snoozedby = ? WHERE id = ?', [
      ...[this.#nowMs() + lengthMs, by, id],
    ])
  }

  /** Takes acknowledgement, escalation and snooze back. @throws {DoctorNodeError} `ERR_ALARM_UNKNOWN`. */
  reopen(id: number): AlarmView {
    const none = ['acknowledged', 'escalated', 'snoozed'].map((name) => `${name} = NULL, ${name}by = NULL`).join(', ')
    return this.#act(id, 'reopened', `UPDATE alarm SET ${none} WHERE id = ?`, [id])
  }

  /**
   * Takes back one act of somebody's own, as long as it is what stands; what was done before it, or by others, stays.
   *
   * @throws {DoctorNodeError} `ERR_ALARM_UNKNOWN`; `ERR_ALARM_STATE` if somebody else did it or has the alarm in hand since, or it was
   * taken back already.
   */
  undo(id: number, act: AlarmAct, by: string): AlarmView {
    const { acknowledgedBy, escalatedBy, snoozedBy } = this.#find(id)
    const own = { acknowledge: acknowledgedBy, escalate: escalatedBy, snooze: snoozedBy }[act]
    const isOver = act !== 'acknowledge' && acknowledgedBy !== null
    if (own !== by || isOver)
      throw new DoctorNodeError(`this is not in the hand of ${by}`, { code: 'ERR_ALARM_STATE', alarm: id })
    const column = { acknowledge: 'acknowledged', escalate: 'escalated', snooze: 'snoozed' }[act]
    return this.#act(id, 'reopened', `UPDATE alarm SET ${column} = NULL, ${column}by = NULL WHERE id = ?`, [id])
  }

  #find(id: number): AlarmView {
    const row = this.#database.get('SELECT * FROM alarm WHERE id = ?', id)
    if (row === undefined) throw new DoctorNodeError('there is no such alarm', { code: 'ERR_ALARM_UNKNOWN', alarm: id })
    return this.#viewOf(row)
  }

  #requireUntaken(id: number, isSnooze: boolean): AlarmView {
    const alarm = this.#find(id)
    const taken = alarm.acknowledgedBy ?? (isSnooze ? alarm.escalatedBy : null)
    if (alarm.acknowledgedAt === null && taken === null) return alarm
    throw new DoctorNodeError(`${taken ?? 'somebody'} has it in hand already`, { code: 'ERR_ALARM_STATE', alarm: id })
  }

  /** Changes an alarm's state, and tells every open page. */
  #act(id: number, step: string, sql: string, values: (string | number)[]): AlarmView {
    const changed = this.#database.run(sql, ...values)
    const alarm = this.#find(id)
    const { patient, code, severity } = alarm
    if (changed > 0) this.#events.emit({ type: 'alarm', patient, atMs: this.#nowMs(), code, severity, step, id })
    return alarm
  }
}
