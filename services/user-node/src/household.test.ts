/** The node's own rounds over real files and a real ledger, without a network. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { userTables } from '@healthblock/chain/tables'
import { parseTransactionLeaf, signingMessage } from '@healthblock/chain/transaction'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { createLogger } from '@healthblock/runtime/logger'
import { Outbox } from '@healthblock/runtime/outbox'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { canOpen, openAll, type SealedRecord, TestHome } from '../../../test/support/home.ts'
import { TestLedger } from '../../../test/support/ledger.ts'
import { noEnd } from './consent/compose.ts'
import { Erasures } from './consent/erasure.ts'
import { Settlement } from './consent/settlement.ts'
import { UserNodeEvents } from './events.ts'
import { Reclaim } from './files/reclaim.ts'
import { Uploads } from './files/uploads.ts'
import { createLedgerView } from './follower-view.ts'
import { Household } from './household.ts'
import { Rekeys } from './people/rekey.ts'
import { Sessions } from './people/sessions.ts'
import { Diagnoses } from './reading/diagnoses.ts'
import { listGrants } from './reading/lists.ts'
import { Delivery } from './sealing/delivery.ts'
import { SealingGate } from './sealing/gate.ts'
import { streamOfKind } from './sealing/samples.ts'
import type { PersonStream } from './store/person.ts'

const dayMs = 86_400_000
const away = (): Promise<never> => Promise.reject(new Error('no network'))
const logger = createLogger({ name: 'test', level: 'silent' })

let dir: string
let world: TestLedger
let home: TestHome
let outbox: Outbox
let uploads: Uploads

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'household-'))
  world = new TestLedger(1_800_000_000_000)
  home = new TestHome(world, dir)
})
afterEach(async () => {
  await outbox.close()
  home.database.close()
  rmSync(dir, { recursive: true })
})

function absent(): never {
  throw new Error('no network')
}

function openHousehold(
  heard?: Pick<Outbox, 'find'>,
  storageOf: () => StorageClient = absent,
  refresh: () => Promise<boolean> = async () => false,
): Household {
  const nowMs = (): number => world.nowMs
  const ledger = createLedgerView(home.world.ledger, nowMs)
  const client = { submit: away, answers: away, receipt: away, urls: [] }
  outbox = new Outbox({ dir, ledgerId: world.ledger.ledgerId, client, logger })
  const events = new UserNodeEvents(logger)
  const { database, store: people, postings, losses, standing, consent } = home
  const parts = { database, people, postings, outbox, storageOf, ledger, losses, standing, events, logger, nowMs }
  const reclaim = new Reclaim(parts)
  uploads = new Uploads({ ...parts, reclaim })
  const sessions = new Sessions({ dir, consent, nowMs })
  const erasing = { database, people, postings, ledger, standing, consent, sessions, nowMs }
  return new Household({
    ...{ ...home, ...parts, people: home.people, store: home.store },
    ...{ uploads, reclaim },
    sessions,
    erasures: new Erasures({ ...erasing, flush: () => {} }),
    rekeys: new Rekeys({ ...parts, store: people, consent, sessions }),
    settlement: new Settlement({ ...parts, dir, client, consent }),
    delivery: new Delivery({ ...parts, onFinal: () => {} }),
    diagnoses: new Diagnoses(parts),
    outbox: heard ?? outbox,
    refresh,
    isTurnedAway: () => false,
  })
}

/** What is on its way. */
function posted(): { tx: Uint8Array; leaf: Uint8Array }[] {
  const rows = home.database.all("SELECT tx, leaf FROM posting WHERE state = 'pending'")
  return rows.map(({ tx, leaf }) => ({ tx: tx as Uint8Array, leaf: leaf as Uint8Array }))
}

/** The ledger takes all of it. */
function commitPosted(): void {
  for (const { tx, leaf } of posted()) {
    world.commit(leaf)
    home.confirm(tx)
  }
}

test('a node that was without power for a month changes its keys and goes on, before and after the past is forgotten', async () => {
  const vault = await home.enrol()
  vault.close()
  home.bring()
  world.nowMs += 31 * dayMs
  home.restart()
  const household = openHousehold()
  await household.round()
  expect(home.person().hot.generation).toBe(2)
  expect(home.records().map(({ generation }) => generation)).toEqual([2])
  // The same when the past was forgotten first: then no key is left at all.
  world.nowMs += 31 * dayMs
  await home.consent.forget(home.person(), Math.floor(world.nowMs / world.ledger.epochMs))
  home.bring()
  await household.round()
  expect(home.person().hot.generation).toBe(3)
  world.nowMs += 3_000
  await household.round()
  expect(home.records().map(({ generation }) => generation)).toEqual([2, 3])
})

