/** Limits: what is too much, too slow, or a lie is refused in Kubo's form of errors; nothing is torn, nothing lost. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { Cluster, multipart, type Place, type Tenant } from './cluster.fixture.ts'
import { rankMembers } from './replication/placement.ts'
import { hashBlock } from './store/block-id.ts'
import type { BlockStore } from './store/block-store.ts'
import { packPathOf, packsFolderOf } from './store/pack-place.ts'

const patient = { timeout: 20_000, interval: 20 }
const cluster = new Cluster()
let place: Place
let alice: Tenant
let bob: Tenant

beforeAll(async () => {
  await cluster.prepare(1, {
    STORAGE_REPLICAS: '1',
    STORAGE_TENANT_BYTES_MAX: '3000000',
    STORAGE_BYTES_MAX: '4000000',
  })
  await cluster.startAll()
  ;[place] = cluster.places as [Place]
  ;[alice, bob] = cluster.tenants as [Tenant, Tenant]
})

afterAll(() => cluster.end())

interface Problem {
  status: number
  Type: string
  Reason: string
}

async function post(path: string, bytes: Uint8Array, by = alice): Promise<Problem> {
  const response = await cluster.request(place, `/api/v0/${path}`, multipart(bytes), by)
  const text = await response.text()
  return { status: response.status, ...(JSON.parse(text.split('\n')[0] as string) as Omit<Problem, 'status'>) }
}

async function totals(): Promise<{ blocks: bigint; bytes: bigint }> {
  const { numObjects, repoSize } = await cluster.client(place).repo.stat()
  return { blocks: numObjects, bytes: repoSize }
}

/** Sends a request's head alone: the answer can only come from it. */
async function answerToHead(path: string, headers: Record<string, string>): Promise<number | undefined> {
  const sent = httpRequest(`${place.node?.address.url}/api/v0/${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${alice.token}`, ...headers },
  })
  sent.on('error', () => {})
  sent.flushHeaders()
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  sent.destroy()
  return answer.statusCode
}

