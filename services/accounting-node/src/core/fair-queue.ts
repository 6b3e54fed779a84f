/** Serves in turns: one of each sponsor, and of each sponsor one of each account. What one account sent stays in order. */
import type { Owner } from '../core/owners.ts'

/** Something that waits for its turn. */
export interface Owned {
  readonly owner: Owner
}

/** A queue in which nobody waits for all that somebody else has put there. */
export class FairQueue<T extends Owned> {
  /** By sponsor and account, whose turn it is first. */
  readonly #sponsors = new Map<string, Map<string, T[]>>()
  readonly #counts = new Map<string, number>()
  #count = 0

  /** How many wait. */
  get count(): number {
    return this.#count
  }

  /** Sponsors that have something waiting. */
  get sponsorCount(): number {
    return this.#sponsors.size
  }

  /** How many of a sponsor wait. */
  countOf(sponsor: string): number {
    return this.#counts.get(sponsor) ?? 0
  }

  /** Adds one at the end of its account's line. */
  add(item: T): void {
    const { account, sponsor } = item.owner
    this.#counts.set(sponsor, this.countOf(sponsor) + 1)
    let accounts = this.#sponsors.get(sponsor)
    if (accounts === undefined) {
      accounts = new Map()
      this.#sponsors.set(sponsor, accounts)
    }
    const line = accounts.get(account)
    if (line === undefined) accounts.set(account, [item])
    else line.push(item)
    this.#count++
  }

  /** Takes the one whose turn it is among the sponsors that may be served, all by default; undefined if there is none. */
  take(mayServe: (sponsor: string) => boolean = () => true): T | undefined {
    for (const [sponsor, accounts] of this.#sponsors) {
      if (!mayServe(sponsor)) continue
      const item = takeOf(accounts)
      // Whoever was served goes to the end.
      this.#sponsors.delete(sponsor)
      if (accounts.size > 0) {
        this.#sponsors.set(sponsor, accounts)
        this.#counts.set(sponsor, this.countOf(sponsor) - 1)
      } else this.#counts.delete(sponsor)
      this.#count--
      return item
    }
    return undefined
  }
}

/** The first so many in turns: one of each sponsor, and of each sponsor one of each account. Each account's stay in order. */
export function inTurns<T extends Owned>(items: Iterable<T>, countMax = Number.POSITIVE_INFINITY): T[] {
  const queue = new FairQueue<T>()
  for (const item of items) queue.add(item)
  const turns: T[] = []
  while (turns.length < countMax) {
    const next = queue.take()
    if (next === undefined) break
    turns.push(next)
  }
  return turns
}

function takeOf<T>(accounts: Map<string, T[]>): T | undefined {
  for (const [account, line] of accounts) {
    const item = line.shift()
    accounts.delete(account)
    if (line.length > 0) accounts.set(account, line)
    return item
  }
  return undefined
}
