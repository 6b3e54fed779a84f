/**
 * The state tree of SPEC.md §5 over an ordered store of leaves.
 *
 * Only the top `depth` levels are kept, in memory, as one array of hashes and a count (none, one, many) per node; what lies
 * below one node of the lowest kept level is a *bucket*, a few leaves that the store returns in one range. Of the buckets used
 * last the places and hashes of their leaves are kept too, within a bound in bytes. An update takes the touched buckets and
 * rehashes upwards, each node once per block. Nothing of the tree is on disk: it follows from the leaves, and opening is one
 * scan that recomputes every hash.
 */
import { sha256 } from '@healthblock/crypto/hash'
import { compareBytes, equalBytes, toHex } from '@healthblock/encoding/bytes'
import { ChainError } from '../errors.ts'

/** One record of the state and what the tree needs of it. */
export interface StateLeaf {
  /** K = H(0x02 || key), 32 bytes: the place in the tree. */
  readonly path: Uint8Array
  /** Canonical CBOR `[table, id parts…]`. */
  readonly key: Uint8Array
  /** Canonical CBOR of the record. */
  readonly value: Uint8Array
  /** H(0x00 || K || H(0x03 || value)), 32 bytes; derived, kept so that rereading a bucket hashes no leaf again. */
  readonly hash: Uint8Array
}

/**
 * Where the leaves lie. A store promises: `get` and `range` see every change applied before, and no part of a change that was
 * not applied whole; arrays that it returns do not change afterwards. How changes are applied is the owner's matter (`ChainStore`
 * in `../block/block`): the tree never writes.
 */
export interface LeafStore {
  /** The leaf at K, if there is one. */
  get(path: Uint8Array): StateLeaf | undefined
  /** All leaves with first <= K <= last, ascending by K; both ends are 32 bytes. */
  range(first: Uint8Array, last: Uint8Array): Iterable<StateLeaf>
  /** Number of leaves. */
  count(): number
}

/** A proof that a key has a value, or none (SPEC.md §5). */
export interface StateProof {
  /** Hashes of the siblings from the root downwards, at most 256, each 32 bytes. */
  readonly siblings: readonly Uint8Array[]
  /** The one leaf of the subtree at which the path ends; absent if that subtree is empty. `pathHash` is K, `valueHash` V. */
  readonly leaf?: { readonly pathHash: Uint8Array; readonly valueHash: Uint8Array }
}

/** Leaves of one bucket, ascending by K: K and hash of each, 64 bytes a leaf. Never changed once made. */
type Bucket = Uint8Array

interface TreeNode {
  readonly hash: Uint8Array
  /** 0, 1, or 2 for any larger number. */
  readonly count: number
}

/** What a set of changes makes of the tree; valid until any other one is committed. */
export interface PendingState {
  /** The root after the changes: 32 bytes. */
  readonly root: Uint8Array
  /** The leaves to store, ascending by K. */
  readonly leaves: readonly StateLeaf[]
  /** How many of them are new. */
  readonly added: number
  readonly version: number
  readonly nodes: ReadonlyMap<number, TreeNode>
  readonly buckets: ReadonlyMap<number, Bucket>
}

const leafPrefix = Uint8Array.of(0)
const nodePrefix = Uint8Array.of(1)
const keyPrefix = Uint8Array.of(2)
const valuePrefix = Uint8Array.of(3)
const hashSizeBytes = 32
const siblingsMax = 256

/** The root of the empty tree: 32 zero bytes. */
export const emptyStateRoot: Uint8Array = new Uint8Array(hashSizeBytes)
const emptyNode: TreeNode = { hash: emptyStateRoot, count: 0 }

/** Least levels kept in memory (2^16 nodes of 33 bytes): a ledger scans again for the first time at 524,288 leaves. */
const depthMin = 15
/** Of a state that is still small, which costs nothing to scan once more: a bucket has two leaves at the most, in the mean. */
const depthSmall = 11
const smallLeavesMax = 4_096
/** Most levels kept in memory (2^22 nodes of 33 bytes). */
const depthMax = 21
/** Mean leaves per bucket after a scan, and beyond which the tree is scanned again with more levels. */
const bucketLeavesWanted = 2
const bucketLeavesMax = 16

