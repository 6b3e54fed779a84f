/**
 * The hashes of one chain's published log as C2SP tiles, derived from its entries. Full tiles are kept as files, which
 * never change; what lies to the right of them is kept in memory, at most 255 hashes a level. The tree grows only to
 * published sizes, from entries read back from the log, and each growth must give the published root.
 *
 * A full tile is checked against its parent when it is read, so a damaged file is noticed, told, and made anew from the
 * entries; what is served is always what the published root commits to.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type HashReader, leafHash, nodeHash, type TreeNode } from '@healthblock/chain/merkle'
import { type HashTile, tilePath, tileWidth } from '@healthblock/chain/tile'
import { concatBytes, equalBytes } from '@healthblock/encoding/bytes'

const hashSizeBytes = 32
const tileSizeBytes = tileWidth * hashSizeBytes
/** Full tiles kept in memory. */
const cachedTilesMax = 64
/** Entries read at one time. */
const chunkEntries = tileWidth

/** Where the log's entries come from: leaf bytes of [from, to). */
export type EntrySource = (from: number, to: number) => Uint8Array[]

/** Told of a damaged tile file, before it is made anew. `index` is that of the first leaf below the tile. */
export type TileFault = (fault: { readonly file: string; readonly index: number }) => void

/** How to open the tiles of a log. */
export interface TilesOptions {
  /** Folder of the tile files; made if absent. */
  readonly dir: string
  readonly entries: EntrySource
  readonly onFault: TileFault
}

/** Root of a complete tree over 2^n hashes. */
function rootOf(hashes: readonly Uint8Array[]): Uint8Array {
  let level = hashes
  while (level.length > 1) {
    const next: Uint8Array[] = []
    for (let i = 0; i < level.length; i += 2) next.push(nodeHash(level[i] as Uint8Array, level[i + 1] as Uint8Array))
    level = next
  }
  return level[0] as Uint8Array
}

function splitTile(bytes: Uint8Array): Uint8Array[] {
  const hashes: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += hashSizeBytes) hashes.push(bytes.subarray(at, at + hashSizeBytes))
  return hashes
}

/** The published part of one log, as hashes. */
export class Tiles {
  readonly #dir: string
  readonly #entries: EntrySource
  readonly #onFault: TileFault
  /** Per level, the hashes right of its full tiles. */
  readonly #edges: Uint8Array[][] = []
  /** Full tiles by path, oldest use first. */
  readonly #cache = new Map<string, Uint8Array>()
  #size = 0
  #faultCount = 0

