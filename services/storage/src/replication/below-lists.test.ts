/** How a store reads the lists of what others say lies below the roots of erased files. */
import { randomBytes } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Files } from '../files.ts'
import { codecRaw, hashBlock } from '../store/block-id.ts'
import { Erasure } from './erasure.ts'
import { openPair, type Pair } from './pair.fixture.ts'

const owner = new Uint8Array(32).fill(7)
const root = new Uint8Array(32).fill(8)

let pair: Pair
let erasure: Erasure
/** Digests that the other store has erased below the root; their numbers are 1, 2, 3, and so on. */
let erased: Uint8Array[]
/** After which numbers it was asked for them. */
let asked: number[]

function entriesAfter(body: Uint8Array): CborValue[] {
  const [after] = decodeCbor(body) as [number]
  asked.push(after)
  return erased.map((digest, index) => [index + 1, digest, root, owner]).slice(after)
}

beforeEach(async () => {
  erased = []
  asked = []
  pair = await openPair({
    isConnected: () => false,
    answers: (request, response) => {
      void buffer(request).then((body) => {
        const isAsked = request.url === '/v1/replicas/tombstones/list'
        response.end(encodeCbor(isAsked ? entriesAfter(body) : []))
      })
    },
  })
  const { store, replicator } = pair
  const files = new Files({ replicator, store, readHeader: () => undefined })
  erasure = new Erasure({ ...pair.erasureParts, files, delayMs: 1000 })
  await store.addWord({ digest: root, account: owner, at: 3, bytes: new Uint8Array(1) }, [])
})

afterEach(() => pair.close())

/** A block that the owner keeps here. */
async function keep(): Promise<Uint8Array> {
  const bytes = new Uint8Array(randomBytes(100))
  const digest = hashBlock(bytes)
  const references = [{ account: owner, at: 1, pin: 0 }]
  await pair.store.put({ digest, codec: codecRaw, bytes, references, enforceQuota: false })
  return digest
}

const isErased = (digest: Uint8Array): boolean => pair.store.tombstone(digest) !== undefined

test('a list is read on from where it was read up to', async () => {
  const [first, second] = [await keep(), await keep()]
  erased = [new Uint8Array(randomBytes(32)), first]
  await erasure.pull()
  expect([first, second].map(isErased)).toEqual([true, false])
  erased.push(second)
  asked = []
  await erasure.pull()
  expect(isErased(second)).toBe(true)
  await erasure.pull()
  // From the last entry on, which shows that the numbers are the same.
  expect(asked).toEqual([1, 3, 2])
})

test.each([0, 1, 2, 5])(
  'of a store that began anew and has %i entries before it, what it lists is heard of once more',
  async (count) => {
    erased = [1, 2, 3].map(() => new Uint8Array(randomBytes(32)))
    await erasure.pull()
    const leaf = await keep()
    erased = [...Array.from({ length: count }, () => new Uint8Array(randomBytes(32))), leaf]
    await erasure.pull()
    expect(isErased(leaf)).toBe(true)
  },
)
