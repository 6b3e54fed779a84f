/** What the backend tells a daemon, and when: the daemon is a server that answers as the test says. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { codecRaw, hashBlock } from '../store/block-id.ts'
import { BlockStore } from '../store/block-store.ts'
import type { PutRequest } from '../store/entries.ts'
import { KuboBackend } from './kubo-backend.ts'

const [alice, bob] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]
const folder = mkdtempSync(join(tmpdir(), 'storage-kubo-'))
/** Commands that the daemon has been given. */
let commands: string[]
/** When it answers. */
let answering: Promise<void>
let store: BlockStore
let backend: KuboBackend
const server = createServer((request, response) => {
  commands.push((request.url ?? '').split('/api/v0/')[1]?.split('?')[0] ?? '')
  request.resume().on('end', () => void answering.then(() => response.end('{}')))
})

beforeEach(async () => {
  commands = []
  answering = Promise.resolve()
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
