/** What is measured of a beat, and its class. */

import { supraventricularTable, ventricularTable } from './beat-table.ts'
import type { BeatSymbol } from './rhythm.ts'
import type { Shape } from './shape.ts'
import { sumTrees } from './trees.ts'

/** Number of measures of a beat. */
export const featureCount = 50
/** Index of the likeness to the normal beat. */
export const featureLikeness = 10
/** Indexes of the measures that the next beat looks at. */
export const lastFeatures: readonly number[] = [featureLikeness, 17, 20]
const ratioMax = 4
/** Share of recent beats that the usual shape has, how late its beats come at least, and the shortest usual interval in seconds, for `boundVentricular`. */
const usualShare = 0.8
const onTimeLeast = 0.9
const usualSecondsLeast = 0.545
const usualMeanLeast = -1000
const usualLogitMost = -1500
/** Logit above which a beat is ventricular, thousandths: what each fold of `training/train-beats.ts --cross` chooses by the records of the others. */
const ventricularLeast = -700
/** The same while the rhythm is irregular and one lead alone judges: in fibrillation beats of the atria are now and then conducted as wide ones. */
const ventricularAloneLeast = 0
/** The same where it is doubtful whether there is a beat. */
const clearlyVentricular = 3000
/** Logit above which a beat is supraventricular, thousandths, where something is early at all. */
const supraventricularLeast = -1000
/** Interval over the usual one below which a beat is early, and irregularity from which none is: over about a hundred intervals, and over seventeen. */
const earlyMost = 0.85
const irregularLeast = 0.5
const irregularNowLeast = 0.6

/** What is known of the time of a beat, in milliseconds; 0 = not known. */
export interface BeatTimes {
  /** Interval that ends with the beat, the two before, and the one that follows (or the time that passed without a beat). */
  interval: number
  before: number
  before2: number
  next: number
  /** Usual interval: now, and over some minutes. */
  usual: number
  usualLong: number
  /** Irregularity of the rhythm, 0 to 1. */
  spread: number
  /** Size and greatest step of the complex in the 10 to 25 Hz band, and the usual size. */
  size: number
  slope: number
  sizeLevel: number
}

/** A ratio kept within bounds, 1 where it is not known. */
export function ratioOf(a: number, b: number): number {
  return a > 0 && b > 0 ? Math.min(ratioMax, a / b) : 1
}
const within = (value: number) => Math.min(ratioMax, Math.max(-ratioMax, value))
const over = (a: number, b: number) => within(a / Math.max(0.01, b))

/** Measures a beat. Every value is free of amplitude and, where it can be, of rate. `last` = the measures of the beat before. */
export function fillFeatures(out: Float64Array, times: BeatTimes, shape: Shape, last: Float64Array): void {
  const { interval, before, before2, next, usual, usualLong } = times
  out[0] = ratioOf(interval, usual)
  out[1] = ratioOf(before, usual)
  out[2] = ratioOf(interval, before)
  out[3] = ratioOf(next, usual)
  out[4] = ratioOf(next, interval)
  out[5] = (out[0] as number) + (out[3] as number)
  out[6] = ratioOf(before2, usual)
  out[7] = ratioOf(interval, usualLong)
  out[8] = times.spread
  out[9] = interval > 0 ? 1 : 0
  fillShape(out, shape)
  const { size, slope, sizeLevel } = times
  out[41] = ratioOf(size, sizeLevel)
  out[42] = size > 0 ? Math.min(ratioMax, slope / size) : 0
  // The beat before: its likeness, width and place.
  out[43] = last[featureLikeness] as number
  out[44] = last[20] as number
  out[45] = last[17] as number
  out[46] = ratioOf(usual, 1000)
  out[47] = shape.timely
  out[48] = shape.follow
  out[49] = usual > 0 && shape.share > 0 ? shape.share / Math.max(0.001, shape.normalShare) : 1
}

