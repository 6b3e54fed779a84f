/**
 * Extra beats of a short ECG: what comes early in an even rhythm between beats that are usual ones, with or without a pause behind it; and beats that look unlike the usual
 * ones but like each other, which noise never does.
 */
import type { AlignedBeat } from './aligned.ts'
import { correlation, quantile, type Sheet, share, sorted } from './sheet.ts'

/** Likeness from which a beat is a usual one, from which its neighbours are good enough, and from which two unusual ones are of one kind. */
const alike = 0.8
const neighbourLeast = 0.7
const kindLeast = 0.85
/** Ticks around unusual beats that are compared, and how far one is moved over the other. */
const kindReach = 35
const kindShift = 10
const kindStep = 2
/** Unevenness of any rhythm; an early beat stands out from it and from that of the neighbours. */
const doubtLeast = 0.04
const clear = 2
const noLogit = -9000

/** Where a beat lies between its neighbours, all over the median of the intervals around. */
interface Place {
  /** How much too early it comes, and how much too late the next one. */
  early: number
  pause: number
  /** Spread of the middle two of the four intervals around. */
  uneven: number
}

function placeOf(beats: readonly AlignedBeat[], i: number): Place | undefined {
  if (i < 3 || i + 3 >= beats.length) return undefined
  const interval = (k: number) => (beats[k] as AlignedBeat).tick - (beats[k - 1] as AlignedBeat).tick
  const [, low = 0, high = 0] = sorted([interval(i - 2), interval(i - 1), interval(i + 2), interval(i + 3)])
  const usual = (low + high) / 2
  if (usual <= 0) return undefined
  return { early: 1 - interval(i) / usual, pause: interval(i + 1) / usual - 1, uneven: (high - low) / usual }
}

/** Greatest likeness of two beats, moved over each other. */
function kindLikeness(signal: Float64Array, a: AlignedBeat, b: AlignedBeat): number {
  const own = signal.subarray(a.tick - kindReach, a.tick + kindReach)
  let best = -1
  for (let shift = -kindShift; shift <= kindShift; shift += kindStep) {
    const at = b.tick + shift
    best = Math.max(best, correlation(own, signal.subarray(at - kindReach, at + kindReach)))
  }
  return best
}

/** The most beats unlike the usual one that are like each other, and what they have in common. */
function measureKinds(sheet: Sheet, signal: Float64Array, beats: readonly AlignedBeat[]): void {
  const room = kindReach + kindShift
  const odd = beats.filter(({ likeness, tick }) => likeness < alike && tick > room && tick + room < signal.length)
  let most: AlignedBeat[] = []
  let mostLike = 0
  for (const beat of odd) {
    const likeness = odd.map((other) => kindLikeness(signal, beat, other))
    const found = odd.filter((_, i) => (likeness[i] as number) >= kindLeast)
    if (found.length > most.length) most = found
    for (const [i, other] of odd.entries()) if (other !== beat) mostLike = Math.max(mostLike, likeness[i] as number)
  }
  const places = most.flatMap((beat) => placeOf(beats, beats.indexOf(beat)) ?? [])
  const logits = sorted(most.map(({ beat }) => beat.logits.ventricular))
  sheet.add('kind size', most.length)
  sheet.add('kind share', share(most.length, beats.length))
  sheet.add('kind likeness', mostLike)
  sheet.add('kind early', quantile(sorted(places.map(({ early }) => early)), 0.5))
  sheet.add('kind pause', quantile(sorted(places.map(({ pause }) => pause)), 0.5))
  sheet.add('kind V', most.length > 1 ? quantile(logits, 0.5) : noLogit)
  sheet.add('odd share', share(odd.length, beats.length))
}

/** Intervals that are shorter than two alike ones around them. */
function alternations(beats: readonly AlignedBeat[]): number {
  const intervals = beats.slice(1).map(({ tick }, i) => tick - (beats[i] as AlignedBeat).tick)
  return intervals.filter((middle, i) => {
    const [before, after] = [intervals[i - 1] ?? 0, intervals[i + 1] ?? 0]
    return Math.abs(before - after) < 0.07 * before && middle < 0.88 * before
  }).length
}

/** Adds the measures of extra beats. */
export function measureExtra(sheet: Sheet, signal: Float64Array, beats: readonly AlignedBeat[]): void {
  const likenessAt = (i: number) => beats[i]?.likeness ?? 0
  const rows = beats.flatMap((beat, i) => {
    const place = placeOf(beats, i)
    if (place === undefined || Math.min(likenessAt(i - 1), likenessAt(i + 1)) < neighbourLeast) return []
    return [{ ...place, doubt: doubtLeast + place.uneven, isOdd: beat.likeness < alike }]
  })
  const scores = {
    early: rows.map(({ early, doubt }) => early / doubt),
    'early and pause': rows.map(({ early, pause, doubt }) => Math.min(early, pause) / doubt),
    'early odd': rows.filter(({ isOdd }) => isOdd).map(({ early, doubt }) => early / doubt),
    drop: rows.map(({ pause, doubt }) => Math.min(pause, 1) / doubt),
  }
  for (const [name, values] of Object.entries(scores)) {
    const order = sorted(values)
    sheet.add(`extra ${name} most`, order.at(-1) ?? 0)
    sheet.add(`extra ${name} second`, order.at(-2) ?? 0)
    sheet.add(`extra ${name} clear`, values.filter((value) => value > clear).length)
  }
  const pairs = rows.filter(({ early, pause }) => early > 0.08 && pause > 0.02).length
  sheet.add('extra pairs', share(pairs, beats.length))
  sheet.add('extra alternate', share(alternations(beats), beats.length))
  measureKinds(sheet, signal, beats)
  const between = beats.filter(
    ({ beat }, i) => beat.symbol === 'V' && Math.min(likenessAt(i - 1), likenessAt(i + 1)) > alike,
  )
  sheet.add('V between usual', between.length)
}
