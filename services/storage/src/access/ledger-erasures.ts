/** Carries out what patients erase on Userchain, from the block after the last one that was read. */
import { setTimeout as delay } from 'node:timers/promises'
import type { FollowedBlock, LedgerFollower } from '@healthblock/runtime/follower'
import { pause } from '@healthblock/runtime/pauses'
import type { BlockStore } from '../store/block-store.ts'
import type { ErasedRange } from '../store/operations.ts'

const cursorName = 'userchain'
/** Blocks without an erasure after which the place is written down: they are read again after a crash, and change nothing. */
const blocksPerCursor = 256
/** Between attempts at an erasure that failed: doubled each time, from the first to the second figure. */
const retryMsMin = 250
const retryMsMax = 60_000

/** What {@link followErasures} works with. */
export interface ErasureFollowing {
  follower: Pick<LedgerFollower, 'follow'>
  store: Pick<BlockStore, 'cursor' | 'setCursor'>
  /** Erases the records of a range; it may be asked for the same one again. */
  erase: (range: ErasedRange) => Promise<void>
  /** Between the SEAL's time and the removal, ms. */
  delayMs: number
  /** Told of what failed, and is tried again. */
  onFailure: (error: unknown) => void
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

/** Erases until it is done: the blocks after it wait, for what one erases is not left out because a store was busy. */
async function eraseWholly(range: ErasedRange, { erase, onFailure, signal }: ErasureFollowing): Promise<void> {
  for (let pauseMs = retryMsMin; !signal.aborted; pauseMs = Math.min(retryMsMax, pauseMs * 2)) {
    try {
      await erase(range)
      return
    } catch (error) {
      onFailure(error)
      await delay(pauseMs, undefined, { signal, ref: false })
    }
  }
}

/** Reads Userchain until the signal aborts. After a failure it begins where it stood: it ends for none, for what patients erase would stay. */
export async function followErasures(following: ErasureFollowing): Promise<void> {
  const { follower, store, delayMs, onFailure, signal } = following
  let pauseMs = retryMsMin
  let blocks = 0
  const onBlock = async (block: FollowedBlock): Promise<void> => {
    const ranges = erasedRanges(block, delayMs)
    for (const range of ranges) await eraseWholly(range, following)
    if (signal.aborted) return
    pauseMs = retryMsMin
    if (ranges.length === 0 && ++blocks < blocksPerCursor) return
    blocks = 0
    await store.setCursor(cursorName, block.cursor)
  }
  while (!signal.aborted) {
    try {
      await follower.follow({ chain: 'userchain', cursor: store.cursor(cursorName), onBlock, signal })
      return
    } catch (error) {
      if (signal.aborted) return
      onFailure(error)
      await pause(pauseMs, signal)
      pauseMs = Math.min(retryMsMax, pauseMs * 2)
    }
  }
}
