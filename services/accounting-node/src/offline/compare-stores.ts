/** Two stores of derived state, row by row: what a node keeps, and what comes of executing its log. */
import type { DatabaseSync } from 'node:sqlite'
import { parseHead } from '@healthblock/chain/head'
import { messageOf } from '@healthblock/runtime/errors'
import { readDatabase } from './read-database.ts'

/** Each table and the columns of its primary key. */
const tables: Readonly<Record<string, string>> = {
  leaf: 'path',
  place: 'id',
  record: 'patient, stream, sequence',
  boundary: 'height',
  head: 'one',
}

/** A table that differs. */
export interface Difference {
  readonly table: string
  readonly message: string
}

function textOf(row: unknown): string {
  return JSON.stringify(row, (_, value: unknown) =>
    value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value,
  )
}

function compareTable(table: string, stored: DatabaseSync, executed: DatabaseSync): Difference | undefined {
  const sql = `SELECT * FROM ${table} ORDER BY ${tables[table]}`
  const [left, right] = [stored.prepare(sql).iterate(), executed.prepare(sql).iterate()]
  for (let row = 0; ; row++) {
    const [a, b] = [left.next(), right.next()]
    if (a.done === true && b.done === true) return undefined
    if (a.done !== b.done || textOf(a.value) !== textOf(b.value)) {
      const what = a.done === true ? 'is missing' : b.done === true ? 'is too many' : 'differs'
      return { table, message: `row ${row} of table ${table} ${what}` }
    }
  }
}

/** Height of the state in a store, or why it cannot be read. The file is not changed. */
function heightOf(path: string): number | { readonly fault: string } {
  let database: DatabaseSync | undefined
  try {
    database = readDatabase(path)
    const row = database.prepare('SELECT bytes FROM head').get() as { bytes: Uint8Array } | undefined
    return row === undefined ? 0 : parseHead(row.bytes).head.height
  } catch (error) {
    return { fault: `the stored state cannot be read: ${messageOf(error)}` }
  } finally {
    database?.close()
  }
}

/** Where the stores of one height differ: at most one place a table. */
function differences(paths: { stored: string; executed: string }): Difference[] {
  const [stored, executed] = [readDatabase(paths.stored), readDatabase(paths.executed)]
  try {
    return Object.keys(tables).flatMap((table) => {
      try {
        return compareTable(table, stored, executed) ?? []
      } catch (error) {
        return { table, message: `table ${table} cannot be read: ${messageOf(error)}` }
      }
    })
  } finally {
    stored.close()
    executed.close()
  }
}

/** Comparison of two stores' files. */
export const compareStores = { heightOf, differences } as const
