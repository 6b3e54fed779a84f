/**
 * How irregular the rhythm is, from RR intervals alone (after Petrenas, Marozas and Sörnmo 2015, "Low-complexity detection of atrial fibrillation in
 * continuous long-term monitoring"): the share of pairs among the last eight intervals, free of single outliers by a median of three, that differ by 30 ms or more, over the mean interval, smoothed;
 * silenced while a three-point median leaves the sum of intervals alone, as in bigeminy. A second, quicker mean of the same share ends an episode early:
 * after hours of fibrillation the slow one would take a hundred beats to sink. What follows smoothly from beat to beat, as with breathing, is no fibrillation.
 */
import { Predictability } from './predictability.ts'
import type { Carry } from './state.ts'

const windowBeats = 8
/** Score above which a rhythm begins to count as possible atrial fibrillation, and below which it ceases to. */
const scoreOn = 0.71
const scoreOff = 0.69
/** The quick score below which it ceases to at once, and above which it may begin. */
const quickOff = 0.4
const quickOn = 0.6
const quickWeight = 0.06
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
  #quick = 0
  #isOn = 0

  /** Smoothed share of pairs of intervals that differ, 0 to 1. */
  get share(): number {
    return this.#spread
  }

  /**
   * Takes the next RR interval in milliseconds.
   *
   * @returns the score; `isAf` says whether the rhythm counts as possible atrial fibrillation.
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
    const score = this.#balance < balanceLeast ? this.#balance : (this.#spread * 1000) / this.#mean
    const quick = (this.#quick * 1000) / this.#mean
    const { isSmooth } = this.#predictability
    if (score > scoreOn && quick > quickOn && !isSmooth) this.#isOn = 1
    else if (score < scoreOff || quick < quickOff || isSmooth) this.#isOn = 0
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
