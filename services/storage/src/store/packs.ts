/**
 * Large blocks, one after the other in files to which is only added: SQLite would write every byte twice, to its log and
 * to its file, and a file for each block would take a sync each. A record is digest || u32 length || sealed bytes; the
 * row of a block says where its record is (SPEC.md §8).
 *
 * The row stays the commit point. Records are written and synced before the rows that name them are committed; if we
 * crash in between, the next start finds them behind what the table `pack` says is committed, and cuts them off. Bytes
 * are overwritten only after their row is gone: the same transaction writes them down in `wipe`, so that a crash does not
 * leave them behind. No place is used twice. Everything here is owned by the writer's thread.
 */
import {
  closeSync,
  constants,
  existsSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmdirSync,
  rmSync,
  writeSync,
  writevSync,
} from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { fromHex } from '@healthblock/encoding/bytes'
import { release } from '../memory.ts'
import { encodeMark, type Place, packPathOf, packsFolderOf, parseMark, recordHeadBytes } from './pack-place.ts'
import { Statements } from './statements.ts'

/** A pack that has reached this size gets no more. */
const packBytesMax = 64 * 1024 * 1024
const zeros = new Uint8Array(65_536)
const numberPattern = /^\d{1,10}$/
const filePattern = /^([0-9a-f]{64})\.([0-9a-f]{16})$/
/** Bytes that are taken over from files of single blocks in one transaction. */
const adoptedBytesMax = 16 * 1024 * 1024

/** How far a pack is, and how many bytes of it are of rows. */
interface Pack {
  bytes: number
  live: number
}

/** Where a transaction was, to go back to. */
export interface PackState {
  readonly bytes: number
  readonly live: number
  readonly removed: number
}

/** The packs of a store. */
export class Packs {
  readonly #database: DatabaseSync
  readonly #folder: string
  readonly #directory: number
  readonly #packs = new Map<number, Pack>()
  readonly #statements: Statements
  /** The newest pack, the one that is added to. */
  #current = { number: 0, file: -1 }
  #isWritten = false
  #isNew = false
  /** Records that go with this transaction. */
  #removed: Place[] = []
  /** Packs of which nothing is left, to be removed after the commit. */
  #ended: number[] = []
  /** Records that were overwritten, and are still written down. */
  #wiped: Place[] = []
  /** The pack that this transaction has copied away. */
  #compacted: number | undefined

  /** @param path - of the SQLite file. */
  constructor(database: DatabaseSync, path: string) {
    this.#database = database
    this.#statements = new Statements(database)
    this.#folder = packsFolderOf(path)
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
    this.#directory = openSync(this.#folder, 'r')
    this.#load()
    this.#recover()
    this.#adopt(`${path}-large`)
  }

