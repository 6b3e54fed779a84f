/**
 * Files on their way in. A file gets its number and header when it begins; its bytes come in parts, are sealed chunk by
 * chunk, and leave as leaves of 256 KiB. A sealed chunk is durable here before it leaves and is never sealed again: after
 * a crash the upload goes on from what is durable. Memory holds a part and a few leaves, whatever the file's size.
 *
 * A change of keys ends an unfinished upload: nothing more is sealed under the old ones, and its number becomes a gap. So does the ledger's, by
 * somebody else, before this node has answered it.
 */
import {
  encodeFileLength,
  type FileCipher,
  fileSizeOf,
  openFileCipher,
  sealFileHeader,
} from '@healthblock/crypto/chunked-file'
import { sha256 } from '@healthblock/crypto/hash'
import { payloadKinds } from '@healthblock/crypto/payload'
import { concatBytes } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import type { StorageClient, StoredBlock } from '@healthblock/runtime/storage-client'
import { turnOver } from '@healthblock/runtime/turnover'
import { blockOf, FileBuilder, fileCid, leafSizeBytes } from '@healthblock/runtime/unixfs'
import { isOutrun } from '../consent/foreign.ts'
import { UserNodeError } from '../errors.ts'
import { epochOf, type LedgerView } from '../ledger-view.ts'
import type { Losses } from '../sealing/losses.ts'
import { epochKeyOf, type Person, type PersonStream } from '../store/person.ts'
import { encodeDescription, type FileDescription } from './file-content.ts'
import type { Reclaim } from './reclaim.ts'

/** Largest part of a file in one request. */
export const partSizeBytesMax = 1024 * 1024
/** Leaves that are made durable together, and put together. */
const leavesAtOnce = 4
const putsAtOnce = 4
/** An upload that nobody goes on with is given up. */
const idleMsMax = 24 * 3_600_000
/** When a file may begin that keys were in the way of. */
const keysChangingMs = 10_000
const none = new Uint8Array(0)
const noCid = new Uint8Array(32)

interface Dependencies {
  readonly database: Database
  readonly ledger: LedgerView
  readonly losses: Losses
  readonly reclaim: Reclaim
  readonly storageOf: (account: Uint8Array) => StorageClient
  readonly nowMs: () => number
}

/** How far an upload is. */
export interface UploadState {
  readonly sequence: number
  /** Bytes of the content that are taken: the next part begins there. */
  readonly offset: number
  readonly sizeBytes: number
  readonly isStored: boolean
}

/** Which upload, and the keys that it began under. */
interface Place {
  readonly person: Person
  readonly stream: Uint8Array
  readonly sequence: number
  readonly generation: number
}

/** An upload in memory, between two durable states. */
interface Work extends Place {
  readonly cipher: FileCipher
  readonly sizeBytes: number
  /** Content bytes taken. */
  taken: number
  /** Chunks sealed. */
  chunk: number
  /** Plaintext that is not sealed yet, shorter than a chunk. */
  pending: Uint8Array
  /** Sealed bytes that are in no leaf yet, in pieces: to join them at each chunk would copy each several times. */
  tail: Uint8Array[]
  /** Leaves made so far, those that are durable included. */
  leafCount: number
  /** Leaves that are not durable yet. */
  fresh: Uint8Array[]
}

