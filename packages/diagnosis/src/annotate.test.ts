import { describe, expect, test } from 'vitest'
import { annotateEcg, type EcgLead } from './annotate.ts'
import { generateEcg } from './generator.ts'
import { sampleMissing } from './wfdb/record.ts'

const rate = 250
function leadOf(change: (samples: Int32Array) => void = () => undefined): EcgLead {
  const samples = Int32Array.from(
    generateEcg({ seed: 9, rateHz: rate, seconds: 120 }),
    (mv) => Math.round(mv * 200) + 1024,
  )
  change(samples)
  return { samples, gain: 200, baseline: 1024, rate }
}
const beatsOf = (lead: EcgLead, second?: EcgLead) =>
  annotateEcg(lead, second)
    .filter(({ symbol }) => 'NSV'.includes(symbol))
    .map(({ sample }) => sample)
/** A lead that lost its complexes for ten seconds, but not its noise. */
const silent = () =>
  leadOf((samples) => {
    for (let i = 12_500; i < 15_000; i++) samples[i] = 1024 + ((i * 7919) % 11)
  })

describe('a second lead', () => {
  test('fills the beats where the first falls silent, and only there', () => {
    const whole = beatsOf(leadOf())
    const one = beatsOf(silent())
    const both = beatsOf(silent(), leadOf())
    expect(one.length).toBeLessThan(whole.length - 8)
    expect(both.length).toBe(whole.length)
    expect([...both].sort((a, b) => a - b)).toEqual(both)
  })

  test('is not believed when it does not agree elsewhere', () => {
    const other: EcgLead = { ...leadOf(), samples: Int32Array.from(leadOf().samples).reverse() }
    expect(beatsOf(silent(), other)).toEqual(beatsOf(silent()))
  })
})

test.each([0, 90, 185])(
  'a record of ten seconds that begins %d samples later has its first and its last beat, and no other',
  (shift) => {
    const lead = leadOf()
    const whole = beatsOf(lead)
    let compared = 0
    for (let from = 1250 + shift; from + 2500 < lead.samples.length; from += 2500) {
      // A complex that is cut may be told or not.
      const clear = (sample: number) => sample > from + 15 && sample < from + 2485
      const own = beatsOf({ ...lead, samples: lead.samples.subarray(from, from + 2500) }).map((sample) => sample + from)
      const expected = whole.filter(clear)
      expect(own.filter(clear).length).toBe(expected.length)
      for (const [i, sample] of own.filter(clear).entries())
        expect(Math.abs(sample - (expected[i] as number))).toBeLessThan(8)
      compared += expected.length
    }
    expect(compared).toBeGreaterThan(120)
  },
)

test.each([0, 1, 5, 100])('of %d samples, less than half a second, nothing is told', (count) => {
  const lead = leadOf()
  expect(annotateEcg({ ...lead, samples: lead.samples.subarray(0, count) })).toEqual([])
})

test('nothing is said of the quality of what comes behind the last sample', () => {
  const lead = leadOf((samples) => samples.fill(1500, samples.length - 20))
  expect(annotateEcg(lead).filter(({ symbol }) => symbol === '~')).toEqual([])
})

test('a missing stretch is marked where it begins and ends', () => {
  const lead = leadOf((samples) => samples.fill(sampleMissing, 5000, 10_000))
  const marks = annotateEcg(lead).filter(({ symbol }) => symbol === '~')
  expect(marks.map(({ sample, subtype }) => [sample, subtype])).toEqual([
    [5000, -1],
    [10_000, 0],
  ])
  expect(beatsOf(lead).filter((sample) => sample > 5100 && sample < 9900)).toEqual([])
})

test('a record without samples has no annotations', () => {
  expect(annotateEcg({ ...leadOf(), samples: new Int32Array(0) })).toEqual([])
})
