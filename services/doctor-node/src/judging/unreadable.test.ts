import { createLogger } from '@healthblock/runtime/logger'
import { expect, test } from 'vitest'
import type { Composer } from '../posting/compose.ts'
import type { NewPosting, Postings } from '../posting/postings.ts'
import { openTestDatabase } from '../store/node-db.test-support.ts'
import type { Grant, Grants } from '../watch/grants.ts'
import { UnreadableReports } from './unreadable.ts'

test('what no grant covers any more, however much it is, keeps nothing that is covered from being reported', () => {
  const { database, remove } = openTestDatabase()
  const patient = new Uint8Array(32).fill(7)
  const [ecg, vitals] = [new Uint8Array(8).fill(1), new Uint8Array(8).fill(2)]
  const add = (stream: Uint8Array, sequence: number, epoch: number): void => {
    database.run(
      `INSERT INTO record (patient, stream, sequence, generation, epoch, kind, size, cid, tx, position, ms, state, code)
       VALUES (?, ?, ?, 1, ?, 0, 1024, ?, ?, ?, 1, 'unreadable', 1)`,
      ...[patient, stream, sequence, epoch, patient, patient, sequence],
    )
  }
  database.transaction(() => {
    for (let sequence = 1; sequence <= 300; sequence++) add(ecg, sequence, 1)
    for (let sequence = 301; sequence <= 303; sequence++) add(ecg, sequence, 2)
    add(vitals, 1, 2)
  })
  const grant = { patient, gid: new Uint8Array(16), streams: [ecg], fromEpoch: 2, untilEpoch: 3, rights: 3 }
  const said: NewPosting[] = []
  const reports = new UnreadableReports({
    ...{ database, logger: createLogger({ name: 'test', level: 'silent' }) },
    grants: { live: () => [grant as unknown as Grant] } as unknown as Grants,
    composer: {
      ...{ account: () => patient, basis: () => [2, patient] },
      sign: () => ({ tx: new Uint8Array(32).fill(said.length + 1), leaf: new Uint8Array(1) }),
    } as unknown as Composer,
    postings: { add: (posting: NewPosting) => said.push(posting) } as unknown as Postings,
  })
  for (let times = 0; times < 2; times++) reports.report(patient)
  expect(said.map(({ inputs }) => inputs)).toEqual([[[ecg, 301, 303]]])
  remove()
})
