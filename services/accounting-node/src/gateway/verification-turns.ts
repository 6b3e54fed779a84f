/**
 * Whose signatures are verified now. What is not verified counts for nobody, or a forged signature would use somebody's share up; so
 * one account could have as much verified at one time as it likes, only to be turned away after it. Here it waits for itself.
 */
import type { Owner } from '../core/owners.ts'

/** Submissions in the name of one account that are verified at one time. */
const perAccountMax = 1
/** And of all accounts of one sponsor: threads and main loop stay busy. */
const perSponsorMax = 3

interface Waiting {
  readonly owner: Owner
  readonly enter: () => void
}

/** The turns of one gateway. */
export class VerificationTurns {
  readonly #running = new Map<string, number>()
  /** Oldest first; a gateway bounds how many there are. */
  #waiting: Waiting[] = []

  /** Resolves when the owner's submission may be verified; then `leave` must be called with the same owner. */
  async enter(owner: Owner): Promise<void> {
    if (!this.#isFree(owner)) {
      await new Promise<void>((enter) => {
        this.#waiting.push({ owner, enter })
      })
    } else this.#count(owner, 1)
  }

  /** The owner's submission was verified: the next that may takes its place. */
  leave(owner: Owner): void {
    this.#count(owner, -1)
    const left: Waiting[] = []
    for (const waiting of this.#waiting) {
      if (this.#isFree(waiting.owner)) {
        this.#count(waiting.owner, 1)
        waiting.enter()
      } else left.push(waiting)
    }
    this.#waiting = left
  }

  #isFree({ account, sponsor }: Owner): boolean {
    const [own, all] = [this.#running.get(`account/${account}`) ?? 0, this.#running.get(`sponsor/${sponsor}`) ?? 0]
    return own < perAccountMax && all < perSponsorMax
  }

  #count({ account, sponsor }: Owner, by: number): void {
    for (const name of [`account/${account}`, `sponsor/${sponsor}`]) {
      const count = (this.#running.get(name) ?? 0) + by
      if (count === 0) this.#running.delete(name)
      else this.#running.set(name, count)
    }
  }
}
