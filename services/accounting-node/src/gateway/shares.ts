/**
 * Who may have how much of a crowded gateway. One account that submits without end, and a thousand accounts of one sponsor, leave room
 * for everybody else. A limit of ingress alone: it never makes a transaction invalid, and whoever is turned away comes again.
 */
import type { Owner } from '../core/owners.ts'
import { AccountingError } from '../errors.ts'

/** A gateway is crowded when this part of its limit is pending. */
const crowdedPart = 0.25
/** Part of the limit that one account may have then. */
const accountPart = 0.125
/** And all accounts of one sponsor. */
const sponsorPart = 0.5
/** A gateway that has all it promises still takes a sponsor's up to this part of the limit, */
const smallPart = 0.0625
/** and until it has so many times the limit. */
export const overLimitMax = 2

/** Why a submission is turned away. */
export type IngressLimit = 'submissions' | 'pending' | 'account' | 'sponsor'

/** The error of a submission that is turned away: nothing of it was promised. */
export function turnedAway(limit: IngressLimit, retryAfterMs: number): AccountingError {
  if (limit === 'submissions' || limit === 'pending') {
    const detail = { code: 'ERR_GATEWAY_FULL', retryAfterMs, limit } as const
    return new AccountingError('this gateway is full: try again later, or at another node', detail)
  }
  const detail = { code: 'ERR_SHARE_EXCEEDED', retryAfterMs, limit } as const
  return new AccountingError(`too much of this ${limit} is pending here: try again later`, detail)
}

function change(counts: Map<string, number>, name: string, by: number): void {
  const count = (counts.get(name) ?? 0) + by
  if (count === 0) counts.delete(name)
  else counts.set(name, count)
}

/** Who has nothing pending may always have one submission. */
function isOver(known: number | undefined, count: number, max: number): boolean {
  return known !== undefined && known + count > max
}

/** Counts of pending transactions by account and sponsor. */
export class Shares {
  readonly #accounts = new Map<string, number>()
  readonly #sponsors = new Map<string, number>()

  /** One more is pending. */
  add({ account, sponsor }: Owner): void {
    change(this.#accounts, account, 1)
    change(this.#sponsors, sponsor, 1)
  }

  /** One less. */
  remove({ account, sponsor }: Owner): void {
    change(this.#accounts, account, -1)
    change(this.#sponsors, sponsor, -1)
  }

  /**
   * How many count as pending beside a limit: of each sponsor no more than its part. What it has beyond that was promised when the limit was
   * higher, and may wait for something that never comes: it takes nobody else's room.
   */
  counted(limit: number): number {
    const most = Math.max(1, Math.floor(limit * sponsorPart))
    let count = 0
    for (const own of this.#sponsors.values()) count += Math.min(own, most)
    return count
  }

  /** What a submission would exceed, with `pending` of at most `limit` pending: somebody's share, or the limit; undefined if nothing. */
  exceeded(owners: readonly Owner[], at: { pending: number; limit: number }): IngressLimit | undefined {
    const claim = this.claim(at)
    for (const owner of owners) {
      const exceeded = claim.add(owner)
      if (exceeded !== undefined) return exceeded
    }
    return claim.end()
  }

  /** A submission as it is read: each transaction may be one too many. */
  claim(at: { pending: number; limit: number }): Claim {
    return new Claim({ accounts: this.#accounts, sponsors: this.#sponsors }, at)
  }
}

interface Counts {
  readonly accounts: ReadonlyMap<string, number>
  readonly sponsors: ReadonlyMap<string, number>
}

/** What one submission adds to what is pending. */
class Claim {
  readonly #pending: Counts
  readonly #at: { readonly pending: number; readonly limit: number }
  readonly #accounts = new Map<string, number>()
  readonly #sponsors = new Map<string, number>()
  #count = 0
  #exceeded: IngressLimit | undefined

  constructor(pending: Counts, at: { pending: number; limit: number }) {
    this.#pending = pending
    this.#at = at
  }

  /** One more; answers whose share is exceeded by now. */
  add({ account, sponsor }: Owner): IngressLimit | undefined {
    const { limit, pending } = this.#at
    this.#count++
    const own = (this.#accounts.get(account) ?? 0) + 1
    const all = (this.#sponsors.get(sponsor) ?? 0) + 1
    this.#accounts.set(account, own)
    this.#sponsors.set(sponsor, all)
    if (isOver(this.#pending.accounts.get(account), own, Math.floor(limit * accountPart))) this.#exceeded ??= 'account'
    if (isOver(this.#pending.sponsors.get(sponsor), all, Math.floor(limit * sponsorPart))) this.#exceeded ??= 'sponsor'
    // While there is room nobody has a share.
    return pending + this.#count < limit * crowdedPart ? undefined : this.#exceeded
  }

  /** All were added; answers whether the gateway is too full for them. */
  end(): IngressLimit | undefined {
    const { limit, pending } = this.#at
    if (pending < limit) return undefined
    // Whoever has next to nothing pending is not why the gateway is full.
    const smallMax = Math.max(1, Math.floor(limit * smallPart))
    const isSmall = [...this.#sponsors].every(
      ([name, count]) => (this.#pending.sponsors.get(name) ?? 0) + count <= smallMax,
    )
    return isSmall && pending < limit * overLimitMax ? undefined : 'pending'
  }
}
