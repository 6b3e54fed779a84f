/** One check for every implementation of `ChainStore`: it must answer as the one in memory does, also after it was opened again. */
import { sha256 } from '@healthblock/crypto/hash'
import { compareBytes, encodeU64, equalBytes } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { ChainError } from '../errors.ts'
import type { Boundary, LogIndex } from './log-index.ts'
import { type StateLeaf, stateLeaf } from './state-tree.ts'
import { type ChainChanges, type ChainStore, MemoryChainStore } from './store.ts'

const blocksCount = 40
const keysCount = 60

/** Bytes that follow from two numbers: the check is the same every time. */
function bytesOf(what: number, n: number, length = 32): Uint8Array {
  return sha256(encodeU64(what), encodeU64(n)).slice(0, length)
}

const streamOf = (n: number) => bytesOf(3, n % 3, 8)
const patient = bytesOf(2, 0)

function changesOf(height: number): ChainChanges {
  const size = 2 + height * 3
  const leaves = Array.from({ length: 5 }, (_, i) => {
    const key = encodeCbor(['test', bytesOf(1, (height * 7 + i * 11) % keysCount)])
    return stateLeaf(key, encodeCbor([height, i]))
  })
  leaves.sort((a, b) => compareBytes(a.path, b.path))
  const boundary: Boundary = {
    size,
    height,
    root: bytesOf(4, height),
    ms: 1_700_000_000_000 + height,
    wakes: height % 5 === 3,
    anchorSize: 2 + Math.floor(height / 4) * 2,
  }
  const records = Array.from({ length: height % 4 }, (_, i) => ({
    patient,
    stream: streamOf(height + i),
    sequence: height * 4 + i + 1,
    entry: { index: size - 2, generation: 1 + (height >> 3), epoch: 472_222 + height, kind: i % 4 },
  }))
  const transactions = [size - 3, size - 2]
    .filter((index) => index >= 0)
    .map((index) => ({ id: bytesOf(5, index), index }))
  return { leaves, index: { transactions, records, boundary }, head: encodeCbor(['head', height]) }
}

function same(a: unknown, b: unknown): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return equalBytes(a, b)
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b
  const names = new Set([...Object.keys(a), ...Object.keys(b)])
  const field = (of: object, name: string) => (of as Readonly<Record<string, unknown>>)[name]
  for (const name of names) if (!same(field(a, name), field(b, name))) return false
  return true
}

function demand(what: string, tested: unknown, reference: unknown): void {
  if (same(tested, reference)) return
  throw new ChainError(`the store answers otherwise than it must: ${what}`, { code: 'ERR_STATE_CORRUPT' })
}

function compareIndices(tested: LogIndex, reference: LogIndex, sizeMax: number): void {
  for (let n = 0; n <= sizeMax + 2; n++) {
    demand(`find ${n}`, tested.find(bytesOf(5, n)), reference.find(bytesOf(5, n)))
    demand(`boundary ${n}`, tested.boundary(n), reference.boundary(n))
    demand(`boundaryAfter ${n}`, tested.boundaryAfter(n), reference.boundaryAfter(n))
    demand(`boundaryAt ${n}`, tested.boundaryAt(n), reference.boundaryAt(n))
    demand(`newestWake ${n}`, tested.newestWake(n), reference.newestWake(n))
    demand(`firstAnchoredBeyond ${n}`, tested.firstAnchoredBeyond(n), reference.firstAnchoredBeyond(n))
    for (let stream = 0; stream < 3; stream++) {
      const record = (index: LogIndex) => index.record(patient, streamOf(stream), n)
      demand(`record ${n}`, record(tested), record(reference))
    }
  }
}

function compareLeaves(tested: ChainStore, reference: ChainStore): void {
  demand('count', tested.leaves.count(), reference.leaves.count())
  const list = (store: ChainStore, first: Uint8Array, last: Uint8Array): StateLeaf[] => [
    ...store.leaves.range(first, last),
  ]
  const lowest = new Uint8Array(32)
  const highest = new Uint8Array(32).fill(0xff)
  const all = list(reference, lowest, highest)
  demand('range, whole', list(tested, lowest, highest), all)
  for (const [at, leaf] of all.entries()) {
    demand('get', tested.leaves.get(leaf.path), leaf)
    const last = all[Math.min(all.length - 1, at + 3)]?.path ?? highest
    demand('range, both ends', list(tested, leaf.path, last), list(reference, leaf.path, last))
    const beside = leaf.path.with(31, (leaf.path[31] ?? 0) ^ 1)
    demand('get, absent', tested.leaves.get(beside), reference.leaves.get(beside))
    demand('range, between', list(tested, beside, beside), [])
  }
}

/**
 * Exercises a store and compares every answer with `MemoryChainStore`.
 *
 * @param open - Opens the store: the first time empty, and every later time with what it was given. The caller closes earlier ones there.
 * @throws {ChainError} `ERR_STATE_CORRUPT` names the first answer that differs.
 */
export function checkChainStore(open: () => ChainStore): void {
  const reference = new MemoryChainStore()
  let tested = open()
  demand('head, empty', tested.head(), undefined)
  compareLeaves(tested, reference)
  compareIndices(tested.index, reference.index, 2)
  for (let height = 0; height < blocksCount; height++) {
    const changes = changesOf(height)
    tested.apply(changes)
    reference.apply(changes)
    if (height % 13 === 5) tested = open()
    demand('head', tested.head(), reference.head())
    if (height % 8 !== 0 && height !== blocksCount - 1) continue
    compareLeaves(tested, reference)
    compareIndices(tested.index, reference.index, changes.index.boundary.size)
  }
}
