/**
 * Hands accepted transactions to the intake queue in micro-batches: what arrived while the last batch was under way, and
 * at most one batch in `batchPeriodMs`. An idle gateway so adds no delay, and a busy one few, large jobs. While more waits than may be
 * under way, those who submit are served in turns. Whatever the queue does not take is dropped here: the outbox holds it and resubmits.
 */
import { FairQueue, type Owned } from '../core/fair-queue.ts'
import { type Flight, FlightWindow } from './flight-window.ts'

/** Most transactions of one job. */
export const batchTransactionsMax = 256
/** Most bytes of leaves in one job. */
export const batchSizeBytesMax = 256 * 1024
/** Of one leaf. */
const leafSizeBytesMax = 65_535
/** Least time between the beginnings of two jobs. */
export const batchPeriodMs = 4
/** Without a block for so long the window is looked at again. */
const lookAgainMs = 250
/** Most bytes of leaves that wait here; beyond it new ones are left to resubmission. */
export const waitingSizeBytesMax = 16 * 1024 * 1024

/** Something that waits for its job. */
export interface Waiting extends Owned {
  readonly leaf: Uint8Array
  readonly owner: Flight
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
  readonly #window = new FlightWindow()
  /** Oldest first: while all of it may leave, it leaves as it came. */
  #waiting: T[] = []
  /** What came while more waited than may leave. */
  readonly #turns = new FairQueue<T>()
  #waitingBytes = 0
  #running: Promise<void> | undefined
  readonly #stopping = new AbortController()
  #lastBeganMs = Number.NEGATIVE_INFINITY
  /** Ends the pause until something lands. */
  #pause: AbortController | undefined

  constructor(options: IntakeOptions<T>) {
    this.#options = options
  }

  /** Transactions that wait for a job. */
  get count(): number {
    return this.#waiting.length + this.#turns.count
  }

  /** Most transactions that may be under way. */
  get windowLimit(): number {
    return this.#window.limit
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
    this.#pause?.abort('ended')
    this.#running ??= this.#run()
    return taken
  }

  /** A block brought these. */
  landed(flights: readonly Flight[]): void {
    this.#window.land(flights, this.#options.nowMs())
    this.#pause?.abort('ended')
  }

  /** It got another answer. */
  ended(flight: Flight): void {
    this.#window.end(flight)
  }

  /** Ends after the batch under way. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#pause?.abort('ended')
    await this.#running
  }

  async #run(): Promise<void> {
    const { nowMs, wait } = this.#options
    const { signal } = this.#stopping
    // What arrives in this turn of the event loop goes with the first batch.
    await Promise.resolve()
    while (this.count > 0 && !signal.aborted) {
      const earlyMs = this.#lastBeganMs + batchPeriodMs - nowMs()
      if (earlyMs > 0 && !this.#isFull()) await wait(earlyMs, signal)
      const batch = this.#take()
      if (batch.length === 0) await this.#untilLanded()
      else await this.#hand(batch)
    }
    this.#running = undefined
  }

  async #hand(batch: readonly T[]): Promise<void> {
    const { nowMs } = this.#options
    this.#lastBeganMs = nowMs()
    try {
      await this.#options.submit(batch)
      this.#options.onSent(batch)
    } catch (error) {
      for (const { owner } of batch) this.#window.end(owner)
      this.#options.onFailed(batch, error)
    }
  }

  async #untilLanded(): Promise<void> {
    this.#pause = new AbortController()
    const { signal } = this.#pause
    if (!this.#stopping.signal.aborted) await this.#options.wait(lookAgainMs, signal)
    this.#pause = undefined
  }

  #isFull(): boolean {
    return this.count >= batchTransactionsMax || this.#waitingBytes >= batchSizeBytesMax
  }

  #take(): T[] {
    const { nowMs } = this.#options
    const isCrowded = this.#turns.count > 0 || this.#waiting.length > this.#window.room(nowMs())
    return isCrowded ? this.#takeInTurns() : this.#takeFirst()
  }

  #takeFirst(): T[] {
    let count = 0
    let bytes = 0
    for (const { leaf, owner } of this.#waiting) {
      if (count > 0 && (count >= batchTransactionsMax || bytes + leaf.length > batchSizeBytesMax)) break
      count++
      bytes += leaf.length
      this.#window.depart(owner, this.#options.nowMs())
    }
    this.#waitingBytes -= bytes
    return this.#waiting.splice(0, count)
  }

  #takeInTurns(): T[] {
    const turns = this.#turns
    for (const item of this.#waiting) turns.add(item)
    this.#waiting = []
    const nowMs = this.#options.nowMs()
    const mayLeave = (sponsor: string): boolean => this.#window.mayLeave(sponsor, turns.sponsorCount, nowMs)
    const batch: T[] = []
    let bytes = 0
    while (batch.length < batchTransactionsMax && bytes + leafSizeBytesMax <= batchSizeBytesMax) {
      const item = turns.take(mayLeave)
      if (item === undefined) break
      this.#window.depart(item.owner, nowMs)
      batch.push(item)
      bytes += item.leaf.length
    }
    this.#waitingBytes -= bytes
    return batch
  }
}
