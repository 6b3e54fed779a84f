import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { annotateEcg, type EcgLead } from '../annotate.ts'
import { diagnose } from '../diagnose.ts'
import { decodeSignal, isBeat, parseAnnotations, parseHeader } from '../wfdb/record.ts'
import { EcgAnalyser, type EcgEvent } from './analyser.ts'
import { beatPoints } from './complex.ts'
import { comesAsFusion, type FusedShape, isFusion, likestMixture, type Mixture, mixtureOf } from './fusion.ts'
import { ShapeVotes } from './vote.ts'

const rate = 250
const bump = (ms: number, at: number, width: number) => Math.exp(-((ms - at) ** 2) / (2 * width ** 2))
const atria = (ms: number) => 0.12 * bump(ms, -160, 22)
const usual = (ms: number) => 1.1 * bump(ms, 0, 11) - 0.25 * bump(ms, 28, 11) + 0.25 * bump(ms, 280, 45)
const ventricular = (ms: number) => -1.3 * bump(ms, 15, 32) + 0.5 * bump(ms, -45, 25) + 0.4 * bump(ms, 300, 60)

type Kind = 'N' | 'V' | 'F'
/** Share of the usual complex in a fusion. */
const share = 0.75
const shapes: Readonly<Record<Kind, (ms: number) => number>> = {
  N: (ms) => atria(ms) + usual(ms),
  V: ventricular,
  F: (ms) => atria(ms) + share * usual(ms) + (1 - share) * ventricular(ms),
}

/** Five minutes of a heart at 75/min: some beats come at 0.62 of the interval and are ventricular, with a pause behind them; some are others of `late`, on time. */
function lead(late: Kind): { lead: EcgLead; beats: { ms: number; kind: Kind }[] } {
  const beats: { ms: number; kind: Kind }[] = []
  for (let i = 0; i < 370; i++) {
    const kind = i % 6 === 4 ? 'V' : i % 11 === 8 && i % 6 !== 5 && i > 30 ? late : 'N'
    beats.push({ ms: 500 + 800 * i + 12 * Math.sin(i) - (i % 6 === 4 ? 800 * 0.38 : 0), kind })
  }
  const samples = new Int32Array(300 * rate)
  for (const { ms, kind } of beats)
    for (let k = Math.floor(((ms - 400) * rate) / 1000); k < ((ms + 600) * rate) / 1000; k++)
      if (k >= 0 && k < samples.length)
        samples[k] = (samples[k] as number) + Math.round(1000 * shapes[kind]((k * 1000) / rate - ms))
  return { lead: { samples, gain: 1000, baseline: 0, rate }, beats }
}
/** What was told at each beat, as "what it was>what was told", counted. */
function toldOf(beats: readonly { ms: number; kind: Kind }[], found: readonly { ms: number; symbol: string }[]) {
  const counts: Record<string, number> = {}
  for (const { ms, kind } of beats) {
    const key = `${kind}>${found.find((beat) => Math.abs(beat.ms - ms) < 150)?.symbol ?? ''}`
    counts[key] = (counts[key] ?? 0) + 1
  }
  return counts
}
const annotated = (ecg: EcgLead) =>
  annotateEcg(ecg)
    .filter(({ symbol }) => isBeat(symbol))
    .map(({ sample, symbol }) => ({ ms: (sample * 1000) / rate, symbol }))
const isBeatEvent = (event: EcgEvent) => event.type === 'beat'
const streamed = (ecg: EcgLead) =>
  new EcgAnalyser({ rateMilliHz: rate * 1000 })
    .push(Float64Array.from(ecg.samples))
    .filter(isBeatEvent)
    .map(({ tick, symbol, counted }) => ({ ms: tick * 4, symbol, counted }))

describe('a heart with ventricular beats and fusions', () => {
  const { lead: ecg, beats } = lead('F')

  test.each([
    ['a whole record', annotated],
    ['a stream', streamed],
  ])('has most of its fusions told, and no other beat as one: %s', (_way, judge) => {
    const told = toldOf(beats, judge(ecg))
    expect(told['F>F']).toBeGreaterThan(10)
    expect([told['N>F'], told['V>F'], told['V>V']]).toEqual([undefined, undefined, 61])
  })

  test.each(['N', 'V'] as const)('has none told when there are none, but more of %s', (late) => {
    const other = lead(late)
    for (const judge of [annotated, streamed])
      expect(judge(other.lead).filter(({ symbol }) => symbol === 'F')).toEqual([])
  })

  test('has the rhythms that it had if fusions were not told: each counts as what it would be', () => {
    const fusions = streamed(ecg).filter(({ symbol }) => symbol === 'F')
    expect(fusions.length).toBeGreaterThan(10)
    for (const { counted } of fusions) expect(['N', 'V']).toContain(counted)
    for (const { symbol, counted } of streamed(ecg)) if (symbol !== 'F') expect(counted).toBe(symbol)
  })

  test('has a finding of them, which names its samples', () => {
    const size = 10 * rate
    const records = Array.from({ length: 30 }, (_, i) => ({
      kind: 'ecg' as const,
      startMs: 1_790_000_000_000 + i * 10_000,
      rateMilliHz: rate * 1000,
      leads: ['ii'],
      unit: 'mv' as const,
      gainMilli: 1_000_000,
      baseline: 0,
      samples: Int16Array.from(ecg.samples.subarray(i * size, (i + 1) * size)),
      stream: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
      sequence: i + 1,
    }))
    const found = diagnose({ records }).findings.find(({ code }) => code === 'ecg.fusion-beats')
    expect(found).toMatchObject({ severity: 'low', isOpen: false })
    expect(found?.sentence).toMatch(/^1\d fusions of a ventricular and a normal beat within \d min\.$/)
    for (const { first, last } of found?.evidence ?? []) expect(last).toBeLessThan(first + size)
    expect(found?.evidence.length).toBeGreaterThan(3)
  })
})

