import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rebuildRoot, StateTree, stateLeaf, statePath } from '@healthblock/chain/state-tree'
import { type ChainChanges, type ChainStore, MemoryChainStore } from '@healthblock/chain/store'
import { checkChainStore } from '@healthblock/chain/store-conformance'
import { sha256 } from '@healthblock/crypto/hash'
import { compareBytes } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BatchedChainStore } from './batched-store.ts'
import { openChainStore, type SqliteChainStore } from './ledger-stores.ts'

let dir: string
const open: SqliteChainStore[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-stores-'))
})
afterEach(() => {
  for (const store of open.splice(0)) store.close()
  rmSync(dir, { recursive: true, force: true })
})

function sqlite(name = 'state.db', options: { isReplayed?: boolean; isThrownAway?: boolean } = {}): SqliteChainStore {
  const store = openChainStore({ path: join(dir, name), ...options })
  open.push(store)
  return store
}

const keyOf = (n: number): Uint8Array => encodeCbor(['test', n])
const id = (n: number): Uint8Array => sha256(encodeCbor(['id', n]))
const patient = id(1_000_000)
const stream = id(7).slice(0, 8)
const first = new Uint8Array(32)
const last = new Uint8Array(32).fill(255)
/** One that every block sets. */
const anyLeaf = statePath(keyOf(0))

/** The block of a height: it sets `count` keys, every third one again, and adds one record and two transactions. */
function changesOf(height: number, count = 5): ChainChanges {
  const numbers = Array.from({ length: count }, (_, i) => (i % 3 === 0 ? i : height * 1000 + i))
  const leaves = [...new Set(numbers)].map((n) => stateLeaf(keyOf(n), encodeCbor([height, n])))
  leaves.sort((a, b) => compareBytes(a.path, b.path))
  const size = (height + 1) * 3
  const boundary = { size, height, root: id(size), ms: 1000 + height, wakes: height % 4 === 0 }
  return {
    leaves,
    index: {
      transactions: [0, 1].map((i) => ({ id: id(height * 2 + i), index: size - 3 + i })),
      records: [
        { patient, stream, sequence: height + 1, entry: { index: size - 3, generation: 1, epoch: height, kind: 0 } },
      ],
      boundary: { ...boundary, anchorSize: height * 10 },
    },
    head: encodeCbor(height),
  }
}

/** A store of which a write is under way, a step further after each block. */
function whileWritten(store: BatchedChainStore): ChainStore {
  let steps = store.flushing()
  return {
    leaves: store.leaves,
    index: store.index,
    head: () => store.head(),
    apply: (changes) => {
      store.apply(changes)
      if (steps.next().done === true) steps = store.flushing()
    },
  }
}

