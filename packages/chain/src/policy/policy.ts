/** Policies as checkpoints are checked against them (SPEC.md §4, §5): keys by rank, of one chain. */

import type { ChainName } from '../chains.ts'
import type { LogPolicy } from '../log/checkpoint.ts'
import type { PolicyNode, PolicyRecord } from '../state/tables.ts'

/** Highest rank. */
export const rankMax = 1023

/** The keys of a node on one chain. */
export interface NodeChainKeys {
  readonly node: Uint8Array
  readonly log: Uint8Array
  readonly cosigner: Uint8Array
}

/** A node of a policy under its rank, which is never another node's. */
export interface RankedNode {
  readonly rank: number
  readonly org: Uint8Array
  readonly account: Uint8Array
  readonly node: PolicyNode
}

/** The nodes of a policy with their ranks, ascending. */
export function rankedNodes(policy: Pick<PolicyRecord, 'nodes' | 'ranks'>): readonly RankedNode[] {
  return policy.nodes.map((node, position) => {
    const [org, account] = node
    return { rank: policy.ranks?.[position] ?? position, org, account, node }
  })
}

/** The public keys of a node on a chain. */
export function nodeChainKeys([, , node, ulog, ucos, dlog, dcos]: PolicyNode, chain: ChainName): NodeChainKeys {
  return chain === 'userchain' ? { node, log: ulog, cosigner: ucos } : { node, log: dlog, cosigner: dcos }
}

/** What checkpoints of a chain are checked against under this policy. */
export function logPolicyOf(policy: Pick<PolicyRecord, 'q' | 'nodes' | 'ranks'>, chain: ChainName): LogPolicy {
  const cosigners: (Uint8Array | undefined)[] = []
  const logKeys: (Uint8Array | undefined)[] = []
  for (const { rank, node } of rankedNodes(policy)) {
    // Ranks of nodes that left stay empty.
    while (cosigners.length < rank) {
      cosigners.push(undefined)
      logKeys.push(undefined)
    }
    const { log, cosigner } = nodeChainKeys(node, chain)
    cosigners.push(cosigner)
    logKeys.push(log)
  }
  return { q: policy.q, cosigners, logKeys }
}
