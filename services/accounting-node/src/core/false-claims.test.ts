/** What one bad peer says of terms and heights that nothing proves: nobody acts on it. */
import { chainOrigin, cosignCheckpoint } from '@healthblock/chain/checkpoint'
import type { Transaction } from '@healthblock/chain/transaction'
import type { SigningKey } from '@healthblock/crypto/signature'
import { encodeUtf8 } from '@healthblock/encoding/bytes'
import { afterEach, describe, expect, it } from 'vitest'
import { CoreCluster } from '../../../../test/support/core-cluster.ts'
import { algorithmTransaction } from '../../../../test/support/sample-ledger.ts'
import type { PeerMethod } from './ports.ts'
import { encodeBlock, encodeHeadValue, encodeMessage, type HeadValue, parseHeadValue, parseMessage } from './wire.ts'

const farTerm = 2 ** 50
const farHeight = 1_000_000
let cluster: CoreCluster

afterEach(async () => {
  await cluster.end()
})

/** Four nodes, of which rank 3 answers one method with a lie once `lies.on` is set. */
async function withLiar(method: PeerMethod, lie: (answer: Uint8Array) => Uint8Array) {
  // Slow enough that a busy machine is not taken for a leader who is away.
  cluster = new CoreCluster({ speed: 4 })
  await cluster.letLead(0)
  await cluster.startAll()
  const leads = () => [0, 1, 2].find((rank) => cluster.core(rank).status().leads)
  await cluster.until('an honest leader', () => leads() !== undefined)
  const honest = cluster.core(3)
  cluster.network.attach(3, async (from, chain, asked, body) => {
    const answer = await cluster.nodes.get(3)?.cores[chain].handlePeer(from, asked, body)
    return asked === method && chain === 'userchain' ? lie(answer as Uint8Array) : (answer as Uint8Array)
  })
  return { leader: leads() as number, honest }
}

async function commit(rank: number, name: string): Promise<void> {
  const transactions: Transaction[] = [0, 1].map((i) => algorithmTransaction(cluster.ledger, `${name}${i}`))
  cluster.core(rank).noteAccepted(transactions)
  await cluster.core(rank).submit(transactions)
  const { ledger } = cluster.core(rank)
  const ids = transactions.map((transaction) => ledger.transactionId('userchain', transaction))
  await cluster.until('committed by the honest ones', () =>
    [0, 1, 2].every((honest) => ids.every((id) => cluster.core(honest).ledger.index('userchain').find(id))),
  )
}

const termOnRegister = (): number => parseHeadValue(cluster.readRegister('userchain')).term

