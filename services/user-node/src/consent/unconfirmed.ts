/** What of a node's own consent is not known to be on the ledger: each further `key` repeats it, so that none that is lost is missed. */
import type { Cut } from '@healthblock/chain/transaction'
import type { Database } from '@healthblock/runtime/sqlite'
import type { LedgerView } from '../ledger-view.ts'

/** Every cut, of generations before `generation`, and close of own predecessors that are not known as committed; at most 256 of each. */
export function unconfirmed(
  { database, ledger }: { readonly database: Database; readonly ledger: LedgerView },
  account: Uint8Array,
  generation: number,
): { cuts: Cut[]; closes: Uint8Array[] } {
  const row = database.get(
    "SELECT max(generation) AS generation FROM consent WHERE account = ? AND state = 'committed'",
    account,
  )
  const committed = Number(row?.generation ?? 0)
  // Cuts before the ledger's generation are on record, however many somebody else made; those of an older copy may be others.
  const first = Math.max(1, committed, ledger.currentGeneration(account))
  const cuts = database.all(
    'SELECT stream, generation, last FROM cut WHERE account = ? AND generation >= ? AND generation < ? ORDER BY generation, stream LIMIT 256',
    ...[account, first, generation],
  )
  const closes = database.all(
    'SELECT gid FROM grants WHERE account = ? AND closegen > ? ORDER BY gid LIMIT 256',
    ...[account, committed],
  )
  return {
    cuts: cuts.map((cut): Cut => [cut.stream as Uint8Array, Number(cut.generation), Number(cut.last)]),
    closes: closes.map(({ gid }) => gid as Uint8Array),
  }
}
