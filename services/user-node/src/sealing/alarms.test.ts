import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger } from '@healthblock/runtime/logger'
import { expect, test } from 'vitest'
import { UserNodeEvents } from '../events.ts'
import { openNodeDatabase } from '../store/node-db.ts'
import type { Person } from '../store/person.ts'
import { Alarms, alarmsListedMax, noticeFinding } from './alarms.ts'

test('an alarm is seen however many there were before it', () => {
  const dir = mkdtempSync(join(tmpdir(), 'hb-alarms-'))
  const database = openNodeDatabase(join(dir, 'node.db'))
  const alarms = new Alarms({ database, events: new UserNodeEvents(createLogger({ name: 'test', level: 'silent' })) })
  const person = { account: new Uint8Array(32).fill(1), id: '01' } as Person
  const stream = new Uint8Array(8).fill(2)
  database.transaction(() => {
    for (let i = 1; i <= alarmsListedMax; i++) alarms.begin(person, stream, { code: 'stream.gap', number: i, atMs: i })
  })
  alarms.begin(person, stream, { code: 'stream.silent', number: 1, atMs: alarmsListedMax + 1 })
  const list = alarms.list(person)
  expect(list).toHaveLength(alarmsListedMax)
  expect(list.at(-1)).toMatchObject({ code: 'stream.silent' })
  expect(list[0]?.id).toBe(2)
  database.close()
  rmSync(dir, { recursive: true })
})

test('looks that a storage node makes up push no alarm out of the list', () => {
  const dir = mkdtempSync(join(tmpdir(), 'hb-alarms-'))
  const database = openNodeDatabase(join(dir, 'node.db'))
  const alarms = new Alarms({ database, events: new UserNodeEvents(createLogger({ name: 'test', level: 'silent' })) })
  const person = { account: new Uint8Array(32).fill(1), id: '01' } as Person
  const finding = { code: 'ecg.vf', severity: 'critical', fromMs: 1, toMs: 2, isOpen: false } as const
  const told = { transaction: new Uint8Array(32).fill(9), doctor: person.account, atMs: 2 }
  noticeFinding(database, person.account, finding, told)
  const reader = new Uint8Array(32)
  database.transaction(() => {
    for (let i = 1; i <= alarmsListedMax + 100; i++) {
      new DataView(reader.buffer).setUint32(0, i)
      alarms.noticeLook(person, reader, { hour: 1, atMs: i + 10 })
    }
  })
  const list = alarms.list(person)
  expect(list[0]).toMatchObject({ code: 'ecg.vf', severity: 'critical' })
  expect(list).toHaveLength(1_001)
  expect(list.at(-1)?.id).toBe(alarmsListedMax + 101)
  database.close()
  rmSync(dir, { recursive: true })
})

