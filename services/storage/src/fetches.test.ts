/** Who fetched what: each tenant reads the log of fetches of its own blocks, signed, and of nobody else's. */
import { randomBytes } from 'node:crypto'
import { toHex } from '@healthblock/encoding/bytes'
import { StorageClient } from '@healthblock/runtime/storage-client'
import { importFile } from '@healthblock/runtime/unixfs'
import * as dagPb from '@ipld/dag-pb'
import { UnixFS } from 'ipfs-unixfs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Cluster, multipart, type Place, sealedBlock, type Tenant } from './cluster.fixture.ts'
import { codecDagPb, encodeBlockId, fromCid, hashBlock, parseCid } from './store/block-id.ts'

const cluster = new Cluster()
let place: Place
let alice: Tenant
let doctor: Tenant

beforeAll(async () => {
  await cluster.prepare(1, { STORAGE_REPLICAS: '1', STORAGE_ERASE_DELAY_SECONDS: '1' })
  await cluster.startAll()
  ;[place] = cluster.places as [Place]
  ;[alice, doctor] = cluster.tenants as [Tenant, Tenant]
})
afterAll(() => cluster.end())

async function put(bytes: Uint8Array, by: Tenant, codec = 'raw'): Promise<string> {
  const response = await cluster.request(place, `/api/v0/block/put?cid-codec=${codec}`, multipart(bytes), by)
  expect(response.status).toBe(200)
  return ((await response.json()) as { Key: string }).Key
}

async function read(path: string, by: Tenant): Promise<number> {
  const response = await cluster.request(place, `/api/v0/${path}`, {}, by)
  await response.arrayBuffer()
  return response.status
}

function clientOf(tenant: Tenant, storeKey = place.storeKey): StorageClient {
  return new StorageClient({
    urls: [place.node?.address.url as string],
    ledgerId: cluster.ledgerId,
    token: () => tenant.token,
    storeKeyOf: (account) => (toHex(account) === toHex(place.account) ? storeKey : undefined),
  })
}

/** What a tenant is shown, as `<who> <cid>`, from a cursor on. */
async function shown(tenant: Tenant, after: string): Promise<string[]> {
  const url = place.node?.address.url as string
  const page = await clientOf(tenant).fetches({ url, account: tenant.account, after })
  expect([toHex(page.store), page.isEnd]).toEqual([toHex(place.account), true])
  return page.fetches.map(({ account, cid }) => `${toHex(account)} ${cid}`)
}

/** Where the log ends now. */
async function endOf(tenant: Tenant): Promise<string> {
  const url = place.node?.address.url as string
  return (await clientOf(tenant).fetches({ url, account: tenant.account })).next
}

const by = (tenant: Tenant, cid: string): string => `${toHex(tenant.account)} ${cid}`

/** A file of three leaves, of which the first begins with a sealed payload's header. */
async function putFile(owner: Tenant, writer: Tenant): Promise<{ root: string; leaves: string[] }> {
  const first = sealedBlock({ owner: owner.account, writer: writer.account, kind: 7, size: 262_144 })
  const bytes = new Uint8Array(Buffer.concat([first, randomBytes(300_000)]))
  const leaves: string[] = []
  async function* source(): AsyncGenerator<Uint8Array> {
    yield bytes
  }
  const root = await importFile(source(), {
    put: async ({ cid, bytes: block }) => {
      const id = fromCid(cid)
      if (id.codec !== codecDagPb) leaves.push(encodeBlockId(id))
      await put(block, writer, id.codec === codecDagPb ? 'dag-pb' : 'raw')
    },
  })
  return { root: encodeBlockId(fromCid(root.cid)), leaves }
}

