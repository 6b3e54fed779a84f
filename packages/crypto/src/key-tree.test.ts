import { toHex } from '@healthblock/encoding/bytes'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { coverOfLeaves, deriveNodeWith, epochKeyWith, leavesUnder } from './inner/key-tree.ts'
import {
  coverRange,
  deriveNode,
  epochKeyFrom,
  leavesMax,
  newStreamRoot,
  reachesEpoch,
  restrictNodes,
  shredNodes,
  type TreeNode,
  wipeNodes,
} from './key-tree.ts'
import { provider as native } from './provider/native.ts'
import { provider as noble } from './provider/noble.ts'

const code = (wanted: string) => expect.objectContaining({ detail: expect.objectContaining({ code: wanted }) })
const first = 480_000
const epochKey = (nodes: readonly TreeNode[], epoch: number) => toHex(epochKeyFrom({ nodes, first, epoch }))

/** Half-open ranges of leaves, near the edges as often as anywhere. */
const range = fc
  .tuple(fc.oneof(fc.nat(40), fc.nat(leavesMax - 1)), fc.oneof(fc.nat(40), fc.nat(leavesMax - 1)))
  .map(([a, b]) => ({ from: Math.min(a, b), until: Math.max(a, b) + 1 }))

describe('covers', () => {
  test('have exactly the leaves asked for, in order, in at most 38 nodes', () => {
    fc.assert(
      fc.property(range, ({ from, until }) => {
        const cover = coverOfLeaves(from, until)
        expect(cover.length).toBeLessThanOrEqual(38)
        let at = from
        for (const position of cover) {
          expect(leavesUnder(position).from).toBe(at)
          at = leavesUnder(position).until
        }
        expect(at).toBe(until)
      }),
    )
  })

  test('are minimal: no two neighbours are siblings', () => {
    fc.assert(
      fc.property(range, ({ from, until }) => {
        const cover = coverOfLeaves(from, until)
        for (const [i, a] of cover.entries()) {
          const b = cover[i + 1]
          if (b !== undefined) expect(a.depth === b.depth && a.index % 2 === 0 && b.index === a.index + 1).toBe(false)
        }
      }),
    )
  })

  test('without end is one node from leaf 0 on; 90 days of hours from leaf 0 are four', () => {
    expect(coverRange({ first, from: first })).toEqual([{ depth: 0, index: 0 }])
    expect(coverRange({ first, from: first, until: first + 90 * 24 })).toHaveLength(4)
    expect(coverRange({ first, from: 0, until: first })).toEqual([])
    expect(coverRange({ first, from: 0, until: first + 1 })).toEqual([{ depth: 20, index: 0 }])
  })
})

test('a doctor granted [a, b] opens a and b, and fails at a-1 and b+1', () => {
  fc.assert(
    fc.property(range, ({ from, until }) => {
      const root = newStreamRoot()
      const nodes = restrictNodes([root], { first, from: first + from, until: first + until })
      const [a, b] = [first + from, first + until - 1]
      for (const epoch of [a, b]) {
        expect(epochKey(nodes, epoch)).toBe(epochKey([root], epoch))
        expect(reachesEpoch({ nodes, first, epoch })).toBe(true)
      }
      for (const epoch of [a - 1, b + 1]) {
        expect(() => epochKey(nodes, epoch)).toThrow(code('ERR_EPOCH_OUTSIDE'))
        expect(reachesEpoch({ nodes, first, epoch })).toBe(false)
      }
    }),
    { numRuns: 50 },
  )
})

test('what is destroyed is gone, the rest stays', () => {
  fc.assert(
    fc.property(range, range, fc.nat(leavesMax - 1), (gone, again, at) => {
      const root = newStreamRoot()
      const shred = (nodes: TreeNode[], r: typeof gone) =>
        shredNodes(nodes, { first, from: first + r.from, until: first + r.until })
      const nodes = shred(shred([root], gone), again)
      const isGone = (leaf: number) => [gone, again].some((r) => r.from <= leaf && leaf < r.until)
      for (const leaf of [at, gone.from, gone.until - 1, gone.from - 1, gone.until, again.from, again.until]) {
        if (leaf < 0 || leaf >= leavesMax) continue
        if (isGone(leaf)) expect(() => epochKey(nodes, first + leaf)).toThrow(code('ERR_EPOCH_OUTSIDE'))
        else expect(epochKey(nodes, first + leaf)).toBe(epochKey([root], first + leaf))
      }
      for (const node of nodes) {
        const under = leavesUnder(node)
        for (const r of [gone, again]) expect(under.until <= r.from || r.until <= under.from).toBe(true)
      }
    }),
    { numRuns: 50 },
  )
})

test('both providers derive the same keys', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.nat(leavesMax - 1), (key, leaf) => {
      const nodes = [{ depth: 0, index: 0, key }]
      const at = { nodes, first, epoch: first + leaf }
      expect(toHex(epochKeyWith(native, at))).toBe(toHex(epochKeyWith(noble, at)))
    }),
    { numRuns: 20 },
  )
})

test('refuses positions elsewhere and epochs outside', () => {
  const root = newStreamRoot()
  const left = deriveNode(root, { depth: 1, index: 0 })
  for (const position of [
    { depth: 1, index: 1 },
    { depth: 0, index: 0 },
    { depth: 2, index: 2 },
    { depth: 21, index: 0 },
    { depth: 1.5, index: 0 },
    { depth: 2, index: -1 },
  ]) {
    expect(() => deriveNodeWith(native, left, position)).toThrow(code('ERR_ARGUMENT_INVALID'))
  }
  for (const epoch of [first - 1, first + leavesMax, first + 0.5, Number.NaN]) {
    expect(() => epochKey([root], epoch)).toThrow(code('ERR_EPOCH_OUTSIDE'))
  }
  for (const range of [{ from: 0.5 }, { from: first + 0.5 }, { from: first, until: first + 0.5 }]) {
    expect(() => coverRange({ first, ...range })).toThrow(code('ERR_ARGUMENT_INVALID'))
  }
})

test('wiping overwrites the keys', () => {
  const node = newStreamRoot()
  wipeNodes([node])
  expect(node.key).toEqual(new Uint8Array(32))
})
