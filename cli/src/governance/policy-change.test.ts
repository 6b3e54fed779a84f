import { governActs } from '@healthblock/chain/governing'
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
  return {
    n: 0,
    organisations: [],
    policy,
    policyNumber: 0,
    rankMax: 3,
    rules: [],
    rulesFirst: 3,
    height,
    size,
    docchainSize: 2,
  }
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

  it('ends each replaced key at the last size of its own chain', () => {
    const sizes = (some: Partial<PolicyChange>): number[] =>
      changedPolicy({ ...stateOf(3), size: 90, docchainSize: 12 }, change(some)).last.map(([, size]) => size)
    expect(sizes({ replace: [card] })).toEqual([90, 12])
    expect(sizes({ remove: ['1'] })).toEqual([90, 12])
    expect(sizes({ remove: ['1'], lastSizes: [40, 7] })).toEqual([40, 7])
    // From version 4 of the rules on each log key too, which goes before the cosigner key of its chain.
    const argument = changedPolicy({ ...stateOf(3), rulesFirst: 4 }, change({ replace: [card], lastSizes: [40, 7] }))
    expect(argument.last.map(([, size]) => size)).toEqual([40, 40, 7, 7])
    const risen = new Consortium()
    risen.post('userchain', risen.govern(governActs.parameters, { quota: [], rules: [4, 2] }))
    // Keys and ids are the same on each of these ledgers.
    expect(risen.judge('userchain', risen.govern(governActs.policy, argument))).toEqual({ verdict: 'valid' })
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

  it('that no ledger would take is not proposed', () => {
    expect(() => changedPolicy(stateOf(3), change({}))).toThrow('nothing would change')
    expect(() => changedPolicy(stateOf(3), change({ q: 3 }))).toThrow('nothing would change')
    for (const q of [2, 5]) {
      expect(() => changedPolicy(stateOf(3), change({ q }))).toThrow(`q = ${q} cannot be: of 4 nodes 3 to 4 cosign`)
    }
    const all = world.nodes.map((node) => toHex(node))
    expect(() => changedPolicy(stateOf(3), change({ remove: all }))).toThrow('no node would be left')
  })
})

describe('a change of stores', () => {
  const [[storeOrg, storeAccount, , peer]] = stateOf(3).policy.stores as [
    readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array],
  ]
  const store = {
    ...{ account: toHex(storeAccount), organisation: toHex(storeOrg) },
    ...{ storeKey: 'ab'.repeat(32), peer: toHex(peer) },
  }

  it('takes one in, gives one another key at its place, and lets one go', () => {
    const joined = changedPolicy(stateOf(3), change({ add: [{ ...store, account: 'cd'.repeat(32) }] })).stores
    expect(joined.slice(0, -1)).toEqual(stateOf(3).policy.stores)
    expect(joined.at(-1)?.map(toHex)).toEqual([store.organisation, 'cd'.repeat(32), store.storeKey, store.peer])
    const { stores: renewed, nodes, last } = changedPolicy(stateOf(3), change({ replace: [store] }))
    expect(renewed[0]?.map(toHex)).toEqual([store.organisation, store.account, store.storeKey, store.peer])
    expect([nodes.length, last]).toEqual([4, []])
    const fewer = changedPolicy(stateOf(3), change({ removeStores: [store.account] })).stores
    expect(fewer).toEqual(stateOf(3).policy.stores.slice(1))
  })

  it('of one that is there twice, or is not there, is refused', () => {
    expect(() => changedPolicy(stateOf(3), change({ add: [store] }))).toThrow('is a store already')
    const stranger = { ...store, account: 'cd'.repeat(32) }
    expect(() => changedPolicy(stateOf(3), change({ replace: [stranger] }))).toThrow('no store of the policy in force')
    expect(() => changedPolicy(stateOf(3), change({ removeStores: [stranger.account] }))).toThrow('no store of the')
  })
})
