import { describe, expect, test } from 'vitest'
import type { Owner } from '../core/owners.ts'
import { Shares } from './shares.ts'

const many = (count: number, owner: (i: number) => Owner): Owner[] => Array.from({ length: count }, (_, i) => owner(i))
const limit = 1_000

describe('shares of a gateway', () => {
  test('nobody has one while there is room', () => {
    const shares = new Shares()
    const mine = many(200, () => ({ account: 'a', sponsor: 's' }))
    for (const owner of mine) shares.add(owner)
    expect(shares.exceeded(mine.slice(0, 40), { pending: 200, limit })).toBeUndefined()
  })

  test('an account that floods leaves room for others, also of its sponsor', () => {
    const shares = new Shares()
    const flood = many(100, () => ({ account: 'a', sponsor: 's' }))
    for (const owner of [...flood, ...many(200, (i) => ({ account: `b${i}`, sponsor: 's' }))]) shares.add(owner)
    const at = { pending: 300, limit }
    expect(shares.exceeded(flood, at)).toBe('account')
    expect(shares.exceeded([{ account: 'c', sponsor: 's' }], at)).toBeUndefined()
    // What was committed makes room again.
    for (const owner of flood) shares.remove(owner)
    expect(shares.exceeded(flood.slice(0, 40), { pending: 200, limit })).toBeUndefined()
  })

  test('a thousand accounts of one sponsor leave room for those of others', () => {
    const shares = new Shares()
    for (const owner of many(500, (i) => ({ account: `sybil${i}`, sponsor: 's' }))) shares.add(owner)
    const at = { pending: 500, limit }
    expect(shares.exceeded([{ account: 'sybil-new', sponsor: 's' }], at)).toBe('sponsor')
    expect(shares.exceeded([{ account: 'patient', sponsor: 't' }], at)).toBeUndefined()
  })

  test('what a sponsor has from before the limit shrank takes nobody’s room', () => {
    const shares = new Shares()
    for (const owner of many(600, (i) => ({ account: `sybil${i}`, sponsor: 's' }))) shares.add(owner)
    expect(shares.counted(limit)).toBe(500)
    expect(shares.counted(256)).toBe(128)
    const at = { pending: shares.counted(256), limit: 256 }
    expect(
      shares.exceeded(
        many(100, () => ({ account: 'patient', sponsor: 't' })),
        at,
      ),
    ).toBeUndefined()
    expect(shares.exceeded([{ account: 'sybil-new', sponsor: 's' }], at)).toBe('sponsor')
  })

  test('who has nothing pending gets one whole submission in', () => {
    const at = { pending: 900, limit }
    expect(
      new Shares().exceeded(
        many(256, () => ({ account: 'a', sponsor: 's' })),
        at,
      ),
    ).toBeUndefined()
  })

  test('a gateway that is full still takes the few of who has next to nothing pending', () => {
    const shares = new Shares()
    for (const owner of many(900, (i) => ({ account: `sybil${i}`, sponsor: 's' }))) shares.add(owner)
    const patient = { account: 'patient', sponsor: 't' }
    // The limit shrank below what is pending.
    const at = { pending: 900, limit: 720 }
    expect(shares.exceeded([patient], at)).toBeUndefined()
    expect(shares.exceeded([{ account: 'sybil-new', sponsor: 's' }], at)).toBe('sponsor')
    const batch = many(256, () => patient)
    expect(shares.exceeded(batch, at)).toBe('pending')
    for (const owner of batch) shares.add(owner)
    expect(shares.exceeded([{ account: 'other', sponsor: 't' }], { pending: 1_156, limit: 720 })).toBe('pending')
    expect(shares.exceeded([{ account: 'c', sponsor: 'u' }], { pending: 1_440, limit: 720 })).toBe('pending')
  })
})
