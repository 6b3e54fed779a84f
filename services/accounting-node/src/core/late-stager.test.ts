/** The last node to stage a block hears that the others have decided it before it has stored it. */
import type { ChainName } from '@healthblock/chain/chains'
import { afterEach, expect, it } from 'vitest'
import { CoreCluster } from '../../../../test/support/core-cluster.ts'
import { algorithmTransaction } from '../../../../test/support/sample-ledger.ts'
import type { PeerMethod } from './ports.ts'

let cluster: CoreCluster

afterEach(async () => {
  await cluster.end()
})

it('such a node applies the block that it has, and asks nobody for it', async () => {
  cluster = new CoreCluster({ speed: 1 })
  await cluster.letLead(0)
  await cluster.startAll()
  await cluster.until('the first leads', () => cluster.core(0).status().leads)
  await cluster.until('the last one takes part', () => cluster.core(3).status().signs)
  const asked: PeerMethod[] = []
  const decided = Promise.withResolvers<void>()
  for (const rank of [0, 1, 2, 3]) {
    cluster.network.attach(rank, async (from, chain: ChainName, method, body) => {
      if (from === 3 && chain === 'userchain' && method === 'block') asked.push(method)
      const answer = await cluster.nodes.get(rank)?.cores[chain].handlePeer(from, method, body)
      if (rank === 3 && chain === 'userchain' && method === 'decided') decided.resolve()
      return answer as Uint8Array
    })
  }
  // Its disk stores what it stages once it has heard of the decision.
  const life = cluster.nodes.get(3)?.life as NonNullable<ReturnType<typeof cluster.nodes.get>>['life']
  const act = life.act.bind(life)
  life.act = async (work, decides) => {
    await decided.promise
    return act(work, decides)
  }
  const transaction = algorithmTransaction(cluster.ledger, 'late')
  const id = cluster.core(0).ledger.transactionId('userchain', transaction)
  cluster.core(0).noteAccepted([transaction])
  await cluster.core(0).submit([transaction])
  await cluster.until('all have it', () =>
    [0, 1, 2, 3].every((rank) => cluster.core(rank).ledger.index('userchain').find(id) !== undefined),
  )
  expect(asked).toEqual([])
})
