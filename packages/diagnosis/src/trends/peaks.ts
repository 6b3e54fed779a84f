/**
 * Where the R waves peak. The detector tells the middle of a complex in ticks of 4 ms, which is enough for a rhythm; the variability of the heart rate is a matter of single
 * milliseconds (Task Force 1996 asks for 500 to 1000 Hz, or a parabola through the peak).
 */
import { type EcgEvent, tickMs } from '../ecg/analyser.ts'

type BeatEvent = Extract<EcgEvent, { type: 'beat' }>

/** How far from the middle of the complex its peak is looked for. */
const reachMs = 60

/**
 * Beats with `tick` (then no whole number) and `intervalMs` by the peak of the wave in which most complexes of the lead are highest. A beat at an edge, or without a peak, stays.
 *
 * @param microvolts - the lead; NaN where a sample is missing.
 * @param rate - samples a second.
 */
export function placePeaks(microvolts: Float64Array, rate: number, beats: readonly BeatEvent[]): BeatEvent[] {
  const samplesPerTick = (tickMs * rate) / 1000
  const reach = Math.round((reachMs * rate) / 1000)
  const middleOf = ({ tick }: BeatEvent) => Math.round(tick * samplesPerTick)
  const extremes = beats.map((beat) => {
    const middle = middleOf(beat)
    const part = microvolts.subarray(Math.max(0, middle - reach), middle + reach + 1)
    const mean = part.reduce((sum, value) => sum + value, 0) / part.length
    return part.reduce((a, b) => Math.max(a, b), -1e9) + part.reduce((a, b) => Math.min(a, b), 1e9) - 2 * mean
  })
  const sign = extremes.filter((value) => value < 0).length > beats.length / 2 ? -1 : 1
  const ticks = beats.map((beat) => peakNear(microvolts, middleOf(beat), reach, sign) / samplesPerTick)
  return beats.map((beat, i) => {
    const tick = Number.isNaN(ticks[i]) ? beat.tick : (ticks[i] as number)
    const before = Number.isNaN(ticks[i - 1] ?? Number.NaN) ? beats[i - 1]?.tick : ticks[i - 1]
    const isNext = beat.intervalMs > 0 && before !== undefined
    return { ...beat, tick, intervalMs: isNext ? (tick - before) * tickMs : beat.intervalMs }
  })
}

/** Sample, with its fraction, at which the signal times `sign` is highest; NaN at an edge. */
function peakNear(microvolts: Float64Array, middle: number, reach: number, sign: number): number {
  let at = middle
  for (let i = middle - reach; i <= middle + reach; i++)
    if (sign * (microvolts[i] ?? Number.NaN) > sign * (microvolts[at] ?? Number.NaN)) at = i
  const [before, top, after] = [at - 1, at, at + 1].map((i) => sign * (microvolts[i] ?? Number.NaN)) as [
    number,
    number,
    number,
  ]
  const bend = before - 2 * top + after
  return bend < 0 ? at + (before - after) / (2 * bend) : Number.NaN
}