/** Bytes of one leaf in a `Bucket`. */
const entrySizeBytes = 2 * hashSizeBytes
/** Most bytes of buckets kept by one tree, and what one costs beside its leaves. */
const keptBytesMax = 16 * 1024 * 1024
const keptBucketBytes = 256
const noLeaves: Bucket = new Uint8Array(0)

// What is hashed is joined here first: a short-lived array for each hash would cost more than the hash.
const joined = new Uint8Array(4096)
const joinedPair = joined.subarray(0, 1 + 2 * hashSizeBytes)

function hashPair(prefix: Uint8Array, left: Uint8Array, right: Uint8Array): Uint8Array {
  joined[0] = prefix[0] as number
  joined.set(left, 1)
  joined.set(right, 1 + hashSizeBytes)
  return sha256(joinedPair)
}

function hashBytes(prefix: Uint8Array, bytes: Uint8Array): Uint8Array {
  if (bytes.length >= joined.length) return sha256(prefix, bytes)
  joined[0] = prefix[0] as number
  joined.set(bytes, 1)
  return sha256(joined.subarray(0, 1 + bytes.length))
}

/** K = H(0x02 || key). */
export function statePath(key: Uint8Array): Uint8Array {
  return hashBytes(keyPrefix, key)
}

/** V = H(0x03 || value). */
export function stateValueHash(value: Uint8Array): Uint8Array {
  return hashBytes(valuePrefix, value)
}

/** The leaf of a record. `path` may be passed if it is known already. */
export function stateLeaf(key: Uint8Array, value: Uint8Array, path: Uint8Array = statePath(key)): StateLeaf {
  return { path, key, value, hash: hashPair(leafPrefix, path, stateValueHash(value)) }
}

function bitOf(path: Uint8Array, depth: number): number {
  return ((path[depth >> 3] as number) >> (7 - (depth & 7))) & 1
}

function combine(left: TreeNode, right: TreeNode): TreeNode {
  if (left.count + right.count > 1) return { hash: hashPair(nodePrefix, left.hash, right.hash), count: 2 }
  return left.count === 1 ? left : right
}

/** The node over leaves [from, to) of a bucket, which share their first `depth` bits. */
function fold(bucket: Bucket, from: number, to: number, depth: number): TreeNode {
  if (from === to) return emptyNode
  if (to - from === 1) {
    const at = from * entrySizeBytes + hashSizeBytes
    return { hash: bucket.slice(at, at + hashSizeBytes), count: 1 }
  }
  const middle = splitAt(bucket, from, to, depth)
  return combine(fold(bucket, from, middle, depth + 1), fold(bucket, middle, to, depth + 1))
}

function foldAll(bucket: Bucket, depth: number): TreeNode {
  return fold(bucket, 0, bucket.length / entrySizeBytes, depth)
}

function splitAt(bucket: Bucket, from: number, to: number, depth: number): number {
  const byte = depth >> 3
  const mask = 128 >> (depth & 7)
  let middle = from
  while (middle < to && ((bucket[middle * entrySizeBytes + byte] as number) & mask) === 0) middle++
  return middle
}

/** The first 32 bits of K, shifted to the number of its bucket. */
function bucketOf(path: Uint8Array, depth: number): number {
  const first =
    (((path[0] as number) << 24) | ((path[1] as number) << 16) | ((path[2] as number) << 8) | (path[3] as number)) >>> 0
  return first >>> (32 - depth)
}

function bucketEnds(bucket: number, depth: number): [Uint8Array, Uint8Array] {
  const first = new Uint8Array(hashSizeBytes)
  const last = new Uint8Array(hashSizeBytes).fill(0xff)
  const low = bucket * 2 ** (32 - depth)
  new DataView(first.buffer).setUint32(0, low)
  new DataView(last.buffer).setUint32(0, low + 2 ** (32 - depth) - 1)
  return [first, last]
}

