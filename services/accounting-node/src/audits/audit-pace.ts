/** How fast an audit is, and how long it will take: over the last seconds. */
import type { AuditProgress } from '@healthblock/audit/audit'
import type { ChainName } from '@healthblock/chain/chains'

/** How much of the past the rate is taken over. */
const windowMs = 10_000

/** How far an audit is. */
export interface PacedProgress extends AuditProgress {
  /** Entries a second; null until there is something to go by. */
  readonly entriesPerSecond: number | null
  /** Of this chain, s; null until there is something to go by. */
  readonly secondsLeft: number | null
}

/** Follows one audit. */
export class AuditPace {
  readonly #nowMs: () => number
  #chain: ChainName | undefined
  #samples: { readonly atMs: number; readonly done: number }[] = []

  /** @param nowMs - A clock that never steps. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** Takes progress and gives it back with its pace. */
  take(progress: AuditProgress): PacedProgress {
    const atMs = this.#nowMs()
    if (progress.chain !== this.#chain) this.#samples = []
    this.#chain = progress.chain
    this.#samples.push({ atMs, done: progress.done })
    while (this.#samples.length > 2 && atMs - (this.#samples[0]?.atMs ?? atMs) > windowMs) this.#samples.shift()
    const first = this.#samples[0] ?? { atMs, done: progress.done }
    const seconds = (atMs - first.atMs) / 1000
    const rate = (progress.done - first.done) / seconds
    const left = progress.total - progress.done
    if (left === 0) return { ...progress, entriesPerSecond: Number.isFinite(rate) ? rate : null, secondsLeft: 0 }
    if (!Number.isFinite(rate) || rate <= 0) return { ...progress, entriesPerSecond: null, secondsLeft: null }
    return { ...progress, entriesPerSecond: rate, secondsLeft: Math.ceil(left / rate) }
  }
}
