/** Sessions over real vault files: what one session adds no other loses, and guesses are counted however they come. */
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newHotStoreKey } from '@healthblock/crypto/hot-store'
import { openVault } from '@healthblock/crypto/vault'
import { toHex } from '@healthblock/encoding/bytes'
import { codeOf } from '@healthblock/runtime/errors'
import { createLogger } from '@healthblock/runtime/logger'
import type { Database } from '@healthblock/runtime/sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { TestLedger } from '../../../../test/support/ledger.ts'
import { noEnd } from '../consent/compose.ts'
import { Consent } from '../consent/consent.ts'
import { UserNodeEvents } from '../events.ts'
import { createLedgerView } from '../follower-view.ts'
import { Alarms } from '../sealing/alarms.ts'
import { loadWrappingKey } from '../store/hot-key.ts'
import { openNodeDatabase } from '../store/node-db.ts'
import { type Person, PersonStore } from '../store/person.ts'
import { Postings } from '../store/postings.ts'
import { OpStanding } from './op-standing.ts'
import { People, vaultPath } from './people.ts'
import { Sessions } from './sessions.ts'

const passphrase = 'correct horse battery'
let dir: string
let world: TestLedger
let database: Database
let consent: Consent
let sessions: Sessions
let person: Person

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sessions-'))
  world = new TestLedger(1_800_000_000_000)
  const nowMs = (): number => world.nowMs
  database = openNodeDatabase(join(dir, 'node.db'))
  const store = new PersonStore(database, newHotStoreKey())
  const ledger = createLedgerView(world.ledger, nowMs)
  const deps = { database, postings: new Postings(database), ledger, nowMs }
  const events = new UserNodeEvents(createLogger({ name: 'test', level: 'silent' }))
  const standing = new OpStanding({ ledger, alarms: new Alarms({ database, events }), nowMs })
  consent = new Consent({ ...deps, standing, people: store, events })
  sessions = new Sessions({ dir, consent, nowMs })
  const people = new People({ ...deps, dir, store })
  person = (await people.create({ name: 'anna', passphrase, sponsor: world.organisation })).person
})

afterEach(() => {
  sessions.closeAll()
  database.close()
  rmSync(dir, { recursive: true })
})

/** Generations of which the vault's file or the hot store's sealed roots hold the roots. */
async function generationsKept(): Promise<number[]> {
  const vault = await openVault({ file: readFileSync(vaultPath(dir, person.account)), passphrase })
  const held = [...vault.contents.nodes]
  for (const sealed of person.hot.sealedRoots) held.push(...(await vault.openRoots(sealed)))
  vault.close()
  return [...new Set(held.map(({ generation }) => generation))].sort((a, b) => a - b)
}

test('two sessions of a person lose nothing of each other', { timeout: 60_000 }, async () => {
  const [portal, console] = [
    await sessions.open(person, passphrase, 'portal'),
    await sessions.open(person, passphrase, 'console'),
  ]
  await consent.rotate(person)
  await sessions.absorbRoots(portal)
  await consent.rotate(person)
  await sessions.absorbRoots(console)
  expect(person.hot.sealedRoots).toEqual([])
  expect(await generationsKept()).toEqual([1, 2, 3])
  sessions.close(portal.id)
  await consent.rotate(person)
  await sessions.absorbRoots(console)
  expect(await generationsKept()).toEqual([1, 2, 3, 4])
})

test('roots are taken over once, whatever happens at the same time', { timeout: 60_000 }, async () => {
  const doctors = [world.enrolDoctor(), world.enrolDoctor()]
  const session = await sessions.open(person, passphrase, 'portal')
  const streams = person.streams.map(({ stream }) => stream)
  const grant = (to: Uint8Array) =>
    consent.grant(person, session.vault, { to, streams, fromMs: world.nowMs, untilMs: noEnd })
  await consent.rotate(person)
  await Promise.all([
    sessions.absorbRoots(session),
    sessions.absorbRoots(session),
    ...doctors.map(({ account }) => grant(account)),
    consent.rotate(person),
    sessions.absorbRoots(session),
    consent.rotate(person),
    sessions.absorbRoots(session),
  ])
  await consent.rotate(person)
  expect(await generationsKept()).toEqual([1, 2, 3, 4, 5])
  await sessions.absorbRoots(session)
  expect(person.hot.sealedRoots).toEqual([])
  expect(await generationsKept()).toEqual([1, 2, 3, 4, 5])
})

