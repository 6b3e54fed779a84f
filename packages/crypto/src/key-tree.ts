/**
 * A patient's epoch keys: one tree per stream and generation. The functions here say which nodes a period needs; what
 * is not among the nodes handed over cannot be derived by anyone who holds them.
 *
 * @see SPEC.md §3
 */
import { provider } from '#provider'
import { argumentInvalid } from './inner/failures.ts'
import {
  coverOfLeaves,
  deriveNodeWith,
  epochKeyWith,
  leavesMax,
  leavesUnder,
  nodesOfLeaves,
  type TreeNode,
  type TreePosition,
} from './inner/key-tree.ts'
import type { Bytes } from './provider/provider.ts'

export { leavesMax, type TreeNode, type TreePosition, treeDepth } from './inner/key-tree.ts'

/** Epochs [from, until); `until` absent means without end. `first` is the epoch of the generation's leaf 0. */
export interface EpochRange {
  readonly first: number
  readonly from: number
  readonly until?: number | undefined
}

function leavesOf({ first, from, until }: EpochRange): { from: number; until: number } {
  const last = first + leavesMax
  // A window that began before this generation begins at its leaf 0; one without end ends at its last leaf.
  const end = until === undefined ? last : Math.min(until, last)
  const begin = Math.max(from, first)
  if (![first, from, begin, end].every((epoch) => Number.isSafeInteger(epoch) && epoch >= 0))
    throw argumentInvalid('range')
  return begin < end ? { from: begin - first, until: end - first } : { from: 0, until: 0 }
}

/** A stream's new root for a new generation: fresh random bytes, derived from nothing. */
export function newStreamRoot(): TreeNode {
  return { depth: 0, index: 0, key: provider.randomBytes(32) }
}

/**
 * The node at a position under (or at) a node.
 *
 * @throws {CryptoError} `ERR_ARGUMENT_INVALID` if the position does not lie there.
 */
export function deriveNode(node: TreeNode, position: TreePosition): TreeNode {
  return deriveNodeWith(provider, node, position)
}

/**
 * The smallest cover of a range of epochs, ascending; at most 38 positions. Epochs outside the generation are left out,
 * so the cover of a range that misses the generation is empty.
 */
export function coverRange(range: EpochRange): TreePosition[] {
  const leaves = leavesOf(range)
  return coverOfLeaves(leaves.from, leaves.until)
}

/**
 * The 32-byte key of an epoch.
 *
 * @throws {CryptoError} `ERR_EPOCH_OUTSIDE` if no node reaches that epoch.
 */
export function epochKeyFrom(options: { nodes: readonly TreeNode[]; first: number; epoch: number }): Bytes {
  return epochKeyWith(provider, options)
}

/** The nodes of those epochs of the range that `nodes` reach: fewer when they do not reach all. */
export function restrictNodes(nodes: readonly TreeNode[], range: EpochRange): TreeNode[] {
  return nodesOfLeaves(provider, nodes, leavesOf(range))
}

/** What remains when the range is destroyed: the siblings along its paths. The caller destroys `nodes` (`wipeNodes`). */
export function shredNodes(nodes: readonly TreeNode[], range: EpochRange): TreeNode[] {
  const { from, until } = leavesOf(range)
  return [
    ...nodesOfLeaves(provider, nodes, { from: 0, until: from }),
    ...nodesOfLeaves(provider, nodes, { from: until, until: leavesMax }),
  ]
}

/** Overwrites the keys of nodes that are no longer wanted (best effort: the runtime may hold copies). */
export function wipeNodes(nodes: readonly TreeNode[]): void {
  for (const node of nodes) node.key.fill(0)
}

/** True if `nodes` reach that epoch. */
export function reachesEpoch(options: { nodes: readonly TreeNode[]; first: number; epoch: number }): boolean {
  const leaf = options.epoch - options.first
  return options.nodes.some((node) => leavesUnder(node).from <= leaf && leaf < leavesUnder(node).until)
}