describe('the log of fetches', () => {
  test('shows the owner of a sealed payload who fetched it, whoever wrote it, and nobody else', async () => {
    const after = await endOf(alice)
    const cid = await put(sealedBlock({ owner: alice.account, writer: doctor.account }), doctor)
    await read(`block/get?arg=${cid}`, doctor)
    await read(`block/get?arg=${cid}`, alice)
    await read(`dag/get?arg=${cid}`, doctor)
    expect(await shown(alice, after)).toEqual([by(doctor, cid), by(alice, cid), by(doctor, cid)])
    expect(await shown(doctor, after)).toEqual([])
  })

  test('shows of a block without a header who fetched it to the one who brought it first', async () => {
    const after = await endOf(alice)
    const bytes = new Uint8Array(randomBytes(500))
    const cid = await put(bytes, alice)
    // Bringing what one has fetched does not open the log.
    await put(bytes, doctor)
    await read(`block/get?arg=${cid}`, doctor)
    expect(await shown(alice, after)).toEqual([by(doctor, cid)])
    expect(await shown(doctor, after)).toEqual([])
  })

  test('says of a file, and of an archive, that its root was fetched, and keeps saying so after its erasure', async () => {
    const after = await endOf(alice)
    const { root } = await putFile(alice, alice)
    expect(await read(`cat?arg=${root}`, doctor)).toBe(200)
    expect(await read(`dag/export?arg=${root}`, doctor)).toBe(200)
    const written = await putFile(alice, doctor)
    expect(await read(`cat?arg=${written.root}`, alice)).toBe(200)
    const fetched = [by(doctor, root), by(doctor, root), by(alice, written.root)]
    expect(await shown(alice, after)).toEqual(fetched)
    const headers = { 'content-type': 'application/json' }
    await cluster.request(place, '/v1/erasures', { body: JSON.stringify({ cids: [root] }), headers }, alice)
    await expect.poll(() => read(`block/stat?arg=${root}`, doctor), { timeout: 20_000 }).toBe(410)
    expect(await shown(alice, after)).toEqual(fetched)
  })

  test('names each block of others that somebody reads through a node of his own', async () => {
    const payload = sealedBlock({ owner: alice.account, writer: alice.account, size: 2000 })
    const cid = await put(payload, alice)
    const { leaves } = await putFile(alice, alice)
    const own = await put(new Uint8Array(randomBytes(100)), doctor)
    const after = await endOf(alice)
    const sizes = [100, 2000, 262_144]
    const unixfs = new UnixFS({ type: 'file' })
    for (const size of sizes) unixfs.addBlockSize(BigInt(size))
    const Links = [own, cid, leaves[1] as string].map((one, index) => {
      return { Name: '', Hash: parseCid(one), Tsize: sizes[index] as number }
    })
    const node = dagPb.encode({ Data: unixfs.marshal(), Links })
    const root = await put(node, doctor, 'dag-pb')
    expect(root).toBe(encodeBlockId({ digest: hashBlock(node), codec: codecDagPb }))
    for (const path of ['dag/export', 'cat']) {
      expect(await read(`${path}?arg=${root}`, doctor)).toBe(200)
    }
    const both = [by(doctor, cid), by(doctor, leaves[1] as string)]
    expect((await shown(alice, after)).sort()).toEqual([...both, ...both].sort())
    expect(await shown(doctor, after)).toEqual([by(doctor, root), by(doctor, root)])
  })

  test('is signed by the store for this account and this place', async () => {
    const url = place.node?.address.url as string
    const other = new Uint8Array(randomBytes(32))
    await expect(clientOf(alice).fetches({ url, account: other })).rejects.toThrow(/cannot be used/)
    await expect(clientOf(alice, other).fetches({ url, account: alice.account })).rejects.toThrow(/cannot be used/)
    for (const query of ['after=1', 'after=x.y', 'limit=0', 'limit=1001', 'limit=many']) {
      const response = await cluster.request(place, `/v1/fetches?${query}`, { method: 'GET' }, alice)
      expect([query, response.status]).toEqual([query, 400])
    }
    const bare = await fetch(`${url}/v1/fetches`)
    expect(bare.status).toBe(401)
  })
})