test('a login that read the file before another session wrote it and ended loses nothing of that one', {
  timeout: 60_000,
}, async () => {
  const before = await sessions.open(person, passphrase, 'portal')
  await consent.rotate(person)
  const opening = sessions.open(person, passphrase, 'console')
  // The guess has read the file by now and takes a while.
  await new Promise((resolve) => setImmediate(resolve))
  await sessions.absorbRoots(before)
  sessions.close(before.id)
  const after = await opening
  await consent.rotate(person)
  await sessions.absorbRoots(after)
  expect(person.hot.sealedRoots).toEqual([])
  expect(await generationsKept()).toEqual([1, 2, 3])
})

test('a session that is over ends and closes the vault, though nobody asks for it any more', {
  timeout: 60_000,
}, async () => {
  const [idle, used] = [await sessions.open(person, passphrase, 'a'), await sessions.open(person, passphrase, 'b')]
  world.nowMs += 14 * 60_000
  sessions.find(used.id)
  world.nowMs += 2 * 60_000
  sessions.endIdle()
  expect([idle.end.aborted, used.end.aborted]).toEqual([true, false])
  expect(used.vault.contents.rootSeed.some((byte) => byte !== 0)).toBe(true)
  world.nowMs += 14 * 60_000
  sessions.endIdle()
  expect(used.end.aborted).toBe(true)
  expect(() => used.vault.contents).toThrow(expect.objectContaining({ detail: expect.anything() }))
})

test('a session that was opened while the clock was ahead does not last until then', { timeout: 60_000 }, async () => {
  world.nowMs += 2 * 86_400_000
  const session = await sessions.open(person, passphrase, 'portal')
  world.nowMs -= 2 * 86_400_000
  sessions.endIdle()
  expect(session.end.aborted).toBe(true)
})

test('a login that fails behind the passphrase leaves no vault open', { timeout: 60_000 }, async () => {
  const { hot } = person
  person.hot = { ...hot, sealedRoots: [new Uint8Array(2000)] }
  await expect(sessions.open(person, passphrase, 'portal')).rejects.toMatchObject({ name: 'CryptoError' })
  person.hot = hot
  const session = await sessions.open(person, passphrase, 'portal')
  sessions.close(session.id)
  expect(() => session.vault.contents).toThrow(expect.objectContaining({ detail: expect.anything() }))
})

test('a new passphrase is the only one that opens the vault, and ends the other sessions', {
  timeout: 60_000,
}, async () => {
  const newPassphrase = 'sechs Wörter, die neu sind'
  const [portal, console] = [
    await sessions.open(person, passphrase, 'portal'),
    await sessions.open(person, passphrase, 'console'),
  ]
  const change = { passphrase, newPassphrase, source: 'portal', demand: () => {} }
  const changing = sessions.changePassphrase(portal, change)
  // Whoever comes with the old one meanwhile is not let in, or is put out with the others.
  const late = Promise.allSettled(['late', 'later', 'latest'].map((from) => sessions.open(person, passphrase, from)))
  await changing
  for (const one of await late) expect(one.status === 'rejected' || one.value.end.aborted).toBe(true)
  expect(console.end.aborted).toBe(true)
  expect(portal.end.aborted).toBe(false)
  await consent.rotate(person)
  await sessions.absorbRoots(portal)
  sessions.closeAll()
  expect(await sessions.open(person, passphrase, 'portal').catch(codeOf)).toBe('ERR_PASSPHRASE_WRONG')
  const again = await sessions.open(person, newPassphrase.normalize('NFD'), 'portal')
  expect(again.vault.contents.nodes.map(({ generation }) => generation)).toContain(2)
})