test('somebody who was enrolled by a clock that was wrong lives once it is set right', async () => {
  const sponsor = world.organisation
  const { person, body } = await home.people.create({ name: 'anna', passphrase: 'correct horse battery', sponsor })
  const message = signingMessage({ ledgerId: world.ledger.ledgerId, chain: 'userchain', bodyBytes: body })
  home.people.confirm(person, world.op.sign(message), world.op.publicKey)
  home.commitAll()
  // What the outbox has heard of it.
  const refused = { status: 'refused', addedMs: 0, attempts: 1, rule: 'device.expiry' } as const
  const household = openHousehold({ find: (tx) => ({ ...refused, id: toHex(tx), chain: 'userchain' }) })
  const devices = () => home.database.all("SELECT tx, leaf, state FROM posting WHERE what = 'device' ORDER BY ms")
  world.nowMs -= 7 * dayMs
  await household.round()
  world.nowMs += 7 * dayMs
  const [first] = devices()
  expect(world.judge(first?.leaf as Uint8Array)).toEqual({ verdict: 'refused', rule: 'device.expiry' })
  const tx = first?.tx as Uint8Array
  await household.round()
  expect(devices()).toHaveLength(1)
  home.postings.markFinal(tx, 'refused')
  await household.round()
  const [, second] = devices()
  // One that is refused at once again is not followed by the next at once.
  home.postings.markFinal(second?.tx as Uint8Array, 'refused')
  await household.round()
  expect(devices()).toHaveLength(2)
  world.nowMs += 1_000
  await household.round()
  const [, , third] = devices()
  world.commit(third?.leaf as Uint8Array)
})

test.each([
  ['ahead, and then right', { rule: 'device.counter' }],
  ['wrong, by an outbox that was lost since', undefined],
] as const)('somebody who was enrolled while the clock was %s lives', async (_what, heard) => {
  const sponsor = world.organisation
  const { person, body } = await home.people.create({ name: 'anna', passphrase: 'correct horse battery', sponsor })
  const message = signingMessage({ ledgerId: world.ledger.ledgerId, chain: 'userchain', bodyBytes: body })
  home.people.confirm(person, world.op.sign(message), world.op.publicKey)
  home.commitAll()
  const refused = { status: 'refused', addedMs: 0, attempts: 1, chain: 'userchain' } as const
  const household = openHousehold({ find: (tx) => heard && { ...refused, ...heard, id: toHex(tx) } })
  world.nowMs += 7 * dayMs
  await household.round()
  world.nowMs -= 7 * dayMs
  const [first] = posted()
  expect(world.judge(first?.leaf as Uint8Array)).toEqual({ verdict: 'refused', rule: 'device.counter' })
  home.postings.markFinal(first?.tx as Uint8Array, 'refused')
  for (let round = 0; round < 4; round++) {
    await household.round()
    commitPosted()
    world.nowMs += 60_000
  }
  expect(home.postings.of(person.account).map(({ what, state }) => `${what} ${state}`)).toEqual([
    ...['register committed', 'device refused', 'device committed', 'key committed'],
  ])
  expect(person.state).toBe('live')
})

test('a registration that was refused goes on its way again when its sponsor confirms it again, and then no more', async () => {
  const sponsor = world.organisation
  const { person, body } = await home.people.create({ name: 'anna', passphrase: 'correct horse battery', sponsor })
  const message = signingMessage({ ledgerId: world.ledger.ledgerId, chain: 'userchain', bodyBytes: body })
  const confirm = (): void => home.people.confirm(person, world.op.sign(message), world.op.publicKey)
  openHousehold()
  const waiting = (): string[] => home.postings.unhanded().map(({ what }) => what)
  confirm()
  home.postings.markFinal(person.account, 'refused')
  expect(waiting()).toEqual([])
  confirm()
  expect(waiting()).toEqual(['register'])
  home.commitAll()
  confirm()
  expect(waiting()).toEqual([])
})

test('a stream whose samples cannot be sealed holds up neither the other streams nor the keys', async () => {
  const vault = await home.enrol()
  vault.close()
  home.bring()
  home.database.run("UPDATE sample SET content = x'00'")
  const { stream } = home.stream('vitals')
  const rows = [{ atMs: world.nowMs, sign: 'heart-rate', value: 60 }] as const
  home.samples.add(home.person(), stream, { kind: 'vitals', startMs: world.nowMs, rows: [...rows] })
  world.nowMs += 25 * dayMs
  await openHousehold().round()
  expect(home.person().hot.generation).toBe(2)
  expect([home.records('ecg').length, home.records('vitals').length]).toEqual([0, 1])
})

