import { expect, test } from 'vitest'
import { createSystemClock } from '../adapters/system-clock.ts'
import { Condition } from './mutex.ts'

const clock = createSystemClock()
const never = new AbortController().signal

test('whoever waits for something looks at each change, and is told once it holds', async () => {
  const condition = new Condition()
  let count = 0
  let looks = 0
  const holds = (): boolean => {
    looks++
    return count === 3
  }
  const waiting = condition.until(holds, clock, 60_000, never)
  while (count < 3) {
    const before = looks
    count++
    condition.notify()
    while (looks === before) await Promise.resolve()
  }
  expect(await waiting).toBe(true)
})

test('it is told that it does not hold when its time is over or the signal is aborted', async () => {
  const condition = new Condition()
  expect(await condition.until(() => false, clock, 1, never)).toBe(false)
  const stop = new AbortController()
  const waiting = condition.until(() => false, clock, 60_000, stop.signal)
  stop.abort()
  expect(await waiting).toBe(false)
  expect(await condition.until(() => false, clock, 60_000, stop.signal)).toBe(false)
  expect(await condition.until(() => true, clock, 0, stop.signal)).toBe(true)
})

test('nobody looks any more once the wait is over', async () => {
  const condition = new Condition()
  let looks = 0
  const look = (): boolean => {
    looks++
    return false
  }
  await condition.until(look, clock, 1, never)
  const before = looks
  condition.notify()
  await new Promise((resolve) => setImmediate(resolve))
  expect(looks).toBe(before)
})
