/** What lies below the roots of erased files, as the tables have it for other stores (SPEC.md §3a). */
import type { BelowEntry } from './operations.ts'

/** `tombstones`: what is erased here; `below`: what was not here when its root was erased. */
export type BelowList = 'tombstones' | 'below'

const tombstones =
  'SELECT id, digest, root, owner, at FROM tombstone WHERE id > ? AND root IS NOT NULL ORDER BY id LIMIT ?'
const rootAt = '(SELECT at FROM tombstone t WHERE t.digest = below.root) AS at'
const noted = `SELECT id, digest, root, owner, writer, ${rootAt} FROM below WHERE id > ? ORDER BY id LIMIT ?`

/** The statement that lists entries after a number in the order in which they came here: takes the number, and how many at most. */
export function belowQuery(list: BelowList): string {
  return list === 'tombstones' ? tombstones : noted
}

/** An entry with its number, from a row of {@link belowQuery}. */
export function toBelowEntry({ at, ...row }: Record<string, unknown>): BelowEntry & { id: number } {
  return { ...row, ...(at === null ? {} : { at }) } as unknown as BelowEntry & { id: number }
}
