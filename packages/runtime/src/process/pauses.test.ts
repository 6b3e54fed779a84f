import { expect, test } from 'vitest'
import { quarantineMs, Sources } from '../http/sources.ts'
import { createTokenSource } from '../http/token-guard.ts'
import { TryLimit } from '../portal/try-limit.ts'
import { Pauses } from './pauses.ts'

const dayMs = 86_400_000
const trueMs = 1_800_000_000_000

/** A clock that is two days ahead, until it is set right. */
function wrongClock(): { now: () => number; setRight: () => void } {
  let ms = trueMs + 2 * dayMs
  return {
    now: () => ms,
    setRight: () => {
      ms = trueMs
    },
  }
}

test('pauses double up to the longest, each thing for itself, and begin anew after a success', () => {
  let now = 0
  const pauses = new Pauses({ minMs: 10, maxMs: 35 }, () => now)
  expect([pauses.failed('a'), pauses.failed('a'), pauses.failed('a'), pauses.failed('b')]).toEqual([10, 20, 35, 10])
  now = 10
  expect([pauses.isPausing('a'), pauses.isPausing('b'), pauses.isPausing('c')]).toEqual([true, false, false])
  pauses.succeeded('a')
  expect([pauses.isPausing('a'), pauses.failed('a')]).toEqual([false, 10])
})

test('what was put off while the clock was two days ahead is not put off for two days once it is set right', () => {
  const clock = wrongClock()
  const pauses = new Pauses({ minMs: 250, maxMs: 15_000 }, clock.now)
  pauses.failed('upload')
  const sources = new Sources({ urls: ['http://a', 'http://b', 'http://c'], now: clock.now })
  sources.quarantine('http://a', 'another key')
  sources.penalise('http://b')
  expect([pauses.isPausing('upload'), sources.candidates()]).toEqual([true, ['http://c', 'http://b']])
  clock.setRight()
  expect([pauses.isPausing('upload'), sources.candidates()]).toEqual([false, ['http://a', 'http://b', 'http://c']])
  expect(sources.quarantined()).toEqual([])
  sources.quarantine('http://c', 'another key')
  expect(sources.quarantined()).toEqual(['http://c'])
  expect(quarantineMs).toBe(600_000)
})

test('a person who mistyped while the clock was ahead is not barred until then', () => {
  const clock = wrongClock()
  const limit = new TryLimit({ nowMs: clock.now })
  for (let i = 0; i < 5; i++) limit.begin('anna')
  expect(() => limit.begin('anna')).toThrow('too many wrong tries')
  clock.setRight()
  for (let i = 0; i < 5; i++) limit.begin('anna')
  expect(() => limit.begin('anna')).toThrow('in 15 minutes')
})

test('a token that was made while the clock was ahead, and that nobody takes, is made anew', () => {
  const clock = wrongClock()
  const ids = { ledgerId: new Uint8Array(32), account: new Uint8Array(32), keyNumber: 1, scope: 'ledger' } as const
  let signed = 0
  const signingKey = { sign: () => new Uint8Array(64).fill(++signed) }
  const token = createTokenSource({ ...ids, signingKey, now: clock.now })
  const early = token()
  expect([token(), signed]).toEqual([early, 1])
  clock.setRight()
  const late = token()
  expect([token(), signed]).toEqual([late, 2])
})
