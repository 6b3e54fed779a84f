import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RuntimeError } from '@healthblock/runtime/errors'
import { createLogger } from '@healthblock/runtime/logger'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import { expect, test } from 'vitest'
import { DoctorNodeEvents } from '../events.ts'
import { openNodeDatabase } from '../store/node-db.ts'
import type { Envelopes } from '../watch/envelopes.ts'
import type { Grant, Grants } from '../watch/grants.ts'
import { Alarms } from './alarms.ts'
import { Reader } from './reader.ts'

const patient = new Uint8Array(32).fill(7)
const [ecg, vitals] = [new Uint8Array(8).fill(1), new Uint8Array(8).fill(2)]

test('records that are nowhere, while one storage node is down, do not hold up the patient’s other stream', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'hb-reader-'))
  const database = openNodeDatabase(join(dir, 'node.db'))
  let clockMs = 1_000_000
  const nowMs = (): number => clockMs
  const events = new DoctorNodeEvents(createLogger({ name: 'test', level: 'silent' }))
  const grant = {
    patient,
    streams: [ecg, vitals],
    fromEpoch: 0,
    untilEpoch: 9,
    untilMs: 2 ** 45,
    rights: 3,
  } as unknown as Grant
  const asked: number[] = []
  const get = async (cid: Uint8Array): Promise<Uint8Array> => {
    asked.push(cid[0] as number)
    if (cid[0] === 9) return new Uint8Array(1024)
    throw new RuntimeError('two have none, the third does not answer', { code: 'ERR_NO_SOURCE', attempts: [] })
  }
  const reader = new Reader({
    ...{ database, events, nowMs, ledgerId: new Uint8Array(32), alarms: new Alarms({ database, events, nowMs }) },
    grants: { open: () => [grant] } as unknown as Grants,
    envelopes: { epochKey: async () => ({ epochKey: new Uint8Array(32), kind: 1 }) } as unknown as Envelopes,
    storage: () => ({ get }) as unknown as StorageClient,
  })
  const add = (stream: Uint8Array, sequence: number, cid: number): void => {
    database.run(
      `INSERT INTO record (patient, stream, sequence, generation, epoch, kind, size, cid, tx, position, ms, state)
       VALUES (?, ?, ?, 1, 1, 0, 1024, ?, ?, ?, 1, 'waiting')`,
      ...[patient, stream, sequence, new Uint8Array(32).fill(cid), patient, sequence],
    )
  }
  for (let sequence = 1; sequence <= 5; sequence++) add(ecg, sequence, sequence)
  add(vitals, 1, 9)
  const { signal } = new AbortController()
  await expect(reader.read(patient, signal)).rejects.toThrow('does not answer')
  expect(asked).toEqual([1, 2, 3, 4])
  await expect(reader.read(patient, signal)).rejects.toThrow('does not answer')
  expect(asked.slice(4)).toEqual([5, 9])
  const states = (): unknown[] =>
    database.all('SELECT state FROM record ORDER BY stream, sequence').map(({ state }) => state)
  expect(states()).toEqual([...Array(5).fill('waiting'), 'unreadable'])
  await reader.read(patient, signal)
  expect(asked).toHaveLength(6)
  clockMs += 2_000
  await expect(reader.read(patient, signal)).rejects.toThrow('does not answer')
  expect(asked.slice(6)).toEqual([1, 2, 3, 4])
  // A clock that was ahead and is set right puts nothing off until then.
  clockMs -= 900_000
  await expect(reader.read(patient, signal)).rejects.toThrow('does not answer')
  expect(asked.slice(10)).toEqual([1, 2, 3, 4])
  database.close()
  rmSync(dir, { recursive: true })
})
