/**
 * A chain's storage for whoever replays a log: blocks gather in memory and reach the file many at a time, which costs a fraction of one
 * transaction a block. A crash loses the newest blocks, never a part of one, and the log has them all.
 */
import type { Boundary, LogIndex, LogIndexChanges, RecordEntry } from '@healthblock/chain/log-index'
import { type LeafStore, MemoryLeafStore, type StateLeaf } from '@healthblock/chain/state-tree'
import type { ChainChanges, ChainStore } from '@healthblock/chain/store'
import { byteText, compareBytes } from '@healthblock/encoding/bytes'
import { IdFilter } from './id-filter.ts'
import type { SqliteChainStore } from './ledger-stores.ts'

/** Transactions that gather at most, and how long, before they are written. */
const transactionsWaitingMax = 8192
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

/** What the newest blocks added to the index, before the file's. Ids and records are looked up seldom: their maps are made when asked for. */
class BatchedIndex implements LogIndex {
  readonly #base: LogIndex
  /** Ids that wait; the file knows its own. */
  #filter = new IdFilter()
  #waiting: LogIndexChanges[] = []
  #places: Map<string, number> | undefined
  #records: Map<string, RecordEntry> | undefined
  #boundaries: Boundary[] = []

  constructor(base: SqliteChainStore) {
    this.#base = base.index
  }

  find(transactionId: Uint8Array): number | undefined {
    if (!this.#filter.mayHave(transactionId)) return this.#base.find(transactionId)
    this.#places ??= new Map(
      this.#waiting.flatMap(({ transactions }) => transactions.map(({ id, index }) => [byteText(id), index] as const)),
    )
    return this.#places.get(byteText(transactionId)) ?? this.#base.find(transactionId)
  }

  record(patient: Uint8Array, stream: Uint8Array, sequence: number): RecordEntry | undefined {
    this.#records ??= new Map(
      this.#waiting.flatMap(({ records }) =>
        records.map((one) => [recordName(one.patient, one.stream, one.sequence), one.entry] as const),
      ),
    )
    return this.#records.get(recordName(patient, stream, sequence)) ?? this.#base.record(patient, stream, sequence)
  }

  boundary(size: number): Boundary | undefined {
    return this.#boundaries.find((boundary) => boundary.size === size) ?? this.#base.boundary(size)
  }

  boundaryAfter(index: number): Boundary | undefined {
    return this.#base.boundaryAfter(index) ?? this.#boundaries.find(({ size }) => size > index)
  }

  boundaryAt(height: number): Boundary | undefined {
    return this.#boundaries.find((boundary) => boundary.height === height) ?? this.#base.boundaryAt(height)
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
    if (changes.transactions.length > 0) this.#places = undefined
    if (changes.records.length > 0) this.#records = undefined
  }

  clear(): void {
    this.#filter = new IdFilter()
    this.#waiting = []
    this.#places = undefined
    this.#records = undefined
    this.#boundaries = []
  }
}

function recordName(patient: Uint8Array, stream: Uint8Array, sequence: number): string {
  return `${byteText(patient)}${byteText(stream)}${sequence}`
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

  constructor(base: SqliteChainStore, nowMs: () => number = Date.now) {
    this.#base = base
    this.#nowMs = nowMs
    this.#flushedMs = nowMs()
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
    if (isOld || this.#transactions >= transactionsWaitingMax) this.flush()
  }

  /** Writes everything that waits, in one transaction. */
  flush(): void {
    this.#base.applyAll(this.#waiting)
    this.#waiting = []
    this.#transactions = 0
    this.#flushedMs = this.#nowMs()
    this.#leaves.clear()
    this.#index.clear()
  }
}
