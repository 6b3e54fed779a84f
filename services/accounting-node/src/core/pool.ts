/** Accepted transactions that no block holds yet, as this node knows them: what the rules of takeover look at. */
import type { Transaction } from '@healthblock/chain/transaction'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'

/** Most transactions remembered, and bytes of their leaves; beyond it, new ones are not (their gateway still holds them). */
const poolCountMax = 65_536
const poolSizeBytesMax = 256 * 1024 * 1024
/** After this long a transaction is forgotten here: its gateway has answered it. */
const forgetAfterMs = 120_000

/** A waiting transaction. */
export interface PooledTransaction {
  readonly transaction: Transaction
  /** Rank of the node that told of it first. */
  readonly source: number
  /** When a gateway accepted it, by this node's `elapsedMs`. */
  readonly sinceMs: number
  /** When this node last proposed it, or long ago. */
  proposedMs: number
  /** True once this node judged it, and found that it lacks something. */
  isLacking: boolean
}

/** Where transactions come from. */
export interface PoolSource {
  /** Rank of the node that tells of them. */
  readonly rank: number
  /** Nodes that may tell of some: each has its part of the pool. */
  readonly count: number
  /** True for this node's own gateway, which has verified the signatures. */
  readonly isVerified: boolean
}

/** They have one id: are their signatures the same, too? */
function isSame(one: Transaction, other: Transaction): boolean {
  return one === other || equalBytes(one.leaf, other.leaf)
}

/** The pool of one chain. */
export class Pool {
  readonly #identify: (transaction: Transaction) => { id: Uint8Array; committed: boolean }
  /** By id, in order of arrival. */
  readonly #waiting = new Map<string, PooledTransaction>()
  /** Those that lack something, by id, whoever was judged longest ago first. */
  readonly #lacking = new Map<string, PooledTransaction>()
  /** What each rank has told of. */
  readonly #told = new Map<number, { count: number; sizeBytes: number }>()

  /** `identify` gives a transaction's id, and whether a block holds it already. */
  constructor(identify: (transaction: Transaction) => { id: Uint8Array; committed: boolean }) {
    this.#identify = identify
  }

  count(): number {
    return this.#waiting.size
  }

  /** Remembers transactions, as far as the source's part of the pool goes; answers those that were new. */
  add(transactions: readonly Transaction[], sinceMs: number, source: PoolSource): Transaction[] {
    const fresh: Transaction[] = []
    for (const transaction of transactions) {
      if (!this.#hasRoom(source, transaction.leaf.length)) break
      const { id: bytes, committed } = this.#identify(transaction)
      const id = toHex(bytes)
      if (committed) continue
      const known = this.#waiting.get(id)
      if (known !== undefined) {
        // An id says nothing about signatures: a peer may have told of the same body with wrong ones, so that the good ones are not seen.
        if (!source.isVerified || isSame(known.transaction, transaction)) continue
        this.#forget(id)
      }
      const common = { proposedMs: Number.NEGATIVE_INFINITY, isLacking: false }
      this.#waiting.set(id, { transaction, source: source.rank, sinceMs, ...common })
      this.#count(source.rank, 1, transaction.leaf.length)
      fresh.push(transaction)
    }
    return fresh
  }

  #hasRoom({ rank, count }: PoolSource, sizeBytes: number): boolean {
    const told = this.#told.get(rank) ?? { count: 0, sizeBytes: 0 }
    return told.count < poolCountMax / count && told.sizeBytes + sizeBytes <= poolSizeBytesMax / count
  }

  #count(rank: number, by: 1 | -1, sizeBytes: number): void {
    const told = this.#told.get(rank) ?? { count: 0, sizeBytes: 0 }
    told.count += by
    told.sizeBytes += by * sizeBytes
    if (told.count === 0) this.#told.delete(rank)
    else this.#told.set(rank, told)
  }

  /** Forgets a transaction, by its id (32 bytes). */
  remove(id: Uint8Array): void {
    if (this.#waiting.size > 0) this.#forget(toHex(id))
  }

  #forget(id: string): void {
    const entry = this.#waiting.get(id)
    if (entry === undefined) return
    this.#waiting.delete(id)
    this.#lacking.delete(id)
    this.#count(entry.source, -1, entry.transaction.leaf.length)
  }

  /** Forgets a transaction that can never be in a block; the same body with other signatures stays. */
  drop(transaction: Transaction): void {
    const id = toHex(this.#identify(transaction).id)
    const known = this.#waiting.get(id)
    if (known !== undefined && isSame(known.transaction, transaction)) this.#forget(id)
  }

  /** This node judged it: it lacks something. */
  lacks(entry: PooledTransaction): void {
    const id = toHex(this.#identify(entry.transaction).id)
    if (this.#waiting.get(id) !== entry) return
    entry.isLacking = true
    this.#lacking.delete(id)
    this.#lacking.set(id, entry)
  }

  /**
   * Those accepted before `beforeMs` that should be judged next and are wanted: at most `freshMax` of which nothing is known, in order of
   * arrival, and at most `lackingMax` that lacked something, in turns. What lacks something stays in nobody's way, however much there is of it.
   */
  toJudge(
    beforeMs: number,
    { freshMax, lackingMax }: { freshMax: number; lackingMax: number },
    isWanted: (entry: PooledTransaction) => boolean = () => true,
  ): PooledTransaction[] {
    const found: PooledTransaction[] = []
    for (const entry of this.#waiting.values()) {
      // Arrival is in order of age, but for what a gateway brings back after a restart, which comes first.
      if (found.length >= freshMax || entry.sinceMs > beforeMs) break
      if (!entry.isLacking && isWanted(entry)) found.push(entry)
    }
    let looked = 0
    for (const entry of this.#lacking.values()) {
      if (looked++ >= lackingMax) break
      if (entry.sinceMs <= beforeMs && isWanted(entry)) found.push(entry)
    }
    return found
  }

  /** Forgets what is too old to matter. */
  expire(nowMs: number): void {
    for (const [id, { sinceMs }] of this.#waiting) {
      if (sinceMs >= nowMs - forgetAfterMs) break
      this.#forget(id)
    }
  }
}
