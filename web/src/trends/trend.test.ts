import { expect, test } from 'vitest'
import { summariseSeries } from './summary.ts'

test('a summary has the least, the greatest and the newest value, and knows when there is none', () => {
  expect(summariseSeries([1, 2, 3, 4], [70, null, 50, null])).toEqual({ min: 50, max: 70, last: 50, lastMs: 3 })
  expect(summariseSeries([1], [null])).toBeUndefined()
  expect(summariseSeries([], [])).toBeUndefined()
})
