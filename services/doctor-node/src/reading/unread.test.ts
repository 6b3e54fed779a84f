import { toHex } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import { beforeEach, expect, test } from 'vitest'
import { openTestDatabase } from '../store/node-db.test-support.ts'
import { listUnread } from './unread.ts'

let database: Database

beforeEach(() => {
  const opened = openTestDatabase()
  database = opened.database
  return opened.remove
})

/** A patient with a grant and every second record unreadable. */
function patientWith(first: number, count: number): Uint8Array {
  const patient = new Uint8Array(32).fill(first)
  const [gid, stream] = [new Uint8Array(16), new Uint8Array(8)]
  database.transaction(() => {
    database.run(
      'INSERT INTO grants (patient, gid, streams, starts, until, rights, opened, openedms) VALUES (?, ?, ?, 0, 9, 3, 1, 1)',
      ...[patient, gid, stream],
    )
    for (let sequence = 1; sequence <= count; sequence++) {
      database.run(
        `INSERT INTO record (patient, stream, sequence, generation, epoch, kind, size, cid, tx, position, ms, state, code)
         VALUES (?, ?, ?, 1, 1, 0, 1024, ?, ?, ?, 1, 'unreadable', 4)`,
        ...[patient, stream, 2 * sequence, patient, patient, sequence],
      )
    }
  })
  return patient
}

test('a patient with thousands of records that cannot be read pushes nobody else’s out of the list', () => {
  const hostile = patientWith(1, 3_000)
  const other = patientWith(2, 600)
  const honest = patientWith(3, 2)
  const countOf = (patient: Uint8Array): number =>
    listUnread(database, undefined).filter((one) => one.patient === toHex(patient)).length
  expect([hostile, other, honest].map(countOf)).toEqual([499, 499, 2])
  expect([hostile, other, honest].map((patient) => listUnread(database, patient).length)).toEqual([1_000, 600, 2])
})
