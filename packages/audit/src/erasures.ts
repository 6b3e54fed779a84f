/** What patients erased: its blocks are gone, or will be, and that is no finding. */
import type { Ledger } from '@healthblock/chain/block'
import { userTables } from '@healthblock/chain/tables'

/** A record of a patient's stream. */
export interface RecordName {
  readonly patient: Uint8Array
  readonly stream: Uint8Array
  readonly sequence: number
}

/** How long grant holders may still export what was erased; and how much later every store must have removed it. */
export const exportMs = 72 * 3_600_000
const removalMs = 3_600_000

/** Time of the SEAL under which the record was erased first; undefined if it is not erased. */
export function erasedMs(ledger: Ledger, { patient, stream, sequence }: RecordName): number | undefined {
  const state = ledger.state('userchain')
  for (let k = 0; ; k++) {
    const erased = userTables.erased.get(state, patient, stream, k)
    if (erased === undefined) return undefined
    if (erased.from > sequence || sequence > erased.to) continue
    return ledger.index('userchain').boundaryAfter(erased.o)?.ms
  }
}

/** True once no store may have the block any more. */
export function isRemovalOverdue(erasedMs: number, nowMs: number): boolean {
  return nowMs > erasedMs + exportMs + removalMs
}
