/** What stores are told that are away: nothing, until they are back. */
import { randomBytes } from 'node:crypto'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { codecRaw, hashBlock } from '../store/block-id.ts'
import { operationsWaitingMax } from '../store/group-commit.ts'
import { openPair, other, type Pair } from './pair.fixture.ts'

const alice = new Uint8Array(32).fill(3)
/** Whether the other store is in the swarm. */
let isThere: boolean
let pair: Pair
/** What the store was asked that is not in the swarm. */
let asked: string[]
/** What it answers. */
let answer: number

beforeEach(async () => {
  asked = []
  isThere = false
  answer = 1
  pair = await openPair({
    isConnected: () => isThere,
    answers: (request, response) => {
      asked.push(request.url?.split('/').at(-1) ?? '')
      request.resume().on('end', () => response.end(encodeCbor(answer)))
    },
  })
})

afterEach(() => pair.close())

test('a store that is away is waited for by no pin and no removal, and told of each later', async () => {
  const bytes = new Uint8Array(randomBytes(100))
  const id = { digest: hashBlock(bytes), codec: codecRaw }
  const references = [{ account: alice, at: 1, pin: 0 }]
  await pair.store.put({ ...id, bytes, references, enforceQuota: true })
  await pair.replicator.pins.add(id, { account: alice, token: '' }, 1)
  await pair.replicator.pins.remove(id, alice)
  await pair.replicator.release(id, { account: alice, force: false })
  expect(pair.store.has(id.digest)).toBe(false)
  expect([asked, pair.store.handoffCount()]).toEqual([[], 3])
})

test('before the node is in the swarm, what is not here is not said to be nowhere: it is to be asked again', async () => {
  const id = { digest: hashBlock(randomBytes(10)), codec: codecRaw }
  const read = pair.replicator.read(id, { signal: AbortSignal.timeout(5_000), offline: false })
  await expect(read).rejects.toMatchObject({ detail: { code: 'ERR_STORE_BUSY' }, message: /not in the swarm yet/ })
})

test('a pin that the only store with the block does not take, for it was given up later by its clock, is told why', async () => {
  const id = { digest: hashBlock(randomBytes(10)), codec: codecRaw }
  answer = Date.now() + 3_600_000
  const pinned = pair.replicator.pins.add(id, { account: alice, token: '' }, 1)
  await expect(pinned).rejects.toMatchObject({
    detail: { code: 'ERR_BLOCK_RELEASED' },
    message: /^pin: by the clock of a store .* was given up later than now/,
  })
})

test('a store that cannot take a pin away, or set it, says so, and not that there is none', async () => {
  const bytes = new Uint8Array(randomBytes(100))
  const id = { digest: hashBlock(bytes), codec: codecRaw }
  await pair.store.put({ ...id, bytes, references: [{ account: alice, at: 1, pin: 1 }], enforceQuota: true })
  answer = 0
  for (const act of [
    () => pair.replicator.pins.remove(id, alice),
    () => pair.replicator.pins.add(id, { account: alice, token: '' }, 2),
  ]) {
    const others = Array.from({ length: operationsWaitingMax }, () => pair.store.setCursor('any', bytes))
    await expect(act()).rejects.toMatchObject({ detail: { code: 'ERR_STORE_BUSY' } })
    await Promise.all(others)
  }
  expect(pair.store.pinOf(id.digest, alice)).toBe(1)
})

test('what no other store has is asked for at one that is away, too', async () => {
  const id = { digest: hashBlock(randomBytes(10)), codec: codecRaw }
  await pair.replicator.pins.add(id, { account: alice, token: '' }, 1)
  await pair.replicator.pins.remove(id, alice)
  // It is kept first, then pinned, then the pin is taken away.
  expect(asked).toEqual(['pin', 'pin', 'pin'])
})

test('a put that fails is answered before the copies are through that are on their way, and taken back there when they are', async () => {
  const id = { digest: hashBlock(randomBytes(10)), codec: codecRaw }
  const made = { account: alice, token: '', at: 5 }
  isThere = true
  const flights = pair.lane.begin(id.digest, [other])
  await pair.replicator.retract(id, made)
  expect(asked).toEqual([])
  pair.lane.cancel(flights)
  await pair.lane.stop()
  expect(asked).toEqual(['release'])
  await pair.replicator.retract(id, made)
  expect(asked).toEqual(['release', 'release'])
})
