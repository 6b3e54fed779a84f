/**
 * The head register in one SQLite file that all nodes of a host share, committed with a full sync. SQLite's file lock makes
 * all calls one order. A cluster of several hosts needs an engine with its own quorum instead.
 */
import { statSync } from 'node:fs'
import { isRuntimeError, messageOf } from '@healthblock/runtime/errors'
import { type Database, openDatabase } from '@healthblock/runtime/sqlite'
import type { HeadRegister } from '../core/ports.ts'
import { AccountingError } from '../errors.ts'

const migrations = ['CREATE TABLE head (chain TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID']

/** A register and its file. */
export interface SqliteRegister extends HeadRegister {
  close(): void
}

/** Which file lies at a path: its device and number. Undefined if there is none. */
function fileAt(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false })
  return found === undefined ? undefined : `${found.dev} ${found.ino}`
}

/**
 * Opens the register file, creating it if absent: an absent value is rebuilt by the nodes, never invented here. If the file is removed or
 * another one is put in its place while the process runs, the next call takes what lies there then: nodes that went on with the removed one
 * and nodes that were started since would decide nothing together.
 */
export function openSqliteRegister(path: string): SqliteRegister {
  let database: Database | undefined
  let file: string | undefined
  const use = <T>(work: (database: Database) => T): T => {
    try {
      if (database !== undefined && (file === undefined || fileAt(path) !== file)) {
        database.close()
        database = undefined
        file = undefined
      }
      database ??= openDatabase({ path, synchronous: 'full', migrations, busyTimeoutMs: 1_000 })
      file ??= fileAt(path)
      return work(database)
    } catch (cause) {
      // Whatever failed, the next call begins with a fresh connection; the core reads again before it decides anything.
      database?.close()
      database = undefined
      file = undefined
      const reason = isRuntimeError(cause, 'ERR_DATABASE_CORRUPT')
        ? `${path} is damaged: stop the nodes that share it, move it away with its -wal and -shm, and start them; they rebuild what it held`
        : messageOf(cause)
      throw new AccountingError(`head register: ${reason}`, { code: 'ERR_REGISTER_FAILED', reason }, { cause })
    }
  }
  return {
    async read(chain) {
      const row = use((db) => db.get('SELECT value FROM head WHERE chain = ?', chain))
      return row?.value as Uint8Array | undefined
    },
    async cas(chain, expected, next) {
      return use((db) => {
        const changed =
          expected === undefined
            ? db.run('INSERT INTO head (chain, value) VALUES (?, ?) ON CONFLICT DO NOTHING', chain, next)
            : db.run('UPDATE head SET value = ? WHERE chain = ? AND value = ?', next, chain, expected)
        return changed === 1
      })
    },
    close() {
      database?.close()
      database = undefined
    },
  }
}