function fillShape(out: Float64Array, shape: Shape): void {
  const { complex, normal } = shape
  out[featureLikeness] = shape.likeness
  out[11] = shape.likenessBefore
  out[12] = shape.likenessAfter
  out[13] = shape.own
  out[14] = shape.previous
  out[15] = Math.min(ratioMax, shape.difference)
  out[16] = Math.min(ratioMax, shape.differenceBefore)
  out[17] = Math.min(ratioMax, shape.differenceAfter)
  out[18] = shape.isNormal ? 1 : 0
  out[19] = shape.share
  out[20] = complex.width
  out[21] = over(complex.width, normal.width)
  out[22] = complex.ticks
  out[23] = over(complex.ticks, normal.ticks)
  out[24] = over(complex.height, normal.height)
  out[25] = complex.slope
  out[26] = over(complex.slope, normal.slope)
  out[27] = complex.bend
  out[28] = over(complex.bend, normal.bend)
  out[29] = complex.area
  out[30] = over(complex.area, normal.area)
  // Signed measures count in the direction of the normal complex.
  const sign = normal.signed < 0 ? -1 : 1
  out[31] = complex.signed * sign
  out[32] = Math.abs(normal.signed)
  const up = sign > 0 ? complex.top : -complex.bottom
  const normalUp = sign > 0 ? normal.top : 1 - normal.top
  out[33] = up
  out[34] = up - normalUp
  out[35] = within(complex.wave * sign)
  out[36] = within((complex.wave - normal.wave) * sign)
  // A ventricular beat's T wave points away from its complex.
  out[37] = complex.signed < 0 ? within(-complex.wave) : within(complex.wave)
  out[38] = complex.early
  out[39] = complex.noise
  out[40] = shape.normalShare
}

/** How like a ventricular beat, and a supraventricular one, a beat is: logits in thousandths. */
export interface BeatLogits {
  ventricular: number
  supraventricular: number
}

/** Weighs a beat by its own measures. */
export function weighBeat(features: Float64Array): BeatLogits {
  return {
    ventricular: sumTrees(ventricularTable, features),
    supraventricular: sumTrees(supraventricularTable, features),
  }
}

/** True for a beat of the usual shape, which four fifths of the beats have, that comes on time at no more than 110/min. */
export function isUsualBeat(features: Float64Array): boolean {
  const isUsual = features[18] === 1 && (features[19] as number) >= usualShare
  return isUsual && (features[0] as number) >= onTimeLeast && (features[46] as number) >= usualSecondsLeast
}

/**
 * The logit of a ventricular beat that counts: a heart whose own beats are wide (bundle branch block, pacemaker) has no ventricular beats in them. When the usual shape as a whole is
 * taken for ventricular (`mean` of its logits), a usual beat (`isUsualBeat`) is none.
 */
export function boundVentricular(logit: number, mean: number, isUsual: boolean): number {
  return isUsual && mean > usualMeanLeast ? Math.min(logit, usualLogitMost) : logit
}

/** When a beat comes: before its time, in its time, where intervals are so irregular that there is none, or where too few are known to tell. */
export type BeatTiming = 'early' | 'timely' | 'irregular' | 'unknown'

/** When a beat with these measures comes; `spreadNow` = irregularity of the last intervals, undefined while too few are known. */
export function timingOf(features: Float64Array, spreadNow: number | undefined): BeatTiming {
  if (spreadNow === undefined) return 'unknown'
  if ((features[8] as number) >= irregularLeast || spreadNow >= irregularNowLeast) return 'irregular'
  return features[9] === 1 && (features[0] as number) < earlyMost ? 'early' : 'timely'
}

/** How a beat is judged: when it comes, whether by one lead alone, whether what follows in the record is known, and whether it is doubtful that there is one. */
export interface BeatJudgement {
  timing: BeatTiming
  isAlone: boolean
  isWhole: boolean
  isDoubtful: boolean
}

/**
 * The class of a beat. The least logit of a ventricular beat is below 0: a missed one costs as much as a false one. What is doubtful, because it resembles nothing and lies in noise, is not
 * classified (`Q`) unless it is clearly ventricular, or clearly not. A beat that is not ventricular is supraventricular when it is early, or its shape and intervals say so; in fibrillation, and before anything is known of the intervals, none is.
 */
export function classifyBeat({ ventricular, supraventricular }: BeatLogits, judged: BeatJudgement): BeatSymbol {
  const { timing, isAlone, isWhole, isDoubtful } = judged
  // A stream begins with an electrode that is put on; of a whole record the beats that follow have had their votes.
  const isWary = isAlone && (timing === 'irregular' || (timing === 'unknown' && !isWhole))
  const least = isWary ? ventricularAloneLeast : ventricularLeast
  if (ventricular > (isDoubtful ? clearlyVentricular : least)) return 'V'
  if (ventricular > least) return 'Q'
  if (timing === 'irregular' || timing === 'unknown') return 'N'
  return timing === 'early' || supraventricular > supraventricularLeast ? 'S' : 'N'
}
