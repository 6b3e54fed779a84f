/**
 * C2SP tlog-tiles: where a log's hashes and entries are served, and their bytes. A tile is 256 hashes wide; tile (L, N)
 * holds the roots of complete subtrees of 256^L leaves. A partial tile is a prefix of the tile that it will become.
 *
 * @see https://c2sp.org/tlog-tiles
 */
import { concatBytes } from '@healthblock/encoding/bytes'
import { ChainError } from '../errors.ts'
import { leafSizeBytesMax } from '../transaction/transaction.ts'
import { type AsyncHashReader, hashSizeBytes, leafHash, nodeHash, type TreeNode } from './merkle.ts'

/** Hashes of a full tile, entries of a full bundle. */
export const tileWidth = 256
/** Levels of the tree within one tile. */
const tileHeight = 8

/** A tile of hashes. `width` 1 to 256; 256 is the full tile. */
export interface HashTile {
  readonly kind: 'hashes'
  readonly level: number
  readonly index: number
  readonly width: number
}

/** A bundle of entries: the leaves under the level 0 tile of the same index and width. */
export interface EntryBundle {
  readonly kind: 'entries'
  readonly index: number
  readonly width: number
}

function tileError(reason: string): ChainError {
  return new ChainError(`not a tile: ${reason}`, { code: 'ERR_TILE_FORMAT', reason })
}

/** The path under a log's prefix, such as `tile/0/x001/234.p/7` or `tile/entries/000`. */
export function tilePath(tile: HashTile | EntryBundle): string {
  let rest = Math.floor(tile.index / 1000)
  let number = String(tile.index % 1000).padStart(3, '0')
  while (rest > 0) {
    number = `x${String(rest % 1000).padStart(3, '0')}/${number}`
    rest = Math.floor(rest / 1000)
  }
  const level = tile.kind === 'entries' ? 'entries' : String(tile.level)
  return `tile/${level}/${number}${tile.width === tileWidth ? '' : `.p/${tile.width}`}`
}

