/**
 * The Merkle tree of RFC 6962 over SHA-256. A growing tree is kept as a compact range (the roots of its complete
 * subtrees, at most 53 hashes); proofs are computed from the hashes of complete subtrees, wherever they are kept. Sizes
 * and indices are integers to 2^53 - 1, so positions are computed with divisions and never with 32-bit operators.
 */
import { sha256 } from '@healthblock/crypto/hash'
import { concatBytes, encodeU64, equalBytes } from '@healthblock/encoding/bytes'
import { ChainError } from '../errors.ts'

/** A complete subtree: that of 2^`level` leaves from leaf `index` * 2^`level`. */
export interface TreeNode {
  readonly level: number
  readonly index: number
}

/** Gives the hashes of complete subtrees, in the order asked for. A hash that it lacks is its own error. */
export type HashReader = (nodes: readonly TreeNode[]) => readonly Uint8Array[]
/** The same, from a disk or a network. */
export type AsyncHashReader = (nodes: readonly TreeNode[]) => Promise<readonly Uint8Array[]>

/** Length of every hash. */
export const hashSizeBytes = 32
/** Most hashes in a proof. */
export const proofHashesMax = 63

const leafPrefix = Uint8Array.of(0)
const nodePrefix = Uint8Array.of(1)

/** Hash of a leaf: 32 bytes. */
export function leafHash(leaf: Uint8Array): Uint8Array<ArrayBuffer> {
  return sha256(leafPrefix, leaf)
}

// What is hashed is joined here first: a new array for each would cost as much as the hash.
const joinedPair = new Uint8Array(1 + 2 * hashSizeBytes)
joinedPair.set(nodePrefix)

/** Hash of an inner node: 32 bytes. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array<ArrayBuffer> {
  if (left.length !== hashSizeBytes || right.length !== hashSizeBytes) return sha256(nodePrefix, left, right)
  joinedPair.set(left, 1)
  joinedPair.set(right, 1 + hashSizeBytes)
  return sha256(joinedPair)
}

/** Root of the tree without leaves. */
export function emptyRoot(): Uint8Array<ArrayBuffer> {
  return sha256()
}

/** The largest power of two below `count` (count >= 2): where RFC 6962 splits a tree. */
function splitPoint(count: number): number {
  let split = 1
  while (split * 2 < count) split *= 2
  return split
}

/** The complete subtrees, from left to right, of the leaves `start` to `end`; `start` is where such a subtree may begin. */
function nodesOfRange(start: number, end: number): TreeNode[] {
  const nodes: TreeNode[] = []
  let left = start
  let remaining = end - start
  while (remaining > 0) {
    let level = 0
    let width = 1
    while (width * 2 <= remaining) {
      width *= 2
      level++
    }
    nodes.push({ level, index: left / width })
    left += width
    remaining -= width
  }
  return nodes
}

/** Root of the subtree of the leaves that complete subtrees cover from left to right. */
function foldRight(hashes: readonly Uint8Array[]): Uint8Array {
  let root = hashes[hashes.length - 1] as Uint8Array
  for (let i = hashes.length - 2; i >= 0; i--) root = nodeHash(hashes[i] as Uint8Array, root)
  return root
}

function rangeError(index: number, size: number): ChainError {
  return new ChainError(`${index} is not within the tree of ${size} leaves`, { code: 'ERR_TREE_RANGE', index, size })
}

/**
 * A tree that grows by one leaf at a time and remembers no more than its root needs. Not a proof of anything: whoever
 * restores one from bytes must know the root it should have.
 */
export class CompactRange {
  #size: number
  /** Roots of the complete subtrees from left to right: as many as `#size` has bits that are one. */
  readonly #hashes: Uint8Array[]

  constructor(size = 0, hashes: readonly Uint8Array[] = []) {
    if (!Number.isSafeInteger(size) || size < 0 || hashes.length !== nodesOfRange(0, size).length) {
      throw new ChainError('not a compact range', { code: 'ERR_TREE_STATE', reason: 'count of hashes' })
    }
    this.#size = size
    this.#hashes = [...hashes]
  }

  /** The compact range of the first `size` leaves of a tree whose hashes `read` gives. */
  static from(size: number, read: HashReader): CompactRange {
    return new CompactRange(size, read(nodesOfRange(0, size)))
  }

