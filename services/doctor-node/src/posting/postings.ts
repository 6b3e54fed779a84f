/**
 * Everything that the doctor says on Docchain, from the moment it is signed until it is on record or refused. Block and
 * leaf are durable before anything leaves the node, so that a restart repeats the same bytes; entries of one diagnosis
 * stream follow each other, one at a time, so that a refused one leaves its sequence number to the next.
 */
import type { SequenceRange } from '@healthblock/chain/transaction'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import { type CborValue, encodeCbor } from '@healthblock/encoding/cbor'
import type { Logger } from '@healthblock/runtime/logger'
import type { Outbox, OutboxEntry } from '@healthblock/runtime/outbox'
import { type PauseLimits, Pauses } from '@healthblock/runtime/pauses'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import { DoctorNodeError } from '../errors.ts'
import type { DoctorNodeEvents } from '../events.ts'
import type { Composer } from './compose.ts'

/** A signed entry. */
export interface NewPosting {
  readonly tx: Uint8Array
  readonly what: 'diagnosis' | 'amend' | 'unreadable'
  readonly patient: Uint8Array
  readonly gid: Uint8Array
  readonly generation: number
  readonly epoch: number
  /** 0 for `unreadable`, which is of no stream. */
  readonly sequence: number
  readonly byHand: boolean
  /** 32 bytes. */
  readonly algorithm: Uint8Array
  readonly inputs: readonly SequenceRange[]
  /** The diagnosis that is amended, and how: 1 sign, 2 correct, 3 withdraw. */
  readonly amends?: { readonly of: Uint8Array; readonly act: number }
  readonly block?: { readonly block: Uint8Array; readonly cid: Uint8Array }
  readonly leaf: Uint8Array
}

/** An entry that is on record and was not known here. */
export interface RecordedPosting extends Omit<NewPosting, 'block' | 'leaf'> {
  /** 32 bytes: where its block is; absent if it has none. */
  readonly cid?: Uint8Array
  /** Unix ms of its block of Docchain. */
  readonly recordedMs: number
}

interface Dependencies {
  readonly database: Database
  readonly outbox: () => Outbox
  readonly storage: () => StorageClient
  readonly composer: Composer
  readonly events: DoctorNodeEvents
  readonly logger: Logger
  readonly nowMs: () => number
}

const statusOfAct: Readonly<Record<number, string>> = { 1: 'signed', 2: 'corrected', 3: 'withdrawn' }
const openStates = "('sealed', 'stored', 'posted')"
const handedAtOnce = 64
/** Blocks that cannot be stored before a round gives up: then the network is out of reach, and it is not this one block. */
const failuresMax = 4
/** Between attempts with one block. */
const storingPauses: PauseLimits = { minMs: 250, maxMs: 15_000 }

/** Keeps and delivers postings. */
export class Postings {
  readonly #deps: Dependencies
  readonly #turns = new Map<string, Promise<unknown>>()
  #delivering: Promise<boolean> | undefined
  /** Of blocks that could not be stored: one that is refused must not hold up the others. */
  readonly #pauses: Pauses
  constructor(deps: Dependencies) {
    this.#deps = deps
    this.#pauses = new Pauses(storingPauses, deps.nowMs)
  }

  /** Writes a signed entry down: from here on it will be posted, these bytes and no others. Inside the caller's transaction. */
  add(posting: NewPosting): void {
    const { database, nowMs } = this.#deps
    const { tx, what, patient, gid, generation, epoch, sequence, algorithm, amends, block, leaf } = posting
    database.run(
      `INSERT INTO posting (tx, what, patient, gid, generation, epoch, sequence, at, byhand, algorithm, inputs, amends, act, block, cid, leaf, state, status)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending')`,
      ...[tx, what, patient, gid, generation, epoch, sequence, nowMs(), posting.byHand ? 1 : 0, algorithm],
      ...[encodeCbor(posting.inputs as unknown as CborValue), amends?.of ?? null, amends?.act ?? null],
      ...[block?.block ?? null, block?.cid ?? null, leaf, block === undefined ? 'stored' : 'sealed'],
    )
  }

