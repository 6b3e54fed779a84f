/**
 * Takes the spikes of a pacemaker out of the signal, and says where they were. A spike rises from a quiet level and is over within 16 ms; no wave of a heart is
 * so short. From 250 Hz on it can be told from a complex; below, down to 125 Hz, it is one sample and must be high: a recorder may have smeared it out. What leaves is the
 * same signal, some samples later, with a straight line where a spike was.
 */
import type { Carry } from './state.ts'

/** Lowest rate at which spikes are looked for, in thousandths of a hertz. */
const rateMilliHzLeast = 125_000
/** Half of the longest spike, and how long before it the signal is quiet, in ms. */
const halfMs = 8
const quietMs = 32
/** Least height, microvolts; and below 250 Hz, where a spike is one sample. */
const heightLeast = 150
const slowHeightLeast = 1000
const slowRateMilliHz = 250_000
/** How much the signal may move before the spike, and as long after it as it may last, over its height. */
const quietShare = 0.25
const afterShare = 0.4
const ringSize = 128
const ringMask = ringSize - 1
const microvoltsMax = 1_000_000
/** What stands for a missing sample in a carried state: a power of two, which a single holds. */
const missing = 2 ** 40

/** One instance per lead and stretch of samples. */
export class SpikeRemover {
  readonly #half: number
  readonly #quiet: number
  readonly #heightLeast: number
  readonly #ring = new Float32Array(ringSize)
  #count = 0
  /** Filled by `push` when it says so: the sample of the middle of the newest spike, from 0. */
  spike = 0
  /** Filled by `push`: the sample that leaves, in microvolts, NaN when missing. */
  out = Number.NaN

  /** @param rateMilliHz - from 100,000 to 1,000,000. */
  constructor(rateMilliHz: number) {
    const perMs = rateMilliHz / 1_000_000
    this.#half = rateMilliHz < rateMilliHzLeast ? 0 : Math.round(halfMs * perMs)
    this.#quiet = Math.round(quietMs * perMs)
    this.#heightLeast = rateMilliHz < slowRateMilliHz ? slowHeightLeast : heightLeast
  }

  /** Samples by which what leaves is later than what came; that many are still inside. */
  get delay(): number {
    return 3 * this.#half
  }

  /** True when the last `push` filled `out`: not for the first `delay` samples. */
  get isFilled(): boolean {
    return this.#count > this.delay
  }

  /** Takes a sample; true when a spike was found. */
  push(value: number): boolean {
    const newest = this.#count++
    this.#ring[newest & ringMask] = Math.min(microvoltsMax, Math.max(-microvoltsMax, value))
    const middle = newest - 2 * this.#half
    const isSpike = this.#half > 0 && middle >= this.#half + this.#quiet && this.#isSpike(middle)
    if (isSpike) {
      this.#bridge(middle)
      this.spike = middle
    }
    this.out = this.#ring[(newest - this.delay) & ringMask] as number
    return isSpike
  }

  #isSpike(middle: number): boolean {
    const half = this.#half
    const at = this.#ring[middle & ringMask] as number
    const left = this.#ring[(middle - half) & ringMask] as number
    const right = this.#ring[(middle + half) & ringMask] as number
    const height = Math.abs(at - (left + right) / 2)
    // Written so that a missing sample is no spike.
    if (!(height >= this.#heightLeast) || !(Math.abs(left - right) <= afterShare * height)) return false
    const sign = at > left ? 1 : -1
    for (let i = middle - half; i <= middle + half; i++) {
      const away = (at - (this.#ring[i & ringMask] as number)) * sign
      if (i < middle ? !(away > 0) : !(away >= 0)) return false
    }
    const isQuiet = this.#range(middle - half - this.#quiet, middle - half) <= quietShare * height
    return isQuiet && this.#range(middle + half, middle + 2 * half) <= afterShare * height
  }

  /** Range of the samples from one to another; NaN when one is missing. */
  #range(from: number, to: number): number {
    let [low, high] = [this.#ring[from & ringMask] as number, this.#ring[from & ringMask] as number]
    for (let i = from + 1; i <= to; i++) {
      low = Math.min(low, this.#ring[i & ringMask] as number)
      high = Math.max(high, this.#ring[i & ringMask] as number)
    }
    return high - low
  }

  #bridge(middle: number): void {
    const [from, half] = [middle - this.#half, this.#half]
    const left = this.#ring[from & ringMask] as number
    const step = ((this.#ring[(middle + half) & ringMask] as number) - left) / (2 * half)
    for (let i = 1; i < 2 * half; i++) this.#ring[(from + i) & ringMask] = left + i * step
  }

  /** @see Carry */
  carry(c: Carry): void {
    this.#count = c.integer('spikes.count', this.#count, 0, 2 ** 45)
    const kept = Math.min(this.#count, this.delay + this.#quiet + this.#half)
    for (let i = 1; i <= kept; i++) {
      const at = (this.#count - i) & ringMask
      const value = this.#ring[at] as number
      const read = c.single('spikes.ring', Number.isNaN(value) ? missing : value, -missing, missing)
      this.#ring[at] = read === missing ? Number.NaN : read
    }
  }
}