  /**
   * Reads what `encode` wrote.
   *
   * @throws {ChainError} `ERR_TREE_STATE`.
   */
  static parse(bytes: Uint8Array): CompactRange {
    const failed = (reason: string) => new ChainError('not a compact range', { code: 'ERR_TREE_STATE', reason })
    if (bytes.length < 8 || (bytes.length - 8) % hashSizeBytes !== 0) throw failed('length')
    const size = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0))
    if (!Number.isSafeInteger(size)) throw failed('size')
    const hashes: Uint8Array[] = []
    for (let at = 8; at < bytes.length; at += hashSizeBytes) hashes.push(bytes.slice(at, at + hashSizeBytes))
    return new CompactRange(size, hashes)
  }

  /** Number of leaves. */
  get size(): number {
    return this.#size
  }

  /** RFC 6962 root of the leaves so far: 32 bytes. */
  get root(): Uint8Array {
    return this.#hashes.length === 0 ? emptyRoot() : foldRight(this.#hashes)
  }

  /**
   * Adds a leaf by its hash.
   *
   * @param onNode - told of every complete subtree that the leaf completes, itself first: what a store of hashes keeps.
   */
  append(hash: Uint8Array, onNode?: (node: TreeNode, hash: Uint8Array) => void): void {
    let node = hash
    let level = 0
    let index = this.#size
    onNode?.({ level, index }, node)
    while (index % 2 === 1) {
      node = nodeHash(this.#hashes.pop() as Uint8Array, node)
      index = (index - 1) / 2
      level++
      onNode?.({ level, index }, node)
    }
    this.#hashes.push(node)
    this.#size++
  }

  /** A copy that grows by itself. */
  clone(): CompactRange {
    return new CompactRange(this.#size, this.#hashes)
  }

  /** u64 size, then the hashes from left to right. */
  encode(): Uint8Array<ArrayBuffer> {
    return concatBytes(encodeU64(this.#size), ...this.#hashes)
  }
}

/** Hashes of complete subtrees in memory, for small trees and tests. */
export class MemoryHashes {
  readonly #levels: Uint8Array[][] = []

  /** Keeps a hash; fits `CompactRange.append`. */
  readonly keep = (node: TreeNode, hash: Uint8Array): void => {
    let level = this.#levels[node.level]
    if (level === undefined) {
      level = []
      this.#levels[node.level] = level
    }
    level[node.index] = hash
  }

  /** Reads hashes; `ERR_HASH_MISSING` for one that was never kept. */
  readonly read: HashReader = (nodes) =>
    nodes.map(({ level, index }) => {
      const hash = this.#levels[level]?.[index]
      if (hash === undefined) throw new ChainError('a hash is missing', { code: 'ERR_HASH_MISSING', level, index })
      return hash
    })
}

/** One list of complete subtrees per hash of the proof, from the leaf upwards. */
type ProofPlan = readonly (readonly TreeNode[])[]

function inclusionPlan(index: number, size: number): ProofPlan {
  if (!Number.isSafeInteger(size) || !Number.isSafeInteger(index) || index < 0 || index >= size) {
    throw rangeError(index, size)
  }
  const plan: TreeNode[][] = []
  let start = 0
  let end = size
  while (end - start > 1) {
    const middle = start + splitPoint(end - start)
    if (index < middle) {
      plan.push(nodesOfRange(middle, end))
      end = middle
    } else {
      plan.push(nodesOfRange(start, middle))
      start = middle
    }
  }
  return plan.reverse()
}

function consistencyPlan(oldSize: number, size: number): ProofPlan {
  if (!Number.isSafeInteger(size) || !Number.isSafeInteger(oldSize) || oldSize < 0 || oldSize > size) {
    throw rangeError(oldSize, size)
  }
  const plan: TreeNode[][] = []
  if (oldSize === 0) return plan
  let start = 0
  let end = size
  // Where the old tree ends inside the present subtree; until a right branch is taken, its root is known to the verifier.
  while (oldSize < end) {
    const middle = start + splitPoint(end - start)
    if (oldSize <= middle) {
      plan.push(nodesOfRange(middle, end))
      end = middle
    } else {
      plan.push(nodesOfRange(start, middle))
      start = middle
    }
  }
  if (start > 0) plan.push(nodesOfRange(start, end))
  return plan.reverse()
}

function assemble(plan: ProofPlan, hashes: readonly Uint8Array[]): Uint8Array[] {
  let offset = 0
  return plan.map((nodes) => {
    const part = hashes.slice(offset, offset + nodes.length)
    offset += nodes.length
    return foldRight(part)
  })
}

/**
 * Inclusion proof (RFC 6962 §2.1.1) of leaf `index` in the tree of the first `size` leaves.
 *
 * @throws {ChainError} `ERR_TREE_RANGE` unless 0 <= index < size; what `read` throws.
 */
export function inclusionProof(place: { index: number; size: number }, read: HashReader): Uint8Array[] {
  const plan = inclusionPlan(place.index, place.size)
  return assemble(plan, read(plan.flat()))
}

/** As `inclusionProof`, with hashes from a disk or a network, which it asks for once. */
export async function inclusionProofAsync(
  place: { index: number; size: number },
  read: AsyncHashReader,
): Promise<Uint8Array[]> {
  const plan = inclusionPlan(place.index, place.size)
  return assemble(plan, await read(plan.flat()))
}

/**
 * Consistency proof (RFC 6962 §2.1.2) from the first `oldSize` leaves to the first `size`; empty if oldSize is 0 or size.
 *
 * @throws {ChainError} `ERR_TREE_RANGE` unless 0 <= oldSize <= size; what `read` throws.
 */
export function consistencyProof(sizes: { oldSize: number; size: number }, read: HashReader): Uint8Array[] {
  const plan = consistencyPlan(sizes.oldSize, sizes.size)
  return assemble(plan, read(plan.flat()))
}

/** As `consistencyProof`, with hashes from a disk or a network, which it asks for once. */
export async function consistencyProofAsync(
  sizes: { oldSize: number; size: number },
  read: AsyncHashReader,
): Promise<Uint8Array[]> {
  const plan = consistencyPlan(sizes.oldSize, sizes.size)
  return assemble(plan, await read(plan.flat()))
}

/** What an inclusion proof claims. */
export interface InclusionClaim {
  /** `leafHash` of the leaf. */
  readonly leafHash: Uint8Array
  readonly index: number
  readonly size: number
  readonly proof: readonly Uint8Array[]
  readonly root: Uint8Array
}

/**
 * Checks an inclusion proof (RFC 9162 §2.1.3.2).
 *
 * @throws {ChainError} `ERR_INCLUSION_INVALID`.
 */
export function verifyInclusion(claim: InclusionClaim): void {
  const { index, size } = claim
  const failed = () =>
    new ChainError('the inclusion proof does not hold', { code: 'ERR_INCLUSION_INVALID', index, size })
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) throw failed()
  let node = index
  let last = size - 1
  let hash = claim.leafHash
  for (const sibling of claim.proof) {
    if (last === 0 || sibling.length !== hashSizeBytes) throw failed()
    if (node % 2 === 1 || node === last) {
      hash = nodeHash(sibling, hash)
      while (node % 2 === 0 && node !== 0) {
        node /= 2
        last = Math.floor(last / 2)
      }
    } else {
      hash = nodeHash(hash, sibling)
    }
    node = Math.floor(node / 2)
    last = Math.floor(last / 2)
  }
  if (last !== 0 || !equalBytes(hash, claim.root)) throw failed()
}

/** What a consistency proof claims. */
export interface ConsistencyClaim {
  readonly oldSize: number
  readonly oldRoot: Uint8Array
  readonly size: number
  readonly root: Uint8Array
  readonly proof: readonly Uint8Array[]
}

/** The two roots that a consistency proof leads to, or `undefined` if it has the wrong length. */
function consistencyRoots(claim: ConsistencyClaim): readonly [Uint8Array, Uint8Array] | undefined {
  let node = claim.oldSize - 1
  let last = claim.size - 1
  while (node % 2 === 1) {
    node = Math.floor(node / 2)
    last = Math.floor(last / 2)
  }
  // If the old tree is one complete subtree of the new one, its root is where the proof begins, and is left out of it.
  const path = node === 0 ? [claim.oldRoot, ...claim.proof] : claim.proof
  const [first, ...rest] = path
  if (first === undefined) return undefined
  let [oldHash, hash] = [first, first]
  for (const sibling of rest) {
    if (last === 0) return undefined
    if (node % 2 === 1 || node === last) {
      oldHash = nodeHash(sibling, oldHash)
      hash = nodeHash(sibling, hash)
      while (node % 2 === 0 && node !== 0) {
        node /= 2
        last = Math.floor(last / 2)
      }
    } else {
      hash = nodeHash(hash, sibling)
    }
    node = Math.floor(node / 2)
    last = Math.floor(last / 2)
  }
  return last === 0 ? [oldHash, hash] : undefined
}

/**
 * Checks a consistency proof (RFC 9162 §2.1.4.2). From an empty tree the proof is empty, and the old root that of no leaf.
 *
 * @throws {ChainError} `ERR_CONSISTENCY_INVALID`.
 */
export function verifyConsistency(claim: ConsistencyClaim): void {
  const { oldSize, size, proof } = claim
  const failed = () =>
    new ChainError('the consistency proof does not hold', { code: 'ERR_CONSISTENCY_INVALID', oldSize, size })
  if (!Number.isSafeInteger(oldSize) || !Number.isSafeInteger(size) || oldSize < 0 || oldSize > size) throw failed()
  if (proof.some((hash) => hash.length !== hashSizeBytes)) throw failed()
  if (oldSize === 0) {
    if (proof.length !== 0 || !equalBytes(claim.oldRoot, emptyRoot())) throw failed()
    if (size === 0 && !equalBytes(claim.root, emptyRoot())) throw failed()
    return
  }
  if (oldSize === size) {
    if (proof.length !== 0 || !equalBytes(claim.oldRoot, claim.root)) throw failed()
    return
  }
  const roots = consistencyRoots(claim)
  if (roots === undefined || !equalBytes(roots[0], claim.oldRoot) || !equalBytes(roots[1], claim.root)) throw failed()
}
