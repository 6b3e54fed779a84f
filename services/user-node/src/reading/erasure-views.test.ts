import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { toHex } from '@healthblock/encoding/bytes'
import { createLogger } from '@healthblock/runtime/logger'
import type { ErasureStanding, StorageClient } from '@healthblock/runtime/storage-client'
import { expect, test } from 'vitest'
import { TestHome } from '../../../../test/support/home.ts'
import { TestLedger } from '../../../../test/support/ledger.ts'
import { Erasures } from '../consent/erasure.ts'
import type { Session } from '../people/sessions.ts'
import type { Person, PersonStream } from '../store/person.ts'
import { ErasureViews } from './erasure-views.ts'
import { markFetched } from './fetched.ts'

test('an erasure is shown before it is done, and afterwards as each store says of its own copies', {
  timeout: 60_000,
}, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'hb-erasures-'))
  const world = new TestLedger(1_800_000_000_000)
  const home = new TestHome(world, dir)
  const vault = await home.enrol()
  const doctor = world.enrolDoctor().account
  const { database, consent, store: people, postings, standing, ledger } = home
  const nowMs = (): number => world.nowMs
  for (let i = 0; i < 3; i++) {
    home.seal()
    world.nowMs += 60_000
  }
  database.run("UPDATE batch SET state = 'committed'")
  const person = home.person()
  const ecg = home.stream('ecg')
  for (const sequence of [1, 3])
    markFetched(database, { account: person.account, reader: doctor, stream: ecg.stream, sequence })
  const said: Record<string, (digests: readonly Uint8Array[]) => ErasureStanding[]> = {
    told: (digests) => digests.map(() => ({ state: 'erasing', removeAtMs: world.nowMs + 1_000 })),
    partly: ([, ...others]) => [{ state: 'kept' }, ...others.map((): ErasureStanding => ({ state: 'gone' }))],
    empty: (digests) => digests.map(() => ({ state: 'gone' })),
  }
  const erasureStanding: StorageClient['erasureStanding'] = async (digests, { url }) => {
    const says = said[url]
    if (says === undefined) throw new Error('nobody there')
    return says(digests)
  }
  const views = new ErasureViews({
    ...{ database, ledger, nowMs, urls: ['told', 'partly', 'empty', 'away'] },
    storageOf: () => ({ erasureStanding }) as unknown as StorageClient,
    logger: createLogger({ name: 'test', level: 'silent' }),
  })
  const sessions = { absorbRoots: async () => {}, saveVault: () => {} }
  const parts = { database, people, postings, consent, standing, sessions, nowMs, ledger, flush: () => {} }
  const erasures = new Erasures(parts)
  const wanted = { streams: [ecg, home.stream('vitals')], fromMs: world.nowMs - 3_600_000, untilMs: world.nowMs }
  world.nowMs += 7_200_000
  const preview = () => views.preview(person, { ...erasures.epochsOf(wanted), ...wanted })
  expect(preview()).toMatchObject({
    streams: [
      { kind: 'ecg', records: 3 },
      { kind: 'vitals', records: 0, measuredFrom: null },
    ],
    readers: [{ doctor: toHex(doctor), hasAccess: false, fetched: 2 }],
    ...{ diagnoses: 0, erasedBy: null },
  })
  expect(views.list(person)).toEqual([])
  const { tx } = await erasures.erase({ person, vault } as Session, wanted, 0)
  const id = toHex(tx as Uint8Array)
  expect(preview()).toMatchObject({ erasedBy: id, streams: [{ records: 0 }, { records: 0 }] })
  expect(await views.find(person, id)).toMatchObject({
    ...{ transactionId: id, state: 'waiting', blocks: 3, asked: 3 },
    streams: [{ kind: 'ecg', records: 3 }],
    stores: [
      { place: 1, state: 'serving', removeAt: new Date(world.nowMs + 1_000).toISOString() },
      { place: 2, state: 'unheard', removeAt: null, gone: 2 },
      { place: 3, state: 'gone', gone: 3 },
      { place: 4, state: 'away' },
    ],
  })
  expect(await views.find(person, 'ab'.repeat(32))).toBeUndefined()
  postings.markFinal(tx as Uint8Array, 'committed')
  expect(views.list(person)).toMatchObject([{ transactionId: id, state: 'recorded' }])
  // What was measured then and came late is sealed under the keys of now: it is told, not counted among what goes.
  const pieceMs = wanted.untilMs - 120_000
  home.samples.add(person, ecg.stream, {
    ...{
      kind: 'ecg',
      startMs: pieceMs,
      rateMilliHz: 100_000,
      leads: ['ii'],
      unit: 'mv',
      gainMilli: 200_000,
      baseline: 0,
    },
    samples: new Int16Array(100),
  })
  const until = new Date((Math.floor(world.nowMs / world.ledger.epochMs) + 1) * world.ledger.epochMs).toISOString()
  const late = { late: { records: 1, until }, erasedBy: id, streams: [{ records: 0 }, { records: 0 }] }
  expect(preview()).toMatchObject(late)
  home.sealer.seal(person, ecg, true)
  expect(preview()).toMatchObject(late)
  expect(views.late(person, { ...erasures.epochsOf(wanted), ...wanted })).toEqual(late.late)
  const longer = { ...wanted, untilMs: Date.parse(until) }
  expect(views.preview(person, { ...erasures.epochsOf(longer), ...longer })).toMatchObject({
    ...{ late: null, erasedBy: null, streams: [{ records: 1 }, { records: 0 }] },
  })
  database.close()
  rmSync(dir, { recursive: true })
})

