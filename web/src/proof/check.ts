/**
 * Checks receipts in the browser with the project's own verifier, which is loaded when the first proof is asked for. Nothing that the node
 * says is believed: only the genesis file that the reader's own node was set up with.
 */
import type { ReceiptFacts } from '@healthblock/verify/receipt-facts'
import type { VerifiedFile } from '@healthblock/verify/verify'

export type { PartFacts, ReceiptFacts } from '@healthblock/verify/receipt-facts'
export type { VerifiedFile } from '@healthblock/verify/verify'

/** A receipt that holds. */
export interface CheckedReceipt {
  readonly facts: ReceiptFacts
  /** What was verified step by step, in the verifier's own words, with all hex. */
  readonly steps: readonly string[]
  readonly ledgerId: string
  readonly bytes: Uint8Array<ArrayBuffer>
}

/**
 * Checks a receipt.
 *
 * @param genesis - the genesis file's bytes; without them the one inside the receipt is believed.
 * @throws {ChainError} that says what does not hold.
 */
export async function checkReceipt(
  bytes: Uint8Array<ArrayBuffer>,
  genesis?: Uint8Array<ArrayBuffer>,
): Promise<CheckedReceipt> {
  const [{ verifyFile }, { receiptFacts }] = await Promise.all([
    loadVerifier(),
    import('@healthblock/verify/receipt-facts'),
  ])
  const { steps, ledgerId } = verifyFile(bytes, genesis === undefined ? {} : { genesis })
  return { facts: receiptFacts(bytes), steps, ledgerId, bytes }
}

/** Loads the verifier, which is fetched when it is first needed. */
export function loadVerifier() {
  return import('@healthblock/verify/verify')
}

/** Checks any file that the verifier takes: a receipt or a dispute bundle. @throws {ChainError} */
export async function checkFile(bytes: Uint8Array, genesis?: Uint8Array): Promise<VerifiedFile> {
  const { verifyFile } = await loadVerifier()
  return verifyFile(bytes, genesis === undefined ? {} : { genesis })
}
