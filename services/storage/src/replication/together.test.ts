import { expect, test } from 'vitest'
import { encodeTogether, parseTogether, Together } from './together.ts'

const dayMs = 24 * 3_600_000

test('time passes while all stores are here, and stands still while one is away or nobody looks', () => {
  const together = new Together({ at: 1000, apartMs: 0 })
  expect(together.look(61_000, true)).toBe(61_000)
  expect(together.look(121_000, false)).toBe(61_000)
  expect(together.look(181_000, true)).toBe(121_000)
  // This store was away itself, whoever is here now.
  expect(together.look(181_000 + 40 * dayMs, true)).toBe(121_000)
  expect(together.look(241_000 + 40 * dayMs, true)).toBe(181_000)
})

test('a clock that is set back or ahead makes nothing be forgotten early', () => {
  const together = new Together({ at: 10 * dayMs, apartMs: 0 })
  expect(together.look(500 * dayMs, true)).toBe(10 * dayMs)
  expect(together.look(10 * dayMs + 60_000, true)).toBeLessThan(10 * dayMs)
  expect(together.look(10 * dayMs + 120_000, true)).toBeLessThan(10 * dayMs)
})

test('what is kept of it is read again, and anything else is nothing', () => {
  const state = { at: 1_900_000_000_000, apartMs: 5 * dayMs }
  expect(parseTogether(encodeTogether(state))).toEqual(state)
  for (const other of [undefined, '', '5', 'a b', '1 2 3', '1.5 2']) {
    expect(parseTogether(other === undefined ? undefined : Buffer.from(other))).toBeUndefined()
  }
})
