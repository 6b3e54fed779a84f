import { describe, expect, it } from 'vitest'
import type { Boundary } from './log-index.ts'
import type { StateLeaf } from './state-tree.ts'
import { MemoryChainStore } from './store.ts'
import { checkChainStore } from './store-conformance.ts'

describe('the conformance check of stores', () => {
  it('passes the store in memory', () => {
    const store = new MemoryChainStore()
    expect(() => checkChainStore(() => store)).not.toThrow()
  })

  it('catches a store that forgets, one that returns an open range, and one that looks up the wrong boundary', () => {
    expect(() => checkChainStore(() => new MemoryChainStore())).toThrow(/head/)
    const open = new MemoryChainStore()
    const { range } = open.leaves
    open.leaves.range = function* (first: Uint8Array, last: Uint8Array): Iterable<StateLeaf> {
      for (const leaf of range.call(open.leaves, first, last)) if (leaf.path !== last) yield leaf
    }
    expect(() => checkChainStore(() => open)).toThrow(/range/)
    const wrong = new MemoryChainStore()
    wrong.index.boundaryAfter = (index: number): Boundary | undefined => wrong.index.boundaryAt(Math.floor(index / 3))
    expect(() => checkChainStore(() => wrong)).toThrow(/boundary/)
  })
})
