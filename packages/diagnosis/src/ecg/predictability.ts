/**
 * How well an interval follows from the two before it: the share of variance that the best linear prediction explains. Breathing makes a young heart irregular, but
 * smoothly so (over 128 intervals 0.35 and more, though each breath is another); fibrillation has no memory (0.02 in the median, seldom 0.2).
 */
import type { Carry } from './state.ts'

const meanWeight = 0.06
const weight = 1 / 128
/** Most that one interval counts away from the mean, as a share of it. */
const awayMax = 0.3
const smoothOn = 0.35
const smoothOff = 0.3

/** One instance per stretch of rhythm. */
export class Predictability {
  #mean = 0
  #last = 0
  #before = 0
  // Covariances of lag 0, 1 and 2.
  #zero = 0
  #one = 0
  #two = 0
  #on = 0
  #share = 0

  /** True while the intervals follow from each other. */
  get isSmooth(): boolean {
    return this.#on === 1
  }

  /** The share now: 0 to 1. */
  get share(): number {
    return this.#share
  }

  /** Takes the next RR interval in milliseconds. */
  push(interval: number): void {
    if (this.#mean === 0) this.#mean = interval
    const most = awayMax * this.#mean
    const away = Math.min(most, Math.max(-most, interval - this.#mean))
    this.#mean += meanWeight * away
    this.#zero += weight * (away * away - this.#zero)
    this.#one += weight * (away * this.#last - this.#one)
    this.#two += weight * (away * this.#before - this.#two)
    this.#before = this.#last
    this.#last = away
    const share = this.#explained()
    this.#share = share
    if (share > smoothOn) this.#on = 1
    else if (share < smoothOff) this.#on = 0
  }

  #explained(): number {
    if (this.#zero < 1) return 0
    const one = this.#one / this.#zero
    const two = this.#two / this.#zero
    const rest = 1 - one * one
    return rest < 0.02 ? 1 : (one * one - 2 * one * one * two + two * two) / rest
  }

  /** @see Carry */
  carry(c: Carry): void {
    this.#mean = c.number('predictability.mean', this.#mean, 0, 1e6)
    this.#last = c.number('predictability.last', this.#last, -1e6, 1e6)
    this.#before = c.number('predictability.before', this.#before, -1e6, 1e6)
    this.#zero = c.number('predictability.zero', this.#zero, 0, 1e12)
    this.#one = c.number('predictability.one', this.#one, -1e12, 1e12)
    this.#two = c.number('predictability.two', this.#two, -1e12, 1e12)
    this.#on = c.integer('predictability.on', this.#on, 0, 1)
  }
}
