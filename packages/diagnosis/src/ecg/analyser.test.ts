import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { butterworth } from '../../scripts/coefficients.ts'
import { algorithmFiles } from '../algorithm.ts'
import { annotateEcg, annotateIntervals, parseIntervals } from '../annotate.ts'
import { DiagnosisError } from '../errors.ts'
import { generateEcg } from '../generator.ts'
import { decodeSignal, isBeat, parseAnnotations, parseHeader } from '../wfdb/record.ts'
import { EcgAnalyser, type EcgEvent, parseEcgState, stateBytesMax } from './analyser.ts'
import { highPass1, highPass10, highPass40, lowPass25, lowPass40 } from './coefficients.ts'

const data = new URL('../../../../../shared/data/mitdb/', import.meta.url)
const hasData = existsSync(data)

const ecg = (seconds: number, rateHz = 250, more: object = {}) =>
  Float64Array.from(generateEcg({ seed: 3, rateHz, seconds, ...more }), (mv) => mv * 1000)
const analyse = (samples: Float64Array, rateHz = 250) => new EcgAnalyser({ rateMilliHz: rateHz * 1000 }).push(samples)
const beats = (events: readonly EcgEvent[]) => events.filter((event) => event.type === 'beat')

/** A minute that has a bit of everything: beats, spikes of a pacemaker, a missing stretch, a flat one, noise. */
function mixed(rateHz: number): Float64Array {
  const samples = ecg(50, rateHz, { changes: [{ fromSeconds: 20, rhythm: 'irregular' }] })
  for (let i = Math.round(3.3 * rateHz); i < 10 * rateHz; i += rateHz) samples[i] = (samples[i] as number) + 2000
  samples.fill(Number.NaN, 12 * rateHz, 14 * rateHz)
  samples.fill(300, 30 * rateHz, 34 * rateHz)
  for (let i = 40 * rateHz; i < 43 * rateHz; i++) samples[i] = (samples[i] as number) + (i % 2 === 0 ? 900 : -900)
  return samples
}

describe('pieces and state', () => {
  test.each([100, 128, 250, 300, 360, 500, 1000])(
    '%i Hz: any pieces, with the state carried between them, give the same events',
    (rateHz) => {
      const samples = mixed(rateHz)
      const whole = analyse(samples, rateHz)
      expect(beats(whole).length).toBeGreaterThan(40)
      const cuts = fc.array(fc.nat(samples.length), { maxLength: 12 })
      fc.assert(
        fc.property(cuts, fc.boolean(), (points, isCarried) => {
          let analyser = new EcgAnalyser({ rateMilliHz: rateHz * 1000 })
          const events: EcgEvent[] = []
          let from = 0
          for (const to of [...points.sort((a, b) => a - b), samples.length]) {
            events.push(...analyser.push(samples.subarray(from, to)))
            if (isCarried) analyser = parseEcgState(analyser.encodeState())
            from = to
          }
          expect(events).toEqual(whole)
        }),
        { numRuns: 8 },
      )
    },
  )

  test.each([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('%d is a missing sample', (infinite) => {
    const microvolts = Float64Array.from(generateEcg({ seed: 4, rateHz: 250, seconds: 30 }), (mv) => mv * 1000)
    const told = (value: number) =>
      new EcgAnalyser({ rateMilliHz: 250_000 }).push(
        microvolts.map((own, i) => ((i > 2500 && i < 4000) || i % 997 === 0 ? value : own)),
      )
    expect(told(infinite)).toEqual(told(Number.NaN))
    expect(told(infinite)).toContainEqual(expect.objectContaining({ type: 'quality', quality: 'missing' }))
  })

  test('single precision is as good, where the values have it', () => {
    const microvolts = Float32Array.from(generateEcg({ seed: 4, rateHz: 250, seconds: 30 }), (mv) => mv * 1000)
    const told = (values: Float32Array | Float64Array) => new EcgAnalyser({ rateMilliHz: 250_000 }).push(values)
    expect(told(microvolts)).toEqual(told(Float64Array.from(microvolts)))
  })

  test('one sample at a time', () => {
    const samples = mixed(250)
    const analyser = new EcgAnalyser({ rateMilliHz: 250_000 })
    expect([...samples].flatMap((sample) => analyser.push([sample]))).toEqual(analyse(samples))
  })

  test('the state stays within its bound and is the same for the same samples', () => {
    const one = new EcgAnalyser({ rateMilliHz: 250_000 })
    const two = new EcgAnalyser({ rateMilliHz: 250_000 })
    one.push(mixed(250))
    for (const sample of mixed(250)) two.push([sample])
    expect(two.encodeState()).toEqual(one.encodeState())
    expect(one.encodeState().length).toBeLessThanOrEqual(stateBytesMax)
    expect(parseEcgState(one.encodeState()).encodeState()).toEqual(one.encodeState())
  })

  test('a damaged state is refused with a typed error or is another valid state', () => {
    const analyser = new EcgAnalyser({ rateMilliHz: 250_000 })
    analyser.push(mixed(250))
    const good = analyser.encodeState()
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(good.length - 1), (at, x, size) => {
        const bad = good.slice()
        bad[at] = (bad[at] as number) ^ x
        for (const bytes of [bad, good.subarray(0, size)]) {
          try {
            parseEcgState(bytes).push(mixed(250).subarray(0, 500))
          } catch (error) {
            expect(error).toBeInstanceOf(DiagnosisError)
          }
        }
      }),
      { numRuns: 300 },
    )
  })

  test.each([0, 99_999, 1_000_001, 250_000.5, Number.NaN])('refuses a rate of %d mHz', (rateMilliHz) => {
    expect(() => new EcgAnalyser({ rateMilliHz })).toThrow(DiagnosisError)
  })
})

