/** The short way of `block/put` gives the command's own answers, and leaves to the command what it cannot take so. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Cluster, multipart, type Place, sealedBlock, type Tenant } from '../cluster.fixture.ts'
import { parseReceipts, receiptsHeader, verifyReceipt } from '../replication/receipt.ts'
import { codecRaw, encodeBlockId, hashBlock } from '../store/block-id.ts'

const cluster = new Cluster()
const sockets: Socket[] = []
let place: Place
let alice: Tenant
let bob: Tenant

beforeAll(async () => {
  const settings = { STORAGE_REPLICAS: '1', STORAGE_TENANT_BYTES_MAX: '4500000', STORAGE_ERASE_DELAY_SECONDS: '3600' }
  await cluster.prepare(1, settings)
  await cluster.startAll()
  ;[place] = cluster.places as [Place]
  ;[alice, bob] = cluster.tenants as [Tenant, Tenant]
})
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
})
afterAll(() => cluster.end())

interface Answer {
  status: number
  /** Lines as they came, sorted, without what differs by time or by connection. */
  headers: string[]
  receipts: string
  body: string
}

function parseAnswer(text: string): Answer {
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const [first = '', ...lines] = head.split('\r\n')
  const fields = lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line] as const)
  const receipts = fields.find(([name]) => name === receiptsHeader)?.[1] ?? ''
  const headers = fields.filter(([name]) => !['date', 'connection', 'keep-alive', receiptsHeader].includes(name))
  return {
    status: Number(first.split(' ')[1]),
    headers: headers.map(([name, line]) => name + line.slice(name.length)).sort(),
    receipts: receipts.slice(receipts.indexOf(':') + 2),
    body: rest.join('\r\n\r\n'),
  }
}

/** Sends a request in pieces, each after the node has had the one before, and reads until the node closes. */
async function send(pieces: readonly (string | Buffer)[]): Promise<Answer> {
  const { port } = new URL(place.node?.address.url ?? '')
  const socket = connect({ port: Number(port), host: '127.0.0.1', noDelay: true })
  sockets.push(socket)
  let text = ''
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1')
  })
  socket.on('error', () => {})
  const closed = once(socket, 'close')
  for (const piece of pieces) {
    await new Promise((resolve) => socket.write(piece, resolve))
    // Another exchange with the node lies between two pieces.
    if (pieces.length > 1) await cluster.request(place, '/healthz', { method: 'GET' })
  }
  await closed
  return parseAnswer(text)
}

