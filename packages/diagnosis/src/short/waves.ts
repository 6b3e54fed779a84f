/**
 * What stays the same from beat to beat, and what does not. The beats of the most common shape are cut out and averaged in two halves, the odd and the even ones: what both
 * halves have in common before the complex is a P wave, however small; in fibrillation they have nothing in common there.
 */
import { correlation, mean, quantile, Sheet, share, sorted } from './sheet.ts'

const before = 90
const after = 115
/** Ticks from the R peak: where a P wave may lie, the complex, and the T wave. */
const pWave = [-62, -17] as const
const complex = [-16, 20] as const
const tWave = [25, 100] as const
const alignMost = 4

interface Halves {
  odd: Float64Array
  even: Float64Array
  all: Float64Array
  beats: Float64Array[]
}

function cut(signal: Float64Array, at: number): Float64Array | undefined {
  return at >= before && at + after < signal.length ? signal.slice(at - before, at + after) : undefined
}

const window = (beat: Float64Array, [from, to]: readonly [number, number]) => beat.subarray(before + from, before + to)

function averageOf(beats: readonly Float64Array[]): Float64Array {
  const sum = new Float64Array(before + after)
  for (const beat of beats)
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + (beat[i] as number) / beats.length
  return sum
}

/** Beats moved to lie on their mean, then the more alike ones. */
function align(signal: Float64Array, ticks: readonly number[]): Halves | undefined {
  const rough = ticks.flatMap((tick) => cut(signal, tick) ?? [])
  if (rough.length < 4) return undefined
  const order = Array.from({ length: before + after }, (_, i) =>
    quantile(sorted(rough.map((beat) => beat[i] as number)), 0.5),
  )
  const typical = Float64Array.from(order)
  const target = window(typical, complex)
  const moved = ticks.flatMap((tick) => {
    let best: { r: number; beat: Float64Array } | undefined
    for (let shift = -alignMost; shift <= alignMost; shift++) {
      const beat = cut(signal, tick + shift)
      if (beat === undefined) continue
      const r = correlation(window(beat, complex), target)
      if (best === undefined || r > best.r) best = { r, beat }
    }
    return best === undefined ? [] : [best]
  })
  const least = Math.min(0.9, quantile(sorted(moved.map(({ r }) => r)), 0.3))
  const beats = moved.filter(({ r }) => r >= least).map(({ beat }) => beat)
  const odd = averageOf(beats.filter((_, i) => i % 2 === 1))
  const even = averageOf(beats.filter((_, i) => i % 2 === 0))
  return { odd, even, all: averageOf(beats), beats }
}

function measureHalves(sheet: Sheet, { odd, even, all, beats }: Halves, sign: number): void {
  const qrs = window(all, complex)
  const height = Math.max(1, Math.max(...qrs) - Math.min(...qrs))
  for (const [name, place] of [
    ['P', pWave],
    ['T', tWave],
    ['complex', complex],
  ] as const) {
    const own = sorted(beats.map((beat) => correlation(window(beat, place), window(all, place))))
    const pairs = sorted(
      beats.slice(1).map((beat, i) => correlation(window(beat, place), window(beats[i] as Float64Array, place))),
    )
    sheet.add(`${name} halves`, correlation(window(odd, place), window(even, place)))
    sheet.add(`${name} alike`, quantile(own, 0.5))
    sheet.add(`${name} alike 20`, quantile(own, 0.2))
    sheet.add(`${name} pairs`, quantile(pairs, 0.5))
  }
  const p = window(all, pWave).map((value) => value * sign)
  const level = Math.min(mean([...p.subarray(0, 6)]), mean([...p.subarray(-5)]))
  let top = 0
  for (let i = 1; i < p.length; i++) if ((p[i] as number) > (p[top] as number)) top = i
  sheet.add('P height', ((p[top] as number) - level) / height)
  sheet.add('P before', pWave[0] + top)
  sheet.add('P both ends', (mean([...p.subarray(0, 6)]) - mean([...p.subarray(-5)])) / height)
  const t = window(all, tWave).map((value) => value * sign)
  let peak = 0
  for (let i = 1; i < t.length; i++) if (Math.abs(t[i] as number) > Math.abs(t[peak] as number)) peak = i
  sheet.add('T height', (t[peak] as number) / height)
  sheet.add('T after', tWave[0] + peak)
  const steps = qrs.map((value, i) => Math.abs(value - (qrs[Math.max(0, i - 1)] as number)))
  const steep = Math.max(...steps)
  sheet.add('complex wide', steps.filter((step) => step > 0.15 * steep).length)
  sheet.add('complex steep', steep / height)
  sheet.add('complex down', Math.min(...qrs.map((value) => value * sign)) / height)
  sheet.add('complex up', Math.max(...qrs.map((value) => value * sign)) / height)
  sheet.add('ST', ((all[before + 24] as number) * sign - level) / height)
  measureRest(sheet, beats, all, height)
}

/** What is left before the complexes when the mean beat is taken away: its size, roughness by lag, and whether it swings at the rate of fibrillation waves. */
function measureRest(sheet: Sheet, beats: readonly Float64Array[], all: Float64Array, height: number): void {
  const lags = [2, 5, 10, 18]
  const sums = lags.map(() => 0)
  let [size, count] = [0, 0]
  const echoes = new Float64Array(60)
  for (const beat of beats) {
    const rest = Float64Array.from({ length: 70 }, (_, i) => (beat[i] as number) - (all[i] as number))
    const own = mean([...rest])
    for (let i = 0; i < rest.length; i++) {
      const value = (rest[i] as number) - own
      size += value * value
      count++
      for (let lag = 20; lag < 60; lag++)
        if (i >= lag) echoes[lag] = (echoes[lag] as number) + (value * ((rest[i - lag] as number) - own)) / (70 - lag)
      for (const [k, lag] of lags.entries())
        if (i >= lag) sums[k] = (sums[k] as number) + Math.abs(value - (rest[i - lag] as number) + own) / (70 - lag)
    }
  }
  const root = Math.sqrt(share(size, count))
  sheet.add('rest size', root / height)
  for (const [k, lag] of lags.entries()) sheet.add(`rest step ${lag}`, share(sums[k] as number, beats.length * root))
  sheet.add('rest echo', share(Math.max(...echoes), (beats.length * size) / Math.max(1, count)))
}

/** Adds the measures of waves; `ticks` = R peaks of the beats of the most common shape. */
export function measureWaves(sheet: Sheet, signal: Float64Array, ticks: readonly number[]): void {
  const halves = align(signal, ticks)
  if (halves !== undefined) {
    const qrs = window(halves.all, complex)
    const sign = Math.max(...qrs) < -Math.min(...qrs) ? -1 : 1
    sheet.add('upside down', sign)
    measureHalves(sheet, halves, sign)
    return
  }
  const names = new Sheet()
  const flat = new Float64Array(before + after)
  measureHalves(names, { odd: flat, even: flat, all: flat, beats: [flat] }, 1)
  sheet.add('upside down', 0)
  for (const name of names.names) sheet.add(name, 0)
}