test('an upload that nobody goes on with for a day ends, and what may be stored of it is noted to be taken back', async () => {
  const vault = await home.enrol()
  vault.close()
  const household = openHousehold()
  const person = home.person()
  const stream = streamOfKind(person, 'records')
  const { sequence } = uploads.begin(person, stream, { name: 'scan.dcm', type: '', sizeBytes: 2_000_000 })
  const part = { sequence, offset: 0, bytes: new Uint8Array(600_000) }
  // The leaves are durable here before anything is put; who knows what of it has arrived.
  await expect(uploads.write(person, stream, part)).rejects.toThrow('no network')
  const count = (table: string): number => Number(home.database.get(`SELECT count(*) AS n FROM ${table}`)?.n)
  const leaves = count('leaf')
  expect(leaves).toBeGreaterThan(1)
  world.nowMs += dayMs - 1
  await household.round()
  expect([count('file'), count('leaf'), count('reclaim')]).toEqual([1, leaves, 0])
  world.nowMs += 3_600_001
  await household.round()
  expect([count('file'), count('leaf'), count('reclaim')]).toEqual([0, 0, leaves])
  expect(() => uploads.state(person, stream, sequence)).toThrow('no such file')
})

test('what is taken back of an upload is taken back again later: a store that was slow may have stored it after that', async () => {
  await home.enrol()
  const asked: number[] = []
  let isBusy = true
  const erase = async (digests: readonly Uint8Array[]): Promise<readonly Uint8Array[]> => {
    asked.push(digests.length)
    return isBusy ? digests : []
  }
  const put = async (): Promise<never> => {
    throw new Error('no network')
  }
  const household = openHousehold(undefined, () => ({ put, erase }) as unknown as StorageClient)
  const person = home.person()
  const stream = streamOfKind(person, 'records')
  const { sequence } = uploads.begin(person, stream, { name: 'scan.dcm', type: '', sizeBytes: 2_000_000 })
  const part = { sequence, offset: 0, bytes: new Uint8Array(600_000) }
  await expect(uploads.write(person, stream, part)).rejects.toThrow('no network')
  uploads.abandon(person, stream, sequence)
  const count = (): number => Number(home.database.get('SELECT count(*) AS n FROM reclaim')?.n)
  const leaves = count()
  const roundAfter = async (ms: number): Promise<void> => {
    world.nowMs += ms
    await household.round()
  }
  await roundAfter(0)
  isBusy = false
  // Refused; done; not asked in between; done again, for the last time.
  for (const ms of [10_000, 299_999, 1, 300_000]) await roundAfter(ms)
  expect(asked).toEqual([leaves, leaves, leaves])
  expect(count()).toBe(0)
})

test('keys that change while a part is being stored end the upload: what of the part was not sealed before never is', async () => {
  const doctor = world.enrolDoctor()
  const vault = await home.enrol()
  const person = home.person()
  const stream = streamOfKind(person, 'records')
  const request = { to: doctor.account, streams: [stream.stream], fromMs: world.nowMs, untilMs: noEnd }
  await home.consent.grant(person, vault, request)
  home.commitAll()
  vault.close()
  let [isRevoked, sizeBytes] = [false, 0]
  const put = async (block: Uint8Array): Promise<unknown> => {
    sizeBytes += block.length
    // The rest of the last part waits until the leaves before it are stored; she does not.
    if (sizeBytes >= 2 ** 20 && !isRevoked) {
      isRevoked = true
      await home.consent.revoke(person, () => true)
    }
    return { receipts: [] }
  }
  openHousehold(undefined, () => ({ put }) as unknown as StorageClient)
  const [first, second] = [240_000, 2 ** 20]
  const file = { name: 'scan.dcm', type: '', sizeBytes: first + second }
  const { sequence } = uploads.begin(person, stream, file)
  await uploads.write(person, stream, { sequence, offset: 0, bytes: new Uint8Array(first).fill(1) })
  const last = { sequence, offset: first, bytes: new Uint8Array(second).fill(2) }
  await expect(uploads.write(person, stream, last)).rejects.toThrow('the keys were changed since the file began')
  expect(isRevoked).toBe(true)
  expect(() => uploads.state(person, stream, sequence)).toThrow('there is no such file')
  const again = uploads.begin(person, stream, file)
  expect([again.sequence, again.offset]).toEqual([sequence + 1, 0])
})

test('an upload that was under way when the folder was copied is not gone on with, and one that begins later is', async () => {
  const vault = await home.enrol()
  vault.close()
  home.seal()
  world.commit(home.iot())
  home.database.run("UPDATE batch SET state = 'committed'")
  const household = openHousehold()
  const { stream } = home.person().streams.find(({ kind }) => kind === 'records') as PersonStream
  const file = { name: 'a.pdf', type: 'application/pdf', sizeBytes: 200_000 }
  const records = { stream, kind: 'records' } as const
  const begun = uploads.begin(home.person(), records, file)
  await household.round()
  expect(uploads.state(home.person(), records, begun.sequence)).toMatchObject({ isStored: false })
  // The folder of before the reading.
  home.database.run('DELETE FROM batch WHERE kind = 0')
  home.database.run('UPDATE stream SET sequence = 0 WHERE stream = ?', home.stream('ecg').stream)
  await household.round()
  expect(() => uploads.state(home.person(), records, begun.sequence)).toThrow('there is no such file')
  const next = uploads.begin(home.person(), records, file)
  await household.round()
  expect(uploads.state(home.person(), records, next.sequence)).toMatchObject({ isStored: false })
})

