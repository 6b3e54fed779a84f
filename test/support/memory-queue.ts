/** An intake queue in memory with the promises of the port: order, but jobs may be wiped or repeated, and the queue may be away. */
import type { IntakeQueue } from '../../services/accounting-node/src/core/ports.ts'
import { AccountingError } from '../../services/accounting-node/src/errors.ts'

/** A queue that several nodes share, each through its own `port()`. */
export class MemoryQueue {
  #jobs: Uint8Array[] = []
  #wake = Promise.withResolvers<void>()
  isAway = false
  /** Every job is added this often. */
  copies = 1

  /** Forgets everything. */
  wipe(): void {
    this.#jobs = []
  }

  get depth(): number {
    return this.#jobs.length
  }

  /** The port of one node. */
  port(): IntakeQueue {
    return {
      add: async (job) => {
        if (this.isAway) {
          throw new AccountingError('away', { code: 'ERR_QUEUE_AWAY', retryAfterMs: 1_000, reason: 'away' })
        }
        for (let copy = 0; copy < this.copies; copy++) this.#jobs.push(job)
        const woken = this.#wake
        this.#wake = Promise.withResolvers<void>()
        woken.resolve()
      },
      take: async (max, signal) => {
        const aborted = new Promise<void>((resolve) => {
          if (signal.aborted) resolve()
          signal.addEventListener('abort', () => resolve(), { once: true })
        })
        while (!signal.aborted) {
          if (this.#jobs.length > 0 && !this.isAway) return this.#jobs.splice(0, max)
          await Promise.race([this.#wake.promise, aborted])
        }
        return []
      },
      depth: () => this.#jobs.length,
    }
  }
}
