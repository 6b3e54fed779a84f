/** What rules and readers must find in a log without reading it (SPEC.md §5, log index). It follows from the leaves alone. */
import { byteText } from '@healthblock/encoding/bytes'

/** Where a record of a stream was committed. `kind`: 0 data, 1 empty, 2 gap, 3 file. */
export interface RecordEntry {
  readonly index: number
  readonly generation: number
  readonly epoch: number
  readonly kind: number
}

/** The end of a block. */
export interface Boundary {
  /** The log's size after the SEAL. */
  readonly size: number
  readonly height: number
  /** Merkle root at `size`: 32 bytes. */
  readonly root: Uint8Array
  /** Time of the SEAL. */
  readonly ms: number
  /** The block closed a grant, suspended or ended a licence, or changed the policy: an idle Docchain then seals a block without transactions. */
  readonly wakes: boolean
  /** Docchain: the Userchain size at which the block is anchored. */
  readonly anchorSize?: number
}

/** What one block adds. */
export interface LogIndexChanges {
  readonly transactions: readonly { readonly id: Uint8Array; readonly index: number }[]
  /** Userchain: records of streams. `sequence` from 1. */
  readonly records: readonly {
    readonly patient: Uint8Array
    readonly stream: Uint8Array
    readonly sequence: number
    readonly entry: RecordEntry
  }[]
  readonly boundary: Boundary
}

/** Reads the index of one chain, at its committed head. */
export interface LogIndex {
  /** Index of the leaf of a transaction id (32 bytes). */
  find(transactionId: Uint8Array): number | undefined
  record(patient: Uint8Array, stream: Uint8Array, sequence: number): RecordEntry | undefined
  /** The boundary with exactly this size. */
  boundary(size: number): Boundary | undefined
  /** The end of the block that holds leaf `index`: the boundary with the least size > index. */
  boundaryAfter(index: number): Boundary | undefined
  /** The boundary of a height. */
  boundaryAt(height: number): Boundary | undefined
  /** Size of the newest boundary that `wakes`, among those of a size up to `sizeMax`. */
  newestWake(sizeMax: number): number | undefined
  /** Docchain: the first boundary with anchorSize > `userchainIndex`. */
  firstAnchoredBeyond(userchainIndex: number): Boundary | undefined
}

/** First position in an ascending list whose number is >= `least`. */
function positionOf<T>(list: readonly T[], numberOf: (item: T) => number, least: number): number {
  let low = 0
  let high = list.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (numberOf(list[middle] as T) < least) low = middle + 1
    else high = middle
  }
  return low
}

/** An index in memory. */
export class MemoryLogIndex implements LogIndex {
  readonly #transactions = new Map<string, number>()
  readonly #records = new Map<string, RecordEntry>()
  /** By height; sizes and anchors ascend with it. */
  readonly #boundaries: Boundary[] = []
  readonly #wakes: number[] = []

  find(transactionId: Uint8Array): number | undefined {
    return this.#transactions.get(byteText(transactionId))
  }

  record(patient: Uint8Array, stream: Uint8Array, sequence: number): RecordEntry | undefined {
    return this.#records.get(`${byteText(patient)}${byteText(stream)}${sequence}`)
  }

  boundary(size: number): Boundary | undefined {
    const found = this.boundaryAfter(size - 1)
    return found?.size === size ? found : undefined
  }

  boundaryAfter(index: number): Boundary | undefined {
    return this.#boundaries[positionOf(this.#boundaries, ({ size }) => size, index + 1)]
  }

  boundaryAt(height: number): Boundary | undefined {
    return this.#boundaries[height]
  }

  newestWake(sizeMax: number): number | undefined {
    return this.#wakes[positionOf(this.#wakes, (size) => size, sizeMax + 1) - 1]
  }

  firstAnchoredBeyond(userchainIndex: number): Boundary | undefined {
    return this.#boundaries[positionOf(this.#boundaries, ({ anchorSize }) => anchorSize ?? 0, userchainIndex + 1)]
  }

  /** Adds what one block adds. Blocks come in order. */
  apply(changes: LogIndexChanges): void {
    for (const { id, index } of changes.transactions) this.#transactions.set(byteText(id), index)
    for (const { patient, stream, sequence, entry } of changes.records) {
      this.#records.set(`${byteText(patient)}${byteText(stream)}${sequence}`, entry)
    }
    this.#boundaries.push(changes.boundary)
    if (changes.boundary.wakes) this.#wakes.push(changes.boundary.size)
  }
}
