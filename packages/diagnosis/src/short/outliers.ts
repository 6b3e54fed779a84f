/** Single beats that look unlike the others, and peaks that the detector did not take for beats: extra beats, and noise. */
import type { EcgEvent } from '../ecg/analyser.ts'
import { correlation, quantile, type Sheet, share, sorted } from './sheet.ts'

type BeatEvent = Extract<EcgEvent, { type: 'beat' }>

/** Ticks around a peak that are compared. */
const reach = 18

/** Peaks of the slope, by their size alone: 250 ms apart, at least `part` of the usual greatest. */
function slopePeaks(signal: Float64Array, part: number): number[] {
  const slope = Float64Array.from(signal, (value, i) => Math.abs(value - (signal[Math.max(0, i - 3)] as number)))
  const tops: number[] = []
  for (let from = 0; from + 250 <= slope.length; from += 250) tops.push(Math.max(...slope.subarray(from, from + 250)))
  const least = part * quantile(sorted(tops), 0.5)
  const peaks: number[] = []
  for (let i = 2; i + 2 < slope.length; i++) {
    const value = slope[i] as number
    if (value < least || value < (slope[i - 1] as number) || value <= (slope[i + 1] as number)) continue
    const last = peaks.at(-1)
    if (last === undefined || i - last > 62) peaks.push(i)
    else if (value > (slope[last] as number)) peaks[peaks.length - 1] = i
  }
  return peaks
}

/** Adds how far the peaks of slope agree with the beats. */
export function measurePeaks(sheet: Sheet, signal: Float64Array, beats: readonly BeatEvent[]): void {
  for (const part of [0.4, 0.7]) {
    const peaks = slopePeaks(signal, part)
    const common = peaks.filter((peak) => beats.some(({ tick }) => Math.abs(tick - peak) <= 25)).length
    sheet.add(`peaks agree ${part}`, share(2 * common, peaks.length + beats.length))
    sheet.add(`peaks more ${part}`, share(peaks.length - common, peaks.length))
  }
}

/** Adds the measures of outliers. */
export function measureOutliers(sheet: Sheet, signal: Float64Array, beats: readonly BeatEvent[]): void {
  const cuts = beats.flatMap((beat) =>
    beat.tick >= reach && beat.tick + reach < signal.length
      ? [{ beat, points: signal.subarray(beat.tick - reach, beat.tick + reach) }]
      : [],
  )
  const typical = Float64Array.from({ length: 2 * reach }, (_, i) =>
    quantile(sorted(cuts.map(({ points }) => points[i] as number)), 0.5),
  )
  const likeness = cuts.map(({ points }) => correlation(points, typical))
  const heights = cuts.map(({ points }) => Math.max(...points) - Math.min(...points))
  const order = sorted(likeness)
  const tall = sorted(heights)
  const usual = Math.max(1, quantile(tall, 0.5))
  const intervals = sorted(beats.map(({ intervalMs }) => intervalMs).filter((ms) => ms > 0))
  const median = quantile(intervals, 0.5)
  let [strange, early, earlyStrange, tallStrange] = [0, 0, 0, 0]
  for (const [i, { beat }] of cuts.entries()) {
    const isStrange = (likeness[i] as number) < 0.75
    const isEarly = beat.intervalMs > 0 && beat.intervalMs < 0.85 * median
    if (isStrange) strange++
    if (isEarly) early++
    if (isStrange && isEarly) earlyStrange++
    if (isStrange && (heights[i] as number) > 1.3 * usual) tallStrange++
  }
  sheet.add('likeness median', quantile(order, 0.5))
  sheet.add('likeness 10', quantile(order, 0.1))
  sheet.add('likeness least', order[0] ?? 0)
  sheet.add('likeness over 0.9', share(order.filter((r) => r > 0.9).length, order.length))
  sheet.add('strange', strange)
  sheet.add('strange share', share(strange, order.length))
  sheet.add('early count', early)
  sheet.add('early strange', earlyStrange)
  sheet.add('tall strange', tallStrange)
  sheet.add('tallest', (tall.at(-1) ?? 0) / usual)
  sheet.add('lowest', (tall[0] ?? 0) / usual)
  sheet.add('height spread', (quantile(tall, 0.85) - quantile(tall, 0.15)) / usual)
  sheet.add('impossible', share(intervals.filter((ms) => ms < 320 || ms > 1900).length, intervals.length))
}
