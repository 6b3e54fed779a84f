import { expect, test } from 'vitest'
import { leadLabel, segmentsOf } from './samples.ts'

const toBase64 = (values: readonly number[]): string =>
  btoa(String.fromCharCode(...new Uint8Array(Int16Array.from(values).buffer)))

test('interleaved samples come apart lead by lead, with their sign; half a frame is left out', () => {
  const sent = { leads: ['mlii', 'V1'], startMs: 5, rateHz: 360, unit: 'mv', gain: 200, baseline: 0 }
  const [first, second] = segmentsOf({ ...sent, samples: toBase64([1, -1, 300, -300, 7]) })
  expect(first).toEqual([
    'MLII',
    { startMs: 5, rateHz: 360, unit: 'mv', gain: 200, baseline: 0, samples: Int16Array.of(1, 300) },
  ])
  expect([second?.[0], second?.[1].samples]).toEqual(['V1', Int16Array.of(-1, -300)])
})

test('leads are named as on paper', () => {
  expect(['ii', 'AVR', 'avf', 'mlii', 'v1'].map(leadLabel)).toEqual(['II', 'aVR', 'aVF', 'MLII', 'V1'])
})
