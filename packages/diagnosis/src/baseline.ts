/**
 * Tells an abrupt change of a sign against the patient's own usual values at that time of day. Level and spread follow the minutes slowly and are hardly moved by
 * outliers; nothing is told before they rest on four hours, nor of a change that lasts less than five minutes.
 */
import type { VitalSign } from './batch.ts'
import type { Episodes, Evidence, FindingCode } from './findings.ts'

/** Signs that have a baseline, with the code of their change and the least change that is told, in thousandths. */
const changes: Partial<Record<VitalSign, { code: FindingCode; least: number }>> = {
  'heart-rate': { code: 'vitals.change-heart-rate', least: 15_000 },
  'respiratory-rate': { code: 'vitals.change-respiration', least: 5000 },
  spo2: { code: 'vitals.change-spo2', least: 3000 },
  temperature: { code: 'vitals.change-temperature', least: 700 },
  'systolic-pressure': { code: 'vitals.change-systolic', least: 20_000 },
}
/** Parts of a day (UTC) that have a baseline of their own. */
const partMs = 21_600_000
const parts = 4
const minutesLeast = 240
const learn = 0.01
/** While a change lasts, it becomes usual more slowly. */
const learnChanged = 0.001
const spreadsOn = 6
const spreadsOff = 4
const minutesOn = 5

/** Usual values of one sign in one part of the day; whole numbers, thousandths of the sign's unit. */
export interface Baseline {
  sign: VitalSign
  part: number
  level: number
  spread: number
  minutes: number
  /** Minutes in a row that were far from usual. */
  away: number
}

/** Most baselines of a patient. */
export const baselinesMax = parts * Object.keys(changes).length

/** All baselines of a patient. */
export class Baselines {
  readonly #byName = new Map<string, Baseline>()

  constructor(carried: readonly Baseline[] = []) {
    for (const baseline of carried) this.#byName.set(`${baseline.sign}:${baseline.part}`, { ...baseline })
  }

  /** Takes the median of a minute, in thousandths. */
  push(episodes: Episodes, seen: { sign: VitalSign; milli: number; atMs: number; evidence: Evidence }): void {
    const { sign, milli, atMs, evidence } = seen
    const change = changes[sign]
    if (change === undefined) return
    const part = Math.floor(atMs / partMs) % parts
    const name = `${sign}:${part}`
    const own = this.#byName.get(name) ?? { sign, part, level: milli, spread: change.least, minutes: 0, away: 0 }
    this.#byName.set(name, own)
    const away = Math.abs(milli - own.level)
    const isOpen = episodes.isOpen(change.code)
    const isFar = away > Math.max(change.least, (isOpen ? spreadsOff : spreadsOn) * own.spread)
    own.away = own.minutes >= minutesLeast && isFar ? own.away + 1 : 0
    if (own.away >= minutesOn || (isOpen && own.away > 0))
      episodes.see({ code: change.code, fromMs: atMs, toMs: atMs, severity: 'low', value: milli, evidence })
    else if (own.away === 0) episodes.end(change.code, atMs)
    // The first minutes count more, so that the level is soon where the patient is.
    const weight = Math.max(own.away > 0 ? learnChanged : learn, own.minutes < 100 ? 1 / (own.minutes + 1) : 0)
    const bounded = Math.min(2 * own.spread, Math.max(-2 * own.spread, milli - own.level))
    own.level = Math.round(own.level + weight * bounded)
    own.spread = Math.max(1, Math.round(own.spread + weight * (Math.min(away, 3 * own.spread) - own.spread)))
    own.minutes++
  }

  /** What a later run needs, in a fixed order. */
  carry(): Baseline[] {
    return [...this.#byName].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, baseline]) => baseline)
  }
}
