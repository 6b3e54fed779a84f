/**
 * Hands accepted transactions to the intake queue in micro-batches: what arrived while the last batch was under way, and
 * at most one batch in `batchPeriodMs`. An idle gateway so adds no delay, and a busy one few, large jobs. Whatever the
 * queue does not take is dropped here: the outbox holds it and resubmits.
 */

/** Most transactions of one job. */
export const batchTransactionsMax = 256
/** Most bytes of leaves in one job; a single leaf is at most 65,535. */
export const batchSizeBytesMax = 256 * 1024
/** Least time between the beginnings of two jobs. */
export const batchPeriodMs = 4
/** Most bytes of leaves that wait here; beyond it new ones are left to resubmission. */
export const waitingSizeBytesMax = 16 * 1024 * 1024

/** Something that waits for its job. */
export interface Waiting {
  readonly leaf: Uint8Array
}

/** What the batcher needs. */
export interface IntakeOptions<T extends Waiting> {
  /** Hands over one job; it is never called twice at a time. */
  readonly submit: (batch: readonly T[]) => Promise<void>
  /** Told of each batch that the queue took. */
  readonly onSent: (batch: readonly T[]) => void
  /** Told of each batch that the queue did not take. */
  readonly onFailed: (batch: readonly T[], error: unknown) => void
  /** Milliseconds of a clock that never goes back. */
  readonly nowMs: () => number
  /** Resolves after so many milliseconds, or when the signal is aborted. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
}

/** The queue before the queue. One per chain. */
export class IntakeBatcher<T extends Waiting> {
  readonly #options: IntakeOptions<T>
  /** Oldest first. */
  #waiting: T[] = []
  #waitingBytes = 0
  #running: Promise<void> | undefined
  readonly #stopping = new AbortController()
  #lastBeganMs = Number.NEGATIVE_INFINITY

  constructor(options: IntakeOptions<T>) {
    this.#options = options
  }

  /** Transactions that wait for a job. */
  get count(): number {
    return this.#waiting.length
  }

  /**
   * Adds transactions in order.
   *
   * @returns How many were taken: the rest found no room and is left to resubmission.
   */
  add(items: readonly T[]): number {
    if (this.#stopping.signal.aborted) return 0
    let taken = 0
    for (const item of items) {
      if (this.#waitingBytes + item.leaf.length > waitingSizeBytesMax) break
      this.#waiting.push(item)
      this.#waitingBytes += item.leaf.length
      taken++
    }
    this.#running ??= this.#run()
    return taken
  }

  /** Ends after the batch under way. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { nowMs, wait } = this.#options
    const { signal } = this.#stopping
    // What arrives in this turn of the event loop goes with the first batch.
    await Promise.resolve()
    while (this.#waiting.length > 0 && !signal.aborted) {
      const earlyMs = this.#lastBeganMs + batchPeriodMs - nowMs()
      if (earlyMs > 0 && !this.#isFull()) await wait(earlyMs, signal)
      const batch = this.#take()
      this.#lastBeganMs = nowMs()
      try {
        await this.#options.submit(batch)
        this.#options.onSent(batch)
      } catch (error) {
        this.#options.onFailed(batch, error)
      }
    }
    this.#running = undefined
  }

  #isFull(): boolean {
    return this.#waiting.length >= batchTransactionsMax || this.#waitingBytes >= batchSizeBytesMax
  }

  #take(): T[] {
    let count = 0
    let bytes = 0
    for (const { leaf } of this.#waiting) {
      if (count > 0 && (count >= batchTransactionsMax || bytes + leaf.length > batchSizeBytesMax)) break
      count++
      bytes += leaf.length
    }
    this.#waitingBytes -= bytes
    return this.#waiting.splice(0, count)
  }
}