test('what several diagnoses and doctors tell of one episode is one alarm; what got worse is told again; what comes later is another', () => {
  const dir = mkdtempSync(join(tmpdir(), 'hb-alarms-'))
  const database = openNodeDatabase(join(dir, 'node.db'))
  const alarms = new Alarms({ database, events: new UserNodeEvents(createLogger({ name: 'test', level: 'silent' })) })
  const person = { account: new Uint8Array(32).fill(1), id: '01' } as Person
  let number = 0
  const tell = (severity: 'high' | 'critical', fromS: number, toS: number, isOpen = false, code = 'ecg.vt'): boolean =>
    noticeFinding(
      database,
      person.account,
      { code, severity, fromMs: fromS * 1_000, toMs: toS * 1_000, isOpen },
      { transaction: new Uint8Array(32).fill(++number), doctor: person.account, atMs: toS * 1_000 },
    )
  const list = () =>
    alarms.list(person).map(({ at, severity, endedAt, acknowledged }) => [at, severity, endedAt, acknowledged])
  const iso = (seconds: number): string => new Date(seconds * 1_000).toISOString()
  expect(tell('high', 1_000, 1_030, true)).toBe(true)
  // Another doctor's program, whose access began later; then the first one's next diagnosis, after which it is over.
  expect(tell('high', 1_010, 1_040, true)).toBe(false)
  expect(list()).toEqual([[iso(1_030), 'high', null, false]])
  expect(tell('high', 1_000, 1_060)).toBe(false)
  expect(list()).toEqual([[iso(1_030), 'high', iso(1_060), false]])
  for (let times = 0; times < 2; times++) alarms.acknowledge(person, alarms.list(person)[0]?.id ?? 0, 0)
  expect(list()).toEqual([[iso(1_030), 'high', iso(1_060), true]])
  const other = { ...person, account: new Uint8Array(32).fill(2) } as Person
  const own = alarms.list(person)[0]?.id as number
  const nobodys: [Person, number][] = [
    [person, 999],
    [person, Number.NaN],
    [other, own],
  ]
  for (const [whose, id] of nobodys) expect(() => alarms.acknowledge(whose, id, 0)).toThrow('there is no such alarm')
  // An older one that comes late changes nothing; something worse is told to who had seen the rest.
  expect(tell('high', 1_000, 1_020, true)).toBe(false)
  expect(list()).toEqual([[iso(1_030), 'high', iso(1_060), true]])
  expect(tell('critical', 1_000, 1_070)).toBe(true)
  expect(list()).toEqual([[iso(1_070), 'critical', iso(1_070), false]])
  expect(tell('critical', 1_010, 1_075, false, 'ecg.vf')).toBe(true)
  expect(tell('high', 1_140, 1_150)).toBe(true)
  expect(alarms.list(person)).toHaveLength(3)
  database.close()
  rmSync(dir, { recursive: true })
})

test('a doctor who says that something lasts for ever hides nothing that another one finds after she has seen that', () => {
  const dir = mkdtempSync(join(tmpdir(), 'hb-alarms-'))
  const database = openNodeDatabase(join(dir, 'node.db'))
  const alarms = new Alarms({ database, events: new UserNodeEvents(createLogger({ name: 'test', level: 'silent' })) })
  const person = { account: new Uint8Array(32).fill(1), id: '01' } as Person
  const [honest, other] = [new Uint8Array(32).fill(2), new Uint8Array(32).fill(3)]
  let number = 10
  const tell = (doctor: Uint8Array, fromMs: number, toMs: number, isOpen = false): boolean => {
    const transaction = new Uint8Array(32).fill(++number)
    database.run(
      `INSERT INTO diagnosis (tx, account, doctor, position, at, generation, epoch, sequence, stream, algorithm, inputs, cid, kind, status)
       VALUES (?, ?, ?, ?, 0, 1, 1, 1, ?, ?, ?, ?, 4, 'preliminary')`,
      ...[transaction, person.account, doctor, number, doctor.subarray(0, 8), doctor, doctor, doctor],
    )
    const finding = { code: 'ecg.vf', severity: 'critical', fromMs, toMs, isOpen } as const
    return noticeFinding(database, person.account, finding, { transaction, doctor, atMs: 1_000_000 })
  }
  const see = (atMs: number): void => {
    for (const { id } of alarms.list(person)) alarms.acknowledge(person, id, atMs)
  }
  expect(tell(other, 0, 2 ** 45, true)).toBe(true)
  see(1_000_000)
  expect(tell(honest, 2_000_000, 2_010_000, true)).toBe(true)
  see(2_020_000)
  // Neither over what the first one told, nor over what the second one did.
  expect(tell(other, 0, 2 ** 45, true)).toBe(false)
  expect(tell(honest, 2_000_000, 2_030_000)).toBe(false)
  expect(tell(honest, 3_000_000, 3_010_000)).toBe(true)
  expect(alarms.list(person)).toHaveLength(3)
  // What both tell of the same time is still one, also where she saw it first.
  see(3_020_000)
  expect(tell(other, 3_001_000, 3_012_000)).toBe(false)
  expect(alarms.list(person)).toHaveLength(3)
  database.close()
  rmSync(dir, { recursive: true })
})
