import { describe, expect, test } from 'vitest'
import { type Flight, FlightWindow, wayMsAlone, wayMsShared } from './flight-window.ts'

const flight = (sponsor: string): Flight => ({ account: sponsor, sponsor, flyingMs: undefined })

/** A gateway that has more than may leave, in front of nodes that order `perMs`, with an honest sponsor's transaction each 100 ms. */
function flood(perMs: number, isShared: boolean): { limit: number; wayMs: number; ordered: number; honestMs: number } {
  const window = new FlightWindow()
  const way: { flight: Flight; atMs: number; isHonest: boolean }[] = []
  let [owed, ordered, wayMs, honestMs] = [0, 0, 0, 0]
  for (let nowMs = 0; nowMs < 60_000; nowMs += 10) {
    if (isShared && nowMs % 100 === 0) {
      const one = flight('honest')
      expect(window.mayLeave('honest', 2, nowMs)).toBe(true)
      window.depart(one, nowMs)
      way.push({ flight: one, atMs: nowMs, isHonest: true })
    }
    while (window.mayLeave('flood', isShared ? 2 : 1, nowMs)) {
      const one = flight('flood')
      window.depart(one, nowMs)
      way.push({ flight: one, atMs: nowMs, isHonest: false })
    }
    owed += perMs * 10
    const done = way.splice(0, Math.floor(owed))
    owed = way.length === 0 ? 0 : owed - done.length
    ordered += done.length
    if (nowMs > 30_000) {
      for (const { atMs, isHonest } of done) {
        wayMs = Math.max(wayMs, nowMs - atMs)
        if (isHonest) honestMs = Math.max(honestMs, nowMs - atMs)
      }
    }
    window.land(
      done.map((one) => one.flight),
      nowMs,
    )
  }
  return { limit: window.limit, wayMs, ordered, honestMs }
}

describe('what a gateway has under way', () => {
  test.each([0.5, 2, 10])('keeps the way short while others use it too, and nodes that order %d a ms busy', (perMs) => {
    const { wayMs, honestMs, ordered } = flood(perMs, true)
    expect(wayMs).toBeLessThan(2 * wayMsShared)
    expect(honestMs).toBeLessThan(2 * wayMsShared)
    expect(ordered).toBeGreaterThan(0.95 * perMs * 60_000)
  })

  test('is more while one sponsor is alone', () => {
    const [alone, shared] = [flood(5, false), flood(5, true)]
    expect(alone.wayMs).toBeGreaterThan(shared.wayMs)
    expect(alone.wayMs).toBeLessThan(2 * wayMsAlone)
  })

  test('does not grow while nothing waits', () => {
    const window = new FlightWindow()
    const before = window.limit
    for (let nowMs = 0; nowMs < 60_000; nowMs += 10) {
      const one = flight('a')
      expect(window.mayLeave('a', 1, nowMs)).toBe(true)
      window.depart(one, nowMs)
      window.land([one], nowMs + 5)
    }
    expect(window.limit).toBe(before)
  })

  test('what no block brings gives its place back', () => {
    const window = new FlightWindow()
    while (window.room(0) > 0) window.depart(flight('lost'), 0)
    expect(window.mayLeave('lost', 1, 0)).toBe(false)
    expect(window.mayLeave('other', 2, 0)).toBe(true)
    expect(window.room(1_999)).toBe(0)
    expect(window.room(2_000)).toBe(window.limit)
    expect(window.mayLeave('lost', 1, 2_000)).toBe(true)
  })

  test('also while only turns are asked for', () => {
    const window = new FlightWindow()
    for (let sponsor = 0; window.mayLeave(`${sponsor}`, 9, 0); sponsor++) {
      for (let i = 0; i < 32; i++) window.depart(flight(`${sponsor}`), 0)
    }
    expect(window.mayLeave('honest', 9, 1_999)).toBe(false)
    expect(window.mayLeave('honest', 9, 2_000)).toBe(true)
  })

  test('one that leaves again while it is under way takes one place', () => {
    const window = new FlightWindow()
    const one = flight('a')
    window.depart(one, 0)
    window.depart(one, 1)
    expect(window.room(2)).toBe(window.limit - 1)
    window.land([one], 5)
    expect(window.room(10)).toBe(window.limit)
  })

  test('one that ends twice gives one place back', () => {
    const window = new FlightWindow()
    const one = flight('a')
    window.depart(one, 0)
    window.end(one)
    window.end(one)
    window.land([one], 5)
    expect(window.room(10)).toBe(window.limit)
  })
})
