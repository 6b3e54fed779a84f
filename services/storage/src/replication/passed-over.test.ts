/** What stores are told that are away: nothing, until they are back. */
import { randomBytes } from 'node:crypto'
import type { RequestListener } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { toHex } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type BlockId, codecRaw, hashBlock } from '../store/block-id.ts'
import { operationsWaitingMax } from '../store/group-commit.ts'
import { HandoffQueue } from './handoff.ts'
import { openPair, other, type Pair } from './pair.fixture.ts'
import { answerSignatureHeader } from './receipt.ts'
import { Repair } from './repair.ts'

const [alice, bob] = [new Uint8Array(32).fill(3), new Uint8Array(32).fill(4)]
/** Whether the other store is in the swarm. */
let isThere: boolean
let pair: Pair
/** What the store was asked that is not in the swarm. */
let asked: string[]
/** What it answers. */
let answer: number
/** What it says that an account has pinned. */
let pins: [Uint8Array, number, number][]
/** References of the copies that it was given. */
let referencesCame: CborValue[][]
/** When it answers about copies. */
let copies: Promise<void>

beforeEach(async () => {
  copies = Promise.resolve()
  pins = []
  referencesCame = []
  asked = []
  isThere = false
  answer = 1
  pair = await openPair({
    isConnected: () => isThere,
    answers: (request, response) => {
      void buffer(request).then(async (body) => {
        const what = request.url?.split('/').at(-1) ?? ''
        asked.push(what)
        if (what !== 'replicas')
          return response.end(encodeCbor(what === 'check' ? [0] : what === 'pins' ? pins : answer))
        await copies
        const came = decodeCbor(body) as [unknown, unknown, CborValue[]][]
        for (const [, , references] of came) referencesCame.push(references)
        const kept = encodeCbor(came.map(() => 1))
        return response.setHeader(answerSignatureHeader, pair.sign(body, kept)).end(kept)
      })
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

test.each([
  ['the same page of pins again and again', 55, codecRaw, 1],
  ['pins of a codec that there is not', 1, 3, 1],
  ['pins of a kind that there is not', 1, codecRaw, 7],
])('a store that names %s is passed over', async (_what, first, codec, pin) => {
  const digestOf = (number: number): Uint8Array => hashBlock(new Uint8Array([number >> 8, number & 255]))
  const digests = Array.from({ length: 1000 }, (_, index) => digestOf(index + first))
  // As they come, or in their order with something wrong about them.
  if (first === 1) digests.sort(Buffer.compare)
  pins = (first === 1 ? digests.slice(0, 1) : digests).map((digest) => [digest, codec, pin])
  const bytes = new Uint8Array(randomBytes(100))
  const id = { digest: hashBlock(bytes), codec: codecRaw }
  await pair.store.put({ ...id, bytes, references: [{ account: alice, at: 1, pin: 1 }], enforceQuota: true })
  expect(await pair.replicator.pins.list(alice)).toEqual([{ ...id, pin: 1 }])
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
  // Once more when the other one hands nothing over any more.
  expect(asked).toEqual(['release', 'release'])
  asked = []
  await pair.replicator.retract(id, made)
  expect(asked[0]).toBe('release')
})

test.each(['put', 'referred to'])(
  'what is %s again while the same is still being taken back stays, also if a release is known from the future',
  async (how) => {
    const answers: RequestListener = (_request, response) => void response.end(encodeCbor(0))
    const one = await openPair({ isConnected: () => false, answers, writeQuorum: 1 })
    const bytes = new Uint8Array(randomBytes(100))
    const id = { digest: hashBlock(bytes), codec: codecRaw }
    const put = (account: Uint8Array): Promise<unknown> =>
      one.replicator.put(id, bytes, { account, at: Date.now(), pin: 0 })
    await put(bob)
    await one.lane.stop()
    const say = (): Promise<unknown> =>
      how === 'put' ? put(alice) : one.replicator.pins.refer(id, { account: alice, token: '' })
    // By a clock that is a minute ahead.
    const at = Date.now() + 60_000
    await one.store.release(id.digest, alice, { at: at - 1, force: true })
    const flights = one.lane.begin(id.digest, [other])
    await put(alice)
    expect(one.store.keptSince(id.digest, alice)).toBe(at)
    await one.replicator.retract(id, { account: alice, token: '', at, since: at })
    expect(one.store.keptSince(id.digest, alice)).toBeUndefined()
    await say()
    one.lane.cancel(flights)
    await one.lane.stop()
    expect(one.store.keptSince(id.digest, alice)).toBeGreaterThanOrEqual(at)
    await one.close()
  },
)

test.each([
  ['by the queue', () => new HandoffQueue(pair.erasureParts).kick()],
  ['in a repair', () => void new Repair(pair.erasureParts).run()],
])(
  'a copy that is handed over %s brings the references of all accounts, however many keep the block',
  async (_how, begin) => {
    isThere = true
    const bytes = new Uint8Array(randomBytes(100))
    const id = { digest: hashBlock(bytes), codec: codecRaw }
    const accounts = Array.from({ length: 600 }, () => new Uint8Array(randomBytes(32)))
    const references = accounts.map((account) => ({ account, at: 4, pin: 0 }))
    await pair.store.put({ ...id, bytes, handoff: [other], enforceQuota: true, references })
    begin()
    await vi.waitFor(() => expect(referencesCame.map((page) => page.length)).toEqual([256, 256, 88]))
    const names = referencesCame.flat().map((reference) => toHex((reference as [Uint8Array])[0]))
    expect(new Set(names)).toEqual(new Set(accounts.map(toHex)))
    await pair.lane.stop()
  },
)

describe('a reference that is taken back while the block is handed over, as', () => {
  const id: BlockId = { digest: new Uint8Array(), codec: codecRaw }
  let made: { account: Uint8Array; token: string; at: number; since: number }
  /** Has the other store answer about the copies that it has been asked to keep. */
  let arrive: () => void

  beforeEach(async () => {
    isThere = true
    const bytes = new Uint8Array(randomBytes(100))
    id.digest = hashBlock(bytes)
    made = { account: alice, token: '', at: 5, since: 5 }
    const { promise, resolve } = Promise.withResolvers<void>()
    arrive = resolve
    copies = promise
    await pair.store.put({
      ...{ ...id, bytes, handoff: [other], enforceQuota: true },
      references: [
        { account: alice, at: 5, pin: 0 },
        { account: bob, at: 4, pin: 0 },
      ],
    })
  })

  test.each([
    ['by the queue', () => new HandoffQueue(pair.erasureParts).kick()],
    ['in a repair', () => void new Repair(pair.erasureParts).run()],
  ])('%s, is taken back where it arrives', async (_how, begin) => {
    begin()
    await vi.waitFor(() => expect(asked).toContain('replicas'))
    asked = []
    await pair.replicator.retract(id, made)
    // The other one may have no such reference yet.
    expect(asked).toEqual([])
    arrive()
    await vi.waitFor(() => expect(asked).toContain('release'))
    await pair.lane.stop()
  })

  test('by the queue, is not said to be taken back before that has arrived', async () => {
    const queue = new HandoffQueue(pair.erasureParts)
    queue.kick()
    await vi.waitFor(() => expect(asked).toContain('replicas'))
    let isAnswered = false
    const answered = pair.replicator.retractHere(id, made).then((isDone) => {
      isAnswered = true
      return isDone
    })
    await vi.waitFor(() => expect(pair.store.keptSince(id.digest, alice)).toBeUndefined())
    expect(isAnswered).toBe(false)
    arrive()
    expect(await answered).toBe(true)
    await queue.stop()
  })
})
