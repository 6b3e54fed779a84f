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

/**
 * Transactions that gather at most, unless the owner says otherwise, and how long, before they are written. A quarter of them at a time costs
 * nearly twice as much for each: they change pages at random, many the same ones.
 */
const transactionsWaitingMaxDefault = 8192
const waitingMsMax = 1_000
const pathSizeBytes = 32

/** Leaves that wait, before those below. */
class BatchedLeaves implements LeafStore {
  readonly #base: LeafStore
  #waiting = new MemoryLeafStore()

  constructor(base: LeafStore) {
    this.#base = base
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

  /** Of the file; those that wait may be new or not. */
  count(): number {
    return this.#base.count()
  }

  apply(leaves: readonly StateLeaf[]): void {
    this.#waiting.apply(leaves)
  }

  /** Leaves that wait, ascending by K. */
  waiting(): Iterable<StateLeaf> {
    return this.#waiting.range(new Uint8Array(pathSizeBytes), new Uint8Array(pathSizeBytes).fill(0xff))
  }

  /** Takes over all that waits in another one. */
  take(other: BatchedLeaves): void {
    this.#waiting = other.#waiting
    other.#waiting = new MemoryLeafStore()
  }

  clear(): void {
    this.#waiting = new MemoryLeafStore()
  }
}

/** What the newest blocks added to the index, before the file's. */
class BatchedIndex implements LogIndex {
  readonly #base: LogIndex
  /** Of the newest blocks. */
  waiting = new WaitingIndex()
  /** Of those before them, which are being written. */
  writing = new WaitingIndex()

  constructor(base: LogIndex) {
    this.#base = base
  }

  find(transactionId: Uint8Array): number | undefined {
    return this.waiting.find(transactionId) ?? this.writing.find(transactionId) ?? this.#base.find(transactionId)
  }

  record(patient: Uint8Array, stream: Uint8Array, sequence: number): RecordEntry | undefined {
    const inMemory = this.waiting.record(patient, stream, sequence) ?? this.writing.record(patient, stream, sequence)
    return inMemory ?? this.#base.record(patient, stream, sequence)
  }

  boundary(size: number): Boundary | undefined {
    return this.#findLast((boundary) => boundary.size === size) ?? this.#base.boundary(size)
  }

  boundaryAfter(index: number): Boundary | undefined {
    const [before, after] = [this.writing.boundaries, this.waiting.boundaries]
    const isAtMost = ({ size }: Boundary): boolean => size <= index
    const inAfter = after.findLastIndex(isAtMost)
    if (inAfter !== -1) return after[inAfter + 1]
    const inBefore = before.findLastIndex(isAtMost)
    if (inBefore !== -1) return before[inBefore + 1] ?? after[0]
    return this.#base.boundaryAfter(index) ?? before[0] ?? after[0]
  }

  boundaryAt(height: number): Boundary | undefined {
    return this.#findLast((boundary) => boundary.height === height) ?? this.#base.boundaryAt(height)
  }

  newestWake(sizeMax: number): number | undefined {
    return this.#findLast(({ wakes, size }) => wakes && size <= sizeMax)?.size ?? this.#base.newestWake(sizeMax)
  }

  firstAnchoredBeyond(userchainIndex: number): Boundary | undefined {
    const isBeyond = ({ anchorSize }: Boundary): boolean => (anchorSize ?? 0) > userchainIndex
    const inFile = this.#base.firstAnchoredBeyond(userchainIndex)
    return inFile ?? this.writing.boundaries.find(isBeyond) ?? this.waiting.boundaries.find(isBeyond)
  }

  /** What waits becomes what is being written, of which there must be none. */
  freeze(): void {
    const empty = this.writing
    this.writing = this.waiting
    this.waiting = empty
  }

  #findLast(isWanted: (boundary: Boundary) => boolean): Boundary | undefined {
    return this.waiting.boundaries.findLast(isWanted) ?? this.writing.boundaries.findLast(isWanted)
  }
}

/** How blocks gather. */
export interface BatchedStoreOptions {
  /** A clock that never goes back, ms; default the system's. */
  readonly nowMs?: () => number
  /** Most transactions that gather before they are written, SEALs counted. */
  readonly transactionsMax?: number
  /** A store whose file is never behind this one's: what this chain's file says may rest on it. */
  readonly before?: () => BatchedChainStore | undefined
  /** Writes between turns of the event loop, in pieces of this many ms, so that nobody waits for longer; default: at once, in `apply`. */
  readonly pieceMs?: number
}

