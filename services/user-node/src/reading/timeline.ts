/** Everything that happened to a person's data, newest first, page by page: what comes meanwhile moves no page. */
import { payloadKinds } from '@healthblock/crypto/payload'
import { toHex } from '@healthblock/encoding/bytes'
import type { Database, SqlRow, SqlValue } from '@healthblock/runtime/sqlite'
import { openedBy } from '../consent/grant-row.ts'
import { lookerOf } from '../sealing/alarms.ts'
import type { Person, PersonStream } from '../store/person.ts'

/** Kinds of entries, in the order that they take within one millisecond. */
export const timelineKinds = ['reading', 'granted', 'ended', 'keys', 'erased', 'finding', 'alarm'] as const
/** A kind of entry. */
export type TimelineKind = (typeof timelineKinds)[number]

/** One thing that happened. */
export interface TimelineEntry {
  readonly id: string
  readonly at: string
  readonly kind: TimelineKind
  /** Id of the transaction that proves it; null while there is none, and for alarms about devices. */
  readonly transactionId: string | null
  /** waiting: not on the ledger yet. */
  readonly state: 'recorded' | 'waiting' | 'refused'
  /** A doctor's account, where there is one. */
  readonly doctor: string | null
  /** Of a reading: its stream's kind, and `gap` or `empty` if there is none in it. Of an alarm: its code. */
  readonly what: string | null
  /** Of a reading: the kind of its stream, which `what` says of one that has a reading in it. */
  readonly stream: string | null
  /** Of a reading: since when it was measured; it ends at `at`. What is `empty` may be many records in a row: from the start of the first to the end of the last. */
  readonly from: string | null
}

/** A page of it. */
export interface TimelinePage {
  readonly entries: readonly TimelineEntry[]
  /** Goes on from here; null at the end. */
  readonly next: string | null
}

/** The place of an entry in the one order. */
interface Place {
  readonly ms: number
  readonly rank: number
  readonly id: string
}

interface Placed extends Place {
  readonly entry: TimelineEntry
}

const iso = (ms: number): string => new Date(ms).toISOString()
const stateWords: Readonly<Record<string, TimelineEntry['state']>> = { committed: 'recorded', refused: 'refused' }

function isBefore(a: Place, b: Place): boolean {
  if (a.ms !== b.ms) return a.ms < b.ms
  return a.rank === b.rank ? a.id < b.id : a.rank < b.rank
}

/** Reads a cursor; undefined for anything else. */
export function parseTimelineCursor(text: string): Place | undefined {
  const [, ms, rank, id] = /^(\d{1,15})\.(\d)\.([0-9a-z-]{1,96})$/.exec(text) ?? []
  return id === undefined ? undefined : { ms: Number(ms), rank: Number(rank), id }
}

function placed(
  kind: TimelineKind,
  ms: number,
  id: string,
  entry: Partial<TimelineEntry> & Pick<TimelineEntry, 'state'>,
): Placed {
  const common = {
    id: `${kind}-${id}`,
    at: iso(ms),
    kind,
    transactionId: null,
    doctor: null,
    what: null,
    stream: null,
    from: null,
  }
  return { ms, rank: timelineKinds.indexOf(kind), id, entry: { ...common, ...entry } }
}

const hexOf = (value: unknown): string | null =>
  value === null || value === undefined ? null : toHex(value as Uint8Array)

/** Rows of one table, as entries. `ms` is what the order goes by; `limit` rows from `beforeMs` down. */
type Reader = (database: Database, person: Person, beforeMs: number, limit: number) => Placed[]

function query(database: Database, sql: string, ...values: SqlValue[]): SqlRow[] {
  return database.all(sql, ...values)
}

function readingWhat(kind: number, streamKind: string): string {
  if (kind === payloadKinds.gap) return 'gap'
  return kind === payloadKinds.empty ? 'empty' : streamKind
}

type BatchRow = SqlRow & { readonly until: number; readonly sequence: number }

