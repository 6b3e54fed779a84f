/**
 * Sends what arrives while earlier requests are under way as one request: alone when it is quiet, many at once when it
 * is not, with no timer that would make a single caller wait.
 */

/** Limits of {@link Batcher}. */
export interface BatchLimits {
  /** Requests under way at once. */
  requests: number
  /** Items and bytes of one request. */
  items: number
  bytes: number
}

interface Waiting<Item, Result> {
  item: Item
  size: number
  resolve: (result: Result) => void
  reject: (error: unknown) => void
}

/** Gathers items into requests. */
export class Batcher<Item, Result> {
  readonly #send: (items: Item[]) => Promise<readonly (Result | Error)[]>
  readonly #limits: BatchLimits
  /** Items that wait, oldest first. */
  #queue: Waiting<Item, Result>[] = []
  #underWay = 0

  /** @param send - answers with one result, or error, per item in the same order; if it rejects, every item does. */
  constructor(send: (items: Item[]) => Promise<readonly (Result | Error)[]>, limits: BatchLimits) {
    this.#send = send
    this.#limits = limits
  }

  /** Sends one item. */
  add(item: Item, size: number): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ item, size, resolve, reject })
      this.#next()
    })
  }

  #next(): void {
    if (this.#underWay >= this.#limits.requests || this.#queue.length === 0) return
    const batch = this.#take()
    this.#underWay++
    this.#send(batch.map((waiting) => waiting.item))
      .then(
        (results) => {
          for (const [index, waiting] of batch.entries()) {
            const result = results[index]
            if (result === undefined || result instanceof Error) waiting.reject(result)
            else waiting.resolve(result)
          }
        },
        (error: unknown) => {
          for (const waiting of batch) waiting.reject(error)
        },
      )
      .finally(() => {
        this.#underWay--
        this.#next()
      })
  }

  #take(): Waiting<Item, Result>[] {
    let count = 0
    let bytes = 0
    for (const { size } of this.#queue) {
      if (count > 0 && (count >= this.#limits.items || bytes + size > this.#limits.bytes)) break
      count++
      bytes += size
    }
    return this.#queue.splice(0, count)
  }
}
