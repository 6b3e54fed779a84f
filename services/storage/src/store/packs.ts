/**
 * Large blocks, one after the other in files to which is only added: SQLite would write every byte twice, to its log and
 * to its file, and a file for each block would take a sync each. A record is digest || u32 length || sealed bytes; the
 * row of a block says where its record is (SPEC.md §8).
 *
 * Records are written and synced before the rows that name them are committed, also while the transaction before theirs is
 * still under way. With a journal behind them (src/store/pack-journal.ts) that sync is the commit point, else the row is: what the next
 * start finds behind what the table `pack` says is committed is put again, or cut off. Bytes are overwritten only after their row is gone: the same
 * transaction writes them down in `wipe`, so that a crash does not leave them behind. No place is used twice. Everything
 * here is owned by the writer's thread.
 */
import {
  closeSync,
  constants,
  existsSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  truncateSync,
} from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import { fromHex } from '@healthblock/encoding/bytes'
import { release } from '../memory.ts'
import type { PutOperation } from './operations.ts'
import { readRecord, recordsOf, wipeFile, wipeRange, wipeRecords, writeAll } from './pack-files.ts'
import {
  encodeJournal,
  findUnheard,
  isJournal,
  type JournaledPuts,
  journalBytesOf,
  journalDigest,
  sealJournal,
} from './pack-journal.ts'
import { encodeMark, endOf, type Place, packPathOf, packsFolderOf, parseMark, recordHeadBytes } from './pack-place.ts'
import { Statements } from './statements.ts'

/** A pack that has reached this size gets no more. */
const packBytesMax = 64 * 1024 * 1024
/** A piece of a record from this size on is written, and freed, by itself. */
const pieceBytesMin = 65_536
const numberPattern = /^\d{1,10}$/
const filePattern = /^([0-9a-f]{64})\.([0-9a-f]{16})$/
/** Bytes that are taken over from files of single blocks in one transaction. */
const adoptedBytesMax = 16 * 1024 * 1024
const syncData = promisify(fdatasync)

/** How far a pack is, and how many bytes of it are of rows. */
interface Pack {
  /** With the transaction that is under way, or else the last one. */
  bytes: number
  live: number
  /** With the records that are written ahead of their transactions. */
  end: number
}

/** Where a transaction was, to go back to. */
export interface PackState {
  readonly end: number
  readonly taken: number
  readonly removed: number
}

/** The packs of a store. */
export class Packs {
  readonly #database: DatabaseSync
  readonly #key: Uint8Array
  readonly #folder: string
  readonly #directory: number
  readonly #packs = new Map<number, Pack>()
  readonly #statements: Statements
  /** The newest pack, the one that is added to. */
  #current = { number: 0, file: -1 }
  /** Files that get no more, and that a sync may still be under way for. */
  #retired: number[] = []
  #syncs = 0
  #syncFailure: Error | undefined
  /** Records that are written, and that no transaction was about yet. */
  #ahead = 0
  /** Those that this transaction is about. */
  #staged: readonly Place[] = []
  /** How far the newest pack was before the transaction itself wrote to it. */
  #before = 0
  #isWritten = false
  /** Records whose transaction has failed, before others that wait. */
  #dropped: Place[] = []
  /** Records that come with this transaction, and that go with it. */
  #taken: Place[] = []
  #removed: Place[] = []
  /** Packs of which nothing is left, to be removed after the commit. */
  #ended: number[] = []
  /** Records that were overwritten, and are still written down. */
  #wiped: Place[] = []
  /** The pack that this transaction has copied away. */
  #compacted: number | undefined
  #unheard: readonly JournaledPuts[] = []

