import { expect, test } from 'vitest'
import { alignSigns } from './align.ts'

test('signs share one row of times, and what was not measured is nothing', () => {
  const pulse = [
    [1, 70],
    [3, 72],
  ] as const
  const spo2 = [
    [2, 97],
    [3, 96],
  ] as const
  expect(alignSigns([pulse, spo2])).toEqual({
    timesMs: [1, 2, 3],
    values: [
      [70, null, 72],
      [null, 97, 96],
    ],
  })
  expect(alignSigns([])).toEqual({ timesMs: [], values: [] })
})
