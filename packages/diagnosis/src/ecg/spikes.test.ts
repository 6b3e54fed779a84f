/** Spikes of a pacemaker that are put into real and made ECGs: as a recorder shows them, a millisecond long and with the swing back of its electrodes. */
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { annotateEcg } from '../annotate.ts'
import { generateEcg } from '../generator.ts'
import { type Annotation, decodeSignal, isBeat, parseAnnotations, parseHeader } from '../wfdb/record.ts'
import { SpikeRemover } from './spikes.ts'

const data = new URL('../../../../../shared/data/mitdb/', import.meta.url)
const hasData = existsSync(data)

/** Puts spikes of so many microvolts at these seconds. */
function pace(microvolts: Float64Array, rateHz: number, seconds: readonly number[], size: number): Float64Array {
  const paced = Float64Array.from(microvolts)
  const length = Math.max(0.001, 0.45 / rateHz)
  for (const at of seconds) {
    const from = Math.max(0, Math.floor((at - 0.01) * rateHz))
    for (let i = from; i < Math.min(paced.length, (at + 0.05) * rateHz); i++) {
      const since = i / rateHz - at
      const swing = since > 0 ? -0.08 * Math.exp(-since / 0.012) : 0
      paced[i] = (paced[i] as number) + size * (Math.exp(-((since / length) ** 2)) + swing)
    }
  }
  return paced
}

function resample(microvolts: Float64Array, from: number, to: number): Float64Array {
  return Float64Array.from({ length: Math.floor(((microvolts.length - 1) * to) / from) }, (_, i) => {
    const at = (i * from) / to
    const k = Math.floor(at)
    return (microvolts[k] as number) * (1 - at + k) + (microvolts[k + 1] as number) * (at - k)
  })
}

function readRecord(name: string, seconds: number) {
  const read = (file: string) => new Uint8Array(readFileSync(new URL(file, data)))
  const header = parseHeader(read(`${name}.hea`))
  const samples = decodeSignal(header, 0, read(`${name}.dat`)).subarray(0, seconds * header.rate)
  const { gain, baseline } = header.signals[0] as { gain: number; baseline: number }
  const beats = parseAnnotations(read(`${name}.atr`)).filter(
    ({ symbol, sample }) => isBeat(symbol) && sample < samples.length,
  )
  return {
    microvolts: Float64Array.from(samples, (sample) => ((sample - baseline) * 1000) / gain),
    beats: beats.map(({ sample }) => sample / header.rate),
  }
}

const annotate = (microvolts: Float64Array, rate: number): Annotation[] =>
  annotateEcg({ samples: Int32Array.from(microvolts, Math.round), gain: 1000, baseline: 0, rate })
const beatsOf = (annotations: readonly Annotation[]) => annotations.filter(({ symbol }) => isBeat(symbol))
const countSpikes = (microvolts: Float64Array, rateHz: number) => {
  const remover = new SpikeRemover(rateHz * 1000)
  return microvolts.reduce((count, value) => count + (remover.push(value) ? 1 : 0), 0)
}

describe.skipIf(!hasData)('data: spikes in real ECGs', () => {
  test.each([
    ['101', 250, 1500],
    ['109', 360, -5000],
    ['118', 500, 2500],
    ['124', 1000, 1500],
    ['220', 250, -3000],
  ])('record %s at %i Hz with spikes of %i µV: the same beats, and they are paced', (name, rateHz, size) => {
    const { microvolts, beats } = readRecord(name, 300)
    const again = resample(microvolts, 360, rateHz)
    const plain = beatsOf(annotate(again, rateHz))
    const two = beats.flatMap((at) => [at - 0.22, at - 0.07])
    const annotations = annotate(pace(again, rateHz, two, size), rateHz)
    const paced = beatsOf(annotations)
    expect(Math.abs(paced.length - plain.length)).toBeLessThanOrEqual(1)
    const moved = paced.filter(({ sample }) => !plain.some((beat) => Math.abs(beat.sample - sample) <= 0.06 * rateHz))
    expect(moved.length).toBeLessThanOrEqual(1)
    const count = (symbol: string) => paced.filter((beat) => beat.symbol === symbol).length
    expect(count('Q') / paced.length).toBeGreaterThan(0.9)
    expect(count('V') / paced.length).toBeLessThan(0.01)
    expect(annotations.filter(({ aux }) => aux === '(P').length).toBeGreaterThanOrEqual(1)
  })

  test.each(['106', '208', '223'])('record %s has no spikes, but narrow and wide complexes', (name) => {
    const { microvolts } = readRecord(name, 300)
    for (const rateHz of [125, 200, 250, 360, 1000])
      expect(countSpikes(resample(microvolts, 360, rateHz), rateHz)).toBe(0)
  })
})

