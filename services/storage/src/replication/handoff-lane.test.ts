import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { createLogger } from '@healthblock/runtime/logger'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Member, Members } from '../access/members.ts'
import { Events } from '../events.ts'
import { codecRaw, hashBlock } from '../store/block-id.ts'
import { BlockStore } from '../store/block-store.ts'
import { directMs, HandoffLane } from './handoff-lane.ts'
import { NodeClient, type ReplicaRequest } from './node-client.ts'
import { answerMessage, answerSignatureHeader } from './receipt.ts'

const ledgerId = new Uint8Array(32).fill(1)
const nowMs = 1_000_000
const peerKey = generateSigningKey()
const folder = mkdtempSync(join(tmpdir(), 'storage-lane-'))
/** Requests that the other store has not answered yet. */
let waiting: { request: Buffer; response: ServerResponse }[] = []
let store: BlockStore
let lane: HandoffLane
let client: NodeClient
let peer: Member
let left = 0
const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => waiting.push({ request: Buffer.concat(chunks), response }))
})

beforeEach(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  peer = { account: new Uint8Array(32).fill(2), storeKey: peerKey.publicKey, peerId: 'peer', url, addresses: [] }
  const members: Members = {
    ledgerId,
    list: () => [peer],
    find: (account) => (Buffer.compare(account, peer.account) === 0 ? peer : undefined),
    findPeer: () => peer,
    onChange: () => () => {},
  }
  store = new BlockStore({
    path: join(folder, `${randomBytes(8).toString('hex')}.db`),
    key: new Uint8Array(32),
    bytesMax: 1e9,
    accountBytesMax: 1e9,
    node: new Uint8Array(32),
    now: () => nowMs,
    onCorrupt: () => {},
    onFatal: () => {},
  })
  await store.open()
  client = new NodeClient({ members, key: generateSigningKey(), account: new Uint8Array(32), now: () => nowMs })
  left = 0
  lane = new HandoffLane({
    ...{
      store,
      members,
      client,
      now: () => nowMs,
      events: new Events(createLogger({ name: 'storage', level: 'silent' })),
    },
    isUp: () => true,
    onLeft: () => {
      left++
    },
  })
})

afterEach(async () => {
  for (const { response } of waiting) response.destroy()
  waiting = []
  await lane.stop()
  client.close()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await store.close()
})

process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

/** Stores a block with an entry for the peer, and sends it down the lane. */
async function put(bytes: Uint8Array, account: number): Promise<Uint8Array> {
  const digest = hashBlock(bytes)
  const references = [{ account: new Uint8Array(32).fill(account), at: nowMs, pin: 0 }]
  const request: ReplicaRequest = { id: { digest, codec: codecRaw }, bytes, references, handoff: [peer.account] }
  const flights = lane.begin(digest, request.handoff)
  const { id, ...rest } = request
  await store.put({ ...id, ...rest, handoffDelayMs: directMs, enforceQuota: true })
  lane.send(flights, request)
  return digest
}

/** Answers the oldest request that waits, one code or 1 for each copy in it. */
async function answer(
  word: 1 | string,
  sign = (request: Uint8Array, bytes: Uint8Array) => peerKey.sign(answerMessage({ ledgerId, request, answer: bytes })),
): Promise<void> {
  await vi.waitFor(() => expect(waiting.length).toBeGreaterThan(0))
  const { request, response } = waiting.shift() as (typeof waiting)[0]
  const bytes = encodeCbor((decodeCbor(request) as unknown[]).map(() => word))
  response.setHeader(answerSignatureHeader, Buffer.from(sign(request, bytes)).toString('base64url'))
  response.end(bytes)
}

test('the entry stands by while the copy is under way, and goes when it has arrived', async () => {
  await put(new Uint8Array([1]), 7)
  expect([store.handoffCount(), store.nextHandoffAt(0)]).toEqual([1, nowMs + directMs])
  await answer(1)
  await vi.waitFor(() => expect(store.handoffCount()).toBe(0))
  expect(left).toBe(0)
})

test('memory that is shared may be lent again as soon as the copy waits for its turn', async () => {
  await put(new Uint8Array([1]), 7)
  await vi.waitFor(() => expect(waiting).toHaveLength(1))
  const shared = new Uint8Array(new SharedArrayBuffer(4)).fill(2)
  await put(shared, 7)
  shared.fill(9)
  await answer(1)
  await vi.waitFor(() => expect(waiting).toHaveLength(1))
  const [[, , , , , bytes]] = decodeCbor(waiting[0]?.request as Buffer) as [[...unknown[]]]
  expect([...(bytes as Uint8Array)]).toEqual([2, 2, 2, 2])
  await answer(1)
  await vi.waitFor(() => expect(store.handoffCount()).toBe(0))
})

test('what the other store does not take is due at once; what it refuses for good is over', async () => {
  await put(new Uint8Array([1]), 7)
  await answer('err_store_full')
  await vi.waitFor(() => expect(store.nextHandoffAt(0)).toBe(nowMs))
  expect(left).toBe(1)
  await put(new Uint8Array([2]), 7)
  await answer('err_block_released')
  await vi.waitFor(() => expect(store.handoffCount()).toBe(1))
})

test('an answer that the store did not sign, or signed for another request, is none', async () => {
  const impostor = generateSigningKey()
  await put(new Uint8Array([1]), 7)
  await answer(1, (request, bytes) => impostor.sign(answerMessage({ ledgerId, request, answer: bytes })))
  await vi.waitFor(() => expect(left).toBe(1))
  await put(new Uint8Array([2]), 7)
  await answer(1, (_request, bytes) => peerKey.sign(answerMessage({ ledgerId, request: bytes, answer: bytes })))
  await vi.waitFor(() => expect(left).toBe(2))
  expect(store.handoffsDue(nowMs, 10, peer.account)).toHaveLength(2)
})

test('an entry of several puts goes with the last: each brings a reference of its own', async () => {
  const bytes = new Uint8Array([3])
  await put(bytes, 7)
  await vi.waitFor(() => expect(waiting.length).toBe(1))
  await put(bytes, 8)
  await answer(1)
  // Its request is the second one: the first has been answered.
  await vi.waitFor(() => expect(waiting.length).toBe(1))
  expect(store.handoffCount()).toBe(1)
  await answer(1)
  await vi.waitFor(() => expect(store.handoffCount()).toBe(0))
})

test('a copy that was not stored here leaves nothing behind', async () => {
  const digest = await put(new Uint8Array([4]), 7)
  await vi.waitFor(() => expect(waiting.length).toBe(1))
  lane.cancel(lane.begin(digest, [peer.account]))
  await answer(1)
  await vi.waitFor(() => expect(store.handoffCount()).toBe(0))
  expect(left).toBe(0)
})
