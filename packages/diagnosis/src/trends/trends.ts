/**
 * Trends of a recording, one a five minutes: heart rate and its variability, breaths, and the level of the ST segment. They are for a doctor to look at; no
 * finding is made of them, and nothing of them is hashed.
 */
import { type EcgLead, microvoltsOf } from '../annotate.ts'
import { EcgAnalyser, type EcgEvent, tickMs } from '../ecg/analyser.ts'
import { placePeaks } from './peaks.ts'
import { evenSeries, type Point, powersOf } from './spectrum.ts'
import { measureVariability, type Variability, variabilitySeconds } from './variability.ts'

/** One window. What could not be measured is null. */
export interface Trend {
  fromSeconds: number
  variability: Variability | null
  /** Breaths a minute from the height of the R waves, which the chest moves: median over the window. */
  breathsPerMin: number | null
  /** Level 60 ms after the end of the complex against that before it, mV, median of normal beats. A trend: leads of a monitor show no ischaemia by their level. */
  stMillivolts: number | null
}

type BeatEvent = Extract<EcgEvent, { type: 'beat' }>

const breathWindowSeconds = 60
const breathLeastHz = 0.1
const breathMostHz = 0.6
/** Share of the power that the peak and its neighbours must hold for breaths to be told. */
const breathClear = 0.35
const beatsLeast = 20
// Milliseconds from the middle of the complex: level before it, and ST.
const baseFromMs = -80
const baseToMs = -60
const stFromMs = 100
const stToMs = 120
const heightMs = 50

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN

/** Height of the complex and level of ST of a beat, microvolts; NaN where samples are missing. */
function levelsOf(microvolts: Float64Array, rate: number, beat: BeatEvent): { height: number; st: number } {
  const at = (ms: number) => Math.round(((beat.tick * tickMs + ms) * rate) / 1000)
  const mean = (fromMs: number, toMs: number) => {
    const part = microvolts.subarray(Math.max(0, at(fromMs)), at(toMs) + 1)
    return part.reduce((sum, value) => sum + value, 0) / part.length
  }
  const complex = microvolts.subarray(Math.max(0, at(-heightMs)), at(heightMs) + 1)
  const height = complex.reduce((a, b) => Math.max(a, b), -1e9) - complex.reduce((a, b) => Math.min(a, b), 1e9)
  return { height, st: mean(stFromMs, stToMs) - mean(baseFromMs, baseToMs) }
}

/** Breaths a minute in a minute of heights; undefined when no rate stands out. */
function breathsOf(heights: readonly Point[]): number | undefined {
  if (heights.length < beatsLeast) return undefined
  const powers = powersOf(evenSeries(heights, breathWindowSeconds), breathMostHz * breathWindowSeconds)
  const from = Math.ceil(breathLeastHz * breathWindowSeconds)
  let [best, sum] = [from, 0]
  for (let k = from; k < powers.length; k++) {
    sum += powers[k] as number
    if ((powers[k] as number) > (powers[best] as number)) best = k
  }
  const peak = [best - 1, best, best + 1].map((k) => powers[k] ?? 0)
  const clear = peak.reduce((a, b) => a + b, 0)
  if (!(sum > 0) || clear < breathClear * sum) return undefined
  // The centre of the three lies between whole cycles.
  const centre =
    ((best - 1) * (peak[0] as number) + best * (peak[1] as number) + (best + 1) * (peak[2] as number)) / clear
  return (60 * centre) / breathWindowSeconds
}

/** The trends of a lead: whole windows of five minutes, and the last one if it has at least one minute. */
export function measureTrends(lead: EcgLead): Trend[] {
  const analyser = new EcgAnalyser({ rateMilliHz: Math.round(lead.rate * 1000) })
  const microvolts = microvoltsOf(lead)
  const events = [...analyser.push(microvolts), ...analyser.finish()]
  const beats = events.filter((event): event is BeatEvent => event.type === 'beat')
  const peaks = placePeaks(microvolts, lead.rate, beats)
  const normal = beats
    .filter(({ symbol, intervalMs }) => symbol === 'N' && intervalMs > 0)
    .map((beat) => ({ ms: beat.tick * tickMs, ...levelsOf(microvolts, lead.rate, beat) }))
  const seconds = microvolts.length / lead.rate
  const trends: Trend[] = []
  for (let from = 0; from + breathWindowSeconds <= seconds; from += variabilitySeconds) {
    const breaths: number[] = []
    for (let at = from; at < from + variabilitySeconds; at += breathWindowSeconds) {
      const heights = normal
        .filter(({ ms, height }) => ms >= at * 1000 && ms < (at + breathWindowSeconds) * 1000 && !Number.isNaN(height))
        .map(({ ms, height }) => ({ ms: ms - at * 1000, value: height }))
      const rate = at + breathWindowSeconds <= seconds ? breathsOf(heights) : undefined
      if (rate !== undefined) breaths.push(rate)
    }
    const levels = normal
      .filter(({ ms, st }) => ms >= from * 1000 && ms < (from + variabilitySeconds) * 1000 && !Number.isNaN(st))
      .map(({ st }) => st)
    trends.push({
      fromSeconds: from,
      variability: measureVariability(peaks, from * 1000) ?? null,
      breathsPerMin: breaths.length === 0 ? null : Math.round(10 * median(breaths)) / 10,
      stMillivolts: levels.length < beatsLeast ? null : Math.round(median(levels)) / 1000,
    })
  }
  return trends
}
