import { toHex } from '@healthblock/encoding/bytes'
import { describe, expect, it } from 'vitest'
import { Consortium } from '../../../packages/chain/src/consortium.test-support.ts'
import type { NodeCard } from './card.ts'
import { changedPolicy, type PolicyChange } from './policy-change.ts'
import type { GoverningState } from './state.ts'

const world = new Consortium()

function stateOf(q: number): GoverningState {
  const { policy, size, height } = {
    policy: { ...world.ledger.policy('userchain'), q },
    ...world.ledger.head('userchain'),
  }
  return { n: 0, organisations: [], policy, policyNumber: 0, rankMax: 3, rules: [], height, size }
}

const [, org, account] = world.newNode(1, 1, 'again')
const card: NodeCard = {
  account: toHex(world.nodes[1] as Uint8Array),
  organisation: toHex(org),
  keys: world
    .newNode(1, 1, 'again')
    .slice(3)
    .map((key) => toHex(key as Uint8Array)) as unknown as NodeCard['keys'],
}
const change = (some: Partial<PolicyChange>): PolicyChange => ({
  ...{ add: [], replace: [], remove: [], removeStores: [], removeOrganisations: [] },
  ...some,
})

describe('a change of one node', () => {
  it('goes on record while another can be spared', () => {
    const { q, nodes, last } = changedPolicy(stateOf(3), change({ replace: [card] }))
    expect([q, nodes.length, last.length]).toEqual([3, 4, 2])
    expect(changedPolicy(stateOf(3), change({ remove: ['1'] })).nodes.map(([rank]) => rank)).toEqual([0, 2, 3])
  })

  it('is refused while every node must sign, in words that say what to do', () => {
    for (const some of [{ replace: [card] }, { remove: ['1'] }, { removeOrganisations: [toHex(org)] }]) {
      const attempt = () => changedPolicy(stateOf(4), change(some))
      expect(attempt).toThrow('needs node 1 itself')
      expect(attempt).toThrow('org propose policy --q 3')
    }
    expect(changedPolicy(stateOf(4), change({ replace: [card], isForced: true })).nodes).toHaveLength(4)
    // Fewer must sign first; another node may join at any time.
    expect(changedPolicy(stateOf(4), change({ q: 3 })).q).toBe(3)
    const joining = { ...card, account: toHex(account) }
    expect(changedPolicy(stateOf(4), change({ add: [joining] })).nodes).toHaveLength(5)
  })
})
