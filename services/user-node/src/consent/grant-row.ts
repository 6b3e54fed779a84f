/** A grant as a row of `grants` has it, with the transaction that opened it. */
import { toHex } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import type { GrantOnRecord } from '../ledger-view.ts'

/** Of a grant that this node found on the ledger: its folder is an older copy, and only the ledger knows how it came there. */
export const unknownTransaction = new Uint8Array(0)

/** As text; null for {@link unknownTransaction}. */
export function openedBy(tx: Uint8Array): string | null {
  return tx.length === 0 ? null : toHex(tx)
}

/** Lists a new grant. Inside the caller's transaction. */
export function writeGrant(
  database: Database,
  account: Uint8Array,
  grant: GrantOnRecord & { readonly tx: Uint8Array },
): void {
  const { grantId, recipient, streams, from, until, rights, purpose, openedAtMs, tx } = grant
  database.run(
    'INSERT INTO grants (account, gid, doctor, streams, starts, until, rights, purpose, opened, tx) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
    ...[account, grantId, recipient, JSON.stringify(streams.map(toHex)), from, until, rights, purpose, openedAtMs, tx],
  )
}