const pathPattern = /^tile\/(entries|0|[1-9][0-9]?)\/((?:x[0-9]{3}\/)*[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/

/**
 * Reads such a path, in its one form.
 *
 * @throws {ChainError} `ERR_TILE_FORMAT`.
 */
export function parseTilePath(path: string): HashTile | EntryBundle {
  const match = path.length <= 64 ? pathPattern.exec(path) : null
  if (match === null) throw tileError('path')
  const index = Number((match[2] as string).replaceAll(/[x/]/g, ''))
  const width = match[3] === undefined ? tileWidth : Number(match[3])
  const level = match[1] === 'entries' ? 0 : Number(match[1])
  if (!Number.isSafeInteger(index) || level > 63) throw tileError('path')
  const tile: HashTile | EntryBundle =
    match[1] === 'entries' ? { kind: 'entries', index, width } : { kind: 'hashes', level, index, width }
  // Written again it must be the same: no leading x000, and no .p/256 and beyond.
  if (width > tileWidth || tilePath(tile) !== path) throw tileError('path')
  return tile
}

/** Every hash tile of a tree of `size` leaves, level by level; the last of a level may be partial. */
export function tilesOf(size: number): HashTile[] {
  return newTiles({ oldSize: 0, size })
}

/** The hash tiles of a tree of `size` leaves that the tree of `oldSize` leaves had not, or had with fewer hashes. */
export function newTiles(sizes: { oldSize: number; size: number }): HashTile[] {
  const tiles: HashTile[] = []
  let [before, count] = [sizes.oldSize, sizes.size]
  for (let level = 0; count > 0; level++) {
    if (count > before) {
      for (let index = Math.floor(before / tileWidth); index * tileWidth < count; index++) {
        tiles.push({ kind: 'hashes', level, index, width: Math.min(tileWidth, count - index * tileWidth) })
      }
    }
    before = Math.floor(before / tileWidth)
    count = Math.floor(count / tileWidth)
  }
  return tiles
}

/** The entry bundles that growing from `oldSize` to `size` leaves adds or widens. */
export function newEntryBundles(sizes: { oldSize: number; size: number }): EntryBundle[] {
  return newTiles(sizes)
    .filter(({ level }) => level === 0)
    .map(({ index, width }) => ({ kind: 'entries', index, width }))
}

/** The complete subtrees whose hashes a tile holds, in order. */
export function tileNodes(tile: HashTile): TreeNode[] {
  const level = tile.level * tileHeight
  return Array.from({ length: tile.width }, (_, i) => ({ level, index: tile.index * tileWidth + i }))
}

/** Joins hashes into a tile's bytes. */
export function encodeHashTile(hashes: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return concatBytes(...hashes)
}

/**
 * Reads a tile's bytes: exactly `width` hashes, as views.
 *
 * @throws {ChainError} `ERR_TILE_FORMAT`.
 */
export function parseHashTile(bytes: Uint8Array, width: number): Uint8Array[] {
  if (width < 1 || width > tileWidth || bytes.length !== width * hashSizeBytes) throw tileError('length')
  return Array.from({ length: width }, (_, i) => bytes.subarray(i * hashSizeBytes, (i + 1) * hashSizeBytes))
}

/**
 * Joins entries into a bundle: each after its length in two bytes, most significant first.
 *
 * @throws {ChainError} `ERR_TILE_FORMAT` for an entry above 65,535 bytes.
 */
export function encodeEntryBundle(entries: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = []
  for (const entry of entries) {
    if (entry.length > leafSizeBytesMax) throw tileError('an entry is too large')
    parts.push(Uint8Array.of(entry.length >> 8, entry.length & 0xff), entry)
  }
  return concatBytes(...parts)
}

/**
 * Reads a bundle: exactly `width` entries, as views.
 *
 * @throws {ChainError} `ERR_TILE_FORMAT`.
 */
export function parseEntryBundle(bytes: Uint8Array, width: number): Uint8Array[] {
  if (width < 1 || width > tileWidth) throw tileError('width')
  const entries: Uint8Array[] = []
  let offset = 0
  for (let i = 0; i < width; i++) {
    if (offset + 2 > bytes.length) throw tileError('the bundle ends early')
    const end = offset + 2 + (bytes[offset] as number) * 256 + (bytes[offset + 1] as number)
    if (end > bytes.length) throw tileError('the bundle ends early')
    entries.push(bytes.subarray(offset + 2, end))
    offset = end
  }
  if (offset !== bytes.length) throw tileError('bytes follow the bundle')
  return entries
}

/** Hashes of the level 0 tile over a bundle's entries. */
export function hashEntries(entries: readonly Uint8Array[]): Uint8Array[] {
  return entries.map(leafHash)
}

/** The tile of a tree of `size` leaves that a complete subtree lies in, and which of its hashes cover the subtree. */
function placeOf(node: TreeNode, size: number): { tile: HashTile; start: number; count: number } {
  const level = Math.floor(node.level / tileHeight)
  const count = 2 ** (node.level % tileHeight)
  const first = node.index * count
  const index = Math.floor(first / tileWidth)
  const hashes = Math.floor(size / tileWidth ** level)
  const width = Math.min(tileWidth, hashes - index * tileWidth)
  const start = first - index * tileWidth
  if (start + count > width) {
    const { level: nodeLevel, index: nodeIndex } = node
    throw new ChainError('a hash is missing', { code: 'ERR_HASH_MISSING', level: nodeLevel, index: nodeIndex })
  }
  return { tile: { kind: 'hashes', level, index, width }, start, count }
}

function subtreeRoot(hashes: readonly Uint8Array[]): Uint8Array {
  let level = hashes
  while (level.length > 1) {
    const above: Uint8Array[] = []
    for (let i = 0; i < level.length; i += 2) above.push(nodeHash(level[i] as Uint8Array, level[i + 1] as Uint8Array))
    level = above
  }
  return level[0] as Uint8Array
}

/**
 * Reads hashes out of the tiles of a tree of `size` leaves, each tile once per call. The tiles are not checked here: a
 * proof made from wrong ones does not verify.
 *
 * @param source - `readTile` gives a tile's bytes.
 * @throws {ChainError} from the reader: `ERR_HASH_MISSING` for a subtree beyond the tree, `ERR_TILE_FORMAT`.
 */
export function tileHashReader(source: {
  readonly size: number
  readonly readTile: (tile: HashTile) => Promise<Uint8Array>
}): AsyncHashReader {
  return async (nodes) => {
    const places = nodes.map((node) => placeOf(node, source.size))
    const tiles = new Map<string, HashTile>(places.map(({ tile }) => [tilePath(tile), tile]))
    const read = [...tiles].map(async ([path, tile]) => {
      const hashes = parseHashTile(await source.readTile(tile), tile.width)
      return [path, hashes] as const
    })
    const hashesOf = new Map(await Promise.all(read))
    return places.map(({ tile, start, count }) => {
      const hashes = hashesOf.get(tilePath(tile)) as Uint8Array[]
      return subtreeRoot(hashes.slice(start, start + count))
    })
  }
}
