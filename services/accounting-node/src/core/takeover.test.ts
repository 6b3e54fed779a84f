import { sha256 } from '@healthblock/crypto/hash'
import { describe, expect, it } from 'vitest'
import { chooseStaged } from './takeover.ts'

const rule = { height: 5, quorum: 3, votesMin: 2 }
const block = (name: string): { size: number; root: Uint8Array; blockBytes: Uint8Array } => {
  const blockBytes = new Uint8Array(Buffer.from(name))
  return { size: 10, root: sha256(blockBytes), blockBytes }
}
const report = (rank: number, name: string, term: number, height = 5) => ({
  staged: { height, ...block(name), ack: { rank, term, signature: new Uint8Array(64) } },
})
const nothing = { staged: undefined }
const chosen = (reports: Parameters<typeof chooseStaged>[0]): string | undefined => {
  const found = chooseStaged(reports, rule)
  return found === undefined ? undefined : Buffer.from(found.blockBytes).toString()
}

describe('the block that a new leader proposes again (n = 4, q = 3)', () => {
  it('is none if nothing was staged, or one node alone staged it', () => {
    expect(chosen([nothing, nothing, nothing])).toBeUndefined()
    expect(chosen([nothing, report(1, 'a', 1), nothing])).toBeUndefined()
    expect(chosen([report(0, 'a', 1), report(1, 'b', 2), report(2, 'c', 3)])).toBeUndefined()
  })

  it('is one that two of three staged', () => {
    expect(chosen([report(0, 'a', 1), nothing, report(2, 'a', 1)])).toBe('a')
    expect(chosen([report(0, 'a', 1), report(1, 'b', 2), report(2, 'a', 1)])).toBe('a')
  })

  it('is that of the highest term if two blocks have two each', () => {
    expect(chosen([report(0, 'a', 1), report(1, 'a', 1), report(2, 'b', 2), report(3, 'b', 2)])).toBe('b')
    expect(chosen([report(2, 'b', 1), report(3, 'b', 1), report(0, 'a', 1), report(1, 'a', 3)])).toBe('a')
  })

  it('is one that a quorum staged in one term, whatever else was staged', () => {
    expect(chosen([report(0, 'a', 1), report(1, 'a', 1), report(2, 'a', 1), report(3, 'b', 2)])).toBe('a')
  })

  it('carries the acks of the nodes that staged it', () => {
    const found = chooseStaged([report(0, 'a', 1), report(1, 'b', 2), report(2, 'a', 3)], rule)
    expect(found?.acks.map(({ rank, term }) => [rank, term])).toEqual([
      [0, 1],
      [2, 3],
    ])
  })

  it('is of the next height only', () => {
    expect(chosen([report(0, 'a', 1, 4), report(1, 'a', 1, 4), report(2, 'a', 1, 6)])).toBeUndefined()
  })

  it('is what the one node staged if there is but one', () => {
    const found = chooseStaged([report(0, 'a', 1)], { height: 5, quorum: 1, votesMin: 1 })
    expect(found?.acks).toHaveLength(1)
  })
})
