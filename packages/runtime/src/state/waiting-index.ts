/**
 * What the newest blocks add to a log index, until it is written: joined bytes and plain numbers. Kept as it comes, an id would hold its whole
 * transaction, and the collector would copy thousands of them before they can go.
 */
import type { Boundary, LogIndexChanges, RecordEntry } from '@healthblock/chain/log-index'
import { byteText } from '@healthblock/encoding/bytes'
import { IdFilter } from './id-filter.ts'

const idSizeBytes = 32
/** Patient and stream of a record. */
const patientSizeBytes = 32
const streamSizeBytes = 40
/** Sequence, index, generation, epoch and kind of a record. */
const numbersPerRecord = 5
const rowsUsual = 1_024

/** Where a transaction stands. `id`: a view that its owner may use until the index is cleared. */
export type Place = LogIndexChanges['transactions'][number]
/** A record with its place; byte strings as in `Place`. */
export type PlacedRecord = LogIndexChanges['records'][number]

/** Byte strings of one length, side by side. */
class Rows {
  readonly #rowSizeBytes: number
  #bytes: Uint8Array
  count = 0

  constructor(rowSizeBytes: number) {
    this.#rowSizeBytes = rowSizeBytes
    this.#bytes = new Uint8Array(rowSizeBytes * rowsUsual)
  }

  add(...parts: readonly Uint8Array[]): void {
    let at = this.count++ * this.#rowSizeBytes
    if (at === this.#bytes.length) {
      const grown = new Uint8Array(2 * at)
      grown.set(this.#bytes)
      this.#bytes = grown
    }
    for (const part of parts) {
      this.#bytes.set(part, at)
      at += part.length
    }
  }

  at(row: number): Uint8Array {
    return this.#bytes.subarray(row * this.#rowSizeBytes, (row + 1) * this.#rowSizeBytes)
  }

  /** Rows in the order of their bytes, and then of their numbers. */
  inOrder(): Uint32Array {
    const bytes = this.#bytes
    const size = this.#rowSizeBytes
    const view = new DataView(bytes.buffer)
    const firsts = Uint32Array.from({ length: this.count }, (_, row) => view.getUint32(row * size))
    return Uint32Array.from(firsts.keys()).sort((a, b) => {
      let difference = (firsts[a] as number) - (firsts[b] as number)
      for (let i = 4; difference === 0 && i < size; i++) {
        difference = (bytes[a * size + i] as number) - (bytes[b * size + i] as number)
      }
      return difference
    })
  }
}

/** Blocks come in order, and go all at once. */
export class WaitingIndex {
  #ids = new Rows(idSizeBytes)
  #indices: number[] = []
  #streams = new Rows(streamSizeBytes)
  #numbers: number[] = []
  /** Ascending. */
  #boundaries: Boundary[] = []
  /** Of the ids: most questions are about others. */
  #filter = new IdFilter()
  /** Whoever replays asks for no id and no record: they go into maps once somebody asks. */
  readonly #places = new Map<string, number>()
  readonly #records = new Map<string, RecordEntry>()
  /** How many of the rows the maps hold. */
  #placedCount = 0
  #recordedCount = 0

  /** Ends of the blocks, ascending. */
  get boundaries(): readonly Boundary[] {
    return this.#boundaries
  }

  /** Adds what one block adds. */
  apply({ transactions, records, boundary }: LogIndexChanges): void {
    for (const { id, index } of transactions) {
      this.#filter.add(id)
      this.#ids.add(id)
      this.#indices.push(index)
    }
    for (const { patient, stream, sequence, entry } of records) {
      this.#streams.add(patient, stream)
      this.#numbers.push(sequence, entry.index, entry.generation, entry.epoch, entry.kind)
    }
    this.#boundaries.push(boundary)
  }

  /** Index of the leaf of a transaction id. */
  find(transactionId: Uint8Array): number | undefined {
    if (!this.#filter.mayHave(transactionId)) return undefined
    for (; this.#placedCount < this.#ids.count; this.#placedCount++) {
      const { id, index } = this.#placeAt(this.#placedCount)
      this.#places.set(byteText(id), index)
    }
    return this.#places.get(byteText(transactionId))
  }

  /** Where a record of a stream stands. */
  record(patient: Uint8Array, stream: Uint8Array, sequence: number): RecordEntry | undefined {
    for (; this.#recordedCount < this.#streams.count; this.#recordedCount++) {
      const one = this.#recordAt(this.#recordedCount)
      this.#records.set(recordName(one.patient, one.stream, one.sequence), one.entry)
    }
    return this.#records.get(recordName(patient, stream, sequence))
  }

  /** Transactions in the order in which they came. */
  *places(): Iterable<Place> {
    for (let row = 0; row < this.#ids.count; row++) yield this.#placeAt(row)
  }

  /** Transactions in the order of their ids. */
  *placesInOrder(): Iterable<Place> {
    for (const row of this.#ids.inOrder()) yield this.#placeAt(row)
  }

  /** Records in the order of their patients and streams, of each stream in the order in which they came. */
  *recordsInOrder(): Iterable<PlacedRecord> {
    for (const row of this.#streams.inOrder()) yield this.#recordAt(row)
  }

  /** Forgets everything. */
  clear(): void {
    this.#ids = new Rows(idSizeBytes)
    this.#indices = []
    this.#streams = new Rows(streamSizeBytes)
    this.#numbers = []
    this.#boundaries = []
    this.#filter = new IdFilter()
    this.#places.clear()
    this.#records.clear()
    this.#placedCount = 0
    this.#recordedCount = 0
  }

  #placeAt(row: number): Place {
    return { id: this.#ids.at(row), index: this.#indices[row] as number }
  }

  #recordAt(row: number): PlacedRecord {
    const bytes = this.#streams.at(row)
    const at = row * numbersPerRecord
    const [sequence, index, generation, epoch, kind] = this.#numbers.slice(at, at + numbersPerRecord) as [
      number,
      number,
      number,
      number,
      number,
    ]
    const entry = { index, generation, epoch, kind }
    return { patient: bytes.subarray(0, patientSizeBytes), stream: bytes.subarray(patientSizeBytes), sequence, entry }
  }
}

function recordName(patient: Uint8Array, stream: Uint8Array, sequence: number): string {
  return `${byteText(patient)}${byteText(stream)}${sequence}`
}
