/** The entries of one chain, bundle by bundle, from every node at once: each leaf against the proved tree. */
import {
  type EntryBundle,
  hashEntries,
  newEntryBundles,
  parseEntryBundle,
  tilePath,
  tileWidth,
} from '@healthblock/chain/tile'
import type { ChainName } from '@healthblock/chain/transaction'
import { equalBytes } from '@healthblock/encoding/bytes'
import type { LiveNode, Nodes } from './nodes.ts'
import type { FindingList } from './report.ts'
import { bundleRoot, readHashes, type Skeleton } from './skeleton.ts'

/** Bundles under way at one time: a few MiB of leaves, and work for every core. */
const bundlesAhead = 8
/** In a log of at most this many bundles every level 0 tile of every node is compared; in a larger one each tile at one node. */
export const bundlesForEveryTile = 64

/** A bundle whose leaves are those of the log. `leaves` is undefined if no node serves them. */
export interface CheckedBundle {
  readonly index: number
  readonly firstIndex: number
  readonly leaves: readonly Uint8Array[] | undefined
}

/** What the entries are read from and judged by. */
export interface EntrySource {
  readonly chain: ChainName
  readonly size: number
  /** Undefined if no node's tiles gave the cosigned root: then the entries of most nodes count, and replay decides. */
  readonly skeleton: Skeleton | undefined
  readonly nodes: Nodes
  /** Nodes that publish at least `size` entries. */
  readonly holders: readonly LiveNode[]
  readonly findings: FindingList
}

interface Served {
  readonly node: LiveNode
  readonly bytes: Uint8Array
}

/** Answers that are equal byte for byte, taken apart once. */
interface Version {
  readonly nodes: readonly LiveNode[]
  readonly leaves: readonly Uint8Array[]
  readonly hashes: readonly Uint8Array[]
}

/**
 * Reads all bundles in order, some ahead. `prepare` begins what can be done early with a bundle's leaves, and is awaited
 * before the bundle is given out.
 */
export async function* readEntries(
  source: EntrySource,
  prepare: (leaves: readonly Uint8Array[]) => Promise<void>,
): AsyncGenerator<CheckedBundle> {
  const bundles = newEntryBundles({ oldSize: 0, size: source.size })
  const isEvery = bundles.length <= bundlesForEveryTile
  const queue: Promise<CheckedBundle>[] = []
  let next = 0
  const begin = (): void => {
    const bundle = bundles[next++]
    if (bundle === undefined) return
    const reading = readBundle(source, bundle, isEvery).then(async (checked) => {
      if (checked.leaves !== undefined) await prepare(checked.leaves)
      return checked
    })
    // Whoever takes it from the queue sees the failure; until then it is nobody's.
    reading.catch(() => undefined)
    queue.push(reading)
  }
  for (let i = 0; i < bundlesAhead; i++) begin()
  for (let first = queue.shift(); first !== undefined; first = queue.shift()) {
    const checked = await first
    begin()
    yield checked
  }
}

async function readBundle(source: EntrySource, bundle: EntryBundle, isEvery: boolean): Promise<CheckedBundle> {
  const { holders, findings, chain } = source
  const firstIndex = bundle.index * tileWidth
  const answers = await Promise.all(holders.map((node) => readFrom(source, bundle, node)))
  const served = answers.flatMap((answer) => (answer === undefined ? [] : [answer]))
  const versions = versionsOf(source, bundle, served)
  const hashes = await trueHashes(source, bundle, versions)
  if (hashes === undefined) {
    const message = `no node serves entries ${firstIndex} to ${firstIndex + bundle.width - 1} of ${chain} that fit the cosigned tree`
    findings.add({ code: 'entry.unavailable', chain, index: firstIndex, message })
    return { index: bundle.index, firstIndex, leaves: undefined }
  }
  for (const version of versions) nameAltered(source, firstIndex, version, hashes)
  const asked = isEvery ? holders : holders.filter((_, rank) => rank === bundle.index % holders.length)
  await Promise.all(asked.map((node) => checkTile(source, bundle, node, hashes)))
  return { index: bundle.index, firstIndex, leaves: assemble(versions, hashes) }
}

