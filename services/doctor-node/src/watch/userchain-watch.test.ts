import type { KeyBody } from '@healthblock/chain/transaction'
import { encodeCbor } from '@healthblock/encoding/cbor'
import type { FollowedBlock } from '@healthblock/runtime/follower'
import { createLogger } from '@healthblock/runtime/logger'
import type { Database } from '@healthblock/runtime/sqlite'
import { beforeEach, expect, test } from 'vitest'
import { TestLedger } from '../../../../test/support/ledger.ts'
import { DoctorNodeEvents } from '../events.ts'
import { openTestDatabase } from '../store/node-db.test-support.ts'
import { Grants } from './grants.ts'
import { UserchainWatch } from './userchain-watch.ts'

const [patient, doctor] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]
const [ecg, vitals] = [new Uint8Array(8).fill(1), new Uint8Array(8).fill(2)]
const [first, second] = [new Uint8Array(16).fill(1), new Uint8Array(16).fill(2)]
const hourMs = 3_600_000

let database: Database
let watch: UserchainWatch
let height: number

beforeEach(() => {
  const opened = openTestDatabase()
  database = opened.database
  height = 0
  const world = new TestLedger(1_800_000_000_000)
  const grants = new Grants({ database, ledger: world.ledger, nowMs: () => 0 })
  const events = new DoctorNodeEvents(createLogger({ name: 'test', level: 'silent' }))
  watch = new UserchainWatch({ database, grants, events, account: () => doctor })
  return opened.remove
})

/** A `key` of the patient's that the ledger took. */
function see(parts: Partial<Pick<KeyBody, 'open' | 'close' | 'env'>>): void {
  const body = { v: 1, t: 'key', a: patient, close: [], open: [], env: [], ...parts }
  const transactions = [{ transaction: { body }, id: patient, index: ++height }]
  const cursor = encodeCbor([height, new Uint8Array(0)])
  const block = { chain: 'userchain', height, firstIndex: height, leaves: [], seal: { ms: 1 }, transactions, cursor }
  watch.see(block as unknown as FollowedBlock)
}

function record(stream: Uint8Array, sequence: number, epoch: number, state: 'waiting' | 'open' | 'foreign'): void {
  database.run(
    `INSERT INTO record (patient, stream, sequence, generation, epoch, kind, size, cid, tx, position, ms, state, block)
     VALUES (?, ?, ?, 1, ?, 0, 1024, ?, ?, ?, 1, ?, ?)`,
    ...[patient, stream, sequence, epoch, patient, patient, sequence, state, state === 'open' ? patient : null],
  )
}

/** Of each record its state, and whether its block is kept. */
const states = (): string[] =>
  database
    .all('SELECT state, block FROM record ORDER BY stream, sequence')
    .map(({ state, block }) => `${state}${block === null ? '' : '+'}`)

test('what grants cover is admitted, window by window and stream by stream, and what none covers any more is dropped', () => {
  for (const stream of [ecg, vitals]) {
    record(stream, 1, 5, 'foreign')
    record(stream, 2, 10, 'foreign')
    record(stream, 3, 20, 'foreign')
  }
  see({ open: [[first, doctor, [ecg, vitals], 5, 10 * hourMs, 3, 0]] })
  expect(states()).toEqual(['waiting', 'foreign', 'foreign', 'waiting', 'foreign', 'foreign'])
  see({ open: [[second, doctor, [ecg], 20, 30 * hourMs, 3, 0]] })
  expect(states()).toEqual(['waiting', 'foreign', 'waiting', 'waiting', 'foreign', 'foreign'])
  record(ecg, 4, 7, 'open')
  record(ecg, 5, 25, 'open')
  record(vitals, 4, 7, 'open')
  see({ close: [first] })
  expect(states()).toEqual([
    ...['foreign', 'foreign', 'waiting', 'open', 'open+'],
    ...['foreign', 'foreign', 'foreign', 'open'],
  ])
  see({ close: [second] })
  expect(states()).toEqual([...Array(3).fill('foreign'), 'open', 'open', ...Array(3).fill('foreign'), 'open'])
})

test('new keys have what waited for them tried again, and end nothing', () => {
  see({ open: [[first, doctor, [ecg], 5, 10 * hourMs, 3, 0]] })
  record(ecg, 1, 5, 'waiting')
  database.run('UPDATE record SET due = 99')
  record(ecg, 2, 6, 'open')
  record(ecg, 3, 7, 'foreign')
  see({ env: [[first, 1, new Uint8Array(1472)]] })
  expect(states()).toEqual(['waiting', 'open+', 'waiting'])
  expect(database.get('SELECT max(due) AS due FROM record')).toEqual({ due: 0 })
})
