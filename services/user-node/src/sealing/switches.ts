/** Which devices are switched on, and what follows from it: records at a fixed cadence, and an alarm when one falls silent. */
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import type { Person, PersonStream } from '../store/person.ts'
import type { Alarms } from './alarms.ts'
import type { Losses } from './losses.ts'
import type { Samples } from './samples.ts'
import { blockSizeOf, type Sealer } from './sealer.ts'

/** What a device says of itself when it is switched on. */
export interface DeviceForm {
  /** How often it sends at least, in milliseconds; 0 = each period. */
  readonly everyMs: number
  /** Of an ECG: samples a second of each lead. */
  readonly rateHz: number
  readonly leads: number
}

/** A device that is switched on, as people see it. */
export interface SwitchedOnView {
  readonly stream: string
  readonly since: string
  readonly heardAt: string
  readonly silent: boolean
}

interface Dependencies {
  readonly database: Database
  readonly samples: Pick<Samples, 'makeDue'>
  readonly sealer: Sealer
  readonly losses: Losses
  readonly alarms: Alarms
  readonly periodMs: number
  readonly nowMs: () => number
}

/** What a device is taken for that does not say. */
export const deviceFormDefault: DeviceForm = { everyMs: 0, rateHz: 250, leads: 1 }
const silenceMsMin = 30_000
const silencePeriods = 3
const iso = (ms: number): string => new Date(ms).toISOString()

/** The switches of the household's devices, one for each stream. */
export class Switches {
  readonly #deps: Dependencies
  /** Nobody could be heard before. */
  #startedMs: number
  constructor(deps: Dependencies) {
    this.#deps = deps
    this.#startedMs = deps.nowMs()
  }

  /** The device of a stream is switched on: durable when it returns. Again is once. Returns since when it is on. */
  switchOn(person: Person, { stream, kind }: PersonStream, form: DeviceForm): number {
    const { database, periodMs, nowMs } = this.#deps
    const now = nowMs()
    const rateMilliHz = Math.round(form.rateHz * 1000)
    const size = blockSizeOf({ kind: kind === 'vitals' ? 'vitals' : 'ecg', rateMilliHz, leads: form.leads }, periodMs)
    database.run(
      `INSERT INTO switched (account, stream, since, every, heard, due, size) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (account, stream) DO UPDATE SET every = excluded.every, size = excluded.size`,
      ...[person.account, stream, now, form.everyMs, now, now + Math.round(1.5 * periodMs), size],
    )
    return Number(this.#row(person, stream)?.since)
  }

  /** The device of a stream is switched off: the next round seals what it sent, and nothing more is expected of it. Again is once. */
  switchOff(person: Person, stream: PersonStream): void {
    const { database, samples, alarms, nowMs } = this.#deps
    database.transaction(() => {
      const gone = database.run(
        'DELETE FROM switched WHERE account = ? AND stream = ?',
        ...[person.account, stream.stream],
      )
      if (gone === 0) return
      alarms.end(person, stream.stream, { code: 'stream.silent', atMs: nowMs() })
      samples.makeDue(person, stream.stream)
    })
  }

  /** The devices of a person that are switched on. */
  list(person: Person): SwitchedOnView[] {
    const rows = this.#deps.database.all(
      'SELECT stream, since, every, heard FROM switched WHERE account = ? LIMIT 64',
      person.account,
    )
    return rows.map((row) => ({
      stream:
        person.streams.find(({ stream }) => equalBytes(stream, row.stream as Uint8Array))?.kind ??
        toHex(row.stream as Uint8Array),
      since: iso(Number(row.since)),
      heardAt: iso(Number(row.heard)),
      silent: this.#isSilent(row),
    }))
  }

  /** Keeps the cadence of a stream while its device is switched on, and listens whether it is there. Call it each round. */
  tend(person: Person, stream: PersonStream): void {
    const { sealer, losses, alarms, periodMs, nowMs, database } = this.#deps
    const now = nowMs()
    const row = this.#inTime(person, stream.stream, now)
    if (row === undefined) return
    const dueMs = Number(row.due)
    if (now - dueMs > Math.max(silenceMsMin, silencePeriods * periodMs)) {
      // Nobody was here to seal anything, full or empty: that is said, once, and the cadence begins anew.
      database.transaction(() => {
        losses.mark(person, stream.stream, { startMs: dueMs, untilMs: now })
        database.run(
          'UPDATE switched SET due = ? WHERE account = ? AND stream = ?',
          ...[now + periodMs, person.account, stream.stream],
        )
      })
    } else if (now >= dueMs && sealer.seal(person, stream, true) === 0) {
      sealer.sealEmpty(person, stream, { firstSizeBytes: Number(row.size) })
    }
    const code = 'stream.silent'
    const heardMs = Number(row.heard)
    alarms.end(person, stream.stream, { code, atMs: heardMs, below: heardMs })
    if (this.#isSilent(row)) alarms.begin(person, stream.stream, { code, number: heardMs, atMs: now })
  }

  /** The row, with no moment of a clock that was ahead: nothing would be expected of the device until then. */
  #inTime(person: Person, stream: Uint8Array, now: number): SqlRow | undefined {
    const { database, alarms, periodMs } = this.#deps
    this.#startedMs = Math.min(this.#startedMs, now)
    const dueMsMax = now + 2 * periodMs
    const changed = database.run(
      'UPDATE switched SET due = min(due, ?), heard = min(heard, ?) WHERE account = ? AND stream = ? AND (due > ? OR heard > ?)',
      ...[dueMsMax, now, person.account, stream, dueMsMax, now],
    )
    if (changed > 0) alarms.end(person, stream, { code: 'stream.silent', atMs: now })
    return this.#row(person, stream)
  }

  #isSilent(row: SqlRow): boolean {
    const { nowMs, periodMs } = this.#deps
    const limitMs = Math.max(silenceMsMin, silencePeriods * periodMs, silencePeriods * Number(row.every))
    return nowMs() - Math.max(Number(row.heard), this.#startedMs) > limitMs
  }

  #row(person: Person, stream: Uint8Array): SqlRow | undefined {
    return this.#deps.database.get(
      'SELECT since, every, heard, due, size FROM switched WHERE account = ? AND stream = ?',
      ...[person.account, stream],
    )
  }
}