describe('what it tells', () => {
  test('a regular rhythm: its beats, its rate, and no alarm', () => {
    const events = analyse(ecg(120))
    expect(events.filter(({ type }) => type !== 'beat')).toEqual([])
    const rates = beats(events)
      .slice(20)
      .map(({ rate }) => rate)
    expect(Math.min(...rates)).toBeGreaterThan(66)
    expect(Math.max(...rates)).toBeLessThan(75)
  })

  test('an irregular rhythm is told, and its end', () => {
    const rhythms = analyse(
      ecg(400, 250, {
        changes: [
          { fromSeconds: 100, rhythm: 'irregular' },
          { fromSeconds: 250, rhythm: 'regular' },
        ],
      }),
    )
      .filter((event) => event.type === 'rhythm')
      .map(({ rhythm, tick }) => [rhythm, tick / 250 > 100 && tick / 250 < 390])
    expect(rhythms).toEqual([
      ['AFIB', true],
      ['N', true],
    ])
  })

  test.each([
    ['flat', (s: Float64Array) => s.fill(120, 5000, 10_000)],
    ['missing', (s: Float64Array) => s.fill(Number.NaN, 5000, 10_000)],
    ['railed', (s: Float64Array) => s.map((v, i) => (i >= 5000 && i < 10_000 && i % 250 > 60 ? 5000 : v))],
    ['noisy', (s: Float64Array) => s.map((v, i) => (i >= 5000 && i < 10_000 ? v + (i % 3) * 2000 : v))],
  ])('a %s stretch is said to be unreadable and is never a silence of the heart', (quality, spoil) => {
    const events = analyse(spoil(ecg(60)))
    const told = events.filter((event) => event.type === 'quality')
    expect(told[0]).toMatchObject({ quality, tick: 5000 })
    expect(told.at(-1)).toMatchObject({ quality: 'good' })
    expect(events.filter(({ type }) => type === 'silence')).toEqual([])
    expect(events.filter(({ type }) => type === 'rhythm')).toEqual([])
  })

  test.each([3, 10, 30])('an electrode that is put on, %d times as steep as a beat, does not make it deaf', (times) => {
    const samples = ecg(40)
    for (let i = 0; i < 10; i++) samples[i + 20] = (samples[i + 20] as number) + 1000 * times * (i % 4 < 2 ? 1 : -1)
    const events = analyse(samples)
    expect(events.filter(({ type }) => type === 'silence')).toEqual([])
    expect(beats(events).filter(({ tick }) => tick > 4 * 250).length).toBeGreaterThanOrEqual(
      beats(analyse(ecg(36))).length - 2,
    )
  })

  test.each([1, 20, 400])('a heart of 24/min from the begin keeps its rate (seed %d)', (seed) => {
    const slow = generateEcg({ seed, rateHz: 250, seconds: 10 })
    // One beat, from its P wave to the end of its T wave, each two and a half seconds.
    const [first = 0] = beats(analyse(Float64Array.from(slow, (mv) => mv * 1000))).map(({ tick }) => tick)
    const beat = slow.subarray(first + 120, first + 330)
    const samples = new Float64Array(250 * 40)
    for (let at = 250; at + beat.length < samples.length; at += 625)
      for (const [i, mv] of beat.entries()) samples[at + i] = mv * 1000
    for (let i = 0; i < samples.length; i++) samples[i] = (samples[i] as number) + 12 * Math.sin(i * i)
    expect(beats(analyse(samples)).length).toBeLessThanOrEqual(17)
    expect(beats(analyse(samples)).length).toBeGreaterThanOrEqual(14)
  })

  test('a heart that stops after its first beat is told', () => {
    const samples = ecg(20)
    for (let i = 300; i < samples.length; i++) samples[i] = 25 * Math.sin(i / 9) + 8 * Math.sin(i * i)
    expect(analyse(samples).filter(({ type }) => type === 'silence').length).toBeGreaterThan(8)
  })

  /** The level jumps at 30 s and comes back slowly; the heart is not seen until `seen` s. */
  const disturbed = (seen: number) => {
    const samples = ecg(60)
    for (let i = 30 * 250; i < samples.length; i++) {
      if (i < seen * 250) samples[i] = 15 * Math.sin(i * i)
      samples[i] = (samples[i] as number) + 4000 / (1 + ((i - 30 * 250) / 400) ** 2)
    }
    return samples
  }

  test('a lead that shows no heart while it comes back from a jump cannot be judged, and is no silence', () => {
    const events = analyse(disturbed(37))
    expect(events.filter(({ type }) => type === 'silence')).toEqual([])
    expect(events.flatMap((event) => (event.type === 'quality' ? event.quality : []))).toEqual(['noisy', 'good'])
    // The interval across it is no pause.
    expect(Math.max(...beats(events).map(({ intervalMs }) => intervalMs))).toBeLessThan(2000)
  })

  test('a heart that stays silent when the lead is back is told', () => {
    const silences = analyse(disturbed(60)).filter(({ type }) => type === 'silence')
    expect(silences[0]?.tick).toBeLessThan(50 * 250)
  })

  test('a silence of the heart in a readable signal is told while it lasts', () => {
    const samples = ecg(60)
    // The quiet line of a living lead: a slow wander and a little noise, no complex.
    for (let i = 5000; i < 8000; i++) samples[i] = 60 * Math.sin(i / 40) + ((i * 7919) % 13)
    const silences = analyse(samples).filter((event) => event.type === 'silence')
    expect(silences.length).toBeGreaterThanOrEqual(5)
    expect(silences.at(-1)?.ms).toBeGreaterThan(9000)
  })

  test.each([0, 3000])(
    'ventricular flutter is told within ten seconds, and its end (the level jumps by %d µV)',
    (jump) => {
      const samples = ecg(60)
      for (let i = 5000; i < 10_000; i++)
        samples[i] = 900 * Math.sin((2 * Math.PI * 4 * i) / 250) + jump / (1 + ((i - 5000) / 600) ** 2)
      const rhythms = analyse(samples).filter((event) => event.type === 'rhythm')
      expect(rhythms[0]).toMatchObject({ rhythm: 'VFL' })
      expect((rhythms[0]?.tick ?? 0) - 5000).toBeLessThanOrEqual(2500)
      expect(rhythms.at(-1)?.rhythm).not.toBe('VFL')
    },
  )
})