/** Rows of a stream before a place, newest first. */
function batchesBefore(
  database: Database,
  { account }: Person,
  { stream }: PersonStream,
  page: { untilMs: number; sequence: number; limit: number },
): BatchRow[] {
  return query(
    database,
    `SELECT sequence, start, until, kind, state, tx FROM batch
     WHERE account = ? AND stream = ? AND (until, sequence) < (?, ?) ORDER BY until DESC, sequence DESC LIMIT ?`,
    ...[account, stream, page.untilMs, page.sequence, page.limit],
  ) as BatchRow[]
}

/** True if the record that is next in time has no reading in it: what follows down from here without one belongs to that. */
function isSilentAfter(database: Database, { account }: Person, { stream }: PersonStream, ms: number): boolean {
  const next = database.get(
    'SELECT kind FROM batch WHERE account = ? AND stream = ? AND until > ? ORDER BY until, sequence LIMIT 1',
    ...[account, stream, ms],
  )
  return next?.kind === payloadKinds.empty
}

/** What is left of a silence below a place: its first record, and the newest that is on record; undefined if nothing is. */
function restOfSilence(
  database: Database,
  { account }: Person,
  { stream }: PersonStream,
  place: { untilMs: number; sequence: number },
): { first: BatchRow; recorded: BatchRow | undefined } | undefined {
  const columns = 'sequence, start, until, kind, state, tx'
  const own = [account, stream, place.untilMs, place.sequence]
  const before = database.get(
    `SELECT until, sequence FROM batch WHERE account = ? AND stream = ? AND (until, sequence) < (?, ?) AND kind <> ${payloadKinds.empty}
     ORDER BY until DESC, sequence DESC LIMIT 1`,
    ...own,
  )
  const inside = 'account = ? AND stream = ? AND (until, sequence) < (?, ?) AND (until, sequence) > (?, ?)'
  const bounds = [...own, before?.until ?? -1, before?.sequence ?? -1]
  const first = database.get(`SELECT ${columns} FROM batch WHERE ${inside} ORDER BY until, sequence LIMIT 1`, ...bounds)
  if (first === undefined) return undefined
  const recorded = database.get(
    `SELECT ${columns} FROM batch WHERE ${inside} AND state = 'committed' ORDER BY until DESC, sequence DESC LIMIT 1`,
    ...bounds,
  )
  return { first: first as BatchRow, recorded: recorded as BatchRow | undefined }
}

function readingOf({ stream, kind }: PersonStream, row: BatchRow): Placed {
  return placed('reading', row.until, `${toHex(stream)}-${String(row.sequence).padStart(12, '0')}`, {
    ...{ what: readingWhat(Number(row.kind), kind), from: iso(Number(row.start)), transactionId: hexOf(row.tx) },
    ...{ stream: kind, state: stateWords[row.state as string] ?? 'waiting' },
  })
}

/** A silence that goes on further down; it is on record as soon as any of its records is. */
function longer(silence: Placed, row: BatchRow): Placed {
  const entry = { ...silence.entry, from: iso(Number(row.start)) }
  if (entry.state === 'recorded' || stateWords[row.state as string] !== 'recorded') return { ...silence, entry }
  return { ...silence, entry: { ...entry, state: 'recorded', transactionId: hexOf(row.tx) } }
}

