/** Measures one QRS complex and what lies around it, from the ring of filtered signal. Every measure is free of amplitude but for `height`. */

/** Ticks of signal that the caller keeps; a power of two. */
export const shapeRing = 1024
const ringMask = shapeRing - 1

/** Points of the three windows of a beat: complex, before it (P wave) and after it (ST and T wave). */
export const qrsPoints = 34
/** Points before the complex. */
export const beforePoints = 12
/** Points after the complex. */
export const afterPoints = 16
/** All points of a beat, in the order complex, before, after. */
export const beatPoints = qrsPoints + beforePoints + afterPoints
const qrsFrom = -30
const qrsStep = 2
const beforeFrom = -64
const beforeStep = 3
const afterFrom = 38
const afterStep = 3
/** Ticks around the middle in which height, width and slope are measured. */
const reach = 34
const smallSlope = 0.2
const gapTicks = 8
/** Ticks before the next beat that belong to that one. */
const nextMargin = 30

/** What is measured of a complex by itself. */
export interface Complex {
  /** From lowest to highest, microvolts, at least 1. */
  height: number
  /** Highest and lowest over the height, from the level before the complex. */
  top: number
  bottom: number
  /** Ticks from the first to the last steep step. */
  width: number
  /** Ticks at which the signal is further than 0.4 of the height from the level before the complex. */
  ticks: number
  /** Greatest step over two ticks, over the height. */
  slope: number
  /** How bent the complex is: second differences over first ones. */
  bend: number
  /** Mean distance from the level before the complex over the height. */
  area: number
  /** Signed mean distance over the height. */
  signed: number
  /** Steps before the steepest point over all steps. */
  early: number
  /** Mean step between the complexes over the height. */
  noise: number
  /** Signed mean after the complex over the height. */
  wave: number
}

/** A complex of which nothing is known. */
export function createComplex(): Complex {
  return {
    height: 1,
    top: 0,
    bottom: 0,
    width: 0,
    ticks: 0,
    slope: 0,
    bend: 0,
    area: 0,
    signed: 0,
    early: 0,
    noise: 0,
    wave: 0,
  }
}

/** Copies the points of a beat whose middle is at `middle`; after `next` ticks another one follows. */
export function cutBeat(out: Float64Array, ring: Int16Array, middle: number, next: number): void {
  for (let i = 0; i < qrsPoints; i++) out[i] = ring[(middle + qrsFrom + i * qrsStep) & ringMask] as number
  for (let i = 0; i < beforePoints; i++)
    out[qrsPoints + i] = ring[(middle + beforeFrom + i * beforeStep) & ringMask] as number
  for (let i = 0; i < afterPoints; i++) {
    const at = Math.min(afterFrom + i * afterStep, Math.max(afterFrom, next - nextMargin))
    out[qrsPoints + beforePoints + i] = ring[(middle + at) & ringMask] as number
  }
  level(out, 0, qrsPoints)
  level(out, qrsPoints, qrsPoints + beforePoints)
  level(out, qrsPoints + beforePoints, beatPoints)
}

function level(out: Float64Array, from: number, to: number): void {
  let sum = 0
  for (let i = from; i < to; i++) sum += out[i] as number
  const mean = sum / (to - from)
  for (let i = from; i < to; i++) out[i] = (out[i] as number) - mean
}

/** Measures the complex around `middle`; after `next` ticks another one follows. */
export function measureComplex(out: Complex, ring: Int16Array, middle: number, next: number): void {
  const at = (i: number) => ring[(middle + i) & ringMask] as number
  let base = 0
  for (let i = 0; i < 6; i++) base += at(-32 + i)
  base /= 6
  let [highest, lowest, steepest, steepestAt] = [-1e9, 1e9, 0, 0]
  let [first, second, before] = [1, 0, 0]
  for (let i = -reach; i <= reach; i++) {
    const value = at(i)
    if (i > -24 && i < 28) {
      highest = Math.max(highest, value - base)
      lowest = Math.min(lowest, value - base)
    }
    const step = Math.abs(at(i + 1) - at(i - 1))
    first += step
    second += Math.abs(at(i + 1) - 2 * value + at(i - 1))
    if (step > steepest) {
      steepest = step
      steepestAt = i
      before = first
    }
  }
  const height = Math.max(1, highest - lowest)
  out.height = height
  out.top = highest / height
  out.bottom = lowest / height
  out.slope = steepest / height
  out.bend = second / first
  out.early = before / first
  out.width = widthAround(ring, middle, steepestAt, smallSlope * steepest)
  measureAreas(out, ring, middle, base)
  measureAround(out, ring, middle, base, next)
}

/** Ticks from the first to the last steep step that hang together with the steepest. */
function widthAround(ring: Int16Array, middle: number, steepestAt: number, least: number): number {
  const step = (i: number) =>
    Math.abs((ring[(middle + i + 1) & ringMask] as number) - (ring[(middle + i - 1) & ringMask] as number))
  let left = steepestAt
  for (let i = steepestAt; i >= -reach - 10 && left - i <= gapTicks; i--) if (step(i) > least) left = i
  let right = steepestAt
  for (let i = steepestAt; i <= reach + 10 && i - right <= gapTicks; i++) if (step(i) > least) right = i
  return right - left
}

function measureAreas(out: Complex, ring: Int16Array, middle: number, base: number): void {
  let [area, signed, ticks] = [0, 0, 0]
  for (let i = -24; i <= 28; i++) {
    const away = (ring[(middle + i) & ringMask] as number) - base
    area += Math.abs(away)
    signed += away
    if (Math.abs(away) > 0.4 * out.height) ticks++
  }
  out.area = area / (53 * out.height)
  out.signed = signed / (53 * out.height)
  out.ticks = ticks
}

function measureAround(out: Complex, ring: Int16Array, middle: number, base: number, next: number): void {
  let noise = 0
  for (let i = -60; i < -32; i++)
    noise += Math.abs((ring[(middle + i + 1) & ringMask] as number) - (ring[(middle + i) & ringMask] as number))
  out.noise = noise / (28 * out.height)
  const to = Math.max(40, Math.min(84, next - nextMargin))
  let wave = 0
  for (let i = 30; i < to; i++) wave += (ring[(middle + i) & ringMask] as number) - base
  out.wave = wave / ((to - 30) * out.height)
}
