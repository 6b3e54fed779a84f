/**
 * Records in an append-only file, each `length u32 || first 8 bytes of SHA-256(payload) || payload`. A torn last record, left by
 * a crash in the middle of `append`, was promised to nobody: opening cuts it off in silence. A record that was whole and does not hold any
 * more is a fault of the disk: it is cut off, and reported. (A damaged length that leads beyond the end cannot be told from a torn record.)
 */
import { sha256 } from '@healthblock/crypto/hash'
import { concatBytes, equalBytes } from '@healthblock/encoding/bytes'
import type { AppendFile, Disk } from './ports.ts'

const checkSizeBytes = 8
const headSizeBytes = 4 + checkSizeBytes
/** Largest payload: a block of 16 micro-batches, its acks, and room. */
const payloadSizeBytesMax = 32 * 1024 * 1024

function frame(payload: Uint8Array): Uint8Array {
  const head = new Uint8Array(headSizeBytes)
  new DataView(head.buffer).setUint32(0, payload.length)
  head.set(sha256(payload).subarray(0, checkSizeBytes), 4)
  return concatBytes(head, payload)
}

/** An open journal. */
export class Journal {
  readonly #file: AppendFile

  /** Called by `openJournal` only. */
  constructor(file: AppendFile) {
    this.#file = file
  }

  /** Bytes in the file. */
  sizeBytes(): number {
    return this.#file.size()
  }

  /** Adds a record durably, with one sync; answers the offset of its payload. */
  async append(payload: Uint8Array): Promise<number> {
    const offset = this.#file.size() + headSizeBytes
    await this.#file.append(frame(payload))
    return offset
  }

  /** Makes this record the only one, durably and atomically. */
  async replace(payload: Uint8Array): Promise<void> {
    await this.#file.replace(frame(payload))
  }

  read(offset: number, length: number): Uint8Array {
    return this.#file.read(offset, length)
  }

  /**
   * Writes another payload in the place of the one that lies at `offset`, durably and atomically; what follows moves if the
   * lengths differ. It rewrites the file: for repairs.
   */
  async rewrite(place: { offset: number; length: number }, payload: Uint8Array): Promise<void> {
    const before = this.#file.read(0, place.offset - headSizeBytes)
    const end = place.offset + place.length
    const after = this.#file.read(end, this.#file.size() - end)
    await this.#file.replace(concatBytes(before, frame(payload), after))
  }

  /** Cuts off everything from the record whose payload begins at `offset`. */
  async truncateFrom(offset: number): Promise<void> {
    await this.#file.truncate(offset - headSizeBytes)
  }

  async close(): Promise<void> {
    await this.#file.close()
  }
}

/**
 * How a journal ends. `clean`: with a good record. `torn`: with one that a crash left unfinished, which was promised to nobody: shorter than
 * it says, or ending in zeros as a file system leaves them. `damaged`: with one that was whole once, and perhaps others behind it.
 */
export type JournalEnd = 'clean' | 'torn' | 'damaged'

/** What opening found. */
export interface JournalOpening {
  readonly journal: Journal
  readonly end: JournalEnd
}

/** How a journal is opened. */
export interface JournalOptions {
  /** No record is longer (bytes of payload): a longer rest is no torn one. */
  readonly recordSizeBytesMax?: number
  /** Empties a damaged file, and keeps what it held as `NAME.damaged`, in place of cutting it off where the damage begins. */
  readonly isSetAside?: boolean
}

/** More zeros than a record ends with. */
const tornZerosSizeBytes = 16

/** The payload at `at`, if there is a whole and intact record, and where the record ends by its own words. */
function payloadAt(file: Pick<AppendFile, 'size' | 'read'>, at: number): { payload?: Uint8Array; end: number } {
  const size = file.size()
  if (at + headSizeBytes > size) return { end: size + 1 }
  const head = file.read(at, headSizeBytes)
  const length = new DataView(head.buffer, head.byteOffset).getUint32(0)
  const end = at + headSizeBytes + length
  if (length === 0 || length > payloadSizeBytesMax || end > size) return { end }
  const payload = file.read(at + headSizeBytes, length)
  const intact = equalBytes(sha256(payload).subarray(0, checkSizeBytes), head.subarray(4))
  return intact ? { payload, end } : { end }
}

/** What the record at `at`, which does not hold and ends at `end` by its own words, is the rest of. */
function endOf(
  file: Pick<AppendFile, 'size' | 'read'>,
  place: { at: number; end: number },
  sizeBytesMax: number,
): JournalEnd {
  const { at, end } = place
  const size = file.size()
  const zerosFrom = Math.max(at, size - tornZerosSizeBytes)
  if (file.read(zerosFrom, size - zerosFrom).every((byte) => byte === 0)) return 'torn'
  return end > size && end - at - headSizeBytes <= sizeBytesMax ? 'torn' : 'damaged'
}

/**
 * Opens a journal, shows each record to `visit`, in order, and cuts off what does not hold.
 *
 * @throws {RuntimeError} As the disk.
 */
export async function openJournal(
  disk: Disk,
  name: string,
  visit: (payload: Uint8Array, offset: number) => void,
  options: JournalOptions = {},
): Promise<JournalOpening> {
  const file = await disk.open(name)
  try {
    const { endAt, end } = readRecords(file, visit, options.recordSizeBytesMax)
    if (end === 'damaged' && options.isSetAside === true) {
      await disk.write(`${name}.damaged`, file.read(0, file.size()), { durable: true })
      await file.truncate(0)
    } else if (end !== 'clean') await file.truncate(endAt)
    return { journal: new Journal(file), end }
  } catch (error) {
    await file.close()
    throw error
  }
}

/**
 * Shows each record to `visit`, in order, and changes nothing.
 *
 * @returns Where the last good record ends, and what follows there.
 */
export function readRecords(
  file: Pick<AppendFile, 'size' | 'read'>,
  visit: (payload: Uint8Array, offset: number) => void,
  recordSizeBytesMax = payloadSizeBytesMax,
): { endAt: number; end: JournalEnd } {
  let at = 0
  while (at < file.size()) {
    const { payload, end } = payloadAt(file, at)
    if (payload === undefined) return { endAt: at, end: endOf(file, { at, end }, recordSizeBytesMax) }
    visit(payload, at + headSizeBytes)
    at = end
  }
  return { endAt: at, end: 'clean' }
}
