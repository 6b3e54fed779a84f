/** Follows vital signs: the median of each minute, held against the patient's limits and own usual values; then NEWS2, MEWS and qSOFA on what is fresh enough. */
import { type Baseline, Baselines } from './baseline.ts'
import type { VitalRow, VitalSign, VitalsBatch } from './batch.ts'
import { scoreMews, scoreNews2, scoreQsofa } from './early-warning/score.ts'
import type { Consciousness, VitalSet } from './early-warning/vitals.ts'
import type { Episodes, FindingCode, Severity } from './findings.ts'
import { checkLimits } from './limits.ts'
import type { Parameters } from './parameters.ts'

const minuteMs = 60_000
const hourMs = 3_600_000
/** How old a value may be for a score, by sign: what a monitor measures all the time, and what a nurse measures on a round. */
const ageMaxMs: Partial<Record<VitalSign, number>> = {
  'heart-rate': 5 * minuteMs,
  pulse: 5 * minuteMs,
  'respiratory-rate': 5 * minuteMs,
  spo2: 5 * minuteMs,
  temperature: 12 * hourMs,
  'systolic-pressure': 12 * hourMs,
  consciousness: 12 * hourMs,
  'supplemental-oxygen': 12 * hourMs,
}
const levels: readonly Consciousness[] = ['A', 'C', 'V', 'P', 'U']
/** Points that the score must fall below the limit before the finding ends. */
const hysteresis = 2
/** Totals from which MEWS (Subbe 2001) and qSOFA (Singer 2016) are findings. NEWS2 alone raises alarms: three scores of one state are one state. */
const mewsFrom = 5
const qsofaFrom = 2
/** Most values of one sign that a minute keeps. */
const minuteValuesMax = 240

/** What is carried: the newest value of each sign, in thousandths, and its time; and what is usual. */
export interface VitalsState {
  latest: { sign: VitalSign; atMs: number; milli: number }[]
  baselines: Baseline[]
}

/** All vital signs during a run. */
export class VitalsStream {
  readonly #parameters: Parameters
  readonly #episodes: Episodes
  readonly #latest = new Map<VitalSign, { atMs: number; milli: number }>()
  readonly #baselines: Baselines
  endMs = 0

  constructor(parameters: Parameters, episodes: Episodes, carried?: VitalsState) {
    this.#parameters = parameters
    this.#episodes = episodes
    for (const { sign, atMs, milli } of carried?.latest ?? []) this.#latest.set(sign, { atMs, milli })
    this.#baselines = new Baselines(carried?.baselines)
  }

  /** Takes the next batch; a minute that a batch begins or ends in counts with the rows of that batch alone. */
  push(batch: VitalsBatch, record: number): void {
    let first = 0
    while (first < batch.rows.length) {
      const minute = Math.floor((batch.rows[first] as VitalRow).atMs / minuteMs)
      let next = first
      while (next < batch.rows.length && Math.floor((batch.rows[next] as VitalRow).atMs / minuteMs) === minute) next++
      this.#minute(batch.rows.slice(first, next), record, first)
      first = next
    }
  }

  #minute(rows: VitalRow[], record: number, first: number): void {
    const atMs = (rows[rows.length - 1] as VitalRow).atMs
    this.endMs = Math.max(this.endMs, atMs)
    const evidence = { record, first, last: first + rows.length - 1 }
    const bySign = new Map<VitalSign, number[]>()
    for (const { sign, value } of rows) {
      const values = bySign.get(sign) ?? []
      if (values.length < minuteValuesMax) values.push(Math.round(value * 1000))
      bySign.set(sign, values)
    }
    for (const [sign, values] of bySign) {
      values.sort((a, b) => a - b)
      const milli = values[(values.length - 1) >> 1] as number
      this.#latest.set(sign, { atMs, milli })
      checkLimits(this.#episodes, this.#parameters, { sign, milli, atMs, evidence })
      this.#baselines.push(this.#episodes, { sign, milli, atMs, evidence })
    }
    this.#score(atMs, evidence)
  }

