import { expect, test } from 'vitest'
import { RefusalLimit } from './refusal-limit.ts'

test('an address that has much refused waits; others do not, and it is let in again after its time', () => {
  let now = 0
  const limit = new RefusalLimit(() => now)
  for (let n = 0; n < 32; n++) {
    limit.check('stranger')
    limit.count('stranger', 256)
  }
  const exceeded = { detail: { code: 'ERR_SHARE_EXCEEDED', limit: 'refusals of an address' } }
  expect(() => limit.check('stranger')).toThrow(
    expect.objectContaining({ detail: expect.objectContaining(exceeded.detail) }),
  )
  limit.check('home')
  limit.count('home', 0)
  now += 1_000
  limit.check('stranger')
  limit.count('stranger', 256)
  expect(() => limit.check('stranger')).toThrow(/refused/)
  now += 60_000
  for (let n = 0; n < 32; n++) {
    limit.check('stranger')
    limit.count('stranger', 256)
  }
  expect(() => limit.check('stranger')).toThrow(/refused/)
})
