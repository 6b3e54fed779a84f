import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Member } from '../access/members.ts'
import { hashBlock } from '../store/block-id.ts'
import { rankMembers } from './placement.ts'

function members(count: number): Member[] {
  return Array.from({ length: count }, (_, index) => {
    const account = hashBlock(new Uint8Array([index]))
    return { account, storeKey: account, peerId: String(index), url: '', addresses: [] }
  })
}

test('the order depends on the block and the set of members alone', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.integer({ min: 1, max: 12 }), (digest, count) => {
      const list = members(count)
      const order = rankMembers(digest, list).map((member) => member.peerId)
      expect(rankMembers(digest, [...list].reverse()).map((member) => member.peerId)).toEqual(order)
      expect(new Set(order).size).toBe(count)
    }),
  )
})

test('a member that goes leaves the order of the others as it was', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.integer({ min: 0, max: 6 }), (digest, gone) => {
      const list = members(7)
      const order = rankMembers(digest, list)
      const without = rankMembers(
        digest,
        list.filter((_, index) => index !== gone),
      )
      expect(without).toEqual(order.filter((member) => member.peerId !== String(gone)))
    }),
  )
})

test('blocks are spread evenly', () => {
  const list = members(5)
  const firsts = new Map<string, number>()
  for (let index = 0; index < 2000; index++) {
    const [first] = rankMembers(hashBlock(new Uint8Array([index & 255, index >> 8])), list)
    firsts.set(first?.peerId ?? '', (firsts.get(first?.peerId ?? '') ?? 0) + 1)
  }
  // 400 each on average; five standard deviations are 90.
  for (const count of firsts.values()) expect(Math.abs(count - 400)).toBeLessThan(90)
})
