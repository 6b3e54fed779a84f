/** Whether a node hears of what happens on the ledger, for whoever looks at its screens: what they show is as old as that. */
import { staleAfterMs } from './follower.ts'
import type { Freshness } from './follower-types.ts'

/** How old what a node knows of the ledger is. */
export interface LedgerStanding {
  /** When a quorum last signed the Userchain that this node knows, ISO 8601; null before it has heard one since it started. */
  readonly ledgerAt: string | null
  /** The ledger is out of reach, or turns this node away, for longer than it is silent by itself; or this node's clock is as far behind. */
  readonly isLedgerLate: boolean
}

/** A quorum renews its word at least every 150 s, and a node asks for it every 30 s: what is older by more than two of them was not heard. */
const lateMs = staleAfterMs + 60_000

/** The standing of a node at a moment, by its follower's `freshness` of Userchain. */
export function ledgerStandingOf({ cosignedMs }: Pick<Freshness, 'cosignedMs'>, nowMs: number): LedgerStanding {
  // With a clock that is as far behind, nothing would be late until it has caught up with what was heard.
  const isLate = cosignedMs === undefined || Math.abs(nowMs - cosignedMs) > lateMs
  return { ledgerAt: isoOf(cosignedMs), isLedgerLate: isLate }
}

/** A moment in Unix ms as ISO 8601; null for none. */
export function isoOf(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString()
}
