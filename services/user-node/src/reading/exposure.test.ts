/** The exposure report over real grants and records: before, while, and after. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { OpenVault } from '@healthblock/crypto/vault'
import { toHex } from '@healthblock/encoding/bytes'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { TestHome } from '../../../../test/support/home.ts'
import { type TestDoctor, TestLedger } from '../../../../test/support/ledger.ts'
import { noEnd } from '../consent/compose.ts'
import { listExposure, previewExposure } from './exposure.ts'
import { listGrants } from './lists.ts'

const epochMs = 10_000
const startMs = 1_800_000_000_000
let dir: string
let world: TestLedger
let home: TestHome
let vault: OpenVault
let doctor: TestDoctor

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'exposure-'))
  world = new TestLedger(startMs, epochMs)
  home = new TestHome(world, dir)
  doctor = world.enrolDoctor()
  vault = await home.enrol()
})

afterEach(() => {
  vault.close()
  home.database.close()
  rmSync(dir, { recursive: true })
})

const place = () => ({ database: home.database, person: home.person(), epochLengthMs: epochMs, nowMs: world.nowMs })
const grants = () => listGrants(home.database, home.person(), { ledger: home.ledger, nowMs: world.nowMs })
const report = () => listExposure(place(), toHex(doctor.account))
const grant = (fromMs: number, untilMs: number) =>
  home.consent.grant(home.person(), vault, {
    ...{ to: doctor.account, streams: [home.stream('ecg').stream], fromMs, untilMs },
  })

function seal(count: number): void {
  for (let i = 0; i < count; i++) home.seal()
}

test('before a grant it says what the doctor will be able to read, and afterwards the same is so', async () => {
  seal(25)
  const window = { fromMs: world.nowMs - 12_000, untilMs: noEnd }
  const [before] = previewExposure(place(), {
    ...{ doctor: toHex(doctor.account), streams: [home.stream('ecg')], ...window },
  })
  const epoch = Math.floor(window.fromMs / epochMs)
  const inside = home.records().filter((record) => record.epoch >= epoch).length
  expect(before).toMatchObject({ grant: null, state: 'before', kind: 'ecg', records: inside, stillReadable: false })
  expect(before?.meaning).toMatch(/^If you give this access, this doctor can read \d+ readings of the ECG, measured /)
  await grant(window.fromMs, window.untilMs)
  home.commitAll()
  const [after] = report()
  expect(after).toMatchObject({
    ...{ state: 'open', records: inside, from: before?.from, to: null, stillReadable: true },
    ...{ measuredFrom: before?.measuredFrom, measuredTo: before?.measuredTo },
  })
  expect(Object.keys(after ?? {}).sort()).toEqual(Object.keys(before ?? {}).sort())
})

test('after a revocation it says what may have been copied, and counts nothing that came later', async () => {
  await grant(world.nowMs, noEnd)
  home.commitAll()
  seal(3)
  home.switches.switchOn(home.person(), home.stream('ecg'), { everyMs: 0, rateHz: 100, leads: 1 })
  world.nowMs += 2_000
  home.switches.tend(home.person(), home.stream('ecg'))
  await home.consent.revoke(home.person(), () => true)
  seal(5)
  expect(report()).toMatchObject([{ state: 'ended', records: 3, stillReadable: false, to: expect.any(String) }])
  expect(report()[0]?.meaning).toContain('may hold a copy: no one can take that back')
})

test('of an access that ran out only what lies in its epochs', async () => {
  const untilMs = Math.ceil(world.nowMs / epochMs) * epochMs + epochMs + 3_000
  await grant(world.nowMs, untilMs)
  home.commitAll()
  seal(40)
  const untilEpoch = Math.floor(untilMs / epochMs)
  const inside = home.records().filter(({ epoch }) => epoch < untilEpoch).length
  expect(inside).toBeLessThan(40)
  expect(report()).toMatchObject([{ state: 'expired', records: inside, stillReadable: false }])
})

test('where nothing was recorded there is nothing to copy; a refused access is not called an ended one', async () => {
  await grant(world.nowMs, noEnd)
  home.commitAll()
  await home.consent.revoke(home.person(), () => true)
  home.commitAll()
  expect(report()[0]?.meaning).toContain('there is nothing that this doctor could have copied')
  world.nowMs += 1
  const { tx } = await grant(world.nowMs, noEnd)
  home.database.run("UPDATE consent SET state = 'refused' WHERE tx = ?", tx)
  home.database.run('UPDATE grants SET closed = ? WHERE tx = ?', world.nowMs, tx)
  expect(report().map(({ state }) => state)).toEqual(['ended', 'refused'])
  expect(grants().map(({ state }) => state)).toEqual(['ended', 'refused'])
})

test('a grant is listed with when it was made, and with the time of its block once it is on record', async () => {
  const openedAt = new Date(world.nowMs).toISOString()
  await grant(world.nowMs, noEnd)
  world.nowMs += 5_000
  expect(grants()).toMatchObject([{ openedAt, recordedAt: null }])
  home.commitAll()
  const block = world.ledger.index('userchain').boundary(world.ledger.head('userchain').size)
  expect(grants()).toMatchObject([{ openedAt, recordedAt: new Date(block?.ms ?? 0).toISOString() }])
  expect(block?.ms).toBeGreaterThan(Date.parse(openedAt))
})
