import { existsSync, readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import type { EcgEvent } from '../ecg/analyser.ts'
import { generateEcg } from '../generator.ts'
import { decodeSignal, parseAnnotations, parseHeader } from '../wfdb/record.ts'
import { measureTrends } from './trends.ts'
import { measureVariability } from './variability.ts'

/** Beats whose intervals swing by `swingMs` at `hertz` around 800 ms. */
function beatsOf(hertz: number, swingMs: number, symbol: 'N' | 'S' = 'N'): EcgEvent[] {
  const events: EcgEvent[] = []
  let ms = 0
  while (ms < 310_000) {
    const intervalMs = 800 + swingMs * Math.sin((2 * Math.PI * hertz * ms) / 1000)
    ms += intervalMs
    const more = {
      rate: 75,
      score: 0,
      isNew: false,
      own: 0,
      shape: 0,
      isUsual: true,
      isPaced: false,
      timing: 'timely',
      mixture: undefined,
      size: 500,
      logits: { ventricular: -1, supraventricular: -1 },
    } as const
    events.push({ type: 'beat', tick: Math.round(ms / 4), symbol, counted: symbol, intervalMs, ...more })
  }
  return events
}

describe('variability of the heart rate', () => {
  test.each([
    [0.1, 'lowMs2', 'highMs2'],
    [0.25, 'highMs2', 'lowMs2'],
  ] as const)('a swing of 40 ms at %d Hz has its variance in its band', (hertz, own, other) => {
    const found = measureVariability(beatsOf(hertz, 40), 0)
    // A sine wave of amplitude a has the variance a² / 2.
    expect(found?.[own]).toBeGreaterThan(600)
    expect(found?.[own]).toBeLessThan(850)
    expect(found?.[other]).toBeLessThan(40)
    expect(found?.sdnnMs).toBeCloseTo(40 / Math.SQRT2, 0)
    expect(found?.rate).toBeCloseTo(75, 0)
  })

  test('steady beats have none; too few normal ones give nothing', () => {
    expect(measureVariability(beatsOf(0.1, 0), 0)).toMatchObject({ sdnnMs: 0, rmssdMs: 0, pnn50Percent: 0 })
    expect(measureVariability(beatsOf(0.1, 40, 'S'), 0)).toBeUndefined()
    expect(measureVariability(beatsOf(0.1, 40).slice(0, 200), 0)).toBeUndefined()
  })
})

test('a heart in a chest that breathes fifteen times a minute: breaths, and a raised ST segment', () => {
  const rate = 250
  const ecg = generateEcg({ seed: 2, rateHz: rate, seconds: 300 })
  const lead = (lift: number) => ({
    samples: Int32Array.from(ecg, (mv, i) =>
      Math.round(1000 * mv * (1 + 0.1 * Math.sin((2 * Math.PI * 0.25 * i) / rate)) + lift),
    ),
    gain: 1000,
    baseline: 0,
    rate,
  })
  const [trend, ...rest] = measureTrends(lead(0))
  expect(rest).toEqual([])
  expect(trend?.breathsPerMin).toBeGreaterThan(14)
  expect(trend?.breathsPerMin).toBeLessThan(16)
  // The level of the whole signal is no level of ST.
  expect(measureTrends(lead(700))[0]?.stMillivolts).toBe(trend?.stMillivolts)
  expect(measureTrends({ ...lead(0), samples: lead(0).samples.subarray(0, 30 * rate) })).toEqual([])
})

const data = new URL('../../../../../shared/data/bidmc/', import.meta.url)
test.skipIf(!existsSync(data))('data: breaths of intensive care patients, told or left out', () => {
  const errors: number[] = []
  for (const name of ['01', '03', '25', '33', '49', '53']) {
    const [head = '', ...lines] = gunzipSync(readFileSync(new URL(`bidmc_${name}_Signals.csv.gz`, data)))
      .toString()
      .trim()
      .split('\n')
    const column = head
      .split(',')
      .map((word) => word.trim())
      .indexOf('II')
    const samples = Int32Array.from(lines, (line) => Math.round(Number(line.split(',')[column]) * 1000))
    const numerics = readFileSync(new URL(`bidmc_${name}_Numerics.csv`, data), 'utf8')
      .trim()
      .split('\n')
      .slice(1)
    for (const { fromSeconds, breathsPerMin } of measureTrends({ samples, gain: 1000, baseline: 0, rate: 125 })) {
      const real = numerics
        .map((line) => line.split(',').map(Number))
        .filter(([second = 0, , , breaths = 0]) => second >= fromSeconds && second < fromSeconds + 300 && breaths > 0)
        .map(([, , , breaths = 0]) => breaths)
        .sort((a, b) => a - b)
      if (breathsPerMin !== null && real.length > 0)
        errors.push(Math.abs(breathsPerMin - (real[real.length >> 1] as number)))
    }
  }
  errors.sort((a, b) => a - b)
  expect(errors.length).toBeGreaterThanOrEqual(3)
  expect(errors[errors.length >> 1]).toBeLessThanOrEqual(2)
})

const arrhythmia = new URL('../../../../../shared/data/mitdb/', import.meta.url)
test.skipIf(!existsSync(arrhythmia)).each(['115', '122'])(
  'data: variability of %s is that of the intervals which cardiologists marked, to a millisecond',
  (record) => {
    const read = (file: string) => new Uint8Array(readFileSync(new URL(file, arrhythmia)))
    const header = parseHeader(read(`${record}.hea`))
    const { gain, baseline } = header.signals[0] as (typeof header.signals)[0]
    const samples = decodeSignal(header, 0, read(`${record}.dat`)).subarray(0, 300 * header.rate)
    const found = measureTrends({ samples, gain, baseline, rate: header.rate })[0]?.variability
    const beats = parseAnnotations(read(`${record}.atr`)).filter(
      ({ symbol, sample }) => symbol === 'N' && sample < samples.length,
    )
    const intervals = beats.slice(1).map(({ sample }, i) => ((sample - (beats[i]?.sample ?? 0)) * 1000) / header.rate)
    const mean = intervals.reduce((a, b) => a + b, 0) / intervals.length
    const square = intervals.reduce((sum, ms) => sum + (ms - mean) ** 2, 0) / (intervals.length - 1)
    const steps = intervals.slice(1).reduce((sum, ms, i) => sum + (ms - (intervals[i] as number)) ** 2, 0)
    expect(Math.abs((found?.sdnnMs ?? 0) - Math.sqrt(square))).toBeLessThan(1)
    expect(Math.abs((found?.rmssdMs ?? 0) - Math.sqrt(steps / (intervals.length - 1)))).toBeLessThan(1)
  },
)
