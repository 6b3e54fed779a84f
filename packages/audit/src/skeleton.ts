/**
 * The tree above the entry bundles: one hash for each full bundle and the leaf hashes of the last, partial one. It is
 * small (one hash for 256 entries) and proved by the cosigned root, so that every bundle can be judged when it comes.
 */

import type { ChainName } from '@healthblock/chain/chains'
import { hashSizeBytes, nodeHash } from '@healthblock/chain/merkle'
import type { HashedBundle } from '@healthblock/chain/preparation'
import { type EntryBundle, parseHashTile, tilePath, tileWidth } from '@healthblock/chain/tile'
import { concatBytes, equalBytes } from '@healthblock/encoding/bytes'
import type { LiveNode, Nodes } from './nodes.ts'

const bundleLevel = 8

/** Root of the RFC 6962 tree over complete subtrees of bundles, followed by single leaves. */
function rootOf(bundles: readonly Uint8Array[], tail: readonly Uint8Array[]): Uint8Array {
  const stack: { level: number; hash: Uint8Array }[] = []
  const push = (hash: Uint8Array, level: number): void => {
    let node = { hash, level }
    for (let top = stack.at(-1); top !== undefined && top.level === node.level; top = stack.at(-1)) {
      stack.pop()
      node = { hash: nodeHash(top.hash, node.hash), level: node.level + 1 }
    }
    stack.push(node)
  }
  for (const hash of bundles) push(hash, bundleLevel)
  for (const hash of tail) push(hash, 0)
  return stack.reduceRight((root, { hash }, position) => {
    return position === stack.length - 1 ? hash : nodeHash(hash, root)
  }, new Uint8Array(32) as Uint8Array)
}

/** Root of a full bundle's leaf hashes. */
export function bundleRoot(hashes: readonly Uint8Array[]): Uint8Array {
  return rootOf([], hashes)
}

/** The proved hashes of a log of one size. */
export class Skeleton {
  readonly bundles: readonly Uint8Array[]
  readonly tail: readonly Uint8Array[]

  private constructor(bundles: readonly Uint8Array[], tail: readonly Uint8Array[]) {
    this.bundles = bundles
    this.tail = tail
  }

  /** Reads one node's tiles; undefined if they do not give the root. */
  static async read(
    nodes: Nodes,
    node: LiveNode,
    log: { chain: ChainName; size: number; root: Uint8Array },
  ): Promise<Skeleton | undefined> {
    const full = Math.floor(log.size / tileWidth)
    const bundles: Uint8Array[] = []
    for (let index = 0; index * tileWidth < full; index++) {
      const width = Math.min(tileWidth, full - index * tileWidth)
      const hashes = await readHashes(nodes, node, log.chain, { level: 1, index, width })
      if (hashes === undefined) return undefined
      bundles.push(...hashes)
    }
    const width = log.size % tileWidth
    const tail = width === 0 ? [] : await readHashes(nodes, node, log.chain, { level: 0, index: full, width })
    if (tail === undefined || !equalBytes(rootOf(bundles, tail), log.root)) return undefined
    return new Skeleton(bundles, tail)
  }

  /** True if these are the leaf hashes of the bundle: packed, with the root over them. */
  fits(bundle: EntryBundle, { hashes, root }: HashedBundle): boolean {
    if (hashes.length !== bundle.width * hashSizeBytes) return false
    const expected = this.bundles[bundle.index]
    if (expected !== undefined) return equalBytes(expected, root)
    return equalBytes(concatBytes(...this.tail), hashes)
  }
}

/** A node's hash tile; undefined if it serves none of that form. */
export async function readHashes(
  nodes: Nodes,
  node: LiveNode,
  chain: ChainName,
  tile: { level: number; index: number; width: number },
): Promise<Uint8Array[] | undefined> {
  const path = tilePath({ kind: 'hashes', ...tile })
  const asked = await nodes.ask(node, (client, url) => client.tile(chain, path, { url }))
  if (asked.kind !== 'answer') return undefined
  try {
    return parseHashTile(asked.value, tile.width)
  } catch {
    return undefined
  }
}
