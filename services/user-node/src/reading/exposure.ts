/**
 * The exposure report: before a grant, what the doctor will be able to read; while it lasts, what can be read now; after it,
 * what may have been copied and nobody can take back. It counts what this node recorded, and promises no more than that.
 */
import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import { noEnd } from '../consent/compose.ts'
import type { Person, PersonStream } from '../store/person.ts'
import { fetchedOfBatch } from './fetched.ts'

/** What one doctor will, can, or could read of one stream. */
export interface ExposureView {
  readonly doctor: string
  /** Hex; null before a grant. */
  readonly grant: string | null
  readonly stream: string
  readonly kind: string
  /** before: nothing is granted yet. refused: the ledger refused the grant, so that it never lived. */
  readonly state: 'before' | 'open' | 'expired' | 'ended' | 'refused'
  /** The window: begin, and end or null. */
  readonly from: string
  readonly to: string | null
  /** Readings in it that were recorded so far, and from when to when they were measured; null if there are none. */
  readonly records: number
  readonly measuredFrom: string | null
  readonly measuredTo: string | null
  /** Of these, the ones that the doctor fetched from storage nodes, as far as they told. */
  readonly fetched: number
  /** True while the keys that the doctor has open what will be recorded next. */
  readonly stillReadable: boolean
  /** The same in words. */
  readonly meaning: string
}

/** A grant that a person thinks about. Unix ms; `untilMs` = `noEnd` for one without end. */
export interface Preview {
  readonly doctor: string
  readonly streams: readonly PersonStream[]
  readonly fromMs: number
  readonly untilMs: number
}

interface Place {
  readonly database: Database
  readonly person: Person
  readonly epochLengthMs: number
  readonly nowMs: number
}

interface Window {
  readonly stream: Uint8Array
  readonly fromEpoch: number
  readonly untilMs: number
  readonly lastGeneration: number
  /** Account. */
  readonly reader: Uint8Array
}

interface Recorded {
  readonly records: number
  readonly fetched: number
  readonly measuredFrom: string | null
  readonly measuredTo: string | null
}

const streamWords: Readonly<Record<string, string>> = {
  ecg: 'of the ECG',
  vitals: 'of the vital signs',
  records: 'of the medical records',
  profile: 'of the profile',
}
const iso = (ms: number): string => new Date(ms).toISOString()
/** A time for people: to the minute, and where it counts from. */
const moment = (text: string): string => `${text.slice(0, 10)} ${text.slice(11, 16)} UTC`

function kindOf(person: Person, stream: Uint8Array): string {
  return person.streams.find((other) => equalBytes(other.stream, stream))?.kind ?? 'other'
}

function recordedIn({ database, person, epochLengthMs }: Place, window: Window): Recorded {
  const { stream, fromEpoch, untilMs, lastGeneration, reader } = window
  const untilEpoch = untilMs >= noEnd ? Number.MAX_SAFE_INTEGER : Math.floor(untilMs / epochLengthMs)
  const row = database.get(
    `SELECT count(*) AS n, min(start) AS start, max(until) AS until, sum(${fetchedOfBatch}) AS fetched FROM batch
     WHERE account = ? AND stream = ? AND kind NOT IN (1, 2) AND epoch >= ? AND epoch < ? AND generation <= ?`,
    ...[reader, person.account, stream, fromEpoch, untilEpoch, lastGeneration],
  )
  const time = (value: unknown): string | null => (value === null || value === undefined ? null : iso(Number(value)))
  const counted = { records: Number(row?.n ?? 0), fetched: Number(row?.fetched ?? 0) }
  return { ...counted, measuredFrom: time(row?.start), measuredTo: time(row?.until) }
}

/** "12 readings of the ECG, measured 2026-05-01 08:00 UTC to 2026-05-01 09:00 UTC" */
function readingsInWords({ records, measuredFrom, measuredTo }: Recorded, kind: string): string {
  const count = records === 0 ? 'no reading so far' : `${records} ${records === 1 ? 'reading' : 'readings'}`
  const what = `${count} ${streamWords[kind] ?? 'of another stream'}`
  return measuredFrom === null || measuredTo === null
    ? what
    : `${what}, measured ${moment(measuredFrom)} to ${moment(measuredTo)}`
}