test('of the hour that goes on, what was measured after the end of an erased period does not make it another one', {
  timeout: 60_000,
}, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'hb-erasures-'))
  const world = new TestLedger(1_800_000_000_000)
  const home = new TestHome(world, dir)
  const vault = await home.enrol()
  const { database, consent, store: people, postings, standing, ledger, sealer } = home
  const nowMs = (): number => world.nowMs
  const person = home.person()
  home.seal()
  database.run("UPDATE batch SET state = 'committed'")
  const views = new ErasureViews({
    ...{ database, ledger, nowMs, urls: [] },
    storageOf: () => ({}) as unknown as StorageClient,
    logger: createLogger({ name: 'test', level: 'silent' }),
  })
  const sessions = { absorbRoots: async () => {}, saveVault: () => {} }
  const flush = (of: Person, stream: PersonStream): void => void sealer.seal(of, stream, true)
  const erasures = new Erasures({ database, people, postings, consent, standing, sessions, nowMs, ledger, flush })
  const wanted = { streams: [home.stream('ecg')], fromMs: world.nowMs - 3_600_000, untilMs: world.nowMs }
  const preview = () => views.preview(person, { ...erasures.epochsOf(wanted), ...wanted }).erasedBy
  const session = { person, vault } as Session
  const { tx } = await erasures.erase(session, wanted, 0)
  world.nowMs += 1_000
  for (const bring of [() => home.bring(), () => home.seal()]) {
    bring()
    // What the page says beforehand is what the node then does.
    expect(preview()).toBe(toHex(tx as Uint8Array))
    database.run("UPDATE batch SET state = 'committed'")
    expect(await erasures.erase(session, wanted, 0)).toMatchObject({ isRepeated: true, tx })
  }
  // Signed again, it is found by its former id, too: her page has that in its address.
  const id = toHex(tx as Uint8Array)
  postings.markFinal(tx as Uint8Array, 'refused')
  erasures.settle(person, { id, chain: 'userchain', status: 'refused', addedMs: 0, attempts: 1, rule: 'erase.expiry' })
  const transactionId = views.list(person)[0]?.transactionId
  expect(transactionId).not.toBe(id)
  expect(await views.find(person, id)).toMatchObject({ transactionId, state: 'waiting', blocks: 1 })
  database.close()
  rmSync(dir, { recursive: true })
})
