import { beforeEach, describe, expect, it } from 'vitest'
import { SizeHistory } from './size-history.ts'

let history: SizeHistory

beforeEach(() => {
  history = new SizeHistory()
})

describe('the history of a size', () => {
  it.each([1, 3, 10, 49, 50, 400])('reaches back some seconds, although it grows each %i ms', (everyMs) => {
    let nowMs = 1_000
    for (let size = 1; nowMs < 61_000; size++, nowMs += everyMs) history.add(size, nowMs)
    const newest = Math.floor((60_000 - 1) / everyMs) + 1
    expect(history.sizeAt(nowMs)).toBe(newest)
    for (const agoMs of [50, 500, 2_000, 10_000]) {
      const known = history.sizeAt(61_000 - agoMs)
      const exact = Math.floor((60_000 - agoMs) / everyMs) + 1
      expect(known).toBeLessThanOrEqual(exact)
      expect(known).toBeGreaterThanOrEqual(exact - Math.ceil(50 / everyMs))
    }
    const beyondMs = history.beyondMs(newest - 1) as number
    expect(beyondMs).toBeGreaterThan(61_000 - everyMs - 1)
    expect(history.beyondMs(newest)).toBeUndefined()
  })

  it('has the newest size, however soon it came', () => {
    history.add(10, 1_000)
    history.add(11, 1_001)
    history.add(12, 1_002)
    expect([999, 1_000, 1_001, 1_002].map((ms) => history.sizeAt(ms))).toEqual([0, 10, 10, 12])
    history.add(12, 1_500)
    history.add(9, 1_600)
    expect(history.sizeAt(2_000)).toBe(12)
    expect(history.beyondMs(11)).toBe(1_002)
  })

  it('keeps a size that came soon after another one and stayed', () => {
    history.add(53, 1_000)
    history.add(62, 1_014)
    history.add(64, 2_100)
    expect([1_013, 1_014, 2_099, 2_100].map((ms) => history.sizeAt(ms))).toEqual([53, 62, 62, 64])
  })
})
