/** Who waits for an entry's answer while a round of deliveries that knows nothing of it is under way. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { toHex } from '@healthblock/encoding/bytes'
import { createLogger } from '@healthblock/runtime/logger'
import type { Outbox, OutboxEntry } from '@healthblock/runtime/outbox'
import type { Database } from '@healthblock/runtime/sqlite'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { DoctorNodeEvents } from '../events.ts'
import { openNodeDatabase } from '../store/node-db.ts'
import type { Composer } from './compose.ts'
import { Postings } from './postings.ts'

let dir: string
let postings: Postings
let handed: string[]
let storing: { release: () => void; fail: () => void }[]
let database: Database
let clockMs: number

const id = (byte: number): Uint8Array => new Uint8Array(32).fill(byte)

/** The edges of the network: what is put waits until the test lets it go; what is handed over is answered at once. */
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'postings-'))
  database = openNodeDatabase(join(dir, 'doctor.db'))
  handed = []
  clockMs = 1_800_000_000_000
  storing = []
  const put = (): Promise<void> =>
    new Promise((release, reject) => storing.push({ release, fail: () => reject(new Error('out of reach')) }))
  const entry = (tx: Uint8Array): OutboxEntry | undefined =>
    handed.includes(toHex(tx)) ? ({ id: toHex(tx), status: 'committed' } as OutboxEntry) : undefined
  const outbox = {
    find: entry,
    wait: async (tx: Uint8Array) => entry(tx),
    add: (items: { leaf: Uint8Array }[]) => items.forEach(({ leaf }) => void handed.push(toHex(leaf))),
  }
  const logger = createLogger({ name: 'doctor-node', level: 'silent' })
  postings = new Postings({
    ...{ database, outbox: () => outbox as unknown as Outbox, storage: () => ({ put }) as unknown as StorageClient },
    ...{ composer: {} as Composer, events: new DoctorNodeEvents(logger), logger, nowMs: () => clockMs },
  })
})

afterEach(() => {
  database.close()
  rmSync(dir, { recursive: true })
})

function add(byte: number): Uint8Array {
  const tx = id(byte)
  postings.add({
    ...{ tx, what: 'amend', patient: id(byte), gid: new Uint8Array(16), generation: 1, epoch: 0, sequence: 1 },
    ...{ byHand: true, algorithm: id(9), inputs: [], leaf: tx, block: { block: tx, cid: tx } },
  })
  return tx
}

const turns = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve()
}

test('it is handed over by the next round', async () => {
  const first = add(1)
  const round = postings.deliver(AbortSignal.timeout(60_000))
  const second = add(2)
  const answer = postings.final(second, AbortSignal.timeout(60_000))
  storing.shift()?.release()
  await round
  expect(handed).toEqual([toHex(first)])
  await turns()
  storing.shift()?.release()
  expect(await answer).toMatchObject({ id: toHex(second), status: 'committed' })
})

test('if its block cannot be stored, the answer says that it is on its way', async () => {
  const answer = postings.final(add(1), AbortSignal.timeout(60_000))
  storing.shift()?.fail()
  await expect(answer).rejects.toMatchObject({ detail: { code: 'ERR_STILL_PENDING' } })
})

test('a block that cannot be stored holds up none of another patient, and is tried again', async () => {
  const [first, second] = [add(1), add(2)]
  const round = postings.deliver(AbortSignal.timeout(60_000))
  storing.shift()?.fail()
  await expect.poll(() => storing.length).toBe(1)
  storing.shift()?.release()
  expect(await round).toBe(false)
  expect(handed).toEqual([toHex(second)])
  // Whoever waits for it is told, and does not spin.
  await expect(postings.final(first, AbortSignal.timeout(60_000))).rejects.toMatchObject({
    detail: { code: 'ERR_STILL_PENDING' },
  })
  clockMs += 1_000
  const again = postings.deliver(AbortSignal.timeout(60_000))
  storing.shift()?.release()
  expect(await again).toBe(true)
  expect(handed).toEqual([toHex(second), toHex(first)])
})

test('what is on record is found so at a start, though the node was killed before it noted that the outbox has it', async () => {
  const tx = add(1)
  const round = postings.deliver(AbortSignal.timeout(60_000))
  storing.shift()?.release()
  await round
  // As the folder is if that had happened.
  database.run("UPDATE posting SET state = 'stored'")
  for (const entry of postings.unsettled()) postings.settle(entry)
  expect(postings.find(tx)).toMatchObject({ state: 'committed' })
})