function packBucket(leaves: readonly StateLeaf[]): Bucket {
  const bucket = new Uint8Array(leaves.length * entrySizeBytes)
  for (const [i, { path, hash }] of leaves.entries()) {
    bucket.set(path, i * entrySizeBytes)
    bucket.set(hash, i * entrySizeBytes + hashSizeBytes)
  }
  return bucket
}

/** Orders the K of a bucket's leaf and a path. */
function compareAt(bucket: Bucket, offset: number, path: Uint8Array): number {
  for (let i = 0; i < hashSizeBytes; i++) {
    const difference = (bucket[offset + i] as number) - (path[i] as number)
    if (difference !== 0) return difference
  }
  return 0
}

/** `changed` is ascending by K; a leaf of it replaces one of `stored` with the same K. */
function merge(stored: Bucket, changed: readonly StateLeaf[]): { bucket: Bucket; added: number } {
  const bucket = new Uint8Array(stored.length + changed.length * entrySizeBytes)
  let from = 0
  let to = 0
  let added = 0
  for (const { path, hash } of changed) {
    let order = -1
    let end = from
    while (end < stored.length) {
      order = compareAt(stored, end, path)
      if (order >= 0) break
      end += entrySizeBytes
    }
    bucket.set(stored.subarray(from, end), to)
    to += end - from
    from = end
    if (end < stored.length && order === 0) from += entrySizeBytes
    else added++
    bucket.set(path, to)
    bucket.set(hash, to + hashSizeBytes)
    to += entrySizeBytes
  }
  bucket.set(stored.subarray(from), to)
  to += stored.length - from
  return { bucket: to === bucket.length ? bucket : bucket.slice(0, to), added }
}

/** The buckets used last, within `keptBytesMax`. */
class KeptBuckets {
  readonly #buckets = new Map<number, Bucket>()
  #bytes = 0

  get(number: number): Bucket | undefined {
    const bucket = this.#buckets.get(number)
    if (bucket === undefined) return undefined
    // Maps iterate in order of insertion: the oldest comes first.
    this.#buckets.delete(number)
    this.#buckets.set(number, bucket)
    return bucket
  }

  set(number: number, bucket: Bucket): void {
    const old = this.#buckets.get(number)
    if (old !== undefined) this.#forget(number, old)
    this.#buckets.set(number, bucket)
    this.#bytes += bucket.length + keptBucketBytes
    if (this.#bytes <= keptBytesMax) return
    for (const [oldest, leaves] of this.#buckets) {
      this.#forget(oldest, leaves)
      if (this.#bytes <= keptBytesMax) break
    }
  }

  clear(): void {
    this.#buckets.clear()
    this.#bytes = 0
  }

  #forget(number: number, bucket: Bucket): void {
    this.#buckets.delete(number)
    this.#bytes -= bucket.length + keptBucketBytes
  }
}

function corrupt(message: string): ChainError {
  return new ChainError(message, { code: 'ERR_STATE_CORRUPT' })
}

/** The tree over a store. It reads the store and never writes; the owner stores `PendingState.leaves`, then calls `commit`. */
export class StateTree {
  readonly #store: LeafStore
  #depth = depthSmall
  /** Nodes in heap order: 1 is the root, n has the children 2n and 2n + 1; `#depth` levels below the root. */
  #hashes = new Uint8Array(0)
  #counts = new Uint8Array(0)
  #leafCount = 0
  #version = 0
  readonly #kept = new KeptBuckets()

  /**
   * Scans the whole store and checks every leaf's K and hash.
   *
   * @throws {ChainError} `ERR_STATE_CORRUPT` if a stored leaf is not in order or not what its key and value say.
   */
  constructor(store: LeafStore) {
    this.#store = store
    this.#scan(true)
  }

  /** The root over everything committed: 32 bytes. */
  get root(): Uint8Array {
    return this.#node(1).hash
  }

  /** Number of leaves. */
  get leafCount(): number {
    return this.#leafCount
  }