describe('quotas', () => {
  test('of a tenant: refused before the body is read, for blocks, files and archives alike', async () => {
    const { headers } = multipart(new Uint8Array(0))
    for (const path of ['block/put', 'add', 'dag/put', 'dag/import']) {
      expect([path, await answerToHead(path, { ...headers, 'content-length': '4000000' })]).toEqual([path, 413])
    }
  })

  test('of a tenant: a block whose length nobody told is refused where the quota ends, though more would come', async () => {
    const small = new Cluster()
    try {
      await small.prepare(1, { STORAGE_REPLICAS: '1', STORAGE_TENANT_BYTES_MAX: '100000' })
      const [only] = small.places as [Place]
      await small.start(only)
      const sent = httpRequest(`${only.node?.address.url}/api/v0/block/put`, {
        method: 'POST',
        headers: { authorization: `Bearer ${small.tenants[0]?.token}`, ...multipart(new Uint8Array(0)).headers },
      })
      sent.on('error', () => {})
      sent.write(multipart(new Uint8Array(200_000)).body.subarray(0, 190_000))
      const [answer] = (await once(sent, 'response')) as [IncomingMessage]
      expect(answer.statusCode).toBe(413)
      sent.destroy()
    } finally {
      await small.end()
    }
  })

  test('of a tenant: what is remembered of removals is bounded by it, and who has come to that is told', async () => {
    const small = new Cluster()
    try {
      await small.prepare(1, { STORAGE_REPLICAS: '1', STORAGE_TENANT_BYTES_MAX: '5120' })
      const [only] = small.places as [Place]
      const [careless, other] = small.tenants as [Tenant, Tenant]
      await small.start(only)
      const client = small.client(only, careless)
      const kept = await client.block.put(randomBytes(10))
      for (let count = 0; count < 20; count++) {
        const cid = await client.block.put(randomBytes(10))
        for await (const { error } of client.block.rm(cid)) expect(error).toBeUndefined()
      }
      await expect(client.block.put(randomBytes(10))).rejects.toThrow(/too many removals of this account/)
      const theirs = await small.client(only, other).block.put(randomBytes(10))
      for await (const { error } of client.block.rm(theirs)) expect(error?.message).toMatch(/too many removals/)
      for await (const { error } of client.block.rm(kept)) expect(error).toBeUndefined()
    } finally {
      await small.end()
    }
  })

  test('of a tenant: what other stores alone keep of its file it gives up, however much is remembered of its removals', async () => {
    const small = new Cluster()
    try {
      await small.prepare(3, { STORAGE_REPLICAS: '2', STORAGE_TENANT_BYTES_MAX: '5120' })
      await small.startAll()
      const [first, second] = small.places as [Place, Place]
      const [careless, other] = small.tenants as [Tenant, Tenant]
      const client = small.client(first, careless)
      const isLast = (bytes: Uint8Array): boolean => {
        const last = rankMembers(hashBlock(bytes), first.members?.list() ?? []).at(-1)
        return Buffer.compare(last?.account ?? bytes, first.account) === 0
      }
      const putElsewhere = async (tenant: Tenant): Promise<CID> => {
        let bytes = randomBytes(10)
        while (!isLast(bytes)) bytes = randomBytes(10)
        return await small.client(second, tenant).block.put(bytes)
      }
      const [alone, leaf, theirs] = [
        await putElsewhere(careless),
        await putElsewhere(careless),
        await putElsewhere(other),
      ]
      const root = await client.dag.put({ leaf })
      expect([alone, leaf, theirs].some(({ multihash }) => first.node?.store.has(multihash.digest))).toBe(false)
      const account = small.tenants[0]?.account as Uint8Array
      while ((first.node?.store.removalsLeft(account) ?? 0) > 0) {
        const cid = await client.block.put(randomBytes(10))
        for await (const { error } of client.block.rm(cid)) expect(error).toBeUndefined()
      }
      for await (const { error } of client.block.rm(theirs)) expect(error?.message).toMatch(/too many removals/)
      for await (const { error } of client.block.rm(alone)) expect(error).toBeUndefined()
      const headers = { 'content-type': 'application/json' }
      const body = JSON.stringify({ cids: [root.toString()] })
      const answer = await small.request(first, '/v1/erasures', { body, headers }, careless)
      expect(await answer.json()).toMatchObject({ results: [{ state: 'released', blocks: 2 }] })
      for (const { multihash } of [alone, leaf, root]) {
        for (const { node } of small.places) expect(node?.store.has(multihash.digest)).toBe(false)
      }
    } finally {
      await small.end()
    }
  })

  test('of a tenant: a file whose length nobody told ends where the quota does, and leaves others alone', async () => {
    const before = await totals()
    const answer = await post('add?cid-version=1', new Uint8Array(randomBytes(3_100_000)))
    expect(answer).toMatchObject({ status: 413, Type: 'error', Reason: 'ERR_QUOTA_EXCEEDED' })
    const after = await totals()
    // Half a file is nobody's.
    expect(after).toEqual(before)
    expect(await post('block/put', new Uint8Array(randomBytes(1000)), bob)).toMatchObject({ status: 200 })
    const pins: unknown[] = []
    for await (const pin of cluster.client(place).pin.ls({ type: 'recursive' })) pins.push(pin)
    expect(pins).toEqual([])
  })

  test('of the node: a full store says so with its own status, and what it has stays', async () => {
    const kept = new Uint8Array(randomBytes(1_500_000))
    const cid = await cluster.client(place, bob).block.put(kept)
    const others = [await cluster.client(place).block.put(new Uint8Array(randomBytes(1_900_000)))]
    const answer = await post('block/put', new Uint8Array(randomBytes(1_000_000)), bob)
    expect(answer).toMatchObject({ status: 507, Type: 'error', Reason: 'ERR_STORE_FULL' })
    expect(Buffer.compare(await cluster.client(place, bob).block.get(cid), kept)).toBe(0)
    for await (const _ of cluster.client(place).block.rm(others)) void _
    expect(await post('block/put', new Uint8Array(randomBytes(1_000_000)), bob)).toMatchObject({ status: 200 })
  })
})

