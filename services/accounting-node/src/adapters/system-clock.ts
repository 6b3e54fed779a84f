import type { Clock } from '../core/ports.ts'

/** The machine's clock and timers. `offsetMs` is added to the time that it tells: a wrong clock, for tests. */
export function createSystemClock(offsetMs = 0): Clock {
  return { nowMs: () => Date.now() + offsetMs, elapsedMs: () => performance.now(), wait }
}

function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end)
  })
}