  constructor(options: TilesOptions) {
    this.#dir = options.dir
    this.#entries = options.entries
    this.#onFault = (fault) => {
      this.#faultCount++
      options.onFault(fault)
    }
  }

  /** Damaged tile files met so far. */
  get faultCount(): number {
    return this.#faultCount
  }

  /** Leaves covered. */
  get size(): number {
    return this.#size
  }

  /**
   * Takes up a log of `size` published leaves: full tiles from their files as far as these are there, the rest from the
   * entries.
   *
   * @returns The root that the tiles have; the caller compares it with the published one.
   */
  open(size: number): Uint8Array {
    this.#edges.length = 0
    this.#cache.clear()
    this.#size = size
    let count = size
    for (let level = 0; count > 0; level++) {
      const fullTiles = Math.floor(count / tileWidth)
      const edge: Uint8Array[] = []
      for (let index = fullTiles * tileWidth; index < count; index += chunkEntries) {
        if (level === 0) edge.push(...this.#entries(index, Math.min(count, index + chunkEntries)).map(leafHash))
        else for (let below = index; below < count; below++) edge.push(this.#subtreeRoot(level - 1, below))
        if (level > 0) break
      }
      this.#edges.push(edge)
      count = fullTiles
    }
    return this.root()
  }

  /** Root of a full tile whose parent is not known yet: from its file if it has one, else from below. */
  #subtreeRoot(level: number, index: number): Uint8Array {
    const bytes = this.#readFile(level, index) ?? this.#derive(level, index)
    return rootOf(splitTile(bytes))
  }

  /**
   * Grows to a newly published size.
   *
   * @returns The root at that size; the caller compares it with the published one.
   */
  grow(size: number): Uint8Array {
    for (let from = this.#size; from < size; from += chunkEntries) {
      for (const entry of this.#entries(from, Math.min(size, from + chunkEntries))) this.#append(leafHash(entry))
    }
    return this.root()
  }

  #append(hash: Uint8Array): void {
    let carried = hash
    let index = this.#size
    this.#size++
    for (let level = 0; ; level++) {
      let edge = this.#edges[level]
      if (edge === undefined) {
        edge = []
        this.#edges[level] = edge
      }
      edge.push(carried)
      if (edge.length < tileWidth) return
      index = Math.floor(index / tileWidth)
      const bytes = concatBytes(...edge)
      this.#writeFile(level, index, bytes)
      this.#remember(this.#path(level, index), bytes)
      carried = rootOf(edge)
      this.#edges[level] = []
    }
  }

  /** Root of the published log: 32 bytes. */
  root(): Uint8Array {
    let root: Uint8Array | undefined
    for (const edge of this.#edges) root = foldEdge(edge, root)
    // A log always holds its genesis; an empty one is asked for by nobody.
    return root ?? new Uint8Array(hashSizeBytes)
  }

  /** Bytes of a tile, or undefined if the published log does not reach that far. */
  tile(tile: HashTile): Uint8Array | undefined {
    const fullTiles = this.#fullTiles(tile.level)
    if (tile.index < fullTiles) return this.#full(tile.level, tile.index).subarray(0, tile.width * hashSizeBytes)
    const edge = this.#edges[tile.level]
    if (edge === undefined || tile.index > fullTiles || tile.width > edge.length) return undefined
    return concatBytes(...edge.slice(0, tile.width))
  }

  /** Gives hashes of complete subtrees of the published log, for proofs. */
  readonly read: HashReader = (nodes) => nodes.map((node) => this.#node(node))

  /** Hashes of the leaves [from, to), which must lie in one level 0 tile. */
  leafHashes(from: number, to: number): Uint8Array[] {
    const index = Math.floor(from / tileWidth)
    const hashes = this.#hashes(0, index)
    return hashes.slice(from - index * tileWidth, to - index * tileWidth)
  }

  #node({ level, index }: TreeNode): Uint8Array {
    const tileLevel = Math.floor(level / 8)
    const width = 2 ** (level % 8)
    const first = index * width
    const tileIndex = Math.floor(first / tileWidth)
    const start = first - tileIndex * tileWidth
    return rootOf(this.#hashes(tileLevel, tileIndex).slice(start, start + width))
  }

  #hashes(level: number, index: number): readonly Uint8Array[] {
    if (index < this.#fullTiles(level)) return splitTile(this.#full(level, index))
    return this.#edges[level] as Uint8Array[]
  }

  #fullTiles(level: number): number {
    return Math.floor(this.#size / tileWidth ** (level + 1))
  }

  #full(level: number, index: number): Uint8Array {
    const path = this.#path(level, index)
    const cached = this.#cache.get(path)
    if (cached !== undefined) {
      this.#cache.delete(path)
      this.#cache.set(path, cached)
      return cached
    }
    const parent = Math.floor(index / tileWidth)
    const expected = this.#hashes(level + 1, parent)[index - parent * tileWidth] as Uint8Array
    let bytes = this.#readFile(level, index)
    if (bytes === undefined || !equalBytes(rootOf(splitTile(bytes)), expected)) {
      if (bytes !== undefined) this.#onFault({ file: path, index: index * tileWidth ** (level + 1) })
      bytes = this.#derive(level, index)
      // If the entries are damaged too, the tile is theirs no more than the file was: neither is kept.
      if (equalBytes(rootOf(splitTile(bytes)), expected)) this.#writeFile(level, index, bytes)
      else return bytes
    }
    this.#remember(path, bytes)
    return bytes
  }

  #derive(level: number, index: number): Uint8Array {
    const first = index * tileWidth
    if (level === 0) return concatBytes(...this.#entries(first, first + tileWidth).map(leafHash))
    const roots: Uint8Array[] = []
    for (let below = first; below < first + tileWidth; below++) roots.push(this.#subtreeRoot(level - 1, below))
    return concatBytes(...roots)
  }

  #remember(path: string, bytes: Uint8Array): void {
    this.#cache.set(path, bytes)
    if (this.#cache.size <= cachedTilesMax) return
    const [oldest] = this.#cache.keys()
    this.#cache.delete(oldest as string)
  }

  /** Forgets what is in memory of the full tiles, so that their files are read again: for the self-check. */
  forget(): void {
    this.#cache.clear()
  }

  #path(level: number, index: number): string {
    return tilePath({ kind: 'hashes', level, index, width: tileWidth })
  }

  #readFile(level: number, index: number): Uint8Array | undefined {
    const file = join(this.#dir, this.#path(level, index))
    try {
      const bytes = new Uint8Array(readFileSync(file))
      if (bytes.length === tileSizeBytes) return bytes
      this.#onFault({ file: this.#path(level, index), index: index * tileWidth ** (level + 1) })
      rmSync(file, { force: true })
      return undefined
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }

  /** Not synced: whatever is lost is derived again. The rename keeps halves out of sight. */
  #writeFile(level: number, index: number, bytes: Uint8Array): void {
    const file = join(this.#dir, this.#path(level, index))
    const temporary = `${file}.new`
    try {
      writeFileSync(temporary, bytes, { mode: 0o600 })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
      writeFileSync(temporary, bytes, { mode: 0o600 })
    }
    renameSync(temporary, file)
  }
}

/** RFC 6962 root of an edge's hashes, right of which lies the subtree `right`. */
function foldEdge(edge: readonly Uint8Array[], right: Uint8Array | undefined): Uint8Array | undefined {
  // Complete subtrees of the edge from left to right, by the bits of its length.
  let root = right
  let end = edge.length
  while (end > 0) {
    let width = 1
    while (end % (width * 2) === 0) width *= 2
    const part = rootOf(edge.slice(end - width, end))
    root = root === undefined ? part : nodeHash(part, root)
    end -= width
  }
  return root
}
