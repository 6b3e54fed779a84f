/** What stores are told that are away: nothing, until they are back. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { createLogger } from '@healthblock/runtime/logger'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Member } from '../access/members.ts'
import { EmbeddedBackend } from '../backend.ts'
import { Events } from '../events.ts'
import { codecRaw, hashBlock } from '../store/block-id.ts'
import { BlockStore } from '../store/block-store.ts'
import { HandoffLane } from './handoff-lane.ts'
import { membersOf } from './members.fixture.ts'
import { NodeClient } from './node-client.ts'
import { Replicator } from './replicator.ts'

const [self, other, alice] = [1, 2, 3].map((byte) => new Uint8Array(32).fill(byte)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
]
/** A node whose peers the test decides. */
class Backend extends EmbeddedBackend {
  override isConnected(): boolean {
    return isThere
  }
}

let isThere: boolean
let folder: string
let server: Server
let store: BlockStore
let client: NodeClient
let lane: HandoffLane
let replicator: Replicator
/** What the store was asked that is not in the swarm. */
let asked: string[]
/** What it answers. */
let answer: number

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'storage-away-'))
  asked = []
  isThere = false
  answer = 1
  server = createServer((request, response) => {
    asked.push(request.url?.split('/').at(-1) ?? '')
    request.resume().on('end', () => response.end(encodeCbor(answer)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const peers: Member[] = [self, other].map((account) => ({
    ...{ account, storeKey: generateSigningKey().publicKey, peerId: `peer ${account[0]}`, addresses: [] },
    url: `http://127.0.0.1:${port}`,
  }))
  const members = membersOf(peers)
  store = new BlockStore({
    ...{ path: join(folder, 'blocks.db'), key: new Uint8Array(32), node: self },
    ...{ bytesMax: 1e9, accountBytesMax: 1e9, now: Date.now },
    onCorrupt: () => {},
    onFatal: () => {},
  })
  await store.open()
  const key = generateSigningKey()
  client = new NodeClient({ members, key, account: self, now: Date.now })
  const swarm = { identitySeed: randomBytes(32), swarmKey: randomBytes(32), host: '127.0.0.1', port: 0 }
  const backend = new Backend({ store, swarm: { ...swarm, onConnect: () => {} }, onMisbehaviour: () => {} })
  const events = new Events(createLogger({ name: 'storage', level: 'silent' }))
  const common = { store, members, client, events, now: Date.now }
  lane = new HandoffLane({ ...common, isUp: () => false, onLeft: () => {} })
  replicator = new Replicator({
    ...{ ...common, backend, key, account: self, replicas: 2, writeQuorum: 2 },
    lane,
    readHeader: () => undefined,
    authorizer: { signsErasures: () => false, releaserOf: () => undefined },
    onHandoff: () => {},
  })
})

afterEach(async () => {
  client.close()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await store.close()
  rmSync(folder, { recursive: true })
})

test('a store that is away is waited for by no pin and no removal, and told of each later', async () => {
  const bytes = new Uint8Array(randomBytes(100))
  const id = { digest: hashBlock(bytes), codec: codecRaw }
  const references = [{ account: alice, at: 1, pin: 0 }]
  await store.put({ ...id, bytes, references, enforceQuota: true })
  await replicator.pins.add(id, { account: alice, token: '' }, 1)
  await replicator.pins.remove(id, alice)
  await replicator.release(id, { account: alice, force: false })
  expect(store.has(id.digest)).toBe(false)
  expect([asked, store.handoffCount()]).toEqual([[], 3])
})

test('before the node is in the swarm, what is not here is not said to be nowhere: it is to be asked again', async () => {
  const id = { digest: hashBlock(randomBytes(10)), codec: codecRaw }
  const read = replicator.read(id, { signal: AbortSignal.timeout(5_000), offline: false })
  await expect(read).rejects.toMatchObject({ detail: { code: 'ERR_STORE_BUSY' }, message: /not in the swarm yet/ })
})

test('a pin that the only store with the block does not take, for it was given up later by its clock, is told why', async () => {
  const id = { digest: hashBlock(randomBytes(10)), codec: codecRaw }
  answer = Date.now() + 3_600_000
  const pinned = replicator.pins.add(id, { account: alice, token: '' }, 1)
  await expect(pinned).rejects.toMatchObject({
    detail: { code: 'ERR_BLOCK_RELEASED' },
    message: /^pin: by the clock of a store .* was given up later than now/,
  })
})

test('what no other store has is asked for at one that is away, too', async () => {
  const id = { digest: hashBlock(randomBytes(10)), codec: codecRaw }
  await replicator.pins.add(id, { account: alice, token: '' }, 1)
  await replicator.pins.remove(id, alice)
  // It is kept first, then pinned, then the pin is taken away.
  expect(asked).toEqual(['pin', 'pin', 'pin'])
})

test('a put that fails is answered before the copies are through that are on their way, and taken back there when they are', async () => {
  const id = { digest: hashBlock(randomBytes(10)), codec: codecRaw }
  const made = { account: alice, token: '', at: 5 }
  isThere = true
  const flights = lane.begin(id.digest, [other])
  await replicator.retract(id, made)
  expect(asked).toEqual([])
  lane.cancel(flights)
  await lane.stop()
  expect(asked).toEqual(['release'])
  await replicator.retract(id, made)
  expect(asked).toEqual(['release', 'release'])
})