  /**
   * What the tree becomes when these records are set (added, or overwritten: nothing is ever removed). Changes nothing.
   *
   * @param changes - Each key once, in any order.
   */
  rootAfter(changes: Iterable<{ readonly key: Uint8Array; readonly value: Uint8Array }>): PendingState {
    const leaves: StateLeaf[] = []
    for (const { key, value } of changes) leaves.push(stateLeaf(key, value))
    leaves.sort((a, b) => compareBytes(a.path, b.path))
    const nodes = new Map<number, TreeNode>()
    const buckets = new Map<number, Bucket>()
    let added = 0
    for (let from = 0; from < leaves.length; ) {
      const bucket = bucketOf((leaves[from] as StateLeaf).path, this.#depth)
      let to = from + 1
      while (to < leaves.length && bucketOf((leaves[to] as StateLeaf).path, this.#depth) === bucket) to++
      const merged = merge(this.#bucket(bucket), leaves.slice(from, to))
      buckets.set(bucket, merged.bucket)
      nodes.set(2 ** this.#depth + bucket, foldAll(merged.bucket, this.#depth))
      added += merged.added
      from = to
    }
    this.#rehash(nodes)
    return { root: nodes.get(1)?.hash ?? this.root, leaves, added, version: this.#version, nodes, buckets }
  }

  /**
   * Takes over what `rootAfter` gave. The store must hold the pending leaves already: when the tree outgrows its levels, this
   * call scans the store again (once at 4,096 leaves, and from 524,288 on once for each eightfold growth).
   *
   * @throws {ChainError} `ERR_BLOCK_NOT_NEXT` if another one was committed in between.
   */
  commit(pending: PendingState): void {
    if (pending.version !== this.#version) {
      throw new ChainError('the tree has changed since', { code: 'ERR_BLOCK_NOT_NEXT' })
    }
    this.#version++
    this.#leafCount += pending.added
    for (const [position, node] of pending.nodes) this.#write(position, node)
    for (const [number, bucket] of pending.buckets) this.#kept.set(number, bucket)
    const leavesMax = this.#depth === depthSmall ? smallLeavesMax : bucketLeavesMax * 2 ** this.#depth
    if (this.#leafCount > leavesMax && this.#depth < depthMax) this.#scan(false)
  }

  /** The proof that `key` has its committed value, or that it has none. */
  prove(key: Uint8Array): StateProof {
    const path = statePath(key)
    const siblings: Uint8Array[] = []
    let position = 1
    let depth = 0
    while (depth < this.#depth && this.#node(position).count > 1) {
      position = 2 * position + bitOf(path, depth++)
      siblings.push(this.#node(position ^ 1).hash)
    }
    if (this.#node(position).count === 0) return { siblings }
    // A subtree with one leaf can lie above the buckets: the range of its node then has that leaf alone.
    const [first, last] = bucketEnds(position - 2 ** depth, depth)
    const leaves = [...this.#store.range(first, last)]
    const bucket = packBucket(leaves)
    let from = 0
    let to = leaves.length
    for (; to - from > 1; depth++) {
      const middle = splitAt(bucket, from, to, depth)
      const right = bitOf(path, depth) === 1
      siblings.push((right ? fold(bucket, from, middle, depth + 1) : fold(bucket, middle, to, depth + 1)).hash)
      if (right) from = middle
      else to = middle
    }
    const leaf = leaves[from]
    if (from === to || leaf === undefined) return { siblings }
    return { siblings, leaf: { pathHash: leaf.path, valueHash: stateValueHash(leaf.value) } }
  }

  #bucket(number: number): Bucket {
    if (this.#counts[2 ** this.#depth + number] === 0) return noLeaves
    const kept = this.#kept.get(number)
    if (kept !== undefined) return kept
    const [first, last] = bucketEnds(number, this.#depth)
    const bucket = packBucket([...this.#store.range(first, last)])
    this.#kept.set(number, bucket)
    return bucket
  }

  /** Adds to `nodes`, which holds nodes of the lowest level, everything above them. */
  #rehash(nodes: Map<number, TreeNode>): void {
    let level = [...nodes.keys()]
    for (let depth = this.#depth; depth > 0; depth--) {
      const parents: number[] = []
      for (const position of level) {
        const parent = position >>> 1
        if (parents.at(-1) === parent) continue
        const left = nodes.get(2 * parent) ?? this.#node(2 * parent)
        const right = nodes.get(2 * parent + 1) ?? this.#node(2 * parent + 1)
        nodes.set(parent, combine(left, right))
        parents.push(parent)
      }
      level = parents
    }
  }

  #node(position: number): TreeNode {
    const count = this.#counts[position] as number
    if (count === 0) return emptyNode
    return { hash: this.#hashes.slice(position * hashSizeBytes, (position + 1) * hashSizeBytes), count }
  }

  #write(position: number, node: TreeNode): void {
    this.#counts[position] = node.count
    this.#hashes.set(node.hash, position * hashSizeBytes)
  }

  #scan(check: boolean): void {
    this.#leafCount = this.#store.count()
    const wanted = Math.ceil(Math.log2(Math.max(1, this.#leafCount / bucketLeavesWanted)))
    const least = this.#leafCount <= smallLeavesMax ? depthSmall : depthMin
    this.#depth = Math.min(depthMax, Math.max(least, wanted))
    this.#hashes = new Uint8Array(2 ** (this.#depth + 1) * hashSizeBytes)
    this.#counts = new Uint8Array(2 ** (this.#depth + 1))
    this.#kept.clear()
    let seen = 0
    let bucket = -1
    let leaves: StateLeaf[] = []
    const finish = () => {
      if (bucket < 0) return
      const packed = packBucket(leaves)
      this.#kept.set(bucket, packed)
      this.#write(2 ** this.#depth + bucket, foldAll(packed, this.#depth))
    }
    const all = this.#store.range(new Uint8Array(hashSizeBytes), new Uint8Array(hashSizeBytes).fill(0xff))
    let previous: Uint8Array | undefined
    for (const leaf of all) {
      if (check) checkLeaf(leaf, previous)
      previous = leaf.path
      const own = bucketOf(leaf.path, this.#depth)
      if (own !== bucket) {
        finish()
        bucket = own
        leaves = []
      }
      leaves.push(leaf)
      seen++
    }
    finish()
    if (seen !== this.#leafCount) throw corrupt('the store does not hold as many leaves as it says')
    for (let position = 2 ** this.#depth - 1; position > 0; position--) {
      if (this.#counts[2 * position] === 0 && this.#counts[2 * position + 1] === 0) continue
      this.#write(position, combine(this.#node(2 * position), this.#node(2 * position + 1)))
    }
  }
}

function checkLeaf(leaf: StateLeaf, previous: Uint8Array | undefined): void {
  const own = stateLeaf(leaf.key, leaf.value)
  if (!equalBytes(own.path, leaf.path) || !equalBytes(own.hash, leaf.hash)) {
    throw corrupt(`the stored leaf at ${toHex(leaf.path)} is not what its key and value say`)
  }
  if (previous !== undefined && compareBytes(previous, leaf.path) >= 0) throw corrupt('stored leaves are not in order')
}

function proofInvalid(reason: string): ChainError {
  return new ChainError(`not a proof of the state: ${reason}`, { code: 'ERR_STATE_PROOF_INVALID' })
}

/**
 * Checks that under `root` the key has exactly `value`, or, if `value` is undefined, that it has none.
 *
 * @throws {ChainError} `ERR_STATE_PROOF_INVALID`.
 * @see SPEC.md §5
 */
export function verifyStateProof(check: {
  key: Uint8Array
  value: Uint8Array | undefined
  proof: StateProof
  root: Uint8Array
}): void {
  const { siblings, leaf } = check.proof
  if (siblings.length > siblingsMax) throw proofInvalid('too many siblings')
  const path = statePath(check.key)
  let hash = emptyStateRoot
  if (leaf !== undefined) {
    if (leaf.pathHash.length !== hashSizeBytes || leaf.valueHash.length !== hashSizeBytes) throw proofInvalid('lengths')
    hash = sha256(leafPrefix, leaf.pathHash, leaf.valueHash)
  }
  const present = leaf !== undefined && equalBytes(leaf.pathHash, path)
  if (check.value === undefined) {
    if (present) throw proofInvalid('the key has a value')
    for (let depth = 0; leaf !== undefined && depth < siblings.length; depth++) {
      if (bitOf(leaf.pathHash, depth) !== bitOf(path, depth)) throw proofInvalid('the leaf is not on the path')
    }
  } else if (!present || !equalBytes(leaf.valueHash, stateValueHash(check.value))) {
    throw proofInvalid('the key does not have this value')
  }
  for (let depth = siblings.length - 1; depth >= 0; depth--) {
    const sibling = siblings[depth] as Uint8Array
    if (sibling.length !== hashSizeBytes) throw proofInvalid('lengths')
    const right = bitOf(path, depth) === 1
    hash = right ? sha256(nodePrefix, sibling, hash) : sha256(nodePrefix, hash, sibling)
  }
  if (!equalBytes(hash, check.root)) throw proofInvalid('the root differs')
}

/**
 * The root of a state given whole, straight from the definition in SPEC.md §5: no levels, no store. It is what the tree is
 * tested against, and what an auditor computes from a dump.
 *
 * @param entries - Each key once, in any order.
 */
export function rebuildRoot(entries: Iterable<{ readonly key: Uint8Array; readonly value: Uint8Array }>): Uint8Array {
  const all = Array.from(entries, ({ key, value }) => ({ path: statePath(key), valueHash: stateValueHash(value) }))
  const subtree = (leaves: typeof all, depth: number): Uint8Array => {
    const [only] = leaves
    if (only === undefined) return emptyStateRoot
    if (leaves.length === 1) return sha256(leafPrefix, only.path, only.valueHash)
    const left = leaves.filter((leaf) => bitOf(leaf.path, depth) === 0)
    const right = leaves.filter((leaf) => bitOf(leaf.path, depth) === 1)
    return sha256(nodePrefix, subtree(left, depth + 1), subtree(right, depth + 1))
  }
  return subtree(all, 0)
}

/** Leaves in memory: for tests, followers without a disk, and audits of small ledgers. */
export class MemoryLeafStore implements LeafStore {
  /** By the first 16 bits of K, each ascending by K. */
  readonly #slots = new Map<number, StateLeaf[]>()
  #count = 0

  get(path: Uint8Array): StateLeaf | undefined {
    const slot = this.#slots.get(bucketOf(path, 16))
    if (slot === undefined) return undefined
    const at = lowerBound(slot, path)
    const leaf = slot[at]
    return leaf !== undefined && equalBytes(leaf.path, path) ? leaf : undefined
  }

  *range(first: Uint8Array, last: Uint8Array): Iterable<StateLeaf> {
    for (const slot of this.#slotsWithin(bucketOf(first, 16), bucketOf(last, 16))) {
      for (const leaf of this.#slots.get(slot) ?? []) {
        if (compareBytes(leaf.path, first) >= 0 && compareBytes(leaf.path, last) <= 0) yield leaf
      }
    }
  }

  /** Ascending. A small store does not look at each of 65,536 places. */
  *#slotsWithin(first: number, last: number): Iterable<number> {
    if (last - first > this.#slots.size) {
      yield* [...this.#slots.keys()].filter((slot) => slot >= first && slot <= last).sort((a, b) => a - b)
      return
    }
    for (let slot = first; slot <= last; slot++) yield slot
  }

  count(): number {
    return this.#count
  }

  /** Sets the leaves; one with the same K is replaced. */
  apply(leaves: Iterable<StateLeaf>): void {
    for (const leaf of leaves) {
      const number = bucketOf(leaf.path, 16)
      const slot = this.#slots.get(number) ?? []
      if (slot.length === 0) this.#slots.set(number, slot)
      const at = lowerBound(slot, leaf.path)
      const found = slot[at]
      const replaces = found !== undefined && equalBytes(found.path, leaf.path)
      slot.splice(at, replaces ? 1 : 0, leaf)
      if (!replaces) this.#count++
    }
  }
}

function lowerBound(leaves: readonly StateLeaf[], path: Uint8Array): number {
  let low = 0
  let high = leaves.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBytes((leaves[middle] as StateLeaf).path, path) < 0) low = middle + 1
    else high = middle
  }
  return low
}
