/**
 * How irregular the rhythm is, from RR intervals alone (after Petrenas, Marozas and Sörnmo 2015, "Low-complexity detection of atrial fibrillation in
 * continuous long-term monitoring"): the share of pairs among the last eight intervals, free of single outliers by a median of three, that differ by 30 ms or more, over the mean interval, smoothed;
 * silenced while a three-point median leaves the sum of intervals alone, as in bigeminy. A second, quicker mean of the same share ends an episode early:
 * after hours of fibrillation the slow one would take a hundred beats to sink. What follows smoothly from beat to beat, as with breathing, is no fibrillation, and less
 * is made of what repeats itself, as beats in groups do.
 */
import { Predictability } from './predictability.ts'
import { Repetition } from './repetition.ts'
import type { Carry } from './state.ts'

const windowBeats = 8
/** Score above which a rhythm begins to count as possible atrial fibrillation, and below which it ceases to. */
const scoreOn = 0.63
const scoreOff = 0.62
/** The quick score below which it ceases to at once, and above which it may begin. */
const quickOff = 0.5
const quickOn = 0.5
const quickWeight = 0.06
/** What follows from beat to beat in so large a part ends it; to keep it from beginning less is enough (`Predictability.isSmooth`). */
const smoothSure = 0.4
/** Share of repeated changes that chance makes in fibrillation; what is more is taken off both scores. */
const repeatedByChance = 0.2
/** So many windows without a pair that differs end it at once. */
const evenWindows = 6
const differMs = 30
const balanceLeast = 0.0002
const meanWeight = 0.02
const shareWeight = 0.01
/** The weight of the first verdicts is larger, as if eight had gone before: a record that begins in fibrillation is told within a minute. */
const warmUp = 8

/** Running measure of irregularity; one instance per stretch of rhythm. */
export class Irregularity {
  readonly #intervals = new Float64Array(windowBeats)
  readonly #medians = new Float64Array(windowBeats)
  #count = 0
  #mean = 0
  #spread = 0
  #balance = 0
  readonly #predictability = new Predictability()
  readonly #repetition = new Repetition()
  #quick = 0
  /** Windows without a pair that differs, in a row. */
  #even = 0
  #isOn = 0

  /** Smoothed share of pairs of intervals that differ, 0 to 1. */
  get share(): number {
    return this.#spread
  }

  /** The same over about the last seventeen; undefined while there are fewer than nine intervals. */
  get shareNow(): number | undefined {
    return this.#count <= windowBeats ? undefined : this.#quick
  }

  /**
   * Takes the next RR interval in milliseconds.
   *
   * @returns the score, 0 at least; `isAf` says whether the rhythm counts as possible atrial fibrillation.
   */
  push(interval: number): number {
    const n = this.#count++
    this.#predictability.push(interval)
    const r = this.#intervals
    const before = n >= 1 ? (r[(n - 1) % windowBeats] as number) : interval
    const before2 = n >= 2 ? (r[(n - 2) % windowBeats] as number) : before
    r[n % windowBeats] = interval
    this.#medians[n % windowBeats] = medianOf3(before2, before, interval)
    this.#mean = n === 0 ? interval : this.#mean + meanWeight * (interval - this.#mean)
    this.#repetition.push(interval, this.#mean)
    if (n < windowBeats) return 0
    let pairs = 0
    let sum = 0
    let medianSum = 0
    for (let i = 0; i < windowBeats; i++) {
      sum += r[i] as number
      medianSum += this.#medians[i] as number
      for (let k = i + 1; k < windowBeats; k++)
        if (Math.abs((this.#medians[i] as number) - (this.#medians[k] as number)) >= differMs) pairs++
    }
    const share = pairs / ((windowBeats * (windowBeats - 1)) / 2)
    const ratio = medianSum / sum - 1
    const weight = Math.max(shareWeight, 1 / (n + 1 - windowBeats + warmUp))
    this.#spread += weight * (share - this.#spread)
    this.#balance += weight * (ratio * ratio - this.#balance)
    this.#quick += Math.max(quickWeight, 1 / (n + 1 - windowBeats)) * (share - this.#quick)
    const repeated = Math.max(0, this.#repetition.share - repeatedByChance)
    const score = this.#balance < balanceLeast ? 0 : Math.max(0, (this.#spread * 1000) / this.#mean - repeated)
    const quick = (this.#quick * 1000) / this.#mean - repeated
    this.#even = pairs === 0 ? Math.min(evenWindows, this.#even + 1) : 0
    const isSmooth = this.#isOn === 1 ? this.#predictability.share > smoothSure : this.#predictability.isSmooth
    const isNone = isSmooth || this.#even === evenWindows
    if (score > scoreOn && quick > quickOn && !isNone) this.#isOn = 1
    else if (score < scoreOff || quick < quickOff || isNone) this.#isOn = 0
    return score
  }

  /** True while the rhythm counts as possible atrial fibrillation. */
  get isAf(): boolean {
    return this.#isOn === 1
  }

  /** @see Carry */
  carry(c: Carry): void {
    c.integers('irregularity.intervals', this.#intervals, 0, 1e6)
    c.integers('irregularity.medians', this.#medians, 0, 1e6)
    this.#quick = c.number('irregularity.quick', this.#quick, 0, 1)
    this.#predictability.carry(c)
    this.#repetition.carry(c)
    this.#even = c.integer('irregularity.even', this.#even, 0, evenWindows)
    this.#isOn = c.integer('irregularity.is-on', this.#isOn, 0, 1)
    this.#count = c.integer('irregularity.count', this.#count, 0, 2 ** 45)
    this.#mean = c.number('irregularity.mean', this.#mean, 0, 1e6)
    this.#spread = c.number('irregularity.spread', this.#spread, 0, 1)
    this.#balance = c.number('irregularity.balance', this.#balance, 0, 1e6)
  }
}

function medianOf3(a: number, b: number, c: number): number {
  return a > b ? (b > c ? b : a > c ? c : a) : a > c ? a : b > c ? c : b
}
