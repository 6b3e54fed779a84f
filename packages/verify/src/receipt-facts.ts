/** What a receipt that holds says, as figures: pages put them into the reader's own words. */
import { parseGenesis } from '@healthblock/chain/genesis'
import { PolicyTrail } from '@healthblock/chain/policy-trail'
import { parseProof } from '@healthblock/chain/proof'
import { parseReceipt, type ReceiptPart, verifyReceipt } from '@healthblock/chain/receipt'
import { parseSealLeaf } from '@healthblock/chain/seal'
import { toHex } from '@healthblock/encoding/bytes'

/** One leaf that lies in its log. */
export interface PartFacts {
  readonly chain: 'userchain' | 'docchain'
  readonly index: number
  /** Entries of the log that the checkpoint stands for. */
  readonly size: number
  /** Nodes that signed the checkpoint, and nodes that there are. */
  readonly signedBy: number
  readonly nodes: number
  /** When the slowest of the quorum signed, Unix ms. */
  readonly signedAt: number
  /** The signed note. */
  readonly checkpoint: string
}

/** A receipt that holds. */
export interface ReceiptFacts {
  readonly kind: 'transaction' | 'revocation'
  /** Lower-case hex. */
  readonly transactionId: string
  /** Type of the transaction (packages/chain SPEC.md §6). */
  readonly type: string
  readonly transaction: PartFacts
  /** Of a revocation: the block that holds it, with as many grants as it shows closed. */
  readonly seal?: PartFacts & { readonly block: number; readonly closed: number }
  /** Of a revocation: the first Docchain block that counts with it. */
  readonly anchor?: PartFacts & { readonly block: number }
}

function factsOf(trail: PolicyTrail, { chain, proof }: ReceiptPart): PartFacts {
  const { index, checkpoint } = parseProof(proof)
  const { policy, size, cosigners, oldestTime } = trail.verifyReceipt(chain, checkpoint)
  const nodes = policy.cosigners.filter((key) => key !== undefined).length
  return { chain, index, size, signedBy: cosigners.length, nodes, signedAt: oldestTime, checkpoint }
}

/**
 * Verifies a receipt and says what it shows.
 *
 * @param ledgerId - 32 bytes: the ledger that it must be of; without it the genesis file inside is believed.
 * @throws {ChainError} as `verifyReceipt`.
 */
export function receiptFacts(bytes: Uint8Array, ledgerId?: Uint8Array): ReceiptFacts {
  const verified = verifyReceipt({ bytes, ...(ledgerId === undefined ? {} : { ledgerId }) })
  const { genesis, parts, trail: steps = [] } = parseReceipt(bytes)
  const trail = PolicyTrail.of(parseGenesis(genesis), steps)
  const [transaction, seal, anchor] = parts as [ReceiptPart, ReceiptPart?, ReceiptPart?]
  return {
    kind: verified.kind,
    transactionId: toHex(verified.transactionId),
    type: verified.transaction.body.t,
    transaction: factsOf(trail, transaction),
    ...(seal === undefined
      ? {}
      : { seal: { ...factsOf(trail, seal), block: parseSealLeaf(seal.leaf).h, closed: verified.closed.length } }),
    ...(anchor === undefined ? {} : { anchor: { ...factsOf(trail, anchor), block: parseSealLeaf(anchor.leaf).h } }),
  }
}
