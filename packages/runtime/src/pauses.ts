/** Pauses between attempts, each thing for itself: what fails again and again waits longer, and holds up nothing else. */

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
    return this.#nowMs() < (this.#pauses.get(name)?.untilMs ?? 0)
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
