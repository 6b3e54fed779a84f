/** Looks over real grants and records, and a storage node's side of the wire: pages that are signed, late, of another store, or forged. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateSigningKey, type SigningKey } from '@healthblock/crypto/signature'
import type { OpenVault } from '@healthblock/crypto/vault'
import { encodeUtf8, toBase64Url, toHex } from '@healthblock/encoding/bytes'
import { fetchPageMessage, fetchPageSignatureHeader } from '@healthblock/runtime/fetch-page'
import { createLogger } from '@healthblock/runtime/logger'
import { StorageClient } from '@healthblock/runtime/storage-client'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { TestHome } from '../../../../test/support/home.ts'
import { type TestDoctor, TestLedger } from '../../../../test/support/ledger.ts'
import { noEnd } from '../consent/compose.ts'
import { UserNodeEvents } from '../events.ts'
import { createLedgerView } from '../follower-view.ts'
import { listExposure } from './exposure.ts'
import { listLookers, listLooks, parseLookCursor } from './look-lists.ts'
import { Looks } from './looks.ts'
import { readTimeline } from './timeline.ts'

const epochMs = 10_000
const startMs = 1_800_000_000_000
const hourMs = 3_600_000

/** The log of a storage node, as it answers for it. */
class Store {
  readonly account = new Uint8Array(32)
  readonly key: SigningKey = generateSigningKey()
  readonly log: { at: number; account: Uint8Array; digest: Uint8Array }[] = []
  /** What the answer says that it is signed by. */
  signer: SigningKey = this.key
  pageSize = 1000
  asked: string[] = []

  constructor(number: number) {
    this.account.fill(number)
  }

  answer(after: string, limit: number, to: { ledgerId: Uint8Array; account: Uint8Array }) {
    this.asked.push(after)
    const [hour, offset] = after === '' ? [0, 0] : (after.split('.').map(Number) as [number, number])
    const from = hour === 1 ? offset : hour > 1 ? this.log.length : 0
    const shown = this.log.slice(from, from + Math.min(limit, this.pageSize))
    const page = {
      store: toHex(this.account),
      fetches: shown.map(({ at, account, digest }) => ({
        ...{ at: new Date(at).toISOString(), account: toHex(account), digest: toHex(digest), cid: 'bafk' },
      })),
      ...{ next: `1.${from + shown.length}`, isEnd: from + shown.length >= this.log.length },
    }
    const answer = encodeUtf8(JSON.stringify(page))
    return { answer, signature: this.signer.sign(fetchPageMessage({ ...to, after, answer })) }
  }
}

let dir: string
let world: TestLedger
let home: TestHome
let vault: OpenVault
let doctor: TestDoctor
let stores: Store[]
let servers: Server[]
let looks: Looks

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'looks-'))
  world = new TestLedger(startMs, epochMs)
  home = new TestHome(world, dir)
  doctor = world.enrolDoctor()
  vault = await home.enrol()
  stores = [new Store(1), new Store(2)]
  const { ledgerId } = world.ledger
  servers = await Promise.all(
    stores.map(async (_, index) => {
      const server = createServer((request, response) => {
        const query = new URL(request.url ?? '', 'http://store').searchParams
        const store = stores[index] as Store
        const to = { ledgerId, account: home.person().account }
        const { answer, signature } = store.answer(query.get('after') ?? '', Number(query.get('limit')), to)
        response.setHeader(fetchPageSignatureHeader, toBase64Url(signature))
        response.end(answer)
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      return server
    }),
  )
})

/** Enrolling takes a second: what one test left is wiped instead. */
beforeEach(async () => {
  if (person().hot.grants.length > 0) {
    await home.consent.revoke(person(), () => true)
    home.commitAll()
  }
  for (const table of ['grants', 'look', 'looker', 'fetched', 'lookcursor', 'alarm'])
    home.database.run(`DELETE FROM ${table}`)
  world.nowMs += hourMs
  stores = [new Store(1), new Store(2)]
  open()
})

afterAll(async () => {
  vault.close()
  home.database.close()
  for (const server of servers) await new Promise((resolve) => server.close(resolve))
  rmSync(dir, { recursive: true })
})

function open(): void {
  const urls = servers.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const logger = createLogger({ name: 'test', level: 'silent' })
  const client = new StorageClient({
    ...{ urls, ledgerId: world.ledger.ledgerId, token: () => 'a token' },
    storeKeyOf: (account) => stores.find((store) => toHex(store.account) === toHex(account))?.key.publicKey,
  })
  const { database, store: people, alarms } = home
  looks = new Looks({
    ...{ database, people, alarms, urls, logger, events: new UserNodeEvents(logger), storageOf: () => client },
    ...{ ledger: createLedgerView(world.ledger, () => world.nowMs), nowMs: () => world.nowMs },
    stopping: new AbortController().signal,
  })
}

