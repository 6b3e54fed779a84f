import { encodeCbor } from '@healthblock/encoding/cbor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  emptyStateRoot,
  MemoryLeafStore,
  rebuildRoot,
  StateTree,
  stateLeaf,
  statePath,
  verifyStateProof,
} from './state-tree.ts'

const keyOf = (n: number) => encodeCbor(['test', n])

function treeOf(entries: ReadonlyMap<number, number>) {
  const store = new MemoryLeafStore()
  const tree = new StateTree(store)
  set(store, tree, entries)
  return { store, tree }
}

function set(store: MemoryLeafStore, tree: StateTree, entries: ReadonlyMap<number, number>) {
  const changes = Array.from(entries, ([key, value]) => ({ key: keyOf(key), value: encodeCbor(value) }))
  const pending = tree.rootAfter(changes)
  store.apply(pending.leaves)
  tree.commit(pending)
  return pending
}

const dump = (entries: ReadonlyMap<number, number>) =>
  Array.from(entries, ([key, value]) => ({ key: keyOf(key), value: encodeCbor(value) }))

function provesAll(tree: StateTree, entries: ReadonlyMap<number, number>, absent: readonly number[]) {
  for (const [key, value] of entries) {
    verifyStateProof({ key: keyOf(key), value: encodeCbor(value), proof: tree.prove(keyOf(key)), root: tree.root })
  }
  for (const key of absent) {
    if (entries.has(key)) continue
    verifyStateProof({ key: keyOf(key), value: undefined, proof: tree.prove(keyOf(key)), root: tree.root })
  }
}

describe('the state tree', () => {
  it('has the roots of SPEC.md §5 for none, one and two leaves', () => {
    const { tree } = treeOf(new Map())
    expect(tree.root).toEqual(emptyStateRoot)
    const one = stateLeaf(keyOf(1), encodeCbor(7))
    expect(treeOf(new Map([[1, 7]])).tree.root).toEqual(one.hash)
    expect(rebuildRoot([])).toEqual(emptyStateRoot)
  })

  it('equals a rebuild after any sequence of batches, proves presence and absence, and opens to the same root', () => {
    const batches = fc.array(fc.array(fc.tuple(fc.nat(60), fc.nat(1000)), { maxLength: 20 }), { maxLength: 8 })
    fc.assert(
      fc.property(batches, (all) => {
        const { store, tree } = treeOf(new Map())
        const entries = new Map<number, number>()
        for (const batch of all) {
          for (const [key, value] of batch) entries.set(key, value)
          const pending = set(store, tree, new Map(batch))
          expect(tree.root).toEqual(pending.root)
          expect(tree.root).toEqual(rebuildRoot(dump(entries)))
        }
        provesAll(tree, entries, [0, 17, 100, 101, 102])
        expect(new StateTree(store).root).toEqual(tree.root)
      }),
      { numRuns: 60 },
    )
  })

  it('keeps its root when it outgrows its levels', () => {
    const entries = new Map<number, number>()
    const { store, tree } = treeOf(entries)
    for (let round = 0; round < 5; round++) {
      const batch = new Map(Array.from({ length: 1500 }, (_, i) => [round * 1400 + i, round] as const))
      for (const [key, value] of batch) entries.set(key, value)
      set(store, tree, batch)
      expect(tree.root).toEqual(rebuildRoot(dump(entries)))
    }
    expect(tree.leafCount).toBe(entries.size)
    provesAll(tree, new Map([...entries].filter(([key]) => key % 97 === 0)), [1_000_000, 1_000_001])
  })

  it('computes without changing anything, and refuses what another commit overtook', () => {
    const { store, tree } = treeOf(new Map([[1, 1]]))
    const root = tree.root
    const first = tree.rootAfter(dump(new Map([[2, 2]])))
    const second = tree.rootAfter(dump(new Map([[3, 3]])))
    expect(tree.root).toEqual(root)
    store.apply(first.leaves)
    tree.commit(first)
    expect(() => tree.commit(second)).toThrow(expect.objectContaining({ detail: { code: 'ERR_BLOCK_NOT_NEXT' } }))
    expect(tree.root).toEqual(first.root)
  })

  it('refuses a stored leaf that is not what its key and value say', () => {
    const store = new MemoryLeafStore()
    store.apply([{ ...stateLeaf(keyOf(1), encodeCbor(1)), value: encodeCbor(2) }])
    expect(() => new StateTree(store)).toThrow(expect.objectContaining({ detail: { code: 'ERR_STATE_CORRUPT' } }))
  })
})

describe('state proofs', () => {
  const entries = new Map(Array.from({ length: 40 }, (_, i) => [i, i] as const))
  const { tree } = treeOf(entries)
  const invalid = expect.objectContaining({ detail: { code: 'ERR_STATE_PROOF_INVALID' } })

  it('show neither another value, nor absence of what is there, nor presence of what is not', () => {
    const proof = tree.prove(keyOf(3))
    const check = { key: keyOf(3), proof, root: tree.root }
    verifyStateProof({ ...check, value: encodeCbor(3) })
    expect(() => verifyStateProof({ ...check, value: encodeCbor(4) })).toThrow(invalid)
    expect(() => verifyStateProof({ ...check, value: undefined })).toThrow(invalid)
    const absent = { key: keyOf(99), proof: tree.prove(keyOf(99)), root: tree.root }
    expect(() => verifyStateProof({ ...absent, value: encodeCbor(1) })).toThrow(invalid)
    // Somebody else's path does not show absence here.
    const other = [...entries.keys()].find(
      (key) => ((statePath(keyOf(key))[0] ?? 0) ^ (statePath(keyOf(3))[0] ?? 0)) > 127,
    )
    expect(() => verifyStateProof({ ...check, key: keyOf(other ?? 0), value: undefined })).toThrow(invalid)
  })

  it('fail with any bit of them flipped, a sibling more or one less', () => {
    const check = { key: keyOf(5), value: encodeCbor(5), root: tree.root }
    const { siblings, leaf } = tree.prove(keyOf(5))
    if (leaf === undefined) throw new Error('no leaf')
    for (const [at, sibling] of siblings.entries()) {
      const bad = siblings.with(at, sibling.with(at % 32, (sibling[at % 32] ?? 0) ^ 1))
      expect(() => verifyStateProof({ ...check, proof: { siblings: bad, leaf } })).toThrow(invalid)
    }
    const flipped = { ...leaf, valueHash: leaf.valueHash.with(0, (leaf.valueHash[0] ?? 0) ^ 1) }
    expect(() => verifyStateProof({ ...check, proof: { siblings, leaf: flipped } })).toThrow(invalid)
    expect(() => verifyStateProof({ ...check, proof: { siblings: siblings.slice(1), leaf } })).toThrow(invalid)
    const more = [...siblings, new Uint8Array(32)]
    expect(() => verifyStateProof({ ...check, proof: { siblings: more, leaf } })).toThrow(invalid)
    const many = Array.from({ length: 257 }, () => new Uint8Array(32))
    expect(() => verifyStateProof({ ...check, proof: { siblings: many, leaf } })).toThrow(invalid)
  })
})
