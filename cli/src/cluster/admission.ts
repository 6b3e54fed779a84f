/** Which nodes and stores of a cluster's plan the ledger has, asked of the accounting nodes that are ready. */
import { join } from 'node:path'
import { parseGenesis } from '@healthblock/chain/genesis'
import { rankedNodes } from '@healthblock/chain/policy'
import { toHex } from '@healthblock/encoding/bytes'
import { RuntimeError } from '@healthblock/runtime/errors'
import { readStoreKeys } from '../governance/card.ts'
import { readGoverningState } from '../governance/state.ts'
import { readFileBytes } from '../input-file.ts'
import { CommandError } from '../io.ts'
import { ledgerSubject } from '../ledger-subject.ts'
import { accountOfNode, nodesOf } from './addresses.ts'
import { readerToken } from './enrol.ts'
import { type ClusterFile, clusterPaths, type NodePlan } from './layout.ts'
import { askProcess, readProcess } from './processes.ts'

async function readyUrls(dir: string, cluster: ClusterFile): Promise<string[]> {
  const states = nodesOf(cluster, 'accounting').map(({ name }) => readProcess(clusterPaths.node(dir, name)))
  const answers = await Promise.all(states.map((state) => askProcess(state, '/readyz')))
  return states.flatMap(({ url }, i) => (answers[i]?.isWell === true && url !== undefined ? [url] : []))
}

/**
 * True if nodes that are ready say, and prove, that this one is not in the policy in force. What it says of itself counts for nothing: one
 * that is new, or was away, has not read yet that it was admitted. False if nobody can be asked.
 */
export async function isLeftOut(dir: string, cluster: ClusterFile, node: NodePlan): Promise<boolean> {
  try {
    const url = await readyUrls(dir, cluster)
    if (url.length === 0) return false
    const path = clusterPaths.genesis(dir)
    const genesis = parseGenesis(readFileBytes(path))
    const token = readerToken(dir, 'auditor', 'ledger')
    const { policy } = await readGoverningState(ledgerSubject({ url, genesis: path, token }).client, genesis)
    const account = accountOfNode(cluster, node.name, genesis)
    if (node.role === 'accounting') return !rankedNodes(policy).some((one) => toHex(one.account) === account)
    // A store goes by its key as well: without it, it cannot even read the ledger.
    const { storeKey } = readStoreKeys(join(clusterPaths.node(dir, node.name), 'secrets'))
    return !policy.stores.some(([, store, key]) => toHex(store) === account && toHex(key) === storeKey)
  } catch (error) {
    if (!(error instanceof CommandError || error instanceof RuntimeError)) throw error
    return false
  }
}
