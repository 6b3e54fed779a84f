/** The contract of the RPC, through the client that others use, against a node that stands alone. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { toHex } from '@healthblock/encoding/bytes'
import { encode as encodeDagCbor } from '@ipld/dag-cbor'
import type { KuboRPCClient } from 'kubo-rpc-client'
import { CID } from 'multiformats/cid'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Cluster, multipart, type Place, sealedBlock, type Tenant } from './cluster.fixture.ts'
import { parseReceipts, receiptsHeader, verifyReceipt } from './replication/receipt.ts'
import { codecDagCbor, codecDagPb, codecRaw, encodeBlockId, hashBlock } from './store/block-id.ts'

const cluster = new Cluster()
let place: Place
let alice: Tenant
let bob: Tenant
let client: KuboRPCClient
const limits = { STORAGE_TENANT_BYTES_MAX: '6000000', STORAGE_REPLICAS: '1' }

beforeAll(async () => {
  await cluster.prepare(1, limits)
  await cluster.startAll()
  ;[place] = cluster.places as [Place]
  ;[alice, bob] = cluster.tenants as [Tenant, Tenant]
  client = cluster.client(place)
})

afterAll(async () => {
  await cluster.end()
})

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of source) items.push(item)
  return items
}

function newBytes(size = 1024): Uint8Array {
  return new Uint8Array(randomBytes(size))
}

function absent(): CID {
  return CID.parse(encodeBlockId({ digest: hashBlock(newBytes()), codec: codecRaw }))
}

async function problem(response: Response): Promise<{ status: number; reason: string }> {
  const body = (await response.json()) as { Message: string; Code: number; Type: string; Reason: string }
  expect(Object.keys(body)).toEqual(['Message', 'Code', 'Type', 'Reason'])
  return { status: response.status, reason: body.Reason }
}

describe('blocks', () => {
  test.each([0, 1, 1024, 65_536, 2 * 1024 * 1024])('a block of %i bytes comes back as it was', async (size) => {
    const bytes = newBytes(size)
    const cid = await client.block.put(bytes, { format: 'raw', version: 1 })
    expect(cid.toString()).toBe(encodeBlockId({ digest: hashBlock(bytes), codec: codecRaw }))
    expect(Buffer.compare(await client.block.get(cid), bytes)).toBe(0)
    expect(await client.block.stat(cid)).toMatchObject({ size })
    expect(await collect(client.block.rm(cid))).toHaveLength(1)
    await expect(client.block.get(cid)).rejects.toThrow(/could not find/)
  })

  test('a removal that looks through many pins lets others in between, and names the pin that holds a block', async () => {
    const { store } = place.node ?? {}
    if (store === undefined) throw new TypeError('not running')
    const [leaf, other, free] = [newBytes(), newBytes(), newBytes()]
    const [held, also, loose] = await Promise.all([leaf, other, free].map((bytes) => client.block.put(bytes)))
    const nodes = Array.from({ length: 2_000 }, (_, number) => encodeDagCbor({ number, leaf: held, also }))
    const references = [{ account: alice.account, at: 1, pin: 2 }]
    const put = (bytes: Uint8Array): Promise<unknown> =>
      store.put({ digest: hashBlock(bytes), codec: codecDagCbor, bytes, references, enforceQuota: false })
    await Promise.all(nodes.map(put))
    const answered: string[] = []
    const arg = [held, also, loose].map((cid) => `arg=${cid}`).join('&')
    const removal = cluster.request(place, `/api/v0/block/rm?${arg}`).then(async (response) => {
      const text = await response.text()
      answered.push('removal')
      return text
    })
    await cluster.request(place, `/api/v0/block/stat?arg=${held}`)
    answered.push('other')
    const lines = (await removal)
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { Error?: string })
    expect(answered).toEqual(['other', 'removal'])
    const via = expect.stringMatching(/^pinned: via bafyrei/)
    expect(lines).toEqual([
      { Hash: held?.toString(), Error: via },
      { Hash: also?.toString(), Error: via },
      { Hash: loose?.toString() },
    ])
    const released = { at: Date.now(), force: true }
    await Promise.all(nodes.map((bytes) => store.release(hashBlock(bytes), alice.account, released)))
  })

  test.each(['pin/ls?type=indirect', 'pin/verify?verbose=true'])(
    'a listing of what lies below many pins (%s) lets others in between, and names each block once',
    async (command) => {
      const { store } = place.node ?? {}
      if (store === undefined) throw new TypeError('not running')
      const leaf = await client.block.put(newBytes())
      const nodes = Array.from({ length: 2_000 }, (_, number) => encodeDagCbor({ number, leaf }))
      const references = [{ account: alice.account, at: 1, pin: 2 }]
      const put = (bytes: Uint8Array): Promise<unknown> =>
        store.put({ digest: hashBlock(bytes), codec: codecDagCbor, bytes, references, enforceQuota: false })
      await Promise.all(nodes.map(put))
      const answered: string[] = []
      const listing = cluster.request(place, `/api/v0/${command}`).then(async (response) => {
        const text = await response.text()
        answered.push('listing')
        return text
      })
      await cluster.request(place, `/api/v0/block/stat?arg=${leaf}`)
      answered.push('other')
      const listed = await listing
      expect(answered).toEqual(['other', 'listing'])
      if (command.startsWith('pin/ls')) expect(Object.keys(JSON.parse(listed).Keys)).toEqual([leaf.toString()])
      else expect(listed.match(/"Ok":true/g)?.length).toBeGreaterThanOrEqual(nodes.length)
      const released = { at: Date.now(), force: true }
      await Promise.all(nodes.map((bytes) => store.release(hashBlock(bytes), alice.account, released)))
    },
  )

  test('dag-pb CIDs name the same bytes', async () => {
    const bytes = newBytes()
    const cid = await client.block.put(bytes, { format: 'dag-pb', version: 1 })
    expect(cid.code).toBe(codecDagPb)
    const raw = CID.parse(encodeBlockId({ digest: hashBlock(bytes), codec: codecRaw }))
    expect(await client.block.get(raw)).toHaveLength(1024)
  })

  test('other hashes and codecs are refused', async () => {
    const { body, headers } = multipart(newBytes())
    for (const query of ['mhtype=sha2-512', 'cid-codec=dag-jose', 'mhtype=identity', 'mhlen=20']) {
      const response = await cluster.request(place, `/api/v0/block/put?${query}`, { body, headers })
      expect(await problem(response)).toEqual({ status: 400, reason: 'ERR_ARGUMENT_INVALID' })
    }
  })

  test('an answer carries a receipt that verifies, and receipts are made anew on demand', async () => {
    const bytes = newBytes()
    const { body, headers } = multipart(bytes)
    const response = await cluster.request(place, '/api/v0/block/put', { body, headers })
    const { Key, Size } = (await response.json()) as { Key: string; Size: number }
    expect(Size).toBe(1024)
    const again = await cluster.request(place, `/v1/receipts/${Key}`)
    const members = place.members
    if (!members) throw new TypeError('not running')
    for (const encoded of [response.headers.get(receiptsHeader), again.headers.get(receiptsHeader)]) {
      const [receipt, ...others] = parseReceipts(encoded ?? '')
      if (!receipt) throw new TypeError('no receipt')
      expect(others).toEqual([])
      const digest = hashBlock(bytes)
      expect(toHex((await verifyReceipt(receipt, { members, digest, size: 1024 })).store)).toBe(toHex(place.account))
      await expect(verifyReceipt(receipt, { members, digest, size: 1025 })).rejects.toThrow(/another block/)
      await expect(verifyReceipt({ ...receipt, ms: receipt.ms + 1 }, { members, digest, size: 1024 })).rejects.toThrow(
        /signature/,
      )
    }
    const none = await cluster.request(place, `/v1/receipts/${absent()}`)
    expect(await problem(none)).toEqual({ status: 404, reason: 'ERR_BLOCK_NOT_FOUND' })
  })

  test('fetches are logged: who, what, when', async () => {
    const cid = await client.block.put(newBytes())
    const before = Date.now()
    await cluster.client(place, bob).block.get(cid)
    const folder = join(place.environment.STORAGE_DIR as string, 'fetches')
    const lines = readdirSync(folder).flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n'))
    const line = lines.find((one) => one.endsWith(`${toHex(bob.account)} ${cid} ${toHex(alice.account)}`))
    expect(Number(line?.split(' ')[0])).toBeGreaterThanOrEqual(before)
  })

  test('a command without a body may be called a form: curl, wget and Python do', async () => {
    const cid = await client.block.put(newBytes(), { format: 'raw', version: 1 })
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    for (const body of ['', 'a=b']) {
      for (const command of ['block/stat', 'cat', 'pin/add', 'pin/ls', 'dag/export', 'pin/rm', 'block/rm']) {
        if (command === 'block/rm' && body === '') continue
        const response = await cluster.request(place, `/api/v0/${command}?arg=${cid}`, { body, headers })
        expect([command, response.status]).toEqual([command, 200])
        await response.arrayBuffer()
      }
    }
    const put = await cluster.request(place, '/api/v0/block/put', { body: 'a=b', headers })
    expect(await problem(put)).toEqual({ status: 400, reason: 'ERR_ARGUMENT_INVALID' })
  })

  test('an absent block is answered at once, with a time-out of whatever length', async () => {
    await expect(client.block.get(absent(), { timeout: 3_600_000 })).rejects.toThrow(/could not find/)
    await expect(client.block.stat(absent(), { offline: true } as never)).rejects.toThrow(/could not find/)
    const response = await cluster.request(place, `/api/v0/block/get?arg=${absent()}&timeout=soon`)
    expect(await problem(response)).toEqual({ status: 400, reason: 'ERR_ARGUMENT_INVALID' })
  })
})

describe('ownership', () => {
  test("only the caller's reference goes, and others keep the block", async () => {
    const bytes = newBytes()
    const cid = await client.block.put(bytes)
    await cluster.client(place, bob).block.put(bytes)
    const [mine] = await collect(client.block.rm(cid))
    expect(mine?.error).toBeUndefined()
    expect(await client.block.get(cid)).toHaveLength(1024)
    const [again] = await collect(client.block.rm(cid))
    expect(again?.error?.message).toMatch(/could not find/)
    expect(await client.block.get(cid)).toHaveLength(1024)
    await collect(cluster.client(place, bob).block.rm(cid))
    await expect(client.block.get(cid)).rejects.toThrow(/could not find/)
  })

  test('a sealed payload is put by its writer only and removed by nobody', async () => {
    const block = sealedBlock({ owner: bob.account, writer: alice.account })
    await expect(cluster.client(place, bob).block.put(block)).rejects.toThrow(/writer/)
    const cid = await client.block.put(block)
    const [removed] = await collect(client.block.rm(cid, { force: true }))
    expect(removed?.error?.message).toMatch(/tombstone/)
    expect(await client.block.get(cid)).toHaveLength(1024)
  })

  test('what only looks like a sealed payload is an ordinary block', async () => {
    const block = sealedBlock({ owner: bob.account, writer: alice.account })
    block[140] = 1
    const cid = await cluster.client(place, bob).block.put(block)
    expect((await collect(cluster.client(place, bob).block.rm(cid)))[0]?.error).toBeUndefined()
  })
})

describe('pins', () => {
  test('are listed for their account, hold the block, and are removed', async () => {
    const cid = await client.block.put(newBytes(), { pin: true })
    const other = await client.block.put(newBytes())
    await client.pin.add(other)
    const listed = await collect(client.pin.ls())
    const types = new Map(listed.map((pin) => [pin.cid.toString(), pin.type]))
    expect(types.get(cid.toString())).toBe('direct')
    expect(types.get(other.toString())).toBe('recursive')
    expect(await collect(cluster.client(place, bob).pin.ls())).toEqual([])
    expect(await collect(client.pin.ls({ paths: cid }))).toHaveLength(1)
    expect((await collect(client.block.rm(cid)))[0]?.error?.message).toMatch(/pinned: direct$/)
    expect((await collect(client.block.rm(other)))[0]?.error?.message).toMatch(/pinned: recursive$/)
    expect((await client.pin.rm(cid)).toString()).toBe(cid.toString())
    await expect(client.pin.rm(cid)).rejects.toThrow(/not pinned/)
    await expect(collect(client.pin.ls({ paths: cid }))).rejects.toThrow(/not pinned/)
    expect((await collect(client.block.rm(cid)))[0]?.error).toBeUndefined()
    await expect(client.pin.add(absent())).rejects.toThrow(/could not find/)
  })
})

describe('limits', () => {
  test('a block above 2 MiB is refused, whether its length is told before or not', async () => {
    const { body, headers } = multipart(newBytes(2 * 1024 * 1024 + 1))
    const told = await cluster.request(place, '/api/v0/block/put', { body, headers })
    expect(await problem(told)).toEqual({ status: 413, reason: 'ERR_BLOCK_TOO_LARGE' })
    await expect(client.block.put(newBytes(3 * 1024 * 1024))).rejects.toThrow()
  })

  test('the quota is one account own, and is refused before the body is read', async () => {
    const carol = cluster.client(place, bob)
    const kept = [await carol.block.put(newBytes(2_000_000)), await carol.block.put(newBytes(2_000_000))]
    kept.push(await carol.block.put(newBytes(1_900_000)))
    const { headers } = multipart(newBytes(1))
    // Of the body nothing is ever sent: the answer can only come from the headers.
    const announced = { ...headers, authorization: `Bearer ${bob.token}`, 'content-length': '1000000' }
    const sent = httpRequest(`${place.node?.address.url}/api/v0/block/put`, { method: 'POST', headers: announced })
    sent.flushHeaders()
    const [answer] = (await once(sent, 'response')) as [IncomingMessage]
    expect(answer.statusCode).toBe(413)
    sent.destroy()
    await expect(carol.block.put(newBytes(200_000))).rejects.toThrow(/quota/)
    await client.block.put(newBytes(200_000))
    for (const cid of kept) await collect(carol.block.rm(cid))
    await carol.block.put(newBytes(200_000))
  })

  test('malformed bodies are refused by name and change nothing', async () => {
    const before = (await client.repo.stat()).numObjects
    const { body, headers } = multipart(newBytes())
    const cut = Buffer.concat([body.subarray(0, -4), Buffer.from('\r\n'), body.subarray(0, -6)])
    for (const bad of [Buffer.alloc(0), body.subarray(0, 50), body.subarray(0, -6), body.subarray(1), cut]) {
      const response = await cluster.request(place, '/api/v0/block/put', { body: bad, headers })
      expect((await problem(response)).status).toBe(400)
    }
    for (const type of ['application/json', 'multipart/form-data', 'text/plain']) {
      const init = { body, headers: { 'content-type': type } }
      expect((await problem(await cluster.request(place, '/api/v0/block/put', init))).status).toBeLessThan(500)
    }
    expect((await client.repo.stat()).numObjects).toBe(before)
  })
})

describe('access', () => {
  test('nobody gets in without a token, and 401 comes before 404', async () => {
    const base = place.node?.address.url
    for (const path of ['/api/v0/version', '/api/v0/nothing', '/v1/incidents', '/v1/replicas/check', '/anything']) {
      for (const headers of [{}, { authorization: 'Bearer nonsense' }, { authorization: 'Basic YTpi' }]) {
        const response = await fetch(`${base}${path}`, { method: 'POST', headers: headers as Record<string, string> })
        expect((await problem(response)).status).toBe(401)
      }
    }
    // In Kubo's own words, which its clients look for.
    const unknown = await cluster.request(place, '/api/v0/nothing')
    expect([unknown.status, await unknown.text()]).toEqual([404, '404 page not found\n'])
    expect((await problem(await cluster.request(place, '/nothing'))).status).toBe(404)
  })

  test("the stores' own routes take no tenant", async () => {
    const response = await cluster.request(place, '/v1/replicas/check')
    expect(await problem(response)).toEqual({ status: 403, reason: 'ERR_ROLE_FORBIDDEN' })
  })

  test('health, readiness and metrics need none', async () => {
    const base = place.node?.address.url
    expect((await fetch(`${base}/healthz`)).status).toBe(200)
    expect((await fetch(`${base}/readyz`)).status).toBe(200)
    const metrics = await (await fetch(`${base}/metrics`)).text()
    expect(metrics).toMatch(/^storage_blocks \d+$/m)
    // An alarm asks by how much each grew, so each is there before the first.
    for (const kind of ['block-corrupt', 'block-healed', 'peer-served-wrong-bytes', 'copy-not-proved']) {
      expect(metrics).toContain(`storage_incidents_total{kind="${kind}"} 0`)
    }
    expect(metrics).not.toContain(alice.token)
  })
})

test('the node says who it is', async () => {
  expect((await client.version()).version).toBe('0.43.0')
  const id = await client.id()
  expect(id.id.toString()).toBe(place.peerId)
  expect(id.addresses[0]?.toString()).toMatch(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+\/p2p\//)
  const stat = await client.repo.stat()
  expect(stat.storageMax > stat.repoSize).toBe(true)
  expect(await client.swarm.peers()).toEqual([])
})

test('the service describes what it answers, to anybody', async () => {
  const url = place.node?.address.url as string
  const answer = await fetch(`${url}/openapi.json`)
  const { openapi, paths } = (await answer.json()) as {
    openapi: string
    paths: Record<string, Record<string, { parameters: { name: string; in: string }[]; requestBody?: object }>>
  }
  expect(openapi).toBe('3.1.0')
  const routes = Object.entries(paths).flatMap(([path, methods]) => Object.keys(methods).map((one) => `${one} ${path}`))
  expect(routes).toEqual(expect.arrayContaining(['post /api/v0/block/get', 'get /v1/fetches', 'post /v1/replicas']))
  expect(routes.filter((route) => /head|healthz|openapi/.test(route))).toEqual([])
  expect(paths['/v1/receipts/{cid}']?.post?.parameters).toMatchObject([{ name: 'cid', in: 'path', required: true }])
  expect(paths['/v1/incidents']?.get?.parameters.map(({ name }) => name)).toEqual(['after', 'limit'])
  expect(paths['/api/v0/block/put']?.post?.requestBody).toEqual({
    required: true,
    content: { 'multipart/form-data': {} },
  })
  // What is described is there: nothing of it is an unknown command or route.
  for (const route of routes) {
    const [method = '', path = ''] = route.split(' ')
    const init = { method: method.toUpperCase(), headers: { authorization: `Bearer ${alice.token}` } }
    const response = await fetch(url + path.replace(/{\w+}/g, absent().toString()), init)
    expect([route, await response.text()]).not.toEqual([route, expect.stringMatching(/page not found|ERR_ROUTE/)])
  }
})