describe.each<[string, () => ChainStore]>([
  ['MemoryChainStore', () => new MemoryChainStore()],
  ['SqliteChainStore', () => sqlite()],
  ['SqliteChainStore of a replay', () => sqlite('replayed.db', { isReplayed: true, isThrownAway: true })],
  ['BatchedChainStore', () => new BatchedChainStore(sqlite())],
  ['BatchedChainStore that is written in steps', () => whileWritten(new BatchedChainStore(sqlite()))],
])('the promises of ChainStore: %s', (_name, create) => {
  it('is empty at first', () => {
    const store = create()
    expect(store.head()).toBeUndefined()
    expect(store.leaves.count()).toBe(0)
    expect([...store.leaves.range(first, last)]).toEqual([])
    expect(store.leaves.get(statePath(keyOf(1)))).toBeUndefined()
    expect(store.index.boundaryAt(0)).toBeUndefined()
    expect(store.index.newestWake(100)).toBeUndefined()
    expect(store.index.firstAnchoredBeyond(0)).toBeUndefined()
  })

  it('gives back leaves, one by one and in order', () => {
    const store = create()
    for (let height = 0; height < 4; height++) store.apply(changesOf(height, 400))
    const expected = new Map<string, unknown>()
    for (let height = 0; height < 4; height++)
      for (const leaf of changesOf(height, 400).leaves) expected.set(String(leaf.path), leaf)
    const all = [...store.leaves.range(first, last)]
    expect(all).toHaveLength(expected.size)
    expect(store.leaves.count()).toBe(expected.size)
    for (const [i, leaf] of all.entries()) {
      expect({ ...leaf }).toEqual(expected.get(String(leaf.path)))
      if (i > 0) expect(compareBytes(all[i - 1]?.path as Uint8Array, leaf.path)).toBeLessThan(0)
    }
    const part = all.slice(100, 701)
    const [from, to] = [part[0]?.path as Uint8Array, part.at(-1)?.path as Uint8Array]
    expect([...store.leaves.range(from, to)]).toEqual(part)
    expect([...store.leaves.range(to, from)]).toEqual([])
    expect(store.leaves.get(from)?.value).toEqual(part[0]?.value)
  })

  it('answers every question of the log index', () => {
    const store = create()
    for (let height = 0; height < 10; height++) store.apply(changesOf(height))
    const boundary = (height: number): unknown => changesOf(height).index.boundary
    expect(store.head()).toEqual(encodeCbor(9))
    expect(store.index.find(id(7))).toBe(10)
    expect(store.index.find(id(99))).toBeUndefined()
    expect(store.index.record(patient, stream, 4)).toEqual({ index: 9, generation: 1, epoch: 3, kind: 0 })
    expect(store.index.record(patient, stream, 11)).toBeUndefined()
    expect(store.index.record(stream, patient, 4)).toBeUndefined()
    expect(store.index.boundary(6)).toEqual(boundary(1))
    expect(store.index.boundary(7)).toBeUndefined()
    expect(store.index.boundaryAfter(5)).toEqual(boundary(1))
    expect(store.index.boundaryAfter(6)).toEqual(boundary(2))
    expect(store.index.boundaryAfter(30)).toBeUndefined()
    expect(store.index.boundaryAt(4)).toEqual(boundary(4))
    expect([
      store.index.newestWake(2),
      store.index.newestWake(3),
      store.index.newestWake(26),
      store.index.newestWake(99),
    ]).toEqual([undefined, 3, 15, 27])
    expect(store.index.firstAnchoredBeyond(9)).toEqual(boundary(1))
    expect(store.index.firstAnchoredBeyond(10)).toEqual(boundary(2))
    expect(store.index.firstAnchoredBeyond(90)).toBeUndefined()
  })

  it('finds a transaction once it is applied, though it was asked for before', () => {
    const store = create()
    store.apply(changesOf(0))
    const next = changesOf(1)
    for (const { id: ahead } of next.index.transactions) expect(store.index.find(ahead)).toBeUndefined()
    store.apply(next)
    for (const { id: applied, index } of next.index.transactions) expect(store.index.find(applied)).toBe(index)
  })

  it('carries a tree that equals a rebuild', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.tuple(fc.nat(200), fc.nat(1000)), { maxLength: 40 }), { maxLength: 6 }),
        (batches) => {
          const store = create()
          const entries = new Map<number, number>()
          for (const kept of [...store.leaves.range(first, last)]) expect.unreachable(String(kept))
          const tree = new StateTree(store.leaves)
          for (const [height, batch] of batches.entries()) {
            const changes = new Map(batch)
            for (const [key, value] of changes) entries.set(key, value)
            const pending = tree.rootAfter(
              [...changes].map(([key, value]) => ({ key: keyOf(key), value: encodeCbor(value) })),
            )
            store.apply({ ...changesOf(height), leaves: pending.leaves })
            tree.commit(pending)
          }
          const dump = [...entries].map(([key, value]) => ({ key: keyOf(key), value: encodeCbor(value) }))
          expect(tree.root).toEqual(rebuildRoot(dump))
          expect(new StateTree(store.leaves).root).toEqual(tree.root)
          if (open.length > 0) {
            open.pop()?.close()
            rmSync(dir, { recursive: true, force: true })
            dir = mkdtempSync(join(tmpdir(), 'hb-stores-'))
          }
        },
      ),
      { numRuns: 15 },
    )
  })
})

