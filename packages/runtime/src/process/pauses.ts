/** Pauses between attempts, each thing for itself: what fails again and again waits longer, and holds up nothing else. */
import { setTimeout as delay } from 'node:timers/promises'

/**
 * True until a moment that was at most `lengthMs` away when it was written down: a clock that was ahead then, and was set right since, does
 * not make the wait longer.
 */
export function isYetToCome(untilMs: number, { nowMs, lengthMs }: { nowMs: number; lengthMs: number }): boolean {
  return nowMs < untilMs && untilMs - nowMs <= lengthMs
}

/** Waits for so long, or until the signal ends. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => {})
}

/** How long the first pause is, and the longest. */
export interface PauseLimits {
  readonly minMs: number
  readonly maxMs: number
}

/** Who pauses, by name, and for how long. */
export class Pauses {
  readonly #limits: PauseLimits
  readonly #nowMs: () => number
  readonly #pauses = new Map<string, { lengthMs: number; untilMs: number }>()

  constructor(limits: PauseLimits, nowMs: () => number) {
    this.#limits = limits
    this.#nowMs = nowMs
  }

  /** True while this one is not to be tried. */
  isPausing(name: string): boolean {
    const pause = this.#pauses.get(name)
    if (pause === undefined) return false
    return isYetToCome(pause.untilMs, { nowMs: this.#nowMs(), lengthMs: pause.lengthMs })
  }

  /** An attempt failed: pauses, twice as long as the last time. @returns the length in ms. */
  failed(name: string): number {
    const { minMs, maxMs } = this.#limits
    const lengthMs = Math.min(maxMs, Math.max(minMs, (this.#pauses.get(name)?.lengthMs ?? 0) * 2))
    this.#pauses.set(name, { lengthMs, untilMs: this.#nowMs() + lengthMs })
    return lengthMs
  }

  /** An attempt succeeded: the next failure begins anew. */
  succeeded(name: string): void {
    this.#pauses.delete(name)
  }
}
