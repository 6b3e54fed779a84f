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

/** True of a record whose epoch lies in one of the windows of a parameter. */
const isInside = 'EXISTS (SELECT 1 FROM json_each(?) WHERE epoch >= value ->> 0 AND epoch < value ->> 1)'

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
    let hasChanged = false
    for (const gid of body.close) {
      const closed = database.run(
        'UPDATE grants SET closed = ?, closedms = ? WHERE patient = ? AND gid = ? AND closed IS NULL',
        ...[place.index, place.ms, patient, gid],
      )
      if (closed === 0) continue
      hasChanged = true
      events.emit({ type: 'grant', patient: toHex(patient), atMs: place.ms, grant: toHex(gid), state: 'ended' })
    }
    for (const [gid, to, streams, from, until, rights] of body.open) {
      if (!equalBytes(to, account())) continue
      hasChanged = true
      database.run(
        `INSERT OR IGNORE INTO grants (patient, gid, streams, starts, until, rights, opened, openedms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
        ...[patient, gid, encodeCbor(streams as unknown as CborValue), from, until, rights, place.index, place.ms],
      )
      events.emit({ type: 'grant', patient: toHex(patient), atMs: place.ms, grant: toHex(gid), state: 'live' })
    }
    const isRenewed = this.#seeEnvelopes(patient, body.env, place)
    const isOurs = hasChanged || isRenewed
    if (isOurs) this.#admit(patient)
    // New keys alone end nothing, and a patient has as many records, and rotations, as she likes.
    if (hasChanged) this.#dismissOthers(patient)
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

  /** What grants cover is to be read, whenever it was recorded. */
  #admit(patient: Uint8Array): void {
    const { database, grants } = this.#deps
    for (const { stream, windows } of windowsOf(grants.open(patient)))
      database.run(
        `UPDATE record SET state = 'waiting', due = 0 WHERE patient = ? AND stream = ? AND state = 'foreign' AND ${isInside}`,
        ...[patient, stream, windows],
      )
  }

  /** After a grant opened or closed: what was not judged before the end is dropped. */
  #dismissOthers(patient: Uint8Array): void {
    const granted = windowsOf(this.#deps.grants.open(patient))
    for (const { stream, windows } of granted)
      this.#dismiss(`patient = ? AND stream = ? AND NOT ${isInside}`, [patient, stream, windows])
    const streams = JSON.stringify(granted.map(({ stream }) => toHex(stream)))
    this.#dismiss('patient = ? AND lower(hex(stream)) NOT IN (SELECT value FROM json_each(?))', [patient, streams])
  }

  /** What waits is not read, and what was not judged is not kept. */
  #dismiss(where: string, values: readonly (Uint8Array | string)[]): void {
    const { database } = this.#deps
    database.run(`UPDATE record SET state = 'foreign', failed = NULL WHERE ${where} AND state = 'waiting'`, ...values)
    database.run(
      `UPDATE record SET block = NULL WHERE ${where} AND state = 'open' AND diagnosis IS NULL AND block IS NOT NULL`,
      ...values,
    )
  }
}

/** What grants cover of each stream, as {@link isInside} takes it: the records of one are looked through once, however many grants there are. */
function windowsOf(grants: readonly Grant[]): { stream: Uint8Array; windows: string }[] {
  const found = new Map<string, { stream: Uint8Array; windows: [from: number, until: number][] }>()
  for (const { streams, fromEpoch, untilEpoch } of grants) {
    for (const stream of streams) {
      const name = toHex(stream)
      const known = found.get(name) ?? { stream, windows: [] }
      found.set(name, known)
      known.windows.push([fromEpoch, untilEpoch])
    }
  }
  return [...found.values()].map(({ stream, windows }) => ({ stream, windows: JSON.stringify(windows) }))
}
