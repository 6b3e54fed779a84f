/** Accepted transactions that no block holds yet, as this node knows them: what the rules of takeover look at. */
import { type ChainName, type Transaction, transactionId } from '@healthblock/chain/transaction'
import { toHex } from '@healthblock/encoding/bytes'

/** Most transactions remembered; beyond it, new ones are not (their gateway still holds them). */
const poolCountMax = 65_536
/** After this long a transaction is forgotten here: its gateway has answered it. */
const forgetAfterMs = 120_000

/** A waiting transaction. */
export interface PooledTransaction {
  readonly transaction: Transaction
  /** When a gateway accepted it, by this node's clock. */
  readonly sinceMs: number
  /** When this node last proposed it, or 0. */
  proposedMs: number
}

/** The pool of one chain. */
export class Pool {
  readonly #ledgerId: Uint8Array
  readonly #chain: ChainName
  /** By id, in order of arrival. */
  readonly #waiting = new Map<string, PooledTransaction>()

  constructor(ledgerId: Uint8Array, chain: ChainName) {
    this.#ledgerId = ledgerId
    this.#chain = chain
  }

  count(): number {
    return this.#waiting.size
  }

  /** Remembers transactions; answers those that were new. */
  add(transactions: readonly Transaction[], sinceMs: number): Transaction[] {
    const fresh: Transaction[] = []
    for (const transaction of transactions) {
      if (this.#waiting.size >= poolCountMax) break
      const id = toHex(
        transactionId({ ledgerId: this.#ledgerId, chain: this.#chain, bodyBytes: transaction.bodyBytes }),
      )
      if (this.#waiting.has(id)) continue
      this.#waiting.set(id, { transaction, sinceMs, proposedMs: 0 })
      fresh.push(transaction)
    }
    return fresh
  }

  /** Forgets a transaction, by its id (32 bytes). */
  remove(id: Uint8Array): void {
    if (this.#waiting.size > 0) this.#waiting.delete(toHex(id))
  }

  /** Forgets a transaction that can never be in a block. */
  drop(entry: PooledTransaction): void {
    for (const [id, known] of this.#waiting) {
      if (known !== entry) continue
      this.#waiting.delete(id)
      return
    }
  }

  /** Those accepted before `beforeMs`, in order of arrival, at most `countMax`. */
  olderThan(beforeMs: number, countMax: number): PooledTransaction[] {
    const found: PooledTransaction[] = []
    for (const entry of this.#waiting.values()) {
      if (found.length >= countMax) break
      if (entry.sinceMs <= beforeMs) found.push(entry)
    }
    return found
  }

  /** Forgets what is too old to matter. */
  expire(nowMs: number): void {
    for (const [id, { sinceMs }] of this.#waiting) if (sinceMs < nowMs - forgetAfterMs) this.#waiting.delete(id)
  }
}