test('a disk that is full all at once refuses large blocks as full, and small ones, gets and removals go on', async () => {
  const small = new Cluster()
  try {
    await small.prepare(1, { STORAGE_REPLICAS: '1' })
    const [only] = small.places as [Place]
    const packs = packsFolderOf(join(only.environment.STORAGE_DIR as string, 'blocks.db'))
    mkdirSync(packs, { recursive: true })
    // The first pack is written to a disk without room.
    symlinkSync('/dev/full', packPathOf(packs, 1))
    await small.start(only)
    const put = async (bytes: Uint8Array): Promise<unknown> => {
      const answer = await small.request(only, '/api/v0/block/put', multipart(bytes), small.tenants[0])
      return [answer.status, ((await answer.json()) as { Reason?: string }).Reason]
    }
    const bytes = new Uint8Array(randomBytes(1000))
    const [large, stored] = [new Uint8Array(randomBytes(100_000)), await put(bytes)]
    expect([stored, await put(large), await put(large)]).toEqual([
      [200, undefined],
      [507, 'ERR_STORE_FULL'],
      [507, 'ERR_STORE_FULL'],
    ])
    const store = only.node?.store as BlockStore
    expect([store.has(hashBlock(large)), store.totals()]).toEqual([false, { blocks: 1, bytes: 1000 }])
    expect(await store.get(hashBlock(bytes))).toEqual(Buffer.from(bytes))
    const account = small.tenants[0]?.account as Uint8Array
    expect(await store.release(hashBlock(bytes), account, { at: Date.now(), force: true })).toMatchObject({
      deleted: 1,
    })
  } finally {
    await small.end()
  }
})

