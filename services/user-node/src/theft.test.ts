/**
 * A thief of a person's op key, and how root takes the household back: the node's own rounds over real files, against version 4 of the
 * ledger's real rules, with a storage network that takes everything.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { userTables } from '@healthblock/chain/tables'
import { type IotRecord, type KeyBody, signTransaction, type TransactionBody } from '@healthblock/chain/transaction'
import { randomBytes } from '@healthblock/crypto/random'
import { type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import type { OpenVault } from '@healthblock/crypto/vault'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { createLogger } from '@healthblock/runtime/logger'
import type { OutboxEntry } from '@healthblock/runtime/outbox'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { canOpen, openAll, TestHome } from '../../../test/support/home.ts'
import { type TestDoctor, TestLedger } from '../../../test/support/ledger.ts'
import { noEnd } from './consent/compose.ts'
import { Erasures } from './consent/erasure.ts'
import { Settlement } from './consent/settlement.ts'
import { UserNodeEvents } from './events.ts'
import { listFiles } from './files/file-list.ts'
import { Reclaim } from './files/reclaim.ts'
import { Uploads } from './files/uploads.ts'
import { createLedgerView } from './follower-view.ts'
import { Household } from './household.ts'
import { Rekeys } from './people/rekey.ts'
import type { Session } from './people/sessions.ts'
import { Sessions } from './people/sessions.ts'
import { Diagnoses } from './reading/diagnoses.ts'
import { Delivery } from './sealing/delivery.ts'
import { streamOfKind } from './sealing/samples.ts'

const logger = createLogger({ name: 'test', level: 'silent' })
const [kindData, kindGap] = [0, 2]

let dir: string
let world: TestLedger
let home: TestHome
let vault: OpenVault
let household: Household
let delivery: Delivery
let rekeys: Rekeys
let uploads: Uploads
let erasures: Erasures
let finished: Map<string, OutboxEntry>

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'theft-'))
  await begin(4)
})

/** A household on a ledger under a version of the rules. */
async function begin(rules: number): Promise<void> {
  world = new TestLedger(1_800_000_000_000, 3_600_000, rules)
  home = new TestHome(world, dir)
  vault = await home.enrol()
  finished = new Map()
  brought = []
  committed = []
  isStorageAway = false
  isTurnedAway = false
  openHousehold()
}

afterEach(() => {
  vault.close()
  home.database.close()
  rmSync(dir, { recursive: true })
})

/** `seen`: the ledger as far as the node may read it. */
function openHousehold(seen = world.ledger): void {
  const nowMs = (): number => world.nowMs
  const { database, store: people, postings, losses, standing, consent } = home
  const ledger = createLedgerView(seen, nowMs)
  const events = new UserNodeEvents(logger)
  const away = (): Promise<never> => Promise.reject(new Error('no network'))
  const put = async () => (isStorageAway ? away() : { receipts: [] })
  const storage = { put, erase: async () => [] }
  const storageOf = (): StorageClient => storage as unknown as StorageClient
  const outbox = { add: () => [], find: (tx: Uint8Array) => finished.get(toHex(tx)), pending: () => 0 }
  const parts = { database, people, postings, ledger, losses, standing, consent, events, logger, nowMs, storageOf }
  const settlement = new Settlement({ ...parts, dir, client: { receipt: away } })
  delivery = new Delivery({
    ...{ ...parts, outbox: outbox as never },
    onFinal: ({ what, account }, entry) => {
      const person = people.byAccount(account)
      if (person !== undefined && what === 'key') settling.push(settlement.settle(person, entry))
      if (person !== undefined && what === 'erase') erasures.settle(person, entry)
    },
  })
  const reclaim = new Reclaim(parts)
  uploads = new Uploads({ ...parts, reclaim })
  const sessions = new Sessions({ dir, consent, nowMs })
  rekeys = new Rekeys({ ...parts, store: people, sessions })
  erasures = new Erasures({ ...parts, sessions, flush: () => {} })
  household = new Household({
    ...{
      ...home,
      ...parts,
      people: home.people,
      store: people,
      sessions,
      rekeys,
      erasures,
      settlement,
      delivery,
      reclaim,
    },
    ...{
      uploads,
      diagnoses: new Diagnoses(parts),
      outbox,
      refresh: async () => true,
      isTurnedAway: () => isTurnedAway,
    },
  })
}

const settling: Promise<void>[] = []
/** Everything of the household that the ledger took. */
let committed: Uint8Array[]
let brought: number[]
let isStorageAway: boolean
let isTurnedAway: boolean

