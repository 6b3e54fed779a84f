/** How a store reads the lists of words that others have heard. */
import { randomBytes } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Files } from '../files.ts'
import { type BlockId, codecRaw, hashBlock } from '../store/block-id.ts'
import { Erasure } from './erasure.ts'
import { statedWord } from './erasure-word.ts'
import { openPair, type Pair } from './pair.fixture.ts'

const alice = new Uint8Array(32).fill(7)

let pair: Pair
let erasure: Erasure
/** What the other store has heard; the numbers are 1, 2, 3, and so on. */
let words: Uint8Array[]
/** After which numbers it was asked for it. */
let asked: number[]
/** Number of an entry of its list. */
let numberOf: (index: number) => number
/** Done when it may answer. */
let isFree: Promise<void>

beforeEach(async () => {
  words = []
  asked = []
  numberOf = (index) => index + 1
  isFree = Promise.resolve()
  pair = await openPair({
    isConnected: () => false,
    answers: (request, response) => {
      void buffer(request).then(async (body) => {
        const [after] = decodeCbor(body) as [number]
        const isAsked = request.url === '/v1/replicas/words/list'
        if (isAsked) asked.push(after)
        await isFree
        const list = isAsked ? words.map((bytes, index) => [numberOf(index), bytes]).slice(after, after + 2) : []
        response.end(encodeCbor(list))
      })
    },
  })
  const { store, replicator } = pair
  const files = new Files({ replicator, store, readHeader: () => undefined })
  erasure = new Erasure({ ...pair.erasureParts, files, delayMs: 1000 })
})

afterEach(() => pair.close())

/** A block that Alice keeps here. */
async function keep(): Promise<BlockId> {
  const bytes = new Uint8Array(randomBytes(100))
  const id = { digest: hashBlock(bytes), codec: codecRaw }
  await pair.store.put({ ...id, bytes, references: [{ account: alice, at: 1, pin: 0 }], enforceQuota: false })
  return id
}

const wordOf = (id: BlockId): Uint8Array => statedWord(id, alice, 5).bytes
const isHere = ({ digest }: BlockId): boolean => pair.store.has(digest)

test('a list is read on from where it was read up to', async () => {
  const [first, second, third] = [await keep(), await keep(), await keep()]
  words = [first, second].map(wordOf)
  await erasure.pull()
  expect([first, second, third].map(isHere)).toEqual([false, false, true])
  words.push(wordOf(third))
  asked = []
  await erasure.pull()
  expect(isHere(third)).toBe(false)
  await erasure.pull()
  // From the last entry on, which shows that the numbers are the same.
  expect(asked).toEqual([1, 3, 2])
})

test.each([0, 1, 2, 5])(
  'of a store that began anew and has heard %i words before it, a word is heard that it has no other number for',
  async (count) => {
    words = [await keep(), await keep(), await keep()].map(wordOf)
    await erasure.pull()
    const block = await keep()
    words = [...Array.from({ length: count }, () => wordOf({ digest: new Uint8Array(randomBytes(32)), codec: 0x55 }))]
    words.push(wordOf(block))
    await erasure.pull()
    expect(isHere(block)).toBe(false)
  },
)

test('a store whose list goes round and round is not listened to any more', async () => {
  words = [wordOf(await keep()), wordOf(await keep())]
  numberOf = () => 1
  await erasure.pull()
  expect(pair.logged).toEqual(['tombstones-not-pulled'])
  expect(asked).toEqual([0])
})

test('a store is asked once at a time, however many want to know', async () => {
  words = [wordOf(await keep())]
  await Promise.all([erasure.pull(), erasure.pull(), erasure.pull()])
  expect(asked).toEqual([0, 1])
})

test('a start waits for what others have erased while something comes, and serves meanwhile when nothing does', async () => {
  const block = await keep()
  words = [wordOf(block)]
  const free = Promise.withResolvers<void>()
  isFree = free.promise
  await erasure.pullBeforeServing({ standstillMs: 10, atMostMs: 60_000 })
  expect(pair.logged).toEqual(['tombstones-awaited-no-longer'])
  expect(isHere(block)).toBe(true)
  free.resolve()
  await vi.waitFor(() => expect(isHere(block)).toBe(false))
  await erasure.pull()
  await erasure.pullBeforeServing({ standstillMs: 60_000, atMostMs: 60_000 })
  expect(pair.logged).toEqual(['tombstones-awaited-no-longer'])
})