describe('bad bodies', () => {
  test('what fails in the middle of a streamed answer is its last line, and the connection is cut', async () => {
    const part = (name: string, type: string, body: string): string =>
      `--b\r\nContent-Disposition: form-data; name="file"; filename="${name}"\r\nContent-Type: ${type}\r\n\r\n${body}\r\n`
    const body = `${part('a', 'application/octet-stream', 'text')}${part('b', 'application/symlink', 'a')}--b--\r\n`
    const headers = { 'content-type': 'multipart/form-data; boundary=b' }
    const response = await cluster.request(place, '/api/v0/add', { body, headers })
    let said = ''
    const read = async (): Promise<void> => {
      for await (const chunk of response.body ?? []) said += Buffer.from(chunk).toString()
    }
    await expect(read()).rejects.toThrow()
    const lines = said.trim().split('\n')
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { Name: 'a' },
      { Type: 'error', Code: 0, Reason: 'ERR_ARGUMENT_INVALID', Message: 'path: symbolic links are not stored' },
    ])
  })

  test('lengths that lie, bodies that end, parts that never end: refused or cut off, and nothing is kept', async () => {
    const before = await totals()
    const { body, headers } = multipart(new Uint8Array(randomBytes(2000)))
    const { port } = new URL(place.node?.address.url ?? '')
    for (const path of ['block/put', 'add']) {
      for (const [length, sent] of [
        [body.length + 500, body],
        [100, body],
        [body.length, body.subarray(0, 300)],
      ] as const) {
        const socket = connect(Number(port), '127.0.0.1')
        socket.on('error', () => {})
        const head = [
          `POST /api/v0/${path} HTTP/1.1`,
          'Host: localhost',
          `Authorization: Bearer ${bob.token}`,
          `Content-Type: ${headers['content-type']}`,
          `Content-Length: ${length}`,
          'Connection: close',
          '',
          '',
        ].join('\r\n')
        socket.write(head)
        socket.write(sent)
        socket.end()
        let answer = ''
        socket.on('data', (chunk) => {
          answer += String(chunk)
        })
        await once(socket, 'close')
        expect(answer.startsWith('HTTP/1.1 400')).toBe(true)
        expect(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')))).toMatchObject({ Code: 0, Type: 'error' })
      }
    }
    // What a body brought before it broke off is given up again.
    await vi.waitFor(async () => expect((await totals()).blocks).toBe(before.blocks), patient)
    // A part's headers without end.
    const endless = Buffer.from(`--b\r\nX: ${'a'.repeat(100_000)}`)
    const answer = await cluster.request(place, '/api/v0/add', { body: endless, headers }, bob)
    expect([answer.status, ((await answer.json()) as Problem).Reason]).toEqual([400, 'ERR_MULTIPART_INVALID'])
  })

  test('what is no HTTP is refused in the same form', async () => {
    const { port } = new URL(place.node?.address.url ?? '')
    const told: [number, string][] = []
    for (const request of ['nonsense\r\n\r\n', `POST /api/v0/id?arg=${'a'.repeat(70_000)} HTTP/1.1\r\n\r\n`]) {
      const socket = connect(Number(port), '127.0.0.1')
      socket.on('error', () => {})
      socket.write(request)
      let answer = ''
      socket.on('data', (chunk) => {
        answer += String(chunk)
      })
      await once(socket, 'close')
      const { Type, Reason } = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n'))) as Problem
      expect(Type).toBe('error')
      told.push([Number(answer.slice(9, 12)), Reason])
    }
    expect(told).toEqual([
      [400, 'ERR_ARGUMENT_INVALID'],
      [431, 'ERR_ARGUMENT_INVALID'],
    ])
  })

  test('a caller who goes away in the middle of a file leaves no pin, no block, and no open request', async () => {
    const sent = httpRequest(`${place.node?.address.url}/api/v0/add?cid-version=1`, {
      method: 'POST',
      headers: { authorization: `Bearer ${bob.token}`, 'content-type': 'multipart/form-data; boundary=b' },
    })
    sent.on('error', () => {})
    sent.write('--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n')
    // One leaf is stored before it goes; a second would not fit, and end the request by itself.
    const bytes = randomBytes(300_000)
    const leaf = hashBlock(bytes.subarray(0, 262_144))
    const kept = (): [boolean, number] => {
      const store = place.node?.store as BlockStore
      return [store.has(leaf), store.references(leaf).length]
    }
    sent.write(bytes)
    await vi.waitFor(() => expect(kept()).toEqual([true, 1]), patient)
    sent.destroy()
    await vi.waitFor(() => expect(kept()).toEqual([false, 0]), patient)
    await vi.waitFor(async () => {
      const pins: unknown[] = []
      for await (const pin of cluster.client(place, bob).pin.ls({ type: 'recursive' })) pins.push(pin)
      expect(pins).toEqual([])
    })
  })
})

/** A put whose body never comes. */
function idlePut(port: number, by: Tenant, length = 1000): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(
    `POST /api/v0/block/put HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${by.token}\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: ${length}\r\n\r\n`,
  )
  return socket
}