/** A device that is switched on and silent makes a record each period: all of them in a row are one entry, at the newest. */
function readingsOf(
  database: Database,
  person: Person,
  stream: PersonStream,
  page: { beforeMs: number; limit: number },
): Placed[] {
  const { beforeMs, limit } = page
  const found: Placed[] = []
  let isSilent = isSilentAfter(database, person, stream, beforeMs)
  let place = { untilMs: beforeMs, sequence: Number.MAX_SAFE_INTEGER }
  for (;;) {
    const rows = batchesBefore(database, person, stream, { ...place, limit })
    for (const row of rows) {
      const isEmpty = row.kind === payloadKinds.empty
      const last = found.at(-1)
      // The first may belong to a silence of the page before.
      if (isEmpty && isSilent && last !== undefined) found[found.length - 1] = longer(last, row)
      if (isEmpty && isSilent) continue
      if (found.length === limit) return found
      isSilent = isEmpty
      found.push(readingOf(stream, row))
    }
    const last = rows.at(-1)
    if (last === undefined || rows.length < limit) return found
    place = { untilMs: last.until, sequence: last.sequence }
    // Of a device that has been silent for a year it is half a million records.
    const rest = isSilent ? restOfSilence(database, person, stream, place) : undefined
    if (rest === undefined) continue
    const silence = found.at(-1)
    if (silence !== undefined)
      found[found.length - 1] = longer(longer(silence, rest.recorded ?? rest.first), rest.first)
    place = { untilMs: rest.first.until, sequence: rest.first.sequence }
  }
}

const readings: Reader = (database, person, beforeMs, limit) =>
  person.streams.flatMap((stream) => readingsOf(database, person, stream, { beforeMs, limit }))

const granted: Reader = (database, person, beforeMs, limit) =>
  query(
    database,
    `SELECT gid, doctor, opened, grants.tx AS tx, consent.state AS state FROM grants LEFT JOIN consent ON consent.tx = grants.tx
     WHERE grants.account = ? AND opened <= ? ORDER BY opened DESC LIMIT ?`,
    ...[person.account, beforeMs, limit],
  ).map((row) =>
    placed('granted', Number(row.opened), toHex(row.gid as Uint8Array), {
      ...{ doctor: hexOf(row.doctor), transactionId: openedBy(row.tx as Uint8Array) },
      // Of a grant that an older copy of the folder found on the ledger, the transaction is not known.
      state: openedBy(row.tx as Uint8Array) === null ? 'recorded' : (stateWords[String(row.state)] ?? 'waiting'),
    }),
  )

const ended: Reader = (database, person, beforeMs, limit) =>
  query(
    database,
    `SELECT gid, doctor, closed, consent.tx AS tx, consent.state AS state FROM grants
     LEFT JOIN consent ON consent.account = grants.account AND consent.generation = coalesce(grants.told, grants.closegen) AND consent.closes > 0
     WHERE grants.account = ? AND closed <= ? AND closegen IS NOT NULL GROUP BY gid ORDER BY closed DESC LIMIT ?`,
    ...[person.account, beforeMs, limit],
  ).map((row) =>
    placed('ended', Number(row.closed), toHex(row.gid as Uint8Array), {
      ...{ doctor: hexOf(row.doctor), transactionId: hexOf(row.tx) },
      // Of what an older copy of the folder found ended on the ledger, the transaction is not known.
      state: row.tx === null ? 'recorded' : (stateWords[String(row.state)] ?? 'waiting'),
    }),
  )

const keys: Reader = (database, person, beforeMs, limit) =>
  query(
    database,
    `SELECT tx, changed, state FROM consent
     WHERE account = ? AND changed <= ? AND opens = 0 AND closes = 0 ORDER BY changed DESC LIMIT ?`,
    ...[person.account, beforeMs, limit],
  ).map((row) =>
    placed('keys', Number(row.changed), toHex(row.tx as Uint8Array), {
      ...{ transactionId: hexOf(row.tx), state: stateWords[row.state as string] ?? 'waiting' },
    }),
  )

const erased: Reader = (database, person, beforeMs, limit) =>
  query(
    database,
    `SELECT tx, ms, state FROM posting WHERE account = ? AND what = 'erase' AND ms <= ? ORDER BY ms DESC LIMIT ?`,
    ...[person.account, beforeMs, limit],
  ).map((row) =>
    placed('erased', Number(row.ms), toHex(row.tx as Uint8Array), {
      ...{ transactionId: hexOf(row.tx), state: stateWords[row.state as string] ?? 'waiting' },
    }),
  )

