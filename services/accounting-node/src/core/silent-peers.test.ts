/** Peers that take a call and never answer it: they hold nobody up. */
import type { ChainName } from '@healthblock/chain/chains'
import { afterEach, describe, expect, it } from 'vitest'
import { CoreCluster } from '../../../../test/support/core-cluster.ts'
import { algorithmTransaction } from '../../../../test/support/sample-ledger.ts'
import type { PeerMethod } from './ports.ts'

let cluster: CoreCluster

afterEach(async () => {
  await cluster.end()
})

/** Four nodes, of which each has heard the others since its start, and the first leads. */
async function led(): Promise<void> {
  // Slow enough that a busy machine is not taken for a leader who is away.
  cluster = new CoreCluster({ speed: 4 })
  await cluster.letLead(0)
  await cluster.startAll()
  await cluster.until('the first leads', () => cluster.core(0).status().leads)
  await cluster.until('all have heard their peers', () =>
    [0, 1, 2, 3].every((rank) => cluster.core(rank).status().heardPeers),
  )
}

/** The node takes such calls on Userchain, and never answers; answers how many it has taken. */
function silence(rank: number, isSilent: (call: { from: number; method: PeerMethod }) => boolean): () => number {
  let taken = 0
  const handle = async (from: number, chain: ChainName, method: PeerMethod, body: Uint8Array): Promise<Uint8Array> => {
    if (chain === 'userchain' && isSilent({ from, method })) {
      taken++
      await new Promise<never>(() => {})
    }
    return (await cluster.nodes.get(rank)?.cores[chain].handlePeer(from, method, body)) as Uint8Array
  }
  cluster.network.attach(rank, handle)
  return () => taken
}

async function commit(from: number, name: string, to: readonly number[]): Promise<void> {
  const transaction = algorithmTransaction(cluster.ledger, name)
  const id = cluster.core(from).ledger.transactionId('userchain', transaction)
  cluster.core(from).noteAccepted([transaction])
  await cluster.core(from).submit([transaction])
  const has = (rank: number): boolean => cluster.core(rank).ledger.index('userchain').find(id) !== undefined
  await cluster.until(`${name} committed`, () => to.every(has))
}

describe('a peer that never answers', () => {
  it('when it is asked for blocks does not keep a node behind', async () => {
    await led()
    const taken = silence(3, ({ method }) => method === 'block')
    await cluster.stop(2)
    await commit(0, 'a', [0, 1])
    await commit(0, 'b', [0, 1])
    await cluster.start(2)
    await cluster.until('the second has caught up', () => cluster.core(2).head().size === cluster.core(0).head().size)
    expect(taken()).toBeGreaterThan(0)
    await commit(0, 'c', [0, 1, 2])
  })

  it('when it is asked where it stands does not keep a node from taking part', async () => {
    await led()
    const taken = silence(3, ({ method }) => method === 'head')
    await cluster.stop(2)
    await commit(0, 'a', [0, 1, 3])
    await cluster.start(2)
    await cluster.stop(1)
    await commit(0, 'b', [0, 2, 3])
    expect(taken()).toBeGreaterThan(0)
  })

  it('when it is asked to stage does not keep a leader who has promised a later term', async () => {
    await led()
    const taken = [1, 2, 3].map((rank) => silence(rank, ({ from, method }) => method === 'stage' && from === 0))
    await commit(0, 'a', [0, 1, 2, 3])
    expect(taken.map((count) => count() > 0)).toEqual([true, true, true])
    expect(cluster.core(0).status().leads).toBe(false)
    await commit(0, 'b', [0, 1, 2, 3])
  })
})