describe('arithmetic', () => {
  test('files of the algorithm use no function that engines may compute differently', () => {
    for (const path of algorithmFiles) {
      const text = readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
      const used = [...text.matchAll(/Math\.(\w+)/g)].map(([, name]) => name)
      const allowed = ['abs', 'ceil', 'floor', 'max', 'fround', 'min', 'round', 'sqrt', 'PI']
      expect([path, used.filter((name) => !allowed.includes(name as string))]).toEqual([path, []])
      // The power operator is Math.pow; between two literals it is exact.
      const code = text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
      expect([path, code.replaceAll(/\b\d+ \*\* \d+/g, '').includes('**')]).toEqual([path, false])
      expect([path, /\b(Date|performance|Intl|toLocale\w*|random)\b/.test(text)]).toEqual([path, false])
    }
  })

  test('the table of coefficients is what its script computes', () => {
    const table = [
      [highPass10, 'high', 10],
      [lowPass25, 'low', 25],
      [highPass1, 'high', 0.7],
      [lowPass40, 'low', 40],
      [highPass40, 'high', 40],
    ] as const
    for (const [section, kind, cut] of table) {
      for (const [i, value] of butterworth(kind, cut, 250).entries()) expect(section[i]).toBeCloseTo(value, 12)
    }
  })
})

