/**
 * Tells beats apart by their shape. Up to four running shapes are kept; a beat joins the one that it resembles or begins a new one. The shape with most
 * beats that came on time is the patient's normal beat.
 */
import type { Carry } from './state.ts'

/** Ticks of signal that the caller keeps; a power of two. */
export const shapeRing = 1024
const ringMask = shapeRing - 1
const points = 32
const step = 3
const before = 42
const shapeCount = 4
const joinAt = 0.85

/** What a beat looks like. */
export interface Shape {
  /** Likeness to the normal beat, -1 to 1; 1 while there is none yet. */
  likeness: number
  /** Width of the complex over that of the normal beat. */
  width: number
  /** Height of the complex over that of the normal beat. */
  height: number
  /** True when the beat belongs to the normal shape. */
  isNormal: boolean
}

/** One instance per lead. */
export class Shapes {
  readonly #shapes = new Int16Array(points * shapeCount)
  readonly #weights = new Float64Array(shapeCount)
  readonly #timely = new Float64Array(shapeCount)
  readonly #widths = new Float64Array(shapeCount)
  readonly #heights = new Float64Array(shapeCount)
  readonly #beat = new Float64Array(points)

  /**
   * Takes a beat and tells its likeness to the normal one.
   *
   * @param ring - the last `shapeRing` ticks of the signal between 0.7 and 40 Hz, microvolts.
   * @param tick - middle of the beat.
   * @param timely - RR interval over the usual one, capped to 0..1.
   */
  push(ring: Int16Array, tick: number, timely: number): Shape {
    const { width, height } = this.#cut(ring, tick)
    let best = -1
    let likeness = -2
    for (let k = 0; k < shapeCount; k++) {
      if ((this.#weights[k] as number) === 0) continue
      const r = this.#correlate(k)
      if (r > likeness) {
        likeness = r
        best = k
      }
    }
    if (best < 0 || likeness < joinAt) best = this.#begin(width, height)
    else this.#join(best)
    this.#count(best, timely, width, height)
    const normal = this.#normal()
    const like = normal === best ? Math.max(likeness, joinAt) : this.#correlate(normal)
    return {
      likeness: like,
      width: width / Math.max(1, this.#widths[normal] as number),
      height: height / Math.max(1, this.#heights[normal] as number),
      isNormal: normal === best,
    }
  }

  /** Copies the beat out of the ring, free of its mean, and measures it. */
  #cut(ring: Int16Array, tick: number): { width: number; height: number } {
    let sum = 0
    let highest = 0
    for (let i = 0; i < points; i++) {
      const value = ring[(tick - before + i * step) & ringMask] as number
      this.#beat[i] = value
      sum += value
    }
    const mean = sum / points
    for (let i = 0; i < points; i++) this.#beat[i] = (this.#beat[i] as number) - mean
    const edge = ring[(tick - before) & ringMask] as number
    for (let i = -30; i <= 30; i++)
      highest = Math.max(highest, Math.abs((ring[(tick + i) & ringMask] as number) - edge))
    let width = 0
    for (let i = -36; i <= 36; i++)
      if (Math.abs((ring[(tick + i) & ringMask] as number) - edge) > 0.4 * highest) width++
    return { width, height: highest }
  }

  #correlate(k: number): number {
    let cross = 0
    let own = 0
    let other = 0
    for (let i = 0; i < points; i++) {
      const a = this.#beat[i] as number
      const b = this.#shapes[k * points + i] as number
      cross += a * b
      own += a * a
      other += b * b
    }
    return own === 0 || other === 0 ? 0 : cross / Math.sqrt(own * other)
  }

  #begin(width: number, height: number): number {
    let k = 0
    for (let i = 1; i < shapeCount; i++) if ((this.#weights[i] as number) < (this.#weights[k] as number)) k = i
    for (let i = 0; i < points; i++) this.#shapes[k * points + i] = Math.round(this.#beat[i] as number)
    this.#weights[k] = 0
    this.#timely[k] = 0
    this.#widths[k] = width
    this.#heights[k] = height
    return k
  }

  #join(k: number): void {
    for (let i = 0; i < points; i++) {
      const old = this.#shapes[k * points + i] as number
      this.#shapes[k * points + i] = Math.round(old + ((this.#beat[i] as number) - old) / 8)
    }
  }

  #count(k: number, timely: number, width: number, height: number): void {
    for (let i = 0; i < shapeCount; i++) {
      this.#weights[i] = (this.#weights[i] as number) * 0.99
      this.#timely[i] = (this.#timely[i] as number) * 0.99
    }
    this.#weights[k] = (this.#weights[k] as number) + 1
    this.#timely[k] = (this.#timely[k] as number) + (timely > 0.88 ? 1 : 0)
    this.#widths[k] = (this.#widths[k] as number) + (width - (this.#widths[k] as number)) / 8
    this.#heights[k] = (this.#heights[k] as number) + (height - (this.#heights[k] as number)) / 8
  }

  #normal(): number {
    let k = 0
    for (let i = 1; i < shapeCount; i++) if (this.#rank(i) > this.#rank(k)) k = i
    return k
  }

  #rank(k: number): number {
    return (this.#timely[k] as number) * 4 + (this.#weights[k] as number)
  }

  /** @see Carry */
  carry(c: Carry): void {
    c.int16('shapes.shapes', this.#shapes)
    c.numbers('shapes.weights', this.#weights, 0, 1000)
    c.numbers('shapes.timely', this.#timely, 0, 1000)
    c.numbers('shapes.widths', this.#widths, 0, 1000)
    c.numbers('shapes.heights', this.#heights, 0, 100_000)
  }
}
