/**
 * Tells beats apart by their shape. Up to six running shapes are kept; a beat joins the one that it resembles or begins a new one. The shape with most
 * beats that came on time is the patient's normal beat; of each shape it is kept when its beats come and how they look.
 */
import { beatPoints, beforePoints, type Complex, createComplex, cutBeat, measureComplex, qrsPoints } from './complex.ts'
import { type Mixture, mixtureOf } from './fusion.ts'
import type { Carry } from './state.ts'

/** Number of shapes that are kept. */
export const shapeCount = 6
const joinAt = 0.9
/** Most ticks by which a beat is moved to lie on a shape. */
const shiftMax = 6
const shiftStep = 2
/** A shape learns an eighth of a new beat, and a beat counts for about a hundred that follow. */
const learn = 0.125
const forget = 0.99
const complexFields = ['height', 'width', 'ticks', 'slope', 'bend', 'area', 'signed', 'top', 'wave'] as const

/** What a beat looks like. Likenesses are correlations, -1 to 1; 1 while there is nothing to compare with. */
export interface Shape {
  /** To the normal beat: of the complex, before it, after it. */
  likeness: number
  likenessBefore: number
  likenessAfter: number
  /** To the shape that it joined, and to the beat before. */
  own: number
  previous: number
  /** Size of the difference from the normal complex over the size of that; before and after likewise, over the size of the complex. */
  difference: number
  differenceBefore: number
  differenceAfter: number
  complex: Complex
  /** Means of the normal beat. */
  normal: Readonly<Record<(typeof complexFields)[number], number>>
  /** True when the beat belongs to the normal shape. */
  isNormal: boolean
  /** Shares of recent beats that have this shape, and the normal one. */
  share: number
  normalShare: number
  /** Means of the shape before this beat: interval before and interval after, both over the usual one. */
  timely: number
  follow: number
  /** Which shape, 0 to `shapeCount` - 1, and whether it begins with this beat. */
  index: number
  isNew: boolean
}

type Means = Record<(typeof complexFields)[number], number>
const noMeans = (): Means => ({
  height: 1,
  width: 1,
  ticks: 1,
  slope: 0,
  bend: 0,
  area: 0,
  signed: 0,
  top: 0,
  wave: 0,
})

/** One instance per lead. */
export class Shapes {
  readonly #points = new Int16Array(beatPoints * shapeCount)
  readonly #last = new Int16Array(beatPoints)
  readonly #weights = new Float64Array(shapeCount)
  readonly #onTime = new Float64Array(shapeCount)
  readonly #timely = new Float64Array(shapeCount)
  readonly #follow = new Float64Array(shapeCount)
  readonly #counts = new Float64Array(shapeCount)
  readonly #means: Means[] = Array.from({ length: shapeCount }, noMeans)
  readonly #beat = new Float64Array(beatPoints)
  readonly #moved = new Float64Array(beatPoints)
  readonly #complex = createComplex()
  /** Shape of the newest beat. */
  #newest = 0

