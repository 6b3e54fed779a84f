import { expect, test } from 'vitest'
import { generateEcg } from '../generator.ts'
import { measureEcg } from '../measures.ts'

const rate = 250
const seconds = 30

/** Measures of a half minute by name; `change` sees the microvolts, and the ticks of the R waves that are known to be there. */
function measure(change: (samples: Float64Array) => void): (name: string) => number {
  const samples = Float64Array.from(generateEcg({ seed: 4, rateHz: rate, seconds }), (mv) => mv * 1000)
  change(samples)
  const lead = { samples: Int32Array.from(samples, Math.round), gain: 1000, baseline: 0, rate }
  const { names, values } = measureEcg(lead)
  return (name) => values[names.indexOf(name)] as number
}

/** A wide beat that points down, in place of what is there for 0.6 s. */
function putWide(samples: Float64Array, at: number): void {
  for (let i = 0; i < 150; i++)
    samples[at + i] = i < 45 ? -1400 * Math.sin((Math.PI * i) / 45) : 300 * Math.sin((Math.PI * (i - 45)) / 105)
}

/** Ticks a third of a second behind the 8th, 15th and 22nd R wave. */
function placesIn(samples: Float64Array): number[] {
  const isPeak = (i: number) =>
    samples.subarray(Math.max(0, i - 50), i + 50).every((value) => value <= (samples[i] as number))
  const peaks = [...samples.keys()].filter((i) => (samples[i] as number) > 500 && isPeak(i))
  return [7, 14, 21].map((k) => (peaks[k] as number) + 85)
}

test('beats that look unlike the usual ones but like each other are counted, and swings of an electrode are not', () => {
  const none = measure(() => {})
  expect([none('kind size'), none('V between usual')]).toEqual([0, 0])
  const three = measure((samples) => {
    for (const at of placesIn(samples)) putWide(samples, at)
  })
  expect(three('kind size')).toBe(3)
  expect(three('kind likeness')).toBeGreaterThan(0.95)
  expect(three('kind early')).toBeGreaterThan(0.3)
  expect(three('kind pause')).toBeGreaterThan(0.2)
  const swings = measure((samples) => {
    for (const [k, at] of placesIn(samples).entries())
      for (let i = 0; i < 150; i++)
        samples[at + i] = (samples[at + i] as number) + 1500 * Math.sin((k + 1.3) * i * (0.02 + i / 9000))
  })
  expect(swings('kind size')).toBeLessThan(3)
})

test('one bad second costs the stretch that can be read, not the rest', () => {
  const calm = measure(() => {})
  const bad = measure((samples) => {
    for (let i = 3750; i < 4000; i++) samples[i] = (samples[i] as number) + 3000 * Math.sin(i * i)
  })
  expect(calm('stretch share')).toBeGreaterThan(0.85)
  expect(bad('stretch share')).toBeGreaterThan(0.4)
  expect(bad('stretch share')).toBeLessThan(0.7)
  expect(bad('joined share')).toBeGreaterThan(0.8)
  // Of most seconds the same is measured.
  for (const name of ['seconds rough 0.5', 'seconds tall 0.5', 'aligned 0.5'])
    expect(Math.abs(bad(name) / calm(name) - 1)).toBeLessThan(0.1)
})
