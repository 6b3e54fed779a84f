/**
 * Who may have how much of a crowded gateway. One account that submits without end, and a thousand accounts of one sponsor, leave room
 * for everybody else. A limit of ingress alone: it never makes a transaction invalid, and whoever is turned away comes again.
 */

/** A gateway is crowded when this part of its limit is pending. */
const crowdedPart = 0.25
/** Part of the limit that one account may have then. */
const accountPart = 0.125
/** And all accounts of one sponsor. */
const sponsorPart = 0.5

/** Whose transaction it is. */
export interface Owner {
  /** Account in lower-case hex. */
  readonly account: string
  /** Account of whoever sponsored it, in lower-case hex; the account itself if nobody did. */
  readonly sponsor: string
}

function change(counts: Map<string, number>, name: string, by: number): void {
  const count = (counts.get(name) ?? 0) + by
  if (count === 0) counts.delete(name)
  else counts.set(name, count)
}

function isOver(counts: ReadonlyMap<string, number>, more: ReadonlyMap<string, number>, max: number): boolean {
  for (const [name, count] of more) {
    const known = counts.get(name) ?? 0
    // Who has nothing pending may always have one submission.
    if (known > 0 && known + count > max) return true
  }
  return false
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

  /** Whose share a submission would exceed, with `pending` of at most `limit` pending; undefined if nobody's. */
  exceeded(owners: readonly Owner[], { pending, limit }: { pending: number; limit: number }) {
    if (pending + owners.length < limit * crowdedPart) return undefined
    const accounts = new Map<string, number>()
    const sponsors = new Map<string, number>()
    for (const { account, sponsor } of owners) {
      change(accounts, account, 1)
      change(sponsors, sponsor, 1)
    }
    if (isOver(this.#accounts, accounts, Math.floor(limit * accountPart))) return 'account'
    return isOver(this.#sponsors, sponsors, Math.floor(limit * sponsorPart)) ? 'sponsor' : undefined
  }
}
