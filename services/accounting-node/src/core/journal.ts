/**
 * Records in an append-only file, each `length u32 || first 8 bytes of SHA-256(payload) || payload`. A torn last record, left by
 * a crash in the middle of `append`, was promised to nobody: opening cuts it off. A record that is damaged with others behind
 * it is a fault of the disk and reported.
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

/** What opening found. */
export interface JournalOpening {
  readonly journal: Journal
  /** Offset of the first damaged record that had others behind it; everything from there on was cut off. */
  readonly damagedAt?: number
}

/** The payload at `at`, or undefined if there is no whole and intact record. */
function payloadAt(file: Pick<AppendFile, 'size' | 'read'>, at: number): { payload?: Uint8Array; end: number } {
  const size = file.size()
  if (at + headSizeBytes > size) return { end: size }
  const head = file.read(at, headSizeBytes)
  const length = new DataView(head.buffer, head.byteOffset).getUint32(0)
  const end = at + headSizeBytes + length
  if (length === 0 || length > payloadSizeBytesMax || end > size) return { end: size }
  const payload = file.read(at + headSizeBytes, length)
  const intact = equalBytes(sha256(payload).subarray(0, checkSizeBytes), head.subarray(4))
  return intact ? { payload, end } : { end }
}

/** Opens a journal and shows each record to `visit`, in order. */
export async function openJournal(
  disk: Disk,
  name: string,
  visit: (payload: Uint8Array, offset: number) => void,
): Promise<JournalOpening> {
  const file = await disk.open(name)
  try {
    return await scan(file, visit)
  } catch (error) {
    await file.close()
    throw error
  }
}

async function scan(file: AppendFile, visit: (payload: Uint8Array, offset: number) => void): Promise<JournalOpening> {
  const { endAt, isDamaged } = readRecords(file, visit)
  if (endAt === file.size()) return { journal: new Journal(file) }
  await file.truncate(endAt)
  return { journal: new Journal(file), ...(isDamaged ? { damagedAt: endAt } : {}) }
}

/** True if a record that does not hold is there in its whole length: what a process that ended left behind is shorter. */
export function isWholeRecord(file: Pick<AppendFile, 'size' | 'read'>, at: number): boolean {
  if (at + headSizeBytes > file.size()) return false
  const head = file.read(at, headSizeBytes)
  return at + headSizeBytes + new DataView(head.buffer, head.byteOffset).getUint32(0) === file.size()
}

/**
 * Shows each record to `visit`, in order, and changes nothing.
 *
 * @returns Where the last good record ends, and whether a damaged one with others behind it follows there (else a torn one, or nothing).
 */
export function readRecords(
  file: Pick<AppendFile, 'size' | 'read'>,
  visit: (payload: Uint8Array, offset: number) => void,
): { endAt: number; isDamaged: boolean } {
  let at = 0
  while (at < file.size()) {
    const { payload, end } = payloadAt(file, at)
    if (payload === undefined) return { endAt: at, isDamaged: end < file.size() }
    visit(payload, at + headSizeBytes)
    at = end
  }
  return { endAt: at, isDamaged: false }
}
