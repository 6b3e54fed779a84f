import { RuntimeError } from '../errors.ts'

/** How many guesses wait. */
export interface GuessQueueOptions {
  /** Of one source, the one that is made included; default 8. */
  readonly perSourceMax?: number
  /** Of all sources; default 256. */
  readonly waitingMax?: number
}

/** After so long some of what waits was made. */
const retryAfterMs = 2_000

/**
 * Guesses of secrets, one at a time: each costs memory and a processor on purpose. Sources take turns, and none has more than a few waiting:
 * whoever knocks thousands of times waits for himself, and a person from elsewhere for one of his guesses.
 */
export class GuessQueue {
  readonly #perSourceMax: number
  readonly #waitingMax: number
  /** By source, in the order of their turns; a source without anything is not here. */
  readonly #waiting = new Map<string, (() => Promise<void>)[]>()
  #count = 0
  /** Whose guess is made now. */
  #current: string | undefined

  constructor({ perSourceMax = 8, waitingMax = 256 }: GuessQueueOptions = {}) {
    this.#perSourceMax = perSourceMax
    this.#waitingMax = waitingMax
  }

  /**
   * Makes a guess when its turn comes.
   *
   * @param source - where it comes from.
   * @returns What `make` gives.
   * @throws {RuntimeError} `ERR_TOO_MANY_AT_ONCE` at once if too many wait; whatever `make` throws.
   */
  run<T>(source: string, make: () => Promise<T>): Promise<T> {
    const own = this.#waiting.get(source) ?? []
    const ownCount = own.length + (this.#current === source ? 1 : 0)
    if (ownCount >= this.#perSourceMax || this.#count >= this.#waitingMax) {
      const words = 'too many tries at once: try again in a moment'
      return Promise.reject(new RuntimeError(words, { code: 'ERR_TOO_MANY_AT_ONCE', retryAfterMs }))
    }
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    // Whatever `make` does, the next one has its turn.
    own.push(() => (async () => make())().then(resolve, reject))
    this.#waiting.set(source, own)
    this.#count++
    if (this.#current === undefined) void this.#work()
    return promise
  }

  async #work(): Promise<void> {
    for (;;) {
      const [next] = this.#waiting
      if (next === undefined) return
      const [source, own] = next
      // To the end of the line: the others come first.
      this.#waiting.delete(source)
      const guess = own.shift() as () => Promise<void>
      if (own.length > 0) this.#waiting.set(source, own)
      this.#count--
      this.#current = source
      await guess()
      this.#current = undefined
    }
  }
}
