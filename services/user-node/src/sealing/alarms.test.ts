import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger } from '@healthblock/runtime/logger'
import { expect, test } from 'vitest'
import { UserNodeEvents } from '../events.ts'
import type { Person } from '../people/person.ts'
import { openNodeDatabase } from '../store/node-db.ts'
import { Alarms, alarmsListedMax } from './alarms.ts'

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
