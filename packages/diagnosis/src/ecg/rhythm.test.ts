import { expect, test } from 'vitest'
import { type BeatSymbol, RhythmTracker } from './rhythm.ts'

/** Rhythms after each of the beats that follow fifty normal ones at 850 ms. */
function rhythmsOf(beats: readonly (readonly [intervalMs: number, symbol: BeatSymbol])[]): string[] {
  const tracker = new RhythmTracker()
  const seen = (symbol: BeatSymbol) => ({
    isNew: false,
    shape: symbol === 'V' ? 1 : 0,
    logit: symbol === 'V' ? 3000 : -3000,
    supraventricular: symbol === 'S' ? 1000 : -3000,
  })
  for (let i = 0; i < 50; i++) tracker.push(850, 'N', seen('N'))
  return beats.map(([intervalMs, symbol]) => tracker.push(intervalMs, symbol, seen(symbol)))
}
const early = (...intervals: number[]) => intervals.map((ms) => [ms, 'S'] as const)

test('four early beats at even distances are a supraventricular run, and its end is told', () => {
  const run = [...early(520, 400, 410, 400, 460, 400), [900, 'N'] as const]
  expect(rhythmsOf(run)).toEqual(['N', 'N', 'N', 'SVTA', 'SVTA', 'SVTA', 'N'])
})

test.each([
  ['three of them', early(520, 400, 400)],
  ['uneven ones, as fibrillation begins', early(620, 480, 700, 430, 590, 480, 660, 520)],
  ['slower than 100/min', early(720, 640, 640, 640, 640)],
  [
    'ones after an unsteady dozen',
    [...early(600), [900, 'N'] as const, ...early(600), [950, 'N'] as const, ...early(400, 400, 400, 400)],
  ],
])('%s are none', (_name, beats) => {
  expect(rhythmsOf(beats)).not.toContain('SVTA')
})

test('ventricular beats are no supraventricular run', () => {
  expect(rhythmsOf([400, 400, 400, 400].map((ms) => [ms, 'V'] as const)).at(-1)).toBe('VT')
})