test('nothing changes for who does not know the passphrase, shows no second factor, or has left', {
  timeout: 60_000,
}, async () => {
  const session = await sessions.open(person, passphrase, 'portal')
  const change = { passphrase, newPassphrase: 'another passphrase', source: 'portal', demand: () => {} }
  const before = readFileSync(vaultPath(dir, person.account))
  expect(await sessions.changePassphrase(session, { ...change, passphrase: 'wrong horse' }).catch(codeOf)).toBe(
    'ERR_PASSPHRASE_WRONG',
  )
  const refusal = new Error('no code')
  const demand = (): void => {
    throw refusal
  }
  await expect(sessions.changePassphrase(session, { ...change, demand })).rejects.toBe(refusal)
  const leaving = sessions.changePassphrase(session, { ...change, demand: () => sessions.close(session.id) })
  expect(await leaving.catch(codeOf)).toBe('ERR_SESSION_MISSING')
  expect(readFileSync(vaultPath(dir, person.account))).toEqual(before)
  await sessions.open(person, passphrase, 'portal')
})

test('guesses that come together are counted like those that come in turn', { timeout: 60_000 }, async () => {
  const guesses = Array.from({ length: 12 }, (_, i) => sessions.open(person, `wrong guess ${i}`, '192.0.2.1'))
  const outcomes = await Promise.allSettled(guesses)
  const codes = outcomes.map((outcome) => (outcome.status === 'rejected' ? codeOf(outcome.reason) : outcome))
  expect(codes.filter((code) => code === 'ERR_PASSPHRASE_WRONG')).toHaveLength(5)
  expect(codes.filter((code) => code === 'ERR_TOO_MANY_TRIES')).toHaveLength(7)
  await expect(sessions.open(person, passphrase, '192.0.2.1')).rejects.toMatchObject({
    detail: { code: 'ERR_TOO_MANY_TRIES' },
  })
  // Somebody elsewhere is not locked out by them.
  expect((await sessions.open(person, passphrase, '192.0.2.2')).person).toBe(person)
})

test('a name that nobody has is answered like one that somebody has: tried, counted, barred', {
  timeout: 60_000,
}, async () => {
  const outcomes = []
  for (let guess = 0; guess < 7; guess++)
    outcomes.push(await sessions.openNobody('eve', person, '192.0.2.1').catch((error: unknown) => codeOf(error)))
  expect(outcomes).toEqual([...Array(5).fill('ERR_PASSPHRASE_WRONG'), ...Array(2).fill('ERR_TOO_MANY_TRIES')])
  // Tries at other names, and of the person herself, are counted apart.
  await expect(sessions.openNobody('eva', person, '192.0.2.1')).rejects.toMatchObject({
    detail: { code: 'ERR_PASSPHRASE_WRONG' },
  })
  expect((await sessions.open(person, passphrase, '192.0.2.1')).person).toBe(person)
})

test('a vault that is not there is not called a wrong passphrase', async () => {
  const path = vaultPath(dir, person.account)
  renameSync(path, `${path}.away`)
  await expect(sessions.open(person, passphrase, 'console')).rejects.toMatchObject({
    message: expect.stringContaining('vault is missing'),
    detail: { code: 'ERR_VAULT_MISSING' },
  })
  renameSync(`${path}.away`, path)
  expect((await sessions.open(person, passphrase, 'console')).person).toBe(person)
})

test('a hot.key that is gone, damaged or another one keeps the node from starting, and is not made anew', () => {
  const path = join(dir, 'hot.key')
  const load = () => new PersonStore(database, loadWrappingKey(dir, database))
  const code = expect.objectContaining({ detail: { code: 'ERR_HOT_KEY_WRONG' } })
  expect(load).toThrow(code)
  expect(existsSync(path)).toBe(false)
  for (const content of ['', 'no key', toHex(newHotStoreKey())]) {
    writeFileSync(path, content)
    expect(load).toThrow(code)
    expect(load).toThrow('restore it from a backup')
    expect(readFileSync(path, 'utf8')).toBe(content)
  }
})
