import { expect, test } from 'vitest'
import { FairShare } from './fair-share.ts'

const [alice, bob, carol] = [1, 2, 3].map((byte) => new Uint8Array(32).fill(byte)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
]

test('one account alone has half of it, all together have all, and what is given back can be had again', () => {
  const share = new FairShare(10)
  expect([share.take(alice, 4), share.take(alice, 1), share.take(alice, 1)]).toEqual([true, true, false])
  expect([share.take(bob, 3), share.take(carol, 3), share.take(carol, 2), share.take(bob, 1)]).toEqual([
    true,
    false,
    true,
    false,
  ])
  share.give(alice, 5)
  expect([share.has(alice, 6), share.has(alice, 5), share.has(bob, 2), share.has(bob, 3)]).toEqual([
    false,
    true,
    true,
    false,
  ])
  share.give(bob, 3)
  share.give(carol, 2)
  expect([share.take(carol, 5), share.take(alice, 5)]).toEqual([true, true])
})
