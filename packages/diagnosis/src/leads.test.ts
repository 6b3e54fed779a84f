import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { annotateEcg } from './annotate.ts'
import type { EcgEvent } from './ecg/analyser.ts'
import { classifyBeat, featureCount, timingOf } from './ecg/beat.ts'
import { type BeatEvent, isBeatEvent, judgeTogether } from './leads.ts'
import { decodeSignal, parseHeader } from './wfdb/record.ts'

test.each([
  [2500, false, 'V'],
  [-600, false, 'V'],
  [-800, false, 'N'],
  [3100, true, 'V'],
  [2500, true, 'Q'],
  [-600, true, 'Q'],
  [-800, true, 'N'],
] as const)('a ventricular logit of %d, doubtful %s: %s', (ventricular, isDoubtful, symbol) => {
  expect(
    classifyBeat(
      { ventricular, supraventricular: -2000 },
      { timing: 'timely', isAlone: true, isWhole: false, isDoubtful },
    ),
  ).toBe(symbol)
})

test.each([
  [-2000, 'timely', 'N'],
  [-900, 'timely', 'S'],
  [-2000, 'early', 'S'],
  [2000, 'irregular', 'N'],
  [2000, 'unknown', 'N'],
] as const)('a supraventricular logit of %d, %s: %s', (supraventricular, timing, symbol) => {
  const judged = { timing, isAlone: true, isWhole: false, isDoubtful: false }
  expect(classifyBeat({ ventricular: -3000, supraventricular }, judged)).toBe(symbol)
  expect(classifyBeat({ ventricular: 3000, supraventricular }, judged)).toBe('V')
})

test.each([
  ['irregular', true, false, 'N'],
  ['irregular', true, true, 'N'],
  ['irregular', false, true, 'V'],
  ['unknown', true, false, 'N'],
  ['unknown', true, true, 'V'],
  ['timely', true, false, 'V'],
] as const)(
  'a ventricular logit of -400, %s, one lead alone %s, whole record %s: %s',
  (timing, isAlone, isWhole, symbol) => {
    const judged = { timing, isAlone, isWhole, isDoubtful: false }
    expect(classifyBeat({ ventricular: -400, supraventricular: -2000 }, judged)).toBe(symbol)
  },
)

test.each([
  [0.84, 1, 0.2, 0.5, 'early'],
  [0.86, 1, 0.2, 0.5, 'timely'],
  [0.84, 0, 0.2, 0.5, 'timely'],
  [0.84, 1, 0.5, 0.5, 'irregular'],
  [0.84, 1, 0.2, 0.6, 'irregular'],
  [0.84, 1, 0, undefined, 'unknown'],
] as const)('interval %d (known %d), irregularity %d and now %d: %s', (interval, isKnown, spread, now, timing) => {
  const features = new Float64Array(featureCount)
  features.set([interval], 0)
  features.set([spread, isKnown], 8)
  expect(timingOf(features, now)).toBe(timing)
})

/** Forty beats 800 ms apart; `odd` of them, every fourth, have another shape and a ventricular logit of 2 of their own. */
function lead(odd: number): BeatEvent[] {
  return Array.from({ length: 40 }, (_, i) => {
    const isOdd = i % 4 === 3 && i < 4 * odd
    const own = isOdd ? 2000 : -4000
    const told = {
      type: 'beat',
      tick: 200 * (i + 1),
      symbol: 'N',
      counted: 'N',
      intervalMs: i === 0 ? 0 : 800,
      rate: 75,
      score: 0,
    } as const
    const shape = {
      shape: isOdd ? 1 : 0,
      isNew: isOdd && i === 3,
      own,
      isUsual: false,
      isPaced: false,
      timing: 'timely',
      mixture: undefined,
      size: 500,
    } as const
    return { ...told, ...shape, logits: { ventricular: own, supraventricular: -3000 } }
  })
}
const unreadable: EcgEvent[] = [
  { type: 'quality', tick: 100, quality: 'noisy' },
  { type: 'quality', tick: 8100, quality: 'good' },
]
const symbolsOf = (events: readonly EcgEvent[]) =>
  events.filter(isBeatEvent).flatMap(({ symbol }) => (symbol === 'N' ? [] : [symbol]))

test('where a lead cannot be judged, what may be ventricular is so when its shape is known', () => {
  const inNoise = (beats: readonly BeatEvent[]) => [unreadable[0] as EcgEvent, ...beats, unreadable[1] as EcgEvent]
  expect(symbolsOf(judgeTogether(lead(2), []))).toEqual(['V', 'V'])
  const doubtful = judgeTogether(inNoise(lead(2)), [])
  expect(symbolsOf(doubtful)).toEqual(['Q', 'Q'])
  // The second lead knows it.
  expect(symbolsOf(judgeTogether(inNoise(lead(2)), lead(4)))).toEqual(['V', 'V'])
  expect(symbolsOf(judgeTogether(inNoise(lead(4)), []))).toEqual(['V', 'V', 'V', 'V'])
})

test.each([
  ['unknown', ['V', 'V']],
  ['irregular', []],
] as const)('a ventricular logit of -550 by one lead of a whole record, %s: %j', (timing, symbols) => {
  const beats = lead(2).map((beat) => ({ ...beat, timing, own: beat.own > 0 ? -400 : beat.own }))
  expect(symbolsOf(judgeTogether(beats, []))).toEqual(symbols)
})

test('what is not classified is no paced rhythm', () => {
  const beats = lead(10).map((beat, i) => ({ ...beat, own: 2000, shape: i % 6, isNew: true, tick: beat.tick }))
  const events = judgeTogether([unreadable[0] as EcgEvent, ...beats], [])
  expect(symbolsOf(events).length).toBe(40)
  expect(events.filter(({ type }) => type === 'rhythm')).toEqual([])
})

const data = new URL('../../../../shared/data/cinc2017/', import.meta.url)
test.skipIf(!existsSync(data))(
  'data: of the beats of normal recordings of half a minute few are called ventricular',
  () => {
    const read = (file: string) => new Uint8Array(readFileSync(new URL(file, data)))
    const normal = new TextDecoder()
      .decode(read('REFERENCE.csv'))
      .trim()
      .split(/\r?\n/)
      .filter((line) => line.endsWith(',N'))
    const found = normal.slice(0, 30).flatMap((line) => {
      const header = parseHeader(read(`${line.split(',')[0]}.hea`))
      const { gain, baseline, file } = header.signals[0] as { gain: number; baseline: number; file: string }
      return annotateEcg({ samples: decodeSignal(header, 0, read(file)), gain, baseline, rate: header.rate })
    })
    const count = (symbols: string) => found.filter(({ symbol }) => symbols.includes(symbol)).length
    expect(count('NSVQ')).toBeGreaterThan(1000)
    expect(count('V') / count('NSVQ')).toBeLessThan(0.04)
  },
)
