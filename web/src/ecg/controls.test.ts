import { describe, expect, test } from 'vitest'
import { clampView } from './controls.ts'
import { readCalipers, summariseBeats } from './measure.ts'
import type { EcgLead } from './signal.ts'

describe('a view', () => {
  const extent = { fromMs: 1_000, toMs: 61_000 }

  test('stays inside of what there is', () => {
    expect(clampView(0, 10_000, extent)).toEqual({ fromMs: 1_000, toMs: 11_000 })
    expect(clampView(60_000, 10_000, extent)).toEqual({ fromMs: 51_000, toMs: 61_000 })
    expect(clampView(20_000, 10_000, extent)).toEqual({ fromMs: 20_000, toMs: 30_000 })
  })

  test('of more time than there is begins at its begin', () => {
    expect(clampView(30_000, 100_000, extent)).toEqual({ fromMs: 1_000, toMs: 101_000 })
  })
})

describe('calipers', () => {
  const lead: EcgLead = {
    name: 'ii',
    segments: [{ startMs: 0, rateHz: 100, samples: Int16Array.from([0, 100, 250]), unit: 'mv', gain: 100 }],
  }

  test('read length, rate and rise', () => {
    expect(readCalipers(lead, { fromMs: 0, toMs: 20 })).toEqual({ ms: 20, perMinute: undefined, millivolts: 2.5 })
    expect(readCalipers(lead, { fromMs: 800, toMs: 0 })).toEqual({ ms: 800, perMinute: 75, millivolts: undefined })
    expect(readCalipers(undefined, { fromMs: 0, toMs: 1_000 })).toEqual({
      ms: 1_000,
      perMinute: 60,
      millivolts: undefined,
    })
  })
})

test('beats of a stretch are counted, others by their letter', () => {
  const beats = [0, 1_000, 2_000, 3_000].map((atMs, index) => ({ atMs, label: index === 2 ? 'V' : 'N' }))
  expect(summariseBeats(beats, { fromMs: 0, toMs: 3_000 })).toEqual({
    count: 3,
    others: new Map([['V', 1]]),
    perMinute: 60,
  })
  expect(summariseBeats(beats, { fromMs: 0, toMs: 1_500 })).toEqual({
    count: 2,
    others: new Map(),
    perMinute: undefined,
  })
})
