import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { createLogger } from '@healthblock/runtime/logger'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Member } from '../access/members.ts'
import { EmbeddedBackend } from '../backend.ts'
import { Events } from '../events.ts'
import { BlockStore } from '../store/block-store.ts'
import { handoffKinds } from '../store/operations.ts'
import { HandoffQueue } from './handoff.ts'
import { membersOf } from './members.fixture.ts'
import { NodeClient } from './node-client.ts'

const folder = mkdtempSync(join(tmpdir(), 'storage-handoff-'))
const events = new Events(createLogger({ name: 'storage', level: 'silent' }))
let path: string
let store: BlockStore
let client: NodeClient
let queue: HandoffQueue
let servers: Server[]
let peers: Member[]
/** What happened at the other stores, in its order. */
let seen: string[]

process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

/** A member store that answers as it is told to. */
async function addPeer(name: string, answer: (response: ServerResponse) => void): Promise<void> {
  const server = createServer((request: IncomingMessage, response) => {
    request.resume()
    request.on('end', () => {
      seen.push(`${name} asked`)
      answer(response)
    })
    response.on('close', () => seen.push(`${name} ${response.writableFinished ? 'answered' : 'given up'}`))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  servers.push(server)
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const account = new Uint8Array(32).fill(servers.length)
  peers.push({ account, storeKey: generateSigningKey().publicKey, peerId: name, url, addresses: [] })
}

beforeEach(async () => {
  ;[servers, peers, seen] = [[], [], []]
  path = join(folder, `${randomBytes(8).toString('hex')}.db`)
  store = new BlockStore({
    path,
    key: new Uint8Array(32),
    bytesMax: 1e9,
    accountBytesMax: 1e9,
    node: new Uint8Array(32),
    now: Date.now,
    onCorrupt: () => {},
    onFatal: () => {},
  })
  await store.open()
  const members = membersOf(peers)
  client = new NodeClient({ members, key: generateSigningKey(), account: new Uint8Array(32), now: Date.now })
  const swarm = {
    identitySeed: randomBytes(32),
    swarmKey: randomBytes(32),
    host: '127.0.0.1',
    port: 0,
    onConnect: () => {},
  }
  const backend = new EmbeddedBackend({ store, swarm, onMisbehaviour: () => {} })
  queue = new HandoffQueue({ backend, store, members, client, events, now: Date.now })
})

afterEach(async () => {
  for (const server of servers) server.closeAllConnections()
  await queue.stop()
  client.close()
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  await store.close()
})

async function enqueueRelease(target: Uint8Array): Promise<void> {
  const entry = { digest: new Uint8Array(randomBytes(32)), target, account: new Uint8Array(32).fill(9), at: 1 }
  await store.enqueueHandoff({ handoffKind: handoffKinds.release, ...entry })
}

test('what fails here, as on a full disk, is tried again after a while, and others are handed theirs meanwhile', async () => {
  await addPeer('failing', (response) => response.writeHead(500).end())
  await addPeer('other', (response) => response.end(encodeCbor(1)))
  const [failing, other] = peers as [Member, Member]
  // Nothing can be written about the first one any more.
  const database = new DatabaseSync(path)
  database.exec(`CREATE TRIGGER full BEFORE UPDATE ON handoff WHEN old.target = X'${Buffer.from(failing.account).toString('hex')}'
    BEGIN SELECT RAISE(ABORT, 'full'); END`)
  await enqueueRelease(failing.account)
  for (let count = 0; count < 100; count++) {
    await enqueueRelease(other.account)
    queue.kick()
    await vi.waitFor(() => expect(store.handoffsDue(Date.now(), 1, other.account)).toEqual([]), { timeout: 30_000 })
  }
  const asked = (): number => seen.filter((one) => one === 'failing asked').length
  expect(asked()).toBeGreaterThan(0)
  expect(asked()).toBeLessThan(20)
  database.exec('DROP TRIGGER full')
  database.close()
  await queue.wake(failing.account)
  const before = asked()
  await vi.waitFor(() => expect(asked()).toBeGreaterThan(before), { timeout: 30_000 })
})

test('what was put back by a clock that is set back since is done, and what rests as long as is usual is left', async () => {
  await addPeer('other', (response) => response.end(encodeCbor(1)))
  const [{ account: target }] = peers as [Member]
  for (const [index, ms] of [3_600_000, 200_000].entries()) {
    await enqueueRelease(target)
    const entry = store.handoffsDue(Date.now(), 9, target)[0]
    await store.retryHandoff(entry?.id as number, Date.now() + ms)
    expect(store.handoffCount()).toBe(index + 1)
  }
  queue.kick()
  await vi.waitFor(() => expect(store.handoffCount()).toBe(1), { timeout: 30_000 })
  await queue.stop()
  expect(seen.filter((one) => one === 'other asked')).toHaveLength(1)
})

test('a store that has no block yet to pin is told again, and no more once it says that it is pinned', async () => {
  const answers = [0, 0, 1]
  await addPeer('late', (response) => response.end(encodeCbor(answers.shift() ?? 9)))
  const [{ account: target }] = peers as [Member]
  const entry = { digest: new Uint8Array(randomBytes(32)), target, account: new Uint8Array(32).fill(9), at: 1 }
  await store.enqueueHandoff({ handoffKind: handoffKinds.recursive, codec: 0x70, ...entry })
  queue.kick()
  await vi.waitFor(() => expect(store.handoffCount()).toBe(0), { timeout: 30_000 })
  expect(seen.filter((one) => one === 'late asked')).toHaveLength(3)
})

test('a store that does not answer holds up what is for another, however much waits for it', async () => {
  await addPeer('silent', () => {})
  await addPeer('other', (response) => response.end(encodeCbor(1)))
  const [silent, other] = peers as [Member, Member]
  for (let count = 0; count < 70; count++) await enqueueRelease(silent.account)
  await enqueueRelease(other.account)
  queue.kick()
  await vi.waitFor(() => expect(seen).toContain('other answered'), { timeout: 30_000 })
  expect(seen).not.toContain('silent given up')
  await vi.waitFor(() => expect(store.handoffsDue(Date.now(), 10, other.account)).toEqual([]))
  // What comes while the line of the silent one is under way is not forgotten.
  await enqueueRelease(other.account)
  queue.kick()
  await vi.waitFor(() => expect(seen.filter((one) => one === 'other answered')).toHaveLength(2), { timeout: 30_000 })
  expect(seen).not.toContain('silent given up')
})
