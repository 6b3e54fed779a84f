import { encodeCbor } from '@healthblock/encoding/cbor'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Files } from '../files.ts'
import { Erasure } from './erasure.ts'
import { openPair, type Pair } from './pair.fixture.ts'

let pair: Pair
let erasure: Erasure
/** What the other store has no route for. */
let isUnknown: (path: string) => boolean

beforeEach(async () => {
  pair = await openPair({
    isConnected: () => false,
    answers: (request, response) => {
      request.resume().on('end', () => {
        if (!isUnknown(request.url ?? '')) response.end(encodeCbor([]))
        else response.writeHead(404).end(JSON.stringify({ Message: 'no such command', Reason: 'ERR_ROUTE' }))
      })
    },
  })
  const { store, replicator } = pair
  const files = new Files({ replicator, store, readHeader: () => undefined })
  erasure = new Erasure({ ...pair.erasureParts, files, delayMs: 1000 })
})

afterEach(() => pair.close())

test('that a store of an earlier version has no list of what lies below is said once, and again if it has gone back', async () => {
  isUnknown = (path) => path === '/v1/replicas/below/list'
  for (let count = 0; count < 3; count++) await erasure.pull()
  expect(pair.logged).toEqual(['store-is-older'])
  isUnknown = () => false
  await erasure.pull()
  isUnknown = (path) => path === '/v1/replicas/below/list'
  await erasure.pull()
  expect(pair.logged).toEqual(['store-is-older', 'store-is-older'])
})

test('a store that does not know what every version has is said not to answer each time', async () => {
  isUnknown = (path) => path === '/v1/replicas/words/list'
  for (let count = 0; count < 2; count++) await erasure.pull()
  expect(pair.logged).toEqual(['tombstones-not-pulled', 'tombstones-not-pulled'])
})