  /**
   * Takes a beat and tells its likeness to the normal one.
   *
   * @param ring - the last `shapeRing` ticks of the signal between 0.7 and 40 Hz, microvolts.
   * @param middle - tick of the middle of the complex in it.
   * @param next - ticks to the next beat.
   * @param timely - interval before over the usual one, 0 to 4; 1 when not known.
   * @param follow - interval after over the usual one.
   */
  push(ring: Int16Array, middle: number, next: number, timely: number, follow: number): Shape {
    cutBeat(this.#beat, ring, middle, next)
    measureComplex(this.#complex, ring, middle, next)
    const previous = this.#weights[this.#newest] === 0 ? 1 : this.#correlate(this.#last, 0, this.#beat, 0, qrsPoints)
    const { best, shift, likeness } = this.#nearest(ring, middle, next)
    if (shift !== 0) cutBeat(this.#beat, ring, middle + shift, next - shift)
    const isNew = best < 0 || likeness < joinAt
    const k = isNew ? this.#begin() : best
    const told = { timely: this.#timely[k] as number, follow: this.#follow[k] as number, index: k, isNew }
    if (!isNew) this.#join(k)
    this.#count(k, timely, follow)
    this.#newest = k
    for (let i = 0; i < beatPoints; i++) this.#last[i] = clamp(this.#beat[i] as number)
    return { ...this.#compare(k, ring, middle, next), previous, own: isNew ? 1 : likeness, ...told }
  }

  /** The newest beat as a mixture of the normal shape and shape `k`. */
  mix(k: number): Mixture {
    return mixtureOf(this.#beat, this.#points, this.#normal() * beatPoints, k * beatPoints)
  }

  #nearest(ring: Int16Array, middle: number, next: number): { best: number; shift: number; likeness: number } {
    let [best, shift, likeness] = [-1, 0, -2]
    for (let s = -shiftMax; s <= shiftMax; s += shiftStep) {
      cutBeat(this.#moved, ring, middle + s, next - s)
      for (let k = 0; k < shapeCount; k++) {
        if ((this.#weights[k] as number) === 0) continue
        const r = this.#correlate(this.#points, k, this.#moved, 0, qrsPoints)
        if (r > likeness) {
          likeness = r
          best = k
          shift = s
        }
      }
    }
    return { best, shift, likeness }
  }

  /** Compares with the normal shape, at the place where the complex lies best on it. */
  #compare(k: number, ring: Int16Array, middle: number, next: number) {
    const normal = this.#normal()
    let [likeness, at] = [-2, 0]
    for (let s = -shiftMax; s <= shiftMax; s += shiftStep) {
      cutBeat(this.#moved, ring, middle + s, next - s)
      const r = this.#correlate(this.#points, normal, this.#moved, 0, qrsPoints)
      if (r > likeness) [likeness, at] = [r, s]
    }
    cutBeat(this.#moved, ring, middle + at, next - at)
    const [p, t] = [qrsPoints, qrsPoints + beforePoints]
    const size = this.#size(normal, 0, p) / p
    let total = 0
    for (const weight of this.#weights) total += weight
    return {
      likeness,
      likenessBefore: this.#correlate(this.#points, normal, this.#moved, p, t),
      likenessAfter: this.#correlate(this.#points, normal, this.#moved, t, beatPoints),
      difference: this.#difference(normal, 0, p) / p / size,
      differenceBefore: this.#difference(normal, p, t) / (t - p) / size,
      differenceAfter: this.#difference(normal, t, beatPoints) / (beatPoints - t) / size,
      complex: this.#complex,
      normal: this.#means[normal] as Means,
      isNormal: normal === k,
      share: (this.#weights[k] as number) / total,
      normalShare: (this.#weights[normal] as number) / total,
    }
  }

  #size(k: number, from: number, to: number): number {
    let size = 1
    for (let i = from; i < to; i++) size += Math.abs(this.#points[k * beatPoints + i] as number)
    return size
  }

  #difference(k: number, from: number, to: number): number {
    let away = 0
    for (let i = from; i < to; i++)
      away += Math.abs((this.#moved[i] as number) - (this.#points[k * beatPoints + i] as number))
    return away
  }

  #correlate(shapes: Int16Array, k: number, beat: Float64Array, from: number, to: number): number {
    let cross = 0
    let own = 0
    let other = 0
    for (let i = from; i < to; i++) {
      const a = beat[i] as number
      const b = shapes[k * beatPoints + i] as number
      cross += a * b
      own += a * a
      other += b * b
    }
    return own === 0 || other === 0 ? 0 : cross / Math.sqrt(own * other)
  }

  #begin(): number {
    let k = 0
    for (let i = 1; i < shapeCount; i++) if ((this.#weights[i] as number) < (this.#weights[k] as number)) k = i
    for (let i = 0; i < beatPoints; i++) this.#points[k * beatPoints + i] = clamp(this.#beat[i] as number)
    this.#weights[k] = this.#onTime[k] = this.#counts[k] = 0
    this.#timely[k] = this.#follow[k] = 1
    const means = this.#means[k] as Means
    for (const field of complexFields) means[field] = Math.fround(this.#complex[field])
    return k
  }

  #join(k: number): void {
    for (let i = 0; i < beatPoints; i++) {
      const old = this.#points[k * beatPoints + i] as number
      this.#points[k * beatPoints + i] = clamp(old + ((this.#beat[i] as number) - old) * learn)
    }
    const means = this.#means[k] as Means
    for (const field of complexFields)
      means[field] = Math.fround(means[field] + learn * (this.#complex[field] - means[field]))
  }

  #count(k: number, timely: number, follow: number): void {
    for (let i = 0; i < shapeCount; i++) {
      this.#weights[i] = (this.#weights[i] as number) * forget
      this.#onTime[i] = (this.#onTime[i] as number) * forget
    }
    this.#weights[k] = (this.#weights[k] as number) + 1
    this.#onTime[k] = (this.#onTime[k] as number) + (timely > 0.88 ? 1 : 0)
    const count = (this.#counts[k] as number) + 1
    this.#counts[k] = Math.min(100, count)
    const weight = Math.max(0.05, 1 / count)
    this.#timely[k] = (this.#timely[k] as number) + weight * (timely - (this.#timely[k] as number))
    this.#follow[k] = (this.#follow[k] as number) + weight * (follow - (this.#follow[k] as number))
  }

  #normal(): number {
    let k = 0
    for (let i = 1; i < shapeCount; i++) if (this.#rank(i) > this.#rank(k)) k = i
    return k
  }

  #rank(k: number): number {
    return (this.#onTime[k] as number) * 4 + (this.#weights[k] as number)
  }

  /** @see Carry */
  carry(c: Carry): void {
    c.int16('shapes.points', this.#points)
    c.int16('shapes.last', this.#last)
    c.numbers('shapes.weights', this.#weights, 0, 1000)
    c.numbers('shapes.on-time', this.#onTime, 0, 1000)
    c.numbers('shapes.timely', this.#timely, 0, 1000)
    c.numbers('shapes.follow', this.#follow, 0, 1000)
    c.numbers('shapes.counts', this.#counts, 0, 100)
    for (const means of this.#means)
      for (const field of complexFields) means[field] = c.single('shapes.means', means[field], -1e6, 1e6)
    this.#newest = c.integer('shapes.newest', this.#newest, 0, shapeCount - 1)
  }
}

/** A whole number that fits a point of a shape. */
function clamp(value: number): number {
  return Math.round(Math.min(32_767, Math.max(-32_768, value)))
}
