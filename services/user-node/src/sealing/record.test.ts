import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { periodMs, TestHome } from '../../../../test/support/home.ts'
import { TestLedger } from '../../../../test/support/ledger.ts'
import { writeRecord } from '../../../../test/support/record.ts'
import { type Job, RecordJobs } from './record.ts'

let dir: string
let world: TestLedger
let home: TestHome

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'record-jobs-'))
  world = new TestLedger(1_800_000_000_000)
  home = new TestHome(world, dir)
  const vault = await home.enrol()
  vault.close()
})

afterEach(() => {
  home.database.close()
  rmSync(dir, { recursive: true })
})

/** Streams three seconds, with what becomes of sealed batches meanwhile. */
async function stream(deliver: () => void): Promise<Job> {
  const jobs = new RecordJobs({
    ...{ database: home.database, samples: home.samples, sealer: home.sealer, periodMs, patienceMs: 0 },
    ...{ deliver: async () => deliver(), nowMs: () => world.nowMs, stopping: new AbortController().signal },
  })
  const record = await writeRecord(dir, { seconds: 3 })
  const { id } = await jobs.start(home.person(), { record, fromSeconds: 0, toSeconds: undefined, speed: 'max' })
  await expect.poll(() => jobs.find(home.person(), id).state, { timeout: 20_000 }).toBe('done')
  return jobs.find(home.person(), id)
}

test('a recording that no storage node takes waits for storage, by count', async () => {
  const job = await stream(() => {})
  expect(job).toMatchObject({ batches: 3, transactions: [], unsent: 3, unstored: 3 })
})

test('a recording that is stored and cannot be posted waits for the ledger, by count', async () => {
  const job = await stream(() => home.database.run("UPDATE batch SET state = 'stored' WHERE state = 'sealed'"))
  expect(job).toMatchObject({ batches: 3, transactions: [], unsent: 3, unstored: 0 })
})