function headOf(length: number, { query = '', token = alice.token, more = [] as string[] } = {}): string {
  const lines = [
    `POST /api/v0/block/put${query} HTTP/1.1`,
    'host: localhost',
    `authorization: Bearer ${token}`,
    `content-type: ${multipart(new Uint8Array(0)).headers['content-type']}`,
    `content-length: ${length}`,
    'connection: close',
    ...more,
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}

interface Asked {
  query?: string
  by?: Tenant
  token?: string
}

async function put(body: Buffer, { query = '', by = alice, token = by.token }: Asked = {}): Promise<Answer> {
  return await send([Buffer.concat([Buffer.from(headOf(body.length, { query, token })), body])])
}

/** Puts both ways: an option whose name is written otherwise leaves a put to the command. */
async function bothWays(body: Buffer, asked: Asked = {}): Promise<Answer> {
  const { query = '' } = asked
  const byCommand = await put(body, { ...asked, query: `${query}${query === '' ? '?' : '&'}nam%65=1` })
  const quick = await put(body, asked)
  expect([quick.receipts === '', { ...quick, receipts: '' }]).toEqual([
    byCommand.receipts === '',
    { ...byCommand, receipts: '' },
  ])
  return quick
}

function bodyOf(bytes: Uint8Array): Buffer {
  return multipart(bytes).body
}

test('one small block: the same key, headers and body, and a receipt that verifies', async () => {
  const bytes = new Uint8Array(randomBytes(1024))
  const answer = await bothWays(bodyOf(bytes))
  const id = { digest: hashBlock(bytes), codec: codecRaw }
  expect([answer.status, JSON.parse(answer.body)]).toEqual([200, { Key: encodeBlockId(id), Size: 1024 }])
  expect(answer.headers).toContain('x-chunked-output: 1')
  const [receipt, ...others] = parseReceipts(answer.receipts)
  const members = place.members as NonNullable<Place['members']>
  await verifyReceipt(receipt as never, { members, digest: id.digest, size: 1024 })
  expect(others).toEqual([])
  expect(Buffer.from((await place.node?.store.get(id.digest)) as Uint8Array)).toEqual(Buffer.from(bytes))
  expect(place.node?.store.references(id.digest)).toMatchObject([{ pin: 0 }])
})

test.each([
  '?cid-codec=dag-pb',
  '?format=v0',
  '?pin=true&cid-codec=raw&mhtype=sha2-256&allow-big-block=true',
  '?cid-codec=dag-cbor&mhlen=32',
  '?cid-codec=no-codec',
  '?mhtype=sha2-512',
  '?pin=maybe',
  '?pin=true&pin=false',
  '?arg=x&arg=y',
  '?cid-codec=raw&',
])('options %s: the same answer', async (query) => {
  const bytes = new Uint8Array(randomBytes(300))
  const { status } = await bothWays(bodyOf(bytes), { query })
  expect([200, 400]).toContain(status)
  const pin = query.startsWith('?pin=true&cid') ? 1 : 0
  expect(place.node?.store.pinOf(hashBlock(bytes), alice.account)).toBe(pin)
})

test('bad tokens, bodies that are none, another’s payload and erased ones: the same refusal', async () => {
  const body = bodyOf(new Uint8Array(randomBytes(100)))
  expect(await bothWays(body, { token: 'nobody' })).toMatchObject({ status: 401 })
  expect(await bothWays(Buffer.from('no multipart at all'))).toMatchObject({ status: 400 })
  expect(await bothWays(body.subarray(0, body.length - 6))).toMatchObject({ status: 400 })
  const sealed = sealedBlock({ owner: alice.account, writer: alice.account })
  expect(await bothWays(bodyOf(sealed), { by: bob })).toMatchObject({ status: 403 })
  expect(await bothWays(bodyOf(sealed))).toMatchObject({ status: 200 })
  const headers = { 'content-type': 'application/json' }
  const cids = [encodeBlockId({ digest: hashBlock(sealed), codec: codecRaw })]
  await cluster.request(place, '/v1/erasures', { body: JSON.stringify({ cids }), headers })
  expect(await bothWays(bodyOf(sealed))).toMatchObject({ status: 410, body: expect.stringContaining('ERR_BLOCK_') })
})

test('several blocks of one body have a line each, and a block of no bytes is one', async () => {
  const both = ['one', 'two'].map((text) => `--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n${text}\r\n`)
  const answer = await put(Buffer.from(`${both.join('')}--b--\r\n`))
  expect([answer.status, answer.receipts, answer.body.match(/"Key"/g)?.length]).toEqual([200, '', 2])
  expect(await bothWays(bodyOf(new Uint8Array(0)))).toMatchObject({ status: 200 })
})

test('a body that comes in pieces is put whole, and one that ends early is not', async () => {
  const bytes = new Uint8Array(randomBytes(2000))
  const body = bodyOf(bytes)
  const whole = await send([headOf(body.length), body.subarray(0, 300), body.subarray(300)])
  expect([whole.status, place.node?.store.has(hashBlock(bytes))]).toEqual([200, true])
  const later = new Uint8Array(randomBytes(2000))
  expect(await send([headOf(body.length), bodyOf(later)])).toMatchObject({ status: 200 })
  const lost = new Uint8Array(randomBytes(2000))
  const { port } = new URL(place.node?.address.url ?? '')
  const lostLarge = new Uint8Array(randomBytes(80_000))
  for (const [length, sent] of [
    [body.length, Buffer.alloc(0)],
    [body.length, bodyOf(lost).subarray(0, 500)],
    [bodyOf(lostLarge).length, bodyOf(lostLarge).subarray(0, 70_000)],
  ] as const) {
    const socket = connect({ port: Number(port), host: '127.0.0.1' })
    sockets.push(socket)
    socket.on('error', () => {})
    await new Promise((resolve) => socket.write(headOf(length), resolve))
    if (sent.length > 0) await new Promise((resolve) => socket.write(sent, resolve))
    socket.end()
    socket.resume()
    await once(socket, 'close')
  }
  expect([lost, lostLarge].map((one) => place.node?.store.has(hashBlock(one)))).toEqual([false, false])
  expect(await bothWays(body)).toMatchObject({ status: 200 })
})

test('large blocks, which come in many pieces, are put as by the command; so are bodies that are none, and two blocks', async () => {
  for (const size of [32_000, 33_000, 70_000, 600_000]) {
    const bytes = new Uint8Array(randomBytes(size))
    const answer = await bothWays(bodyOf(bytes))
    expect([answer.status, JSON.parse(answer.body).Size]).toEqual([200, size])
    expect(Buffer.compare((await place.node?.store.get(hashBlock(bytes))) as Uint8Array, bytes)).toBe(0)
  }
  const text = (letter: string): string => letter.repeat(50_000)
  const both = ['d', 'e'].map((one) => `--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n${text(one)}\r\n`)
  const answer = await bothWays(Buffer.from(`${both.join('')}--b--\r\n`))
  expect([answer.status, answer.receipts, answer.body.match(/"Size":50000/g)?.length]).toEqual([200, '', 2])
  for (const one of ['d', 'e']) expect(place.node?.store.has(hashBlock(Buffer.from(text(one))))).toBe(true)
  expect(await bothWays(randomBytes(90_000))).toMatchObject({ status: 400 })
  const body = bodyOf(randomBytes(90_000))
  expect(await bothWays(body.subarray(0, body.length - 6))).toMatchObject({ status: 400 })
  const tooLarge = bodyOf(new Uint8Array(2 * 1024 * 1024 + 1))
  expect(await bothWays(tooLarge)).toMatchObject({ status: 413, body: expect.stringContaining('ERR_BLOCK_TOO_LARGE') })
})

test('puts and gets on one connection are answered in their order', async () => {
  const blocks = [1, 2, 3].map((size) => new Uint8Array(randomBytes(size * 100)))
  const requests = blocks.map((bytes) => {
    const body = bodyOf(bytes)
    return Buffer.concat([Buffer.from(headOf(body.length).replace('connection: close\r\n', '')), body])
  })
  const { port } = new URL(place.node?.address.url ?? '')
  const socket = connect({ port: Number(port), host: '127.0.0.1' })
  sockets.push(socket)
  let text = ''
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1')
  })
  socket.write(Buffer.concat(requests))
  await expect.poll(() => text.match(/"Size":\d+/g)?.length).toBe(3)
  expect(text.match(/"Size":\d+/g)).toEqual(['"Size":100', '"Size":200', '"Size":300'])
})

test('what is left of a quota is asked before, and the refusal is the command’s', async () => {
  for (const size of [2_000_000, 2_050_000, 400_000]) {
    const bytes = new Uint8Array(randomBytes(size))
    expect((await cluster.request(place, '/api/v0/block/put', multipart(bytes), bob)).status).toBe(200)
  }
  for (let size = 30_000; size > 100; size = Math.floor(size / 2)) await put(bodyOf(randomBytes(size)), { by: bob })
  const answer = await bothWays(bodyOf(randomBytes(30_000)), { by: bob })
  expect(answer).toMatchObject({ status: 413, body: expect.stringContaining('ERR_QUOTA_EXCEEDED') })
})

test('both ways are counted in the same metrics', async () => {
  const counted = async (): Promise<number> => {
    const text = await (await cluster.request(place, '/metrics', { method: 'GET' })).text()
    const line = /^.*_count\{command="\/api\/v0\/block\/put",status="200"\} (\d+)$/m.exec(text)
    return Number(line?.[1])
  }
  const before = await counted()
  await bothWays(bodyOf(new Uint8Array(randomBytes(10))))
  expect(await counted()).toBe(before + 2)
})
