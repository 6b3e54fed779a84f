/** What of a node's own consent is not known to be on the ledger: each further `key` repeats it, so that none that is lost is missed. */
import type { Cut } from '@healthblock/chain/transaction'
import { toHex } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import type { LedgerView } from '../ledger-view.ts'
import type { Person } from '../store/person.ts'

/** Most grants that one `key` ends. */
export const closesMax = 256

/** The newest generation whose `key` is known to be on record. */
function committedGeneration(database: Database, account: Uint8Array): number {
  const find = "SELECT max(generation) AS generation FROM consent WHERE account = ? AND state = 'committed'"
  return Number(database.get(find, account)?.generation ?? 0)
}

/** Every cut, of generations before `generation`, and close of own predecessors that are not known as committed, the oldest first; at most 256 of each. */
export function unconfirmed(
  { database, ledger }: { readonly database: Database; readonly ledger: LedgerView },
  account: Uint8Array,
  { generation, newest }: { generation: number; newest: number },
): { cuts: Cut[]; closes: Uint8Array[] } {
  const committed = committedGeneration(database, account)
  // Cuts before the ledger's generation are on record, however many somebody else made; those of an older copy may be others.
  const first = Math.max(1, committed, ledger.currentGeneration(account))
  const cuts = database.all(
    'SELECT stream, generation, last FROM cut WHERE account = ? AND generation >= ? AND generation < ? ORDER BY generation, stream LIMIT 256',
    ...[account, first, generation],
  )
  const closes = database.all(
    `SELECT gid FROM grants WHERE account = ? AND coalesce(told, closegen) > ? AND coalesce(told, closegen) <= ?
     ORDER BY coalesce(told, closegen), gid LIMIT ?`,
    ...[account, committed, Math.max(generation, newest), closesMax],
  )
  return {
    cuts: cuts.map((cut): Cut => [cut.stream as Uint8Array, Number(cut.generation), Number(cut.last)]),
    closes: closes.map(({ gid }) => gid as Uint8Array),
  }
}

/**
 * Notes what a change of keys ends: what its `key` has no room for is left to the next one. Inside the caller's transaction.
 *
 * @param closed - by its `key`.
 * @param ending - what is to end with this change.
 */
export function noteEnded(
  database: Database,
  account: Uint8Array,
  change: { generation: number; atMs: number; ending: readonly Uint8Array[]; closed: readonly Uint8Array[] },
): void {
  const { generation, atMs, ending, closed } = change
  for (const gid of ending) {
    database.run(
      'UPDATE grants SET closed = coalesce(closed, ?), closegen = ? WHERE account = ? AND gid = ? AND closegen IS NULL',
      ...[atMs, generation, account, gid],
    )
  }
  const isClosed = new Set(closed.map(toHex))
  const rows = database.all(
    'SELECT gid, coalesce(told, closegen) AS told FROM grants WHERE account = ? AND coalesce(told, closegen) > ?',
    ...[account, committedGeneration(database, account)],
  )
  for (const { gid, told: before } of rows) {
    // Also what was left to a generation that somebody else opened, which no change of keys of this node has.
    const told = isClosed.has(toHex(gid as Uint8Array)) ? Math.min(Number(before), generation) : generation + 1
    if (told === before) continue
    database.run(
      'UPDATE grants SET told = nullif(?, closegen) WHERE account = ? AND gid = ?',
      ...[told, account, gid as Uint8Array],
    )
  }
}

/** True if ends of grants are left to the next change of keys, which has room for them now: the one before is on record. */
export function isEndLeft(database: Database, account: Uint8Array, generation: number): boolean {
  const left = database.get('SELECT 1 FROM grants WHERE account = ? AND told > ? LIMIT 1', account, generation)
  if (left === undefined) return false
  const recorded = "SELECT 1 FROM consent WHERE account = ? AND generation >= ? AND state = 'committed' LIMIT 1"
  return database.get(recorded, account, generation) !== undefined
}

/** A change of keys that was refused may be on the ledger all the same: a gateway that kept it back put it there later. Its receipt is asked for. */
export function noteRecorded(
  { database, ledger }: { readonly database: Database; readonly ledger: LedgerView },
  { account, hot }: Person,
  nowMs: number,
): void {
  const tx = ledger.openedBy(account, hot.generation)
  if (tx === undefined || database.get("SELECT 1 FROM consent WHERE tx = ? AND state = 'refused'", tx) === undefined)
    return
  database.run("UPDATE consent SET state = 'committed', recorded = coalesce(recorded, ?) WHERE tx = ?", nowMs, tx)
}
