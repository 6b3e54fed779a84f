/** The entries of one chain, bundle by bundle, from every node at once: each leaf against the proved tree. */

import type { ChainName } from '@healthblock/chain/chains'
import { ChainError } from '@healthblock/chain/errors'
import { hashSizeBytes } from '@healthblock/chain/merkle'
import type { PreparedBundle, PreparedLeaf } from '@healthblock/chain/preparation'
import { type EntryBundle, encodeEntryBundle, newEntryBundles, tilePath, tileWidth } from '@healthblock/chain/tile'
import { concatBytes, equalBytes } from '@healthblock/encoding/bytes'
import type { LiveNode, Nodes } from './nodes.ts'
import type { FindingList, FindingParts } from './report.ts'
import { bundleRoot, readHashes, type Skeleton } from './skeleton.ts'

/** Bundles under way at one time: work for every core. */
const bundlesAheadMax = 8
/** Bytes of bundles under way at one time, of all nodes together, as long as it is more than one bundle. */
const bytesAheadMax = 64 * 1024 * 1024
/** In a log of at most this many bundles every level 0 tile of every node is compared; in a larger one each tile at one node. */
export const bundlesForEveryTile = 64

/** A bundle whose leaves are those of the log. `leaves` is undefined if no node serves them. */
export interface CheckedBundle {
  readonly index: number
  readonly firstIndex: number
  readonly leaves: readonly PreparedLeaf[] | undefined
  /** Bytes that all nodes together served of it. */
  readonly servedBytes: number
}

/** Reads and hashes an entry bundle, and does with its leaves what can be done early. It rejects with a `ChainError` if it cannot be read. */
export type PrepareBundle = (bytes: Uint8Array, bundle: EntryBundle) => Promise<PreparedBundle>

/** What the entries are read from and judged by. */
export interface EntrySource {
  readonly chain: ChainName
  /** Entries below are compared already. */
  readonly from: number
  readonly size: number
  /** Undefined if no node's tiles gave the cosigned root: then the entries of most nodes count, and replay decides. */
  readonly skeleton: Skeleton | undefined
  readonly nodes: Nodes
  /** Nodes that publish at least `size` entries. */
  readonly holders: readonly LiveNode[]
  /** Nodes whose tiles may tell what the entries should be: the holders, and more. */
  readonly tellers: readonly LiveNode[]
  readonly findings: FindingList
  /** Told of a node that does not serve something, with the finding that this is, unless it is another one already. */
  readonly onUnread: (node: LiveNode, finding?: FindingParts) => void
}

interface Served {
  readonly node: LiveNode
  readonly bytes: Uint8Array
}

/** Answers that are equal byte for byte, taken apart once. */
interface Version extends PreparedBundle {
  readonly nodes: readonly LiveNode[]
}

/** Reads all bundles that growing from `from` to `size` added or widened, in order, some ahead. */
export async function* readEntries(source: EntrySource, prepare: PrepareBundle): AsyncGenerator<CheckedBundle> {
  const bundles = newEntryBundles({ oldSize: source.from, size: source.size })
  const isEvery = bundles.length <= bundlesForEveryTile
  const queue: Promise<CheckedBundle>[] = []
  let next = 0
  let ahead = bundlesAheadMax
  const fill = (): void => {
    for (; queue.length < ahead && next < bundles.length; next++) {
      const reading = readBundle(source, bundles[next] as EntryBundle, isEvery, prepare)
      // Whoever takes it from the queue sees the failure; until then it is nobody's.
      reading.catch(() => undefined)
      queue.push(reading)
    }
  }
  fill()
  for (let first = queue.shift(); first !== undefined; first = queue.shift()) {
    const checked = await first
    // The next ones are probably as large as this one.
    ahead = Math.min(bundlesAheadMax, Math.max(1, Math.floor(bytesAheadMax / Math.max(1, checked.servedBytes))))
    fill()
    yield checked
  }
}

