/**
 * Fusion beats: a ventricular front and the normal one meet in the ventricles, and the complex is about the sum of both, each with its weight, one a little later than the other. A beat is held against
 * such a mixture of the patient's usual shape and a ventricular one (least squares of both, moved over each other). Only beats that come on time, of a shape that is doubtful, are asked, and only where
 * a ventricular shape is established: so little is told, and seldom wrongly.
 */
import { qrsPoints } from './complex.ts'
import { knownShapeBeats, type ShapeVotes } from './vote.ts'

/** Points of the complex that are compared, from and to, and most points (of 8 ms) by which each shape is moved: neither leaves its complex so. */
const from = 5
const to = qrsPoints - 5
const width = to - from
const usualMoves = 3
const otherMoves = 5
/** Two shapes that have nearly all in common make no mixture: what they have not, as a share. */
const apartLeast = 0.05

/** The intervals before and after a fusion are the usual ones: it comes in the place of a normal beat, and no pause follows. */
const intervalMost = 1.1
/** Share of the beats of a shape that come so, at least, where all of them are known. */
const comingLeast = 0.5
/** Mean logit of the beats of a shape that is taken for ventricular, and of one that may be that of fusions; thousandths. */
const ventricularShapeLeast = 2000
const doubtfulShapeLeast = -3500
const doubtfulShapeMost = 2000
/** A fusion has a logit below this: what is more likely ventricular than not stays so. A fusion that is told as ventricular is no error; a ventricular beat that is told as a fusion is one. */
const fusionBelow = 0
/** A fusion leaves at most so much of itself, and so much of what it leaves of the better one of both shapes; its ventricular part has this weight at least. */
const leftMost = 0.2
const leftOfBetterMost = 0.75
const weightLeast = 0.15

/** What is left of a beat, as a share of its energy, without the usual shape, without a ventricular one, without both; and the size of the ventricular part over the sizes of both. */
export interface Mixture {
  withoutUsual: number
  withoutOther: number
  withoutBoth: number
  weight: number
}

const beat = new Float64Array(width)
const movedBy = (moves: number) => Array.from({ length: 2 * moves + 1 }, () => new Float64Array(width))
const usual = movedBy(usualMoves)
const other = movedBy(otherMoves)

/**
 * Takes a beat apart.
 *
 * @param points - of the beat: its complex first.
 * @param shapes - points of all shapes; the usual one begins at `usualAt`, the other one at `otherAt`.
 */
export function mixtureOf(points: Float64Array, shapes: Int16Array, usualAt: number, otherAt: number): Mixture {
  cut(beat, points, 0)
  for (const [i, out] of usual.entries()) cut(out, shapes, usualAt + i - usualMoves)
  for (const [i, out] of other.entries()) cut(out, shapes, otherAt + i - otherMoves)
  const energy = 1 + dot(beat, beat)
  const best = { withoutUsual: 1, withoutOther: 1, withoutBoth: 1, weight: 0 }
  const others = other.map((shape) => ({ shape, size: 1 + dot(shape, shape), cross: dot(shape, beat) }))
  for (const { size, cross } of others)
    if (cross > 0) best.withoutOther = Math.min(best.withoutOther, 1 - (cross * cross) / size / energy)
  for (const a of usual) {
    const [size, cross] = [1 + dot(a, a), dot(a, beat)]
    if (cross > 0) best.withoutUsual = Math.min(best.withoutUsual, 1 - (cross * cross) / size / energy)
    for (const b of others) {
      const common = dot(a, b.shape)
      const apart = size * b.size - common * common
      if (apart < apartLeast * size * b.size) continue
      const first = (cross * b.size - b.cross * common) / apart
      const second = (b.cross * size - cross * common) / apart
      const left = 1 - (first * cross + second * b.cross) / energy
      if (first <= 0 || second <= 0 || left >= best.withoutBoth) continue
      const [one, two] = [first * Math.sqrt(size), second * Math.sqrt(b.size)]
      best.withoutBoth = left
      best.weight = two / (one + two)
    }
  }
  return best
}

/** Copies the window of the complex that begins at `at`, around its mean. */
function cut(out: Float64Array, points: Float64Array | Int16Array, at: number): void {
  let sum = 0
  for (let i = 0; i < width; i++) sum += points[at + from + i] as number
  for (let i = 0; i < width; i++) out[i] = (points[at + from + i] as number) - sum / width
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0
  for (let i = 0; i < width; i++) sum += (a[i] as number) * (b[i] as number)
  return sum
}

/**
 * True for a beat that may be a fusion by its time: not early, of a shape that is not the usual one, with usual intervals before and after it.
 *
 * @param features - measures of the beat.
 * @param isTimely - not early, in a rhythm that is known and not irregular.
 */
export function comesAsFusion(features: Float64Array, isTimely: boolean): boolean {
  const [before, after] = [features[0] as number, features[3] as number]
  return isTimely && features[18] === 0 && before <= intervalMost && after <= intervalMost
}

/**
 * The likest mixture of the usual shape and a ventricular one, of those that are established.
 *
 * @param index - place of the beat's shape.
 * @param votes - of the shapes, this beat's included.
 * @param mix - the beat as a mixture of the usual shape and the one at a place.
 * @returns undefined for a beat whose shape is not doubtful, or when there is no ventricular shape.
 */
export function likestMixture(index: number, votes: ShapeVotes, mix: (k: number) => Mixture): Mixture | undefined {
  if (!isDoubtfulShape(votes.meanOf(index))) return undefined
  let likest: Mixture | undefined
  for (let k = 0; k < votes.size; k++) {
    if (k === index || votes.countOf(k) < knownShapeBeats || votes.meanOf(k) < ventricularShapeLeast) continue
    const mixture = mix(k)
    if (likest === undefined || mixture.withoutBoth < likest.withoutBoth) likest = mixture
  }
  return likest
}

const isDoubtfulShape = (mean: number) => mean >= doubtfulShapeLeast && mean <= doubtfulShapeMost

/** What is known of the shape of a beat that may be a fusion: how many beats have it, the mean of their logits, and the mixture, or the mean of the mixtures of its beats. */
export interface FusedShape {
  count: number
  mean: number
  mixture: Mixture | undefined
}

/** True when a beat with this logit, of this shape, is told as a fusion. */
export function isFusion(ventricular: number, { count, mean, mixture }: FusedShape): boolean {
  if (mixture === undefined || count < knownShapeBeats || !isDoubtfulShape(mean) || ventricular >= fusionBelow)
    return false
  const { withoutUsual, withoutOther, withoutBoth, weight } = mixture
  const isLess = withoutBoth <= leftMost && withoutBoth <= leftOfBetterMost * Math.min(withoutUsual, withoutOther)
  return isLess && weight >= weightLeast
}

/** The mean of the mixtures of a shape that has `count` beats; undefined when less than half of them come as a fusion does. */
export function meanMixture(all: readonly Mixture[], count: number): Mixture | undefined {
  if (all.length === 0 || all.length < comingLeast * count) return undefined
  const mean = (field: keyof Mixture) => all.reduce((sum, mixture) => sum + mixture[field], 0) / all.length
  return {
    withoutUsual: mean('withoutUsual'),
    withoutOther: mean('withoutOther'),
    withoutBoth: mean('withoutBoth'),
    weight: mean('weight'),
  }
}
