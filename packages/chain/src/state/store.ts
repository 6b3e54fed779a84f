/** What a ledger needs of the storage of one chain, and that storage in memory. */
import { type LogIndex, type LogIndexChanges, MemoryLogIndex } from './log-index.ts'
import { type LeafStore, MemoryLeafStore, type StateLeaf } from './state-tree.ts'

/** Everything that one block changes. */
export interface ChainChanges {
  /** Leaves to set, ascending by K, each K once. Nothing is ever removed. */
  readonly leaves: readonly StateLeaf[]
  readonly index: LogIndexChanges
  /** Replaces the head. Opaque: whatever `Ledger` needs to go on at this height. */
  readonly head: Uint8Array
}

/**
 * Storage of one chain's derived state: leaves of the state tree, log index, head. All calls are synchronous, from one thread.
 *
 * A store promises: `apply` is atomic. After it returned, and after a crash at any moment, a reader finds either all of the changes or
 * none, so leaves, index and head are always of one height. Durability may lag (everything here follows from the log, and a ledger
 * goes on from whatever height it finds), order may not: if a change survives a crash, so do all before it. If `apply` throws,
 * what was stored is unknown: the owner must open the store again.
 */
export interface ChainStore {
  readonly leaves: LeafStore
  readonly index: LogIndex
  /** The head of the last `apply`; undefined before the first. */
  head(): Uint8Array | undefined
  apply(changes: ChainChanges): void
}

/** A store in memory: for tests, and where nothing must outlive the process. */
export class MemoryChainStore implements ChainStore {
  readonly leaves = new MemoryLeafStore()
  readonly index = new MemoryLogIndex()
  #head: Uint8Array | undefined

  head(): Uint8Array | undefined {
    return this.#head
  }

  apply(changes: ChainChanges): void {
    this.leaves.apply(changes.leaves)
    this.index.apply(changes.index)
    this.#head = changes.head
  }
}