  /** @param path - of the SQLite file. @param key - 32-byte key for blocks at rest. */
  constructor(database: DatabaseSync, path: string, key: Uint8Array) {
    this.#database = database
    this.#key = key
    this.#statements = new Statements(database)
    this.#folder = packsFolderOf(path)
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
    this.#directory = openSync(this.#folder, 'r')
    this.#load()
    this.#recover()
    // A version that wrote journals has left no such files.
    if (this.#ahead === 0) this.#adopt(`${path}-large`)
  }

  /** Puts that only a journal knows of, in their order: their transactions come before any other. */
  takeUnheard(): readonly JournaledPuts[] {
    const unheard = this.#unheard
    this.#unheard = []
    return unheard
  }

  /** Closes the files. */
  close(): void {
    this.#closeRetired()
    if (this.#current.file !== -1) closeSync(this.#current.file)
    closeSync(this.#directory)
  }

  /** Reads the table: what is committed. */
  #load(): void {
    for (const pack of this.#packs.values()) Object.assign(pack, { bytes: 0, live: 0 })
    for (const row of this.#database.prepare('SELECT * FROM pack').all()) {
      const [number, bytes, live] = [row.number as number, row.bytes as number, row.live as number]
      const pack = this.#packs.get(number)
      if (pack === undefined) this.#packs.set(number, { bytes, live, end: bytes })
      else Object.assign(pack, { bytes, live })
    }
  }

  /** Takes away what a crash left: names, tails and bytes that neither a row nor a journal has. */
  #recover(): void {
    const committed = Math.max(0, ...this.#packs.keys())
    const from = { pack: Math.max(1, committed), offset: this.#packs.get(committed)?.bytes ?? 0 }
    const { groups, strays, end } = findUnheard(this.#folder, this.#key, from)
    for (let pack = from.pack; groups.length > 0 && pack <= end.pack; pack++) {
      const { bytes, live } = this.#packs.get(pack) ?? { bytes: 0, live: 0 }
      const reached = pack === end.pack ? end.offset : statSync(packPathOf(this.#folder, pack)).size
      this.#packs.set(pack, { bytes, live, end: reached })
    }
    this.#unheard = groups
    this.#dropped = [...strays]
    for (const { staged } of groups) this.#ahead += staged.size + 1
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

  /** Opens a pack to add to it, without the tail that did not come to its commit. */
  #open(number: number): void {
    if (this.#current.file !== -1) closeSync(this.#current.file)
    const file = openSync(packPathOf(this.#folder, number), constants.O_RDWR | constants.O_CREAT, 0o600)
    const { size } = fstatSync(file)
    const { end } = this.#packs.get(number) as Pack
    wipeRange(file, end, size)
    // Also if it was cut or taken away: what is missing is found damaged, and no place is used twice.
    if (size !== end) ftruncateSync(file, end)
    this.#current = { number, file }
  }

  /** One that is full gets no more. What is in it is durable then, and so is the name of the next one. */
  #follow(): void {
    const pack = this.#packs.get(this.#current.number)
    if (pack !== undefined && pack.end < packBytesMax) return
    const number = this.#current.number + 1
    if (this.#current.file !== -1) this.#syncNow(this.#current.file)
    const file = openSync(packPathOf(this.#folder, number), 'w+', 0o600)
    fsyncSync(this.#directory)
    if (this.#current.file !== -1) this.#retired.push(this.#current.file)
    this.#current = { number, file }
    this.#packs.set(number, { bytes: 0, live: 0, end: 0 })
    this.#closeRetired()
  }

  #closeRetired(): void {
    if (this.#syncs === 0) for (const file of this.#retired.splice(0)) closeSync(file)
  }

  /**
   * Adds a record ahead of its transaction. It is durable with {@link flush}; {@link begin} has to be told of it, or
   * {@link drop}, in the order in which they were added.
   *
   * @param pieces - the sealed bytes, `length` in all; the memory of large ones is freed.
   * @returns what its row says in place of the bytes.
   * @throws if the disk is full; then nothing of it is there.
   */
  stage(digest: Uint8Array, length: number, pieces: Iterable<Uint8Array>): Uint8Array {
    this.#follow()
    const place = this.#append(digest, length, pieces)
    this.#ahead++
    return encodeMark(place)
  }

  /** Adds the journal of puts behind their records, as {@link stage}: with it {@link flush} is their commit point. */
  stageJournal(staged: ReadonlyMap<PutOperation, Uint8Array>): Uint8Array {
    this.#follow()
    const content = encodeJournal(staged)
    const length = journalBytesOf(content)
    const place = { pack: this.#current.number, offset: this.#newest.end, length }
    return this.stage(journalDigest, length, [sealJournal(this.#key, place, content)])
  }

  /** True if bytes are overwritten after this transaction: then it has to be durable before. After {@link sync}. */
  get isRemoving(): boolean {
    return this.#removed.length + this.#ended.length > 0
  }

  /**
   * Why the last sync failed that did. What was written before it may be lost, and no later one says so: the system tells of it once.
   */
  get syncFailure(): Error | undefined {
    return this.#syncFailure
  }

  #syncNow(file: number): void {
    try {
      fdatasyncSync(file)
    } catch (error) {
      this.#syncFailure = error as Error
      throw error
    }
  }

  /** Makes the records that are there durable, while this thread does other things. */
  async flush(): Promise<void> {
    this.#syncs++
    try {
      await syncData(this.#current.file)
    } catch (error) {
      this.#syncFailure = error as Error
      throw error
    } finally {
      this.#syncs--
      this.#closeRetired()
    }
  }

  /** Called before each transaction. @param staged - the records that it is about. */
  begin(staged: readonly Uint8Array[] = []): void {
    this.#follow()
    this.#staged = staged.map(parseMark)
    const last = this.#staged.at(-1)?.pack ?? 0
    // What was dropped at the end of an older pack is before all that comes.
    for (const place of [...this.#staged, ...this.#dropped.filter(({ pack }) => pack < last)]) {
      const pack = this.#packs.get(place.pack) as Pack
      pack.bytes = Math.max(pack.bytes, endOf(place))
    }
    this.#before = this.#newest.end
    this.#removed.push(...this.#dropped.filter((place) => this.#isPassed(place)))
  }

  #isPassed({ pack, offset }: Place): boolean {
    return offset < (this.#packs.get(pack)?.bytes ?? 0)
  }

  get #newest(): Pack {
    return this.#packs.get(this.#current.number) as Pack
  }

  /** How far the transaction is. */
  state(): PackState {
    return { end: this.#newest.end, taken: this.#taken.length, removed: this.#removed.length }
  }

  /** Undoes what came after a state of this transaction. */
  rollBack({ end, taken, removed }: PackState): void {
    for (const place of this.#removed.splice(removed)) this.#count(place, 1)
    for (const place of this.#taken.splice(taken)) this.#count(place, -1)
    const pack = this.#newest
    if (pack.end > end) ftruncateSync(this.#current.file, end)
    pack.end = Math.min(pack.end, end)
    pack.bytes = Math.min(pack.bytes, end)
  }

  /** Undoes the whole transaction. Its records stay: it may be begun again, or be given up by {@link drop}. */
  abort(): void {
    if (this.#isWritten) {
      ftruncateSync(this.#current.file, this.#before)
      this.#newest.end = this.#before
    }
    this.#taken = []
    this.#removed = []
    this.#ended = []
    this.#staged = []
    this.#isWritten = false
    this.#compacted = undefined
    this.#load()
  }

  /** There will be no transaction about these records. */
  drop(staged: readonly Uint8Array[]): void {
    this.#ahead -= staged.length
    this.#dropped.push(...staged.map(parseMark))
    // A later transaction passes over them, and has them overwritten.
    if (this.#ahead > 0) return
    for (const [number, pack] of this.#packs) {
      if (pack.end > pack.bytes) truncateSync(packPathOf(this.#folder, number), pack.bytes)
      pack.end = pack.bytes
    }
    this.#dropped = []
  }

  /** A row of this transaction has a record that was staged. */
  take(mark: Uint8Array): void {
    const place = parseMark(mark)
    this.#taken.push(place)
    this.#count(place, 1)
  }

  /** No row of this transaction has a record that was staged: it goes with it. After all rows. */
  discard(mark: Uint8Array): void {
    this.#removed.push(parseMark(mark))
  }

  /**
   * Adds a record within a transaction; it is durable with {@link sync}.
   *
   * @param pieces - as for {@link stage}. @returns what its row says in place of the bytes.
   * @throws {RangeError} if other records lie ahead: they would be taken for committed.
   */
  write(digest: Uint8Array, length: number, pieces: Iterable<Uint8Array>): Uint8Array {
    const pack = this.#newest
    if (pack.end !== pack.bytes) throw new RangeError('records lie ahead of this transaction')
    const mark = encodeMark(this.#append(digest, length, pieces))
    this.#isWritten = true
    pack.bytes = pack.end
    this.take(mark)
    return mark
  }

  #append(digest: Uint8Array, length: number, pieces: Iterable<Uint8Array>): Place {
    const { number, file } = this.#current
    const pack = this.#newest
    const head = new Uint8Array(recordHeadBytes)
    head.set(digest)
    new DataView(head.buffer).setUint32(32, length)
    const place = { pack: number, offset: pack.end, length }
    let at = pack.end
    let waiting: Uint8Array[] = [head]
    const flush = (): void => {
      at += writeAll(file, waiting, at)
      for (const piece of waiting) if (piece.length >= pieceBytesMin) release(piece)
      waiting = []
    }
    try {
      for (const piece of pieces) {
        // Short pieces go with their neighbours.
        if (piece.length >= pieceBytesMin && waiting.some((one) => one.length >= pieceBytesMin)) flush()
        waiting.push(piece)
      }
      flush()
    } catch (error) {
      // The disk is full: what is there of it goes again, at the latest under the next record.
      try {
        ftruncateSync(file, pack.end)
      } catch {
        // The first failure is the one to be told.
      }
      throw error
    }
    pack.end = at
    return place
  }

  /** A block's row goes with this transaction. */
  remove(mark: Uint8Array): void {
    const place = parseMark(mark)
    this.#removed.push(place)
    this.#count(place, -1)
  }

  #count({ pack: number, length }: Place, records: 1 | -1): void {
    const pack = this.#packs.get(number)
    if (pack) pack.live += records * (recordHeadBytes + length)
  }

  /** A block's sealed bytes; undefined if they cannot be read. */
  read(mark: Uint8Array): Uint8Array | undefined {
    return readRecord(this.#folder, parseMark(mark))
  }

  /** Makes what the transaction itself wrote durable, and writes down what is to be overwritten: before the commit. */
  sync(): void {
    const { number, file } = this.#current
    const changed = new Set([...this.#removed, ...this.#staged].map(({ pack }) => pack))
    if (this.#isWritten) changed.add(number)
    if (this.#compacted !== undefined) changed.add(this.#compacted)
    const put = this.#statements.prepare('INSERT OR REPLACE INTO pack VALUES (?, ?, ?)')
    for (const one of changed) {
      const pack = this.#packs.get(one)
      if (pack === undefined) continue
      if (pack.live === 0 && one !== number && pack.end === pack.bytes) {
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
    if (this.#isWritten) this.#syncNow(file)
  }

  /**
   * The transaction is committed: no byte is left of what went with it. Never throws: nothing of it can be undone any
   * more, and what the disk does not let be overwritten is tried again.
   */
  settle(): void {
    this.#ahead -= this.#staged.length
    this.#dropped = this.#dropped.filter((place) => !this.#isPassed(place))
    this.#staged = []
    this.#taken = []
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
    for (const { digest, offset, length } of recordsOf(packPathOf(this.#folder, pack), { from: 0, to: bytes })) {
      if (isJournal(digest)) continue
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
