/** What a person sees of her own streams and grants. */
import type { HeldNodes } from '@healthblock/crypto/hot-store'
import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import { noEnd } from '../consent/compose.ts'
import { openedBy } from '../consent/grant-row.ts'
import type { LedgerView } from '../ledger-view.ts'
import { type Person, reachesPlace } from '../store/person.ts'
import { stateOf } from './exposure.ts'

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
  /** When this node made it, by its own clock. */
  readonly openedAt: string
  /** Time of the block that carries it: in force from then on. Null while it is under way, and if it was refused. */
  readonly recordedAt: string | null
  readonly closedAt: string | null
  readonly state: 'open' | 'ended' | 'expired' | 'refused'
  readonly rights: number
  /** What for: a number of SPEC.md section 5. */
  readonly purpose: number
  /** The transactions that opened and closed it, hex. */
  /** Null where the folder is an older copy than the grant: the ledger has it, this node not its transaction. */
  readonly openedBy: string | null
  readonly closedBy: string | null
}

const iso = (ms: number): string => new Date(ms).toISOString()

function kindOf(person: Person, stream: Uint8Array): string {
  return person.streams.find((other) => equalBytes(other.stream, stream))?.kind ?? 'other'
}

/** Most readings of one list: of more, the oldest are left out. */
const readingsMax = 1_000_000

/** Committed batches that these keys open, oldest first: not those that were erased. Empty and gap records are no readings. */
export function listReadings(database: Database, person: Person, held: readonly HeldNodes[]): ReadingView[] {
  const reached = new Map<string, boolean>()
  const isReached = (stream: Uint8Array, generation: number, epoch: number): boolean => {
    const name = `${toHex(stream)} ${generation} ${epoch}`
    const known = reached.get(name) ?? reachesPlace([...held], { stream, generation, epoch })
    reached.set(name, known)
    return known
  }
  const rows = database.all(
    `SELECT stream, sequence, generation, epoch, start, until, tx, cid FROM batch
     WHERE account = ? AND state = 'committed' AND kind NOT IN (1, 2) ORDER BY start DESC, stream DESC, sequence DESC LIMIT ?`,
    ...[person.account, readingsMax],
  )
  const open = rows
    .reverse()
    .filter((row) => isReached(row.stream as Uint8Array, Number(row.generation), Number(row.epoch)))
  return open.map((row) => ({
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
  place: { ledger: Pick<LedgerView, 'epochLengthMs' | 'grantRecordedAtMs' | 'grantClosedAtMs'>; nowMs: number },
): GrantView[] {
  const rows = database.all(
    `SELECT grants.*, consent.state AS consentstate, closing.tx AS closetx FROM grants LEFT JOIN consent ON consent.tx = grants.tx
     LEFT JOIN (SELECT account, generation, max(tx) AS tx FROM consent WHERE closes > 0 AND state <> 'refused' GROUP BY account, generation)
       AS closing ON closing.account = grants.account AND closing.generation = coalesce(grants.told, grants.closegen)
     WHERE grants.account = ? ORDER BY opened LIMIT 100000`,
    person.account,
  )
  return rows.map((row) => {
    const until = Number(row.until)
    const recordedMs = place.ledger.grantRecordedAtMs(person.account, row.gid as Uint8Array)
    // Ended here, and then on the ledger: from its block on the grant is in force no longer.
    const closedMs = place.ledger.grantClosedAtMs(person.account, row.gid as Uint8Array) ?? row.closed
    return {
      grant: toHex(row.gid as Uint8Array),
      doctor: toHex(row.doctor as Uint8Array),
      streams: (JSON.parse(row.streams as string) as string[]).map((stream) => kindOf(person, fromHex(stream))),
      from: iso(Number(row.starts) * place.ledger.epochLengthMs),
      until: until >= noEnd ? null : iso(until),
      openedAt: iso(Number(row.opened)),
      recordedAt: recordedMs === undefined ? null : iso(recordedMs),
      closedAt: row.closed === null ? null : iso(Number(closedMs)),
      state: stateOf(row, place.nowMs),
      rights: Number(row.rights),
      purpose: Number(row.purpose),
      openedBy: openedBy(row.tx as Uint8Array),
      closedBy: row.closetx === null ? null : toHex(row.closetx as Uint8Array),
    }
  })
}
