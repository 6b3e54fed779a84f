/** What is measured of a beat, and its class. */

import { supraventricularTable, ventricularTable } from './beat-table.ts'
import type { BeatSymbol, RhythmTracker } from './rhythm.ts'
import type { Shape } from './shape.ts'
import { sumTrees, type TreeTable } from './trees.ts'

/** Number of measures of a beat. */
export const featureCount = 20
/** Index of the likeness to the normal beat. */
export const featureLikeness = 3
const featureNext = 18
const ratioMax = 4

const ratio = (a: number, b: number) => (a > 0 && b > 0 ? Math.min(ratioMax, a / b) : 1)

/** Measures a beat, all but what comes after it. Every value is a ratio without a unit, so that amplitude and rate of the record do not matter. */
export function fillFeatures(
  out: Float64Array,
  beat: {
    shape: Shape
    intervalMs: number
    size: number
    slope: number
    rhythm: RhythmTracker
    sizeLevel: number
    before: number
  },
): void {
  const { shape, intervalMs, size, slope, rhythm, sizeLevel, before } = beat
  out[0] = ratio(intervalMs, rhythm.usual)
  out[1] = ratio(before, rhythm.usual)
  out[2] = ratio(intervalMs, before)
  out[featureLikeness] = shape.likeness
  out[4] = Math.min(ratioMax, shape.width)
  out[5] = Math.min(ratioMax, shape.height)
  out[6] = shape.ticks
  out[7] = shape.own
  out[8] = shape.previous
  out[9] = Math.min(ratioMax, shape.difference)
  out[10] = Math.min(ratioMax, shape.before)
  out[11] = Math.min(ratioMax, shape.after)
  out[12] = shape.balance
  out[13] = shape.share
  out[14] = ratio(size, sizeLevel)
  out[15] = size > 0 ? Math.min(ratioMax, slope / size) : 0
  out[16] = rhythm.spread
  out[17] = intervalMs > 0 ? 1 : 0
}

/** Adds what is known once the next beat has come. */
export function finishFeatures(out: Float64Array, nextMs: number, usualMs: number): void {
  out[featureNext] = ratio(nextMs, usualMs)
  out[featureNext + 1] = (out[featureNext] as number) + (out[0] as number)
}

const isOver = (table: TreeTable, features: Float64Array) => sumTrees(table, features) > 0

/** The class of a beat. */
export function classifyBeat(features: Float64Array): BeatSymbol {
  if (isOver(ventricularTable, features)) return 'V'
  return isOver(supraventricularTable, features) ? 'S' : 'N'
}
