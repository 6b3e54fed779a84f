/**
 * What a leader has judged and found to lack something. It is tried again for a while, because what it lacks is often right behind it:
 * with each block that came meanwhile, in turns, and never so much of it that a block waits for it.
 */
import type { Candidate } from './candidates.ts'
import { FairQueue } from './fair-queue.ts'

/** A candidate that lacks something stays this long with the leader. */
export const carryMs = 5_000
/** Most of them. */
const carriedMax = 8_192
/** Most of one sponsor. */
export const carriedOfSponsorMax = 2_048
/** Without a block they are tried again after so long: what lacks only time is good by then. */
const againMs = 250

/** The candidates that lack something. */
export class Carried {
  readonly #queue = new FairQueue<Candidate>()
  #triedHeight = -1
  #triedMs = Number.NEGATIVE_INFINITY

  /** How many there are. */
  get count(): number {
    return this.#queue.count
  }

  /** Keeps candidates, as many as there is room for: the others are brought back by those who promised them. */
  add(candidates: readonly Candidate[]): void {
    for (const candidate of candidates) {
      const isFull =
        this.#queue.count >= carriedMax || this.#queue.countOf(candidate.owner.sponsor) >= carriedOfSponsorMax
      if (!isFull) this.#queue.add(candidate)
    }
  }

  /** Takes those whose turn it is, at most `countMax`; none if no block came since the last time, unless that is long ago. */
  take(countMax: number, { height, nowMs }: { height: number; nowMs: number }): Candidate[] {
    if (height === this.#triedHeight && nowMs - this.#triedMs < againMs) return []
    this.#triedHeight = height
    this.#triedMs = nowMs
    const taken: Candidate[] = []
    while (taken.length < countMax) {
      const candidate = this.#queue.take()
      if (candidate === undefined) break
      if (candidate.sinceMs > nowMs - carryMs) taken.push(candidate)
    }
    return taken
  }
}
