/**
 * What was lost between a sequence number and the ledger. Sequences have no holes: a number that was used and has no block
 * any more is closed by a gap record, so that the stream goes on and everybody can see that something is missing; a reading
 * whose number the ledger refuses is sealed anew under another.
 */
import { sha256 } from '@healthblock/crypto/hash'
import { openPayload, type PayloadKind, payloadKinds } from '@healthblock/crypto/payload'
import { parseBatch, type ReadingBatch } from '@healthblock/diagnosis/batch'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { Logger } from '@healthblock/runtime/logger'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import { isEndedByOthers, isForeignGeneration } from '../consent/foreign.ts'
import { epochOf, type LedgerView } from '../ledger-view.ts'
import { epochKeyOf, type Person } from '../store/person.ts'
import type { Alarms } from './alarms.ts'
import type { Samples } from './samples.ts'

interface Dependencies {
  readonly database: Database
  readonly ledger: LedgerView
  readonly samples: Samples
  readonly alarms: Alarms
  readonly logger: Logger
  readonly nowMs: () => number
}

const noCid = new Uint8Array(32)
/** Numbers that one call closes. */
const closedAtOnce = 1024
/** Records that one call takes back. */
const refittedAtOnce = 64

/** Finds and closes losses. */
export class Losses {
  readonly #deps: Dependencies
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /** True if a block that waits to be stored is the one that was sealed. */
  isWhole(row: SqlRow): boolean {
    const block = row.block as Uint8Array | null
    return block !== null && block.length === Number(row.size) && equalBytes(sha256(block), row.cid as Uint8Array)
  }

  /** The block of a batch that waits is gone: its number is closed. */
  giveUp(person: Person, stream: Uint8Array, sequence: number): void {
    const { database } = this.#deps
    database.transaction(() => {
      const changed = database.run(
        `UPDATE batch SET kind = ?, size = 0, cid = ?, block = NULL, receipts = NULL, tx = NULL, state = 'stored'
         WHERE account = ? AND stream = ? AND sequence = ? AND state IN ('sealed', 'stored')`,
        ...[payloadKinds.gap, noCid, person.account, stream, sequence],
      )
      if (changed > 0) this.#tell(person, stream, { sequence, count: 1 })
    })
  }

  /** Marks a time in which this node was away while a device was switched on: the next number is a gap. */
  mark(person: Person, stream: Uint8Array, span: { startMs: number; untilMs: number }): void {
    const { database, ledger } = this.#deps
    database.transaction(() => {
      const row = database.get(
        'SELECT sequence FROM stream WHERE account = ? AND stream = ?',
        ...[person.account, stream],
      )
      const last = Math.max(Number(row?.sequence ?? 0), ledger.lastRecord(person.account, stream).sequence)
      database.run(
        'UPDATE stream SET sequence = ? WHERE account = ? AND stream = ?',
        ...[last + 1, person.account, stream],
      )
      this.#closeNumber(person, stream, last + 1, span)
      this.#tell(person, stream, { sequence: last + 1, count: 1 })
    })
  }

  /** True if the ledger has records of a stream that this node does not know of: its folder is an older copy. */
  isBehind(person: Person, stream: Uint8Array): boolean {
    const { database, ledger } = this.#deps
    const used = 'SELECT sequence FROM stream WHERE account = ? AND stream = ?'
    const row = database.get(used, person.account, stream)
    return ledger.lastRecord(person.account, stream).sequence > Number(row?.sequence ?? 0)
  }

  /** The numbers of a stream go on beyond what the ledger has. */
  catchUp(person: Person, stream: Uint8Array): void {
    const { database, ledger } = this.#deps
    database.run(
      'UPDATE stream SET sequence = max(sequence, ?) WHERE account = ? AND stream = ?',
      ...[ledger.lastRecord(person.account, stream).sequence, person.account, stream],
    )
  }