const person = () => home.person()
const all = () => listLooks(home.database, person(), { reader: undefined, after: undefined, limit: 100 }).looks
const codes = () => home.alarms.list(person()).map(({ code, about }) => [code, about])
const grant = (kinds: ('ecg' | 'vitals')[] = ['ecg'], untilMs = noEnd) =>
  home.consent.grant(person(), vault, {
    ...{ to: doctor.account, streams: kinds.map((kind) => home.stream(kind).stream) },
    ...{ fromMs: world.nowMs, untilMs },
  })

/** Seals readings; gives their blocks' digests. */
function seal(count: number): Uint8Array[] {
  for (let i = 0; i < count; i++) home.seal()
  const rows = home.database.all('SELECT cid FROM batch ORDER BY sequence DESC LIMIT ?', count)
  return rows.map((row) => row.cid as Uint8Array).reverse()
}

function fetched(
  digests: readonly Uint8Array[],
  account: Uint8Array = doctor.account,
  store = stores[0] as Store,
): void {
  for (const digest of digests) store.log.push({ at: world.nowMs, account, digest })
}

async function gather(): Promise<void> {
  world.nowMs += 1_000
  await looks.gather(person())
}

test('who has access is listed with what and when, and the exposure counts what was fetched', async () => {
  await grant()
  home.commitAll()
  const digests = seal(5)
  fetched(digests.slice(0, 2))
  // The same record again, at another store.
  fetched(digests.slice(1, 4), doctor.account, stores[1])
  fetched(digests, person().account)
  await gather()
  expect(looks.gathered(person())).toEqual({ atMs: world.nowMs, unreachable: 0 })
  expect(all()).toMatchObject([{ reader: toHex(doctor.account), kind: 'ecg', standing: 'granted', count: 5 }])
  const [look] = all()
  expect(Date.parse(look?.measuredTo as string) - Date.parse(look?.measuredFrom as string)).toBe(4_000)
  const place = { database: home.database, person: person(), epochLengthMs: epochMs, nowMs: world.nowMs }
  const [exposure] = listExposure(place, undefined)
  expect(exposure).toMatchObject({ records: 5, fetched: 4 })
  expect(exposure?.meaning).toContain('4 of them were fetched, as the storage nodes tell.')
  expect(codes()).toEqual([])
  // A page that the store has not signed is not taken, and is said to be missing.
  fetched(digests.slice(4))
  const [store] = stores as [Store, Store]
  store.signer = generateSigningKey()
  await gather()
  expect(looks.gathered(person()).unreachable).toBe(1)
  expect(all()).toMatchObject([{ count: 5 }])
  store.signer = store.key
  await gather()
  expect(looks.gathered(person()).unreachable).toBe(0)
  expect(all()).toMatchObject([{ count: 6 }])
})

test('each fetch is counted once, over pages, restarts and a store that comes to another address', async () => {
  await grant()
  home.commitAll()
  const [first] = stores as [Store, Store]
  first.pageSize = 3
  fetched(seal(10))
  await gather()
  expect(all()).toMatchObject([{ count: 10 }])
  // The stores change places; so does who is asked for what.
  stores.reverse()
  fetched(seal(1))
  await gather()
  await gather()
  open()
  await gather()
  expect(all().reduce((sum, { count }) => sum + count, 0)).toBe(11)
  const ranges = home.database.all('SELECT first, last FROM fetched')
  expect(ranges.map(({ first, last }) => Number(last) - Number(first))).toEqual([10])
  expect(first.log).toHaveLength(10)
})