  /** Closes the files. */
  close(): void {
    if (this.#current.file !== -1) closeSync(this.#current.file)
    closeSync(this.#directory)
  }

  /** Reads the table: what is committed. */
  #load(): void {
    this.#packs.clear()
    for (const { number, bytes, live } of this.#database.prepare('SELECT * FROM pack').all()) {
      this.#packs.set(number as number, { bytes: bytes as number, live: live as number })
    }
  }

  /** Takes away what a crash left: names, tails and bytes that no row has. */
  #recover(): void {
    for (const name of readdirSync(this.#folder)) {
      if (!numberPattern.test(name)) continue
      const pack = this.#packs.get(Number(name))
      if (pack === undefined) wipeFile(join(this.#folder, name))
    }
    const last = Math.max(0, ...this.#packs.keys())
    if (last > 0) this.#open(last)
    this.#removed = this.#database
      .prepare('SELECT pack, offset, length FROM wipe')
      .all()
      .map((row) => ({ pack: row.pack as number, offset: row.offset as number, length: row.length as number }))
    this.settle()
  }

  /** Opens a pack to add to it, without the tail that was not committed. */
  #open(number: number): void {
    if (this.#current.file !== -1) closeSync(this.#current.file)
    const file = openSync(packPathOf(this.#folder, number), constants.O_RDWR | constants.O_CREAT, 0o600)
    const { size } = fstatSync(file)
    const { bytes } = this.#packs.get(number) as Pack
    wipeRange(file, bytes, size)
    // Also if it was cut or taken away: what is missing is found damaged, and no place is used twice.
    if (size !== bytes) ftruncateSync(file, bytes)
    this.#current = { number, file }
  }

  /** Called before each transaction: the pack does not change within one. */
  begin(): void {
    const pack = this.#packs.get(this.#current.number)
    if (pack !== undefined && pack.bytes < packBytesMax) return
    const number = this.#current.number + 1
    if (this.#current.file !== -1) closeSync(this.#current.file)
    this.#current = { number: this.#current.number, file: -1 }
    const file = openSync(packPathOf(this.#folder, number), 'w+', 0o600)
    this.#current = { number, file }
    this.#packs.set(number, { bytes: 0, live: 0 })
    this.#isNew = true
  }

  /** How far the transaction is. */
  state(): PackState {
    return { ...(this.#packs.get(this.#current.number) as Pack), removed: this.#removed.length }
  }

  /** Undoes what came after a state of this transaction. */
  rollBack({ bytes, live, removed }: PackState): void {
    for (const { pack, length } of this.#removed.splice(removed)) this.#count(pack, recordHeadBytes + length)
    const pack = this.#packs.get(this.#current.number) as Pack
    if (pack.bytes > bytes) ftruncateSync(this.#current.file, bytes)
    pack.bytes = bytes
    pack.live = live
  }

  /** Undoes the whole transaction. */
  abort(): void {
    const { number, file } = this.#current
    this.#removed = []
    this.#ended = []
    this.#isWritten = false
    this.#compacted = undefined
    this.#load()
    const pack = this.#packs.get(number) ?? { bytes: 0, live: 0 }
    this.#packs.set(number, pack)
    ftruncateSync(file, pack.bytes)
  }

  /**
   * Adds a record; it is durable with {@link sync}.
   *
   * @param pieces - the sealed bytes, `length` in all; the memory of large ones is freed.
   * @returns what its row says in place of the bytes.
   */
  write(digest: Uint8Array, length: number, pieces: Iterable<Uint8Array>): Uint8Array {
    const { number, file } = this.#current
    const pack = this.#packs.get(number) as Pack
    const head = new Uint8Array(recordHeadBytes)
    head.set(digest)
    new DataView(head.buffer).setUint32(32, length)
    const place = { pack: number, offset: pack.bytes, length }
    let at = pack.bytes
    let waiting: Uint8Array[] = [head]
    this.#isWritten = true
    try {
      for (const piece of pieces) {
        waiting.push(piece)
        // Short pieces go with their neighbours.
        if (piece.length < zeros.length) continue
        at += writeAll(file, waiting, at)
        release(piece)
        waiting = []
      }
      at += writeAll(file, waiting, at)
    } catch (error) {
      // The disk is full: what is there of it goes again.
      ftruncateSync(file, pack.bytes)
      throw error
    }
    pack.bytes = at
    pack.live += at - place.offset
    return encodeMark(place)
  }

  /** A block's row goes with this transaction. */
  remove(mark: Uint8Array): void {
    const place = parseMark(mark)
    this.#removed.push(place)
    this.#count(place.pack, -(recordHeadBytes + place.length))
  }

  #count(number: number, bytes: number): void {
    const pack = this.#packs.get(number)
    if (pack) pack.live += bytes
  }

  /** A block's sealed bytes; undefined if they cannot be read. */
  read(mark: Uint8Array): Uint8Array | undefined {
    const { pack, offset, length } = parseMark(mark)
    try {
      const file = openSync(packPathOf(this.#folder, pack), 'r')
      try {
        const sealed = new Uint8Array(length)
        return readSync(file, sealed, 0, length, offset + recordHeadBytes) === length ? sealed : undefined
      } finally {
        closeSync(file)
      }
    } catch {
      return undefined
    }
  }

  /** Makes the transaction's records durable, and writes down what is to be overwritten: before the commit. */
  sync(): void {
    const { number, file } = this.#current
    const changed = new Set(this.#removed.map(({ pack }) => pack))
    if (this.#isWritten) changed.add(number)
    if (this.#compacted !== undefined) changed.add(this.#compacted)
    const put = this.#statements.prepare('INSERT OR REPLACE INTO pack VALUES (?, ?, ?)')
    for (const one of changed) {
      const pack = this.#packs.get(one)
      if (pack === undefined) continue
      if (pack.live === 0 && one !== number) {
        this.#statements.prepare('DELETE FROM pack WHERE number = ?').run(one)
        this.#ended.push(one)
      } else put.run(one, pack.bytes, pack.live)
    }
    if (this.#removed.length > 0) {
      const note = this.#statements.prepare('INSERT OR REPLACE INTO wipe VALUES (?, ?, ?)')
      for (const { pack, offset, length } of this.#removed) note.run(pack, offset, length)
    }
    if (this.#wiped.length > 0) {
      const done = this.#statements.prepare('DELETE FROM wipe WHERE pack = ? AND offset = ?')
      for (const { pack, offset } of this.#wiped) done.run(pack, offset)
    }
    if (!this.#isWritten) return
    fdatasyncSync(file)
    if (this.#isNew) fsyncSync(this.#directory)
    this.#isNew = false
  }

  /**
   * The transaction is committed: no byte is left of what went with it. Never throws: nothing of it can be undone any
   * more, and what the disk does not let be overwritten is tried again.
   */
  settle(): void {
    this.#isWritten = false
    this.#compacted = undefined
    this.#wiped = []
    for (const number of this.#ended.splice(0)) {
      this.#packs.delete(number)
      wipeFile(packPathOf(this.#folder, number))
    }
    const byPack = Map.groupBy(this.#removed.splice(0), ({ pack }) => pack)
    for (const [pack, places] of byPack) {
      // A pack that is gone was overwritten as a whole; one that cannot be written to is tried again at the next start.
      const isDone = !this.#packs.has(pack) || wipeRecords(packPathOf(this.#folder, pack), places)
      if (isDone) this.#wiped.push(...places)
    }
  }

  /**
   * Takes a pack of which half is gone away: its records go to the newest one within this transaction.
   *
   * @param move - sets the row of a record, if it is still there, to another mark.
   */
  compact(move: (digest: Uint8Array, from: Uint8Array, to: Uint8Array) => boolean): void {
    const { number } = this.#current
    const half = [...this.#packs].find(([one, { bytes, live }]) => one !== number && live * 2 < bytes)
    if (half === undefined) return
    const [pack, { bytes }] = half
    this.#compacted = pack
    for (const { digest, offset, length } of recordsOf(packPathOf(this.#folder, pack), bytes)) {
      const from = encodeMark({ pack, offset, length })
      const before = this.state()
      const sealed = this.read(from)
      if (sealed === undefined) continue
      if (move(digest, from, this.write(digest, length, [sealed]))) this.remove(from)
      else this.rollBack(before)
    }
  }

  /** Takes files of single blocks, as earlier versions wrote them, into packs. */
  #adopt(folder: string): void {
    if (!existsSync(folder)) return
    const find = this.#database.prepare('SELECT 1 FROM block WHERE digest = ? AND sealed = ?')
    const update = this.#database.prepare('UPDATE block SET sealed = ? WHERE digest = ? AND sealed = ?')
    const names = readdirSync(folder).filter((name) => filePattern.test(name))
    for (let next = 0; next < names.length; ) {
      const taken: string[] = []
      this.begin()
      this.#database.exec('BEGIN IMMEDIATE')
      for (let bytes = 0; next < names.length && bytes < adoptedBytesMax; next++) {
        const name = names[next] as string
        const [digest, mark] = name.split('.').map(fromHex) as [Uint8Array, Uint8Array]
        taken.push(name)
        if (!find.get(digest, mark)) continue
        const sealed = readFileSync(join(folder, name))
        bytes += sealed.length
        update.run(this.write(digest, sealed.length, [sealed]), digest, mark)
      }
      this.sync()
      this.#database.exec('COMMIT')
      this.settle()
      for (const name of taken) wipeFile(join(folder, name))
    }
    // What is not ours in it stays, and is looked at again at the next start.
    if (readdirSync(folder).length === 0) rmdirSync(folder)
  }
}

/** Writes buffers one after the other. @returns how many bytes they are. */
function writeAll(file: number, buffers: readonly Uint8Array[], position: number): number {
  const size = buffers.reduce((sum, { length }) => sum + length, 0)
  let done = writevSync(file, buffers, position)
  if (done === size) return size
  const rest = Buffer.concat(buffers)
  while (done < size) done += writeSync(file, rest, done, size - done, position + done)
  return size
}

/** The records of a pack, in their order, without their bytes. */
function* recordsOf(path: string, end: number): Generator<{ digest: Uint8Array; offset: number; length: number }> {
  const file = openSync(path, 'r')
  try {
    for (let offset = 0; offset < end; ) {
      const head = new Uint8Array(recordHeadBytes)
      if (readSync(file, head, 0, head.length, offset) < head.length) return
      const length = new DataView(head.buffer).getUint32(32)
      yield { digest: head.subarray(0, 32), offset, length }
      offset += recordHeadBytes + length
    }
  } finally {
    closeSync(file)
  }
}

function wipeRange(file: number, from: number, to: number): void {
  for (let at = from; at < to; at += zeros.length) writeSync(file, zeros, 0, Math.min(zeros.length, to - at), at)
}

/** Overwrites the sealed bytes of records; their heads stay, so that the pack can still be walked. False if it cannot. */
function wipeRecords(path: string, places: readonly Place[]): boolean {
  let file: number | undefined
  try {
    file = openSync(path, 'r+')
    for (const { offset, length } of places) {
      const from = offset + recordHeadBytes
      wipeRange(file, from, from + length)
    }
    fdatasyncSync(file)
    return true
  } catch {
    return false
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

/** Overwrites a file and removes it. One that cannot be overwritten stays, and is tried again at the next start. */
function wipeFile(path: string): void {
  let file: number | undefined
  try {
    file = openSync(path, 'r+')
    wipeRange(file, 0, fstatSync(file).size)
    fdatasyncSync(file)
    rmSync(path, { force: true })
  } catch {
    // No row names it any more: it holds up nothing.
  } finally {
    if (file !== undefined) closeSync(file)
  }
}
