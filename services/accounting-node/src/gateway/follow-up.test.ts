import { encodeU64 } from '@healthblock/encoding/bytes'
import { describe, expect, test } from 'vitest'
import { judgedMax, judgingTurns, refusalAfterMs, resubmitAfterMs } from './follow-up.ts'
import { type PendingEntry, pendingEntry } from './pending.ts'

let numbers = 0

function entry(sponsor: string, account: string, isDeferred = false): PendingEntry {
  const row = { number: numbers, id: encodeU64(numbers++), acceptedMs: 0, deadlineMs: 30_000, promise: 0 }
  const made = pendingEntry(
    row,
    { sponsor, account, type: 'iot', sizeBytes: 100 },
    { nowMs: () => 0, elapsedMs: () => 0 },
  )
  return Object.assign(made, { isDeferred, handedMs: 0, judgedMs: Number.NEGATIVE_INFINITY })
}

describe('whose rules are tried', () => {
  test('another sponsor’s is not held up by all that one has waiting', () => {
    const flood = Array.from({ length: 5_000 }, (_, i) => entry('flood', `sybil ${i % 500}`, true))
    const honest = entry('clinic', 'patient')
    const turns = judgingTurns([...flood, honest], resubmitAfterMs)
    expect(turns.size).toBe(judgedMax)
    expect(turns.get(honest)).toEqual({ mayRefuse: true })
  })

  test('all of it has its turn, look after look', () => {
    const flood = Array.from({ length: 1_000 }, (_, i) => entry('flood', `sybil ${i}`))
    const tried = new Set<PendingEntry>()
    for (let nowMs = refusalAfterMs; nowMs < refusalAfterMs + 4 * 250; nowMs += 250) {
      for (const one of judgingTurns(flood, nowMs).keys()) {
        one.judgedMs = nowMs
        tried.add(one)
      }
    }
    // The first ones came twice.
    expect(tried.size).toBeGreaterThan(2 * judgedMax)
  })

  test('and so has all that an account has waiting for what never comes', () => {
    const flood = Array.from({ length: 1_000 }, (_, i) => entry('flood', `sybil ${i % 100}`, true))
    const tried = new Set<PendingEntry>()
    for (let nowMs = resubmitAfterMs; nowMs < resubmitAfterMs + 4 * 250; nowMs += 250) {
      for (const one of judgingTurns(flood, nowMs).keys()) {
        one.judgedMs = nowMs
        tried.add(one)
      }
    }
    expect(tried.size).toBe(flood.length)
  })

  test('of an account only the oldest open one that is not deferred, and nothing that was just handed over or tried', () => {
    const [first, second, lacking] = [entry('s', 'a'), entry('s', 'a'), entry('s', 'b', true)]
    expect([...judgingTurns([first, second, lacking], refusalAfterMs - 1).keys()]).toEqual([])
    expect([...judgingTurns([first, second, lacking], refusalAfterMs).keys()]).toEqual([first, lacking])
    first.judgedMs = refusalAfterMs
    expect([...judgingTurns([first, second, lacking], refusalAfterMs + 399).keys()]).toEqual([lacking])
    first.appliedIndex = 7
    expect([...judgingTurns([first, second], refusalAfterMs).keys()]).toEqual([second])
  })
})