describe('slow and many', () => {
  test('a reader that does not read holds up nobody, and no memory beyond a few leaves', async () => {
    const cid = (await cluster.client(place, bob).add(new Uint8Array(randomBytes(400_000)), { cidVersion: 1 })).cid
    const { port } = new URL(place.node?.address.url ?? '')
    const readers = Array.from({ length: 50 }, () => {
      const socket = connect(Number(port), '127.0.0.1')
      socket.on('error', () => {})
      socket.pause()
      socket.write(
        `POST /api/v0/cat?arg=${cid} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${bob.token}\r\n\r\n`,
      )
      return socket
    })
    const answers = await Promise.all(
      Array.from({ length: 50 }, () =>
        cluster.request(place, '/api/v0/version', {}, alice).then(({ status }) => status),
      ),
    )
    expect(new Set(answers)).toEqual(new Set([200]))
    for (const socket of readers) socket.destroy()
  })

  test.each([
    ['requests', 600, 1000],
    ['bytes', 70, 2 * 1024 * 1024],
  ])(
    'an account that begins more than half of all %s that are taken leaves the others theirs',
    async (_what, count, length) => {
      const wide = new Cluster()
      try {
        await wide.prepare(1, { STORAGE_REPLICAS: '1' })
        const [only] = wide.places as [Place]
        await wide.start(only)
        const [one, other] = wide.tenants as [Tenant, Tenant]
        const { port } = new URL(only.node?.address.url ?? '')
        const idle = Array.from({ length: count }, () => idlePut(Number(port), one, length))
        const putBy = async (tenant: Tenant): Promise<string> => {
          const body = multipart(new Uint8Array(randomBytes(length - 500)))
          const answer = await wide.request(only, '/api/v0/block/put', body, tenant)
          return `${answer.status} ${((await answer.json()) as Partial<Problem>).Reason}`
        }
        await vi.waitFor(async () => expect(await putBy(one)).toBe('503 ERR_STORE_BUSY'), patient)
        expect(await putBy(other)).toBe('200 undefined')
        for (const socket of idle) socket.destroy()
        await vi.waitFor(async () => expect(await putBy(one)).toBe('200 undefined'), patient)
      } finally {
        await wide.end()
      }
    },
  )

  test('more requests at once than are taken are told to come again, and come through then', async () => {
    const cid = await cluster.client(place, bob).block.put(new Uint8Array(randomBytes(100)))
    const { port } = new URL(place.node?.address.url ?? '')
    // Requests whose bodies never come, as many as are taken.
    const idle = Array.from({ length: 1030 }, (_, index) => idlePut(Number(port), index % 2 === 0 ? alice : bob))
    await vi.waitFor(
      async () => {
        const response = await cluster.request(place, `/api/v0/block/get?arg=${cid}`, {}, bob)
        const { Reason } = response.status === 200 ? { Reason: 'none' } : ((await response.json()) as Problem)
        expect([response.status, Reason, response.headers.get('retry-after')]).toEqual([503, 'ERR_STORE_BUSY', '1'])
      },
      { timeout: 30_000, interval: 50 },
    )
    for (const socket of idle) socket.destroy()
    await vi.waitFor(
      async () => {
        expect((await cluster.request(place, `/api/v0/block/get?arg=${cid}`, {}, bob)).status).toBe(200)
      },
      { timeout: 30_000, interval: 50 },
    )
  })
})

test('no token, key or payload is in any file of the node but the sealed blocks', async () => {
  const marker = randomBytes(32)
  const bytes = new Uint8Array(Buffer.concat([marker, randomBytes(1000)]))
  const cid = await cluster.client(place, bob).block.put(bytes)
  await cluster.client(place, bob).block.get(cid)
  const { environment } = place
  const seeds = ['STORE', 'PEER', 'REST', 'SWARM'].map((name) => {
    const text = readFileSync(environment[`STORAGE_${name}_KEY_FILE`] as string, 'utf8')
    return (/[0-9a-f]{64}/.exec(text) as RegExpExecArray)[0]
  })
  const secrets = [alice.token, bob.token, ...seeds].flatMap((secret) => [
    Buffer.from(secret),
    Buffer.from(secret, 'hex'),
  ])
  const folder = environment.STORAGE_DIR as string
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  expect(files.length).toBeGreaterThan(2)
  for (const { parentPath, name } of files) {
    const content = readFileSync(join(parentPath, name))
    for (const secret of [marker, ...secrets]) {
      if (secret.length >= 8) expect([name, content.includes(secret)]).toEqual([name, false])
    }
  }
  const fetched = readdirSync(join(folder, 'fetches')).map((name) =>
    readFileSync(join(folder, 'fetches', name), 'utf8'),
  )
  const account = Buffer.from(bob.account).toString('hex')
  expect(fetched.join('')).toMatch(new RegExp(`^\\d+ ${account} ${cid} ${account}$`, 'm'))
})
