/** How much of a short ECG can be read, part by part: one bad second must not spoil half a minute, nor half a good minute be lost in a bad one. */
import { tickRate } from '../ecg/resampler.ts'
import type { AlignedBeat, Alignment } from './aligned.ts'
import { mean, quantile, type Sheet, share, sorted } from './sheet.ts'

/** Likeness from which a beat can be trusted. */
const alike = 0.85
/** Ticks around a complex that do not count as what lies between complexes. */
const complexReach = 20

/** Intervals of the longest stretch of beats that are alike, and the ticks of all such stretches together. */
function longestStretch(beats: readonly AlignedBeat[]): { stretch: number[]; joined: number } {
  let [stretch, own]: [number[], number[]] = [[], []]
  let joined = 0
  const ticksOf = (intervals: readonly number[]) => intervals.reduce((sum, ticks) => sum + ticks, 0)
  for (let i = 1; i < beats.length; i++) {
    const [last, beat] = [beats[i - 1] as AlignedBeat, beats[i] as AlignedBeat]
    if (Math.min(last.likeness, beat.likeness) < alike) own = []
    else {
      own.push(beat.tick - last.tick)
      joined += beat.tick - last.tick
      if (ticksOf(own) > ticksOf(stretch)) stretch = own.slice()
    }
  }
  return { stretch, joined }
}

function measureStretch(sheet: Sheet, beats: readonly AlignedBeat[], ticks: number): void {
  const { stretch, joined } = longestStretch(beats)
  const order = sorted(stretch)
  const usual = Math.max(1, quantile(order, 0.5))
  const steps = sorted(stretch.slice(1).map((value, i) => Math.abs(value - (stretch[i] as number)) / usual))
  const length = stretch.reduce((sum, value) => sum + value, 0)
  sheet.add('stretch seconds', length / tickRate)
  sheet.add('stretch share', share(length, ticks))
  sheet.add('joined share', share(joined, ticks))
  sheet.add('stretch rate', (60 * tickRate) / usual)
  sheet.add('stretch step median', quantile(steps, 0.5))
  sheet.add('stretch step 80', quantile(steps, 0.8))
  sheet.add('stretch spread', (quantile(order, 0.9) - quantile(order, 0.1)) / usual)
}

const rangeOf = (points: readonly number[]) => Math.max(...points) - Math.min(...points)

/** Roughness and range of each second between the complexes, and its wander before filtering, over the height of the complexes. */
function measureSeconds(sheet: Sheet, raw: Float64Array, signal: Float64Array, { beats, height }: Alignment): void {
  const isComplex = new Uint8Array(signal.length)
  for (const { tick } of beats) isComplex.fill(1, Math.max(0, tick - complexReach), tick + complexReach)
  const seconds = { rough: [] as number[], tall: [] as number[], wander: [] as number[] }
  for (let from = 0; from + tickRate <= signal.length; from += tickRate) {
    let [bends, count] = [0, 0]
    const between = [0]
    for (let i = from + 2; i < from + tickRate; i++) {
      if (isComplex[i] === 1) continue
      bends += Math.abs((signal[i] as number) - 2 * (signal[i - 1] as number) + (signal[i - 2] as number))
      count++
      between.push(signal[i] as number)
    }
    seconds.rough.push(share(bends, count) / height)
    seconds.tall.push(rangeOf(between) / height)
    seconds.wander.push(rangeOf([...raw.subarray(from, from + tickRate)]) / height)
  }
  for (const [name, values] of Object.entries(seconds)) {
    const order = sorted(values)
    for (const q of [0.2, 0.5, 0.8]) sheet.add(`seconds ${name} ${q}`, quantile(order, q))
  }
  sheet.add('seconds over a complex', share(seconds.tall.filter((value) => value > 1).length, seconds.tall.length))
}

/** Adds the measures of what can be read; `raw` = before filtering, `signal` = 0.7 to 40 Hz. */
export function measureClean(sheet: Sheet, raw: Float64Array, signal: Float64Array, aligned: Alignment): void {
  const order = sorted(aligned.beats.map(({ likeness }) => likeness))
  const good = aligned.beats.filter(({ likeness }) => likeness >= alike)
  const heights = sorted(good.map(({ height }) => height / aligned.height))
  for (const q of [0.1, 0.25, 0.5]) sheet.add(`aligned ${q}`, quantile(order, q))
  sheet.add('aligned share', share(good.length, order.length))
  sheet.add('aligned mean', mean(order))
  sheet.add('aligned heights', quantile(heights, 0.85) - quantile(heights, 0.15))
  measureStretch(sheet, aligned.beats, signal.length)
  measureSeconds(sheet, raw, signal, aligned)
}
