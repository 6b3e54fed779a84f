/**
 * The hashes of one chain's published log as C2SP tiles, derived from its entries. Full tiles are kept as files, which
 * never change; what lies to the right of them is kept in memory, at most 255 hashes a level. The tree grows only to
 * published sizes, from entries read back from the log, and each growth must give the published root.
 *
 * A full tile is checked against its parent when it is read, so a damaged file is noticed, told, and made anew from the
 * entries; what is served is always what the published root commits to.
 */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type HashReader, leafHash, nodeHash, type TreeNode } from '@healthblock/chain/merkle'
import { type HashTile, tilePath, tileWidth } from '@healthblock/chain/tile'
import { concatBytes, equalBytes } from '@healthblock/encoding/bytes'

const hashSizeBytes = 32
const tileSizeBytes = tileWidth * hashSizeBytes
const levelsOfTile = Math.log2(tileWidth)
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

/** Of a tree over a tile: its hashes, the 128 above them, and so on to the root, each made once. */
class TileTree {
  readonly #hashes = new Uint8Array((2 * tileWidth - 1) * hashSizeBytes)
  #width = 0

  static of(tile: Uint8Array): TileTree {
    const tree = new TileTree()
    for (let at = 0; at < tile.length; at += hashSizeBytes) tree.append(tile.subarray(at, at + hashSizeBytes))
    return tree
  }

  /** Hashes of the tile so far. */
  get width(): number {
    return this.#width
  }

  /** The tile: a view. */
  get bytes(): Uint8Array {
    return this.#hashes.subarray(0, this.#width * hashSizeBytes)
  }

  append(hash: Uint8Array): void {
    let position = this.#width
    this.#width++
    this.#hashes.set(hash, this.#start(0, position))
    for (let level = 0; position % 2 === 1; level++) {
      const parent = nodeHash(this.#view(level, position - 1), this.#view(level, position))
      position = (position - 1) / 2
      this.#hashes.set(parent, this.#start(level + 1, position))
    }
  }

  /** Root of the complete subtree of 2^level hashes at a position: a view. */
  hash(level: number, position: number): Uint8Array {
    assert((position + 1) * 2 ** level <= this.#width, 'the tile does not reach that far')
    return this.#view(level, position)
  }

  /** Root of a full tile. */
  get root(): Uint8Array {
    return this.hash(levelsOfTile, 0)
  }

  /** RFC 6962 root of the hashes, right of which lies the subtree `right`. */
  fold(right: Uint8Array | undefined): Uint8Array | undefined {
    // Complete subtrees from right to left, by the bits of the width.
    let root = right
    for (let level = 0; this.#width >> level > 0; level++) {
      if ((this.#width >> level) % 2 === 0) continue
      const part = this.hash(level, (this.#width >> level) - 1)
      root = root === undefined ? part : nodeHash(part, root)
    }
    return root
  }

  #view(level: number, position: number): Uint8Array {
    const start = this.#start(level, position)
    return this.#hashes.subarray(start, start + hashSizeBytes)
  }

  #start(level: number, position: number): number {
    return (2 * tileWidth - ((2 * tileWidth) >> level) + position) * hashSizeBytes
  }
}

/** The published part of one log, as hashes. */
export class Tiles {
  readonly #dir: string
  readonly #entries: EntrySource
  readonly #onFault: TileFault
  /** Per level, the tile that is not full. */
  readonly #edges: TileTree[] = []
  /** Full tiles by path, oldest use first. */
  readonly #cache = new Map<string, TileTree>()
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
      const edge = new TileTree()
      for (let index = fullTiles * tileWidth; index < count; index += chunkEntries) {
        if (level === 0) {
          for (const entry of this.#entries(index, Math.min(count, index + chunkEntries))) edge.append(leafHash(entry))
        } else for (let below = index; below < count; below++) edge.append(this.#subtreeRoot(level - 1, below))
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
    return TileTree.of(bytes).root
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
        edge = new TileTree()
        this.#edges[level] = edge
      }
      edge.append(carried)
      if (edge.width < tileWidth) return
      index = Math.floor(index / tileWidth)
      this.#writeFile(level, index, edge.bytes)
      this.#remember(this.#path(level, index), edge)
      carried = edge.root
      this.#edges[level] = new TileTree()
    }
  }

  /** Root of the published log: 32 bytes. */
  root(): Uint8Array {
    let root: Uint8Array | undefined
    for (const edge of this.#edges) root = edge.fold(root)
    // A log always holds its genesis; an empty one is asked for by nobody.
    return root ?? new Uint8Array(hashSizeBytes)
  }

  /** Bytes of a tile, or undefined if the published log does not reach that far. */
  tile(tile: HashTile): Uint8Array | undefined {
    const fullTiles = this.#fullTiles(tile.level)
    if (tile.index < fullTiles) return this.#full(tile.level, tile.index).bytes.subarray(0, tile.width * hashSizeBytes)
    const edge = this.#edges[tile.level]
    if (edge === undefined || tile.index > fullTiles || tile.width > edge.width) return undefined
    return edge.bytes.slice(0, tile.width * hashSizeBytes)
  }

  /** Gives hashes of complete subtrees of the published log, for proofs. */
  readonly read: HashReader = (nodes) => nodes.map((node) => this.#node(node))

  /** Hashes of the leaves [from, to), which must lie in one level 0 tile. */
  leafHashes(from: number, to: number): Uint8Array[] {
    const index = Math.floor(from / tileWidth)
    const tree = this.#tree(0, index)
    return Array.from({ length: to - from }, (_, position) => tree.hash(0, from + position - index * tileWidth))
  }

  #node({ level, index }: TreeNode): Uint8Array {
    const within = level % levelsOfTile
    const perTile = tileWidth / 2 ** within
    const tileIndex = Math.floor(index / perTile)
    return this.#tree(Math.floor(level / levelsOfTile), tileIndex).hash(within, index - tileIndex * perTile)
  }

  #tree(level: number, index: number): TileTree {
    return index < this.#fullTiles(level) ? this.#full(level, index) : (this.#edges[level] as TileTree)
  }

  #fullTiles(level: number): number {
    return Math.floor(this.#size / tileWidth ** (level + 1))
  }

  #full(level: number, index: number): TileTree {
    const path = this.#path(level, index)
    const cached = this.#cache.get(path)
    if (cached !== undefined) {
      this.#cache.delete(path)
      this.#cache.set(path, cached)
      return cached
    }
    const parent = Math.floor(index / tileWidth)
    const expected = this.#tree(level + 1, parent).hash(0, index - parent * tileWidth)
    const bytes = this.#readFile(level, index)
    let tree = bytes === undefined ? undefined : TileTree.of(bytes)
    if (tree === undefined || !equalBytes(tree.root, expected)) {
      if (tree !== undefined) this.#onFault({ file: path, index: index * tileWidth ** (level + 1) })
      tree = TileTree.of(this.#derive(level, index))
      // If the entries are damaged too, the tile is theirs no more than the file was: neither is kept.
      if (equalBytes(tree.root, expected)) this.#writeFile(level, index, tree.bytes)
      else return tree
    }
    this.#remember(path, tree)
    return tree
  }

  #derive(level: number, index: number): Uint8Array {
    const first = index * tileWidth
    if (level === 0) return concatBytes(...this.#entries(first, first + tileWidth).map(leafHash))
    const roots: Uint8Array[] = []
    for (let below = first; below < first + tileWidth; below++) roots.push(this.#subtreeRoot(level - 1, below))
    return concatBytes(...roots)
  }

  #remember(path: string, tree: TileTree): void {
    this.#cache.set(path, tree)
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