  /** Closes every used number of a stream that is neither here nor on the ledger. Returns how many there were. */
  close(person: Person, stream: Uint8Array): number {
    const { database, ledger } = this.#deps
    const used = Number(
      database.get('SELECT sequence FROM stream WHERE account = ? AND stream = ?', person.account, stream)?.sequence ??
        0,
    )
    const recorded = ledger.lastRecord(person.account, stream).sequence
    const range = [person.account, stream, recorded, used] as const
    const kept = database.get(
      'SELECT count(*) AS n FROM batch WHERE account = ? AND stream = ? AND sequence > ? AND sequence <= ?',
      ...range,
    )
    const missing = used - recorded - Number(kept?.n ?? 0)
    if (used <= recorded || missing <= 0) return 0
    const rows = database.all(
      'SELECT sequence FROM batch WHERE account = ? AND stream = ? AND sequence > ? AND sequence <= ? ORDER BY sequence LIMIT 1000000',
      ...range,
    )
    const present = new Set(rows.map(({ sequence }) => Number(sequence)))
    let count = 0
    database.transaction(() => {
      let run = { sequence: 0, count: 0 }
      for (let sequence = recorded + 1; sequence <= used && count < closedAtOnce; sequence++) {
        if (present.has(sequence)) continue
        this.#closeNumber(person, stream, sequence, undefined)
        count++
        if (sequence === run.sequence + run.count) run.count++
        else {
          if (run.count > 0) this.#tell(person, stream, run)
          run = { sequence, count: 1 }
        }
      }
      if (run.count > 0) this.#tell(person, stream, run)
    })
    return count
  }

  /**
   * Takes back what waits of a stream and will never be taken where it lies: under a generation whose cuts somebody else made, at a number
   * that he used, or sealed with this node's keys of a generation that the ledger has with others, or that somebody else ended. It is sealed anew; what cannot be opened is
   * a gap. Some at a time: returns how many, to be called again until there are none.
   */
  refit(person: Person, stream: Uint8Array): number {
    const { database, ledger } = this.#deps
    const foreign = this.#foreignGenerations(person, stream)
    const rows = database.all(
      `SELECT batch.* FROM batch
       LEFT JOIN cut AS before ON before.account = batch.account AND before.stream = batch.stream
         AND before.generation = batch.generation - 1
       LEFT JOIN cut AS own ON own.account = batch.account AND own.stream = batch.stream AND own.generation = batch.generation
       WHERE batch.account = ? AND batch.stream = ? AND batch.state IN ('sealed', 'stored')
         AND (sequence <= ? OR sequence <= before.last OR sequence > own.last
           OR (kind <> ? AND batch.generation IN (SELECT value FROM json_each(?))))
       ORDER BY sequence LIMIT ?`,
      ...[person.account, stream, ledger.lastRecord(person.account, stream).sequence],
      ...[payloadKinds.gap, JSON.stringify(foreign), refittedAtOnce],
    )
    database.transaction(() => {
      for (const row of rows) this.#takeBackOne(person, row)
    })
    return rows.length
  }