test('no file is sealed before the node has looked whether its folder is an older copy', async () => {
  const vault = await home.enrol()
  vault.close()
  let isNear = false
  const seen: string[] = []
  const refresh = async (): Promise<boolean> => {
    // Each time it comes nearer, until it is there.
    home.seal()
    world.commit(home.iot())
    return isNear
  }
  const household = openHousehold(undefined, absent, refresh)
  const ready = home.gate.passed(home.person()).then(() => seen.push('ready'))
  await household.round()
  await new Promise((resolve) => setImmediate(resolve))
  expect(seen).toEqual([])
  isNear = true
  await household.round()
  await ready
  expect(seen).toEqual(['ready'])
})

test('who waits for that is told so after a while, and is let through once the node has looked', async () => {
  const vault = await home.enrol()
  vault.close()
  const gate = new SealingGate(0)
  const closed = expect.objectContaining({ detail: { code: 'ERR_CATCHING_UP', retryAfterMs: expect.any(Number) } })
  await expect(gate.passed(home.person())).rejects.toThrowError(closed)
  gate.open(home.person())
  await expect(gate.passed(home.person())).resolves.toBeUndefined()
})

test('a storage network that never answers holds up neither records nor a revocation', async () => {
  const doctor = world.enrolDoctor()
  const vault = await home.enrol()
  const person = home.person()
  const streams = person.streams.map(({ stream }) => stream)
  await home.consent.grant(person, vault, { to: doctor.account, streams, fromMs: world.nowMs, untilMs: noEnd })
  home.commitAll()
  vault.close()
  const hanging = new AbortController()
  let isAsked = false
  const put = (): Promise<never> => {
    isAsked = true
    return new Promise((_, reject) => hanging.signal.addEventListener('abort', () => reject(new Error('gone'))))
  }
  const household = openHousehold(undefined, () => ({ put }) as unknown as StorageClient)
  const stopping = new AbortController()
  home.bring()
  world.nowMs += 3_000
  const running = household.run(stopping.signal)
  await expect.poll(() => isAsked, { timeout: 20_000 }).toBe(true)
  home.bring()
  world.nowMs += 3_000
  await expect.poll(() => home.records().length, { timeout: 20_000 }).toBe(2)
  const { tx } = await home.consent.revoke(person, () => true)
  household.wake()
  await expect.poll(() => outbox.find(tx)?.status, { timeout: 20_000 }).toBe('waiting')
  stopping.abort()
  hanging.abort()
  await running
})

test('a folder from before a grant finds it on the ledger: its doctor reads on, and it can be ended', async () => {
  const early = world.enrolDoctor()
  const late = world.enrolDoctor()
  const vault = await home.enrol()
  const streams = home.person().streams.map(({ stream }) => stream)
  const grant = (to: Uint8Array) =>
    home.consent.grant(home.person(), vault, { to, streams, fromMs: world.nowMs, untilMs: noEnd })
  await grant(early.account)
  const granted = home.commitAll()
  home.database.close()
  const copy = mkdtempSync(join(tmpdir(), 'household-copy-'))
  cpSync(dir, copy, { recursive: true })
  home.open()
  world.nowMs += 1_000
  const { grantId } = await grant(late.account)
  vault.close()
  granted.push(...home.commitAll())
  home.database.close()
  cpSync(copy, dir, { recursive: true })
  rmSync(copy, { recursive: true })
  home.open()
  const list = () => listGrants(home.database, home.person(), { ledger: home.ledger, nowMs: world.nowMs })
  expect(list()).toHaveLength(1)
  const household = openHousehold()
  await household.round()
  expect(list()).toMatchObject([
    { doctor: toHex(early.account), state: 'open', openedBy: expect.any(String) },
    { doctor: toHex(late.account), grant: toHex(grantId), state: 'open', openedBy: null, purpose: 0 },
  ])
  const commitPosted = (): void => {
    const posted = "SELECT tx, leaf FROM posting WHERE what IN ('key', 'envelope') AND state = 'pending' ORDER BY ms"
    for (const { tx, leaf } of home.database.all(posted)) {
      world.commit(leaf as Uint8Array)
      home.confirm(tx as Uint8Array)
      granted.push(leaf as Uint8Array)
    }
  }
  // With keys that both have, and that this node has too.
  world.nowMs += 2_000
  home.bring()
  await household.round()
  commitPosted()
  const sealed = home.records().at(-1) as SealedRecord
  for (const doctor of [early, late])
    expect(canOpen(await openAll(world, home.person(), doctor, granted), sealed.block)).toBe(true)
  // Nothing is taken over twice, and what is ended stays ended.
  await home.consent.revoke(home.person(), (live) => equalBytes(live.grantId, grantId))
  commitPosted()
  world.nowMs += 2_000
  home.bring()
  await household.round()
  expect(list().map(({ state }) => state)).toEqual(['open', 'ended'])
  const after = home.records().at(-1) as SealedRecord
  const opens = async (doctor: typeof early): Promise<boolean> =>
    canOpen(await openAll(world, home.person(), doctor, granted), after.block)
  expect([await opens(early), await opens(late)]).toEqual([true, false])
})

