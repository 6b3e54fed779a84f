/** The files that tell the nodes of a cluster where the others are. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Genesis, genesisAccounts, parseGenesis } from '@healthblock/chain/genesis'
import { fromHex, toBase58, toHex } from '@healthblock/encoding/bytes'
import { writeFileDurably } from '@healthblock/runtime/files'
import { readStoreKeys } from '../governance/card.ts'
import { readFileText } from '../input-file.ts'
import { CommandError } from '../io.ts'
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

/** Account (hex) of an accounting or storage node of a cluster's plan; undefined if there is none of this name, or neither its plan nor genesis has it. */
export function accountOfNode(cluster: ClusterFile, name: string, genesis: Genesis): string | undefined {
  const role = cluster.nodes.find((node) => node.name === name)?.role
  if (role !== 'accounting' && role !== 'storage') return undefined
  const nodes = nodesOf(cluster, role)
  const position = nodes.findIndex((node) => node.name === name)
  const node = nodes[position] as NodePlan
  const { nodes: ranked, stores } = genesisAccounts(genesis)
  const inGenesis = role === 'accounting' ? ranked[node.rank ?? position] : stores[position]
  return node.account ?? (inGenesis === undefined ? undefined : toHex(inGenesis))
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
  const members = nodesOf(cluster, 'storage').flatMap(({ name }) => {
    const account = accountOfNode(cluster, name, genesis)
    const keys = publicKeysOf(dir, name) ?? keysInGenesis(genesis, account)
    return keys === undefined
      ? []
      : [{ name, account, ...keys, url: places.urlOf(name), addresses: [places.swarmOf(name)] }]
  })
  write(clusterPaths.membersFile(dir), { ledgerId: toHex(genesis.ledgerId), members })
}

interface StoreKeys {
  readonly storeKey: string
  readonly peerId: string
}

/** Public keys of a store; of one whose secrets are damaged, which does not start, those that stood in `members.json`: the others go on without it. */
function publicKeysOf(dir: string, name: string): StoreKeys | undefined {
  try {
    const { storeKey, peer } = readStoreKeys(join(clusterPaths.node(dir, name), 'secrets'))
    return { storeKey, peerId: toBase58(fromHex(peer)) }
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    return keysWritten(dir, name)
  }
}

function keysWritten(dir: string, name: string): StoreKeys | undefined {
  try {
    const { members } = JSON.parse(readFileText(clusterPaths.membersFile(dir))) as {
      members: (StoreKeys & { name: string })[]
    }
    const found = members.find((member) => member.name === name)
    return found && { storeKey: found.storeKey, peerId: found.peerId }
  } catch {
    return undefined
  }
}

function keysInGenesis(genesis: Genesis, account: string | undefined): StoreKeys | undefined {
  const position = genesisAccounts(genesis).stores.findIndex((store) => toHex(store) === account)
  const store = genesis.body.stores[position]
  return store && { storeKey: toHex(store[1]), peerId: toBase58(store[2]) }
}