  /** Writes down what is on record already, and what follows for the records that it is about. Inside the caller's transaction. */
  takeOver(entry: RecordedPosting): void {
    const { database } = this.#deps
    const { tx, what, patient, gid, generation, epoch, sequence, byHand, algorithm, inputs, amends, recordedMs } = entry
    database.run(
      `INSERT INTO posting (tx, what, patient, gid, generation, epoch, sequence, at, byhand, algorithm, inputs, amends, act, cid, leaf, state, status, finalms)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, x'', 'committed', 'preliminary', ?)`,
      ...[tx, what, patient, gid, generation, epoch, sequence, recordedMs, byHand ? 1 : 0, algorithm],
      ...[encodeCbor(inputs as unknown as CborValue), amends?.of ?? null, amends?.act ?? null],
      ...[entry.cid ?? null, recordedMs],
    )
    if (amends !== undefined) {
      const status = statusOfAct[amends.act] as string
      database.run('UPDATE posting SET status = ? WHERE tx = ?', status, amends.of)
    }
    if (byHand) return
    const set = what === 'unreadable' ? 'reported = ?' : 'diagnosis = ?, block = NULL'
    const unset = what === 'unreadable' ? 'reported' : 'diagnosis'
    for (const [stream, from, to] of inputs) {
      database.run(
        `UPDATE record SET ${set} WHERE patient = ? AND stream = ? AND sequence BETWEEN ? AND ? AND ${unset} IS NULL`,
        ...[tx, patient, stream, from, to],
      )
    }
  }

  /** The next sequence of the diagnosis stream: what is on record, here or on the verified Docchain, and one more. */
  nextSequence(patient: Uint8Array): number {
    const row = this.#deps.database.get(
      "SELECT coalesce(max(sequence), 0) AS last FROM posting WHERE patient = ? AND state = 'committed'",
      patient,
    )
    return Math.max(Number(row?.last ?? 0), this.#deps.composer.committedHead(patient).sequence) + 1
  }

