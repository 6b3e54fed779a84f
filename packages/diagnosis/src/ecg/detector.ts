/**
 * Finds R peaks. The signal between 10 and 25 Hz is squared; where its mean over 0.14 s exceeds its mean over 0.61 s by a share of
 * the ten-second mean lies a candidate (after Elgendi 2013). A candidate becomes a beat by an adaptive threshold between the levels of beats and of noise, a
 * rule against T waves, and a second look at the best candidate left behind when no beat came for long (after Pan and Tompkins 1985).
 * All sums are whole numbers, so nothing drifts and the result does not depend on how the samples were cut into pieces.
 */
import { highPass10, lowPass25 } from './coefficients.ts'
import { Filter } from './filter.ts'
import type { Carry } from './state.ts'

const ringSize = 256
const ringMask = ringSize - 1
const longTicks = 153
const shortTicks = 35
/** Ticks from the newest sample to the newest of the short window, so that both windows share their centre. */
const shortLag = (longTicks - shortTicks) / 2
const centreLag = (longTicks - 1) / 2
/** Delay of the two filters for the middle of a QRS complex. */
const filterLag = 9
const bucketTicks = 125
const bucketCount = 20
const recentBuckets = 4
const valueMax = 32_000

/** Share of the ten-second mean that a candidate must stand out by. */
const offset = 0.18
/** Fewest ticks of a candidate, and fewest between two beats. */
const widthMin = 12
const refractory = 50
/** Until so many ticks after a beat, a candidate with less than this share of its slope is a T wave. */
const tWindow = 80
const tSlope = 0.4
/** Where between the levels of noise and beats a candidate becomes a beat, and the share of that at the second look. */
const beatThreshold = 0.35
const searchThreshold = 0.5
/** The second look comes after so many usual intervals. */
const searchAfter = 1.35
/** The second look while no interval is known, and how the level of beats sinks then, once: what was taken for the first beat may have been an electrode that was put on. */
const firstTicks = 750
const firstSink = 0.16
/** How it sinks in each second without a beat. */
const sink = 0.8
/** Half a second counts in the ten-second mean at most as so many times that mean; the mean is at most twice that of the last two seconds. */
const bucketCap = 4
const recentCap = 2

/** A beat that was found. */
export interface Beat {
  /** Tick of the middle of the QRS complex: steady to a few milliseconds, the base of RR intervals. */
  tick: number
  /** Size of the complex in the 10 to 25 Hz band, microvolts. */
  size: number
  /** Greatest step between two ticks in that band, microvolts. */
  slope: number
}

/** One instance per lead. */
export class Detector {
  readonly #high = new Filter(highPass10)
  readonly #low = new Filter(lowPass25)
  readonly #ring = new Int16Array(ringSize)
  readonly #buckets = new Float64Array(bucketCount)
  #tick = 0
  #shortSum = 0
  #longSum = 0
  #bucket = 0
  #bucketSum = 0
  #mean = 0
  // The block that is open: its width in ticks (0 = none), peak of the short sum and when.
  #width = 0
  #peakSum = 0
  #peakTick = 0
  #peakSlope = 0
  // Levels of the size of beats and of noise; 0 = not known yet.
  #beatLevel = 0
  #noiseLevel = 0
  #lastTick = -1
  #lastSlope = 0
  #interval = 0
  // The best candidate left behind since the last beat (size 0 = none).
  #leftTick = 0
  #leftSize = 0
  #leftSlope = 0
  /** Filled by `push`: at most one beat a tick. */
  readonly beat: Beat = { tick: 0, size: 0, slope: 0 }

  /** Takes one tick in microvolts; true when `beat` holds a new beat, which lies up to a few seconds back. */
  push(value: number): boolean {
    const tick = this.#tick++
    const filtered = tick === 0 ? this.#low.settle(this.#high.settle(value)) : this.#low.push(this.#high.push(value))
    const y = Math.round(Math.min(valueMax, Math.max(-valueMax, filtered)))
    this.#sums(tick, y)
    const centre = tick - centreLag
    if (centre < 0) return false
    const threshold = this.#longSum / longTicks + offset * this.#mean
    if (this.#shortSum / shortTicks > threshold) this.#grow(tick, centre)
    else if (this.#width > 0) {
      const closed = this.#close()
      if (closed) return true
    }
    return this.#lookBack(centre)
  }

  #sums(tick: number, y: number): void {
    const ring = this.#ring
    const last = ring[(tick - longTicks) & ringMask] as number
    const enters = ring[(tick - shortLag) & ringMask] as number
    const leaves = ring[(tick - shortLag - shortTicks) & ringMask] as number
    ring[tick & ringMask] = y
    const square = y * y
    this.#longSum += square - last * last
    this.#shortSum += enters * enters - leaves * leaves
    this.#bucketSum += square
    if ((tick + 1) % bucketTicks === 0) this.#turnBucket()
  }

