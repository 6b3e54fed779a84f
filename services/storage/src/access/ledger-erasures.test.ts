import type { FollowedBlock } from '@healthblock/runtime/follower'
import { expect, test } from 'vitest'
import { StorageError } from '../errors.ts'
import { followErasures } from './ledger-erasures.ts'

const body = { v: 1, t: 'erase', a: new Uint8Array(32), n: 1, x: 1, ranges: [[new Uint8Array(8), 2, 4]], law: 17 }

function blockOf(height: number): FollowedBlock {
  const transactions = [{ transaction: { body } }]
  return { height, seal: { ms: 1 }, transactions, cursor: Uint8Array.of(height) } as unknown as FollowedBlock
}

test('erasures go on where they stood, when the place could not be written down, or Userchain not be read', async () => {
  const busy = new StorageError('busy', { code: 'ERR_STORE_BUSY', operationsMax: 1 })
  const unread = new TypeError('what nobody expected')
  let cursor: Uint8Array | undefined
  let isBusy = true
  let isUnread = true
  const erased: number[] = []
  const failures: unknown[] = []
  await followErasures({
    follower: {
      // Blocks 1 to 3, as `LedgerFollower` gives them: what a handler throws ends it.
      follow: async ({ cursor: from, onBlock }) => {
        for (let height = (from?.[0] ?? 0) + 1; height <= 3; height++) {
          if (height === 3 && isUnread) {
            isUnread = false
            throw unread
          }
          await onBlock(blockOf(height))
          erased.push(height)
        }
      },
    },
    store: {
      cursor: () => cursor,
      setCursor: async (_name, value) => {
        if (value[0] === 2 && isBusy) {
          isBusy = false
          throw busy
        }
        cursor = value
      },
    },
    erase: async () => {},
    delayMs: 1_000,
    onFailure: (error) => failures.push(error),
    signal: AbortSignal.timeout(60_000),
  })
  expect(failures).toEqual([busy, unread])
  expect(erased).toEqual([1, 2, 3])
  expect(cursor).toEqual(Uint8Array.of(3))
})
