/** The files that tell the nodes of a cluster where the others are. */
import { readFileSync } from 'node:fs'
import { type Genesis, genesisAccounts, parseGenesis } from '@healthblock/chain/genesis'
import type { GenesisStore } from '@healthblock/chain/transaction'
import { toBase58, toHex } from '@healthblock/encoding/bytes'
import { writeFileDurably } from '@healthblock/runtime/files'
import { type ClusterFile, clusterPaths, type NodePlan } from './layout.ts'

/** Where nodes are, as the nodes themselves see it. */
export interface Places {
  /** Path of the genesis file. */
  readonly genesis: string
  readonly urlOf: (name: string) => string
  /** A storage node's address in the private swarm. */
  readonly swarmOf: (name: string) => string
}

/** The nodes of a role, in the order of their ranks. */
export function nodesOf(cluster: ClusterFile, role: NodePlan['role']): NodePlan[] {
  return cluster.nodes.filter((node) => node.role === role)
}

/** Account (hex) of an accounting node of a cluster's plan; undefined if there is none of this name, or neither its plan nor genesis has it. */
export function accountOfNode(cluster: ClusterFile, name: string, genesis: Genesis): string | undefined {
  const nodes = nodesOf(cluster, 'accounting')
  const position = nodes.findIndex((node) => node.name === name)
  const node = nodes[position]
  const inGenesis = genesisAccounts(genesis).nodes[node?.rank ?? position]
  return node?.account ?? (inGenesis === undefined ? undefined : toHex(inGenesis))
}

/** Writes `peers.json`, `ledger.json` and `members.json` of a cluster. */
export function writeAddressFiles(dir: string, cluster: ClusterFile, places: Places): void {
  const urls = (role: NodePlan['role']): string[] => nodesOf(cluster, role).map(({ name }) => places.urlOf(name))
  const write = (path: string, value: unknown): void => writeFileDurably(path, `${JSON.stringify(value, null, 2)}\n`)
  write(clusterPaths.ledgerFile(dir), {
    genesis: places.genesis,
    accounting: urls('accounting'),
    storage: urls('storage'),
  })
  write(
    clusterPaths.peersFile(dir),
    nodesOf(cluster, 'accounting').map(({ name, rank }, position) => ({
      rank: rank ?? position,
      url: places.urlOf(name),
    })),
  )
  const genesis = parseGenesis(readFileSync(clusterPaths.genesis(dir)))
  const accounts = genesisAccounts(genesis)
  const members = nodesOf(cluster, 'storage').map(({ name }, index) => ({
    name,
    account: toHex(accounts.stores[index] as Uint8Array),
    storeKey: toHex((genesis.body.stores[index] as GenesisStore)[1]),
    peerId: toBase58((genesis.body.stores[index] as GenesisStore)[2]),
    url: places.urlOf(name),
    addresses: [places.swarmOf(name)],
  }))
  write(clusterPaths.membersFile(dir), { ledgerId: toHex(genesis.ledgerId), members })
}
