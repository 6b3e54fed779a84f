import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import { dataFolder, readData, resample } from '../../../bench/support/ecg-records.ts'
import { annotateEcg, annotateIntervals, type EcgLead } from './annotate.ts'
import { type Annotation, decodeSignal, parseAnnotations, parseHeader } from './wfdb/record.ts'

const hasData = existsSync(dataFolder)
const numbers = (file: string) => new TextDecoder().decode(readData(file)).trim().split(/\r?\n/).map(Number)

function leadOf(record: string, channel: number): EcgLead {
  const header = parseHeader(readData(`${record}.hea`))
  const { gain, baseline, file } = header.signals[channel] as { gain: number; baseline: number; file: string }
  const folder = record.slice(0, record.lastIndexOf('/') + 1)
  return { samples: decodeSignal(header, channel, readData(`${folder}${file}`)), gain, baseline, rate: header.rate }
}

test.skipIf(!hasData).each([128, 360])(
  'data: each flutter of record 207 is told within ten seconds, at %d Hz',
  (rate) => {
    const found = annotateEcg(rate === 360 ? leadOf('mitdb/207', 0) : resample(leadOf('mitdb/207', 0), rate))
    const alarms = found.filter(({ aux }) => aux === '(VFL').map(({ sample }) => sample / rate)
    const begins = parseAnnotations(readData('mitdb/207.atr')).filter(({ symbol }) => symbol === '[')
    expect(begins.length).toBe(6)
    for (const { sample } of begins) {
      const begin = sample / 360
      expect(alarms.some((second) => second >= begin - 2 && second <= begin + 10)).toBe(true)
    }
  },
)

/** Stretches that are called unreadable. */
function unreadable(found: readonly Annotation[], end: number): [number, number][] {
  const marks = found.filter(({ symbol }) => symbol === '~')
  return marks.flatMap(({ sample, subtype }, i): [number, number][] =>
    subtype === 0 ? [] : [[sample, marks[i + 1]?.sample ?? end]],
  )
}

test.skipIf(!hasData).each(['12', '06', '00'])(
  'data: with noise at %s dB beats are found with Se 95 and PPV 90, or the stretch is called unreadable',
  (noiseDb) => {
    const rate = 360
    const samples = Int32Array.from(numbers(`noise-ecg/118e${noiseDb}.csv`), (mv) => Math.round(mv * 1000))
    const found = annotateEcg({ samples, gain: 1000, baseline: 0, rate })
    const stretches = unreadable(found, samples.length)
    const isReadable = (sample: number) => !stretches.some(([from, to]) => sample >= from && sample < to)
    const real = numbers(`noise-ecg/118e${noiseDb}_ann.csv`).filter(isReadable)
    const told = found.filter(({ symbol, sample }) => 'NSV'.includes(symbol) && isReadable(sample))
    const near = (a: number, list: readonly number[]) => list.some((b) => Math.abs(a - b) <= 0.15 * rate)
    const beats = told.map(({ sample }) => sample)
    expect(real.length).toBeGreaterThan(30)
    expect(real.filter((a) => near(a, beats)).length / real.length).toBeGreaterThanOrEqual(0.95)
    expect(beats.filter((a) => near(a, real)).length / beats.length).toBeGreaterThanOrEqual(0.9)
    // No rhythm is told from noise, short of noise as strong as the heart.
    if (noiseDb !== '00') expect(found.filter(({ symbol, aux }) => symbol === '+' && aux !== '(N')).toEqual([])
  },
)

test.skipIf(!hasData)('data: a lead upside down or at a quarter of its height gives the same beats', () => {
  const lead = leadOf('mitdb/119', 0)
  const part = { ...lead, samples: lead.samples.subarray(0, 360 * 300) }
  const classes = (other: EcgLead) => annotateEcg(other).filter(({ symbol }) => 'NSV'.includes(symbol))
  const beats = classes(part)
  const turned = classes({ ...part, samples: part.samples.map((v) => 2 * lead.baseline - v) })
  const small = classes({ ...part, gain: 4 * lead.gain })
  expect(Math.abs(turned.length - beats.length)).toBeLessThanOrEqual(2)
  const V = (list: readonly Annotation[]) => list.filter(({ symbol }) => symbol === 'V').length
  expect(V(beats)).toBeGreaterThan(50)
  for (const other of [turned, small]) expect(Math.abs(V(other) - V(beats))).toBeLessThanOrEqual(4)
})

test.each([
  [750, 80],
  [750, 160],
  [900, 120],
  [900, 160],
])('a young heart at rest (%d ms, breathing swings it by %d ms) does not fibrillate', (meanMs, swingMs) => {
  let [phase, ms, at] = [0, meanMs, 0]
  const intervals = Array.from({ length: 3000 }, (_, i) => {
    phase += (2 * Math.PI * (0.24 + 0.03 * Math.sin(i / 97)) * ms) / 1000
    // A little that nobody can foresee.
    ms = meanMs + swingMs * Math.sin(phase) + (((i * 7919) % 101) - 50) / 2
    const start = at
    at += Math.round(ms / 4)
    return { start, end: at, seconds: ms / 1000 }
  })
  expect(annotateIntervals(intervals, 250).map(({ aux }) => aux)).toEqual(['(N'])
})
