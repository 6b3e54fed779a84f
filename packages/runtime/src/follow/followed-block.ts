/** A verified block as a follower's consumers get it. */
import type { Ledger } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import type { CompactRange } from '@healthblock/chain/merkle'
import { parseSealLeaf } from '@healthblock/chain/seal'
import { parseTransactionLeaf } from '@healthblock/chain/transaction'
import type { BlockFrame } from '../ledger/ledger-frames.ts'
import { encodeCursor } from './follower-cursor.ts'
import type { FollowedBlock } from './follower-types.ts'

/** `range`: the log up to the block's end. */
export function followedBlock(ledger: Ledger, chain: ChainName, frame: BlockFrame, range: CompactRange): FollowedBlock {
  const transactions = frame.leaves.slice(0, -1).map((leaf, i) => {
    const transaction = parseTransactionLeaf(leaf)
    return { transaction, id: ledger.transactionId(chain, transaction), index: frame.firstIndex + i }
  })
  const { height, firstIndex, leaves } = frame
  const seal = parseSealLeaf(leaves.at(-1) as Uint8Array)
  return { chain, height, firstIndex, leaves, seal, transactions, cursor: encodeCursor(height, range) }
}
