/** Beats of a short ECG laid on their typical complex, each with its likeness to it: what is alike is the heart, what is not is an extra beat or noise. */
import type { EcgEvent } from '../ecg/analyser.ts'
import { correlation, quantile, sorted } from './sheet.ts'

type BeatEvent = Extract<EcgEvent, { type: 'beat' }>

/** Ticks around the middle of a complex that are compared, and by how many it is moved at most. */
const reach = 20
const shiftMost = 8
const rounds = 2
/** Share of the beats, the least alike, that do not say what is typical. */
const leftOut = 0.35

/** One beat: where its complex lies best, how like it is to the typical one (-1 to 1), and its height in microvolts. */
export interface AlignedBeat {
  beat: BeatEvent
  tick: number
  likeness: number
  height: number
}

const rangeOf = (points: ArrayLike<number>): number => {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (let i = 0; i < points.length; i++) {
    low = Math.min(low, points[i] as number)
    high = Math.max(high, points[i] as number)
  }
  return high - low
}

const cutAt = (signal: Float64Array, tick: number) => signal.subarray(tick - reach, tick + reach)

/** The median of the beats at each place. */
function typicalOf(signal: Float64Array, ticks: readonly number[]): Float64Array {
  return Float64Array.from({ length: 2 * reach }, (_, i) =>
    quantile(sorted(ticks.map((tick) => signal[tick - reach + i] as number)), 0.5),
  )
}

/** Beats laid on their typical complex, and their median height in microvolts, 1 at least. */
export interface Alignment {
  beats: AlignedBeat[]
  height: number
}

/** Lays beats on their typical complex; those at the very ends are left out. */
export function alignBeats(signal: Float64Array, beats: readonly BeatEvent[]): Alignment {
  const least = reach + shiftMost
  const used = beats.filter(({ tick }) => tick >= least && tick + least < signal.length)
  let aligned = used.map((beat) => ({ beat, tick: beat.tick, likeness: 0, height: 0 }))
  for (let round = 0; round < rounds; round++) {
    const order = sorted(aligned.map(({ likeness }) => likeness))
    const alike = quantile(order, round === 0 ? 0 : leftOut)
    const typical = typicalOf(
      signal,
      aligned.filter(({ likeness }) => likeness >= alike).map(({ tick }) => tick),
    )
    aligned = used.map((beat) => {
      let [likeness, at] = [-2, beat.tick]
      for (let shift = -shiftMost; shift <= shiftMost; shift++) {
        const r = correlation(cutAt(signal, beat.tick + shift), typical)
        if (r > likeness) [likeness, at] = [r, beat.tick + shift]
      }
      return { beat, tick: at, likeness, height: rangeOf(cutAt(signal, at)) }
    })
  }
  return { beats: aligned, height: Math.max(1, quantile(sorted(aligned.map(({ height }) => height)), 0.5)) }
}