/** What waits goes to the ledger, in whatever order it takes it; refusals come back. */
async function exchange(): Promise<void> {
  for (let isMoving = true; isMoving; ) {
    isMoving = false
    const rows = home.database.all(
      "SELECT tx, leaf, requires FROM posting WHERE state = 'pending' AND handed = 1 ORDER BY ms",
    )
    for (const { tx, leaf } of rows as { tx: Uint8Array; leaf: Uint8Array }[]) {
      const verdict = world.judge(leaf)
      if (verdict.verdict === 'deferred') continue
      if (verdict.verdict === 'valid') {
        world.commit(leaf)
        committed.push(leaf)
      }
      const status = verdict.verdict === 'valid' ? 'committed' : 'refused'
      const rule = verdict.verdict === 'refused' ? { rule: verdict.rule } : {}
      const entry = { id: toHex(tx), chain: 'userchain', status, addedMs: 0, attempts: 1, ...rule } as const
      finished.set(entry.id, entry)
      delivery.settle(entry)
      await Promise.all(settling.splice(0))
      isMoving = true
    }
  }
}

/** Rounds of the node; a device brings a second of ECG in each. */
async function bring(rounds: number, then: () => Promise<unknown> = async () => {}): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    world.nowMs += 1000
    home.bring()
    brought.push(world.nowMs)
    await household.round()
    await then()
  }
}

/** The same, and what the ledger makes of them. */
const live = (rounds: number): Promise<void> => bring(rounds, exchange)
const generationsOfReadings = (): number[] =>
  home
    .records()
    .filter(({ kind }) => kind === kindData)
    .map(({ generation: of }) => of)

const state = () => world.ledger.state('userchain')
const account = () => home.person().account
const ecg = () => home.stream('ecg').stream
const recorded = (): number => userTables.last.get(state(), account(), ecg())?.[0] ?? 0
const generation = (): number => userTables.currentGeneration.get(state(), account()) ?? 0

/** Somebody with the op key of now. */
class Thief {
  readonly #op: SigningKey = signingKeyFromSeed(home.person().hot.opSeed)

