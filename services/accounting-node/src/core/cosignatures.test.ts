import { describe, expect, it } from 'vitest'
import { Cosignatures, type HeldCosignature } from './cosignatures.ts'

const root = new Uint8Array(32)
const keyOf = (rank: number) => new Uint8Array(32).fill(rank + 1)
const policy = { q: 3, cosigners: [0, 1, 2, 3].map(keyOf) }
const held = (rank: number, size: number): HeldCosignature => ({
  ...{ rank, size, root, key: keyOf(rank), time: 1_000 },
  line: `${rank} ${size}\n`,
})

describe('cosignatures', () => {
  it('of one node push out no others', () => {
    const cosignatures = new Cosignatures()
    cosignatures.add(held(0, 10), 5)
    cosignatures.add(held(1, 10), 5)
    for (let size = 11; size < 2_000; size++) cosignatures.add(held(3, size), 5)
    cosignatures.add(held(2, 10), 5)
    expect(cosignatures.over({ size: 10, root }, policy).map(({ rank }) => rank)).toEqual([0, 1, 2])
    expect(cosignatures.has(held(0, 10))).toBe(true)
    expect(cosignatures.has(held(3, 11))).toBe(false)
    expect(cosignatures.has(held(3, 1_999))).toBe(true)
  })

  it('of one node show no size that others have to reach', () => {
    const cosignatures = new Cosignatures()
    expect(cosignatures.sizeSignedBy(1)).toBe(0)
    cosignatures.add(held(3, 2 ** 50), 5)
    cosignatures.add(held(0, 10), 5)
    cosignatures.add(held(1, 8), 5)
    expect([1, 2, 3, 4].map((count) => cosignatures.sizeSignedBy(count))).toEqual([2 ** 50, 10, 8, 0])
  })

  it('are forgotten once a larger size is published, all but the largest of each', () => {
    const cosignatures = new Cosignatures()
    cosignatures.add(held(0, 10), 5)
    cosignatures.add(held(0, 12), 12)
    expect(cosignatures.has(held(0, 10))).toBe(false)
    cosignatures.add(held(1, 11), 12)
    expect(cosignatures.has(held(1, 11))).toBe(false)
    expect(cosignatures.largestOf(1)?.size).toBe(11)
  })
})
