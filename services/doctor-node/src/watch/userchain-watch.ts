/**
 * Takes each verified block of Userchain in: grants to this doctor, the envelopes that belong to them, closes, and the
 * records of every stream (a grant may come after the readings that it opens). One block is one database transaction,
 * with the cursor, so that a block is taken in exactly once whatever happens.
 */
import type { EnvelopeEntry, IotRecord, KeyBody, TransactionBody } from '@healthblock/chain/transaction'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { type CborValue, encodeCbor } from '@healthblock/encoding/cbor'
import type { FollowedBlock } from '@healthblock/runtime/follower'
import type { Database } from '@healthblock/runtime/sqlite'
import type { DoctorNodeEvents } from '../events.ts'
import { ChainCursor } from './chain-cursor.ts'
import { coversRecord, type Grant, type Grants } from './grants.ts'

interface Dependencies {
  readonly database: Database
  readonly grants: Grants
  readonly events: DoctorNodeEvents
  readonly account: () => Uint8Array
}

/** The watch over Userchain. */
export class UserchainWatch {
  readonly #deps: Dependencies
  readonly #place: ChainCursor
  constructor(deps: Dependencies) {
    this.#deps = deps
    this.#place = new ChainCursor(deps.database, 'userchain')
  }

  /** The cursor of the last block taken in. */
  cursor(): Uint8Array | undefined {
    return this.#place.cursor()
  }

  /** Size of the log behind the last block taken in; 0 before the first. */
  size(): number {
    return this.#place.size()
  }

  /** Takes a block in; true if it holds anything for this doctor. */
  see(block: FollowedBlock): boolean {
    const { database } = this.#deps
    return database.transaction(() => {
      let isOurs = false
      for (const { transaction, id, index } of block.transactions) {
        const place = { index, ms: block.seal.ms, tx: id }
        if (this.#seeBody(transaction.body, place)) isOurs = true
      }
      this.#place.write(block)
      return isOurs
    })
  }

  #seeBody(body: TransactionBody, place: { index: number; ms: number; tx: Uint8Array }): boolean {
    if (body.t === 'iot') return this.#seeRecords(body.a, body.r, place)
    if (body.t === 'envelope') return this.#seeEnvelopes(body.a, body.env, place)
    return body.t === 'key' ? this.#seeKey(body, place) : false
  }

  /** In the order of its effects: close, open, envelopes (chain SPEC §6). */
  #seeKey(body: KeyBody, place: { index: number; ms: number }): boolean {
    const { database, account, events } = this.#deps
    const patient = body.a
    let isOurs = false
    for (const gid of body.close) {
      const closed = database.run(
        'UPDATE grants SET closed = ?, closedms = ? WHERE patient = ? AND gid = ? AND closed IS NULL',
        ...[place.index, place.ms, patient, gid],
      )
      if (closed === 0) continue
      isOurs = true
      events.emit({ type: 'grant', patient: toHex(patient), atMs: place.ms, grant: toHex(gid), state: 'ended' })
    }
    for (const [gid, to, streams, from, until, rights] of body.open) {
      if (!equalBytes(to, account())) continue
      isOurs = true
      database.run(
        `INSERT OR IGNORE INTO grants (patient, gid, streams, starts, until, rights, opened, openedms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
        ...[patient, gid, encodeCbor(streams as unknown as CborValue), from, until, rights, place.index, place.ms],
      )
      events.emit({ type: 'grant', patient: toHex(patient), atMs: place.ms, grant: toHex(gid), state: 'live' })
    }
    if (this.#seeEnvelopes(patient, body.env, place)) isOurs = true
    if (isOurs) this.#admit(patient)
    return isOurs
  }

  #seeEnvelopes(patient: Uint8Array, entries: readonly EnvelopeEntry[], place: { index: number }): boolean {
    const { database } = this.#deps
    let isOurs = false
    for (const [gid, generation, bytes] of entries) {
      if (database.get('SELECT 1 AS one FROM grants WHERE patient = ? AND gid = ?', patient, gid) === undefined)
        continue
      isOurs = true
      database.run(
        'INSERT OR IGNORE INTO envelope (patient, gid, generation, bytes, position) VALUES (?, ?, ?, ?, ?)',
        ...[patient, gid, generation, bytes, place.index],
      )
      // What could not be read for want of a key may be readable now.
      database.run(
        `UPDATE record SET state = 'waiting', due = 0, failed = NULL, code = NULL
         WHERE patient = ? AND generation = ? AND (state = 'waiting' OR (state = 'unreadable' AND code = 2))`,
        ...[patient, generation],
      )
    }
    return isOurs
  }

  #seeRecords(
    patient: Uint8Array,
    records: readonly IotRecord[],
    place: { index: number; ms: number; tx: Uint8Array },
  ): boolean {
    const { database, grants } = this.#deps
    const open = grants.open(patient)
    let isOurs = false
    for (const [stream, sequence, generation, epoch, kind, size, cid] of records) {
      const isGranted = open.some((grant) => coversRecord(grant, { stream, epoch }))
      if (isGranted) isOurs = true
      database.run(
        `INSERT OR IGNORE INTO record (patient, stream, sequence, generation, epoch, kind, size, cid, tx, position, ms, state)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        ...[patient, stream, sequence, generation, epoch, kind, size, cid, place.tx, place.index, place.ms],
        isGranted ? 'waiting' : 'foreign',
      )
    }
    return isOurs
  }

  /** After a grant opened or closed: which records are to be read now. What was not judged before the end is dropped. */
  #admit(patient: Uint8Array): void {
    const { database, grants } = this.#deps
    const open = grants.open(patient)
    for (const { stream, windows } of windowsOf(open)) {
      database.run(
        `UPDATE record SET state = 'waiting', due = 0 WHERE patient = ? AND stream = ? AND state = 'foreign'
         AND EXISTS (SELECT 1 FROM json_each(?) WHERE epoch >= value ->> 0 AND epoch < value ->> 1)`,
        ...[patient, stream, JSON.stringify(windows)],
      )
    }
    const held = database.all(
      `SELECT stream, sequence, epoch, state FROM record
       WHERE patient = ? AND (state = 'waiting' OR (state = 'open' AND diagnosis IS NULL)) LIMIT 1000000`,
      patient,
    )
    for (const row of held) {
      const record = { stream: row.stream as Uint8Array, epoch: Number(row.epoch) }
      if (open.some((grant) => coversRecord(grant, record))) continue
      const set = row.state === 'waiting' ? "state = 'foreign', failed = NULL" : 'block = NULL'
      database.run(
        `UPDATE record SET ${set} WHERE patient = ? AND stream = ? AND sequence = ?`,
        ...[patient, record.stream, Number(row.sequence)],
      )
    }
  }
}

/** What grants cover of each stream: the records of one are looked through once, however many grants there are. */
function windowsOf(grants: readonly Grant[]): { stream: Uint8Array; windows: [from: number, until: number][] }[] {
  const found = new Map<string, { stream: Uint8Array; windows: [number, number][] }>()
  for (const { streams, fromEpoch, untilEpoch } of grants) {
    for (const stream of streams) {
      const name = toHex(stream)
      const known = found.get(name) ?? { stream, windows: [] }
      found.set(name, known)
      known.windows.push([fromEpoch, untilEpoch])
    }
  }
  return [...found.values()]
}
