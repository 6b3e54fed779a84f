/**
 * Whose signatures are verified now. What is not verified counts for nobody, or a forged signature would use somebody's share up; so
 * one account could have as much verified at one time as it likes, only to be turned away after it. Here it waits for itself.
 */
import type { Owner } from '../core/owners.ts'

/** Submissions in the name of one account that are verified at one time. */
const perAccountMax = 1
/** And of all accounts of one sponsor, or as many as have so few transactions together: threads and main loop stay busy. */
const perSponsorMax = 3
const perSponsorTransactionsMax = 64

interface Waiting {
  readonly owner: Owner
  readonly count: number
  readonly enter: () => void
}

/** The turns of one gateway. */
export class VerificationTurns {
  /** Submissions by account. */
  readonly #accounts = new Map<string, number>()
  /** Submissions and their transactions by sponsor. */
  readonly #sponsors = new Map<string, { submissions: number; transactions: number }>()
  /** Oldest first; a gateway bounds how many there are. */
  #waiting: Waiting[] = []

  /**
   * Resolves when the owner's submission may be verified; then `leave` must be called with the same arguments.
   *
   * @param count - Its transactions.
   */
  async enter(owner: Owner, count: number): Promise<void> {
    const isFirst = !this.#waiting.some(
      (other) => other.owner.sponsor === owner.sponsor && this.#isOwnFree(other.owner),
    )
    if (!isFirst || !this.#isFree(owner, count)) {
      await new Promise<void>((enter) => {
        this.#waiting.push({ owner, count, enter })
      })
    } else this.#add(owner, count)
  }

  /** The owner's submission was verified: those that may take its place. */
  leave({ account, sponsor }: Owner, count: number): void {
    const own = (this.#accounts.get(account) ?? 0) - 1
    if (own > 0) this.#accounts.set(account, own)
    else this.#accounts.delete(account)
    const all = this.#sponsors.get(sponsor)
    if (all !== undefined) {
      all.submissions--
      all.transactions -= count
      if (all.submissions === 0) this.#sponsors.delete(sponsor)
    }
    const left: Waiting[] = []
    // Who waits for his sponsor's others is passed by none of them, or many small submissions would keep a large one waiting for good.
    const full = new Set<string>()
    for (const waiting of this.#waiting) {
      const isFull = full.has(waiting.owner.sponsor)
      if (!isFull && this.#isFree(waiting.owner, waiting.count)) {
        this.#add(waiting.owner, waiting.count)
        waiting.enter()
      } else {
        left.push(waiting)
        if (this.#isOwnFree(waiting.owner)) full.add(waiting.owner.sponsor)
      }
    }
    this.#waiting = left
  }

  #isOwnFree({ account }: Owner): boolean {
    return (this.#accounts.get(account) ?? 0) < perAccountMax
  }

  #isFree(owner: Owner, count: number): boolean {
    if (!this.#isOwnFree(owner)) return false
    const all = this.#sponsors.get(owner.sponsor)
    if (all === undefined) return true
    return all.submissions < perSponsorMax || all.transactions + count <= perSponsorTransactionsMax
  }

  #add({ account, sponsor }: Owner, count: number): void {
    this.#accounts.set(account, (this.#accounts.get(account) ?? 0) + 1)
    const all = this.#sponsors.get(sponsor) ?? { submissions: 0, transactions: 0 }
    all.submissions++
    all.transactions += count
    this.#sponsors.set(sponsor, all)
  }
}