  leaf(body: TransactionBody): Uint8Array {
    const signers = [{ account: account(), key: 1, signingKey: this.#op }]
    return signTransaction({ ledgerId: world.ledger.ledgerId, chain: 'userchain', body, signers }).leaf
  }

  #consent() {
    const n = Math.max(world.nowMs, (userTables.counter.get(state(), account()) ?? 0) + 1)
    return { v: 1, a: account(), n, x: world.nowMs + 3_600_000 } as const
  }

  /** A `key` of the next generation that cuts each open stream `ahead` of its newest record. */
  rotation(ahead: number, step = 1): Uint8Array {
    const { size, root } = world.ledger.head('userchain')
    const current = generation()
    const streams = userTables.openStreams.get(state(), account()) ?? []
    const cut = streams.flatMap((stream) => {
      const before = userTables.cut.get(state(), account(), stream, current - 1)?.last ?? 0
      const last = Math.max(before, (userTables.last.get(state(), account(), stream)?.[0] ?? 0) + ahead)
      return Array.from({ length: step }, (_, i) => [stream, current + i, last] as const)
    })
    const lists = { cut, close: [], open: [], env: [] }
    const body: KeyBody = {
      ...this.#consent(),
      t: 'key',
      gen: current + step,
      first: 0,
      ...lists,
      why: 3,
      seen: [size, root],
    }
    return this.leaf(body)
  }

  device(stream: Uint8Array): Uint8Array {
    const fields = { dev: randomBytes(16), act: 1, streams: [stream], cert: randomBytes(32) }
    return this.leaf({ ...this.#consent(), t: 'device', ...fields })
  }

  /** Records of nothing, under the next numbers of a stream. */
  junk(count: number, gen = generation(), stream = ecg()): Uint8Array {
    const [last, epoch] = userTables.last.get(state(), account(), stream) ?? [0, Math.floor(world.nowMs / 3_600_000)]
    const size = userTables.streamClass.get(state(), account(), stream, gen) ?? 4096
    const r = Array.from({ length: count }, (_, i): IotRecord => {
      return [stream, last + 1 + i, gen, epoch, kindData as number, size, randomBytes(32)]
    })
    return this.leaf({ v: 1, t: 'iot', a: account(), r })
  }
}

/** Her session: she has her passphrase. */
function session(): Session {
  return { person: home.person(), vault } as unknown as Session
}

/** True if the reading of a moment is in a record that is on the ledger or on its way, or waits to be sealed. */
function isKept(ms: number): boolean {
  const at = [ecg(), ms, ms]
  const isSealed = home.database.get(
    'SELECT 1 FROM batch WHERE stream = ? AND kind = 0 AND start <= ? AND until > ?',
    ...at,
  )
  return (
    (isSealed ?? home.database.get('SELECT 1 FROM sample WHERE stream = ? AND start <= ? AND until > ?', ...at)) !==
    undefined
  )
}

/** True if the newest record of the ECG on the ledger is this node's, of its newest keys. */
function isGoingOn(): boolean {
  const row = home.database.get(
    "SELECT generation, kind FROM batch WHERE stream = ? AND sequence = ? AND state = 'committed'",
    ...[ecg(), recorded()],
  )
  return Number(row?.generation) === home.person().hot.generation && Number(row?.kind) === kindData
}

/** Lets the node go on until it is through, or it takes too long. */
async function recover(): Promise<void> {
  // A new op key is on record after the first round, and this node's after the second.
  await live(3)
  for (let rounds = 0; rounds < 40 && !(isGoingOn() && isUpToDate()); rounds++) await live(1)
}

/** The ledger has this node's newest keys, and nothing waits for it but the last readings. */
function isUpToDate(): boolean {
  const waiting = home.database.get("SELECT count(*) AS n FROM batch WHERE state <> 'committed'")
  return generation() === home.person().hot.generation && Number(waiting?.n) < 4
}

describe('a household whose op key was stolen', { timeout: 120_000 }, () => {
  test('is taken back by root: its streams go on beyond what the thief cut and wrote, with new keys, and he is shut out', async () => {
    await live(5)
    const before = recorded()
    expect(before).toBeGreaterThan(2)
    const thief = new Thief()
    const stream = randomBytes(8)
    world.commit(thief.device(stream))
    world.commit(thief.junk(3, generation(), stream))
    world.commit(thief.junk(7))
    world.commit(thief.rotation(2_100, 16))
    world.commit(thief.junk(5, 1))
    const stolen = home.person().opKey.publicKey
    const tx = rekeys.begin(session())
    // Asked again it is the same one.
    expect(rekeys.begin(session())).toEqual(tx)
    await recover()
    expect(home.person().nextOp).toBeUndefined()
    expect(home.person().opKey.publicKey).not.toEqual(stolen)
    for (const leaf of [thief.rotation(10), thief.junk(1), thief.device(randomBytes(8))]) {
      expect(world.judge(leaf)).toMatchObject({ verdict: 'refused', rule: expect.stringMatching(/\.signature$/) })
    }
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
    expect(generation()).toBeGreaterThan(17)
    expect(recorded()).toBeGreaterThan(before + 2_107)
    expect(brought.filter((ms) => !isKept(ms))).toEqual([])
    // What nobody measured is a gap, told once for many numbers.
    expect(home.records().filter(({ kind }) => kind === kindGap).length).toBeGreaterThan(2_000)
    expect(home.alarms.list(home.person()).filter(({ code }) => code === 'stream.gap').length).toBeLessThan(30)
    // And she hears that it was not this node.
    const told = home.alarms.list(home.person()).filter(({ code }) => code === 'keys.foreign')
    expect(told).toMatchObject([{ severity: 'high', about: '0000000000000011' }])
    // A restart changes nothing.
    home.restart()
    openHousehold()
    await live(5)
    expect(home.person().opKey.publicKey).not.toEqual(stolen)
    expect(isGoingOn()).toBe(true)
    expect(home.alarms.list(home.person()).filter(({ code }) => code === 'keys.foreign')).toEqual(told)
  })

  test('seals anew what waited under numbers and a generation that the thief took, while nothing could be stored', async () => {
    await live(3)
    isStorageAway = true
    // Her own rotation is on its way when his comes on record.
    await live(3)
    await home.consent.rotate(home.person())
    await household.round()
    await home.consent.rotate(home.person())
    const thief = new Thief()
    world.commit(thief.rotation(300))
    world.commit(thief.junk(4, 1))
    await live(4)
    isStorageAway = false
    await recover()
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
    expect(brought.filter((ms) => !isKept(ms))).toEqual([])
    // Under a number between there may be a gap, and none of her readings.
    rekeys.begin(session())
    await recover()
    expect(world.judge(thief.rotation(1))).toMatchObject({ rule: 'key.signature' })
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
    expect(brought.filter((ms) => !isKept(ms))).toEqual([])
  })

  test('leaves nothing on record that is sealed with its own keys of a generation that the thief opened: her doctors would read none of it', async () => {
    await live(2)
    isStorageAway = true
    await home.consent.rotate(home.person())
    await bring(3)
    expect(home.records().at(-1)).toMatchObject({ generation: 2, kind: kindData })
    world.commit(new Thief().rotation(0))
    await live(2)
    isStorageAway = false
    await recover()
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
    expect(generationsOfReadings()).not.toContain(2)
    expect(brought.filter((ms) => !isKept(ms))).toEqual([])
  })

  test('says of a file whose number the thief took that it is lost, and takes it again', async () => {
    await live(2)
    const records = streamOfKind(home.person(), 'records')
    const send = async (): Promise<number> => {
      const { sequence } = uploads.begin(home.person(), records, { name: 'scan.dcm', type: '', sizeBytes: 50_000 })
      await uploads.write(home.person(), records, { sequence, offset: 0, bytes: new Uint8Array(50_000) })
      return sequence
    }
    const first = await send()
    world.commit(new Thief().junk(1, 1, records.stream))
    rekeys.begin(session())
    await recover()
    const states = () => listFiles(home.database, account(), records.stream).map(({ state: of }) => of)
    expect(states()).toEqual(['lost'])
    const second = await send()
    expect(second).toBeGreaterThan(first)
    await live(3)
    expect(states()).toEqual(['lost', 'on record'])
  })

  test('begins no file with keys that the thief ended, and interrupts one that was under way, before its bytes are lost', async () => {
    await live(2)
    const records = streamOfKind(home.person(), 'records')
    const bytes = new Uint8Array(50_000)
    const begin = (): number =>
      uploads.begin(home.person(), records, { name: 'scan.dcm', type: '', sizeBytes: 2 * bytes.length }).sequence
    const send = (sequence: number, offset: number) =>
      uploads.write(home.person(), records, { sequence, offset, bytes })
    const withCode = (code: string) => expect.objectContaining({ detail: expect.objectContaining({ code }) })
    const first = begin()
    await send(first, 0)
    world.commit(new Thief().rotation(1))
    // The node has heard of it, and has not changed its keys yet.
    expect(begin).toThrowError(withCode('ERR_KEYS_CHANGING'))
    await expect(send(first, bytes.length)).rejects.toThrowError(withCode('ERR_FILE_INTERRUPTED'))
    await recover()
    const second = begin()
    await send(second, 0)
    expect(await send(second, bytes.length)).toMatchObject({ isStored: true })
    await live(3)
    expect(listFiles(home.database, account(), records.stream)).toMatchObject([
      { sequence: second, state: 'on record' },
    ])
  })

  test('is taken back though the thief changed the keys more often than a transaction has room for cuts, while the node was away', async () => {
    await live(3)
    const thief = new Thief()
    for (let i = 0; i < 6; i++) world.commit(thief.rotation(1, 16))
    rekeys.begin(session())
    await recover()
    expect(generation()).toBeGreaterThan(97)
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
    expect(brought.filter((ms) => !isKept(ms))).toEqual([])
  })

  test('leaves nothing on record with its own keys of a generation that the thief opened, though it had gone on to a later one', async () => {
    await live(2)
    isStorageAway = true
    for (let rotations = 0; rotations < 2; rotations++) {
      await home.consent.rotate(home.person())
      await bring(3)
    }
    const cut = home.database.get('SELECT last FROM cut WHERE stream = ? AND generation = 1', ecg())
    // He cuts as the node did.
    world.commit(new Thief().rotation(Number(cut?.last) - recorded()))
    await live(2)
    isStorageAway = false
    await recover()
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
    expect(generationsOfReadings()).not.toContain(2)
    expect(brought.filter((ms) => !isKept(ms))).toEqual([])
  })

  test('goes on though the process ended between taking over the cuts and sealing anew what they left out', async () => {
    await live(3)
    isStorageAway = true
    await live(4)
    const thief = new Thief()
    world.commit(thief.rotation(1))
    home.consent.adopt(home.person())
    home.restart()
    openHousehold()
    isStorageAway = false
    await recover()
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
    expect(brought.filter((ms) => !isKept(ms))).toEqual([])
  })

  test('hears once of a thief who changes the keys again and again, and once more after she has seen it', async () => {
    await live(2)
    const thief = new Thief()
    const told = () => home.alarms.list(home.person()).filter(({ code }) => code === 'keys.foreign')
    for (let i = 0; i < 3; i++) {
      world.commit(thief.rotation(1))
      await live(1)
    }
    expect(told()).toHaveLength(1)
    home.alarms.acknowledge(home.person(), told()[0]?.id as number, world.nowMs)
    world.commit(thief.rotation(1))
    await live(1)
    expect(told()).toHaveLength(2)
  })

  test('reads its whole copy of the ledger for grants at most every ten minutes, however often the thief changes the keys', async () => {
    await live(2)
    const thief = new Thief()
    const { ledger } = world
    const leaves = ledger.leaves.bind(ledger)
    let reads = 0
    ledger.leaves = (chain) => {
      reads++
      return leaves(chain)
    }
    for (let i = 0; i < 4; i++) {
      world.nowMs += 60_000
      world.commit(thief.rotation(1))
      await live(1)
    }
    expect(reads).toBeLessThan(2)
    world.nowMs += 600_000
    await live(1)
    expect(reads).toBeLessThan(3)
  })

  test('hears of a thief who does nothing but write records, under numbers that nobody used', async () => {
    await live(3)
    world.commit(new Thief().junk(3, 1, home.stream('vitals').stream))
    await live(3)
    const told = home.alarms.list(home.person()).filter(({ code }) => code === 'keys.foreign')
    expect(told).toMatchObject([{ severity: 'high', acknowledged: false }])
    // The numbers of that stream go on beyond his.
    home.restart()
    openHousehold()
    expect(home.losses.isBehind(home.person(), home.stream('vitals').stream)).toBe(false)
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
  })

  test('hears of a thief who does nothing but write records, under numbers that wait to be stored', async () => {
    await live(3)
    isStorageAway = true
    await live(4)
    world.commit(new Thief().junk(2))
    isStorageAway = false
    await recover()
    const told = home.alarms.list(home.person()).filter(({ code }) => code === 'keys.foreign')
    expect(told).toMatchObject([{ severity: 'high', acknowledged: false }])
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
    expect(brought.filter((ms) => !isKept(ms))).toEqual([])
  })

  test('answers a thief who changes the keys again and again more and more rarely, and root at once', async () => {
    await live(2)
    const thief = new Thief()
    const count = (what: string): number =>
      Number(home.database.get('SELECT count(*) AS n FROM posting WHERE what = ?', what)?.n)
    const waiting = home.person().hot.sealedRoots.length
    for (let i = 0; i < 120; i++) {
      world.commit(thief.rotation(1))
      await live(1)
    }
    // Each answer leaves roots that only her vault takes over, and makes her hot store longer.
    expect(home.person().hot.sealedRoots.length - waiting).toBeLessThan(12)
    expect(count('key')).toBeLessThan(30)
    rekeys.begin(session())
    await recover()
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
    expect(brought.filter((ms) => !isKept(ms))).toEqual([])
  })

  test('looks once at what somebody else cut, not in every round until it has answered', async () => {
    await live(2)
    const thief = new Thief()
    for (let i = 0; i < 6; i++) {
      world.commit(thief.rotation(1, 16))
      await live(1)
    }
    expect(home.person().hot.generation).toBeLessThan(generation())
    await live(1)
    const { get } = userTables.cut
    let reads = 0
    const counting: typeof get = (...place) => {
      reads++
      return get(...place)
    }
    Object.assign(userTables.cut, { get: counting })
    try {
      await household.round()
    } finally {
      Object.assign(userTables.cut, { get })
    }
    expect(reads).toBeLessThan(16)
  })

  test('keeps room in her hot store for what she does herself, however many generations the thief opens', async () => {
    await live(2)
    const person = home.person()
    const filled = Array.from({ length: 512 }, () => new Uint8Array(8))
    person.hot = { ...person.hot, sealedRoots: filled }
    home.store.writeHot(person, person.hot)
    world.commit(new Thief().rotation(1))
    await live(3)
    expect(person.hot.sealedRoots).toHaveLength(512)
    // Nothing is sealed with keys that are not the current ones, and nothing is lost.
    expect(brought.filter((ms) => !isKept(ms))).toEqual([])
    await home.consent.rotate(person)
    await recover()
    expect(person.hot.sealedRoots).toHaveLength(513)
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
  })

  test('goes on though of two generations that the thief cut he cut the later one as the node did', async () => {
    await live(2)
    isStorageAway = true
    for (let rotations = 0; rotations < 2; rotations++) {
      for (let i = 0; i < 3; i++) {
        world.nowMs += 1000
        home.bring()
        brought.push(world.nowMs)
        await household.round()
      }
      await home.consent.rotate(home.person())
    }
    const last = home.database.get('SELECT last FROM cut WHERE stream = ? AND generation = 2', ecg())?.last
    const thief = new Thief()
    world.commit(thief.rotation(1))
    world.commit(thief.rotation(Number(last) - recorded()))
    await live(2)
    isStorageAway = false
    await recover()
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
    expect(brought.filter((ms) => !isKept(ms))).toEqual([])
  })

  test('goes on though gaps that it had posted were refused because root had replaced the key meanwhile', async () => {
    await live(3)
    world.commit(new Thief().rotation(300))
    world.nowMs += 1000
    // What fills the thief's cut has left the node, signed with the old key.
    await household.round()
    await household.round()
    const posted = () => Number(home.database.get("SELECT count(*) AS n FROM batch WHERE state = 'posted'")?.n)
    expect(posted()).toBeGreaterThan(200)
    const tx = rekeys.begin(session())
    world.commit(home.leaves('update')[0] as Uint8Array)
    home.postings.markHanded(tx)
    const entry = { id: toHex(tx), chain: 'userchain', status: 'committed', addedMs: 0, attempts: 1 } as const
    finished.set(entry.id, entry)
    delivery.settle(entry)
    await exchange()
    await recover()
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
    expect(brought.filter((ms) => !isKept(ms))).toEqual([])
  })

  test('asks for a key that the ledger never had, whatever her vault holds', async () => {
    await live(2)
    const old = home.person().hot.opSeed
    rekeys.begin(session())
    await recover()
    // Her vault alone was brought back from a copy.
    vault.contents = { ...vault.contents, opSeed: old }
    const before = home.person().opKey.publicKey
    rekeys.begin(session())
    await recover()
    expect(home.person().nextOp).toBeUndefined()
    expect(home.person().opKey.publicKey).not.toEqual(before)
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
  })

  test('asks again after a thief took the counter, for the same key', async () => {
    await live(2)
    const tx = rekeys.begin(session())
    const next = home.person().nextOp?.publicKey
    world.nowMs += 1000
    world.commit(new Thief().device(randomBytes(8)))
    await live(2)
    expect(finished.get(toHex(tx))).toMatchObject({ status: 'refused', rule: 'update.counter' })
    // The old key is in force, and everything goes on with it.
    await recover()
    expect(isGoingOn()).toBe(true)
    const again = rekeys.begin(session())
    expect(again).not.toEqual(tx)
    await recover()
    expect([home.person().opKey.publicKey, home.person().nextOp]).toEqual([next, undefined])
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
  })
})

describe('a device that a thief added', { timeout: 120_000 }, () => {
  const devices = () => home.devices.list(home.person())

  /** A thief's device with a stream, and records of it. */
  function plant(): { thief: Thief; stream: Uint8Array } {
    const [thief, stream] = [new Thief(), randomBytes(8)]
    world.commit(thief.device(stream))
    world.commit(thief.junk(2, generation(), stream))
    return { thief, stream }
  }

  test('is told and listed, and removed by root: its records are refused from then on, whoever signs them, and hers go on', async () => {
    await live(3)
    const { thief, stream } = plant()
    await live(1)
    expect(devices()).toMatchObject([
      { device: toHex(home.person().device), isOwn: true, state: 'in force' },
      { isOwn: false, state: 'in force', streams: [{ stream: toHex(stream), kind: null, records: 2 }] },
    ])
    const id = devices()[1]?.device as string
    const told = home.alarms.list(home.person()).filter(({ code }) => code === 'device.foreign')
    expect(told).toMatchObject([{ severity: 'high', about: id }])
    // The removal follows the new op key, and is signed with it.
    rekeys.begin(session())
    world.nowMs += 1
    const tx = home.devices.remove(session(), id)
    expect(home.devices.remove(session(), id)).toEqual(tx)
    expect(devices()[1]?.state).toBe('removing')
    await recover()
    expect(devices()).toMatchObject([{ isOwn: true, state: 'in force' }])
    expect(
      devices()[0]
        ?.streams.map(({ kind }) => kind)
        .toSorted(),
    ).toEqual(['ecg', 'profile', 'records', 'vitals'])
    expect(world.judge(thief.junk(1, generation(), stream))).toMatchObject({ rule: 'iot.signature' })
    // Now with her own new key.
    expect(world.judge(new Thief().junk(1, generation(), stream))).toMatchObject({ rule: 'iot.stream' })
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
    expect(brought.filter((ms) => !isKept(ms))).toEqual([])
  })

  test('is removed once she asks again, though he took the counter in between', async () => {
    await live(2)
    plant()
    const id = devices()[1]?.device as string
    const tx = home.devices.remove(session(), id)
    world.nowMs += 1000
    world.commit(new Thief().device(randomBytes(8)))
    await live(2)
    expect(finished.get(toHex(tx))).toMatchObject({ status: 'refused', rule: 'device.counter' })
    expect(home.devices.remove(session(), id)).not.toEqual(tx)
    await live(2)
    expect(devices().map(({ device }) => device)).not.toContain(id)
    expect(devices()).toHaveLength(2)
  })

  test('is removed by op alone before version 4 of the rules', async () => {
    vault.close()
    home.database.close()
    rmSync(dir, { recursive: true })
    dir = mkdtempSync(join(tmpdir(), 'theft-'))
    await begin(3)
    await live(2)
    plant()
    home.devices.remove(session(), devices()[1]?.device as string)
    await live(2)
    expect(devices()).toHaveLength(1)
  })

  test('is the only kind that is removed: the end of her own would end her streams', async () => {
    await live(2)
    const remove = (id: string) => () => home.devices.remove(session(), id)
    const failing = (code: string) => expect.objectContaining({ detail: expect.objectContaining({ code }) })
    expect(remove(toHex(home.person().device))).toThrowError(failing('ERR_DEVICE_OWN'))
    expect(remove('00'.repeat(16))).toThrowError(failing('ERR_DEVICE_UNKNOWN'))
    await live(2)
    expect(isGoingOn()).toBe(true)
  })
})

describe('a folder from before a rekey', { timeout: 120_000 }, () => {
  const count = (what: string): number =>
    Number(home.database.get('SELECT count(*) AS n FROM posting WHERE what = ?', what)?.n)
  const codes = () => home.alarms.list(home.person()).map(({ code }) => code)

  /** Her household as it was before root replaced the op key, while the ledger has another one in force. */
  async function turnBack(): Promise<void> {
    await live(3)
    home.database.close()
    const copy = mkdtempSync(join(tmpdir(), 'theft-copy-'))
    cpSync(dir, copy, { recursive: true })
    home.open()
    openHousehold()
    const { opSeed } = vault.contents
    rekeys.begin(session())
    await recover()
    home.database.close()
    cpSync(copy, dir, { recursive: true })
    rmSync(copy, { recursive: true })
    vault.contents = { ...vault.contents, opSeed }
    finished = new Map()
    brought = []
  }

  test('signs nothing again and again with a key that is not in force, says so, and is brought back by another rekey', async () => {
    await turnBack()
    home.open()
    openHousehold()
    const before = [count('key'), count('iot')] as const
    await live(30)
    expect(count('key') - before[0]).toBeLessThan(3)
    expect(count('iot') - before[1]).toBeLessThan(3)
    expect(codes()).toContain('keys.replaced')
    expect(home.alarms.list(home.person()).find(({ code }) => code === 'keys.replaced')).toMatchObject({
      ...{ severity: 'high', about: toHex(home.person().opKey.publicKey) },
    })
    rekeys.begin(session())
    await recover()
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
    expect(brought.filter((ms) => !isKept(ms))).toEqual([])
  })

  test('says so when the ledger turns it away as a reader, and that lasts', async () => {
    await live(1)
    isTurnedAway = true
    await live(2)
    expect(codes()).toEqual([])
    world.nowMs += 60_000
    await live(1)
    expect(codes()).toEqual(['keys.replaced'])
  })

  test('erases once it is brought back what she erased before that, and asks the ledger no more than once in between', async () => {
    await turnBack()
    home.open()
    openHousehold()
    const recorded = home.records()
    const range = { streams: [streamOfKind(home.person(), 'ecg')], fromMs: 0, untilMs: world.nowMs - 3_600_000 }
    // Records of the epoch that is over.
    world.nowMs += 3_600_000
    const erased = await erasures.erase(session(), { ...range, untilMs: world.nowMs - 3_600_000 }, 10_000)
    expect(erased.ranges).toHaveLength(1)
    expect(recorded.length).toBeGreaterThan(1)
    await live(10)
    expect(count('erase')).toBe(1)
    rekeys.begin(session())
    await recover()
    world.nowMs += 3_600_000
    await live(2)
    expect(count('erase')).toBe(2)
    expect(userTables.erasedHead.get(state(), account(), ecg())).toBeDefined()
  })

  test('does so though the ledger lets nobody read it with such a key', async () => {
    await live(1)
    const behind = world.fork()
    Object.defineProperty(behind, 'nowMs', { get: () => world.nowMs })
    const real = world
    await turnBack()
    Object.assign(home, { world: behind })
    home.open()
    openHousehold(behind.ledger)
    const before = [count('key'), count('iot')] as const
    await home.consent.rotate(home.person())
    await live(30)
    expect(count('key') - before[0]).toBeLessThan(4)
    expect(count('iot') - before[1]).toBeLessThan(4)
    expect(codes().filter((code) => code === 'keys.replaced')).toHaveLength(1)
    const tx = rekeys.begin(session())
    await live(1)
    expect(finished.get(toHex(tx))?.status).toBe('committed')
    // With the new one it may be read.
    home.database.close()
    Object.assign(home, { world: real })
    home.open()
    openHousehold()
    await recover()
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
    expect(brought.filter((ms) => !isKept(ms))).toEqual([])
  })
})

test('a cut at the end of all numbers, as rules before version 4 let a thief make it, bars its streams: every reading waits, said again and again, and the keys change', {
  timeout: 120_000,
}, async () => {
  vault.close()
  home.database.close()
  rmSync(dir, { recursive: true })
  dir = mkdtempSync(join(tmpdir(), 'theft-'))
  await begin(3)
  await live(3)
  const thief = new Thief()
  world.commit(thief.rotation(Number.MAX_SAFE_INTEGER - recorded()))
  rekeys.begin(session())
  await live(20)
  expect(world.judge(thief.junk(1, 1))).toMatchObject({ rule: 'iot.signature' })
  expect([generation(), home.person().hot.generation]).toEqual([4, 4])
  // A few numbers are gaps; the ledger is not filled with them.
  expect(recorded()).toBeLessThan(60)
  expect(brought.filter((ms) => !isKept(ms))).toEqual([])
  const codes = home.alarms.list(home.person()).map(({ code }) => code)
  expect(codes).toEqual(expect.arrayContaining(['keys.foreign', 'stream.gap']))
})

test('a rotation whose cuts lie too far ahead of what is on record follows one between, that the ledger takes', async () => {
  await live(2)
  await home.consent.rotate(home.person())
  const numbers = 'UPDATE stream SET sequence = 70000 WHERE stream = ?'
  home.database.run(numbers, home.stream('vitals').stream)
  await home.consent.rotate(home.person())
  // The network was away until both had expired.
  world.nowMs += 86_400_000
  delivery.handOver()
  await exchange()
  expect([...finished.values()].map(({ rule }) => rule)).toContain('key.expiry')
  delivery.handOver()
  await exchange()
  expect([generation(), home.person().hot.generation]).toEqual([2, 3])
})

describe('a doctor whose access goes on', { timeout: 120_000 }, () => {
  /** What was sealed and is not on record yet, and how many of these readings the doctor opens once it is. */
  async function opened(doctor: TestDoctor, then: () => Promise<void>): Promise<{ sealed: number; opened: number }> {
    const sealed = home.records().filter(({ kind, block }) => kind === kindData && block !== null)
    await then()
    const keys = await openAll(world, home.person(), doctor, committed)
    return { sealed: sealed.length, opened: sealed.filter(({ block }) => canOpen(keys, block)).length }
  }

  async function grantAndLeave(): Promise<TestDoctor> {
    const doctor = world.enrolDoctor()
    await live(2)
    const window = { fromMs: world.nowMs, untilMs: noEnd }
    await home.consent.grant(home.person(), vault, { to: doctor.account, streams: [ecg()], ...window })
    await live(3)
    return doctor
  }

  test('reads what was recorded under keys whose change waited so long that only a later one was signed again', async () => {
    const doctor = await grantAndLeave()
    for (let rotations = 0; rotations < 3; rotations++) {
      await home.consent.rotate(home.person())
      await bring(3)
    }
    world.nowMs += 25 * 3_600_000
    const result = await opened(doctor, recover)
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
    expect(result.sealed).toBeGreaterThan(6)
    expect(result.opened).toBe(result.sealed)
  })

  test('and one whose access ended in that time gets none of those keys', async () => {
    const [stays, goes] = [await grantAndLeave(), await grantAndLeave()]
    await home.consent.rotate(home.person())
    await bring(3)
    await home.consent.revoke(home.person(), ({ recipient }) => equalBytes(recipient, goes.account))
    await bring(3)
    world.nowMs += 25 * 3_600_000
    const after = await opened(stays, recover)
    expect(after.opened).toBe(after.sealed)
    const former = home.person().hot.generation - 1
    const keys = await openAll(world, home.person(), goes, committed)
    expect(keys.map(({ generation: of }) => of).filter((of) => of >= former)).toEqual([])
  })

  test('reads what was recorded under a key that was replaced, in a folder that was restored from an older copy', async () => {
    const doctor = await grantAndLeave()
    const stolen = home.person().opKey.publicKey
    home.database.close()
    const copy = mkdtempSync(join(tmpdir(), 'theft-copy-'))
    cpSync(dir, copy, { recursive: true })
    home.open()
    openHousehold()
    rekeys.begin(session())
    await recover()
    home.database.close()
    rmSync(dir, { recursive: true })
    cpSync(copy, dir, { recursive: true })
    rmSync(copy, { recursive: true })
    home.open()
    openHousehold()
    expect(home.person().opKey.publicKey).toEqual(stolen)
    await live(6)
    rekeys.begin(session())
    const result = await opened(doctor, recover)
    expect([isGoingOn(), isUpToDate()]).toEqual([true, true])
    expect(result.sealed).toBeGreaterThan(2)
    expect(result.opened).toBe(result.sealed)
  })
})