  /** The entry of a patient's diagnosis stream that is on its way, if there is one. */
  underWay(patient: Uint8Array): Uint8Array | undefined {
    const row = this.#deps.database.get(
      `SELECT tx FROM posting WHERE patient = ? AND state IN ${openStates} AND what <> 'unreadable' ORDER BY at LIMIT 1`,
      patient,
    )
    return row?.tx as Uint8Array | undefined
  }

  /** Number of entries without a final answer. */
  pending(): number {
    const row = this.#deps.database.get(`SELECT count(*) AS n FROM posting WHERE state IN ${openStates}`)
    return Number(row?.n ?? 0)
  }

  /** True while somebody is alone with the patient's stream. */
  isTaken(patient: Uint8Array): boolean {
    return this.#turns.has(toHex(patient))
  }

  /** One after the other for each patient: whoever composes an entry of the stream must be alone with it. */
  async exclusively<T>(patient: Uint8Array, work: () => Promise<T>): Promise<T> {
    const name = toHex(patient)
    const turn = (this.#turns.get(name) ?? Promise.resolve()).then(work, work)
    const settled = turn.catch(() => {})
    this.#turns.set(name, settled)
    try {
      return await turn
    } finally {
      if (this.#turns.get(name) === settled) this.#turns.delete(name)
    }
  }

  /**
   * Waits until the patient's stream is free: nothing of it is on its way.
   *
   * @throws {DoctorNodeError} `ERR_STILL_PENDING`.
   */
  async free(patient: Uint8Array, signal: AbortSignal): Promise<void> {
    for (let tx = this.underWay(patient); tx !== undefined; tx = this.underWay(patient)) await this.final(tx, signal)
  }

  /**
   * Delivers an entry and waits for its final answer.
   *
   * @throws {DoctorNodeError} `ERR_STILL_PENDING` if the signal ends first; the entry goes on.
   */
  async final(tx: Uint8Array, signal: AbortSignal): Promise<OutboxEntry> {
    const stillPending = (cause?: unknown): DoctorNodeError =>
      new DoctorNodeError(
        'no final answer yet: it is on its way and will be delivered',
        { code: 'ERR_STILL_PENDING', transaction: toHex(tx) },
        { cause },
      )
    // The first round may have begun before this entry was written down: it is handed over by the next.
    let isStuck = false
    for (let rounds = 0; this.#deps.outbox().find(tx) === undefined; rounds++) {
      if (signal.aborted || (isStuck && rounds > 1)) throw stillPending()
      isStuck = !(await this.deliver(signal))
    }
    try {
      const entry = await this.#deps.outbox().wait(tx, { signal })
      this.settle(entry)
      return entry
    } catch (error) {
      if (signal.aborted) throw stillPending(error)
      throw error
    }
  }

  /** Stores blocks and hands transactions over, as far as the network allows; never twice at once. False if a block is not stored yet. */
  deliver(signal: AbortSignal): Promise<boolean> {
    this.#delivering ??= this.#deliver(signal).finally(() => {
      this.#delivering = undefined
    })
    return this.#delivering
  }

  async #deliver(signal: AbortSignal): Promise<boolean> {
    const { database, outbox, storage, logger } = this.#deps
    const sealed = database.all(
      "SELECT tx, block FROM posting WHERE state = 'sealed' ORDER BY at LIMIT ?",
      handedAtOnce,
    )
    let failures = 0
    let isAll = true
    for (const row of sealed) {
      if (failures === failuresMax) break
      const tx = row.tx as Uint8Array
      if (this.#pauses.isPausing(toHex(tx))) {
        isAll = false
        continue
      }
      try {
        await storage().put(row.block as Uint8Array, { signal })
        this.#pauses.succeeded(toHex(tx))
      } catch (error) {
        failures++
        logger.warn({ err: error, againInMs: this.#pauses.failed(toHex(tx)) }, 'a diagnosis is not stored yet')
        continue
      }
      database.run("UPDATE posting SET state = 'stored' WHERE tx = ? AND state = 'sealed'", tx)
    }
    const stored = database.all("SELECT tx, leaf FROM posting WHERE state = 'stored' ORDER BY at LIMIT ?", handedAtOnce)
    for (const row of stored) {
      outbox().add([{ chain: 'docchain', leaf: row.leaf as Uint8Array }])
      database.run("UPDATE posting SET state = 'posted' WHERE tx = ? AND state = 'stored'", row.tx as Uint8Array)
    }
    return isAll && failures === 0
  }

  /** The outbox's final word about a transaction. Twice is once. */
  settle(entry: OutboxEntry): void {
    const { database, events, nowMs } = this.#deps
    if (entry.status !== 'committed' && entry.status !== 'refused') return
    const tx = fromHex(entry.id)
    const row = database.get(`SELECT * FROM posting WHERE tx = ? AND state IN ${openStates}`, tx)
    if (row === undefined) return
    const isCommitted = entry.status === 'committed'
    database.transaction(() => {
      database.run(
        "UPDATE posting SET state = ?, status = ?, finalms = ?, rule = ?, refusal = ?, leaf = x'' WHERE tx = ?",
        ...[entry.status, isCommitted ? 'preliminary' : 'not recorded', nowMs()],
        ...[entry.rule ?? null, entry.refusal ?? null, tx],
      )
      if (row.what === 'diagnosis') this.#settleRecords(tx, isCommitted)
      if (row.what === 'amend' && isCommitted) {
        const status = statusOfAct[Number(row.act)] as string
        database.run('UPDATE posting SET status = ? WHERE tx = ?', status, row.amends as Uint8Array)
      }
    })
    const patient = toHex(row.patient as Uint8Array)
    const rule: Record<string, string> = entry.rule === undefined ? {} : { rule: entry.rule }
    const type = isCommitted ? (row.what === 'unreadable' ? 'unreadable' : 'diagnosis') : 'refused'
    events.emit({ type, patient, atMs: nowMs(), transaction: entry.id, ...rule })
  }

  /** What was judged on record needs no block here any more; what was refused may be judged again. */
  #settleRecords(tx: Uint8Array, isCommitted: boolean): void {
    const set = isCommitted ? 'block = NULL' : 'diagnosis = NULL'
    this.#deps.database.run(`UPDATE record SET ${set} WHERE diagnosis = ?`, tx)
  }

  /**
   * What the outbox finished while this process was not there to hear it, or had no room to write it down. What it does not know any more
   * (its file was lost) will be handed over again.
   */
  unsettled(): OutboxEntry[] {
    const { database, outbox } = this.#deps
    // What is stored the outbox may have too, if this process was killed before it noted that.
    const rows = database.all("SELECT tx FROM posting WHERE state IN ('stored', 'posted') LIMIT 100000")
    return rows.flatMap(({ tx }) => {
      const entry = outbox().find(tx as Uint8Array)
      if (entry === undefined) database.run("UPDATE posting SET state = 'stored' WHERE tx = ?", tx as Uint8Array)
      return entry?.status === 'committed' || entry?.status === 'refused' ? [entry] : []
    })
  }

  /** One of the doctor's own entries. */
  find(tx: Uint8Array): SqlRow | undefined {
    return this.#deps.database.get('SELECT * FROM posting WHERE tx = ?', tx)
  }
}
