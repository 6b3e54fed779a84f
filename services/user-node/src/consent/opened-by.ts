/** The transaction that opened a grant, as a row of `grants` has it. */
import { toHex } from '@healthblock/encoding/bytes'

/** Of a grant that this node found on the ledger: its folder is an older copy, and only the ledger knows how it came there. */
export const unknownTransaction = new Uint8Array(0)

/** As text; null for {@link unknownTransaction}. */
export function openedBy(tx: Uint8Array): string | null {
  return tx.length === 0 ? null : toHex(tx)
}
