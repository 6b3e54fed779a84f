import { rmSync } from 'node:fs'
import { toHex } from '@healthblock/encoding/bytes'
import { afterEach, describe, expect, it } from 'vitest'
import { CoreCluster } from '../../../../test/support/core-cluster.ts'
import { algorithmTransaction } from '../../../../test/support/sample-ledger.ts'

let cluster: CoreCluster
afterEach(async () => {
  await cluster.end()
})

describe('four nodes', () => {
  it('decide, apply and publish what is submitted', async () => {
    cluster = new CoreCluster()
    await cluster.startAll()
    await cluster.until('a leader', () => cluster.core(0).status().leads)
    const transactions = Array.from({ length: 10 }, (_, i) => algorithmTransaction(cluster.ledger, `a${i}`))
    await cluster.core(1).submit(transactions)
    await cluster.until('published everywhere', () =>
      [0, 1, 2, 3].every((rank) => (cluster.core(rank).published()?.height ?? 0) >= 1),
    )
    const roots = [0, 1, 2, 3].map((rank) => toHex(cluster.core(rank).head().root))
    expect(new Set(roots).size).toBe(1)
    expect(cluster.core(2).head().size).toBe(2 + 11)
    expect(cluster.core(3).entry(2)).toEqual(transactions[0]?.leaf)
  })
})
void rmSync