async function readBundle(
  source: EntrySource,
  bundle: EntryBundle,
  isEvery: boolean,
  prepare: PrepareBundle,
): Promise<CheckedBundle> {
  const { holders, findings, chain } = source
  const { index } = bundle
  const firstIndex = index * tileWidth
  const answers = await Promise.all(holders.map((node) => readFrom(source, bundle, node)))
  const served = answers.flatMap((answer) => (answer === undefined ? [] : [answer]))
  const servedBytes = served.reduce((sum, { bytes }) => sum + bytes.length, 0)
  const versions = await versionsOf(source, bundle, served, prepare)
  const hashes = await trueHashes(source, bundle, versions)
  if (hashes === undefined) {
    const message = `no node serves entries ${firstIndex} to ${firstIndex + bundle.width - 1} of ${chain} that fit the cosigned tree`
    findings.add({ code: 'entry.unavailable', chain, index: firstIndex, message })
    return { index, firstIndex, leaves: undefined, servedBytes }
  }
  for (const version of versions) nameAltered(source, firstIndex, version, hashes)
  const asked = isEvery ? holders : holders.filter((_, rank) => rank === index % holders.length)
  await Promise.all(asked.map((node) => checkTile(source, bundle, node, hashes)))
  return { index, firstIndex, leaves: await assemble(versions, hashes, bundle, prepare), servedBytes }
}

async function readFrom(source: EntrySource, bundle: EntryBundle, node: LiveNode): Promise<Served | undefined> {
  const { chain, nodes, findings, onUnread } = source
  const asked = await nodes.ask(node, (client, url) => client.tile(chain, tilePath(bundle), { url }))
  if (asked.kind === 'answer') return { node, bytes: asked.value }
  if (asked.kind === 'gone' || (asked.kind === 'refused' && (asked.status === 401 || asked.status === 403))) {
    onUnread(node)
    return undefined
  }
  const index = bundle.index * tileWidth
  const reason = asked.kind === 'wrong' ? asked.reason : `status ${asked.status}`
  const message = `${node.name} does not serve the entries of ${chain} from index ${index}: ${reason}`
  const finding = { code: 'entry.missing', chain, index, node: node.name, message }
  findings.add(finding)
  onUnread(node, finding)
  return undefined
}

async function versionsOf(
  source: EntrySource,
  bundle: EntryBundle,
  served: readonly Served[],
  prepare: PrepareBundle,
): Promise<Version[]> {
  const groups: { bytes: Uint8Array; nodes: LiveNode[] }[] = []
  for (const { node, bytes } of served) {
    const same = groups.find((group) => equalBytes(group.bytes, bytes))
    if (same === undefined) groups.push({ bytes, nodes: [node] })
    else same.nodes.push(node)
  }
  groups.sort((a, b) => b.nodes.length - a.nodes.length)
  const versions = await Promise.all(
    groups.map(async ({ bytes, nodes }): Promise<Version[]> => {
      try {
        return [{ nodes, ...(await prepare(bytes, bundle)) }]
      } catch (error) {
        if (!(error instanceof ChainError)) throw error
        const index = bundle.index * tileWidth
        for (const { name } of nodes) {
          const message = `${name} serves an entry bundle of ${source.chain} from index ${index} that cannot be read`
          source.findings.add({ code: 'entry.malformed', chain: source.chain, index, node: name, message })
        }
        return []
      }
    }),
  )
  return versions.flat()
}

/** The leaf hashes of a bundle as the proved tree has them: from the entries that fit, else from a tile that fits. */
async function trueHashes(
  source: EntrySource,
  bundle: EntryBundle,
  versions: readonly Version[],
): Promise<Uint8Array | undefined> {
  const { skeleton, nodes, tellers, chain } = source
  if (skeleton === undefined) return versions[0]?.hashes
  const good = versions.find((version) => skeleton.fits(bundle, version))
  if (good !== undefined) return good.hashes
  for (const node of tellers) {
    const { index, width } = bundle
    const read = await readHashes(nodes, node, chain, { level: 0, index, width })
    if (read === undefined) continue
    const hashes = concatBytes(...read)
    if (skeleton.fits(bundle, { hashes, root: bundleRoot(read) })) return hashes
  }
  return undefined
}

