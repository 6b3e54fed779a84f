import { readFileSync } from 'node:fs'
import { sha256 } from '@healthblock/crypto/hash'
import { encodeUtf8, equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  CompactRange,
  consistencyProof,
  consistencyProofAsync,
  emptyRoot,
  type HashReader,
  inclusionProof,
  inclusionProofAsync,
  leafHash,
  MemoryHashes,
  nodeHash,
  verifyConsistency,
  verifyInclusion,
} from './merkle.ts'

interface Vectors {
  leaves: string[]
  roots: string[]
  inclusion: { index: number; size: number; proof: string[] }[]
  consistency: { oldSize: number; size: number; proof: string[] }[]
}
const vectors: Vectors = JSON.parse(readFileSync(new URL('../../vectors/merkle-rfc6962.json', import.meta.url), 'utf8'))

/** RFC 6962 §2.1 read aloud: recursion over leaf hashes, remembering each subtree so that many sizes stay cheap. */
class Plain {
  readonly #leaves: readonly Uint8Array[]
  readonly #known = new Map<number, Uint8Array>()
  constructor(leaves: readonly Uint8Array[]) {
    this.#leaves = leaves
  }
  root(start: number, end: number): Uint8Array {
    if (start === end) return sha256()
    if (end - start === 1) return this.#leaves[start] as Uint8Array
    const key = start * 1024 + end
    let hash = this.#known.get(key)
    if (hash === undefined) {
      const middle = start + split(end - start)
      hash = nodeHash(this.root(start, middle), this.root(middle, end))
      this.#known.set(key, hash)
    }
    return hash
  }
  path(index: number, start: number, end: number): Uint8Array[] {
    if (end - start === 1) return []
    const middle = start + split(end - start)
    if (index < middle) return [...this.path(index, start, middle), this.root(middle, end)]
    return [...this.path(index, middle, end), this.root(start, middle)]
  }
  proof(oldSize: number, size: number): Uint8Array[] {
    return this.#subproof(oldSize, 0, size, true)
  }
  #subproof(count: number, start: number, end: number, whole: boolean): Uint8Array[] {
    if (count === end - start) return whole ? [] : [this.root(start, end)]
    const half = split(end - start)
    if (count <= half) return [...this.#subproof(count, start, start + half, whole), this.root(start + half, end)]
    return [...this.#subproof(count - half, start + half, end, false), this.root(start, start + half)]
  }
}

function split(count: number): number {
  return 2 ** Math.floor(Math.log2(count - 1))
}

const sizeMax = 600
const leaves = Array.from({ length: sizeMax }, (_, i) => leafHash(encodeUtf8(`leaf ${i}`)))
const plain = new Plain(leaves)

function grow(hashes: readonly Uint8Array[]) {
  const store = new MemoryHashes()
  const range = new CompactRange()
  const roots = [range.root]
  for (const hash of hashes) {
    range.append(hash, store.keep)
    roots.push(range.root)
  }
  return { store, range, roots }
}
const grown = grow(leaves)

function same(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  return a.length === b.length && a.every((hash, i) => equalBytes(hash, b[i] as Uint8Array))
}

describe('published vectors', () => {
  const hashes = vectors.leaves.map((leaf) => leafHash(fromHex(leaf)))
  const { store, roots } = grow(hashes)

  test('roots', () => {
    expect(roots.map(toHex)).toEqual(vectors.roots)
    expect(vectors.inclusion.length * vectors.consistency.length).toBeGreaterThan(0)
  })

  test.each(vectors.inclusion)('inclusion of $index in $size', ({ index, size, proof }) => {
    expect(inclusionProof({ index, size }, store.read).map(toHex)).toEqual(proof)
    const root = fromHex(vectors.roots[size] as string)
    verifyInclusion({ leafHash: hashes[index] as Uint8Array, index, size, proof: proof.map(fromHex), root })
  })

  test.each(vectors.consistency)('consistency of $oldSize and $size', ({ oldSize, size, proof }) => {
    expect(consistencyProof({ oldSize, size }, store.read).map(toHex)).toEqual(proof)
    const [oldRoot, root] = [oldSize, size].map((n) => fromHex(vectors.roots[n] as string)) as [Uint8Array, Uint8Array]
    verifyConsistency({ oldSize, oldRoot, size, root, proof: proof.map(fromHex) })
  })
})

describe('against the plain definition', () => {
  test(`roots of every size to ${sizeMax}, also of restored compact ranges`, () => {
    for (let size = 0; size <= sizeMax; size++) {
      expect(equalBytes(grown.roots[size] as Uint8Array, plain.root(0, size))).toBe(true)
      const restored = CompactRange.parse(CompactRange.from(size, grown.store.read).encode())
      expect(restored.size).toBe(size)
      expect(equalBytes(restored.root, plain.root(0, size))).toBe(true)
    }
  })

  test(`inclusion proofs of every leaf in every size to ${sizeMax}`, () => {
    let wrong = 0
    for (let size = 1; size <= sizeMax; size++) {
      for (let index = 0; index < size; index++) {
        if (!same(inclusionProof({ index, size }, grown.store.read), plain.path(index, 0, size))) wrong++
      }
    }
    expect(wrong).toBe(0)
  })

  test(`consistency proofs between all sizes to ${sizeMax}`, () => {
    let wrong = 0
    for (let size = 1; size <= sizeMax; size++) {
      for (let oldSize = 1; oldSize <= size; oldSize++) {
        if (!same(consistencyProof({ oldSize, size }, grown.store.read), plain.proof(oldSize, size))) wrong++
      }
    }
    expect(wrong).toBe(0)
  })

  test('every proof to size 64 verifies, and only where it belongs', () => {
    for (let size = 1; size <= 64; size++) {
      const root = plain.root(0, size)
      for (let index = 0; index < size; index++) {
        const proof = plain.path(index, 0, size)
        const hash = leaves[index] as Uint8Array
        verifyInclusion({ leafHash: hash, index, size, proof, root })
        expect(() => verifyInclusion({ leafHash: hash, index: index + 1, size, proof, root })).toThrow(
          expect.objectContaining({ detail: expect.objectContaining({ code: 'ERR_INCLUSION_INVALID' }) }),
        )
        expect(() => verifyInclusion({ leafHash: hash, index, size, proof: [...proof, root], root })).toThrow()
      }
      for (let oldSize = 0; oldSize <= size; oldSize++) {
        const proof = oldSize === 0 ? [] : plain.proof(oldSize, size)
        const claim = { oldSize, oldRoot: plain.root(0, oldSize), size, root, proof }
        verifyConsistency(claim)
        expect(() => verifyConsistency({ ...claim, proof: [...proof, root] })).toThrow()
        expect(() => verifyConsistency({ ...claim, oldRoot: leafHash(root) })).toThrow(
          expect.objectContaining({ detail: { code: 'ERR_CONSISTENCY_INVALID', oldSize, size } }),
        )
      }
    }
  })
})

test('proofs of random places verify, synchronously and not', async () => {
  const read = async (nodes: Parameters<typeof grown.store.read>[0]) => grown.store.read(nodes)
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: sizeMax }), fc.nat(), async (size, n) => {
      const index = n % size
      const root = plain.root(0, size)
      const proof = await inclusionProofAsync({ index, size }, read)
      verifyInclusion({ leafHash: leaves[index] as Uint8Array, index, size, proof, root })
      const claim = { oldSize: index, oldRoot: plain.root(0, index), size, root }
      verifyConsistency({ ...claim, proof: await consistencyProofAsync({ oldSize: index, size }, read) })
    }),
  )
})

