/** Carries out what patients erase on Userchain, from the block after the last one that was read. */
import type { FollowedBlock, LedgerFollower } from '@healthblock/runtime/follower'
import type { BlockStore } from '../store/block-store.ts'
import type { ErasedRange } from '../store/operations.ts'

const cursorName = 'userchain'
/** Blocks without an erasure after which the place is written down: they are read again after a crash, and change nothing. */
const blocksPerCursor = 256

/** What {@link followErasures} works with. */
export interface ErasureFollowing {
  follower: Pick<LedgerFollower, 'follow'>
  store: Pick<BlockStore, 'cursor' | 'setCursor'>
  /** Erases the records of a range; it may be asked for the same one again. */
  erase: (range: ErasedRange) => Promise<void>
  /** Between the SEAL's time and the removal, ms. */
  delayMs: number
  signal: AbortSignal
}

/** The ranges that a block erases. */
export function erasedRanges(block: FollowedBlock, delayMs: number): ErasedRange[] {
  const { ms } = block.seal
  return block.transactions.flatMap(({ transaction: { body } }) => {
    if (body.t !== 'erase') return []
    return body.ranges.map(([stream, first, last]) => {
      return { owner: body.a, stream, first, last, at: ms, removeAt: ms + delayMs }
    })
  })
}

/**
 * Reads Userchain until the signal aborts.
 *
 * @throws as `LedgerFollower.follow`, and what `erase` throws.
 */
export async function followErasures(following: ErasureFollowing): Promise<void> {
  const { follower, store, erase, delayMs, signal } = following
  let blocks = 0
  const onBlock = async (block: FollowedBlock): Promise<void> => {
    const ranges = erasedRanges(block, delayMs)
    for (const range of ranges) await erase(range)
    if (ranges.length === 0 && ++blocks < blocksPerCursor) return
    blocks = 0
    await store.setCursor(cursorName, block.cursor)
  }
  await follower.follow({ chain: 'userchain', cursor: store.cursor(cursorName), onBlock, signal })
}
