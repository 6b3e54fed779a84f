/** What the backend tells a daemon, and when: the daemon is a server that answers as the test says. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { codecRaw, encodeBlockId, hashBlock } from '../store/block-id.ts'
import { BlockStore } from '../store/block-store.ts'
import type { PutRequest } from '../store/entries.ts'
import { KuboBackend } from './kubo-backend.ts'

const [alice, bob] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]
const folder = mkdtempSync(join(tmpdir(), 'storage-kubo-'))
/** Commands that the daemon has been given. */
let commands: string[]
/** When it answers, of a command whose end is this. */
let answering: Promise<void>
let held: string
let store: BlockStore
let backend: KuboBackend
const server = createServer((request, response) => {
  commands.push((request.url ?? '').split('/api/v0/')[1]?.split('?')[0] ?? '')
  const free = (request.url ?? '').endsWith(held) ? answering : Promise.resolve()
  request.resume().on('end', () => void free.then(() => response.end('{}')))
})

beforeEach(async () => {
  commands = []
  answering = Promise.resolve()
  held = ''
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const path = join(folder, randomBytes(8).toString('hex'))
  store = new BlockStore({
    ...{ path, key: randomBytes(32), bytesMax: 1e9, accountBytesMax: 2_000, isExternal: true },
    ...{ node: new Uint8Array(32), now: Date.now, onCorrupt: () => {}, onFatal: () => {} },
  })
  await store.open()
  const swarm = { identitySeed: randomBytes(32), swarmKey: randomBytes(32), host: '127.0.0.1', port: 0 }
  backend = new KuboBackend({
    ...{ store, swarm: { ...swarm, onConnect: () => {} }, onMisbehaviour: () => {}, dir: folder, binary: undefined },
    ...{ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, token: undefined },
  })
})

afterEach(async () => {
  await backend.stop()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await store.close()
})

process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

function putOf(bytes: Uint8Array, account: Uint8Array, at = Date.now()): PutRequest {
  const references = [{ account, at, pin: 0 }]
  return { digest: hashBlock(bytes), codec: codecRaw, bytes, references, enforceQuota: true }
}

test('a block that others keep stays in the daemon when the put of an account that has no room for it is refused', async () => {
  const [kept, filling] = [randomBytes(1_000), randomBytes(1_500)]
  await backend.put(putOf(kept, alice))
  await backend.put(putOf(filling, bob))
  commands = []
  await expect(backend.put(putOf(kept, bob))).rejects.toMatchObject({ detail: { code: 'ERR_QUOTA_EXCEEDED' } })
  expect(commands).toEqual([])
  // One that nobody keeps goes again.
  const fresh = randomBytes(1_000)
  await expect(backend.put(putOf(fresh, bob))).rejects.toMatchObject({ detail: { code: 'ERR_QUOTA_EXCEEDED' } })
  expect(commands.at(-1)).toBe('block/rm')
})

test('an erased block stays in the daemon until its time has come, though somebody puts it again', async () => {
  const bytes = randomBytes(1_000)
  const put = putOf(bytes, alice)
  await backend.put(put)
  const at = Date.now()
  await store.addTombstones([{ digest: put.digest, owner: alice, at, removeAt: at + 3_600_000 }])
  commands = []
  await expect(backend.put(putOf(bytes, bob))).rejects.toMatchObject({ detail: { code: 'ERR_BLOCK_ERASED' } })
  expect(commands).toEqual([])
})

test('a copy of what was erased is not given to the daemon at all: who ends before it is taken away again would leave it there', async () => {
  const put = putOf(randomBytes(1_000), alice)
  await store.addTombstones([{ digest: put.digest, owner: alice, at: 1, removeAt: 2 }])
  await expect(backend.put(put)).rejects.toMatchObject({ detail: { code: 'ERR_BLOCK_ERASED' } })
  expect(commands).not.toContain('block/put')
})

test('a put that the daemon has yet to answer is taken back when it has', async () => {
  const put = putOf(randomBytes(1_000), alice, 5)
  const { promise, resolve } = Promise.withResolvers<void>()
  answering = promise
  const stored = backend.put(put)
  await vi.waitFor(() => expect(commands).toEqual(['block/put']))
  const takenBack = backend.retract(put.digest, { account: alice, at: 5 })
  resolve()
  await stored
  expect(await takenBack).toBe(true)
  expect(store.totals().blocks).toBe(0)
})

test('what is put again and given up again while others are removed goes, too', async () => {
  const [back, slow, last] = [1, 2, 3].map(() => putOf(randomBytes(100), alice, 5)) as [
    PutRequest,
    PutRequest,
    PutRequest,
  ]
  for (const one of [back, slow, last]) await backend.put(one)
  for (const { digest } of [back, slow]) await store.release(digest, alice, { at: 6, force: true })
  const { promise, resolve } = Promise.withResolvers<void>()
  held = `block/rm?force=true&arg=${encodeBlockId(slow)}`
  answering = promise
  commands = []
  const removed = backend.release(last.digest, alice, { at: 6, force: true })
  const removals = (): number => commands.filter((command) => command === 'block/rm').length
  await vi.waitFor(() => expect(removals()).toBe(3))
  await backend.put({ ...back, references: [{ account: alice, at: 7, pin: 0 }] })
  // As by a node that ends before it tells the daemon.
  await store.release(back.digest, alice, { at: 8, force: true })
  resolve()
  await removed
  expect([removals(), store.removals(9)]).toEqual([4, []])
})
