import { type Dispute, parseDispute } from '@healthblock/chain/dispute'
import { parseReceipt, type Receipt } from '@healthblock/chain/receipt'
import { parseSuccession, type Succession } from '@healthblock/chain/succession'

/** What a file is; receipts of both kinds are one here. */
export type FileKind = 'receipt' | 'dispute' | 'succession'

/** What the file says of itself that it is: its keys are in order, so the first one tells. */
export function kindOf(bytes: Uint8Array): FileKind {
  const beginning = new TextDecoder().decode(bytes.subarray(0, 12))
  if (beginning === '{"disclosed"') return 'dispute'
  return beginning === '{"approvals"' ? 'succession' : 'receipt'
}

/** A file of any kind taken apart: all have a genesis file, parts, and a policy trail. @throws {ChainError} `ERR_RECEIPT_FORMAT`. */
export function parseFile(bytes: Uint8Array): Receipt | Dispute | Succession {
  const kind = kindOf(bytes)
  if (kind === 'dispute') return parseDispute(bytes)
  return kind === 'succession' ? parseSuccession(bytes) : parseReceipt(bytes)
}
