/**
 * How often an interval is what came the last time that the same ones went before it: the method of analogues (after Sugihara and May 1990, "Nonlinear forecasting as a
 * way of distinguishing chaos from measurement error in time series"). Beats that come in groups, as with Wenckebach's block or frequent extra beats, are uneven and yet
 * repeat themselves, in half of their changes and more; fibrillation does so by chance, in an eighth.
 */
import type { Carry } from './state.ts'

/** Intervals that must be alike before the one that is told beforehand, and how far back such are looked for. */
const likeBeats = 3
const backBeats = 32
const keptBeats = likeBeats + backBeats + 1
/** What counts as alike, as a share of the mean interval. */
const alike = 0.04
const weight = 1 / 48

/** One instance per stretch of rhythm. */
export class Repetition {
  readonly #intervals = new Float64Array(keptBeats)
  #count = 0
  #share = 0

  /** Smoothed share of the changes of interval that were told beforehand, 0 to 1. What does not change is not asked for: a regular rhythm moves nothing. */
  get share(): number {
    return this.#share
  }

  /** Takes the next RR interval in milliseconds, and the mean of those before. */
  push(interval: number, mean: number): void {
    const n = this.#count++
    this.#intervals[n % keptBeats] = interval
    const tolerance = alike * mean
    if (n < likeBeats + 2 || (this.#away(n, n - 1) <= tolerance && this.#away(n, n - 2) <= tolerance)) return
    let [nearest, told] = [Number.MAX_VALUE, n]
    for (let i = n - 1; i >= Math.max(likeBeats, n - backBeats); i--) {
      let away = 0
      for (let k = 1; k <= likeBeats; k++) away = Math.max(away, this.#away(n - k, i - k))
      if (away < nearest) [nearest, told] = [away, i]
    }
    this.#share += weight * ((this.#away(n, told) <= tolerance ? 1 : 0) - this.#share)
  }

  /** By how much two of the kept intervals differ, in milliseconds. */
  #away(a: number, b: number): number {
    return Math.abs((this.#intervals[a % keptBeats] as number) - (this.#intervals[b % keptBeats] as number))
  }

  /** @see Carry */
  carry(c: Carry): void {
    c.integers('repetition.intervals', this.#intervals, 0, 1e6)
    this.#count = c.integer('repetition.count', this.#count, 0, 2 ** 45)
    this.#share = c.number('repetition.share', this.#share, 0, 1)
  }
}
