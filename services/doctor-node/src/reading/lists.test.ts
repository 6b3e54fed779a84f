import { toHex } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import { beforeEach, expect, test } from 'vitest'
import { openTestDatabase } from '../store/node-db.test-support.ts'
import { listQuarantine } from './lists.ts'

let database: Database

beforeEach(() => {
  const opened = openTestDatabase()
  database = opened.database
  return opened.remove
})

/** A patient who sent so many envelopes that do not open. */
function patientWith(first: number, count: number): Uint8Array {
  const patient = new Uint8Array(32).fill(first)
  database.transaction(() => {
    for (let generation = 1; generation <= count; generation++) {
      database.run(
        "INSERT INTO quarantine (what, reference, reason, ms) VALUES ('envelope', ?, 'the envelope does not open', ?)",
        ...[`${toHex(patient)}/${'0'.repeat(32)}/${generation}`, generation],
      )
    }
  })
  return patient
}

test('a patient with thousands of envelopes that do not open pushes nobody else’s out of the list', () => {
  const honest = patientWith(3, 2)
  const other = patientWith(2, 600)
  const hostile = patientWith(1, 3_000)
  const all = listQuarantine(database, undefined)
  const countOf = (patient: Uint8Array): number =>
    all.filter(({ reference }) => reference.startsWith(toHex(patient))).length
  expect([hostile, other, honest].map(countOf)).toEqual([499, 499, 2])
  expect([hostile, other, honest].map((one) => listQuarantine(database, one).length)).toEqual([1_000, 600, 2])
})

test('the newest stand first, of each patient and of all', () => {
  const patient = patientWith(4, 3)
  patientWith(5, 1)
  const generations = (list: { reference: string }[]) => list.map(({ reference }) => reference.split('/')[2])
  expect(generations(listQuarantine(database, patient))).toEqual(['3', '2', '1'])
  expect(generations(listQuarantine(database, undefined))).toEqual(['1', '3', '2', '1'])
})