test('a folder from before a grant that changed its keys before it had caught up finds the grant all the same', async () => {
  const doctor = world.enrolDoctor()
  const vault = await home.enrol()
  await openHousehold().round()
  await outbox.close()
  home.database.close()
  const copy = mkdtempSync(join(tmpdir(), 'household-copy-'))
  cpSync(dir, copy, { recursive: true })
  home.open()
  world.nowMs += 1_000
  const streams = home.person().streams.map(({ stream }) => stream)
  const request = { to: doctor.account, streams, fromMs: world.nowMs, untilMs: noEnd }
  const { grantId } = await home.consent.grant(home.person(), vault, request)
  vault.close()
  const granted = home.leaves('key')
  home.database.close()
  cpSync(copy, dir, { recursive: true })
  rmSync(copy, { recursive: true })
  home.open()
  const household = openHousehold()
  // It hears of the grant only with its own next consent.
  world.nowMs += 1_000
  await home.consent.rotate(home.person())
  world.commit(...granted)
  home.commitAll()
  await household.round()
  const list = listGrants(home.database, home.person(), { ledger: home.ledger, nowMs: world.nowMs })
  expect(list).toMatchObject([{ doctor: toHex(doctor.account), grant: toHex(grantId), state: 'open', openedBy: null }])
  expect(home.person().hot.grants).toHaveLength(1)
  expect(home.person().hot.generation).toBe(3)
})

/** The folder as it was before `act`. */
async function turnedBack(act: () => Promise<void>): Promise<void> {
  home.database.close()
  const copy = mkdtempSync(join(tmpdir(), 'household-copy-'))
  cpSync(dir, copy, { recursive: true })
  home.open()
  world.nowMs += 1_000
  await act()
  home.database.close()
  cpSync(copy, dir, { recursive: true })
  rmSync(copy, { recursive: true })
  home.open()
}

const shownGrants = () => listGrants(home.database, home.person(), { ledger: home.ledger, nowMs: world.nowMs })

test('a folder from before a grant whose new keys cannot be written has nothing of it, in memory as on disk, until they can', async () => {
  const doctor = world.enrolDoctor()
  const vault = await home.enrol()
  const streams = home.person().streams.map(({ stream }) => stream)
  await turnedBack(async () => {
    const request = { to: doctor.account, streams, fromMs: world.nowMs, untilMs: noEnd }
    await home.consent.grant(home.person(), vault, request)
    home.commitAll()
  })
  vault.close()
  const household = openHousehold()
  home.database.run("CREATE TRIGGER full BEFORE INSERT ON consent BEGIN SELECT RAISE(ABORT, 'no room'); END")
  await household.round()
  expect([home.person().hot.generation, home.person().hot.grants, shownGrants()]).toEqual([1, [], []])
  home.database.run('DROP TRIGGER full')
  // What is listed has keys, and what has keys is listed.
  await home.consent.rotate(home.person())
  expect([home.person().hot.grants, shownGrants()]).toEqual([[], []])
  world.nowMs += 600_000
  await household.round()
  expect(home.person().hot.grants).toHaveLength(1)
  expect(shownGrants()).toMatchObject([{ doctor: toHex(doctor.account), state: 'open', openedBy: null }])
  expect(home.person().hot.generation).toBe(3)
  home.restart()
  expect(home.person().hot.grants).toHaveLength(1)
})

test('a folder from before a grant, which it hears of only together with its own newer consent, finds it though it had looked before', async () => {
  const doctor = world.enrolDoctor()
  const vault = await home.enrol()
  const streams = home.person().streams.map(({ stream }) => stream)
  let granted: Uint8Array[] = []
  await turnedBack(async () => {
    const request = { to: doctor.account, streams, fromMs: world.nowMs, untilMs: noEnd }
    await home.consent.grant(home.person(), vault, request)
    granted = home.leaves('key')
  })
  vault.close()
  const household = openHousehold()
  await household.round()
  world.nowMs += 600_000
  await home.consent.rotate(home.person())
  world.commit(...granted)
  home.commitAll()
  await household.round()
  expect(shownGrants()).toMatchObject([{ doctor: toHex(doctor.account), state: 'open', openedBy: null }])
  expect(home.person().hot.grants).toHaveLength(1)
})

