/**
 * Which moment a live picture shows. Samples come in bunches, a publication period apart; the picture moves evenly, a little behind the
 * newest sample, so that the next bunch is there before the last one is used up.
 */

/** So much is left when the next bunch arrives. */
const reserveMs = 500
/** More than this above the reserve is caught up with. */
const surplusMsMax = 500
/** How much slower or faster it may run to keep the reserve: too little to see. */
const slowest = 0.95
const fastest = 1.1
/** Further behind than this and two periods: it jumps. */
const lagMsMax = 5_000
const periodMsMax = 60_000

/** The moment that is shown, moved a little at a time. */
export class Playhead {
  #atMs: number | undefined
  #newestMs = Number.NEGATIVE_INFINITY
  #periodMs = 1_000
  /** Length of the last bunch. */
  #lengthMs = 1_000
  /** What is left too much (above 0) or too little, ms. */
  #surplusMs = 0

  /** Unix ms that is shown; undefined until samples came. */
  get atMs(): number | undefined {
    return this.#atMs
  }

  /**
   * Samples up to `newestMs` are here.
   *
   * @param bunchMs - How much came at once: until the second bunch it is taken for the time between two, so that the first is not used up
   * before the next one is there.
   */
  arrive(newestMs: number, bunchMs = this.#periodMs): void {
    if (newestMs <= this.#newestMs) return
    if (this.#atMs === undefined) this.#periodMs = Math.min(periodMsMax, Math.max(this.#periodMs, bunchMs))
    if (this.#atMs !== undefined) {
      const lengthMs = Math.min(periodMsMax, newestMs - this.#newestMs)
      const steadyMs = Math.min(lengthMs, this.#lengthMs)
      // A longer period is believed the second time, after one that may have been a pause; a shorter one when it stays.
      this.#periodMs = Math.max(steadyMs, this.#periodMs + 0.3 * (steadyMs - this.#periodMs))
      this.#lengthMs = lengthMs
      this.#surplusMs = this.#newestMs - this.#atMs - reserveMs
    }
    this.#newestMs = newestMs
  }

  /**
   * Moves on by so much time; never past the newest sample.
   *
   * @returns True if it jumped: what lies between was not shown.
   */
  advance(elapsedMs: number): boolean {
    if (!Number.isFinite(this.#newestMs)) return false
    const isFar = this.#atMs !== undefined && this.#newestMs - this.#atMs > lagMsMax + 2 * this.#periodMs
    if (this.#atMs === undefined || isFar) {
      this.#atMs = this.#newestMs - this.#periodMs - reserveMs
      this.#surplusMs = 0
      return true
    }
    this.#atMs = this.within(elapsedMs)?.atMs
    this.#surplusMs -= (this.#rate - 1) * elapsedMs
    return false
  }

  /** Where it is after so much time if nothing more arrives, and how long it moves until then; undefined until samples came. */
  within(elapsedMs: number): { readonly atMs: number; readonly movesMs: number } | undefined {
    if (this.#atMs === undefined) return undefined
    const atMs = Math.max(this.#atMs, Math.min(this.#newestMs, this.#atMs + elapsedMs * this.#rate))
    return { atMs, movesMs: (atMs - this.#atMs) / this.#rate }
  }

  get #rate(): number {
    return this.#surplusMs < 0 ? slowest : this.#surplusMs > surplusMsMax ? fastest : 1
  }
}
