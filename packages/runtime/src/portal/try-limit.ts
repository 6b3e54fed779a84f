import { RuntimeError } from '../errors.ts'

/** How many wrong tries are let through. */
export interface TryLimitOptions {
  /** Default 5. */
  readonly triesMax?: number
  /** A try counts for this long, default 15 minutes. */
  readonly windowMs?: number
  readonly nowMs: () => number
}

const keysMax = 10_000

/**
 * Limits guesses of a secret. Counted per key (who is guessed, and from where), so that a stranger's guesses bar the stranger and not the
 * person; sessions that are open stay open.
 */
export class TryLimit {
  readonly #triesMax: number
  readonly #windowMs: number
  readonly #nowMs: () => number
  readonly #tries = new Map<string, number[]>()

  constructor(options: TryLimitOptions) {
    this.#triesMax = options.triesMax ?? 5
    this.#windowMs = options.windowMs ?? 15 * 60_000
    this.#nowMs = options.nowMs
  }

  /**
   * Counts a try before it is made, so that guesses that come together are as many as they are.
   *
   * @returns Takes the try back, for one that said nothing about the secret.
   * @throws {RuntimeError} `ERR_TOO_MANY_TRIES`.
   */
  begin(key: string): () => void {
    const now = this.#nowMs()
    const recent = this.#recent(key, now)
    if (recent.length >= this.#triesMax) {
      const retryAfterMs = (recent[0] as number) + this.#windowMs - now
      throw new RuntimeError(`too many wrong tries: try again in ${Math.ceil(retryAfterMs / 60_000)} minutes`, {
        code: 'ERR_TOO_MANY_TRIES',
        retryAfterMs,
      })
    }
    if (this.#tries.size >= keysMax) this.#sweep(now)
    this.#tries.set(key, [...recent, now])
    return () => {
      const left = [...(this.#tries.get(key) ?? [])]
      const at = left.indexOf(now)
      if (at >= 0) left.splice(at, 1)
      this.#tries.set(key, left)
    }
  }

  /** Forgets a key's tries: the secret was right. */
  succeed(key: string): void {
    this.#tries.delete(key)
  }

  /** Those of another day, when the clock was ahead, do not count. */
  #recent(key: string, now: number): number[] {
    return (this.#tries.get(key) ?? []).filter((at) => Math.abs(now - at) < this.#windowMs)
  }

  #sweep(now: number): void {
    for (const key of [...this.#tries.keys()]) if (this.#recent(key, now).length === 0) this.#tries.delete(key)
    // Still full: a flood of made-up keys. The oldest go first; nobody's own limit is lifted by it for long.
    for (const key of this.#tries.keys()) {
      if (this.#tries.size < keysMax) return
      this.#tries.delete(key)
    }
  }
}
