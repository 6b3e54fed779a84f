import { describe, expect, test } from 'vitest'
import { Sharing } from './sharing.ts'

describe('who shares a chain', () => {
  test('one sponsor alone shares with nobody', () => {
    const sharing = new Sharing()
    sharing.seen('a', 0)
    sharing.waiting(Object.entries({ a: 1_000 }), 30, 0)
    expect(sharing.isShared(0)).toBe(false)
  })

  test('somebody who asks for little beside somebody who asks for much', () => {
    const sharing = new Sharing()
    sharing.seen('clinic', 0)
    sharing.seen('flood', 0)
    sharing.waiting(Object.entries({ flood: 1_000, clinic: 2 }), 30, 0)
    expect(sharing.isShared(0)).toBe(true)
    // The clinic is gone: the other one has the chain for itself.
    sharing.seen('flood', 5_001)
    expect(sharing.isShared(5_001)).toBe(false)
  })

  test('a few that had to wait behind a flood are little, however short blocks are', () => {
    const sharing = new Sharing()
    for (const sponsor of ['clinic', 'flood']) sharing.seen(sponsor, 0)
    sharing.waiting(Object.entries({ flood: 800, clinic: 12 }), 8, 0)
    expect(sharing.isShared(0)).toBe(true)
  })

  test('where all ask for much nobody is helped by short blocks; a while after one of them stops they are short again', () => {
    const sharing = new Sharing()
    for (const sponsor of ['a', 'b']) sharing.seen(sponsor, 0)
    sharing.waiting(Object.entries({ a: 500, b: 200 }), 30, 0)
    expect(sharing.isShared(0)).toBe(false)
    for (const sponsor of ['a', 'b']) sharing.seen(sponsor, 5_001)
    sharing.waiting(Object.entries({ a: 500 }), 30, 5_001)
    expect(sharing.isShared(5_001)).toBe(true)
  })
})
