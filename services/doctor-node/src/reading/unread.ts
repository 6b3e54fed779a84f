/** What a doctor was granted and cannot read: stretches of sequences, and why. */
import { toHex } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import { unreadableCodes } from '../judging/reader.ts'

/** Records one after the other that cannot be read for one reason. Sequences; times are those of the ledger. */
export interface UnreadView {
  readonly patient: string
  readonly stream: string
  readonly from: number
  readonly to: number
  readonly firstAt: string
  readonly lastAt: string
  readonly state: 'waiting' | 'unreadable' | 'gap'
  readonly reason?: string
}

const reasonOf = new Map<number, string>(Object.entries(unreadableCodes).map(([name, code]) => [code, name]))
const rowsMax = 100_000
/** Of one patient; of all a few more, so that each who has more than fit has as many. */
const stretchesMax = 1_000

const columns = 'patient, stream, sequence, kind, state, code, ms'
const where = `(state IN ('unreadable', 'waiting') OR (state = 'open' AND kind = 2))`

/**
 * Stretches of one patient, or of all, in the order of their streams. Where there are more than fit, each patient's first goes in before
 * anybody's next: nobody's records push out somebody else's.
 */
export function listUnread(database: Database, patient: Uint8Array | undefined): UnreadView[] {
  if (patient !== undefined) return stretchesOf(database, patient, rowsMax)
  const patients = database.all('SELECT DISTINCT patient FROM grants ORDER BY patient LIMIT 100000')
  const rowsEach = Math.max(stretchesMax, Math.floor(rowsMax / Math.max(1, patients.length)))
  const lists = patients.map((row) => stretchesOf(database, row.patient as Uint8Array, rowsEach))
  let most = 0
  for (let room = stretchesMax; room > 0 && most < stretchesMax; most++)
    room -= lists.filter(({ length }) => length > most).length
  return lists.flatMap((list) => list.slice(0, most))
}

function stretchesOf(database: Database, patient: Uint8Array, limit: number): UnreadView[] {
  const rows = database.all(
    `SELECT ${columns} FROM record WHERE patient = ? AND ${where} ORDER BY stream, sequence LIMIT ?`,
    ...[patient, limit],
  )
  const stretches: (UnreadView & { to: number; lastAt: string })[] = []
  for (const row of rows) {
    const state = row.kind === 2 ? 'gap' : (row.state as 'waiting' | 'unreadable')
    const reason = row.code === null ? undefined : reasonOf.get(Number(row.code))
    const [sequence, at] = [Number(row.sequence), new Date(Number(row.ms)).toISOString()]
    const place = { patient: toHex(row.patient as Uint8Array), stream: toHex(row.stream as Uint8Array) }
    const last = stretches.at(-1)
    const isNext = last?.patient === place.patient && last.stream === place.stream && last.to + 1 === sequence
    if (last !== undefined && isNext && last.state === state && last.reason === reason) {
      last.to = sequence
      last.lastAt = at
    } else if (stretches.length < stretchesMax) {
      const times = { from: sequence, to: sequence, firstAt: at, lastAt: at }
      stretches.push({ ...place, ...times, state, ...(reason === undefined ? {} : { reason }) })
    }
  }
  return stretches
}
