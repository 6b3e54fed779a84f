import { expect, test } from 'vitest'
import type { NodesView } from './model.ts'
import { needAttention } from './verdict.ts'

type Node = NodesView['nodes'][number]

const figures = { isSelf: false, heard: 1, checks: [], openIncidents: 0, chains: null }
const node = (rank: number, how: Partial<Node>): Node => ({
  ...{ rank, name: `accounting-${rank}`, isMember: true, fault: null, ready: true, ...figures },
  ...how,
})
const store = { heard: 1, blocks: 1, replicas: 3, handoffs: 0, peers: 2 }

test('a member that is away, not ready or accused needs attention, and so does a store that is away or lacks blocks', () => {
  const nodes = [node(0, {}), node(1, { fault: 'away', ready: null }), node(2, { ready: false }), node(3, {})]
  const stores = [
    { ...store, name: 'storage-0', fault: null, below: 0 },
    { ...store, name: 'storage-1', fault: 'away', below: null },
    { ...store, name: 'storage-2', fault: null, below: 2 },
  ]
  const names = ['accounting-1', 'accounting-2', 'accounting-3', 'storage-1', 'storage-2']
  expect(needAttention({ now: 1, nodes, stores }, new Set([3]))).toEqual(names)
  expect(needAttention({ now: 1, nodes: [node(0, {})], stores: null }, new Set())).toEqual([])
})

test('a node that was removed needs none, whatever it does', () => {
  const nodes = [node(0, {}), node(1, { isMember: false, fault: 'away', ready: null })]
  expect(needAttention({ now: 1, nodes, stores: null }, new Set([1]))).toEqual([])
})
