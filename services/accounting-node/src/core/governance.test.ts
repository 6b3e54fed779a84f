import type { ChainName } from '@healthblock/chain/chains'
import { genesisAccount } from '@healthblock/chain/genesis'
import { type GovernedNode, governActs, type PolicyArgument } from '@healthblock/chain/governing'
import { rankedNodes } from '@healthblock/chain/policy'
import { PolicyTrail } from '@healthblock/chain/policy-trail'
import type { Transaction } from '@healthblock/chain/transaction'
import { equalBytes } from '@healthblock/encoding/bytes'
import { afterEach, expect, it } from 'vitest'
import { CoreCluster } from '../../../../test/support/core-cluster.ts'
import {
  algorithmTransaction,
  governTransaction,
  policyKeys,
  type SampleNodeKeys,
  sampleNodeKeys,
} from '../../../../test/support/sample-ledger.ts'
import { encodeMessage, parseMessage } from './wire.ts'

const chains = ['userchain', 'docchain'] as const
let cluster: CoreCluster
let n = 0
afterEach(async () => {
  n = 0
  await cluster.end()
})

async function running(): Promise<void> {
  cluster = new CoreCluster()
  await cluster.startAll()
  await cluster.until('a leader', () => [...cluster.nodes.keys()].some((rank) => cluster.core(rank).status().leads))
}

/** Hands a transaction to a node and waits until the nodes have it published. */
async function commit(transaction: Transaction, ranks: readonly number[] = [...cluster.nodes.keys()]): Promise<void> {
  const [first] = ranks as [number]
  const id = cluster.core(first).ledger.transactionId('userchain', transaction)
  cluster.core(first).noteAccepted([transaction])
  await cluster.core(first).submit([transaction])
  await cluster.until('published', () =>
    ranks.every((rank) => {
      const core = cluster.core(rank)
      const index = core.ledger.index('userchain').find(id)
      return index !== undefined && index < (core.published()?.size ?? 0)
    }),
  )
}

/** The nodes hand out one step of the trail at a time, as if it were long. */
function handOutStepByStep(): void {
  for (const [rank, { cores }] of cluster.nodes) {
    cluster.network.attach(rank, async (from, chain, method, body) => {
      const answer = await cores[chain].handlePeer(from, method, body)
      return method === 'trail' ? encodeMessage({ steps: parseMessage(answer).list('steps').slice(0, 1) }) : answer
    })
  }
}

type Draft = { -readonly [K in keyof PolicyArgument]: PolicyArgument[K] }

/** Sets a policy made from the present one, and waits until both chains are under it. */
async function setPolicy(change: (draft: Draft) => void, ranks: readonly number[]): Promise<void> {
  const policy = cluster.core(ranks[0] as number).ledger.policy('userchain')
  const known = rankedNodes(policy)
  const draft: Draft = {
    q: policy.q,
    nodes: known.map(({ rank, node }): GovernedNode => [rank, ...node]),
    stores: policy.stores,
    last: [],
  }
  change(draft)
  draft.last = known.flatMap(({ rank, node }) => {
    const next = draft.nodes.find(([other]) => other === rank)
    const gone = [node[4], node[6]].filter((key, i) => !next || !equalBytes(next[i === 0 ? 5 : 7], key))
    return gone.map((key) => [key, 2] as const)
  })
  n++
  await commit(governTransaction(cluster.ledger, governActs.policy, draft, n), ranks)
  await cluster.until('both chains switched', () =>
    ranks.every((rank) => {
      const { trail } = (cluster.nodes.get(rank) as { cores: { trail: PolicyTrail } }).cores
      return chains.every((chain) => trail.newestNumber(chain) === n)
    }),
  )
}

/** Every node has one log and one trail, and its published notes hold under that trail. */
function checkOneLedger(ranks: readonly number[]): void {
  const { genesis } = cluster.core(ranks[0] as number).ledger
  for (const chain of chains) {
    const longest = Math.max(...ranks.map((rank) => cluster.core(rank, chain).head().size))
    for (const rank of ranks) {
      const core = cluster.core(rank, chain)
      const { trail } = (cluster.nodes.get(rank) as { cores: { trail: PolicyTrail } }).cores
      const again = PolicyTrail.of(genesis, trail.steps)
      const note = core.published()?.checkpoint as string
      const { size, root } = again.verify(chain, note)
      const other = ranks.find((one) => cluster.core(one, chain).head().size === longest) as number
      expect(cluster.core(other, chain).ledger.index(chain).boundary(size)?.root).toEqual(root)
    }
  }
}

function hasLogLine(trail: PolicyTrail, chain: ChainName, published: { checkpoint: string } | undefined): boolean {
  try {
    trail.receiptForm(chain, published?.checkpoint ?? '')
    return true
  } catch {
    return false
  }
}

function withKeys(draft: Draft, rank: number, keys: SampleNodeKeys): void {
  draft.nodes = draft.nodes.map((node) =>
    node[0] === rank ? ([rank, node[1], node[2], ...policyKeys(keys)] as GovernedNode) : node,
  )
}

it('a fifth node joins by catching up, q rises, a key is replaced, a node goes: one ledger throughout', async () => {
  await running()
  await commit(algorithmTransaction(cluster.ledger, 'before'))
  const joined = sampleNodeKeys()
  const { ledgerId, organisation } = cluster.ledger
  const account = genesisAccount(ledgerId, joined.node.publicKey)
  const all = [0, 1, 2, 3]
  await setPolicy((draft) => {
    draft.nodes = [...draft.nodes, [4, organisation.account, account, ...policyKeys(joined)]]
    draft.q = 4
  }, all)
  await commit(algorithmTransaction(cluster.ledger, 'five'), all)
  handOutStepByStep()
  await cluster.start(4, { keys: joined, account })
  await cluster.until('the fifth has caught up', () => cluster.core(4).status().signs)
  // Four must sign: without one of the first, the fifth is needed.
  await cluster.stop(0)
  const withFifth = [1, 2, 3, 4]
  await commit(algorithmTransaction(cluster.ledger, 'needs-the-fifth'), withFifth)
  checkOneLedger(withFifth)
  // Rank 2's keys were stolen: it gets others, and signs again only when it is started with them.
  const replaced = sampleNodeKeys()
  await cluster.start(0)
  await cluster.until('the first is back', () => cluster.core(0).status().signs)
  await setPolicy((draft) => withKeys(draft, 2, replaced), [0, 1, 3, 4])
  expect(cluster.core(2).status().takesPart).toBe(false)
  const { nodes } = cluster.core(1).ledger.policy('userchain')
  await cluster.stop(2)
  await cluster.start(2, { keys: replaced, account: (nodes[2] as (typeof nodes)[number])[1] })
  await cluster.until('it takes part again', () => cluster.core(2).status().takesPart && cluster.core(2).status().signs)
  // Nothing is ordered meanwhile, and its notes carry a line of its new log key all the same.
  const { trail } = (cluster.nodes.get(2) as { cores: { trail: PolicyTrail } }).cores
  for (const chain of chains)
    await cluster.until(`its own line on ${chain}`, () => hasLogLine(trail, chain, cluster.core(2, chain).published()))
  // Rank 0, who most likely led, goes.
  const rest = [1, 2, 3, 4]
  await setPolicy((draft) => {
    draft.nodes = draft.nodes.filter(([rank]) => rank !== 0)
    draft.q = 3
  }, rest)
  expect(cluster.core(0).status().takesPart).toBe(false)
  await cluster.stop(0)
  await commit(algorithmTransaction(cluster.ledger, 'after'), rest)
  checkOneLedger(rest)
})
