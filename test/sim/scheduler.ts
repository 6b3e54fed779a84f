/**
 * Time, and all that happens in it. An event is a function at a moment; events of one moment happen in the order in which they were
 * planned. After each one everything that follows from it without waiting (promises) happens before the next: the loop gives the
 * microtask queue its turn between two events, and nothing of the simulation waits for anything else.
 */

/** A process of the simulation, from its start to its end. What belongs to it happens only while it lives and is not paused. */
export class Life {
  readonly rank: number
  isDead = false
  isPaused = false
  /** Events that fell due during the pause. */
  readonly held: Planned[] = []

  constructor(rank: number) {
    this.rank = rank
  }
}

/** A planned event. */
export interface Planned {
  readonly atMs: number
  readonly number: number
  /** Whose event it is; the world's own have none. */
  readonly life: Life | undefined
  run: () => void
  isCancelled: boolean
}

function nothing(): void {}

function isEarlier(a: Planned, b: Planned): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.number < b.number)
}

const nativeImmediate = globalThis.setImmediate
/** Turns that are asked for at a time: the event loop goes round once for all of them, and runs what follows from each before the next. */
const turnsAtOnce = 64

/** The clock and the queue of events of one run. */
export class Scheduler {
  /** Virtual time since the start. */
  nowMs = 0
  /** Events that happened. */
  count = 0
  /** Whose event happened last. */
  current: Life | undefined
  readonly #heap: Planned[] = []
  #number = 0

  /** Plans an event. A life's events end with it. */
  after(delayMs: number, life: Life | undefined, run: () => void): Planned {
    const planned = { atMs: this.nowMs + delayMs, number: this.#number++, life, run, isCancelled: false }
    this.#push(planned)
    return planned
  }

  /** Takes a planned event back. It waits for its moment all the same, so it lets go of what it would have done. */
  cancel(planned: Planned): void {
    planned.isCancelled = true
    planned.run = nothing
  }

  #push(planned: Planned): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(planned)
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent] as Planned
      if (!isEarlier(planned, above)) break
      heap[at] = above
      at = parent
    }
    heap[at] = planned
  }

  #pop(): Planned | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isEarlier(heap[child + 1] as Planned, heap[child] as Planned)) child++
      if (!isEarlier(heap[child] as Planned, last)) break
      heap[at] = heap[child] as Planned
      at = child
    }
    heap[at] = last
    return first
  }

  /** Stops a life's time. */
  pause(life: Life): void {
    life.isPaused = true
  }

  /** Lets it go on: what fell due meanwhile happens now, in order. */
  resume(life: Life): void {
    life.isPaused = false
    for (const { run } of life.held.splice(0)) this.after(0, life, run)
  }

  #next(): Planned | undefined {
    for (;;) {
      const planned = this.#pop()
      if (planned === undefined) return undefined
      const { life } = planned
      if (planned.isCancelled || life?.isDead === true) continue
      if (life?.isPaused !== true) return planned
      life.held.push(planned)
    }
  }

  /**
   * Lets everything happen until `settled`, called after each event and what follows from it, answers false.
   *
   * @throws whatever an event or `settled` throws.
   */
  run(settled: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      let left = 0
      let isOver = false
      const turn = (): void => {
        left--
        if (isOver) return
        try {
          isOver = !settled()
          if (isOver) resolve()
          else this.#step()
          if (left === 0 && !isOver) plan()
        } catch (error) {
          isOver = true
          reject(error)
        }
      }
      const plan = (): void => {
        for (left = 0; left < turnsAtOnce; left++) nativeImmediate(turn)
      }
      plan()
    })
  }

  /** The next event happens. */
  #step(): void {
    const planned = this.#next()
    if (planned === undefined) throw new Error('nothing is left to happen')
    this.nowMs = Math.max(this.nowMs, planned.atMs)
    this.current = planned.life
    this.count++
    planned.run()
  }
}
