import type { Clock } from './ports.ts'

/** Runs one piece of work at a time, in the order of arrival. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve()

  /** Runs `work` after everything before it, whatever became of that. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work)
    this.#last = result.catch(() => {})
    return result
  }
}

/** Resolves when `work` is done, after `ms`, or when `signal` aborts, whichever is first; rejects only as `work` does. */
export async function within(
  clock: Clock,
  work: Promise<unknown>,
  { ms, signal }: { ms: number; signal: AbortSignal },
): Promise<void> {
  const timer = new AbortController()
  // With a reason of its own no error is made each time.
  const stop = (): void => timer.abort('ended')
  signal.addEventListener('abort', stop)
  if (signal.aborted) stop()
  try {
    await Promise.race([work, clock.wait(ms, timer.signal)])
  } finally {
    signal.removeEventListener('abort', stop)
    stop()
  }
}

/** Something that others wait for: each `notify` wakes all that wait. */
export class Condition {
  #waiting = Promise.withResolvers<void>()

  notify(): void {
    const woken = this.#waiting
    this.#waiting = Promise.withResolvers<void>()
    woken.resolve()
  }

  /** Resolves at the next `notify`, after `ms`, or when `signal` aborts. */
  wait(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
    return within(clock, this.#waiting.promise, { ms, signal })
  }

  /** Waits until `holds` is true; answers false if `ms` passed or `signal` aborted before. */
  async until(holds: () => boolean, clock: Clock, ms: number, signal: AbortSignal): Promise<boolean> {
    // One timer for all that may be notified meanwhile.
    let isOver = false
    const woken = async (): Promise<void> => {
      while (!isOver && !holds()) await this.#waiting.promise
    }
    try {
      await within(clock, woken(), { ms, signal })
    } finally {
      isOver = true
    }
    return holds()
  }
}
