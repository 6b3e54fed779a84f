/** The grants that patients gave this doctor, as the blocks brought them. */
import type { Ledger } from '@healthblock/chain/block'
import { grantRights, liveAt } from '@healthblock/chain/live-at'
import { equalBytes } from '@healthblock/encoding/bytes'
import { decodeCbor } from '@healthblock/encoding/cbor'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'

/** A grant to this doctor. */
export interface Grant {
  readonly patient: Uint8Array
  readonly gid: Uint8Array
  readonly streams: readonly Uint8Array[]
  /** First epoch of the window. */
  readonly fromEpoch: number
  /** First epoch after it. */
  readonly untilEpoch: number
  /** Unix ms. */
  readonly untilMs: number
  readonly rights: number
  readonly openedMs: number
  readonly closedMs: number | undefined
}

function grantOf(row: SqlRow, epochMs: number): Grant {
  const until = Number(row.until)
  return {
    patient: row.patient as Uint8Array,
    gid: row.gid as Uint8Array,
    streams: decodeCbor(row.streams as Uint8Array) as unknown as Uint8Array[],
    fromEpoch: Number(row.starts),
    untilEpoch: Math.floor(until / epochMs),
    untilMs: until,
    rights: Number(row.rights),
    openedMs: Number(row.openedms),
    closedMs: row.closedms === null ? undefined : Number(row.closedms),
  }
}

/** True if a record lies in the grant's streams and window. */
export function coversRecord(grant: Grant, record: { stream: Uint8Array; epoch: number }): boolean {
  const isInside = record.epoch >= grant.fromEpoch && record.epoch < grant.untilEpoch
  return isInside && grant.streams.some((stream) => equalBytes(stream, record.stream))
}

/** Grants of one patient that count: a key may open 32, as often as she likes, and each is asked about at every turn. */
export const grantsMax = 64

/** Reads grants. The watch alone writes them. */
export class Grants {
  readonly #database: Database
  readonly #ledger: Ledger
  readonly #nowMs: () => number
  constructor(options: { database: Database; ledger: Ledger; nowMs: () => number }) {
    this.#database = options.database
    this.#ledger = options.ledger
    this.#nowMs = options.nowMs
  }

  /** Grants of one patient or of all, oldest first; of one patient at most 64: those before their end first, then the newest. */
  all(patient?: Uint8Array): Grant[] {
    const rows = this.#database.all(
      `SELECT * FROM (
         SELECT *, row_number() OVER (PARTITION BY patient ORDER BY closed IS NULL AND until > ?1 DESC, opened DESC, gid) AS place
         FROM grants WHERE ?2 IS NULL OR patient = ?2)
       WHERE place <= ?3 ORDER BY opened, gid LIMIT 100000`,
      ...[this.#nowMs(), patient ?? null, grantsMax],
    )
    return rows.map((row) => grantOf(row, this.#ledger.epochMs))
  }

  /** Those that are live now, at the verified head (licence and organisation included), with these rights; oldest first. */
  live(patient: Uint8Array, rights: number = grantRights.read): Grant[] {
    return this.all(patient).filter((grant) => (grant.rights & rights) === rights && this.#isLive(grant))
  }

  #isLive({ patient, gid }: Grant): boolean {
    const s = this.#ledger.head('userchain').size
    return liveAt(this.#ledger.state('userchain'), { patient, gid, s, timeMs: this.#nowMs() }) !== undefined
  }

  /** Grants that no block seen so far has closed. */
  open(patient: Uint8Array): Grant[] {
    return this.all(patient).filter(
      ({ closedMs, rights }) => closedMs === undefined && (rights & grantRights.read) !== 0,
    )
  }

  /** Accounts with a grant, whether it lives or not. */
  patients(): Uint8Array[] {
    return this.#database
      .all('SELECT DISTINCT patient FROM grants ORDER BY patient LIMIT 100000')
      .map(({ patient }) => patient as Uint8Array)
  }

  /** `live`, `expired`, `ended`, or `suspended`: the patient gave it, but the doctor may not practise now. */
  stateOf(grant: Grant): 'live' | 'expired' | 'ended' | 'suspended' {
    if (grant.closedMs !== undefined) return 'ended'
    if (grant.untilMs <= this.#nowMs()) return 'expired'
    return this.#isLive(grant) ? 'live' : 'suspended'
  }
}