const findings: Reader = (database, person, beforeMs, limit) =>
  query(
    database,
    'SELECT tx, doctor, at, severity FROM diagnosis WHERE account = ? AND amends IS NULL AND at <= ? ORDER BY at DESC LIMIT ?',
    ...[person.account, beforeMs, limit],
  ).map((row) =>
    placed('finding', Number(row.at), toHex(row.tx as Uint8Array), {
      ...{ doctor: hexOf(row.doctor), transactionId: hexOf(row.tx), state: 'recorded' as const },
      what: row.severity as string | null,
    }),
  )

const alarms: Reader = (database, person, beforeMs, limit) =>
  query(
    database,
    'SELECT id, ms, code, about FROM alarm WHERE account = ? AND ms <= ? ORDER BY ms DESC LIMIT ?',
    ...[person.account, beforeMs, limit],
  ).map((row) => {
    const about = row.about as Uint8Array | null
    return placed('alarm', Number(row.ms), String(row.id).padStart(12, '0'), {
      ...{
        doctor: lookerOf(row.code as string, about) ?? null,
        what: row.code as string,
        transactionId: about?.length === 32 ? toHex(about) : null,
        state: 'recorded' as const,
      },
    })
  })

const readers: Readonly<Record<TimelineKind, Reader>> = {
  ...{ reading: readings, granted, ended, keys, erased, finding: findings, alarm: alarms },
}

/**
 * A page of the timeline.
 *
 * @param page - `after`: the last entry that was seen; `limit` entries, those of `kinds`.
 */
export function readTimeline(
  database: Database,
  person: Person,
  page: { after: Place | undefined; limit: number; kinds: readonly TimelineKind[] },
): TimelinePage {
  const { after, limit, kinds } = page
  const beforeMs = after?.ms ?? Number.MAX_SAFE_INTEGER
  // Of one millisecond there may be more than a page, of one table: what lies on this side of the cursor is read with it.
  const spare = after === undefined ? 0 : sameMoment(database, person, after)
  const found = kinds
    .flatMap((kind) => readers[kind](database, person, beforeMs, limit + 1 + spare))
    .filter((entry) => after === undefined || isBefore(entry, after))
    .sort((a, b) => (isBefore(a, b) ? 1 : -1))
  const shown = found.slice(0, limit)
  const last = shown.at(-1)
  const isMore = found.length > limit && last !== undefined
  return {
    entries: shown.map(({ entry }) => entry),
    next: isMore ? `${last.ms}.${last.rank}.${last.id}` : null,
  }
}

/** Entries of the cursor's own millisecond, in the table that has most of them. */
function sameMoment(database: Database, person: Person, { ms }: Place): number {
  const count = (sql: string): number => Number(database.get(sql, person.account, ms)?.n ?? 0)
  const batches = person.streams.map(({ stream }) =>
    Number(
      database.get(
        'SELECT count(*) AS n FROM batch WHERE account = ? AND stream = ? AND until = ?',
        ...[person.account, stream, ms],
      )?.n ?? 0,
    ),
  )
  return Math.max(
    ...batches,
    count('SELECT count(*) AS n FROM grants WHERE account = ? AND opened = ?'),
    count('SELECT count(*) AS n FROM grants WHERE account = ? AND closed = ?'),
    count('SELECT count(*) AS n FROM alarm WHERE account = ? AND ms = ?'),
    count('SELECT count(*) AS n FROM diagnosis WHERE account = ? AND amends IS NULL AND at = ?'),
    count("SELECT count(*) AS n FROM posting WHERE account = ? AND what = 'erase' AND ms = ?"),
    count('SELECT count(*) AS n FROM consent WHERE account = ? AND changed = ?'),
  )
}

/** The kinds of a comma-separated list; undefined if one is unknown. */
export function parseTimelineKinds(text: string | undefined): readonly TimelineKind[] | undefined {
  if (text === undefined || text === '') return timelineKinds
  const kinds = [...new Set(text.split(','))]
  const known = kinds.filter((kind): kind is TimelineKind => (timelineKinds as readonly string[]).includes(kind))
  return known.length === kinds.length ? known : undefined
}
