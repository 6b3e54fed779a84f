import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseGenesis } from '@healthblock/chain/genesis'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { accountOfNode, writeAddressFiles } from './addresses.ts'
import { createCluster } from './create.ts'
import { clusterPaths } from './layout.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-addresses-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

test('accounting nodes find each other by their ranks, also when one between them has left and another has joined', async () => {
  const sizes = { accounting: 3, storage: 1, replicas: 1, doctors: 0, etcdMembers: 0, periodMs: 1_000, patients: [] }
  const made = await createCluster(join(dir, 'a'), sizes, Date.now())
  const { nodes } = made
  const places = {
    genesis: clusterPaths.genesis(join(dir, 'a')),
    urlOf: (name: string) => `http://${name}`,
    swarmOf: () => '/ip4/127.0.0.1/tcp/1',
  }
  const peersOf = (changed: typeof nodes): unknown => {
    writeAddressFiles(join(dir, 'a'), { ...made, nodes: changed }, places)
    return JSON.parse(readFileSync(clusterPaths.peersFile(join(dir, 'a')), 'utf8'))
  }
  expect(peersOf(nodes)).toEqual([0, 1, 2].map((rank) => ({ rank, url: `http://accounting-${rank}` })))
  const pinned = nodes.map((node) => {
    const rank = /^accounting-(\d)$/.exec(node.name)?.[1]
    return rank === undefined ? node : { ...node, rank: Number(rank) }
  })
  const changed = pinned.filter(({ name }) => name !== 'accounting-1')
  expect(peersOf([...changed, { name: 'accounting-late', role: 'accounting', rank: 5 }])).toEqual([
    { rank: 0, url: 'http://accounting-0' },
    { rank: 2, url: 'http://accounting-2' },
    { rank: 5, url: 'http://accounting-late' },
  ])
})

async function clusterWith(storage: number) {
  const sizes = { accounting: 1, storage, replicas: 2, doctors: 0, etcdMembers: 0, periodMs: 1_000, patients: [] }
  const folder = join(dir, 'a')
  const made = await createCluster(folder, sizes, Date.now())
  const places = {
    genesis: clusterPaths.genesis(folder),
    urlOf: (name: string) => `http://${name}`,
    swarmOf: () => '/ip4/127.0.0.1/tcp/1',
  }
  return { folder, made, places }
}

test('a store whose keys are damaged holds up nobody: it is listed by those that it had, or that genesis has', async () => {
  const { folder, made, places } = await clusterWith(2)
  const members = (): unknown => {
    writeAddressFiles(folder, made, places)
    return JSON.parse(readFileSync(clusterPaths.membersFile(folder), 'utf8'))
  }
  const whole = members()
  writeFileSync(join(clusterPaths.node(folder, 'storage-1'), 'secrets', 'store.key'), 'damaged\n')
  expect(members()).toEqual(whole)
  rmSync(clusterPaths.membersFile(folder))
  expect(members()).toEqual(whole)
})

test('a store whose keys are damaged is listed by its own that genesis has, though one before it has left', async () => {
  const { folder, made, places } = await clusterWith(3)
  const members = (nodes: typeof made.nodes): { name: string }[] => {
    writeAddressFiles(folder, { ...made, nodes }, places)
    return JSON.parse(readFileSync(clusterPaths.membersFile(folder), 'utf8')).members
  }
  const genesis = parseGenesis(readFileSync(clusterPaths.genesis(folder)))
  const [, ...others] = members(made.nodes)
  // As when a node is dropped: the others keep their accounts, which followed from their places.
  const left = made.nodes
    .filter(({ name }) => name !== 'storage-0')
    .map((node) => {
      const account = node.role === 'storage' ? accountOfNode(made, node.name, genesis) : undefined
      return account === undefined ? node : { ...node, account }
    })
  writeFileSync(join(clusterPaths.node(folder, 'storage-1'), 'secrets', 'store.key'), 'damaged\n')
  rmSync(clusterPaths.membersFile(folder))
  expect(members(left)).toEqual(others)
})
