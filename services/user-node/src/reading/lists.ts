/** What a person sees of her own streams and grants. */
import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import { noEnd } from '../consent/compose.ts'
import type { Person } from '../people/person.ts'

/** A committed batch, as the command line's contract has it. */
export interface ReadingView {
  readonly patient: string
  readonly stream: string
  readonly kind: string
  readonly sequence: number
  readonly generation: number
  readonly epoch: number
  readonly from: string
  readonly to: string
  readonly transactionId: string
  readonly cid: string
}

/** A grant with its life. */
export interface GrantView {
  readonly grant: string
  readonly doctor: string
  readonly streams: string[]
  readonly from: string
  readonly until: string | null
  readonly openedAt: string
  readonly closedAt: string | null
  readonly state: 'open' | 'ended' | 'expired'
}

/** What one doctor can, or could, read of one stream. */
export interface ExposureView {
  readonly doctor: string
  readonly stream: string
  readonly kind: string
  readonly from: string
  readonly to: string | null
  readonly records: number
  readonly stillReadable: boolean
  readonly meaning: string
}

const iso = (ms: number): string => new Date(ms).toISOString()

function kindOf(person: Person, stream: Uint8Array): string {
  return person.streams.find((other) => equalBytes(other.stream, stream))?.kind ?? 'other'
}

/** Committed batches, oldest first. Empty and gap records are no readings. */
export function listReadings(database: Database, person: Person): ReadingView[] {
  const rows = database.all(
    `SELECT stream, sequence, generation, epoch, start, until, tx, cid FROM batch
     WHERE account = ? AND state = 'committed' AND kind NOT IN (1, 2) ORDER BY start, stream, sequence LIMIT 1000000`,
    person.account,
  )
  return rows.map((row) => ({
    patient: person.id,
    stream: toHex(row.stream as Uint8Array),
    kind: kindOf(person, row.stream as Uint8Array),
    sequence: Number(row.sequence),
    generation: Number(row.generation),
    epoch: Number(row.epoch),
    from: iso(Number(row.start)),
    to: iso(Number(row.until)),
    transactionId: toHex(row.tx as Uint8Array),
    cid: toHex(row.cid as Uint8Array),
  }))
}

/** Every grant that was ever made, oldest first. */
export function listGrants(
  database: Database,
  person: Person,
  place: { epochLengthMs: number; nowMs: number },
): GrantView[] {
  const rows = database.all('SELECT * FROM grants WHERE account = ? ORDER BY opened LIMIT 100000', person.account)
  return rows.map((row) => {
    const until = Number(row.until)
    return {
      grant: toHex(row.gid as Uint8Array),
      doctor: toHex(row.doctor as Uint8Array),
      streams: (JSON.parse(row.streams as string) as string[]).map((stream) => kindOf(person, fromHex(stream))),
      from: iso(Number(row.starts) * place.epochLengthMs),
      until: until >= noEnd ? null : iso(until),
      openedAt: iso(Number(row.opened)),
      closedAt: row.closed === null ? null : iso(Number(row.closed)),
      state: row.closed !== null ? 'ended' : until <= place.nowMs ? 'expired' : 'open',
    }
  })
}

/** For each grant and stream: what the doctor can read now, or may have copied while the grant was open. */
export function listExposure(
  database: Database,
  person: Person,
  place: { epochLengthMs: number; nowMs: number; doctor: string | undefined },
): ExposureView[] {
  const rows = database.all('SELECT * FROM grants WHERE account = ? ORDER BY opened LIMIT 100000', person.account)
  return rows
    .filter((row) => place.doctor === undefined || toHex(row.doctor as Uint8Array) === place.doctor)
    .flatMap((row) =>
      (JSON.parse(row.streams as string) as string[]).map((stream) =>
        exposureOf(database, person, row, fromHex(stream), place),
      ),
    )
}

function exposureOf(
  database: Database,
  person: Person,
  row: Record<string, unknown>,
  stream: Uint8Array,
  place: { epochLengthMs: number; nowMs: number },
): ExposureView {
  const until = Number(row.until)
  const closed = row.closed === null ? undefined : Number(row.closed)
  const isOpen = closed === undefined && until > place.nowMs
  const lastEpoch = until >= noEnd ? Number.MAX_SAFE_INTEGER : Math.floor(until / place.epochLengthMs)
  const lastGeneration = row.closegen === null ? Number.MAX_SAFE_INTEGER : Number(row.closegen) - 1
  const counted = database.get(
    'SELECT count(*) AS n FROM batch WHERE account = ? AND stream = ? AND kind NOT IN (1, 2) AND epoch >= ? AND epoch < ? AND generation <= ?',
    ...[person.account, stream, Number(row.starts), lastEpoch, lastGeneration],
  )
  const records = Number(counted?.n ?? 0)
  const endMs = closed ?? (until >= noEnd ? undefined : until)
  return {
    doctor: toHex(row.doctor as Uint8Array),
    stream: toHex(stream),
    kind: kindOf(person, stream),
    from: iso(Number(row.starts) * place.epochLengthMs),
    to: endMs === undefined ? null : iso(endMs),
    records,
    stillReadable: isOpen,
    meaning: isOpen
      ? 'This doctor can read these readings now, and those that follow until you end the access.'
      : records === 0
        ? 'Nothing was recorded in this window: there is nothing that this doctor could have copied.'
        : 'The access has ended. These readings could be read while it was open: this doctor may hold a copy of them, and no one can take that back.',
  }
}
