/** What one sender, or one peer, has too much of: it stands in nobody else's way. */
import type { Transaction } from '@healthblock/chain/transaction'
import { afterEach, describe, expect, it } from 'vitest'
import { CoreCluster } from '../../../../test/support/core-cluster.ts'
import { algorithmTransaction, governTransaction } from '../../../../test/support/sample-ledger.ts'

let cluster: CoreCluster

afterEach(async () => {
  await cluster.end()
})

async function running(speed: number): Promise<void> {
  cluster = new CoreCluster({ speed })
  await cluster.letLead(0)
  await cluster.startAll()
  await cluster.until('a leader', () => leaderOf() !== undefined)
}

const leaderOf = (): number | undefined => [...cluster.nodes.keys()].find((rank) => cluster.core(rank).status().leads)

/** Acts of which an earlier one is missing for good. */
function lacking(count: number): Transaction[] {
  const { account } = cluster.ledger.organisation
  return Array.from({ length: count }, (_, i) =>
    governTransaction(cluster.ledger, 4, { quota: [[account, 1_000_000]] }, i + 2),
  )
}

describe('transactions that lack something', () => {
  it('do not hide from the others that the leader is away', async () => {
    // At this speed they are forgotten long after the test has failed.
    await running(4)
    const [one, ...others] = [0, 1, 2, 3].filter((rank) => rank !== leaderOf()) as [number, ...number[]]
    await cluster.stop(leaderOf() as number)
    const crowd = lacking(300)
    cluster.core(one).noteAccepted(crowd, { ageMs: 1 })
    const left = algorithmTransaction(cluster.ledger, 'a')
    cluster.core(one).noteAccepted([left])
    const { ledger } = cluster.core(one)
    const id = ledger.transactionId('userchain', left)
    await cluster.until('the one that is valid is committed', () =>
      [one, ...others].every((rank) => cluster.core(rank).ledger.index('userchain').find(id) !== undefined),
    )
    expect(cluster.core(one).status().poolCount).toBe(crowd.length)
  })
})
