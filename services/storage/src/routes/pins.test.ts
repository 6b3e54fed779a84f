/** Pins that are refused, at one store or in the middle of a tree: nobody is left with references that he did not ask for. */
import { randomBytes } from 'node:crypto'
import { equalBytes } from '@healthblock/encoding/bytes'
import { encode as encodeDagCbor } from '@ipld/dag-cbor'
import type { CID } from 'multiformats/cid'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { Cluster, multipart, type Place, type Tenant } from '../cluster.fixture.ts'
import { rankMembers } from '../replication/placement.ts'
import { codecDagCbor, codecRaw, encodeBlockId, fromCid, hashBlock, parseCid, toCid } from '../store/block-id.ts'

const patient = { timeout: 20_000, interval: 20 }
const cluster = new Cluster()
let places: [Place, Place, Place]
let alice: Tenant
let bob: Tenant
/** A file of Alice's, with its leaves. */
let file: CID
const blocks: CID[] = []

beforeAll(async () => {
  await cluster.prepare(3)
  await cluster.startAll()
  places = cluster.places as typeof places
  ;[alice, bob] = cluster.tenants as [Tenant, Tenant]
  const client = cluster.client(places[0], alice)
  const added = await client.add(randomBytes(5000), { cidVersion: 1, rawLeaves: true, chunker: 'size-1000' })
  file = added.cid
  for await (const { ref } of client.refs(file)) blocks.push(parseCid(ref))
  blocks.push(file)
  const isEverywhere = (): boolean =>
    places.every(({ node }) => blocks.every((cid) => node?.store.has(fromCid(cid).digest) === true))
  await vi.waitFor(() => expect(isEverywhere()).toBe(true), patient)
  // From now on one of the stores has room for three leaves of an account.
  await cluster.stop(places[2])
  places[2].environment.STORAGE_TENANT_BYTES_MAX = '4000'
  await cluster.start(places[2])
  await cluster.connected()
})

afterAll(() => cluster.end())

/** Of blocks, which an account keeps, each store's after the other's. */
function keptBy({ account }: Tenant, cids: readonly CID[]): boolean[][] {
  return places.map(({ node }) => cids.map((cid) => node?.store.keptSince(fromCid(cid).digest, account) !== undefined))
}

async function post(
  path: string,
  init: RequestInit = {},
): Promise<{ status: number; Reason?: string; Message?: string }> {
  const response = await cluster.request(places[0], `/api/v0/${path}`, init, bob)
  const text = await response.text()
  return { status: response.status, ...(JSON.parse(text.split('\n')[0] as string) as object) }
}

const nothing = (count: number): boolean[][] => places.map(() => Array.from({ length: count }, () => false))

test('a tree of which one store has no room for all is pinned nowhere, and uses no quota', async () => {
  expect(await post(`pin/add?arg=${file}`)).toMatchObject({ status: 413, Reason: 'ERR_QUOTA_EXCEEDED' })
  expect(keptBy(bob, blocks)).toEqual(nothing(blocks.length))
  expect(keptBy(alice, blocks)).toEqual(places.map(() => blocks.map(() => true)))
  for (const { node } of places) expect(node?.store.pins(bob.account, new Uint8Array(0), 10)).toEqual([])
  expect(places.map(({ node }) => node?.store.handoffCount())).toEqual([0, 0, 0])
})

test('what the account kept before a pin of it failed stays, and can be pinned by itself', async () => {
  const [leaf] = blocks as [CID]
  const bytes = await cluster.client(places[0], alice).block.get(leaf)
  const put = await cluster.request(places[0], '/api/v0/block/put', multipart(bytes), bob)
  expect(put.status).toBe(200)
  const kept = places.map(() => [true, ...blocks.slice(1).map(() => false)])
  await vi.waitFor(() => expect(keptBy(bob, blocks)).toEqual(kept), patient)
  expect(await post(`pin/add?arg=${file}`)).toMatchObject({ status: 413 })
  expect(keptBy(bob, blocks)).toEqual(kept)
  expect(await post(`pin/add?arg=${leaf}&recursive=false`)).toMatchObject({ status: 200 })
  for (const { node } of places) expect(node?.store.pinOf(fromCid(leaf).digest, bob.account)).toBe(1)
  for await (const { error } of cluster.client(places[0], bob).block.rm(leaf, { force: true })) {
    expect(error).toBeUndefined()
  }
  expect(keptBy(bob, blocks)).toEqual(nothing(blocks.length))
})