function flipBit(bytes: Uint8Array, bit: number): Uint8Array {
  const flipped = bytes.slice()
  flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
  return flipped
}

test('every flipped bit of a proof, a root or a leaf hash fails', () => {
  const size = 11
  for (const index of [0, 7, 10]) {
    const parts = [leaves[index] as Uint8Array, plain.root(0, size), ...plain.path(index, 0, size)]
    for (let part = 0; part < parts.length; part++) {
      for (let bit = 0; bit < 256; bit++) {
        const flipped = parts.map((bytes, i) => (i === part ? flipBit(bytes, bit) : bytes))
        const [hash, root, ...proof] = flipped as [Uint8Array, Uint8Array, ...Uint8Array[]]
        expect(() => verifyInclusion({ leafHash: hash, index, size, proof, root })).toThrow()
      }
    }
  }
})

test('sizes beyond 32 bits', () => {
  // A tree of 2^40 + 1 equal leaves, by its complete subtrees only.
  const towers = [leaves[0] as Uint8Array]
  for (let level = 0; level < 40; level++)
    towers.push(nodeHash(towers[level] as Uint8Array, towers[level] as Uint8Array))
  const size = 2 ** 40 + 1
  const range = new CompactRange(size, [towers[40] as Uint8Array, towers[0] as Uint8Array])
  const read: HashReader = (nodes) => nodes.map(({ level }) => towers[level] as Uint8Array)
  for (const index of [0, 2 ** 33 + 5, 2 ** 40]) {
    const proof = inclusionProof({ index, size }, read)
    verifyInclusion({ leafHash: towers[0] as Uint8Array, index, size, proof, root: range.root })
  }
  const proof = consistencyProof({ oldSize: 2 ** 40 - 3, size }, read)
  const oldRoot = CompactRange.from(2 ** 40 - 3, read).root
  verifyConsistency({ oldSize: 2 ** 40 - 3, oldRoot, size, root: range.root, proof })
})

test('refuses impossible places and bytes', () => {
  for (const [index, size] of [
    [0, 0],
    [3, 3],
    [-1, 3],
    [0.5, 3],
  ] as const) {
    expect(() => inclusionProof({ index, size }, grown.store.read)).toThrow(
      expect.objectContaining({ detail: { code: 'ERR_TREE_RANGE', index, size } }),
    )
    expect(() => verifyInclusion({ leafHash: emptyRoot(), index, size, proof: [], root: emptyRoot() })).toThrow()
  }
  expect(() => consistencyProof({ oldSize: 4, size: 3 }, grown.store.read)).toThrow()
  expect(() => inclusionProof({ index: 0, size: sizeMax + 8 }, grown.store.read)).toThrow(
    expect.objectContaining({ detail: expect.objectContaining({ code: 'ERR_HASH_MISSING' }) }),
  )
  const encoded = CompactRange.from(5, grown.store.read).encode()
  for (const bytes of [encoded.slice(1), encoded.slice(0, -32), encoded.slice(0, 3), new Uint8Array(8).fill(255)]) {
    expect(() => CompactRange.parse(bytes)).toThrow(
      expect.objectContaining({ detail: expect.objectContaining({ code: 'ERR_TREE_STATE' }) }),
    )
  }
})
