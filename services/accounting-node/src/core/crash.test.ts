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

const steps = Array.from({ length: Number(process.env.CRASH_STEPS ?? 6) }, (_, i) =>
  process.env.CRASH_STEPS === undefined ? 3 + 9 * i : i + 1,
)

describe('a leader that dies', () => {
  it.each(steps)('before its action %i is done', async (at) => {
    await dieAt(at, false)
  })
  it.each(steps)('after its action %i is done', async (at) => {
    await dieAt(at, true)
  })

  it('between the acks and the decision leaves a block that its successor proposes again, byte for byte', async () => {
    const batch = await dieAtDecision(false)
    const again = cluster.events.find(({ event }) => event.kind === 'reproposed')?.event
    expect(again).toMatchObject({ kind: 'reproposed', chain: 'userchain', height: 1 })
    expect(cluster.core(1).blockAt(1)).toEqual({ height: 1, i0: 2, size: 2 + batch.length + 1 })
  })

  it('right after the decision leaves a block that the others apply', async () => {
    await dieAtDecision(true)
    expect(cluster.events.some(({ event }) => event.kind === 'reproposed')).toBe(false)
    expect(cluster.core(1).blockAt(1)?.size).toBe(5)
  })
})

/** Rank 0 leads, and dies at the compare-and-set of block 1. */
async function dieAtDecision(done: boolean): Promise<readonly Transaction[]> {
  cluster = new CoreCluster({ speed: 5 })
  await cluster.start(0, { crash: { at: 1, done, decision: true } })
  for (const rank of [1, 2, 3]) await cluster.start(rank)
  await cluster.until('rank 0 leads', () => cluster.core(0).status().leads)
  const batch = [0, 1].map((i) => algorithmTransaction(cluster.ledger, `d${i}`))
  cluster.core(1).noteAccepted(batch)
  await cluster.core(1).submit(batch)
  await cluster.until('the others have it', () => [1, 2, 3].every((rank) => isCommitted(rank, batch)))
  const seals = [1, 2, 3].map((rank) => toHex(cluster.core(rank).entry(4)))
  expect(new Set(seals).size).toBe(1)
  return batch
}