test('a tree with a block that is nowhere is not pinned, nor kept as far as it is there', async () => {
  const [leaf] = blocks as [CID]
  const missing = toCid({ digest: hashBlock(randomBytes(9)), codec: codecRaw })
  const node = encodeDagCbor({ links: [leaf, missing] })
  const root = toCid({ digest: hashBlock(node), codec: codecDagCbor })
  const references = [{ account: alice.account, at: 1, pin: 0 }]
  const put = { digest: hashBlock(node), codec: codecDagCbor, bytes: node, references, enforceQuota: false }
  for (const place of places) await place.node?.store.put(put)
  const answer = await post(`pin/add?arg=${root}`)
  expect(answer).toMatchObject({ Message: `ipld: could not find ${missing}`, Reason: 'ERR_BLOCK_NOT_FOUND' })
  expect(keptBy(bob, [leaf, root])).toEqual(nothing(2))
})

test('of an upload that fails after its first root was pinned, what lies below that root is not kept either', async () => {
  const [leaf] = blocks as [CID]
  const first = JSON.stringify({ name: randomBytes(8).toString('hex'), link: { '/': encodeBlockId(fromCid(leaf)) } })
  const head = '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
  const body = `${head}${first}\r\n${head}{"half":\r\n--b--\r\n`
  const headers = { 'content-type': 'multipart/form-data; boundary=b' }
  await post('dag/put?pin=true', { body, headers }).catch(() => {})
  await vi.waitFor(() => expect(keptBy(bob, [leaf])).toEqual(nothing(1)), patient)
  for (const { node } of places) expect(node?.store.pins(bob.account, new Uint8Array(0), 10)).toEqual([])
})

test('a block that one of two stores has no room for is refused, and kept at none', async () => {
  const [asked, other, full] = places
  const filling = new Uint8Array(randomBytes(3700))
  const references = [{ account: bob.account, at: 1, pin: 0 }]
  const id = { digest: hashBlock(filling), codec: codecRaw }
  await full.node?.store.put({ ...id, bytes: filling, references, enforceQuota: false })
  const members = asked.members?.list() ?? []
  const isFirst = (digest: Uint8Array): boolean =>
    rankMembers(digest, members).filter(({ account }) => !equalBytes(account, asked.account))[0]?.peerId === full.peerId
  let bytes = new Uint8Array(randomBytes(500))
  while (!isFirst(hashBlock(bytes))) bytes = new Uint8Array(randomBytes(500))
  const cid = toCid({ digest: hashBlock(bytes), codec: codecRaw })
  for (const path of ['block/put', 'block/put?pin=true', 'add?cid-version=1']) {
    expect(await post(path, multipart(bytes))).toMatchObject({ status: 413, Reason: 'ERR_QUOTA_EXCEEDED' })
    // A copy that was under way when that was answered is taken back when it is there.
    await vi.waitFor(() => expect(keptBy(bob, [cid])).toEqual(nothing(1)), patient)
    expect(other.node?.store.has(fromCid(cid).digest)).toBe(false)
    await vi.waitFor(() => expect(asked.node?.store.handoffCount()).toBe(0), patient)
  }
})

test('what one store heard to be given up later than now, and has no room for, is kept at none', async () => {
  const full = places[2]
  const put = async ({ node }: Place, { account }: Tenant, bytes: Uint8Array): Promise<CID> => {
    const id = { digest: hashBlock(bytes), codec: codecRaw }
    await node?.store.put({ ...id, bytes, references: [{ account, at: 1, pin: 0 }], enforceQuota: false })
    return toCid(id)
  }
  await put(full, bob, randomBytes(3700))
  const bytes = randomBytes(900)
  const [cid] = (await Promise.all(places.map((place) => put(place, alice, bytes)))) as [CID]
  const { digest } = fromCid(cid)
  await full.node?.store.release(digest, bob.account, { at: Date.now() + 60_000, force: true })
  expect(await post(`pin/add?arg=${cid}`)).toMatchObject({ status: 413, Reason: 'ERR_QUOTA_EXCEEDED' })
  expect(keptBy(bob, [cid])).toEqual(nothing(1))
})
