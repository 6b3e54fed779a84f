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
import { EmbeddedBackend } from '../backend.ts'
import { Events } from '../events.ts'
import { Files } from '../files.ts'
import { BlockStore } from '../store/block-store.ts'
import { Erasure } from './erasure.ts'
import { HandoffLane } from './handoff-lane.ts'
import { membersOf } from './members.fixture.ts'
import { NodeClient } from './node-client.ts'
import { Replicator } from './replicator.ts'

const [self, other] = [new Uint8Array(32).fill(2), new Uint8Array(32).fill(3)]
let folder: string
let server: Server
let store: BlockStore
let client: NodeClient
let erasure: Erasure
let logged: string[]
/** What the other store has no route for. */
let isUnknown: (path: string) => boolean

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'storage-older-'))
  logged = []
  server = createServer((request, response) => {
    request.resume().on('end', () => {
      if (!isUnknown(request.url ?? '')) response.end(encodeCbor([]))
      else response.writeHead(404).end(JSON.stringify({ Message: 'no such command', Reason: 'ERR_ROUTE' }))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const members = membersOf(
    [self, other].map((account) => ({
      ...{ account, storeKey: generateSigningKey().publicKey, peerId: `peer ${account[0]}`, addresses: [], url },
    })),
  )
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
  const backend = new EmbeddedBackend({ store, swarm: { ...swarm, onConnect: () => {} }, onMisbehaviour: () => {} })
  const destination = { write: (line: string): void => void logged.push((JSON.parse(line) as { event: string }).event) }
  const events = new Events(createLogger({ name: 'storage', level: 'info' }, destination))
  const common = { store, members, client, events, now: Date.now, backend, account: self, onHandoff: () => {} }
  const authorizer = {
    ...{ signsErasures: () => false, releaserOf: () => undefined, erasureKeys: () => undefined },
    authorize: () => ({ account: self, role: 'tenant' as const }),
  }
  const replicator = new Replicator({
    ...{ ...common, key, replicas: 2, writeQuorum: 2, authorizer, readHeader: () => undefined },
    lane: new HandoffLane({ ...common, isUp: () => false, onLeft: () => {} }),
  })
  const files = new Files({ replicator, store, readHeader: () => undefined })
  erasure = new Erasure({ ...common, replicator, files, authorizer, delayMs: 1000, writeQuorum: 2, replicas: 2 })
})

afterEach(async () => {
  client.close()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await store.close()
  rmSync(folder, { recursive: true })
})

test('that a store of an earlier version has no list of what lies below is said once, and again if it has gone back', async () => {
  isUnknown = (path) => path === '/v1/replicas/below/list'
  for (let count = 0; count < 3; count++) await erasure.pull()
  expect(logged).toEqual(['store-is-older'])
  isUnknown = () => false
  await erasure.pull()
  isUnknown = (path) => path === '/v1/replicas/below/list'
  await erasure.pull()
  expect(logged).toEqual(['store-is-older', 'store-is-older'])
})

test('a store that does not know what every version has is said not to answer each time', async () => {
  isUnknown = (path) => path === '/v1/replicas/words/list'
  for (let count = 0; count < 2; count++) await erasure.pull()
  expect(logged).toEqual(['tombstones-not-pulled', 'tombstones-not-pulled'])
})