  /** The first of these signs that is fresh; if there is none and `isStaleGood`, the newest that was measured at all. */
  #value(signs: readonly VitalSign[], nowMs: number, isStaleGood: boolean): number | undefined {
    const measured = signs.flatMap((sign) => {
      const latest = this.#latest.get(sign)
      return latest === undefined ? [] : [{ ...latest, isFresh: nowMs - latest.atMs <= (ageMaxMs[sign] ?? hourMs) }]
    })
    const newest = measured.toSorted((a, b) => b.atMs - a.atMs)[0]
    const found = measured.find(({ isFresh }) => isFresh) ?? (isStaleGood ? newest : undefined)
    return found === undefined ? undefined : found.milli / 1000
  }

  /** What scores are made of: what is fresh enough, and with `isStaleGood` the newest value of what is not, too. */
  #set(nowMs: number, isStaleGood: boolean): VitalSet {
    const newest = (...signs: VitalSign[]) => this.#value(signs, nowMs, isStaleGood)
    const entries: [keyof VitalSet, VitalSet[keyof VitalSet]][] = [
      ['respiratoryRate', newest('respiratory-rate')],
      ['spo2', newest('spo2')],
      ['systolicPressure', newest('systolic-pressure')],
      ['pulse', newest('heart-rate', 'pulse')],
      ['temperature', newest('temperature')],
      ['consciousness', levels[newest('consciousness') ?? -1]],
    ]
    const oxygen = newest('supplemental-oxygen')
    if (oxygen !== undefined) entries.push(['supplementalOxygen', oxygen > 0])
    const { ageYears, spo2Scale } = this.#parameters
    if (ageYears !== 255) entries.push(['ageYears', ageYears])
    entries.push(['spo2Scale', spo2Scale === 2 ? 2 : 1])
    return Object.fromEntries(entries.filter(([, value]) => value !== undefined)) as VitalSet
  }

  #score(atMs: number, evidence: { record: number; first: number; last: number }): void {
    const [set, known] = [this.#set(atMs, false), this.#set(atMs, true)]
    const [news2, knownNews2] = [scoreNews2(set), scoreNews2(known)]
    const { news2From } = this.#parameters
    const isRed = ({ parts }: typeof news2) => Object.values(parts).includes(3)
    const severity = (total: number): Severity => (total >= 7 ? 'high' : total >= 5 ? 'medium' : 'low')
    // `lasts`: by the newest values of any age, it would not end. What is no longer measured has not become better; but of a patient who is
    // now known to be too young for the score, nothing is said by it any more.
    const see = (
      code: FindingCode,
      total: number | null,
      from: number,
      isTold: boolean,
      least: number,
      lasts: boolean,
    ) => {
      const isTaken = total !== null && (total >= from || isTold || (this.#episodes.isOpen(code) && total >= least))
      if (!isTaken) {
        if (!lasts) this.#episodes.end(code, atMs)
        return
      }
      const urgency = code === 'early-warning.news2' ? severity(total) : 'medium'
      this.#episodes.see({ code, fromMs: atMs, toMs: atMs, severity: urgency, value: total * 1000, evidence })
    }
    const [news2Least, mewsLeast] = [news2From - hysteresis + 1, mewsFrom - hysteresis + 1]
    const isNews2Known = (knownNews2.total ?? 0) >= news2Least || isRed(knownNews2)
    see('early-warning.news2', news2.total, news2From, isRed(news2), news2Least, isNews2Known)
    const isMewsKnown = (scoreMews(known).total ?? 0) >= mewsLeast
    see('early-warning.mews', scoreMews(set).total, mewsFrom, false, mewsLeast, isMewsKnown)
    const isQsofaKnown = (scoreQsofa(known).total ?? 0) >= qsofaFrom
    see('early-warning.qsofa', scoreQsofa(set).total, qsofaFrom, false, qsofaFrom, isQsofaKnown)
  }

  /** What a later run needs. */
  carry(): VitalsState {
    const latest = [...this.#latest].map(([sign, { atMs, milli }]) => ({ sign, atMs, milli }))
    return { latest: latest.sort((a, b) => (a.sign < b.sign ? -1 : 1)), baselines: this.#baselines.carry() }
  }
}
