/** Looks as people see them: by reader and hour, newest first, and the last one of each reader. */
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import type { Person } from '../store/person.ts'
import type { Standing } from './looks.ts'

/** What somebody fetched within one hour, of one kind. */
export interface LookView {
  /** Account, hex. */
  readonly reader: string
  /** A stream's kind, `finding`, or `other`. */
  readonly kind: string
  readonly standing: Standing
  readonly firstAt: string
  readonly at: string
  /** Fetches. */
  readonly count: number
  /** When what was fetched was measured; null if it is no reading. */
  readonly measuredFrom: string | null
  readonly measuredTo: string | null
}

/** The last look of somebody, and how many there were. */
export interface LookerView {
  readonly reader: string
  readonly at: string
  readonly kind: string
  readonly standing: Standing
  readonly count: number
}

const iso = (value: unknown): string => new Date(Number(value)).toISOString()
const isoOrNull = (value: unknown): string | null => (value === null ? null : iso(value))

function viewOf(row: SqlRow): LookView {
  return {
    reader: toHex(row.reader as Uint8Array),
    kind: row.kind as string,
    standing: row.standing as Standing,
    ...{ firstAt: iso(row.first), at: iso(row.last), count: Number(row.count) },
    ...{ measuredFrom: isoOrNull(row.start), measuredTo: isoOrNull(row.until) },
  }
}

/** Reads a cursor; undefined for anything else. */
export function parseLookCursor(text: string): { hour: number; id: number } | undefined {
  const [, hour, id] = /^(\d{1,9})\.(\d{1,15})$/.exec(text) ?? []
  return id === undefined ? undefined : { hour: Number(hour), id: Number(id) }
}

/** A page of looks, newest hour first. `after`: the last one that was seen. */
export function listLooks(
  database: Database,
  person: Person,
  page: { reader: string | undefined; after: { hour: number; id: number } | undefined; limit: number },
): { looks: LookView[]; next: string | null } {
  const { reader, limit } = page
  const { hour, id } = page.after ?? { hour: Number.MAX_SAFE_INTEGER, id: 0 }
  const rows = database.all(
    `SELECT * FROM look WHERE account = ? AND (hour, id) < (?, ?) ${reader === undefined ? '' : 'AND reader = ?'}
     ORDER BY hour DESC, id DESC LIMIT ?`,
    ...[person.account, hour, id, ...(reader === undefined ? [] : [fromHex(reader)]), limit + 1],
  )
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  const next = rows.length > limit && last !== undefined ? `${String(last.hour)}.${String(last.id)}` : null
  return { looks: shown.map(viewOf), next }
}

/** Everybody who ever looked, whoever did so last first. */
export function listLookers(database: Database, person: Person): LookerView[] {
  const rows = database.all('SELECT * FROM looker WHERE account = ? ORDER BY last DESC LIMIT 1000', person.account)
  return rows.map((row) => ({
    reader: toHex(row.reader as Uint8Array),
    at: iso(row.last),
    kind: row.kind as string,
    standing: row.standing as Standing,
    count: Number(row.count),
  }))
}