function hashAt(hashes: Uint8Array, position: number): Uint8Array {
  return hashes.subarray(position * hashSizeBytes, (position + 1) * hashSizeBytes)
}

function nameAltered(source: EntrySource, firstIndex: number, version: Version, hashes: Uint8Array): void {
  const { chain, findings } = source
  if (equalBytes(version.hashes, hashes)) return
  for (const [position, { hash }] of version.leaves.entries()) {
    if (equalBytes(hash, hashAt(hashes, position))) continue
    const index = firstIndex + position
    for (const { name } of version.nodes) {
      const message = `${name} serves altered bytes as entry ${index} of ${chain}`
      findings.add({ code: 'entry.altered', chain, index, node: name, message })
    }
  }
}

/** Each leaf from whichever node has it right; undefined if one leaf is right nowhere. */
async function assemble(
  versions: readonly Version[],
  hashes: Uint8Array,
  bundle: EntryBundle,
  prepare: PrepareBundle,
): Promise<readonly PreparedLeaf[] | undefined> {
  const whole = versions.find((version) => equalBytes(version.hashes, hashes))
  if (whole !== undefined) return whole.leaves
  const leaves: Uint8Array[] = []
  for (let position = 0; position < bundle.width; position++) {
    const version = versions.find((one) => equalBytes(hashAt(one.hashes, position), hashAt(hashes, position)))
    const leaf = version?.leaves[position]?.leaf
    if (leaf === undefined) return undefined
    leaves.push(leaf)
  }
  return (await prepare(encodeEntryBundle(leaves), bundle)).leaves
}

async function checkTile(source: EntrySource, bundle: EntryBundle, node: LiveNode, hashes: Uint8Array): Promise<void> {
  const { index, width } = bundle
  const expected = Array.from({ length: width }, (_, position) => hashAt(hashes, position))
  await compareTile(source, { level: 0, index, width }, node, expected)
}

/** Compares one hash tile of one node with the hashes that it must hold. */
export async function compareTile(
  source: EntrySource,
  tile: { level: number; index: number; width: number },
  node: LiveNode,
  expected: readonly Uint8Array[],
): Promise<void> {
  const { chain, nodes, findings, onUnread } = source
  const hashes = await readHashes(nodes, node, chain, tile)
  if (node.isGone) return
  const wrong = hashes === undefined ? 0 : hashes.findIndex((hash, i) => !equalBytes(hash, expected[i] as Uint8Array))
  if (wrong === -1) return
  const index = (tile.index * tileWidth + wrong) * tileWidth ** tile.level
  const path = tilePath({ kind: 'hashes', ...tile })
  const message = `${node.name} serves ${hashes === undefined ? 'no tile' : 'a wrong hash'} at ${path} of ${chain}`
  const code = hashes === undefined ? 'tile.missing' : 'tile.mismatch'
  const finding = { code, chain, index, node: node.name, message }
  findings.add(finding)
  if (hashes === undefined) onUnread(node, finding)
}

/** Compares all tiles above level 0 of every holder with what the proved tree gives. */
export async function compareUpperTiles(source: EntrySource): Promise<void> {
  const { skeleton, holders } = source
  if (skeleton === undefined) return
  let hashes: readonly Uint8Array[] = skeleton.bundles
  for (let level = 1; hashes.length > 0; level++) {
    const above: Uint8Array[] = []
    for (let index = 0; index * tileWidth < hashes.length; index++) {
      const expected = hashes.slice(index * tileWidth, (index + 1) * tileWidth)
      const tile = { level, index, width: expected.length }
      await Promise.all(holders.map((node) => compareTile(source, tile, node, expected)))
      if (expected.length === tileWidth) above.push(bundleRoot(expected))
    }
    hashes = above
  }
}