describe('SqliteChainStore', () => {
  it('holds after opening again exactly what was applied', () => {
    const store = sqlite()
    for (let height = 0; height < 3; height++) store.apply(changesOf(height, 50))
    const leaves = [...store.leaves.range(first, last)]
    store.close()
    const again = sqlite()
    expect(again.head()).toEqual(encodeCbor(2))
    expect([...again.leaves.range(first, last)]).toEqual(leaves)
    expect(again.leaves.count()).toBe(leaves.length)
  })

  it('applies a block whole or not at all', () => {
    const store = sqlite()
    store.apply(changesOf(0))
    const before = [...store.leaves.range(first, last)]
    // The boundary's height is on record already: the last step of the transaction fails.
    const twice = { ...changesOf(1), index: { ...changesOf(1).index, boundary: changesOf(0).index.boundary } }
    expect(() => store.apply(twice)).toThrow()
    store.close()
    const again = sqlite()
    expect([...again.leaves.range(first, last)]).toEqual(before)
    expect(again.index.find(id(2))).toBeUndefined()
    expect(again.head()).toEqual(encodeCbor(0))
  })
})

describe('BatchedChainStore', () => {
  it('answers as the store in memory does, whenever it is flushed or opened again', () => {
    let base = sqlite()
    let flushed: BatchedChainStore | undefined
    checkChainStore(() => {
      flushed?.flush()
      base.close()
      base = sqlite()
      flushed = new BatchedChainStore(base, { nowMs: () => 0 })
      return flushed
    })
  })

  it('leaves in the file whole blocks, the oldest ones, when it is lost', () => {
    const base = sqlite()
    const store = new BatchedChainStore(base, { nowMs: () => 0 })
    for (let height = 0; height < 3; height++) store.apply(changesOf(height))
    store.flush()
    const leaves = [...store.leaves.range(first, last)]
    for (let height = 3; height < 6; height++) store.apply(changesOf(height))
    expect(store.index.find(id(8))).toBe(12)
    base.close()
    const again = new BatchedChainStore(sqlite(), { nowMs: () => 0 })
    expect(again.head()).toEqual(encodeCbor(2))
    expect([...again.leaves.range(first, last)]).toEqual(leaves)
    expect(again.index.find(id(4))).toBe(6)
    expect(again.index.find(id(8))).toBeUndefined()
    again.apply(changesOf(3))
    again.flush()
    expect(again.head()).toEqual(encodeCbor(3))
    expect(again.index.find(id(4))).toBe(6)
  })

  it('writes by itself when much waits', () => {
    const base = sqlite()
    const store = new BatchedChainStore(base, { nowMs: () => 0 })
    const transactions = Array.from({ length: 5000 }, (_, i) => ({ id: id(100_000 + i), index: i }))
    for (let height = 0; height < 2; height++) {
      const changes = changesOf(height)
      store.apply({ ...changes, index: { ...changes.index, transactions: height === 0 ? transactions : [] } })
    }
    expect(base.head()).toBeUndefined()
    store.apply({
      ...changesOf(2),
      index: {
        ...changesOf(2).index,
        transactions: transactions.map(({ id: one, index }) => ({ id: sha256(one), index })),
      },
    })
    expect(base.head()).toEqual(encodeCbor(2))
    expect(base.index.find(id(100_003))).toBe(3)
  })

  it('never writes ahead of the file that its own may rest on', () => {
    const [base, other] = [sqlite(), sqlite('other.db')]
    const before = new BatchedChainStore(other, { nowMs: () => 0 })
    const store = new BatchedChainStore(base, { nowMs: () => 0, before: () => before })
    store.flush()
    before.apply(changesOf(0, 200))
    store.apply(changesOf(0, 200))
    const steps = store.flushing()
    while (steps.next().done !== true) if (base.leaves.get(anyLeaf)) expect(other.head()).toEqual(encodeCbor(0))
    expect([other.head(), base.head()]).toEqual([encodeCbor(0), encodeCbor(0)])
    before.apply(changesOf(1))
    store.flush()
    expect(other.head()).toEqual(encodeCbor(0))
  })

  it('answers the same at each step of a write, while further blocks come, and has all of it in the file in the end', () => {
    const base = sqlite()
    const store = new BatchedChainStore(base, { nowMs: () => 0 })
    const memory = new MemoryChainStore()
    const applyBoth = (height: number) => {
      store.apply(changesOf(height, 200))
      memory.apply(changesOf(height, 200))
    }
    for (let height = 0; height < 4; height++) applyBoth(height)
    let stepCount = 0
    for (const _ of store.flushing()) {
      if (stepCount < 6) applyBoth(4 + stepCount)
      stepCount++
      expect([...store.leaves.range(first, last)].map(({ path, value }) => [path, value])).toEqual(
        [...memory.leaves.range(first, last)].map(({ path, value }) => [path, value]),
      )
      for (let height = 0; height < 12; height++) {
        expect(store.index.find(id(2 * height))).toBe(memory.index.find(id(2 * height)))
        expect(store.index.record(patient, stream, height)).toEqual(memory.index.record(patient, stream, height))
        expect(store.index.boundary(3 * height)).toEqual(memory.index.boundary(3 * height))
        expect(store.index.boundaryAt(height)).toEqual(memory.index.boundaryAt(height))
        expect(store.index.boundaryAfter(3 * height + 1)).toEqual(memory.index.boundaryAfter(3 * height + 1))
        expect(store.index.newestWake(3 * height)).toBe(memory.index.newestWake(3 * height))
        expect(store.index.firstAnchoredBeyond(10 * height)).toEqual(memory.index.firstAnchoredBeyond(10 * height))
      }
      expect(store.head()).toEqual(memory.head())
    }
    expect(stepCount).toBeGreaterThan(10)
    expect(base.head()).toEqual(encodeCbor(3))
    expect(store.leaves.count()).toBe(memory.leaves.count())
    expect(base.head()).toEqual(memory.head())
  })

  it('loses no block of the file when it is lost within a write', () => {
    const base = sqlite()
    const store = new BatchedChainStore(base, { nowMs: () => 0 })
    store.apply(changesOf(0))
    store.flush()
    const leaves = [...store.leaves.range(first, last)]
    store.apply(changesOf(1, 300))
    const steps = store.flushing()
    for (let i = 0; i < 5; i++) steps.next()
    base.close()
    const again = sqlite()
    expect(again.head()).toEqual(encodeCbor(0))
    expect([...again.leaves.range(first, last)]).toEqual(leaves)
  })

  it('writes between turns of the event loop, and `flush` does what is left', async () => {
    const base = sqlite()
    const store = new BatchedChainStore(base, { nowMs: () => 0, transactionsMax: 6, pieceMs: 0 })
    for (let height = 0; height < 2; height++) store.apply(changesOf(height, 300))
    expect(base.head()).toBeUndefined()
    while (base.head() === undefined) await new Promise((resolve) => setImmediate(resolve))
    expect(base.head()).toEqual(encodeCbor(1))
    for (let height = 2; height < 4; height++) store.apply(changesOf(height, 300))
    await new Promise((resolve) => setImmediate(resolve))
    store.flush()
    expect(base.head()).toEqual(encodeCbor(3))
    // Twice as much as is written at a time: at once.
    for (let height = 4; height < 8; height++) store.apply(changesOf(height))
    expect(base.head()).toEqual(encodeCbor(7))
  })

  it('says at the next block that a write failed, and what it answers is still right', async () => {
    const base = sqlite()
    const store = new BatchedChainStore(base, { nowMs: () => 0, transactionsMax: 6, pieceMs: 0 })
    store.apply(changesOf(0))
    const twice = { ...changesOf(1), index: { ...changesOf(1).index, boundary: changesOf(0).index.boundary } }
    store.apply(twice)
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(base.head()).toBeUndefined()
    expect(store.index.find(id(3))).toBe(4)
    expect(store.head()).toEqual(encodeCbor(1))
    expect(() => store.apply(changesOf(2))).toThrow()
    expect(() => store.flush()).toThrow()
  })

  it('writes what has waited for a second', () => {
    let nowMs = 0
    const base = sqlite()
    const store = new BatchedChainStore(base, { nowMs: () => nowMs })
    store.apply(changesOf(0))
    nowMs = 999
    store.apply(changesOf(1))
    expect(base.head()).toBeUndefined()
    nowMs = 1000
    store.apply(changesOf(2))
    expect(base.head()).toEqual(encodeCbor(2))
  })
})
