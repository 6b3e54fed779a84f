/**
 * A chain's storage for whoever has the log: blocks gather in memory and reach the file many at a time, which costs a fraction of one
 * transaction a block. A crash loses the newest blocks, never a part of one, and the log has them all.
 */
import type { Boundary, LogIndex, RecordEntry } from '@healthblock/chain/log-index'
import { type LeafStore, MemoryLeafStore, type StateLeaf } from '@healthblock/chain/state-tree'
import type { ChainChanges, ChainStore } from '@healthblock/chain/store'
import { compareBytes } from '@healthblock/encoding/bytes'
import type { SqliteChainStore } from './ledger-stores.ts'
import { WaitingIndex } from './waiting-index.ts'

/** Transactions that gather at most, unless the owner says otherwise, and how long, before they are written. */
const transactionsWaitingMaxDefault = 8192
const waitingMsMax = 1_000
const pathSizeBytes = 32

/** Leaves that wait, before those of the file. */
class BatchedLeaves implements LeafStore {
  readonly #base: LeafStore
  readonly #flush: () => void
  #waiting = new MemoryLeafStore()

  constructor(base: LeafStore, flush: () => void) {
    this.#base = base
    this.#flush = flush
  }

  get(path: Uint8Array): StateLeaf | undefined {
    return this.#waiting.get(path) ?? this.#base.get(path)
  }

  *range(first: Uint8Array, last: Uint8Array): Iterable<StateLeaf> {
    const waiting = [...this.#waiting.range(first, last)]
    let next = 0
    for (const leaf of this.#base.range(first, last)) {
      let order = -1
      for (; next < waiting.length; next++) {
        const other = waiting[next] as StateLeaf
        order = compareBytes(other.path, leaf.path)
        if (order >= 0) break
        yield other
      }
      if (next < waiting.length && order === 0) yield waiting[next++] as StateLeaf
      else yield leaf
    }
    yield* waiting.slice(next)
  }

  /** Only the file knows which of the waiting leaves are new. */
  count(): number {
    this.#flush()
    return this.#base.count()
  }

  apply(leaves: readonly StateLeaf[]): void {
    this.#waiting.apply(leaves)
  }

  /** Leaves that wait, ascending by K. */
  waiting(): Iterable<StateLeaf> {
    return this.#waiting.range(new Uint8Array(pathSizeBytes), new Uint8Array(pathSizeBytes).fill(0xff))
  }

  clear(): void {
    this.#waiting = new MemoryLeafStore()
  }
}

/** What the newest blocks added to the index, before the file's. */
class BatchedIndex implements LogIndex {
  readonly #base: LogIndex
  readonly waiting = new WaitingIndex()

  constructor(base: SqliteChainStore) {
    this.#base = base.index
  }

  find(transactionId: Uint8Array): number | undefined {
    return this.waiting.find(transactionId) ?? this.#base.find(transactionId)
  }

  record(patient: Uint8Array, stream: Uint8Array, sequence: number): RecordEntry | undefined {
    return this.waiting.record(patient, stream, sequence) ?? this.#base.record(patient, stream, sequence)
  }

  boundary(size: number): Boundary | undefined {
    return this.waiting.boundaries.findLast((boundary) => boundary.size === size) ?? this.#base.boundary(size)
  }

  boundaryAfter(index: number): Boundary | undefined {
    const { boundaries } = this.waiting
    const before = boundaries.findLastIndex(({ size }) => size <= index)
    return before === -1 ? (this.#base.boundaryAfter(index) ?? boundaries[0]) : boundaries[before + 1]
  }

  boundaryAt(height: number): Boundary | undefined {
    return this.waiting.boundaries.findLast((boundary) => boundary.height === height) ?? this.#base.boundaryAt(height)
  }

  newestWake(sizeMax: number): number | undefined {
    const newest = this.waiting.boundaries.findLast(({ wakes, size }) => wakes && size <= sizeMax)
    return newest?.size ?? this.#base.newestWake(sizeMax)
  }

  firstAnchoredBeyond(userchainIndex: number): Boundary | undefined {
    const isBeyond = ({ anchorSize }: Boundary): boolean => (anchorSize ?? 0) > userchainIndex
    return this.#base.firstAnchoredBeyond(userchainIndex) ?? this.waiting.boundaries.find(isBeyond)
  }
}

/** How blocks gather. */
export interface BatchedStoreOptions {
  /** A clock that never goes back, ms; default the system's. */
  readonly nowMs?: () => number
  /** Most transactions that gather, SEALs counted: writing them is one pause. */
  readonly transactionsMax?: number
  /** Called before anything is written: what this chain's file says may rest on another's. */
  readonly beforeFlush?: () => void
}

/** Gathers blocks before a file. Its owner calls `flush` before anybody else reads the file, and closes the file. */
export class BatchedChainStore implements ChainStore {
  readonly leaves: LeafStore
  readonly index: LogIndex
  readonly #base: SqliteChainStore
  readonly #leaves: BatchedLeaves
  readonly #index: BatchedIndex
  /** Of the newest block that waits; undefined if none does. */
  #head: Uint8Array | undefined
  #transactions = 0
  #flushedMs: number
  readonly #nowMs: () => number
  readonly #transactionsMax: number
  readonly #beforeFlush: (() => void) | undefined

  constructor(base: SqliteChainStore, options: BatchedStoreOptions = {}) {
    this.#base = base
    this.#nowMs = options.nowMs ?? (() => performance.now())
    this.#transactionsMax = options.transactionsMax ?? transactionsWaitingMaxDefault
    this.#beforeFlush = options.beforeFlush
    this.#flushedMs = this.#nowMs()
    this.#leaves = new BatchedLeaves(base.leaves, () => this.flush())
    this.#index = new BatchedIndex(base)
    this.leaves = this.#leaves
    this.index = this.#index
  }

  head(): Uint8Array | undefined {
    return this.#head ?? this.#base.head()
  }

  apply(changes: ChainChanges): void {
    this.#head = changes.head
    this.#leaves.apply(changes.leaves)
    this.#index.waiting.apply(changes.index)
    this.#transactions += changes.index.transactions.length + 1
    const isOld = this.#nowMs() - this.#flushedMs >= waitingMsMax
    if (isOld || this.#transactions >= this.#transactionsMax) this.flush()
  }

  /** Writes everything that waits, in one transaction. */
  flush(): void {
    if (this.#head !== undefined) {
      this.#beforeFlush?.()
      this.#base.applyAll({ leaves: this.#leaves.waiting(), index: this.#index.waiting, head: this.#head })
    }
    this.#head = undefined
    this.#transactions = 0
    this.#flushedMs = this.#nowMs()
    this.#leaves.clear()
    this.#index.waiting.clear()
  }
}
