import type { SequenceRange } from '@healthblock/chain/transaction'
import { equalBytes } from '@healthblock/encoding/bytes'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { withoutRanges } from './erased-ranges.ts'

const [stream, other] = [new Uint8Array(8).fill(1), new Uint8Array(8).fill(2)]

test('what is left of a range is what no other range of its stream holds, in order and without an overlap', () => {
  const bounds = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 12 }))
  const taken = fc.array(fc.tuple(bounds, fc.boolean()), { maxLength: 8 })
  fc.assert(
    fc.property(bounds, taken, ([from, more], others) => {
      const ranges = others.map(
        ([[first, length], isOwn]): SequenceRange => [isOwn ? stream : other, first, first + length],
      )
      const left = withoutRanges([stream, from, from + more], ranges)
      const numbers = left.flatMap(([of, first, last]) => {
        expect(equalBytes(of, stream) && first <= last).toBe(true)
        return Array.from({ length: last - first + 1 }, (_, i) => first + i)
      })
      const expected = Array.from({ length: more + 1 }, (_, i) => from + i).filter(
        (n) => !ranges.some(([of, first, last]) => of === stream && first <= n && n <= last),
      )
      expect(numbers).toEqual(expected)
    }),
  )
})
