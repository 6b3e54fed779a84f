/**
 * Variability of the heart rate over five minutes, after the Task Force of the European Society of Cardiology and NASPE (1996): SDNN, RMSSD and pNN50 of the intervals
 * between normal beats, and the power of their spectrum in the low (0.04 to 0.15 Hz) and high band (0.15 to 0.4 Hz).
 */
import { type EcgEvent, tickMs } from '../ecg/analyser.ts'
import { evenSeries, powersOf } from './spectrum.ts'

/** Seconds of one window. */
export const variabilitySeconds = 300
/** Least share of the window that normal intervals must fill. */
const coverLeast = 0.8
/** Most that an interval may differ from the one before to count as normal to normal, as a share. */
const jumpMost = 0.3

/** Measures of one window; powers in ms². */
export interface Variability {
  /** Mean heart rate, 1/min. */
  rate: number
  sdnnMs: number
  rmssdMs: number
  pnn50Percent: number
  lowMs2: number
  highMs2: number
  /** Low over high; 0 when there is no high power. */
  ratio: number
}

/** An interval between two normal beats: when it ends, and its length, in ms. */
interface Interval {
  endMs: number
  ms: number
  /** True when the interval before it counts and ends where it begins. */
  isNext: boolean
}

function normalIntervals(events: readonly EcgEvent[], fromMs: number): Interval[] {
  const found: Interval[] = []
  let [wasNormal, last, isNext] = [false, 0, false]
  for (const event of events) {
    if (event.type !== 'beat') continue
    const { tick, intervalMs: ms } = event
    const isNormal = event.symbol === 'N'
    const endMs = tick * tickMs
    const isSteady = last === 0 || Math.abs(ms - last) <= jumpMost * last
    if (isNormal && wasNormal && ms > 0 && isSteady && endMs >= fromMs && endMs < fromMs + 1000 * variabilitySeconds) {
      found.push({ endMs: endMs - fromMs, ms, isNext })
      isNext = true
    } else isNext = false
    wasNormal = isNormal
    last = ms
  }
  return found
}

/**
 * Measures the five minutes from `fromMs` (after the first sample).
 *
 * @param events - of the analyser, at least those of the window.
 * @returns undefined when normal intervals fill less than four fifths of it: extra beats, noise or fibrillation leave nothing to measure.
 */
export function measureVariability(events: readonly EcgEvent[], fromMs: number): Variability | undefined {
  const intervals = normalIntervals(events, fromMs)
  const filledMs = intervals.reduce((sum, { ms }) => sum + ms, 0)
  if (intervals.length < 2 || filledMs < coverLeast * 1000 * variabilitySeconds) return undefined
  const mean = filledMs / intervals.length
  const square = intervals.reduce((sum, { ms }) => sum + (ms - mean) * (ms - mean), 0)
  let [steps, stepSquare, over] = [0, 0, 0]
  for (const [i, { ms, isNext }] of intervals.entries()) {
    if (i === 0 || !isNext) continue
    const step = ms - (intervals[i - 1] as Interval).ms
    steps++
    stepSquare += step * step
    if (Math.abs(step) > 50) over++
  }
  const points = intervals.map(({ endMs, ms }) => ({ ms: endMs, value: ms }))
  const powers = powersOf(evenSeries(points, variabilitySeconds), 0.4 * variabilitySeconds)
  const band = (fromHz: number, toHz: number) =>
    powers
      .subarray(Math.ceil(fromHz * variabilitySeconds), Math.ceil(toHz * variabilitySeconds))
      .reduce((sum, power) => sum + power, 0)
  const [low, high] = [band(0.04, 0.15), band(0.15, 0.4)]
  return {
    rate: 60_000 / mean,
    sdnnMs: Math.sqrt(square / (intervals.length - 1)),
    rmssdMs: Math.sqrt(stepSquare / Math.max(1, steps)),
    pnn50Percent: (100 * over) / Math.max(1, steps),
    lowMs2: low,
    highMs2: high,
    ratio: high > 0 ? low / high : 0,
  }
}
