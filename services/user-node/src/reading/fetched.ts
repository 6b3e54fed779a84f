/** Which records of a stream somebody fetched, as ranges of sequence numbers without holes: few rows for long streams. */
import type { Database } from '@healthblock/runtime/sqlite'

/** One record of one stream, and who fetched it. */
export interface FetchedPlace {
  readonly account: Uint8Array
  readonly reader: Uint8Array
  readonly stream: Uint8Array
  readonly sequence: number
}

/** Notes that a record was fetched; again is once. */
export function markFetched(database: Database, { account, reader, stream, sequence }: FetchedPlace): void {
  const whose = [account, reader, stream] as const
  const where = 'account = ? AND reader = ? AND stream = ?'
  const before = database.get(
    `SELECT first, last FROM fetched WHERE ${where} AND first <= ? ORDER BY first DESC LIMIT 1`,
    ...[...whose, sequence],
  )
  if (before !== undefined && Number(before.last) >= sequence) return
  const after = database.get(`SELECT last FROM fetched WHERE ${where} AND first = ?`, ...whose, sequence + 1)
  if (after !== undefined) database.run(`DELETE FROM fetched WHERE ${where} AND first = ?`, ...whose, sequence + 1)
  const isJoined = before !== undefined && Number(before.last) === sequence - 1
  const first = isJoined ? Number(before.first) : sequence
  const last = after === undefined ? sequence : Number(after.last)
  database.run('INSERT OR REPLACE INTO fetched VALUES (?, ?, ?, ?, ?)', ...whose, first, last)
}

/** The records of a window that were fetched, as SQL over `batch` with the parameter `reader` first: to be counted. */
export const fetchedOfBatch = `EXISTS (SELECT 1 FROM fetched WHERE fetched.account = batch.account AND fetched.reader = ?
  AND fetched.stream = batch.stream AND fetched.first <= batch.sequence AND fetched.last >= batch.sequence)`