test('a stranger raises one alarm an hour, which is about that account; who keeps sealed data raises none', async () => {
  const stranger = world.enrolDoctor().account
  const digests = seal(3)
  fetched(digests, stranger)
  fetched([new Uint8Array(32).fill(9)], stranger)
  await gather()
  expect(codes()).toEqual([['look.ungranted', toHex(stranger)]])
  expect(all().map(({ kind, standing, count }) => [kind, standing, count])).toEqual([
    ['other', 'none', 1],
    ['ecg', 'none', 3],
  ])
  expect(home.database.all('SELECT * FROM fetched')).toEqual([])
  world.nowMs += hourMs
  fetched(digests, stranger)
  await gather()
  expect(codes()).toHaveLength(2)
  const page = readTimeline(home.database, person(), { after: undefined, limit: 9, kinds: ['alarm'] })
  expect(page.entries).toMatchObject([{ what: 'look.ungranted', doctor: toHex(stranger), transactionId: null }, {}])
  fetched(seal(1), world.organisation)
  await gather()
  expect(all()[0]).toMatchObject({ standing: 'keeper', kind: 'ecg' })
  expect(codes()).toHaveLength(2)
  expect(listLookers(home.database, person())).toMatchObject([
    { standing: 'keeper', count: 1 },
    { standing: 'none', count: 7, kind: 'ecg' },
  ])
})

test('a doctor who looks at what the access does not cover raises an alarm: before it, beside it, after it', async () => {
  const before = seal(12)
  await grant(['vitals'])
  home.commitAll()
  fetched(before.slice(0, 1))
  await gather()
  expect(all()).toMatchObject([{ standing: 'none', kind: 'ecg' }])
  world.nowMs += epochMs
  await grant(['ecg'])
  home.commitAll()
  const during = seal(2)
  fetched([...before.slice(0, 1), ...during])
  await gather()
  const counts = () => Object.fromEntries(all().map(({ standing, count }) => [standing, count]))
  expect(counts()).toEqual({ none: 2, granted: 2 })
  // Who has not heard of the end yet is late, not a thief; what was sealed anew is another matter.
  await home.consent.revoke(person(), () => true)
  home.commitAll()
  fetched(during)
  await gather()
  expect(counts()).toEqual({ none: 2, granted: 4 })
  const after = seal(1)
  fetched(after)
  await gather()
  expect(counts()).toEqual({ none: 3, granted: 4 })
  world.nowMs += 121_000
  fetched(during)
  await gather()
  expect(counts()).toEqual({ none: 5, granted: 4 })
})

test('an access that ran out, and one that the ledger refused, are none', async () => {
  const untilMs = Math.ceil(world.nowMs / epochMs) * epochMs + epochMs
  const { tx } = await grant(['ecg'], untilMs)
  home.commitAll()
  const digests = seal(2)
  home.database.run("UPDATE consent SET state = 'refused' WHERE tx = ?", tx)
  fetched(digests)
  await gather()
  expect(all()).toMatchObject([{ standing: 'none', count: 2 }])
  home.database.run("UPDATE consent SET state = 'committed' WHERE tx = ?", tx)
  fetched(digests)
  await gather()
  expect(listLookers(home.database, person())).toMatchObject([{ standing: 'granted' }])
  world.nowMs = untilMs + 121_000
  fetched(digests)
  await gather()
  expect(listLookers(home.database, person())).toMatchObject([{ standing: 'none', count: 6 }])
})

test('the list comes page by page, of one reader or all, each line once', async () => {
  await grant()
  home.commitAll()
  const stranger = world.enrolDoctor().account
  for (let hour = 0; hour < 7; hour++) {
    fetched(seal(1))
    fetched([new Uint8Array(32)], stranger)
    world.nowMs += hourMs
  }
  await gather()
  const whole = all()
  expect(whole).toHaveLength(14)
  expect(whole.map(({ at }) => at)).toEqual(
    whole
      .map(({ at }) => at)
      .sort()
      .reverse(),
  )
  const pages = []
  let after: { hour: number; id: number } | undefined
  do {
    const { looks: page, next } = listLooks(home.database, person(), { reader: undefined, after, limit: 4 })
    pages.push(...page)
    after = next === null ? undefined : parseLookCursor(next)
  } while (after !== undefined)
  expect(pages).toEqual(whole)
  const reader = toHex(stranger)
  const own = listLooks(home.database, person(), { reader, after: undefined, limit: 100 })
  expect(own.looks).toEqual(whole.filter((look) => look.reader === reader))
  for (const text of ['', 'x', '1', '1.2.3', '-1.2', '1.x']) expect(parseLookCursor(text)).toBeUndefined()
})

test('a store that tells of fetches of another age puts them above nothing that comes after', async () => {
  const [digest] = seal(1) as [Uint8Array]
  const store = stores[0] as Store
  store.log.push({ at: Date.parse('9999-12-31T23:59:59Z'), account: new Uint8Array(32).fill(77), digest })
  await gather()
  const [alarm] = home.alarms.list(person())
  expect([alarm?.code, Date.parse(alarm?.at as string)]).toEqual(['look.ungranted', world.nowMs])
})
