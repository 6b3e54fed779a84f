/** For this service's tests: a database of a node in a folder of its own. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Database } from '@healthblock/runtime/sqlite'
import { openNodeDatabase } from './node-db.ts'

/** An empty one, and what closes and removes it. */
export function openTestDatabase(): { database: Database; remove: () => void } {
  const dir = mkdtempSync(join(tmpdir(), 'hb-doctor-db-'))
  const database = openNodeDatabase(join(dir, 'node.db'))
  const remove = (): void => {
    database.close()
    rmSync(dir, { recursive: true })
  }
  return { database, remove }
}
