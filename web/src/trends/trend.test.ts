import { expect, test } from 'vitest'
import { axisRange, usualRanges } from './ranges.ts'
import { summariseSeries } from './summary.ts'

test('a summary has the least, the greatest and the newest value, and knows when there is none', () => {
  expect(summariseSeries([1, 2, 3, 4], [70, null, 50, null])).toEqual({ min: 50, max: 70, last: 50, lastMs: 3 })
  expect(summariseSeries([1], [null])).toBeUndefined()
  expect(summariseSeries([], [])).toBeUndefined()
})

test('an axis reaches over what is usual, and a little beyond what is not', () => {
  expect(axisRange(84, 86, [40, 140])).toEqual([40, 140])
  expect(axisRange(84, 160, [40, 140])).toEqual([40, 166])
  expect(axisRange(20, 86, [40, 140])).toEqual([14, 140])
  expect(axisRange(null, null, [40, 140])).toEqual([40, 140])
  expect(axisRange(100, 100)).toEqual([90, 110])
  expect(axisRange(0, 0)).toEqual([-1, 1])
  expect(axisRange(1, 3)).toEqual([0, 4])
  expect(axisRange(null, null)).toEqual([0, 1])
  for (const [low, high] of Object.values(usualRanges)) expect(low).toBeLessThan(high)
})
