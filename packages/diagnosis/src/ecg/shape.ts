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
  /** Likeness to the shape that it joined, and to the beat before. */
  own: number
  previous: number
  /** Size of the difference from the normal beat over the size of that. */
  difference: number
  /** Ticks at which the complex is above 0.4 of its height. */
  ticks: number
  /** Mean size before, in and after the complex, the first and last over the middle. */
  before: number
  after: number
  /** Signed area of the complex over its unsigned one, times the sign of the normal one. */
  balance: number
  /** Share of recent beats that have this shape. */
  share: number
}

/** One instance per lead. */
export class Shapes {
  readonly #shapes = new Int16Array(points * shapeCount)
  readonly #weights = new Float64Array(shapeCount)
  readonly #timely = new Float64Array(shapeCount)
  readonly #widths = new Float64Array(shapeCount)
  readonly #heights = new Float64Array(shapeCount)
  readonly #beat = new Float64Array(points)
  readonly #last = new Int16Array(points)

  /**
   * Takes a beat and tells its likeness to the normal one.
   *
   * @param ring - the last `shapeRing` ticks of the signal between 0.7 and 40 Hz, microvolts.
   * @param tick - middle of the beat.
   * @param timely - RR interval over the usual one, capped to 0..1.
   */
  push(ring: Int16Array, tick: number, timely: number): Shape {
    const { width, height } = this.#cut(ring, tick)
    const previous = this.#correlate(this.#last, 0)
    let best = -1
    let likeness = -2
    for (let k = 0; k < shapeCount; k++) {
      if ((this.#weights[k] as number) === 0) continue
      const r = this.#correlate(this.#shapes, k)
      if (r > likeness) {
        likeness = r
        best = k
      }
    }
    if (best < 0 || likeness < joinAt) best = this.#begin(width, height)
    else this.#join(best)
    this.#count(best, timely, width, height)
    const normal = this.#normal()
    for (let i = 0; i < points; i++) this.#last[i] = Math.round(this.#beat[i] as number)
    const like = this.#correlate(this.#shapes, normal)
    return {
      likeness: like,
      own: this.#correlate(this.#shapes, best),
      previous,
      difference: this.#difference(normal),
      ticks: width,
      ...this.#areas(normal),
      share: (this.#weights[best] as number) / this.#total(),
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

  #total(): number {
    let sum = 0
    for (const weight of this.#weights) sum += weight
    return sum
  }

  #difference(k: number): number {
    let away = 0
    let size = 1
    for (let i = 0; i < points; i++) {
      const shape = this.#shapes[k * points + i] as number
      away += Math.abs((this.#beat[i] as number) - shape)
      size += Math.abs(shape)
    }
    return away / size
  }

  /** What lies before, in and after the complex (points 8 to 20). */
  #areas(normal: number): { before: number; after: number; balance: number } {
    let before = 0
    let middle = 1
    let after = 0
    let signed = 0
    let normalSigned = 0
    for (let i = 0; i < points; i++) {
      const value = this.#beat[i] as number
      if (i < 8) before += Math.abs(value)
      else if (i > 20) after += Math.abs(value)
      else {
        middle += Math.abs(value)
        signed += value
        normalSigned += this.#shapes[normal * points + i] as number
      }
    }
    return { before: before / middle, after: after / middle, balance: (normalSigned < 0 ? -signed : signed) / middle }
  }

  #correlate(shapes: Int16Array, k: number): number {
    let cross = 0
    let own = 0
    let other = 0
    for (let i = 0; i < points; i++) {
      const a = this.#beat[i] as number
      const b = shapes[k * points + i] as number
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
    c.int16('shapes.last', this.#last)
    c.numbers('shapes.weights', this.#weights, 0, 1000)
    c.numbers('shapes.timely', this.#timely, 0, 1000)
    c.numbers('shapes.widths', this.#widths, 0, 1000)
    c.numbers('shapes.heights', this.#heights, 0, 100_000)
  }
}
