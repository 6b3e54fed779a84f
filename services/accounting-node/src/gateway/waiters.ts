/** Long polls: who waits for the answers to which transactions. */

/** Most ids that are waited for at one time; further polls are answered at once. */
export const waitedIdsMax = 65_536

interface Waiter {
  readonly missing: Set<string>
  readonly wake: () => void
}

/** The long polls of one gateway. */
export class Waiters {
  readonly #byId = new Map<string, Set<Waiter>>()
  #idCount = 0

  /** True if somebody waits for the id. */
  has(id: string): boolean {
    return this.#byId.has(id)
  }

  /** Tells that an id has its final answer. */
  settle(id: string): void {
    const waiters = this.#byId.get(id)
    if (waiters === undefined) return
    this.#byId.delete(id)
    for (const waiter of waiters) {
      waiter.missing.delete(id)
      this.#idCount--
      if (waiter.missing.size === 0) waiter.wake()
    }
  }

  /** Resolves when every id was settled, after `waitMs`, or when one of the signals is aborted. */
  async wait(ids: readonly string[], waitMs: number, signals: readonly AbortSignal[]): Promise<void> {
    if (signals.some(({ aborted }) => aborted)) return
    if (ids.length === 0 || waitMs <= 0 || this.#idCount + ids.length > waitedIdsMax) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, waitMs)
      const waiter: Waiter = { missing: new Set(ids), wake: done }
      const forget = (): void => this.#forget(waiter)
      function done(): void {
        clearTimeout(timer)
        for (const signal of signals) signal.removeEventListener('abort', done)
        forget()
        resolve()
      }
      // What joins signals to one costs more than listening to each.
      for (const signal of signals) signal.addEventListener('abort', done, { once: true })
      for (const id of waiter.missing) {
        const others = this.#byId.get(id)
        if (others === undefined) this.#byId.set(id, new Set([waiter]))
        else others.add(waiter)
      }
      this.#idCount += waiter.missing.size
    })
  }

  #forget(waiter: Waiter): void {
    for (const id of waiter.missing) {
      const others = this.#byId.get(id)
      others?.delete(waiter)
      if (others?.size === 0) this.#byId.delete(id)
    }
    this.#idCount -= waiter.missing.size
    waiter.missing.clear()
  }
}
