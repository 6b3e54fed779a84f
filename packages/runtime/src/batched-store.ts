/**
 * A chain's storage for whoever has the log: blocks gather in memory and reach the file many at a time, which costs a fraction of one
 * transaction a block. A crash loses the newest blocks, never a part of one, and the log has them all.
 */
import type { Boundary, LogIndex, LogIndexChanges, RecordEntry } from '@healthblock/chain/log-index'
import { type LeafStore, MemoryLeafStore, type StateLeaf } from '@healthblock/chain/state-tree'
import type { ChainChanges, ChainStore } from '@healthblock/chain/store'
import { byteText, compareBytes } from '@healthblock/encoding/bytes'
import { IdFilter } from './id-filter.ts'
import type { SqliteChainStore } from './ledger-stores.ts'

/** Transactions that gather at most, unless the owner says otherwise, and how long, before they are written. */
const transactionsWaitingMaxDefault = 8192
const waitingMsMax = 1_000

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

  clear(): void {
    this.#waiting = new MemoryLeafStore()
  }
}

/** What the newest blocks added to the index, before the file's. Whoever replays asks for no id and no record: they go into maps once somebody asks. */
class BatchedIndex implements LogIndex {
  readonly #base: LogIndex
  /** Ids that wait; the file knows its own. */
  #filter = new IdFilter()
  #waiting: LogIndexChanges[] = []
  readonly #places = new Map<string, number>()
  readonly #records = new Map<string, RecordEntry>()
  /** How many of `#waiting` the maps hold. */
  #placedCount = 0
  #recordedCount = 0
  /** Ascending. */
  #boundaries: Boundary[] = []

  constructor(base: SqliteChainStore) {
    this.#base = base.index
  }

  find(transactionId: Uint8Array): number | undefined {
    if (!this.#filter.mayHave(transactionId)) return this.#base.find(transactionId)
    for (; this.#placedCount < this.#waiting.length; this.#placedCount++) {
      const { transactions } = this.#waiting[this.#placedCount] as LogIndexChanges
      for (const { id, index } of transactions) this.#places.set(byteText(id), index)
    }
    return this.#places.get(byteText(transactionId)) ?? this.#base.find(transactionId)
  }

  record(patient: Uint8Array, stream: Uint8Array, sequence: number): RecordEntry | undefined {
    for (; this.#recordedCount < this.#waiting.length; this.#recordedCount++) {
      const { records } = this.#waiting[this.#recordedCount] as LogIndexChanges
      for (const one of records) this.#records.set(recordName(one.patient, one.stream, one.sequence), one.entry)
    }
    return this.#records.get(recordName(patient, stream, sequence)) ?? this.#base.record(patient, stream, sequence)
  }

  boundary(size: number): Boundary | undefined {
    return this.#boundaries.findLast((boundary) => boundary.size === size) ?? this.#base.boundary(size)
  }

  boundaryAfter(index: number): Boundary | undefined {
    const before = this.#boundaries.findLastIndex(({ size }) => size <= index)
    return before === -1 ? (this.#base.boundaryAfter(index) ?? this.#boundaries[0]) : this.#boundaries[before + 1]
  }

  boundaryAt(height: number): Boundary | undefined {
    return this.#boundaries.findLast((boundary) => boundary.height === height) ?? this.#base.boundaryAt(height)
  }

  newestWake(sizeMax: number): number | undefined {
    const newest = this.#boundaries.findLast(({ wakes, size }) => wakes && size <= sizeMax)
    return newest?.size ?? this.#base.newestWake(sizeMax)
  }

  firstAnchoredBeyond(userchainIndex: number): Boundary | undefined {
    const isBeyond = ({ anchorSize }: Boundary): boolean => (anchorSize ?? 0) > userchainIndex
    return this.#base.firstAnchoredBeyond(userchainIndex) ?? this.#boundaries.find(isBeyond)
  }

  apply(changes: LogIndexChanges): void {
    for (const { id } of changes.transactions) this.#filter.add(id)
    this.#waiting.push(changes)
    this.#boundaries.push(changes.boundary)
  }

  clear(): void {
    this.#filter = new IdFilter()
    this.#waiting = []
    this.#places.clear()
    this.#records.clear()
    this.#placedCount = 0
    this.#recordedCount = 0
    this.#boundaries = []
  }
}

function recordName(patient: Uint8Array, stream: Uint8Array, sequence: number): string {
  return `${byteText(patient)}${byteText(stream)}${sequence}`
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
  #waiting: ChainChanges[] = []
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
    return this.#waiting.at(-1)?.head ?? this.#base.head()
  }

  apply(changes: ChainChanges): void {
    this.#waiting.push(changes)
    this.#leaves.apply(changes.leaves)
    this.#index.apply(changes.index)
    this.#transactions += changes.index.transactions.length + 1
    const isOld = this.#nowMs() - this.#flushedMs >= waitingMsMax
    if (isOld || this.#transactions >= this.#transactionsMax) this.flush()
  }

  /** Writes everything that waits, in one transaction. */
  flush(): void {
    if (this.#waiting.length > 0) this.#beforeFlush?.()
    this.#base.applyAll(this.#waiting)
    this.#waiting = []
    this.#transactions = 0
    this.#flushedMs = this.#nowMs()
    this.#leaves.clear()
    this.#index.clear()
  }
}
