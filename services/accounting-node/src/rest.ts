/**
 * Memory of a node that has nothing more to do. What a burst of work has filled would stay as it is until the next one: nothing asks for a
 * collection while nothing is allocated. So the node collects once when it comes to rest.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** How often the node looks how busy its event loop was since. */
const lookEveryMs = 500
/** Part of the time that the loop is busy in a burst, and at rest. */
const busyPart = 0.25
const restPart = 0.1
/** It rests once it was at rest in so many looks. */
const looksAtRest = 4

/** What tells a burst from rest. */
export interface RestOptions {
  /** Part of the time since the last call that the event loop was busy, 0 to 1. */
  readonly busyPart: () => number
  readonly collect: () => void
}

/** Looks again and again, and collects once after each burst. */
export class Rest {
  readonly #options: RestOptions
  #timer: NodeJS.Timeout | undefined
  /** True from a burst until what it left is collected. */
  #isDue = false
  #restedLooks = 0

  constructor(options: RestOptions) {
    this.#options = options
  }

  /** Begins to look; keeps no process alive. */
  start(): void {
    this.#timer ??= setInterval(() => this.look(), lookEveryMs).unref()
  }

  /** Ends it. */
  stop(): void {
    clearInterval(this.#timer)
  }

  /** One look. */
  look(): void {
    const busy = this.#options.busyPart()
    if (busy > busyPart) this.#isDue = true
    this.#restedLooks = busy < restPart ? this.#restedLooks + 1 : 0
    if (!this.#isDue || this.#restedLooks < looksAtRest) return
    this.#isDue = false
    this.#options.collect()
  }
}

/** The event loop and the collector of this process. */
export function restOfProcess(): Rest {
  let before = performance.eventLoopUtilization()
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as (options: { type: 'major' }) => void
  return new Rest({
    busyPart: () => {
      const now = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(now, before)
      before = now
      return utilization
    },
    collect: () => gc({ type: 'major' }),
  })
}
