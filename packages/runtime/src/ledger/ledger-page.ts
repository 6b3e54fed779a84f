/** Checks of a page of blocks against a log that is known up to some size. Nothing here executes a transaction. */

import type { ChainName } from '@healthblock/chain/chains'
import type { VerifiedCheckpoint } from '@healthblock/chain/checkpoint'
import { type CompactRange, consistencyProofAsync, leafHash, verifyConsistency } from '@healthblock/chain/merkle'
import { parseSealLeaf } from '@healthblock/chain/seal'
import { tileHashReader, tilePath } from '@healthblock/chain/tile'
import { leafKind } from '@healthblock/chain/transaction'
import { equalBytes } from '@healthblock/encoding/bytes'
import { messageOf } from '../errors.ts'
import { misbehaved } from '../http/http-client.ts'
import type { BlockFrame, LedgerClient } from './ledger-client.ts'

/** A block that is where it claims to be: its leaves end with its own SEAL, and no other SEAL is among them. */
function checkFrame(url: string, frame: BlockFrame, expected: { height: number; firstIndex: number }): void {
  const { height, firstIndex, leaves } = frame
  if (height !== expected.height) throw misbehaved(url, `block ${height} where block ${expected.height} belongs`)
  if (firstIndex !== expected.firstIndex) throw misbehaved(url, `a block that begins at another index`)
  try {
    const seal = parseSealLeaf(leaves.at(-1) as Uint8Array)
    if (seal.h !== height || seal.i0 !== firstIndex || seal.k !== leaves.length - 1) throw new TypeError('another SEAL')
    if (leaves.slice(0, -1).some((leaf) => leafKind(leaf) !== 'transaction')) throw new TypeError('two SEALs')
  } catch (error) {
    throw misbehaved(url, `block ${height} is not one block: ${messageOf(error)}`, error)
  }
}

/**
 * Appends the leaves of contiguous blocks to `range`, which it changes.
 *
 * @throws {RuntimeError} `ERR_SOURCE_MISBEHAVED` if a block is missing, out of place, or not one block.
 */
export function appendFrames(
  url: string,
  frames: readonly BlockFrame[],
  at: { range: CompactRange; nextHeight: number },
): void {
  for (const [i, frame] of frames.entries()) {
    checkFrame(url, frame, { height: at.nextHeight + i, firstIndex: at.range.size })
    for (const leaf of frame.leaves) at.range.append(leafHash(leaf))
  }
}

/**
 * Whether the log that `range` stands for is a beginning of the one that the checkpoint states: by its root, or by a
 * consistency proof made from the source's tiles.
 */
export async function isPrefix(options: {
  client: LedgerClient
  chain: ChainName
  url: string
  head: { size: number; root: Uint8Array }
  checkpoint: VerifiedCheckpoint
  signal?: AbortSignal | undefined
}): Promise<boolean> {
  const { client, chain, url, head, checkpoint, signal } = options
  if (checkpoint.size === head.size) return equalBytes(checkpoint.root, head.root)
  if (checkpoint.size < head.size) return false
  const awaitable = signal === undefined ? {} : { signal }
  const read = tileHashReader({
    size: checkpoint.size,
    readTile: (tile) => client.tile(chain, tilePath(tile), { url, ...awaitable }),
  })
  const sizes = { oldSize: head.size, size: checkpoint.size }
  const proof = await consistencyProofAsync(sizes, read)
  try {
    verifyConsistency({ ...sizes, oldRoot: head.root, root: checkpoint.root, proof })
    return true
  } catch {
    return false
  }
}

/**
 * The root that the checkpoint's log has at a smaller size, proved by the source's tiles; undefined if they prove nothing.
 * If it differs from a verified root of that size, the quorum has signed two histories.
 */
export async function provedRootAt(options: {
  client: LedgerClient
  chain: ChainName
  url: string
  size: number
  checkpoint: VerifiedCheckpoint
  rangeFrom: (size: number, hashes: readonly Uint8Array[]) => CompactRange
  nodes: (size: number) => readonly { level: number; index: number }[]
}): Promise<Uint8Array | undefined> {
  const { client, chain, url, size, checkpoint } = options
  if (checkpoint.size < size) return undefined
  const read = tileHashReader({
    size: checkpoint.size,
    readTile: (tile) => client.tile(chain, tilePath(tile), { url }),
  })
  const root = options.rangeFrom(size, await read(options.nodes(size))).root
  const sizes = { oldSize: size, size: checkpoint.size }
  if (sizes.oldSize === sizes.size) return equalBytes(root, checkpoint.root) ? root : undefined
  try {
    verifyConsistency({
      ...sizes,
      oldRoot: root,
      root: checkpoint.root,
      proof: await consistencyProofAsync(sizes, read),
    })
    return root
  } catch {
    return undefined
  }
}

/** The complete subtrees of the first `size` leaves, from left to right. */
export function subtreesOf(size: number): { level: number; index: number }[] {
  const nodes: { level: number; index: number }[] = []
  let start = 0
  for (let level = 52; level >= 0; level--) {
    const width = 2 ** level
    if (Math.floor(size / width) % 2 === 0) continue
    nodes.push({ level, index: start / width })
    start += width
  }
  return nodes
}
