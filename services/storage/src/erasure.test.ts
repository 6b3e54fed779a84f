/** Erasure through three nodes: by the owner, by Userchain, with one away, of files, and on a Kubo daemon. */
import { randomBytes } from 'node:crypto'
import { importFile } from '@healthblock/runtime/unixfs'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { erasedRanges, followErasures } from './access/ledger-erasures.ts'
import { Cluster, multipart, type Place, sealedBlock, type Tenant } from './cluster.fixture.ts'
import { StorageError } from './errors.ts'
import { kuboBinary } from './kubo/kubo.fixture.ts'
import { ledgerWord } from './replication/erasure-word.ts'
import { codecRaw, encodeBlockId, hashBlock, parseBlockId } from './store/block-id.ts'

const waiting = { timeout: 60_000, interval: 50 }
const settings = { STORAGE_ERASE_DELAY_SECONDS: '1' }
const stream = new Uint8Array(8).fill(9)

let cluster: Cluster
let places: [Place, Place, Place]
let alice: Tenant
let bob: Tenant

beforeEach(() => {
  cluster = new Cluster()
})

afterEach(() => cluster.end())

async function start(changed: Record<string, string> = {}): Promise<void> {
  await cluster.prepare(3, { ...settings, ...changed })
  places = cluster.places as [Place, Place, Place]
  ;[alice, bob] = cluster.tenants as [Tenant, Tenant]
}

/** A sealed block of the stream that is erased. */
function sealed(fields: Omit<Parameters<typeof sealedBlock>[0], 'stream'>): Uint8Array {
  return sealedBlock({ ...fields, stream })
}

async function put(bytes: Uint8Array, by = alice, at = places[0], codec = 'raw'): Promise<string> {
  const response = await cluster.request(at, `/api/v0/block/put?cid-codec=${codec}`, multipart(bytes), by)
  expect(response.status).toBe(200)
  return ((await response.json()) as { Key: string }).Key
}

async function erase(cids: string[], by = alice, at = places[0]): Promise<{ state: string; Reason?: string }[]> {
  const headers = { 'content-type': 'application/json' }
  const response = await cluster.request(at, '/v1/erasures', { body: JSON.stringify({ cids }), headers }, by)
  expect(response.status).toBe(200)
  return ((await response.json()) as { results: { state: string; Reason?: string }[] }).results
}

/** What a node says of its own copy: 200, or why not. */
async function own(place: Place, cid: string): Promise<string> {
  const response = await cluster.request(place, `/api/v0/block/stat?arg=${cid}&offline=true`)
  const body = (await response.json()) as { Reason?: string }
  return body.Reason ?? String(response.status)
}

type Standing = { state: string; removeAt?: string }

async function standing(place: Place, cids: string[], by = alice): Promise<Standing[]> {
  const headers = { 'content-type': 'application/json' }
  const response = await cluster.request(
    place,
    '/v1/erasures/standing',
    { body: JSON.stringify({ cids }), headers },
    by,
  )
  return ((await response.json()) as { results: Standing[] }).results
}

async function everywhere(cids: string[], expected: string, nodes: readonly Place[] = places): Promise<void> {
  await vi.waitFor(async () => {
    const found = await Promise.all(nodes.flatMap((place) => cids.map((cid) => own(place, cid))))
    expect(found).toEqual(found.map(() => expected))
  }, waiting)
}

async function empty(place: Place): Promise<void> {
  await vi.waitFor(async () => expect((await cluster.client(place).repo.stat()).numObjects).toBe(0n), waiting)
}