test('a grant that a gateway refused, and that is on the ledger all the same, is ended there', async () => {
  const doctor = world.enrolDoctor()
  const vault = await home.enrol()
  const household = openHousehold()
  const streams = home.person().streams.map(({ stream }) => stream)
  const request = { to: doctor.account, streams, fromMs: world.nowMs, untilMs: noEnd }
  const { tx, grantId } = await home.consent.grant(home.person(), vault, request)
  vault.close()
  const [granted] = home.leaves('key') as [Uint8Array]
  world.commit(granted)
  home.postings.markHanded(tx)
  home.postings.markFinal(tx, 'refused')
  const settlement = new Settlement({
    ...{ dir, database: home.database, people: home.store, consent: home.consent, logger, client: { receipt: away } },
    ...{ events: new UserNodeEvents(logger), nowMs: () => world.nowMs },
  })
  const lie = { status: 'refused', addedMs: 0, attempts: 1, rule: 'key.counter' } as const
  await settlement.settle(home.person(), { ...lie, id: toHex(tx), chain: 'userchain' })
  expect(shownGrants()).toMatchObject([{ state: 'refused' }])
  world.nowMs += 1_000
  await household.round()
  const posted = "SELECT tx, leaf FROM posting WHERE what = 'key' AND state = 'pending' ORDER BY ms"
  for (const { tx: next, leaf } of home.database.all(posted)) {
    world.commit(leaf as Uint8Array)
    home.confirm(next as Uint8Array)
  }
  const { account } = home.person()
  expect(userTables.grant.get(world.ledger.state('userchain'), account, grantId)?.c).toBeDefined()
  expect(shownGrants()).toMatchObject([{ grant: toHex(grantId), state: 'ended', closedBy: expect.any(String) }])
  const { generation } = home.person().hot
  await household.round()
  expect(home.person().hot.generation).toBe(generation)
})

test('a revocation that was refused is signed again, though the outbox that knew of it was lost before it was noted', async () => {
  const doctor = world.enrolDoctor()
  const vault = await home.enrol()
  const streams = home.person().streams.map(({ stream }) => stream)
  const request = { to: doctor.account, streams, fromMs: world.nowMs, untilMs: noEnd }
  const { grantId } = await home.consent.grant(home.person(), vault, request)
  vault.close()
  home.commitAll()
  const household = openHousehold({ find: () => undefined })
  const { tx } = await home.consent.revoke(home.person(), () => true)
  home.postings.markFinal(tx, 'refused')
  world.nowMs += 60_000
  await household.round()
  commitPosted()
  const { account } = home.person()
  expect(userTables.grant.get(world.ledger.state('userchain'), account, grantId)?.c).toBeDefined()
})

test('more access than one change of keys can end is ended all the same: nobody gets the new keys, and the rest follows', {
  timeout: 120_000,
}, async () => {
  const doctor = world.enrolDoctor()
  const vault = await home.enrol()
  const streams = [home.stream('ecg').stream]
  const household = openHousehold()
  for (let i = 1; i <= 259; i++) {
    const request = { to: doctor.account, streams, fromMs: world.nowMs, untilMs: world.nowMs + i * dayMs }
    await home.consent.grant(home.person(), vault, request)
  }
  vault.close()
  while (home.commitAll().length > 0);
  await home.consent.revoke(home.person(), () => true)
  expect(home.person().hot.grants).toEqual([])
  const ends = (): number[] =>
    home.leaves('key').map((leaf) => (parseTransactionLeaf(leaf).body as unknown as { close: [] }).close.length)
  expect(ends()).toEqual([256])
  // Without a network nothing more is signed, and a further change repeats as many.
  await household.round()
  expect(posted()).toHaveLength(1)
  await home.consent.rotate(home.person())
  expect(home.person().hot.generation).toBe(3)
  commitPosted()
  for (let round = 0; round < 3; round++) {
    world.nowMs += 1_000
    await household.round()
    commitPosted()
  }
  expect(home.person().hot.generation).toBe(4)
  const { account } = home.person()
  const open = [...createLedgerView(world.ledger, () => world.nowMs).openGrants(account)]
  expect(open).toEqual([])
  expect(new Set(shownGrants().map(({ state }) => state))).toEqual(new Set(['ended']))
})