describe('spikes', () => {
  const made = (rateHz: number, seconds: number) =>
    Float64Array.from(generateEcg({ seed: 8, rateHz, seconds, noise: 0.02 }), (mv) => mv * 1000)

  test.each([125, 128, 200])(
    '%i Hz: one sample of 2 to 12 mV is found, two of each beat too, and a beat keeps its place',
    (rateHz) => {
      const heart = made(rateHz, 60)
      const plain = beatsOf(annotate(heart, rateHz))
      const middles = plain.map(({ sample }) => sample).filter((sample) => sample > rateHz)
      for (const size of [2000, 8000, 12_000]) {
        const paced = Float64Array.from(heart)
        for (const middle of middles)
          for (const before of [0.2, 0.06]) {
            const at = Math.round(middle - before * rateHz)
            paced[at] = (paced[at] as number) + size
          }
        expect(countSpikes(paced, rateHz)).toBe(2 * middles.length)
        const found = beatsOf(annotate(paced, rateHz))
        expect(found.length).toBe(plain.length)
        for (const [i, { sample }] of found.entries())
          expect(Math.abs(sample - (plain[i]?.sample as number))).toBeLessThanOrEqual(0.06 * rateHz)
        expect(found.filter(({ symbol }) => symbol === 'V').length).toBe(0)
      }
    },
  )

  test.each([250, 300, 500, 1000])('%i Hz: each is found once and leaves no trace', (rateHz) => {
    const seconds = Array.from({ length: 20 }, (_, i) => 2 + i * 1.3)
    const calm = new Float64Array(30 * rateHz)
    const remover = new SpikeRemover(rateHz * 1000)
    const [found, left]: [number[], number[]] = [[], []]
    for (const value of pace(calm, rateHz, seconds, 2000)) {
      if (remover.push(value)) found.push(remover.spike / rateHz)
      if (remover.isFilled) left.push(Math.abs(remover.out))
    }
    expect(found.length).toBe(20)
    for (const [i, at] of found.entries()) expect(Math.abs(at - (seconds[i] as number))).toBeLessThanOrEqual(1 / rateHz)
    // The swing back stays: it is small and slow.
    expect(Math.max(...left)).toBeLessThan(170)
  })

  test.each([100, 120])('%i Hz: nothing is looked for, and nothing is late', (rateHz) => {
    const remover = new SpikeRemover(rateHz * 1000)
    expect(remover.push(3000)).toBe(false)
    expect(remover.isFilled).toBe(true)
    expect(remover.out).toBe(3000)
  })

  test('spikes that no beat follows are no beats: a heart that stands still is told', () => {
    const rateHz = 500
    const heart = made(rateHz, 60)
    for (let i = 30 * rateHz; i < 40 * rateHz; i++) heart[i] = (i % 7) * 4
    const seconds = Array.from({ length: 70 }, (_, i) => i * 0.8 + 0.5)
    const beats = beatsOf(annotate(pace(heart, rateHz, seconds, 3000), rateHz)).map(({ sample }) => sample / rateHz)
    expect(beats.filter((at) => at > 30.4 && at < 39.8)).toEqual([])
    expect(beats.length).toBeGreaterThan(40)
  })

  test('beside a missing sample there is none', () => {
    const signal = pace(new Float64Array(1000), 250, [2], 2000)
    expect(countSpikes(signal, 250)).toBe(1)
    for (const at of [495, 502]) {
      const torn = Float64Array.from(signal)
      torn[at] = Number.NaN
      expect(countSpikes(torn, 250)).toBe(0)
    }
  })

  test('a few spikes make no pacemaker', () => {
    const heart = made(250, 60)
    const peaks = beatsOf(annotate(heart, 250)).map(({ sample }) => sample / 250)
    const few = beatsOf(
      annotate(
        pace(
          heart,
          250,
          [peaks[20] ?? 0, peaks[40] ?? 0].map((at) => at - 0.06),
          2000,
        ),
        250,
      ),
    )
    expect(few.filter(({ symbol }) => symbol === 'Q')).toEqual([])
    const many = beatsOf(
      annotate(
        pace(
          heart,
          250,
          peaks.map((at) => at - 0.06),
          2000,
        ),
        250,
      ),
    )
    expect(many.filter(({ symbol }) => symbol === 'Q').length).toBeGreaterThan(peaks.length - 5)
  })
})