describe('three nodes', () => {
  test('an owner erases what another wrote for her; nobody else does; nothing brings it back', async () => {
    await start()
    await cluster.startAll()
    const block = sealed({ owner: alice.account, writer: bob.account, sequence: 1 })
    const cid = await put(block, bob)
    await everywhere([cid], '200')
    for (const place of places) await cluster.client(place, bob).pin.add(cid as never)
    expect(await erase([cid], bob)).toMatchObject([{ state: 'refused', Reason: 'ERR_NOT_OWNER' }])
    expect(await erase([cid], alice, places[1])).toMatchObject([{ state: 'erased', blocks: 1 }])
    expect(await erase([cid], alice, places[2])).toMatchObject([{ state: 'erased' }])
    // No new copy is taken from now on; the old ones go when their time has come.
    const again = await cluster.request(places[1], '/api/v0/block/put', multipart(block), bob)
    expect(again.status).toBe(410)
    await everywhere([cid], 'ERR_BLOCK_ERASED')
    for (const place of places) {
      await place.node?.repair.run()
      const read = await cluster.request(place, `/api/v0/block/get?arg=${cid}`, {}, bob)
      expect(read.status).toBe(410)
      await empty(place)
    }
  })

  test('each node says how an erasure stands with its own copy: not heard of, served until its time, gone', async () => {
    await start({ STORAGE_ERASE_DELAY_SECONDS: '3' })
    await cluster.startAll()
    const cid = await put(sealed({ owner: alice.account, writer: alice.account, sequence: 1 }))
    await everywhere([cid], '200')
    const nowhere = encodeBlockId({ digest: new Uint8Array(32).fill(7), codec: codecRaw })
    for (const place of places)
      expect((await standing(place, [cid, nowhere])).map(({ state }) => state)).toEqual(['kept', 'absent'])
    const askedAt = Date.now()
    await erase([cid])
    for (const place of places) {
      const own = await vi.waitFor(async () => {
        const [found] = await standing(place, [cid])
        expect(found).toMatchObject({ state: 'erasing' })
        return found
      }, waiting)
      expect(Date.parse(own?.removeAt ?? '')).toBeGreaterThan(askedAt)
      // That it is here anybody may ask; that it is to go, and since when, is not a stranger's to know.
      expect(await standing(place, [cid], bob)).toEqual([{ cid, state: 'kept' }])
    }
    for (const place of places)
      await vi.waitFor(async () => expect(await standing(place, [cid])).toEqual([{ cid, state: 'erased' }]), waiting)
  })

  test('a block is not said to be gone while its bytes wait for other nodes to hear of the erasure', async () => {
    await start()
    await cluster.startAll()
    const [first, ...others] = places
    const cid = await put(sealed({ owner: alice.account, writer: alice.account, sequence: 1 }))
    await everywhere([cid], '200')
    for (const place of others) await cluster.stop(place)
    await erase([cid])
    await everywhere([cid], 'ERR_BLOCK_ERASED', [first])
    expect(await standing(first, [cid])).toMatchObject([{ state: 'erasing' }])
    for (const place of others) await cluster.start(place)
    await vi.waitFor(async () => expect(await standing(first, [cid])).toEqual([{ cid, state: 'erased' }]), waiting)
    expect(first.node?.store.totals().blocks).toBe(0)
  })

  test('a node that was away learns of it before it serves, and keeps nothing', async () => {
    await start()
    await cluster.startAll()
    const cid = await put(sealed({ owner: alice.account, writer: alice.account, sequence: 1 }))
    await everywhere([cid], '200')
    const [away, ...others] = [places[2], places[0], places[1]]
    if (!away) throw new TypeError('no node')
    await cluster.stop(away)
    await erase([cid])
    await everywhere([cid], 'ERR_BLOCK_ERASED', others)
    await cluster.start(away)
    // The very first answer: it has asked the others before it listened.
    expect(await own(away, cid)).toBe('ERR_BLOCK_ERASED')
    await empty(away)
  })

  test('a block is said to be nowhere only if every store says so', async () => {
    await start()
    await cluster.startAll()
    const [first, second, third] = places
    await cluster.stop(third)
    const cid = await put(new Uint8Array(randomBytes(1024)))
    await everywhere([cid], '200', [first, second])
    for (const place of [first, second]) await cluster.stop(place)
    await cluster.start(third)
    expect(await erase([cid], alice, third)).toMatchObject([{ state: 'refused', Reason: 'ERR_PEER_UNREACHABLE' }])
    for (const place of [first, second]) await cluster.start(place)
    await cluster.connected()
    expect(await erase([cid], alice, third)).toMatchObject([{ state: 'released' }])
    await everywhere([cid], 'ERR_BLOCK_NOT_FOUND')
    expect(await erase([cid], alice, third)).toMatchObject([{ state: 'refused', Reason: 'ERR_BLOCK_NOT_FOUND' }])
  })

  test('a foreign CID erased by another account takes nothing but its own reference', async () => {
    await start()
    await cluster.startAll()
    const bytes = new Uint8Array(randomBytes(1024))
    const cid = await put(bytes)
    await put(bytes, bob)
    expect(await erase([cid], bob)).toMatchObject([{ state: 'released' }])
    await everywhere([cid], '200')
    expect(await erase([cid], bob)).toMatchObject([{ state: 'refused', Reason: 'ERR_BLOCK_NOT_FOUND' }])
    expect(await erase([cid])).toMatchObject([{ state: 'released' }])
    await everywhere([cid], 'ERR_BLOCK_NOT_FOUND')
  })

  test('a file goes with every block below its root, and belongs to the header of its first leaf', async () => {
    await start()
    await cluster.startAll()
    const first = sealed({ owner: alice.account, writer: alice.account, sequence: 3, kind: 3 })
    const bytes = Buffer.concat([first, randomBytes(200_000)])
    const cids: string[] = []
    const { cid } = await importFile(
      (async function* () {
        yield bytes
      })(),
      {
        leafBytes: 1024,
        put: async (block) => {
          cids.push(await put(block.bytes, alice, places[0], block.cid.code === codecRaw ? 'raw' : 'dag-pb'))
        },
      },
    )
    expect(cids.length).toBeGreaterThan(190)
    const root = cid.toString()
    const client = cluster.client(places[1], bob)
    const stolen = await client.block.get(cid)
    const refused = await cluster.request(places[1], '/api/v0/block/put?cid-codec=dag-pb', multipart(stolen), bob)
    expect([refused.status, ((await refused.json()) as { Reason: string }).Reason]).toEqual([403, 'ERR_NOT_WRITER'])
    expect(await erase([root], bob)).toMatchObject([{ state: 'refused', Reason: 'ERR_NOT_OWNER' }])
    expect(await erase([root])).toMatchObject([{ state: 'erased', blocks: cids.length }])
    await everywhere([root, ...cids.slice(0, 20), ...cids.slice(-20)], 'ERR_BLOCK_ERASED')
    for (const place of places) await empty(place)
  })

  test('records that Userchain erases go at each node by itself, and come to none later', async () => {
    await start()
    await cluster.startAll()
    const blocks = [1, 2, 3, 4].map((sequence) => sealed({ owner: alice.account, writer: alice.account, sequence }))
    const cids = await Promise.all(blocks.slice(0, 3).map((block) => put(block)))
    await everywhere(cids, '200')
    const [kept = '', ...gone] = cids
    const body = { v: 1, t: 'erase', a: alice.account, n: 1, x: 1, ranges: [[stream, 2, 4]], law: 17 }
    const block = {
      seal: { ms: Date.now() },
      transactions: [{ transaction: { body } }, { transaction: { body: { t: 'iot' } } }],
      cursor: new Uint8Array([7]),
    }
    for (const place of places) {
      const { store, erasure } = place.node as NonNullable<Place['node']>
      const failures: unknown[] = []
      const busy = new StorageError('busy', { code: 'ERR_STORE_BUSY', operationsMax: 1 })
      await followErasures({
        follower: { follow: async ({ onBlock }) => await onBlock(block as never) },
        store,
        // A store that is busy does it later, and has not read on meanwhile.
        erase: async (range) => {
          if (failures.length < 2) throw busy
          expect(store.cursor('userchain')).toBeUndefined()
          await erasure.eraseRecords(range)
        },
        delayMs: 1000,
        onFailure: (error) => failures.push(error),
        signal: AbortSignal.timeout(60_000),
      })
      expect(failures).toEqual([busy, busy])
      expect(store.cursor('userchain')).toEqual(new Uint8Array([7]))
    }
    await everywhere(gone, 'ERR_BLOCK_ERASED')
    await everywhere([kept], '200')
    // Told by a slower store of what has gone here already, a store has heard it: the other removes nothing before that.
    for (const { node } of places) {
      await vi.waitFor(() => expect(node?.store.totals().blocks).toBe(1), waiting)
      await node?.erasure.accept(ledgerWord(parseBlockId(gone[0] as string)).bytes)
    }
    const late = await cluster.request(places[1], '/api/v0/block/put', multipart(blocks[3] as Uint8Array))
    expect(late.status).toBe(410)
    expect(erasedRanges(block as never, 5)[0]).toMatchObject({ first: 2, last: 4, removeAt: block.seal.ms + 5 })
  })

  test('nothing goes before its time, and whoever may read it can export it until then', async () => {
    await start({ STORAGE_ERASE_DELAY_SECONDS: '3600' })
    await cluster.startAll()
    const cid = await put(sealed({ owner: alice.account, writer: alice.account, sequence: 1 }))
    await everywhere([cid], '200')
    const [{ removeAt } = { removeAt: '' }] = (await erase([cid])) as unknown as { removeAt: string }[]
    expect(Date.parse(removeAt)).toBeGreaterThan(Date.now() + 3_500_000)
    for (const place of places) await place.node?.erasure.sweep()
    await everywhere([cid], '200')
    expect(await cluster.client(places[2], bob).block.get(cid as never)).toHaveLength(1024)
  })
})

test.skipIf(kuboBinary === undefined)('a Kubo daemon gives up what was erased, and serves it to nobody', async () => {
  await start()
  Object.assign(places[1].environment, { STORAGE_BACKEND: 'kubo', KUBO_BINARY: kuboBinary as string })
  await cluster.startAll()
  const block = sealed({ owner: alice.account, writer: alice.account, sequence: 1 })
  const cid = await put(block)
  expect(cid).toBe(encodeBlockId({ digest: hashBlock(block), codec: codecRaw }))
  await everywhere([cid], '200')
  await erase([cid])
  await everywhere([cid], 'ERR_BLOCK_ERASED')
  const inside = places[1].node?.kuboClient
  await vi.waitFor(async () => {
    await expect(inside?.call(`block/stat?offline=true&arg=${cid}`)).rejects.toThrow(/could not find/)
  }, waiting)
  const { Keys } = (await inside?.json<{ Keys?: Record<string, object> }>('pin/ls')) ?? {}
  expect(Keys?.[cid]).toBeUndefined()
})