/** Gathers blocks before a file. Its owner calls `flush` before anybody else reads the file, and closes the file. */
export class BatchedChainStore implements ChainStore {
  readonly leaves: LeafStore
  readonly index: LogIndex
  readonly #base: SqliteChainStore
  /** Of the newest blocks, over those that are being written. */
  readonly #leaves: BatchedLeaves
  readonly #leavesWriting: BatchedLeaves
  readonly #index: BatchedIndex
  /** Of the newest block that waits; undefined if none does. */
  #head: Uint8Array | undefined
  #headWriting: Uint8Array | undefined
  /** Blocks applied, and how many of them are in the file. */
  #applied = 0
  #written = 0
  #transactions = 0
  #frozenMs: number
  #write: Generator<void, void> | undefined
  #isDriven = false
  /** What ended a write: nobody knows what is in the file. */
  #failure: { readonly cause: unknown } | undefined
  readonly #nowMs: () => number
  readonly #transactionsMax: number
  readonly #before: () => BatchedChainStore | undefined
  readonly #pieceMs: number | undefined

  constructor(base: SqliteChainStore, options: BatchedStoreOptions = {}) {
    this.#base = base
    this.#nowMs = options.nowMs ?? (() => performance.now())
    this.#transactionsMax = options.transactionsMax ?? transactionsWaitingMaxDefault
    this.#before = options.before ?? (() => undefined)
    this.#pieceMs = options.pieceMs
    this.#frozenMs = this.#nowMs()
    this.#leavesWriting = new BatchedLeaves(base.leaves)
    this.#leaves = new BatchedLeaves(this.#leavesWriting)
    this.#index = new BatchedIndex(base.index)
    this.leaves = {
      get: (path) => this.#leaves.get(path),
      range: (first, last) => this.#leaves.range(first, last),
      // Only the file knows which of the waiting leaves are new.
      count: () => {
        this.flush()
        return base.leaves.count()
      },
    }
    this.index = this.#index
  }

  head(): Uint8Array | undefined {
    return this.#head ?? this.#headWriting ?? this.#base.head()
  }

  /** @throws what ended a write since the last call: the file is then to be opened anew. */
  apply(changes: ChainChanges): void {
    if (this.#failure !== undefined) throw this.#failure.cause
    this.#head = changes.head
    this.#leaves.apply(changes.leaves)
    this.#index.waiting.apply(changes.index)
    this.#applied++
    this.#transactions += changes.index.transactions.length + 1
    const isOld = this.#nowMs() - this.#frozenMs >= waitingMsMax
    if (!isOld && this.#transactions < this.#transactionsMax) return
    // What comes faster than it is written between turns is written at once.
    if (this.#pieceMs === undefined || this.#transactions >= 2 * this.#transactionsMax) this.flush()
    else if (!this.#isDriven) this.#drive(this.flushing(), this.#pieceMs)
  }

  /** Writes everything that waits. */
  flush(): void {
    for (const _ of this.flushing());
  }

  /** The same in steps. A `flush` meanwhile leaves nothing to the steps that follow. */
  *flushing(): Generator<void, void> {
    const wanted = this.#applied
    while (this.#written < wanted) {
      if (this.#failure !== undefined) throw this.#failure.cause
      this.#write ??= this.#writeFrozen()
      try {
        if (this.#write.next().done === true) this.#write = undefined
      } catch (cause) {
        this.#failure = { cause }
        throw cause
      }
      yield
    }
  }

  /** Writes what waits now, in one transaction. */
  *#writeFrozen(): Generator<void, void> {
    const applied = this.#applied
    const head = this.#head as Uint8Array
    this.#headWriting = head
    this.#head = undefined
    this.#leavesWriting.take(this.#leaves)
    this.#index.freeze()
    this.#transactions = 0
    this.#frozenMs = this.#nowMs()
    yield* this.#before()?.flushing() ?? []
    yield* this.#base.applyAll({ leaves: this.#leavesWriting.waiting(), index: this.#index.writing, head })
    this.#written = applied
    this.#headWriting = undefined
    this.#leavesWriting.clear()
    this.#index.writing.clear()
  }

  /** Takes steps between the turns of the event loop. What fails is told by the next `apply` or `flush`. */
  #drive(steps: Generator<void, void>, pieceMs: number): void {
    this.#isDriven = true
    setImmediate(() => {
      this.#isDriven = false
      const untilMs = this.#nowMs() + pieceMs
      try {
        while (steps.next().done !== true) if (this.#nowMs() >= untilMs) return this.#drive(steps, pieceMs)
      } catch {
        // Kept.
      }
    })
  }
}
