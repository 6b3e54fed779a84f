import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { RuntimeError } from '@healthblock/runtime/errors'
import { createLogger } from '@healthblock/runtime/logger'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import { expect, test } from 'vitest'
import { TestHome } from '../../../../test/support/home.ts'
import { TestLedger } from '../../../../test/support/ledger.ts'
import { UserNodeEvents } from '../events.ts'
import { createLedgerView } from '../follower-view.ts'
import { Diagnoses } from './diagnoses.ts'

const logger = createLogger({ name: 'test', level: 'silent' })

test('diagnoses whose blocks are not to be had hold up none that follow, and are tried again', {
  timeout: 60_000,
}, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'hb-diagnoses-'))
  const world = new TestLedger(1_800_000_000_000)
  const home = new TestHome(world, dir)
  await home.enrol()
  const nowMs = (): number => world.nowMs
  const { database, store: people } = home
  let asked: number[] = []
  let isBack = false
  // One storage node is down: what the others do not have may be there.
  const get = async (cid: Uint8Array): Promise<Uint8Array> => {
    asked.push(cid[0] as number)
    if (cid[0] === 9 || isBack) return new Uint8Array(16_384)
    throw new RuntimeError('no source', { code: 'ERR_NO_SOURCE', attempts: [] })
  }
  const storageOf = (): StorageClient => ({ get }) as unknown as StorageClient
  const events = new UserNodeEvents(logger)
  const ledger = createLedgerView(world.ledger, nowMs)
  const diagnoses = new Diagnoses({ database, people, storageOf, ledger, events, logger, nowMs })
  for (const number of [1, 2, 3, 4, 5, 6, 9]) {
    const bytes = new Uint8Array(32).fill(number)
    database.run(
      `INSERT INTO diagnosis (tx, account, doctor, position, at, generation, epoch, sequence, stream, algorithm, inputs, cid, kind, status)
       VALUES (?, ?, ?, ?, 0, 1, 1, 1, ?, ?, ?, ?, 4, 'preliminary')`,
      ...[bytes, home.person().account, bytes, number, bytes.subarray(0, 8), bytes, encodeCbor([]), bytes],
    )
  }
  const judged = (): number[] =>
    database
      .all('SELECT position FROM diagnosis WHERE severity IS NOT NULL ORDER BY position')
      .map(({ position }) => Number(position))
  await diagnoses.open()
  // Four that nobody answers for: then it is the network.
  expect(asked).toEqual([1, 2, 3, 4])
  await diagnoses.open()
  expect(asked.slice(4)).toEqual([5, 6, 9])
  expect(judged()).toEqual([9])
  asked = []
  await diagnoses.open()
  expect(asked).toEqual([])
  // A person who asks is not told to wait.
  await diagnoses.open(true)
  expect(asked).toEqual([1, 2, 3, 4])
  isBack = true
  world.nowMs += 15_000
  await diagnoses.open()
  expect(judged()).toEqual([1, 2, 3, 4, 5, 6, 9])
  home.database.close()
  rmSync(dir, { recursive: true })
})
