/**
 * Signatures of submissions that have few of them are verified together: what a thread is told costs as much as a signature, whatever is in
 * it. What comes while a group is under way is the next group, so nobody waits for more than that to fill.
 */

/** A submission of more goes by itself. */
const groupedMax = 32
/** Most transactions of a group: some milliseconds of one thread. */
const groupMax = 64

interface Waiting<T> {
  readonly items: readonly T[]
  readonly done: PromiseWithResolvers<void>
}

/** The groups of one gateway. */
export class VerificationGroups<T> {
  readonly #verify: (items: readonly T[]) => Promise<void>
  /** Oldest first; a gateway bounds how many there are. */
  readonly #waiting: Waiting<T>[] = []
  #running: Promise<void> | undefined

  /** @param verify - Verifies the signatures of transactions, good or not; rejects if nothing can be verified now. */
  constructor(verify: (items: readonly T[]) => Promise<void>) {
    this.#verify = verify
  }

  /** Resolves when the signatures of these transactions were looked at. */
  verify(items: readonly T[]): Promise<void> {
    if (items.length > groupedMax) return this.#verify(items)
    const done = Promise.withResolvers<void>()
    this.#waiting.push({ items, done })
    this.#running ??= this.#run()
    return done.promise
  }

  async #run(): Promise<void> {
    // What arrives in this turn of the event loop goes together.
    await new Promise<void>((resolve) => setImmediate(resolve))
    while (this.#waiting.length > 0) {
      const group = this.#take()
      try {
        await this.#verify(group.flatMap(({ items }) => items))
        for (const { done } of group) done.resolve()
      } catch (error) {
        for (const { done } of group) done.reject(error)
      }
    }
    this.#running = undefined
  }

  #take(): Waiting<T>[] {
    let count = 0
    let size = 0
    for (const { items } of this.#waiting) {
      if (count > 0 && size + items.length > groupMax) break
      size += items.length
      count++
    }
    return this.#waiting.splice(0, count)
  }
}