async function readFrom(source: EntrySource, bundle: EntryBundle, node: LiveNode): Promise<Served | undefined> {
  const { chain, nodes, findings } = source
  const asked = await nodes.ask(node, (client, url) => client.tile(chain, tilePath(bundle), { url }))
  if (asked.kind === 'answer') return { node, bytes: asked.value }
  if (asked.kind === 'gone' || (asked.kind === 'refused' && (asked.status === 401 || asked.status === 403))) {
    return undefined
  }
  const index = bundle.index * tileWidth
  const reason = asked.kind === 'wrong' ? asked.reason : `status ${asked.status}`
  const message = `${node.name} does not serve the entries of ${chain} from index ${index}: ${reason}`
  findings.add({ code: 'entry.missing', chain, index, node: node.name, message })
  return undefined
}

function versionsOf(source: EntrySource, bundle: EntryBundle, served: readonly Served[]): Version[] {
  const groups: { bytes: Uint8Array; nodes: LiveNode[] }[] = []
  for (const { node, bytes } of served) {
    const same = groups.find((group) => equalBytes(group.bytes, bytes))
    if (same === undefined) groups.push({ bytes, nodes: [node] })
    else same.nodes.push(node)
  }
  groups.sort((a, b) => b.nodes.length - a.nodes.length)
  return groups.flatMap(({ bytes, nodes }) => {
    try {
      const leaves = parseEntryBundle(bytes, bundle.width)
      return [{ nodes, leaves, hashes: hashEntries(leaves) }]
    } catch {
      const index = bundle.index * tileWidth
      for (const { name } of nodes) {
        const message = `${name} serves an entry bundle of ${source.chain} from index ${index} that cannot be read`
        source.findings.add({ code: 'entry.malformed', chain: source.chain, index, node: name, message })
      }
      return []
    }
  })
}

/** The leaf hashes of a bundle as the proved tree has them: from the entries that fit, else from a tile that fits. */
async function trueHashes(
  source: EntrySource,
  bundle: EntryBundle,
  versions: readonly Version[],
): Promise<readonly Uint8Array[] | undefined> {
  const { skeleton, nodes, holders, chain } = source
  if (skeleton === undefined) return versions[0]?.hashes
  const good = versions.find(({ hashes }) => skeleton.fits(bundle, hashes))
  if (good !== undefined) return good.hashes
  for (const node of holders) {
    const { index, width } = bundle
    const hashes = await readHashes(nodes, node, chain, { level: 0, index, width })
    if (hashes !== undefined && skeleton.fits(bundle, hashes)) return hashes
  }
  return undefined
}

function nameAltered(source: EntrySource, firstIndex: number, version: Version, hashes: readonly Uint8Array[]): void {
  const { chain, findings } = source
  for (const [position, hash] of version.hashes.entries()) {
    if (equalBytes(hash, hashes[position] as Uint8Array)) continue
    const index = firstIndex + position
    for (const { name } of version.nodes) {
      const message = `${name} serves altered bytes as entry ${index} of ${chain}`
      findings.add({ code: 'entry.altered', chain, index, node: name, message })
    }
  }
}

/** Each leaf from whichever node has it right; undefined if one leaf is right nowhere. */
function assemble(versions: readonly Version[], hashes: readonly Uint8Array[]): Uint8Array[] | undefined {
  const leaves: Uint8Array[] = []
  for (const [position, hash] of hashes.entries()) {
    const version = versions.find((one) => equalBytes(one.hashes[position] as Uint8Array, hash))
    if (version === undefined) return undefined
    leaves.push(version.leaves[position] as Uint8Array)
  }
  return leaves
}

async function checkTile(
  source: EntrySource,
  bundle: EntryBundle,
  node: LiveNode,
  hashes: readonly Uint8Array[],
): Promise<void> {
  const { index, width } = bundle
  await compareTile(source, { level: 0, index, width }, node, hashes)
}

/** Compares one hash tile of one node with the hashes that it must hold. */
export async function compareTile(
  source: EntrySource,
  tile: { level: number; index: number; width: number },
  node: LiveNode,
  expected: readonly Uint8Array[],
): Promise<void> {
  const { chain, nodes, findings } = source
  const hashes = await readHashes(nodes, node, chain, tile)
  if (node.isGone) return
  const wrong = hashes === undefined ? 0 : hashes.findIndex((hash, i) => !equalBytes(hash, expected[i] as Uint8Array))
  if (wrong === -1) return
  const index = (tile.index * tileWidth + wrong) * tileWidth ** tile.level
  const path = tilePath({ kind: 'hashes', ...tile })
  const message = `${node.name} serves ${hashes === undefined ? 'no tile' : 'a wrong hash'} at ${path} of ${chain}`
  findings.add({
    code: hashes === undefined ? 'tile.missing' : 'tile.mismatch',
    chain,
    index,
    node: node.name,
    message,
  })
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
