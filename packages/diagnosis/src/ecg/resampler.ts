/**
 * Brings samples of any rate from 100 to 1000 Hz to the analyser's 250 Hz: the mean of whole groups above 500 Hz, then linear interpolation with exact
 * rational time. Output tick k stands for the instant k / 250 s after the first sample.
 */
import type { Carry } from './state.ts'

/** Ticks a second inside the analyser. */
export const tickRate = 250
const microvoltsMax = 1_000_000

/** Rate converter; one instance per lead and stretch of samples. */
export class Resampler {
  readonly #rateMilli: number
  readonly #group: number
  /** Position of the next tick after the previous grouped sample, in 1 / (1000 * tickRate) of a grouped sample interval. */
  #ahead = 0
  #sum = 0
  #held = 0
  #previous = 0
  #started = 0
  /** Filled by `push`: microvolts, NaN for a missing sample. */
  readonly out = new Float64Array(4)

  /** @param rateMilliHz - from 100,000 to 1,000,000. */
  constructor(rateMilliHz: number) {
    this.#rateMilli = rateMilliHz
    this.#group = Math.max(1, Math.floor(rateMilliHz / (1000 * tickRate)))
  }

  /** Takes one sample in microvolts (NaN when missing) and returns how many ticks are now in `out`: 0 to 3. */
  push(value: number): number {
    this.#sum += value
    if (++this.#held < this.#group) return 0
    const mean = Math.min(microvoltsMax, Math.max(-microvoltsMax, this.#sum / this.#group))
    this.#sum = 0
    this.#held = 0
    return this.#interpolate(mean)
  }

  #interpolate(value: number): number {
    const unit = 1000 * tickRate * this.#group
    let count = 0
    if (this.#started === 0) {
      this.#started = 1
      this.#previous = value
      this.out[count++] = value
      this.#ahead = this.#rateMilli
      return count
    }
    while (this.#ahead <= unit) {
      const fraction = this.#ahead / unit
      this.out[count++] = fraction === 1 ? value : this.#previous + (value - this.#previous) * fraction
      this.#ahead += this.#rateMilli
    }
    this.#ahead -= unit
    this.#previous = value
    return count
  }

  /** @see Carry */
  carry(c: Carry): void {
    this.#ahead = c.integer('resampler.ahead', this.#ahead, 0, 4_000_000)
    this.#sum = c.number('resampler.sum', Number.isNaN(this.#sum) ? 1e12 : this.#sum, -1e12, 1e12)
    if (this.#sum === 1e12) this.#sum = Number.NaN
    this.#held = c.integer('resampler.held', this.#held, 0, this.#group - 1)
    this.#previous = c.number('resampler.previous', Number.isNaN(this.#previous) ? 1e12 : this.#previous, -1e12, 1e12)
    if (this.#previous === 1e12) this.#previous = Number.NaN
    this.#started = c.integer('resampler.started', this.#started, 0, 1)
  }
}
