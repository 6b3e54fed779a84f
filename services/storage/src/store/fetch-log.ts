/**
 * Who fetched what and when: one file an hour, `fetches/<hours since 1970>.log`, to which lines are only added:
 * `<Unix ms> <account, hex> <CID> <owner, hex, or ->` (SPEC.md §5a, §8). A line is written before the block is answered
 * and flushed within a second. Files never get older: whoever has read one file after the other has seen every line.
 *
 * Files are kept for a time that is set, and no less because they are many: whoever fetches a great deal would else have
 * others' evidence removed. Of each file that goes, `removed.log` keeps the hash: a copy that somebody has can be checked.
 */
import { createHash } from 'node:crypto'
import {
  closeSync,
  createReadStream,
  fdatasync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  writeSync,
} from 'node:fs'
import { type FileHandle, open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import { ensureFolder } from '@healthblock/runtime/files'
import { StorageError } from '../errors.ts'
import { isDiskFull } from './disk-room.ts'

const hourMs = 3_600_000
const flushIntervalMs = 1000
/** Bytes of the log that one answer looks through. */
const scannedBytesMax = 4 * 1024 * 1024
const pieceBytes = 256 * 1024
const newline = 0x0a
/** Files that go at once. With one run an hour a clock that is wrong by years takes a day to remove a month. */
const removedAtOnceMax = 30
const removedName = 'removed.log'

/** One fetch. */
export interface FetchEntry {
  /** Unix ms. */
  at: number
  /** 32-byte account that fetched. */
  account: Uint8Array
  cid: string
}

/** A fetch with whose block it was, as far as the store knows. */
export type OwnedFetch = FetchEntry & { owner?: Uint8Array | undefined }

/** A place in the log: a file, and bytes into it. */
export interface FetchCursor {
  hour: number
  offset: number
}

/** Part of the log. */
export interface FetchPage {
  fetches: FetchEntry[]
  next: FetchCursor
  /** False if lines behind `next` were not looked at. */
  isEnd: boolean
}

/** Reads a cursor. @throws {StorageError} `ERR_ARGUMENT_INVALID`. */
export function parseFetchCursor(text: string): FetchCursor {
  const [, hour, offset] = /^(\d{1,9})\.(\d{1,15})$/.exec(text) ?? []
  if (hour !== undefined && offset !== undefined) return { hour: Number(hour), offset: Number(offset) }
  const reason = 'not <hour>.<offset>'
  throw new StorageError(`after: ${reason}`, { code: 'ERR_ARGUMENT_INVALID', field: 'after', reason })
}

/** Writes a cursor. */
export function encodeFetchCursor({ hour, offset }: FetchCursor): string {
  return `${hour}.${offset}`
}

function hoursOf(names: readonly string[]): number[] {
  const hours = names.flatMap((name) => /^(\d{1,9})\.log$/.exec(name)?.[1] ?? []).map(Number)
  return hours.sort((a, b) => a - b)
}

/** The hour of the newest file that was removed; undefined if none was. */
function lastRemoved(folder: string): number | undefined {
  try {
    const hours = readFileSync(join(folder, removedName), 'latin1').matchAll(/^(\d{1,9}) \d+ [0-9a-f]{64}$/gm)
    return [...hours].map(([, hour]) => Number(hour)).at(-1)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** The log of one node. */
export class FetchLog {
  readonly #folder: string
  readonly #keptMs: number
  #hour: number
  #removedHour: number | undefined
  #file: number | undefined
  #dirty = false
  #reading: Promise<unknown> = Promise.resolve()
  /** Owned by the one read that is under way. */
  readonly #piece = Buffer.allocUnsafeSlow(pieceBytes)
  readonly #timer: NodeJS.Timeout

  /** @param options.keptMs - how long a file is kept after its hour. */
  constructor(folder: string, options: { keptMs: number }) {
    this.#folder = folder
    this.#keptMs = options.keptMs
    ensureFolder(folder)
    this.#removedHour = lastRemoved(folder)
    this.#hour = hoursOf(readdirSync(folder)).at(-1) ?? -1
    this.#timer = setInterval(() => this.#flush(), flushIntervalMs)
    this.#timer.unref()
  }

  /**
   * Adds a line.
   *
   * @param entry.owner - whose block it is, as far as this store knows.
   * @throws {StorageError} `ERR_STORE_FULL` if the line cannot be written: then the block must not be answered.
   */
  add(entry: OwnedFetch): void {
    this.addAll([entry])
  }

  /** As {@link add}, for several fetches at one time: one write for all. */
  addAll(entries: readonly [OwnedFetch, ...OwnedFetch[]]): void {
    let lines = ''
    for (const { at, account, cid, owner } of entries) {
      lines += `${at} ${toHex(account)} ${cid} ${owner === undefined ? '-' : toHex(owner)}\n`
    }
    try {
      const file = this.#fileOf(Math.floor(entries[0].at / hourMs))
      const written = writeSync(file, lines, null, 'latin1')
      // What is there of it is ended by the next line's first byte.
      if (written < lines.length) throw new Error('the lines were cut off')
    } catch (cause) {
      this.#closeFile()
      const why = isDiskFull(cause as Error) ? ': the disk is full' : ''
      throw new StorageError(`the fetch cannot be logged${why}`, { code: 'ERR_STORE_FULL', bytesMax: 0 }, { cause })
    }
    this.#dirty = true
  }

  /** From when on the log is whole, Unix ms; undefined if nothing was ever removed. */
  get since(): number | undefined {
    return this.#removedHour === undefined ? undefined : (this.#removedHour + 1) * hourMs
  }

  /**
   * Removes files that are older than is wanted, the oldest first, at most {@link removedAtOnceMax}.
   *
   * @returns how many.
   */
  async thin(now: number): Promise<number> {
    const endHour = Math.min(Math.floor((now - this.#keptMs) / hourMs), this.#hour)
    const hours = hoursOf(await readdir(this.#folder)).filter((hour) => hour < endHour)
    const removed = hours.slice(0, removedAtOnceMax)
    for (const hour of removed) {
      await this.#note(hour)
      this.#removedHour = Math.max(hour, this.#removedHour ?? hour)
      // Not under the hands of whoever reads.
      const done = this.#reading.then(() => rm(this.#pathOf(hour), { force: true }))
      this.#reading = done.catch(() => {})
      await done
    }
    return removed.length
  }

  /** Writes down what is about to be removed. After a crash in between a file is written down twice. */
  async #note(hour: number): Promise<void> {
    const hash = createHash('sha256')
    let bytes = 0
    for await (const piece of createReadStream(this.#pathOf(hour)) as AsyncIterable<Buffer>) {
      hash.update(piece)
      bytes += piece.length
    }
    const file = await open(join(this.#folder, removedName), 'a', 0o600)
    try {
      await file.appendFile(`${hour} ${bytes} ${hash.digest('hex')}\n`)
      await file.datasync()
    } finally {
      await file.close()
    }
  }

  #pathOf(hour: number): string {
    return join(this.#folder, `${hour}.log`)
  }

  #fileOf(hour: number): number {
    if (hour > this.#hour) this.#closeFile()
    if (this.#file !== undefined) return this.#file
    this.#hour = Math.max(hour, this.#hour)
    this.#file = openSync(this.#pathOf(this.#hour), 'a+', 0o600)
    endLastLine(this.#file)
    return this.#file
  }

  /**
   * Fetches of the blocks of an owner from a place on, oldest first.
   *
   * @param options.limit - most lines that are given.
   */
  async read(owner: Uint8Array, options: { after?: FetchCursor | undefined; limit: number }): Promise<FetchPage> {
    // One at a time, however many ask: the memory is that of one.
    const page = this.#reading.then(() => this.#scan(owner, options.after ?? { hour: 0, offset: 0 }, options.limit))
    this.#reading = page.catch(() => {})
    return await page
  }

  async #scan(owner: Uint8Array, after: FetchCursor, limit: number): Promise<FetchPage> {
    const page: FetchPage = { fetches: [], next: after, isEnd: false }
    const wanted = Buffer.from(` ${toHex(owner)}\n`)
    let bytesLeft = scannedBytesMax
    for (const hour of hoursOf(await readdir(this.#folder))) {
      if (hour < after.hour) continue
      if (hour > page.next.hour) page.next = { hour, offset: 0 }
      const file = await open(this.#pathOf(hour), 'r')
      try {
        for (;;) {
          if (bytesLeft <= 0) return page
          const scanned = await this.#scanPiece(file, wanted, page, limit)
          if (scanned === 0) break
          bytesLeft -= scanned
          if (page.fetches.length >= limit) return page
        }
      } finally {
        await file.close()
      }
    }
    return { ...page, isEnd: true }
  }

  /** Looks through whole lines from `page.next` on; returns how many bytes they are. */
  async #scanPiece(file: FileHandle, wanted: Buffer, page: FetchPage, limit: number): Promise<number> {
    const { bytesRead } = await file.read(this.#piece, 0, pieceBytes, page.next.offset)
    const end = this.#piece.subarray(0, bytesRead).lastIndexOf(newline) + 1
    const lines = this.#piece.subarray(0, end)
    let done = 0
    while (page.fetches.length < limit) {
      const found = lines.indexOf(wanted, done)
      if (found < 0) {
        done = end
        break
      }
      const entry = parseLine(lines.toString('latin1', lines.lastIndexOf(newline, found) + 1, found))
      if (entry) page.fetches.push(entry)
      done = found + wanted.length
    }
    page.next = { hour: page.next.hour, offset: page.next.offset + done }
    return done
  }

  #flush(): void {
    if (!this.#dirty || this.#file === undefined) return
    this.#dirty = false
    // A failed flush is tried again with the next line; the line itself is written.
    fdatasync(this.#file, () => {})
  }

  #closeFile(): void {
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
  }

  /** Closes the file. */
  close(): void {
    clearInterval(this.#timer)
    this.#closeFile()
  }
}

/** A line that a crash or a full disk cut off stays by itself. */
function endLastLine(file: number): void {
  const { size } = fstatSync(file)
  const last = Buffer.alloc(1, newline)
  if (size > 0) readSync(file, last, 0, 1, size - 1)
  if (last[0] !== newline) writeSync(file, '\n')
}

/** A line without its last field; undefined for what is none, as after a cursor that nobody gave. */
function parseLine(line: string): FetchEntry | undefined {
  const [, at, account, cid] = /^(\d{1,15}) ([0-9a-f]{64}) ([0-9A-Za-z]{1,128})$/.exec(line) ?? []
  if (at === undefined || account === undefined || cid === undefined) return undefined
  return { at: Number(at), account: fromHex(account), cid }
}