  #turnBucket(): void {
    const held = Math.min(this.#bucket, bucketCount)
    // A burst of noise must not blind the detector for ten seconds.
    const cap = held < 4 ? Number.MAX_SAFE_INTEGER : bucketCap * this.#mean * bucketTicks + 1
    this.#buckets[this.#bucket % bucketCount] = Math.min(this.#bucketSum, Math.round(cap))
    this.#bucket++
    this.#bucketSum = 0
    const count = Math.min(this.#bucket, bucketCount)
    let sum = 0
    for (let i = 0; i < count; i++) sum += this.#buckets[i] as number
    let recent = 0
    for (let i = 1; i <= recentBuckets && i <= count; i++)
      recent += this.#buckets[(this.#bucket - i) % bucketCount] as number
    const recentMean = recent / (Math.min(count, recentBuckets) * bucketTicks)
    this.#mean = Math.min(sum / (count * bucketTicks), recentCap * recentMean)
  }

  #grow(tick: number, centre: number): void {
    const slope = Math.abs(
      (this.#ring[(tick - centreLag) & ringMask] as number) - (this.#ring[(tick - centreLag - 2) & ringMask] as number),
    )
    if (this.#width === 0) this.#peakSum = this.#peakSlope = 0
    this.#width++
    if (slope > this.#peakSlope) this.#peakSlope = slope
    if (this.#shortSum > this.#peakSum) {
      this.#peakSum = this.#shortSum
      this.#peakTick = centre
    }
  }

  #close(): boolean {
    const width = this.#width
    this.#width = 0
    if (width < widthMin) return false
    const size = Math.sqrt(this.#peakSum / shortTicks)
    return this.#judge(this.#peakTick, size, this.#peakSlope)
  }

  #judge(tick: number, size: number, slope: number): boolean {
    const since = tick - this.#lastTick
    if (this.#lastTick >= 0 && since < refractory) return false
    const known = this.#beatLevel > 0
    const threshold = this.#noiseLevel + beatThreshold * (this.#beatLevel - this.#noiseLevel)
    const isT = this.#lastTick >= 0 && since < tWindow && slope < tSlope * this.#lastSlope
    if (known && (size < threshold || isT)) {
      if (!isT && size > this.#leftSize) {
        this.#leftTick = tick
        this.#leftSize = size
        this.#leftSlope = slope
      }
      this.#noiseLevel = 0.875 * this.#noiseLevel + 0.125 * Math.min(size, this.#beatLevel)
      return false
    }
    this.#accept(tick, size, slope, 0.125)
    return true
  }

  #accept(tick: number, size: number, slope: number, weight: number): void {
    const capped = this.#beatLevel > 0 ? Math.min(size, 2 * this.#beatLevel) : size
    this.#beatLevel = this.#beatLevel > 0 ? this.#beatLevel + weight * (capped - this.#beatLevel) : size
    const interval = tick - this.#lastTick
    if (this.#lastTick >= 0 && interval < 500) {
      if (this.#interval === 0) this.#interval = interval
      else if (interval > 0.6 * this.#interval && interval < 1.5 * this.#interval)
        this.#interval += 0.125 * (interval - this.#interval)
      else this.#interval += 0.03 * (interval - this.#interval)
    }
    this.#lastTick = tick
    this.#lastSlope = slope
    this.#leftSize = 0
    this.beat.tick = tick - filterLag
    this.beat.size = size
    this.beat.slope = slope
  }

  #lookBack(centre: number): boolean {
    if (this.#lastTick < 0) return false
    const since = centre - this.#lastTick
    const isFirst = this.#interval === 0
    if (since < (isFirst ? firstTicks : searchAfter * this.#interval) || this.#width > 0) return false
    const threshold = this.#noiseLevel + beatThreshold * (this.#beatLevel - this.#noiseLevel)
    if (this.#leftSize > searchThreshold * threshold) {
      if (isFirst) this.#forgetBeats()
      this.#accept(this.#leftTick, this.#leftSize, this.#leftSlope, 0.25)
      return true
    }
    // The level of beats sinks while none is found, so that a lead that became small is heard again.
    if (since % 250 === 0) this.#beatLevel *= isFirst && since === firstTicks ? firstSink : sink
    return false
  }

  /** What was taken for beats was something else: the next one is the first. */
  #forgetBeats(): void {
    this.#lastTick = -1
    this.#beatLevel = this.#noiseLevel = 0
  }

  /** @see Carry */
  carry(c: Carry): void {
    this.#high.carry(c)
    this.#low.carry(c)
    c.int16('detector.ring', this.#ring)
    c.integers('detector.buckets', this.#buckets, 0, 2 ** 50)
    this.#tick = c.integer('detector.tick', this.#tick, 0, 2 ** 45)
    this.#shortSum = c.integer('detector.short-sum', this.#shortSum, 0, 2 ** 50)
    this.#longSum = c.integer('detector.long-sum', this.#longSum, 0, 2 ** 50)
    this.#bucket = c.integer('detector.bucket', this.#bucket, 0, 2 ** 45)
    this.#bucketSum = c.integer('detector.bucket-sum', this.#bucketSum, 0, 2 ** 50)
    this.#mean = c.number('detector.mean', this.#mean, 0, 2 ** 50)
    this.#width = c.integer('detector.width', this.#width, 0, 2 ** 45)
    this.#peakSum = c.integer('detector.peak-sum', this.#peakSum, 0, 2 ** 50)
    this.#peakTick = c.integer('detector.peak-tick', this.#peakTick, 0, 2 ** 45)
    this.#peakSlope = c.number('detector.peak-slope', this.#peakSlope, 0, 1e9)
    this.#beatLevel = c.number('detector.beat-level', this.#beatLevel, 0, 1e9)
    this.#noiseLevel = c.number('detector.noise-level', this.#noiseLevel, 0, 1e9)
    this.#lastTick = c.integer('detector.last-tick', this.#lastTick, -1, 2 ** 45)
    this.#lastSlope = c.number('detector.last-slope', this.#lastSlope, 0, 1e9)
    this.#interval = c.number('detector.interval', this.#interval, 0, 1e9)
    this.#leftTick = c.integer('detector.left-tick', this.#leftTick, 0, 2 ** 45)
    this.#leftSize = c.number('detector.left-size', this.#leftSize, 0, 1e9)
    this.#leftSlope = c.number('detector.left-slope', this.#leftSlope, 0, 1e9)
  }
}
