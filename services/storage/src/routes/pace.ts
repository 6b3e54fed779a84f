/** Work on all blocks that any tenant may ask for: it takes no more than half of the time, whoever asks and how often. */
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { StorageError } from '../errors.ts'

/** Longest rest after a run, however long that took. */
const restMsMax = 3_600_000
/** A rest that has no more left than this is waited for. */
const waitMsMax = 5_000

/** When the next run may begin. */
export class Pace {
  readonly #now: () => number
  readonly #stopped = new AbortController()
  #restsUntil = 0

  /** @param now - ms, of a clock that nobody sets. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Whoever waits is told that it is busy, from now on. */
  stop(): void {
    this.#stopped.abort()
  }

  /**
   * Runs something, after a rest as long as the last run took.
   *
   * @throws {StorageError} `ERR_STORE_BUSY` if most of that rest is left, or the node stops.
   */
  async *run<T>(what: string, lines: () => AsyncIterable<T>): AsyncGenerator<T> {
    const leftMs = this.#restsUntil - this.#now()
    if (leftMs > waitMsMax) {
      throw busy(`a ${what} has ended just now: ask for the next one in ${Math.ceil(leftMs / 1000)} s`)
    }
    const signal = this.#stopped.signal
    if (leftMs > 0) await delay(leftMs, undefined, { signal }).catch(() => {})
    if (signal.aborted) throw busy('the node stops')
    const beganAt = this.#now()
    try {
      yield* lines()
    } finally {
      const endedAt = this.#now()
      this.#restsUntil = Math.max(this.#restsUntil, endedAt + Math.min(restMsMax, endedAt - beganAt))
    }
  }
}

function busy(message: string): StorageError {
  return new StorageError(message, { code: 'ERR_STORE_BUSY', operationsMax: 1 })
}

/** Of what any tenant may ask for that reads everybody's blocks. */
export interface Paces {
  readonly scrub: Pace
  readonly repair: Pace
}

/** Whoever waits when the app closes is let go. */
export function createPaces(app: Pick<FastifyInstance, 'addHook'>): Paces {
  const paces = { scrub: new Pace(), repair: new Pace() }
  app.addHook('preClose', async () => {
    for (const pace of Object.values(paces)) pace.stop()
  })
  return paces
}
