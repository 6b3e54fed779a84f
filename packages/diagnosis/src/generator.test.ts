import { expect, test } from 'vitest'
import { annotateEcg } from './annotate.ts'
import { type GeneratedRhythm, generateEcg } from './generator.ts'

const beatsOf = (rhythm: GeneratedRhythm, rateHz = 360) => {
  const samples = Int32Array.from(generateEcg({ seed: 1, rateHz, seconds: 60, rhythm }), (mv) => Math.round(mv * 200))
  return annotateEcg({ samples, gain: 200, baseline: 0, rate: rateHz }).filter(({ symbol }) => 'NSV'.includes(symbol))
}

test('the same seed gives the same samples, another one others', () => {
  const options = { rateHz: 250, seconds: 5 }
  expect(generateEcg({ seed: 1, ...options })).toEqual(generateEcg({ seed: 1, ...options }))
  expect(generateEcg({ seed: 2, ...options })).not.toEqual(generateEcg({ seed: 1, ...options }))
})

test.each([
  ['regular', 71],
  ['irregular', 97],
  ['fast', 150],
  ['slow', 40],
] as const)('%s: about %i beats a minute, R waves of about a millivolt', (rhythm, rate) => {
  expect(Math.abs(beatsOf(rhythm).length - rate)).toBeLessThanOrEqual(rate * 0.08)
  const peak = generateEcg({ seed: 1, rateHz: 250, seconds: 20, rhythm }).reduce((a, b) => Math.max(a, b))
  expect(peak).toBeGreaterThan(0.6)
  expect(peak).toBeLessThan(2)
})

test.each([100, 250, 1000])('%i Hz: the same number of beats', (rateHz) => {
  expect(Math.abs(beatsOf('regular', rateHz).length - 71)).toBeLessThanOrEqual(3)
})