describe('a mixture', () => {
  const points = (of: (ms: number) => number) =>
    Float64Array.from({ length: beatPoints }, (_, i) => 1000 * of((i - 15) * 8))
  const kept = Int16Array.from([...points(usual), ...points(ventricular)], Math.round)
  const mix = (of: (ms: number) => number) => mixtureOf(points(of), kept, 0, beatPoints)

  test('takes a beat apart into its two shapes, one moved, and says what each leaves', () => {
    const both = mix((ms) => 0.6 * usual(ms) + 0.5 * ventricular(ms - 16))
    expect(both.withoutBoth).toBeLessThan(0.001)
    expect(Math.min(both.withoutUsual, both.withoutOther)).toBeGreaterThan(0.1)
    expect(both.weight).toBeGreaterThan(0.3)
    expect(both.weight).toBeLessThan(0.8)
  })

  test.each([
    ['the usual shape', usual, 'withoutUsual'],
    ['the ventricular shape', ventricular, 'withoutOther'],
  ] as const)('leaves nothing of a beat of %s without that one', (_name, of, field) => {
    expect(mix(of)[field]).toBeLessThan(0.001)
  })

  test('is none of what is the negative of a shape, nor of nothing', () => {
    expect(mix((ms) => -usual(ms)).withoutUsual).toBeGreaterThan(0.5)
    for (const value of Object.values(mix(() => 0))) expect(Number.isFinite(value)).toBe(true)
  })
})

describe('a fusion', () => {
  const mixture: Mixture = { withoutUsual: 0.5, withoutOther: 0.4, withoutBoth: 0.05, weight: 0.5 }
  const shape: FusedShape = { count: 3, mean: 0, mixture }

  test('is told of a doubtful shape that was seen three times and is much better a mixture', () => {
    expect(isFusion(-1, shape)).toBe(true)
    expect(isFusion(-9000, shape)).toBe(true)
  })

  test.each<[string, number, Partial<FusedShape>]>([
    ['more likely ventricular than not by its logit', 0, {}],
    ['of a shape that was seen twice', -500, { count: 2 }],
    ['of a shape that is clearly normal', -500, { mean: -3600 }],
    ['of a shape that is clearly ventricular', -500, { mean: 2100 }],
    ['no mixture', -500, { mixture: undefined }],
    ['as well one of both shapes alone', -500, { mixture: { ...mixture, withoutOther: 0.06 } }],
    ['neither', -500, { mixture: { ...mixture, withoutBoth: 0.21 } }],
    ['nearly all of the usual shape', -500, { mixture: { ...mixture, weight: 0.1 } }],
  ])('is not told of a beat that is %s', (_name, logit, change) => {
    expect(isFusion(logit, { ...shape, ...change })).toBe(false)
  })

  test('comes on time, between usual intervals, and has not the usual shape', () => {
    const features = new Float64Array(50)
    features[0] = features[3] = 1
    expect(comesAsFusion(features, true)).toBe(true)
    expect(comesAsFusion(features, false)).toBe(false)
    for (const [index, value] of [
      [0, 1.2],
      [3, 1.2],
      [18, 1],
    ] as const) {
      const changed = Float64Array.from(features)
      changed[index] = value
      expect(comesAsFusion(changed, true)).toBe(false)
    }
  })

  test('needs a ventricular shape that is established: three beats, a mean logit of 2', () => {
    const votes = new ShapeVotes(6)
    const mixed: number[] = []
    const likest = () =>
      likestMixture(0, votes, (k) => {
        mixed.push(k)
        return mixture
      })
    votes.push(0, true, -500)
    for (const [isNew, logit] of [
      [true, 3000],
      [false, 3000],
    ] as const)
      votes.push(1, isNew, logit)
    for (let i = 0; i < 3; i++) votes.push(2, i === 0, 1900)
    expect(likest()).toBeUndefined()
    votes.push(1, false, 3000)
    expect(likest()).toEqual(mixture)
    expect(mixed).toEqual([1])
  })
})

const data = new URL('../../../../../shared/data/mitdb/', import.meta.url)
const read = (file: string) => new Uint8Array(readFileSync(new URL(file, data)))

describe.skipIf(!existsSync(data))('data', () => {
  test.each([
    ['208', 20, 2],
    ['205', 8, 5],
    ['119', 0, 0],
  ])('%s: of its fusions %i or more are found, and %i or fewer beats are told so wrongly', (record, least, most) => {
    const header = parseHeader(read(`${record}.hea`))
    const [first, second] = header.signals.map(({ gain, baseline }, channel) => ({
      samples: decodeSignal(header, channel, read(`${record}.dat`)),
      gain,
      baseline,
      rate: header.rate,
    })) as [EcgLead, EcgLead]
    const real = parseAnnotations(read(`${record}.atr`)).filter(({ symbol }) => isBeat(symbol))
    const told = annotateEcg(first, second).filter(({ symbol }) => symbol === 'F')
    const hits = told.filter(({ sample }) =>
      real.some((beat) => beat.symbol === 'F' && Math.abs(beat.sample - sample) <= 0.15 * header.rate),
    ).length
    expect(hits).toBeGreaterThanOrEqual(least)
    expect(told.length - hits).toBeLessThanOrEqual(most)
  })
})
