/** A bad node's time under a policy in which what one node staged may have been decided (n = 3, q = 2). */
import { chains } from '@healthblock/chain/chains'
import { encodeStatement, statementMessage } from '@healthblock/chain/statement'
import type { Transaction } from '@healthblock/chain/transaction'
import { afterEach, describe, expect, it } from 'vitest'
import { CoreCluster } from '../../../../test/support/core-cluster.ts'
import { algorithmTransaction, type SampleNodeKeys } from '../../../../test/support/sample-ledger.ts'
import { encodeAcks, encodeBlock, encodeHeadValue, encodeMessage, parseHeadValue, parseMessage } from './wire.ts'

const bad = 2
const honest = [0, 1]
const yearMs = 365 * 86_400_000
let cluster: CoreCluster

afterEach(async () => {
  await cluster.end()
})

async function running(): Promise<void> {
  // Slow enough that a busy machine is not taken for a leader who is away.
  cluster = new CoreCluster({ n: 3, q: 2, speed: 4 })
  await cluster.letLead(0)
  await cluster.startAll()
  await cluster.until('a leader', () => cluster.core(0).status().leads)
}

async function commit(rank: number, name: string): Promise<void> {
  const transaction = algorithmTransaction(cluster.ledger, name)
  cluster.core(rank).noteAccepted([transaction])
  await cluster.core(rank).submit([transaction])
  const id = cluster.core(rank).ledger.transactionId('userchain', transaction)
  await cluster.until('committed by the honest ones', () =>
    honest.every((one) => cluster.core(one).ledger.index('userchain').find(id) !== undefined),
  )
}

/** A block on the bad node's head with a time of its choice, and its ack of it. */
function stagedAlone(aheadMs: number, term: number) {
  const { ledger } = cluster.core(bad)
  const candidates: Transaction[] = [algorithmTransaction(cluster.ledger, 'alone')]
  const nowMs = cluster.clock.nowMs() + aheadMs
  const { pending } = ledger.buildBlock({ chain: 'userchain', candidates, nowMs })
  if (pending === undefined) throw new Error('no block')
  const { height, size, root } = pending.head
  const statement = encodeStatement('stage-ack', [chains.userchain, height, term, size, root])
  const message = statementMessage({ label: 'stage-ack', ledgerId: cluster.ledger.ledgerId, statement })
  const { node } = cluster.ledger.nodes[bad] as SampleNodeKeys
  const signature = node.sign(message)
  return {
    height,
    size,
    root,
    term,
    block: encodeBlock(pending.leaves),
    acks: encodeAcks([{ rank: bad, term, signature }]),
  }
}

describe('a block of a bad node that no other one has judged', () => {
  it('is staged by nobody for its own ack if its time lies ahead', async () => {
    await running()
    await commit(0, 'a')
    await cluster.until('the bad one has it', () => cluster.core(bad).head().height === cluster.core(1).head().height)
    const value = parseHeadValue(cluster.readRegister('userchain'))
    const term = value.term + 1
    cluster.writeRegister('userchain', encodeHeadValue({ ...value, term, leader: bad }))
    const { height, block, acks } = stagedAlone(yearMs, value.term)
    const answer = parseMessage(
      await cluster.core(1).handlePeer(bad, 'stage', encodeMessage({ height, term, block, acks })),
    )
    expect(answer.has('error') ? answer.text('error') : 'an ack').toBe('clock')
    await commit(1, 'b')
    expect(cluster.core(1).head().ms).toBeLessThan(cluster.clock.nowMs() + 60_000)
  })

  it('is not taken up by a new leader, who collects from others', async () => {
    await running()
    const answers = cluster.nodes.get(bad)?.cores
    let shown = 0
    cluster.network.attach(bad, async (from, chain, method, body) => {
      const answer = (await answers?.[chain].handlePeer(from, method, body)) as Uint8Array
      const fields = method === 'collect' && chain === 'userchain' ? parseMessage(answer) : undefined
      if (fields === undefined || fields.has('error')) return answer
      const { height, size, root, term, block, acks } = stagedAlone(yearMs, fields.uint('promised'))
      shown++
      return encodeMessage({
        promised: fields.uint('promised'),
        attested: [height - 1, cluster.core(bad).head().size, cluster.core(bad).head().root],
        staged: { height, term, block, size, root, acks },
      })
    })
    // The bad one is among the first two to answer: the other honest one is late.
    const late = cluster.nodes.get(1)?.cores
    cluster.network.attach(1, async (from, chain, method, body) => {
      if (method === 'collect') await cluster.clock.wait(400, new AbortController().signal)
      return (await late?.[chain].handlePeer(from, method, body)) as Uint8Array
    })
    // A leader that starts again takes a new term, and collects.
    await cluster.stop(0)
    await cluster.start(0)
    await commit(0, 'a')
    expect(shown).toBeGreaterThan(0)
    const events = cluster.events.filter(({ rank }) => rank === 0).map(({ event }) => event)
    expect(events).toContainEqual(expect.objectContaining({ kind: 'claim-unproved', chain: 'userchain', peer: bad }))
    expect(events.filter(({ kind }) => kind === 'reproposed')).toEqual([])
    expect(cluster.core(0).head().ms).toBeLessThan(cluster.clock.nowMs() + 60_000)
  })
})
