import { expect, test } from 'vitest'
import { AuditPace } from './audit-pace.ts'

function paceAt() {
  let now = 0
  const pace = new AuditPace(() => now)
  return (atMs: number, done: number, chain: 'userchain' | 'docchain' = 'userchain') => {
    now = atMs
    return pace.take({ chain, done, total: 10_000, transactions: done })
  }
}

test('nothing is said of the pace before there is something to go by', () => {
  const take = paceAt()
  expect(take(0, 256)).toMatchObject({ done: 256, entriesPerSecond: null, secondsLeft: null })
})

test('the pace is that of the last ten seconds, and each chain has its own', () => {
  const take = paceAt()
  take(0, 0)
  expect(take(2_000, 1_000)).toMatchObject({ entriesPerSecond: 500, secondsLeft: 18 })
  for (let second = 3; second <= 20; second++) take(second * 1_000, 1_000 + (second - 2) * 100)
  expect(take(21_000, 2_900)).toMatchObject({ entriesPerSecond: 100, secondsLeft: 71 })
  expect(take(22_000, 256, 'docchain')).toMatchObject({ entriesPerSecond: null, secondsLeft: null })
})

test('a chain that is done leaves no time, however quick it was', () => {
  const take = paceAt()
  expect(take(0, 10_000)).toMatchObject({ secondsLeft: 0 })
})

test('a pace of nothing promises no end', () => {
  const take = paceAt()
  take(0, 100)
  expect(take(5_000, 100)).toMatchObject({ entriesPerSecond: null, secondsLeft: null })
})
