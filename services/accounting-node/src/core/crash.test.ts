import type { Transaction } from '@healthblock/chain/transaction'
import { toHex } from '@healthblock/encoding/bytes'
import { afterEach, describe, expect, it } from 'vitest'
import { CoreCluster } from '../../../../test/support/core-cluster.ts'
import { algorithmTransaction } from '../../../../test/support/sample-ledger.ts'

let cluster: CoreCluster
afterEach(async () => {
  await cluster.end()
})

function isCommitted(rank: number, transactions: readonly Transaction[]): boolean {
  const { ledger } = cluster.core(rank)
  return transactions.every((transaction) => {
    const index = ledger.index('userchain').find(ledger.transactionId('userchain', transaction))
    return index !== undefined && index < (cluster.core(rank).published()?.size ?? 0)
  })
}

/**
 * The leader (rank 0) dies at its `at`-th action on a disk, the register or the network, counted from its start; a gateway at rank 1
 * accepted transactions before and after. The others go on, the dead one comes back, and all end with one log.
 */
async function dieAt(at: number, done: boolean): Promise<void> {
  cluster = new CoreCluster({ speed: 40 })
  const accept = async (transactions: readonly Transaction[]): Promise<void> => {
    cluster.core(1).noteAccepted(transactions)
    await cluster.core(1).submit(transactions)
  }
  let died = false
  await cluster.start(0, { crash: { at, done } }).catch(() => {
    died = true
  })
  for (const rank of [1, 2, 3]) await cluster.start(rank)
  const node = cluster.nodes.get(0)
  const all: Transaction[] = []
  for (let batch = 0; batch < 12 && !died; batch++) {
    const transactions = Array.from({ length: 2 }, (_, i) => algorithmTransaction(cluster.ledger, `t${batch}x${i}`))
    await accept(transactions)
    all.push(...transactions)
    await cluster.until('a survivor has it', () => isCommitted(1, all))
    died = node?.life.isDead ?? true
  }
  expect(died).toBe(true)
  await cluster.stop(0)
  await cluster.start(0)
  await cluster.until('all have it', () => [0, 1, 2, 3].every((rank) => isCommitted(rank, all)))
  const logs = [0, 1, 2, 3].map((rank) =>
    cluster.core(rank).entries(0, cluster.core(rank).head().size).map(toHex).join(),
  )
  const longest = logs.reduce((a, b) => (b.length > a.length ? b : a), '')
  for (const log of logs) expect(longest.startsWith(log)).toBe(true)
}

const steps = Array.from({ length: Number(process.env.CRASH_STEPS ?? 8) }, (_, i) =>
  process.env.CRASH_STEPS === undefined ? 3 + 7 * i : i + 1,
)

describe('a leader that dies', () => {
  it.each(steps)('before its action %i is done', async (at) => {
    await dieAt(at, false)
  })
  it.each(steps)('after its action %i is done', async (at) => {
    await dieAt(at, true)
  })
})
