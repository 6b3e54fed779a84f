import { expect, test } from 'vitest'
import { ledgerStandingOf } from './follow/ledger-standing.ts'

const nowMs = 1_800_000_000_000

test.each([
  ['was never heard', undefined, true],
  ['was heard just now', nowMs - 1_000, false],
  ['is silent for longer than it is by itself', nowMs - 211_000, true],
  ['was heard just now, by a clock that is a little behind', nowMs + 60_000, false],
  ['turns this node away, whose clock was set back', nowMs + 3_600_000, true],
] as const)('a ledger that %s: whether it is late', (_what, cosignedMs, isLedgerLate) => {
  expect(ledgerStandingOf({ cosignedMs } as { cosignedMs: number }, nowMs)).toMatchObject({ isLedgerLate })
})