/** Takes files in. */
export class Uploads {
  readonly #deps: Dependencies
  /** One part at a time for each upload. */
  readonly #busy = new Set<string>()

  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /**
   * Begins a file: from now on its number is used.
   *
   * @throws {UserNodeError} `ERR_FILE_INVALID`; `ERR_KEYS_CHANGING` while the keys in use are not the current ones: no record of theirs would
   *   be taken, and a file is not sealed anew.
   */
  begin(person: Person, { stream }: PersonStream, file: FileDescription & { sizeBytes: number }): UploadState {
    const { database, ledger, nowMs } = this.#deps
    this.expire(person, { stream })
    if (isOutrun(this.#deps, person)) {
      const message =
        'the ledger has newer keys of hers than this node, which is about to change them: begin the file when it has'
      throw new UserNodeError(message, { code: 'ERR_KEYS_CHANGING', retryAfterMs: keysChangingMs })
    }
    const described = encodeDescription(file)
    const storedBytes = fileSizeOf(described.length + file.sizeBytes)
    return database.transaction(() => {
      const row = database.get(
        'SELECT sequence, epoch FROM stream WHERE account = ? AND stream = ?',
        person.account,
        stream,
      )
      const recorded = ledger.lastRecord(person.account, stream)
      const sequence = Math.max(Number(row?.sequence ?? 0), recorded.sequence) + 1
      const epoch = Math.max(
        epochOf(nowMs(), ledger.epochLengthMs),
        ...[Number(row?.epoch ?? 0), recorded.epoch, person.hot.first],
      )
      const place = { stream, generation: person.hot.generation, epoch, sequence }
      const epochKey = epochKeyOf(person.hot.nodes, place)
      if (epochKey === undefined) throw new Error(`no key for epoch ${epoch}`)
      const accounts = { ledgerId: ledger.ledgerId, owner: person.account, writer: person.account }
      const header = sealFileHeader({ ...accounts, ...place, sizeBytes: storedBytes, epochKey })
      epochKey.fill(0)
      const key = [person.account, stream, sequence] as const
      database.run(
        'UPDATE stream SET sequence = ?, epoch = ? WHERE account = ? AND stream = ?',
        sequence,
        epoch,
        ...key.slice(0, 2),
      )
      database.run(
        `INSERT INTO batch (account, stream, sequence, generation, epoch, kind, size, cid, start, until, state)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'uploading')`,
        ...[...key, place.generation, epoch, payloadKinds.file, storedBytes, noCid, nowMs(), nowMs()],
      )
      const pending = concatBytes(encodeFileLength(described.length + file.sizeBytes), described)
      database.run(
        `INSERT INTO file (account, stream, sequence, name, type, size, header, taken, chunk, pending, tail, heard)
         VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?, ?)`,
        ...[...key, file.name, file.type, file.sizeBytes, header, pending, header, nowMs()],
      )
      return { sequence, offset: 0, sizeBytes: file.sizeBytes, isStored: false }
    })
  }

  /** @throws {UserNodeError} `ERR_FILE_UNKNOWN`. */
  state(person: Person, { stream }: Pick<PersonStream, 'stream'>, sequence: number): UploadState {
    const row = this.#row(person, stream, sequence)
    const { taken, size, state } = row
    return { sequence, offset: Number(taken), sizeBytes: Number(size), isStored: state !== 'uploading' }
  }

  #row(person: Person, stream: Uint8Array, sequence: number): SqlRow {
    const row = this.#deps.database.get(
      `SELECT file.*, batch.state AS state, batch.generation AS generation, batch.epoch AS epoch, batch.size AS stored
       FROM file JOIN batch USING (account, stream, sequence) WHERE account = ? AND stream = ? AND sequence = ?`,
      ...[person.account, stream, sequence],
    )
    if (row !== undefined) return row
    throw new UserNodeError('there is no such file', { code: 'ERR_FILE_UNKNOWN', sequence })
  }

  /**
   * Takes the next part. When it returns, the part is durable here and its leaves are stored.
   *
   * @throws {UserNodeError} `ERR_FILE_OFFSET` if the part does not begin where the last one ended; `ERR_FILE_INTERRUPTED`
   *   after a change of keys; `ERR_FILE_INVALID` for more bytes than were announced; {RuntimeError} as `StorageClient.put`:
   *   the part is taken then, and an empty part at the new offset tries again.
   */
  async write(
    person: Person,
    { stream }: PersonStream,
    part: { sequence: number; offset: number; bytes: Uint8Array },
  ): Promise<UploadState> {
    const { sequence, offset, bytes } = part
    const name = `${person.id} ${sequence}`
    if (this.#busy.has(name)) throw new UserNodeError('a part is under way', { code: 'ERR_FILE_BUSY' })
    this.#busy.add(name)
    try {
      const row = this.#row(person, stream, sequence)
      if (row.state !== 'uploading') return this.state(person, { stream }, sequence)
      this.#demandSameKeys({ person, stream, sequence, generation: Number(row.generation) })
      const taken = Number(row.taken)
      if (offset !== taken) {
        throw new UserNodeError(`the next part begins at ${taken}`, { code: 'ERR_FILE_OFFSET', offset: taken })
      }
      if (taken + bytes.length > Number(row.size)) {
        throw new UserNodeError('more bytes than were announced', { code: 'ERR_FILE_INVALID', field: 'size' })
      }
      const work = this.#load(person, stream, row)
      try {
        await this.#seal(work, bytes)
      } finally {
        work.cipher.close()
        turnOver(bytes.length)
      }
      return this.state(person, { stream }, sequence)
    } finally {
      this.#busy.delete(name)
    }
  }

  /** @throws {UserNodeError} `ERR_FILE_INTERRUPTED` after a change of keys, which gives the upload up. */
  #demandSameKeys({ person, stream, sequence, generation }: Place): void {
    if (generation === person.hot.generation && !isOutrun(this.#deps, person)) return
    this.#giveUp(person, stream, sequence)
    const message = 'the keys were changed since the file began: begin it again'
    throw new UserNodeError(message, { code: 'ERR_FILE_INTERRUPTED' })
  }

  #load(person: Person, stream: Uint8Array, row: SqlRow): Work {
    const { database, ledger } = this.#deps
    const place = { stream, generation: Number(row.generation), epoch: Number(row.epoch) }
    const epochKey = epochKeyOf(person.hot.nodes, place)
    if (epochKey === undefined) throw new UserNodeError('the file must begin again', { code: 'ERR_FILE_INTERRUPTED' })
    const sequence = Number(row.sequence)
    const accounts = { ledgerId: ledger.ledgerId, owner: person.account, writer: person.account }
    const expected = { kind: payloadKinds.file, ...accounts, ...place, sequence, sizeBytes: Number(row.stored) }
    const cipher = openFileCipher({ header: row.header as Uint8Array, epochKey, expected })
    epochKey.fill(0)
    const key = [person.account, stream, sequence] as const
    const leaves = database.get(
      'SELECT count(*) AS n FROM leaf WHERE account = ? AND stream = ? AND sequence = ?',
      ...key,
    )
    return {
      ...{ person, stream, sequence, cipher, generation: place.generation },
      sizeBytes: Number(row.size),
      taken: Number(row.taken),
      chunk: Number(row.chunk),
      pending: row.pending as Uint8Array,
      tail: [row.tail as Uint8Array],
      leafCount: Number(leaves?.n ?? 0),
      fresh: [],
    }
  }

  /** Seals a part, and the padding after the last one; stores what became whole leaves. */
  async #seal(work: Work, bytes: Uint8Array): Promise<void> {
    const { cipher } = work
    let at = 0
    while (at < bytes.length || this.#isPadding(work)) {
      const wanted = cipher.geometry.bytesOf(work.chunk) - work.pending.length
      const piece = bytes.subarray(at, at + wanted)
      at += piece.length
      work.taken += piece.length
      // After the data all is zero, up to the stored length.
      const fill = work.taken === work.sizeBytes ? wanted - piece.length : 0
      // They may have changed while leaves were stored.
      this.#demandSameKeys(work)
      // A whole chunk of the part is sealed as it lies there.
      const isWhole = work.pending.length === 0 && fill === 0
      work.pending = isWhole ? piece : concatBytes(work.pending, piece, new Uint8Array(fill))
      if (work.pending.length === cipher.geometry.bytesOf(work.chunk)) this.#sealChunk(work)
      if (work.fresh.length >= leavesAtOnce) await this.#store(work)
    }
    await this.#store(work)
    if (work.chunk === cipher.geometry.count) await this.#finish(work)
  }

  #isPadding(work: Work): boolean {
    return work.taken === work.sizeBytes && work.chunk < work.cipher.geometry.count
  }

  #sealChunk(work: Work): void {
    work.tail.push(work.cipher.seal(work.chunk, work.pending))
    work.pending = none
    work.chunk++
    const isLast = work.chunk === work.cipher.geometry.count
    const tailBytes = work.tail.reduce((sum, { length }) => sum + length, 0)
    if (tailBytes < leafSizeBytes && !isLast) return
    const joined = concatBytes(...work.tail)
    let at = 0
    while (joined.length - at >= leafSizeBytes || (isLast && at < joined.length)) {
      work.fresh.push(joined.subarray(at, at + leafSizeBytes))
      at += leafSizeBytes
    }
    work.tail = [joined.slice(at)]
  }

  /** Makes what was sealed durable, then puts it: nothing leaves this node that it could have to seal again. */
  async #store(work: Work): Promise<void> {
    const { database, nowMs } = this.#deps
    const key = [work.person.account, work.stream, work.sequence] as const
    database.transaction(() => {
      for (const block of work.fresh) {
        database.run(
          'INSERT INTO leaf (account, stream, sequence, number, digest, size, block) VALUES (?, ?, ?, ?, ?, ?, ?)',
          ...[...key, work.leafCount++, sha256(block), block.length, block],
        )
      }
      database.run(
        'UPDATE file SET taken = ?, chunk = ?, pending = ?, tail = ?, heard = ? WHERE account = ? AND stream = ? AND sequence = ?',
        ...[work.taken, work.chunk, work.pending, concatBytes(...work.tail), nowMs(), ...key],
      )
    })
    work.fresh = []
    await this.#putLeaves(work)
  }

  async #putLeaves(work: Work): Promise<void> {
    const { database, storageOf } = this.#deps
    const storage = storageOf(work.person.account)
    const key = [work.person.account, work.stream, work.sequence] as const
    for (;;) {
      const rows = database.all(
        'SELECT number, block FROM leaf WHERE account = ? AND stream = ? AND sequence = ? AND block IS NOT NULL ORDER BY number LIMIT ?',
        ...[...key, putsAtOnce],
      )
      if (rows.length === 0) return
      // The first leaf alone says whose the file is: it is there before any other.
      const batch = Number(rows[0]?.number) === 0 ? rows.slice(0, 1) : rows
      await Promise.all(batch.map(({ block }) => storage.put(block as Uint8Array)))
      for (const { number } of batch) {
        database.run(
          'UPDATE leaf SET block = NULL WHERE account = ? AND stream = ? AND sequence = ? AND number = ?',
          ...[...key, Number(number)],
        )
      }
    }
  }

  /** Puts the nodes above the leaves; the root is the record's block. */
  async #finish(work: Work): Promise<void> {
    const { database, storageOf, nowMs } = this.#deps
    const storage = storageOf(work.person.account)
    const key = [work.person.account, work.stream, work.sequence] as const
    let stored: StoredBlock | undefined
    const builder = new FileBuilder({
      isAlwaysNode: true,
      put: async ({ bytes }) => {
        stored = await storage.put(bytes, { codec: 'dag-pb' })
      },
    })
    for (let number = 0; number < work.leafCount; number++) {
      const row = database.get(
        'SELECT digest, size FROM leaf WHERE account = ? AND stream = ? AND sequence = ? AND number = ?',
        ...[...key, number],
      )
      await builder.addKept(fileCid(row?.digest as Uint8Array, 'raw'), Number(row?.size))
    }
    const root = await builder.finish()
    const receipts = encodeCbor((stored as StoredBlock).receipts.map(({ bytes }) => bytes))
    database.transaction(() => {
      database.run(
        "UPDATE batch SET state = 'stored', cid = ?, receipts = ?, until = ? WHERE account = ? AND stream = ? AND sequence = ?",
        ...[blockOf(root.cid).digest, receipts, nowMs(), ...key],
      )
      database.run(
        "UPDATE file SET pending = x'', tail = x'' WHERE account = ? AND stream = ? AND sequence = ?",
        ...key,
      )
      database.run('DELETE FROM leaf WHERE account = ? AND stream = ? AND sequence = ?', ...key)
    })
  }

  /**
   * Gives an upload up: its number becomes a gap, and what is stored of it is taken back.
   *
   * @throws {UserNodeError} `ERR_FILE_UNKNOWN`; `ERR_FILE_BUSY` while a part is under way, which would still be stored.
   */
  abandon(person: Person, { stream }: Pick<PersonStream, 'stream'>, sequence: number): void {
    if (this.#row(person, stream, sequence).state !== 'uploading') return
    if (this.#busy.has(`${person.id} ${sequence}`)) {
      throw new UserNodeError('a part is under way', { code: 'ERR_FILE_BUSY' })
    }
    this.#giveUp(person, stream, sequence)
  }

  #giveUp(person: Person, stream: Uint8Array, sequence: number): void {
    const { database, losses, reclaim } = this.#deps
    const key = [person.account, stream, sequence] as const
    database.transaction(() => {
      reclaim.note(...key)
      database.run('DELETE FROM file WHERE account = ? AND stream = ? AND sequence = ?', ...key)
      database.run('DELETE FROM leaf WHERE account = ? AND stream = ? AND sequence = ?', ...key)
      database.run("UPDATE batch SET state = 'sealed' WHERE account = ? AND stream = ? AND sequence = ?", ...key)
    })
    losses.giveUp(person, stream, sequence)
  }

  /** Gives up what nobody went on with for a day, and what began under other keys. */
  expire(person: Person, { stream }: Pick<PersonStream, 'stream'>): void {
    this.#giveUpThose(person, stream, {
      heardBeforeMs: this.#deps.nowMs() - idleMsMax,
      generationBelow: person.hot.generation,
    })
  }

  /**
   * Gives up everything that is under way, for the folder is an older copy: chunks that were sealed since must not be sealed again, under the
   * same key, with what may be other bytes.
   *
   * @returns false if a part of one is being taken just now: to be called again.
   */
  endAll(person: Person, { stream }: Pick<PersonStream, 'stream'>): boolean {
    const every = Number.MAX_SAFE_INTEGER
    return this.#giveUpThose(person, stream, { heardBeforeMs: every, generationBelow: every })
  }

  #giveUpThose(person: Person, stream: Uint8Array, which: { heardBeforeMs: number; generationBelow: number }): boolean {
    const rows = this.#deps.database.all(
      `SELECT sequence FROM file JOIN batch USING (account, stream, sequence)
       WHERE account = ? AND stream = ? AND state = 'uploading' AND (heard < ? OR generation < ?)`,
      ...[person.account, stream, which.heardBeforeMs, which.generationBelow],
    )
    const sequences = rows.map(({ sequence }) => Number(sequence))
    const free = sequences.filter((sequence) => !this.#busy.has(`${person.id} ${sequence}`))
    for (const sequence of free) this.#giveUp(person, stream, sequence)
    return free.length === sequences.length
  }
}
