import { statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'

/**
 * Opens a database of a folder that nobody uses, to be read. Nothing is written beside it: what SQLite would put there belongs to whoever
 * reads, and may bar the node from its own file later; and a backup may lie where nothing can be written.
 */
export function readDatabase(path: string): DatabaseSync {
  // A write-ahead log that holds something is a part of the database: its node was killed, and left it with its index.
  const logSizeBytes = statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0
  if (logSizeBytes > 0) return new DatabaseSync(path, { readOnly: true })
  const url = pathToFileURL(path)
  url.searchParams.set('immutable', '1')
  return new DatabaseSync(url, { readOnly: true })
}