  /** True if a record of readings that was sealed in this generation must not go on record as it is. */
  isUnfit({ account }: Person, generation: number): boolean {
    return isForeignGeneration(this.#deps, account, generation) || isEndedByOthers(this.#deps, account, generation)
  }

  /** Generations of what waits of a stream that are on the ledger with other keys than this node's, or with an end that is not its own. */
  #foreignGenerations(person: Person, stream: Uint8Array): number[] {
    const rows = this.#deps.database.all(
      "SELECT DISTINCT generation FROM batch WHERE account = ? AND stream = ? AND state IN ('sealed', 'stored')",
      ...[person.account, stream],
    )
    return rows.map(({ generation }) => Number(generation)).filter((generation) => this.isUnfit(person, generation))
  }

  /**
   * The ledger refused these records: what can be opened waits again and gets another number, what cannot is a gap. Inside
   * the caller's transaction.
   */
  takeBack(person: Person, tx: Uint8Array): void {
    const { database, ledger, alarms, nowMs } = this.#deps
    const rows = database.all("SELECT * FROM batch WHERE tx = ? AND state = 'posted' ORDER BY sequence LIMIT 64", tx)
    const streams = new Map<string, Uint8Array>()
    for (const row of rows) {
      const stream = row.stream as Uint8Array
      streams.set(toHex(stream), stream)
      this.#takeBackOne(person, row)
      // Something else is on record under that number.
      if (Number(row.sequence) <= ledger.lastRecord(person.account, stream).sequence)
        alarms.noticeForeign(person, { generation: ledger.currentGeneration(person.account), atMs: nowMs() })
    }
    for (const stream of streams.values()) {
      // An epoch of the future, by a clock that was ahead, is not to be kept up.
      database.run(
        'UPDATE stream SET epoch = ? WHERE account = ? AND stream = ?',
        ...[ledger.lastRecord(person.account, stream).epoch, person.account, stream],
      )
      this.close(person, stream)
    }
  }

  /** What can be opened waits again; its number is free. */
  #takeBackOne(person: Person, row: SqlRow): void {
    const { database, samples, logger } = this.#deps
    const stream = row.stream as Uint8Array
    const batch = Number(row.kind) === payloadKinds.data ? this.#open(person, row) : undefined
    if (batch !== undefined) samples.putBack(person, stream, batch)
    else logger.warn({ sequence: Number(row.sequence), kind: Number(row.kind) }, 'a refused record is not sealed anew')
    database.run(
      'DELETE FROM batch WHERE account = ? AND stream = ? AND sequence = ?',
      ...[person.account, stream, Number(row.sequence)],
    )
  }

  #open(person: Person, row: SqlRow): ReadingBatch | undefined {
    if (!this.isWhole(row)) return undefined
    const stream = row.stream as Uint8Array
    const place = { stream, generation: Number(row.generation), epoch: Number(row.epoch) }
    const epochKey = epochKeyOf(person.hot.nodes, place)
    if (epochKey === undefined) return undefined
    const owner = { ledgerId: this.#deps.ledger.ledgerId, owner: person.account, writer: person.account }
    const expected = { kind: Number(row.kind) as PayloadKind, ...owner, ...place, sequence: Number(row.sequence) }
    try {
      return parseBatch(openPayload({ block: row.block as Uint8Array, epochKey, expected }))
    } catch {
      return undefined
    } finally {
      epochKey.fill(0)
    }
  }

  #closeNumber(
    person: Person,
    stream: Uint8Array,
    sequence: number,
    span: { startMs: number; untilMs: number } | undefined,
  ): void {
    const { database, ledger, nowMs } = this.#deps
    const at = [person.account, stream, sequence] as const
    const cut = database.get(
      'SELECT min(generation) AS generation FROM cut WHERE account = ? AND stream = ? AND last >= ?',
      ...at,
    )
    const before = database.get(
      'SELECT epoch, until FROM batch WHERE account = ? AND stream = ? AND sequence < ? ORDER BY sequence DESC LIMIT 1',
      ...at,
    )
    const after = database.get(
      'SELECT epoch, start FROM batch WHERE account = ? AND stream = ? AND sequence > ? ORDER BY sequence LIMIT 1',
      ...at,
    )
    const recorded = ledger.lastRecord(person.account, stream)
    const known = Math.max(Number(before?.epoch ?? 0), recorded.sequence < sequence ? recorded.epoch : 0)
    // Epochs do not go back, neither to this record nor from it to the next.
    const epoch = known > 0 ? known : Number(after?.epoch ?? epochOf(nowMs(), ledger.epochLengthMs))
    const startMs = span?.startMs ?? Number(before?.until ?? after?.start ?? nowMs())
    const untilMs = span?.untilMs ?? Math.max(startMs, Number(after?.start ?? nowMs()))
    const generation = Number(cut?.generation ?? person.hot.generation)
    database.run(
      `INSERT INTO batch (account, stream, sequence, generation, epoch, kind, size, cid, start, until, state)
       VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?, 'stored')`,
      ...[...at, generation, epoch, payloadKinds.gap, noCid, startMs, untilMs],
    )
  }

  /** One alarm for numbers in a row. */
  #tell(person: Person, stream: Uint8Array, { sequence, count }: { sequence: number; count: number }): void {
    const { alarms, logger, nowMs } = this.#deps
    const code = 'stream.gap'
    logger.warn({ stream: toHex(stream), sequence, count }, 'readings are missing: their numbers are closed by gaps')
    if (alarms.begin(person, stream, { code, number: sequence, atMs: nowMs() }))
      alarms.end(person, stream, { code, atMs: nowMs() })
  }
}
