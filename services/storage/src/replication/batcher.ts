/**
 * Sends what arrives while earlier requests are under way as one request: alone when it is quiet, many at once when it
 * is not, with no timer that would make a single caller wait: a rest comes after a request of many alone. What somebody
 * waits for goes before what nobody does.
 */

/** Limits of {@link Batcher}. */
export interface BatchLimits {
  /** Requests under way at once. */
  requests: number
  /** Items and bytes of one request. */
  items: number
  bytes: number
  /** Bytes that must wait before another request begins beside one that is under way: a small one would be on its way for little. */
  bytesBeside: number
  /**
   * How long at most what comes after a request of several items waits for others to share the next one, ms; half of
   * the time that the request took if that is less.
   */
  restMsMax: number
}

/** A smaller request is not worth a wait. */
const restItemsMin = 8
/** Part of a request's time. */
const restShare = 0.5

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
  /** Items that wait, oldest first: those for which somebody waits, and the others. */
  readonly #queues: [urgent: Waiting<Item, Result>[], others: Waiting<Item, Result>[]] = [[], []]
  #bytesWaiting = 0
  #underWay = 0
  #isResting = false

  /** @param send - answers with one result, or error, per item in the same order; if it rejects, every item does. */
  constructor(send: (items: Item[]) => Promise<readonly (Result | Error)[]>, limits: BatchLimits) {
    this.#send = send
    this.#limits = limits
  }

  /** Sends one item. */
  add(item: Item, size: number, isUrgent = true): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#queues[isUrgent ? 0 : 1].push({ item, size, resolve, reject })
      this.#bytesWaiting += size
      this.#next()
    })
  }

  #next(): void {
    const { requests, bytesBeside } = this.#limits
    if (this.#underWay >= requests) return
    if ((this.#underWay > 0 || this.#isResting) && this.#bytesWaiting < bytesBeside) return
    const batch = this.#take()
    if (batch.length === 0) return
    this.#underWay++
    const beganAt = performance.now()
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
        this.#rest(batch.length, performance.now() - beganAt)
        this.#next()
      })
  }

  /** A request of its own costs two nodes more than the items in it. Those who were answered now ask anew. */
  #rest(items: number, tookMs: number): void {
    const restMs = Math.min(this.#limits.restMsMax, tookMs * restShare)
    if (restMs < 1 || items < restItemsMin || this.#isResting) return
    this.#isResting = true
    setTimeout(() => {
      this.#isResting = false
      this.#next()
    }, restMs)
  }

  #take(): Waiting<Item, Result>[] {
    const { items, bytes: bytesMax } = this.#limits
    const batch: Waiting<Item, Result>[] = []
    let bytes = 0
    for (const queue of this.#queues) {
      let count = 0
      for (const { size } of queue) {
        const isFull = batch.length + count >= items || bytes + size > bytesMax
        if (batch.length + count > 0 && isFull) break
        count++
        bytes += size
      }
      batch.push(...queue.splice(0, count))
    }
    this.#bytesWaiting -= bytes
    return batch
  }
}
