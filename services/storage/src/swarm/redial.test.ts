import { expect, test } from 'vitest'
import { RedialPace } from './redial.ts'

test('a peer that ends each connection at once is dialled ever later, and at once again after one that lasted', () => {
  const pace = new RedialPace()
  let nowMs = 0
  const again = (lastedMs: number): number => {
    pace.connected(nowMs)
    nowMs += lastedMs
    pace.lost(nowMs)
    const delayMs = pace.next(0.5)
    nowMs += delayMs
    return delayMs
  }
  const delays = Array.from({ length: 9 }, () => again(5))
  expect(delays).toEqual([250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000])
  expect(again(30_000)).toBe(250)
  expect(again(29_999)).toBe(500)
})

test('stores that lose each other at one time do not all dial at one time', () => {
  expect([0, 1].map((random) => new RedialPace().next(random))).toEqual([187.5, 312.5])
})
