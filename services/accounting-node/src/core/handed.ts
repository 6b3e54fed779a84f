/**
 * Transactions that this node's gateway handed to the queue while the node leads. They come back as bytes; of whatever are the very bytes
 * that were read and checked here, reading them again would only cost time.
 */
import type { Transaction } from '@healthblock/chain/transaction'
import { byteText, equalBytes } from '@healthblock/encoding/bytes'

/** Most that are kept: those that a gateway may have under way. Lost jobs leave theirs behind. */
const keptMax = 8_192
/** A leaf ends with its last signature, which no other leaf of an honest signer has. */
const endSizeBytes = 32

function endOf(leaf: Uint8Array): string {
  return byteText(leaf.subarray(Math.max(0, leaf.length - endSizeBytes)))
}

/** What was handed over and has not come back. */
export class Handed {
  readonly #byEnd = new Map<string, Transaction>()

  /** Keeps transactions, as many as there is room for. */
  add(transactions: readonly Transaction[]): void {
    // More are under way than may be: most of these were lost, and the others can be read.
    if (this.#byEnd.size + transactions.length > keptMax) this.#byEnd.clear()
    for (const transaction of transactions) this.#byEnd.set(endOf(transaction.leaf), transaction)
  }

  /** The transaction that was read from these bytes, once; undefined if it is not here. */
  take(leaf: Uint8Array): Transaction | undefined {
    if (this.#byEnd.size === 0) return undefined
    const end = endOf(leaf)
    const found = this.#byEnd.get(end)
    if (found === undefined || !equalBytes(found.leaf, leaf)) return undefined
    this.#byEnd.delete(end)
    return found
  }

  /** Forgets all. */
  clear(): void {
    this.#byEnd.clear()
  }
}
