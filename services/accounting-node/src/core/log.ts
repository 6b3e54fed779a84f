/**
 * The entries of one chain: an append-only journal, one record and one sync per block, each record the block's bytes and the
 * acks that prove its decision. It is this node's truth; tiles and state follow from it.
 */
import { AccountingError } from '../errors.ts'
import type { BlockPlace } from './chain-core.ts'
import { type Journal, openJournal } from './journal.ts'
import type { Disk } from './ports.ts'
import { type Ack, encodeAcks, encodeBlock, encodeMessage, parseAcks, parseBlock, parseMessage } from './wire.ts'

/** A block with the acks of its decision (none for block 0). */
export interface LoggedBlock {
  readonly leaves: readonly Uint8Array[]
  readonly acks: readonly Ack[]
}

/** Blocks kept decoded for readers, the newest read. */
const decodedBlocksMax = 8

/** The record of a block: what `append` stores. */
export function encodeRecord(block: { blockBytes: Uint8Array; acks: readonly Ack[] }): Uint8Array {
  return encodeMessage({ block: block.blockBytes, acks: encodeAcks(block.acks) })
}

/** Reads what `encodeRecord` wrote. @throws {AccountingError} `ERR_MESSAGE_INVALID`. */
export function parseRecord(payload: Uint8Array): { blockBytes: Uint8Array; acks: Ack[] } {
  const fields = parseMessage(payload)
  return { blockBytes: fields.bytes('block'), acks: parseAcks(fields.list('acks')) }
}

/** The log of one chain. */
export class BlockLog {
  readonly #chain: string
  #journal!: Journal
  /** By height: the size after the block, and where its record's payload lies. */
  readonly #sizes: number[] = []
  readonly #offsets: number[] = []
  readonly #lengths: number[] = []
  readonly #decoded = new Map<number, readonly Uint8Array[]>()
  /** True if opening cut damaged records off: blocks from `count()` on must be fetched again. */
  isDamaged = false

  private constructor(chain: string) {
    this.#chain = chain
  }

  /** Opens `log/blocks` of a disk. */
  static async open(disk: Disk, chain: string): Promise<BlockLog> {
    const log = new BlockLog(chain)
    const opening = await openJournal(disk, 'log/blocks', (payload, offset) => {
      const count = parseBlock(parseRecord(payload).blockBytes).length
      log.#note(count, offset, payload.length)
    })
    log.#journal = opening.journal
    log.isDamaged = opening.end === 'damaged'
    return log
  }

  #note(leafCount: number, offset: number, length: number): void {
    this.#sizes.push(this.size() + leafCount)
    this.#offsets.push(offset)
    this.#lengths.push(length)
  }

  /** Number of blocks; the newest has the height `count() - 1`. */
  count(): number {
    return this.#sizes.length
  }

  /** Number of leaves. */
  size(): number {
    return this.#sizes[this.#sizes.length - 1] ?? 0
  }

  /** Adds the next block, durably: when it resolves, the block survives a crash. */
  async append(record: Uint8Array, leafCount: number): Promise<void> {
    const offset = await this.#journal.append(record)
    this.#note(leafCount, offset, record.length)
  }

  /** Cuts off every block from `height` on: for blocks that this node's own checks refuse. */
  async truncate(height: number): Promise<void> {
    const offset = this.#offsets[height]
    if (offset === undefined) return
    await this.#journal.truncateFrom(offset)
    for (const list of [this.#sizes, this.#offsets, this.#lengths]) list.length = height
    this.#decoded.clear()
  }

  /** Puts a good record in the place of a damaged one, durably. The block's leaves are as many as before. */
  async repair(height: number, record: Uint8Array): Promise<void> {
    const [offset, length] = [this.#offsets[height], this.#lengths[height]]
    if (offset === undefined || length === undefined) return
    await this.#journal.rewrite({ offset, length }, record)
    this.#lengths[height] = record.length
    const shift = record.length - length
    for (let next = height + 1; shift !== 0 && next < this.#offsets.length; next++) {
      this.#offsets[next] = (this.#offsets[next] as number) + shift
    }
    this.#decoded.delete(height)
  }

  /** Where a block lies; undefined above the head. */
  place(height: number): BlockPlace | undefined {
    const size = this.#sizes[height]
    return size === undefined ? undefined : { height, i0: height === 0 ? 0 : (this.#sizes[height - 1] as number), size }
  }

  /** Height of the block that holds the leaf; undefined at or beyond the size. */
  heightOf(index: number): number | undefined {
    if (index < 0 || index >= this.size()) return undefined
    let low = 0
    let high = this.#sizes.length - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#sizes[middle] as number) > index) high = middle
      else low = middle + 1
    }
    return low
  }

  /**
   * The stored record of a height, as `append` took it.
   *
   * @throws {AccountingError} `ERR_LOG_DAMAGED` if the disk gives other bytes than were written.
   */
  record(height: number): { blockBytes: Uint8Array; acks: readonly Ack[] } {
    const [offset, length] = [this.#offsets[height], this.#lengths[height]]
    try {
      return parseRecord(this.#journal.read(offset as number, length as number))
    } catch (cause) {
      throw this.#damaged(height, 'a record cannot be read', cause)
    }
  }

  #damaged(height: number, reason: string, cause?: unknown): AccountingError {
    const index = this.place(height)?.i0 ?? this.size()
    return new AccountingError(
      `log of ${this.#chain}: ${reason}`,
      { code: 'ERR_LOG_DAMAGED', chain: this.#chain, index, reason },
      { cause },
    )
  }

  /** A block with its acks. */
  block(height: number): LoggedBlock {
    const { blockBytes, acks } = this.record(height)
    return { leaves: parseBlock(blockBytes), acks }
  }

  /** The leaves of a block, the SEAL last. */
  leaves(height: number): readonly Uint8Array[] {
    const known = this.#decoded.get(height)
    if (known !== undefined) return known
    const { leaves } = this.block(height)
    if (this.#decoded.size >= decodedBlocksMax) {
      for (const oldest of this.#decoded.keys()) {
        this.#decoded.delete(oldest)
        break
      }
    }
    this.#decoded.set(height, leaves)
    return leaves
  }

  /** The leaf at an index below `size()`. */
  entry(index: number): Uint8Array {
    const height = this.heightOf(index)
    if (height === undefined) throw this.#damaged(this.count(), `no leaf ${index}`)
    return this.leaves(height)[index - (this.place(height) as BlockPlace).i0] as Uint8Array
  }

  /** The leaves of [from, to), as far as there are. */
  entries(from: number, to: number): Uint8Array[] {
    const found: Uint8Array[] = []
    const end = Math.min(to, this.size())
    for (let index = from; index < end; ) {
      const height = this.heightOf(index) as number
      const { i0, size } = this.place(height) as BlockPlace
      const part = this.leaves(height).slice(index - i0, Math.min(end, size) - i0)
      for (const leaf of part) found.push(leaf)
      index = size
    }
    return found
  }

  async close(): Promise<void> {
    await this.#journal.close()
  }
}

/** Block bytes and the record for them. */
export function recordOf(leaves: readonly Uint8Array[], acks: readonly Ack[]): Uint8Array {
  return encodeRecord({ blockBytes: encodeBlock(leaves), acks })
}
