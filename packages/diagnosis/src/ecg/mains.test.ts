import { describe, expect, test } from 'vitest'
import { generateEcg } from '../generator.ts'
import { EcgAnalyser } from './analyser.ts'
import { MainsRemover, turnOf } from './mains.ts'

const ecg = (seconds: number, rateHz: number) =>
  Float64Array.from(generateEcg({ seed: 3, rateHz, seconds }), (mv) => mv * 1000)
const hum = (microvolts: number, hertz: number, i: number, rateHz: number) =>
  microvolts * Math.sin((2 * Math.PI * hertz * i) / rateHz + 1)

/** Root of the mean square of the difference from `clean`, from the third second on. */
function rest(clean: Float64Array, microvolts: number, hertz: number, rateHz: number): number {
  const remover = new MainsRemover(rateHz * 1000)
  let sum = 0
  for (const [i, value] of clean.entries()) {
    const away = remover.push(value + hum(microvolts, hertz, i, rateHz)) - value
    if (i >= 2 * rateHz) sum += away * away
  }
  return Math.sqrt(sum / (clean.length - 2 * rateHz))
}

test('cosine and sine are those of the engine', () => {
  for (const part of [0, 0.05, 0.2, 0.37, 0.5, 0.6, 1]) {
    expect(turnOf(part).cosine).toBeCloseTo(Math.cos(2 * Math.PI * part), 13)
    expect(turnOf(part).sine).toBeCloseTo(Math.sin(2 * Math.PI * part), 13)
  }
})

describe('hum', () => {
  test.each([100, 125, 128, 200, 250, 300, 360, 500, 1000])('is taken out at %i Hz', (rateHz) => {
    for (const hertz of [50, 60]) expect(rest(ecg(20, rateHz), 200, hertz, rateHz)).toBeLessThan(10)
  })

  test.each([49.8, 50.2, 59.8, 60.1])('of %d Hz is followed', (hertz) => {
    for (const rateHz of [128, 250, 1000]) expect(rest(ecg(20, rateHz), 200, hertz, rateHz)).toBeLessThan(25)
  })

  test('that begins and ends is followed within a second and a half', () => {
    const clean = ecg(30, 250)
    const remover = new MainsRemover(250_000)
    for (const [i, value] of clean.entries()) {
      const [isOn, since] = [i >= 2500 && i < 5000, (i % 2500) / 250]
      const out = remover.push(isOn ? value + hum(300, 50, i, 250) : value)
      if (since > 1.5) expect(Math.abs(out - value)).toBeLessThan(40)
    }
  })

  test('does not make a lead that comes off look alive', () => {
    const remover = new MainsRemover(250_000)
    const clean = ecg(20, 250)
    for (let i = 0; i < 5000; i++) {
      const out = remover.push(i < 2500 ? (clean[i] as number) + hum(300, 60, i, 250) : 80)
      if (i > 2500 + 200) expect(out).toBe(80)
    }
  })
})

describe('a lead without hum passes unchanged', () => {
  const pass = (samples: Float64Array, rateHz: number) => {
    const remover = new MainsRemover(rateHz * 1000)
    expect(samples.map((value) => remover.push(value))).toEqual(samples)
  }
  test.each([100, 250, 360, 1000])('a heart at %i Hz', (rateHz) => pass(ecg(60, rateHz), rateHz))

  test('noise of muscles', () => {
    let state = 1
    const random = () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return state / 2 ** 32 - 0.5
    }
    pass(
      ecg(60, 250).map((value) => value + 150 * (random() + random())),
      250,
    )
  })

  test('missing samples stay missing, and no hum is made of them', () => {
    const samples = ecg(20, 250)
    samples.fill(Number.NaN, 1000, 1100)
    pass(samples, 250)
  })
})

test('beats are those of the lead without hum, once it is known', () => {
  const clean = ecg(60, 250)
  const eventsOf = (samples: Float64Array) => new EcgAnalyser({ rateMilliHz: 250_000 }).push(samples)
  const beatsOf = (samples: Float64Array) =>
    eventsOf(samples).flatMap((event) => (event.type === 'beat' && event.tick > 500 ? [event] : []))
  const hummed = clean.map((value, i) => value + hum(900, 50, i, 250))
  const [found, expected] = [beatsOf(hummed), beatsOf(clean)]
  expect(found.map(({ symbol }) => symbol)).toEqual(expected.map(({ symbol }) => symbol))
  for (const [i, { tick }] of found.entries()) expect(Math.abs(tick - (expected[i]?.tick ?? 0))).toBeLessThanOrEqual(4)
  // In the first second, while it is not known, the lead cannot be judged; nothing else is told of it.
  const others = eventsOf(hummed).filter(({ type }) => type !== 'beat')
  for (const event of others) expect([event.type, event.tick < 750]).toEqual(['quality', true])
})