describe('a peer that claims', () => {
  it.each([
    ['a higher term', { promised: farTerm, height: 0 }],
    ['a higher block', { promised: 0, height: farHeight }],
  ])('%s when it is asked to stage makes no leader step down', async (_what, claim) => {
    const { leader } = await withLiar('stage', () => encodeMessage({ error: 'promised', ...claim }))
    const term = termOnRegister()
    for (const name of ['a', 'b', 'c']) await commit(leader, name)
    expect(termOnRegister()).toBe(term)
    expect(cluster.core(leader).status().leads).toBe(true)
  })

  it('a far term when a new leader collects uses no terms up', async () => {
    const { leader } = await withLiar('collect', () =>
      encodeMessage({ error: 'term', promised: farTerm, height: farHeight }),
    )
    // With another node away there is no quorum but with the claimer: a leader tries again and again.
    const [away, other] = [0, 1, 2].filter((rank) => rank !== leader) as [number, number]
    await cluster.stop(away)
    await cluster.stop(leader)
    const begun = termOnRegister()
    await cluster.start(leader)
    await cluster.until('terms are taken in vain', () => termOnRegister() > begun + 3)
    await cluster.start(away)
    await commit(other, 'a')
    expect(termOnRegister()).toBeLessThan(100_000)
  })

  it.each<[string, Partial<HeadValue>]>([
    ['a term', { term: Number.MAX_SAFE_INTEGER }],
    ['an incarnation', { incarnation: Number.MAX_SAFE_INTEGER }],
  ])('%s on the register that nobody could have reached uses none up', async (_what, claim) => {
    const { leader } = await withLiar('trail', (answer) => answer)
    await commit(leader, 'a')
    const value = parseHeadValue(cluster.readRegister('userchain'))
    cluster.writeRegister('userchain', encodeHeadValue({ ...value, ...claim, leader: 3 }))
    const order = encodeMessage({ term: claim.term ?? value.term })
    for (const rank of [0, 1, 2]) await cluster.core(rank).handlePeer(3, 'collect', order)
    await commit(leader, 'b')
    cluster.loseRegister()
    await commit(leader, 'c')
    expect(termOnRegister()).toBeLessThan(100_000)
  })

  it('a far size by its cosignature makes nobody think that he is behind', async () => {
    const { leader } = await withLiar('trail', (answer) => answer)
    await commit(leader, 'a')
    const { ledgerId, nodes } = cluster.ledger
    const head = { origin: chainOrigin({ ledgerId, chain: 'userchain' }), size: farHeight, root: new Uint8Array(32) }
    const signer = nodes[3]?.userchain.cosigner as SigningKey
    const line = encodeUtf8(cosignCheckpoint(head, { rank: 3, signer, nowMs: cluster.clock.nowMs() }))
    const message = encodeMessage({ size: head.size, root: head.root, line })
    for (const rank of [0, 1, 2]) await cluster.core(rank).handlePeer(3, 'cosignature', message)
    await commit(leader, 'b')
    await cluster.until('all sign', () => [0, 1, 2].every((rank) => cluster.core(rank).status().signs))
  })

  it('by the register that nothing was decided has no other block staged in its place', async () => {
    const { leader } = await withLiar('trail', (answer) => answer)
    const slow = [0, 1, 2].find((rank) => rank !== leader) as number
    const node = cluster.nodes.get(slow)
    // It neither stages nor gets the block: all that it hears of it is the register's value.
    for (const other of [0, 1, 2, 3]) cluster.network.cut.add(`${slow}>${other}`)
    cluster.network.attach(slow, async (from, chain, method, body) => {
      if (method === 'stage') throw new Error('too slow')
      return (await node?.cores[chain].handlePeer(from, method, body)) as Uint8Array
    })
    const [transaction, other] = ['a', 'b'].map((name) => algorithmTransaction(cluster.ledger, name)) as [
      Transaction,
      Transaction,
    ]
    await cluster.core(leader).submit([transaction])
    const { ledger } = cluster.core(slow)
    await cluster.until('one is behind', () => cluster.core(slow).status().behindLeaves > 0)
    const value = parseHeadValue(cluster.readRegister('userchain'))
    const { height, size, root } = ledger.head('userchain')
    expect(value.height).toBe(height + 1)
    const term = value.term + 1
    cluster.writeRegister('userchain', encodeHeadValue({ ...value, term, leader: 3, height, size, root, acks: [] }))
    const { pending } = ledger.buildBlock({ chain: 'userchain', candidates: [other], nowMs: cluster.clock.nowMs() })
    const order = { height: height + 1, term, block: encodeBlock(pending?.leaves as Uint8Array[]) }
    const answer = parseMessage(await cluster.core(slow).handlePeer(3, 'stage', encodeMessage(order)))
    expect(answer.has('ack')).toBe(false)
    expect(answer.text('error')).toBe('behind')
    cluster.network.cut.clear()
    await commit(leader, 'c')
  })

  it('a block that it cannot show does not hold up a new leader', async () => {
    const { leader } = await withLiar('collect', (answer) => {
      const fields = parseMessage(answer)
      if (fields.has('error')) return answer
      return encodeMessage({ promised: fields.uint('promised'), attested: [farHeight, farHeight, new Uint8Array(32)] })
    })
    // The liar is among the first three to answer: another one is late.
    const late = [0, 1, 2].find((rank) => rank !== leader) as number
    const core = cluster.nodes.get(late)
    cluster.network.attach(late, async (from, chain, method, body) => {
      if (method === 'collect') await cluster.clock.wait(200, new AbortController().signal)
      return (await core?.cores[chain].handlePeer(from, method, body)) as Uint8Array
    })
    await cluster.stop(leader)
    await cluster.start(leader)
    await commit(leader, 'a')
    const unproved = cluster.events.filter(({ event }) => event.kind === 'claim-unproved')
    expect(unproved.map(({ event }) => event)).toContainEqual(expect.objectContaining({ peer: 3, height: farHeight }))
  })
})
