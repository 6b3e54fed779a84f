import type { Finding } from '@healthblock/diagnosis/findings'
import { createLogger } from '@healthblock/runtime/logger'
import type { Database } from '@healthblock/runtime/sqlite'
import { beforeEach, expect, test } from 'vitest'
import { DoctorNodeEvents } from '../events.ts'
import { openTestDatabase } from '../store/node-db.test-support.ts'
import { Alarms } from './alarms.ts'

const patient = new Uint8Array(32).fill(7)
const finding: Finding = {
  ...{ code: 'ecg.asystole', fromMs: 1_000, toMs: 2_000, severity: 'critical', score: 1, isOpen: true },
  ...{ evidence: [], sentence: 'No heart beat.' },
}

let database: Database
let alarms: Alarms
let told: string[]

beforeEach(() => {
  const opened = openTestDatabase()
  database = opened.database
  const events = new DoctorNodeEvents(createLogger({ name: 'test', level: 'silent' }))
  told = []
  events.listen(({ code, step }) => told.push(`${code} ${step}`))
  alarms = new Alarms({ database, events, nowMs: () => 5_000 })
  return opened.remove
})

test('an alarm that was over and is found again, from the same moment, lasts again and is told again', () => {
  alarms.see(patient, [finding])
  alarms.see(patient, [finding])
  expect(told).toEqual(['ecg.asystole began'])
  // The analysis went on with other streams first, after a diagnosis or a restart.
  alarms.see(patient, [])
  expect(alarms.list()).toMatchObject([{ endedAt: expect.any(String) }])
  alarms.acknowledge(alarms.list()[0]?.id as number, 'Dr. One')
  alarms.see(patient, [finding])
  expect(told.filter((one) => !one.endsWith('acknowledged'))).toEqual([
    ...['ecg.asystole began', 'ecg.asystole ended', 'ecg.asystole began'],
  ])
  expect(alarms.list(true)).toMatchObject([{ endedAt: null, acknowledgedBy: 'Dr. One' }])
  alarms.see(patient, [{ ...finding, isOpen: false }])
  expect(told.at(-1)).toBe('ecg.asystole ended')
  // What is over and found once more as over is nothing new.
  alarms.see(patient, [{ ...finding, isOpen: false }])
  expect(told.filter((one) => one.endsWith('ended'))).toHaveLength(2)
})

test('an alarm tells the newest sentence of its finding; it is in no file, and what an older diagnosis said stands only where nothing newer is known', () => {
  alarms.see(patient, [finding])
  alarms.see(patient, [{ ...finding, sentence: 'No heart beat for 9 s.' }])
  expect(alarms.list()).toMatchObject([{ sentence: 'No heart beat for 9 s.' }])
  alarms.recall(patient, { ...finding, sentence: 'No heart beat for 3 s.' })
  expect(alarms.list()).toMatchObject([{ sentence: 'No heart beat for 9 s.' }])
  const events = new DoctorNodeEvents(createLogger({ name: 'test', level: 'silent' }))
  const restarted = new Alarms({ database, events, nowMs: () => 6_000 })
  expect(restarted.list()).toMatchObject([{ code: 'ecg.asystole', sentence: null }])
  restarted.recall(patient, { ...finding, sentence: 'No heart beat for 9 s.' })
  restarted.recall(patient, { ...finding, sentence: 'No heart beat for 3 s.' })
  expect(restarted.list()).toMatchObject([{ sentence: 'No heart beat for 9 s.' }])
})

test('a patient who makes alarms by the thousand pushes nobody else’s out of the list', () => {
  const other = new Uint8Array(32).fill(8)
  alarms.see(other, [finding])
  database.transaction(() => {
    for (let sequence = 1; sequence <= 10_100; sequence++)
      alarms.seeGap(patient, { stream: new Uint8Array(8), sequence, atMs: 1_000 })
  })
  // What is urgent of her own is not pushed out either.
  database.run("UPDATE alarm SET severity = 'high' WHERE about LIKE '%:1'")
  for (const isOpen of [true, false]) {
    const list = alarms.list(isOpen)
    expect(list).toHaveLength(1_001)
    expect(list.map(({ id }) => id)).toEqual(list.map(({ id }) => id).toSorted((a, b) => b - a))
    expect(list.at(-1)).toMatchObject({ code: 'ecg.asystole', severity: 'critical' })
    expect(list.at(-2)).toMatchObject({ code: 'stream.gap', severity: 'high' })
  }
})