/** Matches as EC57 does: each reference beat with at most one found beat within 150 ms. */
function count(reference: number[], found: number[], tolerance: number) {
  let matched = 0
  let j = 0
  for (const beat of reference) {
    while (j < found.length && (found[j] as number) < beat - tolerance) j++
    if (j < found.length && (found[j] as number) <= beat + tolerance) {
      matched++
      j++
    }
  }
  return { matched, missed: reference.length - matched, extra: found.length - matched }
}

test.skipIf(!hasData)('data: R peaks of the arrhythmia database, Se and PPV of at least 99.8 %', () => {
  const sum = { matched: 0, missed: 0, extra: 0 }
  for (const name of readdirSync(data).filter((file) => file.endsWith('.hea'))) {
    const record = name.slice(0, -4)
    const read = (file: string) => new Uint8Array(readFileSync(new URL(file, data)))
    const header = parseHeader(read(name))
    const { gain, baseline } = header.signals[0] as { gain: number; baseline: number }
    const lead = { samples: decodeSignal(header, 0, read(`${record}.dat`)), gain, baseline, rate: header.rate }
    const reference = parseAnnotations(read(`${record}.atr`))
    const starts = reference.filter(({ symbol }) => symbol === '[').map(({ sample }) => sample)
    const ends = reference.filter(({ symbol }) => symbol === ']').map(({ sample }) => sample)
    const inFlutter = (sample: number) =>
      starts.some((start, i) => sample >= start - 54 && sample <= (ends[i] ?? 0) + 54)
    const samplesOf = (list: typeof reference) =>
      list.filter(({ symbol, sample }) => isBeat(symbol) && !inFlutter(sample)).map(({ sample }) => sample)
    const result = count(samplesOf(reference), samplesOf(annotateEcg(lead)), 54)
    sum.matched += result.matched
    sum.missed += result.missed
    sum.extra += result.extra
  }
  expect(sum.matched).toBeGreaterThan(45_000)
  expect(sum.matched / (sum.matched + sum.missed)).toBeGreaterThanOrEqual(0.998)
  expect(sum.matched / (sum.matched + sum.extra)).toBeGreaterThanOrEqual(0.998)
})

const intervals = new URL('../afdb-rr/', data)
test.skipIf(!existsSync(intervals))(
  'data: fibrillation from RR intervals alone, each verdict from what came before it and half a minute after',
  () => {
    const sum = { hit: 0, miss: 0, extra: 0, quiet: 0 }
    for (const name of readdirSync(intervals).filter((file) => file.startsWith('qrs'))) {
      const rows = parseIntervals(gunzipSync(readFileSync(new URL(name, intervals))).toString())
      const found = annotateIntervals(rows, 250)
      const reference = readFileSync(new URL(`atr${name.slice(3, 8)}.txt`, intervals), 'latin1')
        .split('\n')
        .slice(1)
      const changes = reference.map((line) => line.trim().split(/\s+/)).filter((words) => words.length > 5)
      let [at, next, isReal, isFound] = [0, 0, false, false]
      for (const { end } of rows) {
        while (at < changes.length && Number(changes[at]?.[1]) <= end) isReal = changes[at++]?.at(-1) === '(AFIB'
        while (next < found.length && (found[next]?.sample ?? 0) <= end) isFound = found[next++]?.aux === '(AFIB'
        sum[isReal ? (isFound ? 'hit' : 'miss') : isFound ? 'extra' : 'quiet']++
      }
    }
    expect(sum.hit / (sum.hit + sum.miss)).toBeGreaterThanOrEqual(0.97)
    expect(sum.quiet / (sum.quiet + sum.extra)).toBeGreaterThanOrEqual(0.978)
  },
)
