import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RuntimeError } from '@healthblock/runtime/errors'
import { createLogger } from '@healthblock/runtime/logger'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import { expect, test } from 'vitest'
import { DoctorNodeEvents } from '../events.ts'
import type { Postings } from '../posting/postings.ts'
import { openNodeDatabase } from '../store/node-db.ts'
import type { Envelopes } from '../watch/envelopes.ts'
import type { Grant, Grants } from '../watch/grants.ts'
import { Alarms } from './alarms.ts'
import type { Judge } from './judge.ts'
import { backlogMax, Reader } from './reader.ts'
import type { UnreadableReports } from './unreadable.ts'
import { Worker } from './worker.ts'

const patient = new Uint8Array(32).fill(7)
const [ecg, vitals] = [new Uint8Array(8).fill(1), new Uint8Array(8).fill(2)]

/** A reader with a database of its own; each patient has a grant to both streams, and each block is what `get` says. */
function setUp(options: { nowMs: () => number; get: (cid: Uint8Array) => Promise<Uint8Array> }) {
  const { nowMs, get } = options
  const dir = mkdtempSync(join(tmpdir(), 'hb-reader-'))
  const database = openNodeDatabase(join(dir, 'node.db'))
  const events = new DoctorNodeEvents(createLogger({ name: 'test', level: 'silent' }))
  const grantOf = (of: Uint8Array): Grant =>
    ({
      ...{ patient: of, streams: [ecg, vitals], fromEpoch: 0, untilEpoch: 9, untilMs: 2 ** 45, rights: 3 },
    }) as unknown as Grant
  const reader = new Reader({
    ...{ database, events, nowMs, ledgerId: new Uint8Array(32), alarms: new Alarms({ database, events, nowMs }) },
    grants: { open: (of: Uint8Array) => [grantOf(of)] } as unknown as Grants,
    envelopes: { epochKey: async () => ({ epochKey: new Uint8Array(32), kind: 1 }) } as unknown as Envelopes,
    storage: () => ({ get }) as unknown as StorageClient,
  })
  const add = (stream: Uint8Array, sequence: number, cid: number, of = patient): void => {
    database.run(
      `INSERT INTO record (patient, stream, sequence, generation, epoch, kind, size, cid, tx, position, ms, state)
       VALUES (?, ?, ?, 1, 1, 0, 1024, ?, ?, ?, 1, 'waiting')`,
      ...[of, stream, sequence, new Uint8Array(32).fill(cid), of, sequence],
    )
  }
  const close = (): void => {
    database.close()
    rmSync(dir, { recursive: true })
  }
  return { database, reader, add, close }
}

test('a patient who posts records that are nowhere, without end, holds up nobody: patients take turns', async () => {
  let clockMs = 1_000_000
  const honest = new Uint8Array(32).fill(8)
  const asked: number[] = []
  const { database, reader, add, close } = setUp({
    nowMs: () => clockMs,
    get: async (cid) => {
      asked.push(cid[0] as number)
      // Each answer takes a while, so that what failed first is due again before the last was tried.
      clockMs += 50
      if (cid[0] === 9) return new Uint8Array(1024)
      throw new RuntimeError('nowhere', { code: 'ERR_BLOCK_NOT_FOUND', digest: '' })
    },
  })
  database.transaction(() => {
    for (let sequence = 1; sequence <= 2_000; sequence++) add(ecg, sequence, 1)
  })
  add(ecg, 1, 9, honest)
  const stopping = new AbortController()
  const judged: Uint8Array[] = []
  const worker = new Worker({
    ...{
      database,
      reader,
      settle: () => {},
      isReady: () => true,
      nowMs: () => clockMs,
      logger: createLogger({ name: 't', level: 'silent' }),
    },
    grants: { patients: () => [patient, honest] } as unknown as Grants,
    reports: { report: () => {} } as unknown as UnreadableReports,
    postings: { deliver: async () => {} } as unknown as Postings,
    recorded: { isKnown: () => true, fetchBlocks: async () => {} },
    judge: {
      judge: async (of: Uint8Array) => {
        judged.push(of)
        stopping.abort()
      },
    } as unknown as Judge,
  })
  await worker.round(stopping.signal)
  expect(judged).toEqual([honest])
  expect(asked).toEqual([...Array(64).fill(1), 9])
  close()
})

test('records that are nowhere, while one storage node is down, do not hold up the patient’s other stream', async () => {
  let clockMs = 1_000_000
  const asked: number[] = []
  const get = async (cid: Uint8Array): Promise<Uint8Array> => {
    asked.push(cid[0] as number)
    if (cid[0] === 9) return new Uint8Array(1024)
    throw new RuntimeError('two have none, the third does not answer', { code: 'ERR_NO_SOURCE', attempts: [] })
  }
  const { database, reader, add, close } = setUp({ nowMs: () => clockMs, get })
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
  close()
})

test('a record is not said to be missing for a time in which nobody looked: the clock was set ahead, or the node was off', async () => {
  let clockMs = 1_000_000
  let isAway = false
  const { database, reader, add, close } = setUp({
    nowMs: () => clockMs,
    get: async () => {
      if (isAway) throw new RuntimeError('nobody answers', { code: 'ERR_NO_SOURCE', attempts: [] })
      throw new RuntimeError('nowhere', { code: 'ERR_BLOCK_NOT_FOUND', digest: '' })
    },
  })
  add(ecg, 1, 1)
  const { signal } = new AbortController()
  const state = () => database.get('SELECT state FROM record')?.state
  await reader.read(patient, signal)
  clockMs += 86_400_000
  await reader.read(patient, signal)
  expect(state()).toBe('waiting')
  // Nor for one in which a store did not answer, which may have it.
  isAway = true
  for (let i = 0; i < 15; i++) {
    clockMs += 10_000
    await expect(reader.read(patient, signal)).rejects.toThrow('nobody answers')
  }
  isAway = false
  clockMs += 5_000
  await reader.read(patient, signal)
  expect(state()).toBe('waiting')
  let lookedMs = 0
  for (; state() === 'waiting' && lookedMs < 120_000; lookedMs += 5_000) {
    clockMs += 5_000
    await reader.read(patient, signal)
  }
  expect(state()).toBe('unreadable')
  expect(lookedMs).toBeGreaterThanOrEqual(45_000)
  close()
})

test('what waits until others were judged is not put off by the network', async () => {
  const clockMs = 1_000_000
  const { database, reader, add, close } = setUp({
    nowMs: () => clockMs,
    get: async () => {
      throw new RuntimeError('nobody answers', { code: 'ERR_NO_SOURCE', attempts: [] })
    },
  })
  add(ecg, 1, 1)
  const { signal } = new AbortController()
  await expect(reader.read(patient, signal)).rejects.toThrow('nobody answers')
  expect(reader.isPuttingOff()).toBe(true)
  database.transaction(() => {
    for (let sequence = 2; sequence <= backlogMax.records + 1; sequence++) add(ecg, sequence, 2)
    database.run("UPDATE record SET state = 'open', block = x'00' WHERE sequence > 1")
  })
  expect(await reader.read(patient, signal)).toBe(false)
  expect(reader.isPuttingOff()).toBe(false)
  close()
})
