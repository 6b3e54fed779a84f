/**
 * How much a gateway promises: no more than the ledger is seen to commit long before the promise ends. A fixed limit would be right for one
 * machine; beyond what the nodes can order, each further promise ends in a deferral, and whoever gets one submits again, so that the
 * nodes work for nothing. The limit grows by what is committed in time while it is used, and shrinks while the oldest have to wait.
 */
import { pendingTransactionsMax } from './pending.ts'

/** Transactions that a gateway promises before it knows anything. */
const limitFirst = 1_024
/** And at least. */
const limitMin = 256
/** What was committed after so long shows that there is room for more. */
export const roomBelowMs = 1_000
/** A limit is used if this part of it is pending: one sponsor alone may have half of it. */
const usedPart = 0.25
/** The oldest may wait so long before less is promised; a change of leader takes about as long. */
export const crowdedAboveMs = 3_000
/** Each second that they wait longer, so much of it is left. */
const partKept = 0.8
const shrinkEveryMs = 1_000
/** One that waits alone is left out by somebody, or lacks something: it says nothing about the others. */
export const crowd = 32

/** The limit of one gateway. */
export class Admission {
  #limit = limitFirst
  #shrunkMs = Number.NEGATIVE_INFINITY

  /** Most transactions that may be pending. */
  get limit(): number {
    return this.#limit
  }

  /** `count` transactions were published `waitedMs` after their promise, while `pending` were pending. */
  committed(count: number, waitedMs: number, pending: number): void {
    // A limit that is not used is not known to be good.
    if (waitedMs > roomBelowMs || pending < this.#limit * usedPart) return
    this.#limit = Math.min(pendingTransactionsMax, this.#limit + count)
  }

  /** Looked at again and again: the oldest but {@link crowd} of what waits has waited `waitedMs`; `pending` are pending. */
  look(nowMs: number, waitedMs: number, pending: number): void {
    if (waitedMs < crowdedAboveMs || nowMs - this.#shrunkMs < shrinkEveryMs) return
    this.#shrunkMs = nowMs
    this.#limit = Math.max(limitMin, Math.floor(Math.min(this.#limit, pending) * partKept))
  }
}
