/** When a lost connection is made again: later each time, also to a peer that takes connections and ends them at once. */

const delayMsMin = 250
const delayMsMax = 30_000

/** The pace at which one peer is dialled. */
export class RedialPace {
  #attempts = 0
  #connectedAt: number | undefined

  /** A connection was made at `nowMs`. */
  connected(nowMs: number): void {
    this.#connectedAt = nowMs
  }

  /** It was lost. One that lasted for half a minute was a good one: the next attempts begin anew. */
  lost(nowMs: number): void {
    if (this.#connectedAt !== undefined && nowMs - this.#connectedAt >= delayMsMax) this.#attempts = 0
    this.#connectedAt = undefined
  }

  /** How long to wait before the next attempt, ms: from 250 doubled up to 30,000, a quarter more or less by `random`, 0 to 1. */
  next(random: number): number {
    return Math.min(delayMsMax, delayMsMin * 2 ** this.#attempts++) * (0.75 + random / 2)
  }
}