test('a revocation that gateways refused, and that is on the ledger all the same, is known to be on record', async () => {
  const doctor = world.enrolDoctor()
  const vault = await home.enrol()
  const streams = home.person().streams.map(({ stream }) => stream)
  await home.consent.grant(home.person(), vault, { to: doctor.account, streams, fromMs: world.nowMs, untilMs: noEnd })
  vault.close()
  home.commitAll()
  const household = openHousehold({ find: () => undefined })
  const { tx } = await home.consent.revoke(home.person(), () => true)
  const [revocation] = home.leaves('key') as [Uint8Array]
  home.postings.markFinal(tx, 'refused')
  world.nowMs += 60_000
  await household.round()
  world.commit(revocation)
  await household.round()
  const { state, recorded } = home.database.get('SELECT state, recorded FROM consent WHERE tx = ?', tx) ?? {}
  expect([state, recorded]).toEqual(['committed', world.nowMs])
})

test('a receipt that lacks its last part is asked of other nodes too, once it should be there', async () => {
  const doctor = world.enrolDoctor()
  const vault = await home.enrol()
  const streams = home.person().streams.map(({ stream }) => stream)
  const request = { to: doctor.account, streams, fromMs: world.nowMs, untilMs: noEnd }
  await home.consent.grant(home.person(), vault, request)
  vault.close()
  home.commitAll()
  openHousehold()
  const { tx } = await home.consent.revoke(home.person(), () => true)
  home.commitAll()
  home.database.run('UPDATE consent SET recorded = ?, everywhere = ?', world.nowMs, 1)
  home.database.run('UPDATE consent SET everywhere = NULL WHERE tx = ?', tx)
  const [partial, whole] = [2, 3].map((parts) => new TextEncoder().encode(JSON.stringify({ parts: Array(parts) })))
  const settlement = new Settlement({
    ...{ dir, database: home.database, people: home.store, consent: home.consent, logger, nowMs: () => world.nowMs },
    events: new UserNodeEvents(logger),
    // The node that is asked first keeps the last part back.
    client: { receipt: async (_chain, _id, options) => (options?.isOfAny === true ? whole : partial) as Uint8Array },
  })
  const everywhere = (): string | null | undefined => settlement.find(home.person(), toHex(tx))?.refusedEverywhereAt
  await settlement.pursue()
  expect(everywhere()).toBeNull()
  world.nowMs += 10_001
  await settlement.pursue()
  expect(everywhere()).toBe(new Date(world.nowMs).toISOString())
})

test('an access has ended when its node ended it, and once that is on record, at the time of the block', async () => {
  const doctor = world.enrolDoctor()
  const vault = await home.enrol()
  const streams = home.person().streams.map(({ stream }) => stream)
  await home.consent.grant(home.person(), vault, {
    ...{ to: doctor.account, streams },
    ...{ fromMs: world.nowMs, untilMs: noEnd },
  })
  vault.close()
  home.commitAll()
  const closedAt = (): string | null | undefined =>
    listGrants(home.database, home.person(), { ledger: home.ledger, nowMs: world.nowMs })[0]?.closedAt
  expect(closedAt()).toBeNull()
  world.nowMs += 1_000
  const endedMs = world.nowMs
  await home.consent.revoke(home.person(), () => true)
  world.nowMs += 90_000
  expect(closedAt()).toBe(new Date(endedMs).toISOString())
  home.commitAll()
  expect(closedAt()).toBe(new Date(world.nowMs).toISOString())
  expect(world.nowMs).toBeGreaterThanOrEqual(endedMs + 90_000)
})

test('a folder from before a revocation lists the access as ended', async () => {
  const doctor = world.enrolDoctor()
  const vault = await home.enrol()
  const streams = home.person().streams.map(({ stream }) => stream)
  const request = { to: doctor.account, streams, fromMs: world.nowMs, untilMs: noEnd }
  const { grantId } = await home.consent.grant(home.person(), vault, request)
  vault.close()
  home.commitAll()
  home.database.close()
  const copy = mkdtempSync(join(tmpdir(), 'household-copy-'))
  cpSync(dir, copy, { recursive: true })
  home.open()
  world.nowMs += 1_000
  await home.consent.revoke(home.person(), () => true)
  home.commitAll()
  const endedMs = world.nowMs
  home.database.close()
  cpSync(copy, dir, { recursive: true })
  rmSync(copy, { recursive: true })
  home.open()
  world.nowMs += 1_000
  await openHousehold().round()
  const list = listGrants(home.database, home.person(), { ledger: home.ledger, nowMs: world.nowMs })
  expect(list).toMatchObject([
    { grant: toHex(grantId), state: 'ended', closedAt: new Date(endedMs).toISOString(), closedBy: null },
  ])
  expect(home.person().hot.grants).toEqual([])
})

