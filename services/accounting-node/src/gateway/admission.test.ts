import { describe, expect, test } from 'vitest'
import { Admission, crowd } from './admission.ts'
import { pendingTransactionsMax, promiseMs } from './pending.ts'

/** A gateway in front of a ledger that commits `perSecond`, flooded: each quarter of a second as much is offered as is let in. */
function flood(
  perSecond: (second: number) => number,
  seconds: number,
): { longestMs: number; turnedAway: number; limit: number } {
  const admission = new Admission()
  const waiting: number[] = []
  let [longestMs, turnedAway, owed] = [0, 0, 0]
  for (let nowMs = 0; nowMs < seconds * 1000; nowMs += 250) {
    for (let offered = 0; offered < 5_000; offered++) {
      if (waiting.length < admission.limit) waiting.push(nowMs)
      else turnedAway++
    }
    const pending = waiting.length
    owed += perSecond(nowMs / 1000) / 4
    const done = waiting.splice(0, Math.floor(owed))
    owed -= done.length
    for (const acceptedMs of done) longestMs = Math.max(longestMs, nowMs - acceptedMs)
    if (done.length > 0) admission.committed(done.length, nowMs - (done[0] as number), pending)
    const oldest = waiting[crowd - 1]
    admission.look(nowMs, oldest === undefined ? 0 : nowMs - oldest, waiting.length)
  }
  return { longestMs, turnedAway, limit: admission.limit }
}

describe('what a gateway promises under a flood', () => {
  test.each([40, 100, 400, 2_000])('is kept in time by a ledger that commits %i a second', (perSecond) => {
    const { longestMs, turnedAway } = flood(() => perSecond, 120)
    expect(longestMs).toBeLessThan(promiseMs)
    expect(turnedAway).toBeGreaterThan(0)
  })

  test('grows to all there is room for where the ledger is fast', () => {
    expect(flood(() => 8_000, 30).limit).toBe(pendingTransactionsMax)
  })

  test('shrinks when the ledger becomes slow, and grows again', () => {
    const slow = (second: number): number => (second < 20 ? 2_000 : second < 80 ? 100 : 2_000)
    expect(flood(slow, 79).limit).toBeLessThan(1_024)
    expect(flood(slow, 120).limit).toBeGreaterThan(4_000)
  })

  test('is not made less by a few that somebody leaves out', () => {
    const admission = new Admission()
    const before = admission.limit
    for (let nowMs = 0; nowMs < 20_000; nowMs += 250) admission.look(nowMs, 0, crowd - 1)
    expect(admission.limit).toBe(before)
  })
})
