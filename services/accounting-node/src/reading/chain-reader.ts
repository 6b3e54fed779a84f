/**
 * What one chain's readers get: only published leaves, and each compared with the published tree when it is read from the
 * disk, so that an altered byte is noticed before anybody sees it. A damaged block is reported, healed and read again.
 */
import { CompactRange, inclusionProof, leafHash } from '@healthblock/chain/merkle'
import type { ReceiptEntry } from '@healthblock/chain/receipt'
import { encodeEntryBundle, type HashTile, tileWidth } from '@healthblock/chain/tile'
import { encodeUtf8, equalBytes } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import type { AppliedBlock, BlockPlace, ChainCore, PublishedHead } from '../core/chain-core.ts'
import { AccountingError } from '../errors.ts'
import type { Tiles } from './tiles.ts'

/** Newest blocks kept in memory for those who follow. */
const recentBlocksMax = 16
const recentSizeBytesMax = 4 * 1024 * 1024

/** Repairs a damaged block from the peers; resolves when it is good again, or rejects. `index` is the first leaf that is wrong. */
export type HealBlock = (fault: { readonly height: number; readonly index: number }) => Promise<void>

/** The leaves of a block as they are on the disk now, the SEAL last; undefined if the record cannot be read. */
export type ReadStored = (height: number) => readonly Uint8Array[] | undefined

/** What a reader needs. */
export interface ChainReaderOptions {
  readonly core: ChainCore
  readonly readStored: ReadStored
  readonly tiles: Tiles
  readonly heal: HealBlock
}

/** A published block. */
export interface ReadBlock extends BlockPlace {
  /** The SEAL last. */
  readonly leaves: readonly Uint8Array[]
}

/** Reads one chain of this node. */
export class ChainReader {
  readonly core: ChainCore
  readonly tiles: Tiles
  readonly #heal: HealBlock
  readonly #readStored: ReadStored
  readonly #recent = new Map<number, ReadBlock>()
  #recentBytes = 0
  /** The newest published head whose tree is here. */
  #published: PublishedHead | undefined
  #next = Promise.withResolvers<void>()
  #isHealing = false
  readonly #unsubscribe: (() => void)[] = []

  constructor(options: ChainReaderOptions) {
    this.core = options.core
    this.tiles = options.tiles
    this.#heal = options.heal
    this.#readStored = options.readStored
  }

  /** Begins to remember applied blocks: before the core starts, so that none is missed. */
  attach(): void {
    this.#unsubscribe.push(this.core.onApplied((block) => this.#remember(block)))
  }

  /** Takes up the published log, once the core has opened it. */
  async start(): Promise<void> {
    this.#unsubscribe.push(this.core.onPublished((published) => this.#grow(published)))
    const published = this.core.published()
    if (published === undefined) return
    if (!equalBytes(this.tiles.open(published.size), published.root)) await this.#healTree(published)
    this.#publish(published)
  }

  /** Ends following. */
  stop(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
    this.#next.resolve()
  }

  /** The newest published head that can be read. */
  get published(): PublishedHead | undefined {
    const readable = this.#published
    const newest = this.core.published()
    // A heartbeat makes a fresher note of the same head: it is served without a new tree.
    const isSame = readable !== undefined && newest?.size === readable.size && equalBytes(newest.root, readable.root)
    return isSame ? newest : readable
  }

  /** Resolves at the next publication, or when the reader stops. */
  nextPublication(): Promise<void> {
    return this.#next.promise
  }

  #remember(block: AppliedBlock): void {
    const { height, i0, size, leaves } = block
    this.#recent.set(height, { height, i0, size, leaves })
    this.#recentBytes += bytesOf(leaves)
    for (const [oldest, { leaves: old }] of this.#recent) {
      if (this.#recent.size <= recentBlocksMax && this.#recentBytes <= recentSizeBytesMax) break
      this.#recent.delete(oldest)
      this.#recentBytes -= bytesOf(old)
    }
  }

  #grow(published: PublishedHead): void {
    if (this.#isHealing || published.size < this.tiles.size) return
    let root: Uint8Array
    try {
      root = this.tiles.grow(published.size)
    } catch {
      // A record that cannot be read: the repair finds out which.
      root = new Uint8Array(0)
    }
    if (equalBytes(root, published.root)) {
      this.#publish(published)
      return
    }
    // What the disk holds is not what was executed: nothing of it is served before it is repaired.
    this.#isHealing = true
    this.#healTree(published)
      .then(() => this.#publish(published))
      // The healer has reported why; the next publication tries again.
      .catch(() => {})
      .finally(() => {
        this.#isHealing = false
      })
  }

  #publish(published: PublishedHead): void {
    if (this.#published !== undefined && published.size < this.#published.size) return
    this.#published = published
    this.#next.resolve()
    this.#next = Promise.withResolvers()
  }

  /** Finds the blocks whose leaves do not give the roots that were executed, repairs them, and opens the tree again. */
  async #healTree(published: PublishedHead): Promise<void> {
    for (let attempt = 0; attempt < 3; attempt++) {
      const damaged = this.firstDamagedBlock(published.height)
      if (damaged === undefined) break
      await this.#heal(damaged)
    }
    if (equalBytes(this.tiles.open(published.size), published.root)) return
    const { chain } = this.core
    throw new AccountingError(`the log of ${chain} does not give the published root`, {
      code: 'ERR_ENTRY_DAMAGED',
      chain,
      height: published.height,
      index: published.size - 1,
      file: 'log',
    })
  }

