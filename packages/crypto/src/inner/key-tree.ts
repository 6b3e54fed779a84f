/** The GGM tree of a generation's epoch keys (SPEC.md §3), for a provider given by the caller. */
import { CryptoError } from '../errors.ts'
import type { Bytes, Provider } from '../provider/provider.ts'
import { argumentInvalid } from './failures.ts'

/** Depth of the leaves: a generation has 2^20 epochs, with hours about 119 years. */
export const treeDepth = 20
/** Number of leaves. */
export const leavesMax = 2 ** treeDepth

/** One node: whoever holds it derives the leaves under it, and no other. `key` is 32 bytes. */
export interface TreeNode {
  readonly depth: number
  readonly index: number
  readonly key: Uint8Array
}

/** A place in the tree, without its key. */
export interface TreePosition {
  readonly depth: number
  readonly index: number
}

const leftInfo = Uint8Array.of(0x30)
const rightInfo = Uint8Array.of(0x31)

/** Leaves [from, until) under a position. */
export function leavesUnder({ depth, index }: TreePosition): { from: number; until: number } {
  const width = 2 ** (treeDepth - depth)
  return { from: index * width, until: (index + 1) * width }
}

/** True for 0 <= depth <= 20 and an index that this depth has. */
export function isPosition({ depth, index }: TreePosition): boolean {
  return (
    Number.isInteger(depth) &&
    depth >= 0 &&
    depth <= treeDepth &&
    Number.isInteger(index) &&
    index >= 0 &&
    index < 2 ** depth
  )
}

function child(provider: Provider, key: Uint8Array, right: boolean): Bytes {
  return provider.hkdfSha256({ ikm: key, info: right ? rightInfo : leftInfo, length: 32 })
}

/** The node at `position`, which must lie under `node` (or be it). */
export function deriveNodeWith(provider: Provider, node: TreeNode, position: TreePosition): TreeNode {
  const steps = position.depth - node.depth
  if (!isPosition(node) || !isPosition(position) || steps < 0) throw argumentInvalid('position')
  if (Math.floor(position.index / 2 ** steps) !== node.index) throw argumentInvalid('position')
  let key: Bytes = Uint8Array.from(node.key)
  for (let step = steps - 1; step >= 0; step--) {
    const next = child(provider, key, Math.floor(position.index / 2 ** step) % 2 === 1)
    key.fill(0)
    key = next
  }
  return { depth: position.depth, index: position.index, key }
}

/** The smallest set of positions with exactly the leaves [from, until) under them, in their order. */
export function coverOfLeaves(from: number, until: number): TreePosition[] {
  const cover: TreePosition[] = []
  let at = from
  while (at < until) {
    let depth = treeDepth
    let width = 1
    while (depth > 0 && at % (width * 2) === 0 && at + width * 2 <= until) {
      width *= 2
      depth--
    }
    cover.push({ depth, index: at / width })
    at += width
  }
  return cover
}

function outside(epoch: number): CryptoError {
  return new CryptoError('no key for that epoch', { code: 'ERR_EPOCH_OUTSIDE', epoch })
}

/** The leaf of an epoch; throws for an epoch before `first` or beyond the last leaf. */
export function leafOf(first: number, epoch: number): number {
  const leaf = epoch - first
  if (!Number.isSafeInteger(leaf) || leaf < 0 || leaf >= leavesMax) throw outside(epoch)
  return leaf
}

/** `epochKeyFrom` of a provider. */
export function epochKeyWith(
  provider: Provider,
  options: { nodes: readonly TreeNode[]; first: number; epoch: number },
): Bytes {
  const index = leafOf(options.first, options.epoch)
  for (const node of options.nodes) {
    const under = leavesUnder(node)
    if (index >= under.from && index < under.until) {
      return deriveNodeWith(provider, node, { depth: treeDepth, index }).key as Bytes
    }
  }
  throw outside(options.epoch)
}

/** Those of the leaves [from, until) that `nodes` reach, as the smallest set of nodes. */
export function nodesOfLeaves(
  provider: Provider,
  nodes: readonly TreeNode[],
  range: { from: number; until: number },
): TreeNode[] {
  const kept: TreeNode[] = []
  for (const node of nodes) {
    const under = leavesUnder(node)
    const from = Math.max(under.from, range.from)
    const until = Math.min(under.until, range.until)
    for (const position of coverOfLeaves(from, until)) kept.push(deriveNodeWith(provider, node, position))
  }
  return kept.sort((a, b) => leavesUnder(a).from - leavesUnder(b).from)
}