/** What the storage nodes tell of it; nothing where there is nothing to fetch. */
function fetchedInWords({ records, fetched }: Recorded): string {
  if (records === 0) return ''
  const count = fetched === records ? 'All' : fetched === 0 ? 'None' : String(fetched)
  return ` ${count} of them ${fetched === 1 ? 'was' : 'were'} fetched, as the storage nodes tell.`
}

function meaningOf(
  state: ExposureView['state'],
  recorded: Recorded,
  view: { kind: string; to: string | null },
): string {
  const readings = readingsInWords(recorded, view.kind)
  const end = view.to === null ? 'until you end the access' : `until ${moment(view.to)}`
  switch (state) {
    case 'before':
      return `If you give this access, this doctor can read ${readings}, and everything that your node records ${end}.`
    case 'open':
      return `This doctor can read ${readings}, and everything that your node records ${end}.${fetchedInWords(recorded)}`
    case 'refused':
      return 'The ledger refused this access, so that it never began. Its keys had left the house, sealed for this doctor alone: until the next change of keys nobody can rule out that they were passed on.'
    default:
      return recorded.records === 0
        ? 'The access has ended, and nothing was recorded in its window: there is nothing that this doctor could have copied.'
        : `The access has ended. This doctor could read ${readings}, and may hold a copy: no one can take that back. Nothing that was recorded later can be opened.${fetchedInWords(recorded)}`
  }
}

/** What is, or was, granted: for each grant and stream, oldest grant first. */
export function listExposure(place: Place, doctor: string | undefined): ExposureView[] {
  const rows = place.database.all(
    `SELECT grants.*, consent.state AS consentstate, consent.generation AS generation FROM grants
     LEFT JOIN consent ON consent.tx = grants.tx WHERE grants.account = ? ORDER BY opened LIMIT 100000`,
    place.person.account,
  )
  return rows
    .filter((row) => doctor === undefined || toHex(row.doctor as Uint8Array) === doctor)
    .flatMap((row) => (JSON.parse(row.streams as string) as string[]).map((id) => grantView(place, row, fromHex(id))))
}

function grantView(place: Place, row: SqlRow, stream: Uint8Array): ExposureView {
  const untilMs = Number(row.until)
  const state = stateOf(row, place.nowMs)
  const lastGeneration =
    state === 'refused'
      ? Number(row.generation)
      : row.closegen === null
        ? Number.MAX_SAFE_INTEGER
        : Number(row.closegen) - 1
  const reader = row.doctor as Uint8Array
  const recorded = recordedIn(place, { stream, fromEpoch: Number(row.starts), untilMs, lastGeneration, reader })
  const endMs = row.closed !== null ? Number(row.closed) : untilMs >= noEnd ? undefined : untilMs
  const view = { kind: kindOf(place.person, stream), to: endMs === undefined ? null : iso(endMs) }
  return {
    doctor: toHex(reader),
    grant: toHex(row.gid as Uint8Array),
    stream: toHex(stream),
    kind: view.kind,
    state,
    from: iso(Number(row.starts) * place.epochLengthMs),
    to: view.to,
    ...recorded,
    stillReadable: state === 'open',
    meaning: meaningOf(state, recorded, view),
  }
}

/** Where a grant stands: a row of `grants`, with the state of the transaction that opened it as `consentstate`. */
export function stateOf(row: SqlRow, nowMs: number): 'open' | 'expired' | 'ended' | 'refused' {
  if (row.consentstate === 'refused') return 'refused'
  if (row.closed !== null) return 'ended'
  return Number(row.until) <= nowMs ? 'expired' : 'open'
}

/** What a grant would give, stream by stream, if it were made now. */
export function previewExposure(place: Place, preview: Preview): ExposureView[] {
  const { doctor, streams, untilMs } = preview
  const fromEpoch = Math.floor(preview.fromMs / place.epochLengthMs)
  return streams.map(({ stream, kind }) => {
    const lastGeneration = Number.MAX_SAFE_INTEGER
    const recorded = recordedIn(place, { stream, fromEpoch, untilMs, lastGeneration, reader: fromHex(doctor) })
    const to = untilMs >= noEnd ? null : iso(untilMs)
    return {
      ...{ doctor, grant: null, stream: toHex(stream), kind, state: 'before' as const },
      ...{ from: iso(fromEpoch * place.epochLengthMs), to, ...recorded, stillReadable: false },
      meaning: meaningOf('before', recorded, { kind, to }),
    }
  })
}