  /** The first block, up to a height, whose stored leaves do not lead to the root on record after it. */
  firstDamagedBlock(heightMax: number): { height: number; index: number } | undefined {
    const { ledger, chain } = this.core
    const range = new CompactRange()
    for (let height = 0; height <= heightMax; height++) {
      const index = range.size
      for (const leaf of this.#readStored(height) ?? []) range.append(leafHash(leaf))
      const boundary = ledger.index(chain).boundaryAt(height)
      if (boundary === undefined) return undefined
      if (range.size !== boundary.size || !equalBytes(range.root, boundary.root)) return { height, index }
    }
    return undefined
  }

  /** A tile's bytes, or undefined beyond the published log. */
  tile(tile: HashTile): Uint8Array | undefined {
    return this.tiles.tile(tile)
  }

  /** An entry bundle's bytes, or undefined beyond the published log. */
  async entryBundle(index: number, width: number): Promise<Uint8Array | undefined> {
    const from = index * tileWidth
    if (from + width > this.tiles.size) return undefined
    const entries: Uint8Array[] = []
    for (let at = from; at < from + width; ) {
      const { i0, size, leaves } = await this.block(this.#heightOf(at))
      const end = Math.min(size, from + width)
      entries.push(...leaves.slice(at - i0, end - i0))
      at = end
    }
    return encodeEntryBundle(entries)
  }

  #heightOf(index: number): number {
    const height = index < this.tiles.size ? this.core.heightOfIndex(index) : undefined
    if (height !== undefined) return height
    throw new AccountingError(`no published leaf has index ${index}`, { code: 'ERR_NOT_PUBLISHED', what: 'leaf' })
  }

  /** Height of the block that holds a published leaf; undefined if none does yet. */
  heightOf(index: number): number | undefined {
    return index < this.tiles.size ? this.core.heightOfIndex(index) : undefined
  }

  /**
   * A published block, read from the disk and compared with the tree.
   *
   * @throws {AccountingError} `ERR_NOT_PUBLISHED`; `ERR_ENTRY_DAMAGED` if it is damaged and no peer could help.
   */
  async block(height: number): Promise<ReadBlock> {
    const place = this.core.blockAt(height)
    if (place === undefined || place.size > this.tiles.size) {
      throw new AccountingError(`block ${height} is not published`, { code: 'ERR_NOT_PUBLISHED', what: 'block' })
    }
    let fault = this.#read(place)
    if (!('leaves' in fault)) {
      await this.#heal(fault)
      fault = this.#read(place)
    }
    if ('leaves' in fault) return fault
    const { chain } = this.core
    throw new AccountingError(`block ${height} of ${chain} is damaged here`, {
      code: 'ERR_ENTRY_DAMAGED',
      chain,
      height,
      index: fault.index,
      file: 'log',
    })
  }

  /** A published block that was applied a moment ago, or as `block`. */
  async recentBlock(height: number): Promise<ReadBlock> {
    return this.#recent.get(height) ?? this.block(height)
  }

  #read(place: BlockPlace): ReadBlock | { height: number; index: number } {
    const { height, i0, size } = place
    const leaves = this.#readStored(height)
    if (leaves === undefined || leaves.length !== size - i0) return { height, index: i0 }
    for (let at = i0; at < size; ) {
      const end = Math.min(size, (Math.floor(at / tileWidth) + 1) * tileWidth)
      const hashes = this.tiles.leafHashes(at, end)
      for (let index = at; index < end; index++) {
        const leaf = leaves[index - i0] as Uint8Array
        if (!equalBytes(leafHash(leaf), hashes[index - at] as Uint8Array)) return { height, index }
      }
      at = end
    }
    return { height, i0, size, leaves }
  }

  /** One published leaf. Receipts are mostly asked for at once, and to read a whole block back for one of its leaves would cost more than the rest. */
  async entry(index: number): Promise<Uint8Array> {
    const { i0, leaves } = await this.recentBlock(this.#heightOf(index))
    return leaves[index - i0] as Uint8Array
  }

  /** A published leaf with its proof under the newest published checkpoint, or under the older one that `choose` gives. */
  async proved(index: number, choose?: () => PublishedHead | undefined): Promise<ReceiptEntry> {
    const leaf = await this.entry(index)
    // From here on nothing waits: the tree holds the head.
    const chosen = choose?.()
    const isHeld = chosen !== undefined && chosen.size > index && chosen.size <= this.tiles.size
    const published = isHeld ? chosen : (this.#published as PublishedHead)
    const hashes = inclusionProof({ index, size: published.size }, this.tiles.read)
    return { leaf, index, hashes, checkpoint: published.checkpoint }
  }
}

function bytesOf(leaves: readonly Uint8Array[]): number {
  let sum = 0
  for (const { length } of leaves) sum += length
  return sum
}

/** A block as `GET /v1/<chain>/blocks` carries it: CBOR `[height, i0, [leaf…], checkpoint]`. */
export function encodeFrame(block: ReadBlock, checkpoint: string | undefined): Uint8Array {
  const note = checkpoint === undefined ? new Uint8Array(0) : encodeUtf8(checkpoint)
  return encodeCbor([block.height, block.i0, [...block.leaves], note])
}
