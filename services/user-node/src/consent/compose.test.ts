import type { HeldNodes } from '@healthblock/crypto/hot-store'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { mergeHeld, sortHeld } from './compose.ts'

const heldList = fc.uniqueArray(
  fc.record({ stream: fc.integer({ min: 0, max: 5 }), generation: fc.integer({ min: 0, max: 5 }) }),
  { selector: ({ stream, generation }) => `${stream}/${generation}` },
)

function heldOf(list: readonly { stream: number; generation: number }[], first: number): HeldNodes[] {
  return list.map(({ stream, generation }) => {
    return { stream: new Uint8Array(8).fill(stream), generation, first, nodes: [] }
  })
}

test('of two lists of held nodes each stream and generation is there once, in order, as the newer list has it', () => {
  fc.assert(
    fc.property(heldList, heldList, (a, b) => {
      const [older, newer] = [heldOf(a, 1), heldOf(b, 2)]
      const isNew = (one: HeldNodes): boolean =>
        newer.some(({ stream, generation }) => stream[0] === one.stream[0] && generation === one.generation)
      const expected = sortHeld([...newer, ...older.filter((one) => !isNew(one))])
      expect(mergeHeld(older, newer)).toEqual(expected)
    }),
  )
})