test('a folder from before a revocation seals nothing for the ex-doctor, though what the revocation cut off never went on record', async () => {
  const doctor = world.enrolDoctor()
  const vault = await home.enrol()
  const streams = home.person().streams.map(({ stream }) => stream)
  await home.consent.grant(home.person(), vault, {
    ...{ to: doctor.account, streams },
    ...{ fromMs: world.nowMs, untilMs: noEnd },
  })
  const granted = home.commitAll()
  vault.close()
  home.seal()
  world.commit(home.iot())
  home.database.close()
  const copy = mkdtempSync(join(tmpdir(), 'household-copy-'))
  cpSync(dir, copy, { recursive: true })
  const behind = world.fork()
  home.open()
  // They wait for the stores; the revocation does not.
  for (let i = 0; i < 3; i++) home.seal()
  await home.consent.revoke(home.person(), () => true)
  const missed = home.commitAll()
  home.database.close()
  cpSync(copy, dir, { recursive: true })
  rmSync(copy, { recursive: true })
  Object.assign(home, { world: behind })
  home.open()
  const refresh = async (): Promise<boolean> => {
    behind.nowMs = world.nowMs
    for (const { verdict } of behind.deliver(missed.splice(0))) expect(verdict).toBe('valid')
    return true
  }
  const household = openHousehold(undefined, absent, refresh)
  world.nowMs += 2_000
  behind.nowMs = world.nowMs
  home.switches.switchOn(home.person(), home.stream('ecg'), { everyMs: 0, rateHz: 100, leads: 1 })
  home.bring()
  const before = home.records().length
  // What a device sent is sealed when it is switched off: soon, not by the request.
  home.switches.switchOff(home.person(), home.stream('ecg'))
  expect(home.records()).toHaveLength(before)
  await household.round()
  const sealed = home.records().at(-1) as SealedRecord
  expect(missed).toEqual([])
  // The numbers up to the cut are gaps: a record of later keys lies beyond it.
  expect(home.records().map(({ kind }) => kind)).toEqual([0, 2, 2, 2, 0])
  expect(sealed).toMatchObject({ sequence: 5, kind: 0 })
  expect(canOpen(await openAll(world, home.person(), doctor, granted), sealed.block)).toBe(false)
  expect(sealed.generation).toBe(3)
  // A ledger that does not answer is not waited for.
  await outbox.close()
  home.bring()
  world.nowMs += 3_000
  await openHousehold(undefined, absent, async () => false).round()
  expect(home.records().at(-1)).toMatchObject({ sequence: 6, generation: 3 })
})

test('a folder from before a revocation that sealed while no ledger answered puts nothing of it on record for the ex-doctor', async () => {
  const doctor = world.enrolDoctor()
  const vault = await home.enrol()
  const streams = home.person().streams.map(({ stream }) => stream)
  const request = { to: doctor.account, streams, fromMs: world.nowMs, untilMs: noEnd }
  await home.consent.grant(home.person(), vault, request)
  const granted = home.commitAll()
  vault.close()
  home.seal()
  world.commit(home.iot())
  home.database.run("UPDATE batch SET state = 'committed'")
  const behind = world.fork()
  Object.defineProperty(behind, 'nowMs', { get: () => world.nowMs, set: () => {} })
  let missed: Uint8Array[] = []
  await turnedBack(async () => {
    // They wait for the stores; the revocation does not, and cuts behind them.
    for (let i = 0; i < 3; i++) home.seal()
    await home.consent.revoke(home.person(), () => true)
    missed = home.commitAll()
  })
  home.database.close()
  Object.assign(home, { world: behind })
  home.open()
  let isAnswering = false
  const refresh = async (): Promise<boolean> => {
    if (isAnswering) behind.deliver(missed.splice(0))
    return isAnswering
  }
  const put = async () => ({ receipts: [] })
  const household = openHousehold(undefined, () => ({ put }) as unknown as StorageClient, refresh)
  // Two readings, sealed under numbers that the cut leaves free, with the doctor's keys, and stored.
  for (let i = 0; i < 2; i++) {
    world.nowMs += 3_000
    home.bring()
    await household.round()
  }
  const posted = () => home.database.all("SELECT 1 FROM posting WHERE what = 'iot'").length
  const sealed = home.records().filter(({ sequence }) => sequence > 1)
  expect(sealed.map(({ sequence, generation }) => [sequence, generation])).toEqual([
    [2, 1],
    [3, 1],
  ])
  expect(canOpen(await openAll(world, home.person(), doctor, granted), sealed[0]?.block as Uint8Array)).toBe(true)
  expect(posted()).toBe(0)
  isAnswering = true
  for (let i = 0; i < 4; i++) {
    world.nowMs += 3_000
    await household.round()
  }
  expect(posted()).toBeGreaterThan(0)
  const held = await openAll(world, home.person(), doctor, granted)
  const after = home.records().filter(({ sequence }) => sequence > 1)
  expect(after.map(({ kind }) => kind)).toEqual([2, 2, 2, 0, 0])
  for (const { kind, block } of after) if (kind === 0) expect(canOpen(held, block)).toBe(false)
})
