/** The short way of `block/get` gives the command's own answers, and leaves to the command what it cannot answer so. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, multipart, type Place, sealedBlock, type Tenant } from '../cluster.fixture.ts'

const cluster = new Cluster()
let place: Place
let alice: Tenant
let bob: Tenant

beforeAll(async () => {
  await cluster.prepare(1, { STORAGE_REPLICAS: '1', STORAGE_ERASE_DELAY_SECONDS: '1' })
  await cluster.startAll()
  ;[place] = cluster.places as [Place]
  ;[alice, bob] = cluster.tenants as [Tenant, Tenant]
})
afterAll(() => cluster.end())

async function put(bytes: Uint8Array, codec = 'raw'): Promise<string> {
  const response = await cluster.request(place, `/api/v0/block/put?cid-codec=${codec}`, multipart(bytes))
  expect(response.status).toBe(200)
  return ((await response.json()) as { Key: string }).Key
}

interface Answer {
  status: number | undefined
  /** Names and values as they came, without what differs by time. */
  headers: string[]
  body: string
}

async function ask(path: string, by: Pick<Tenant, 'token'>, headers: Record<string, string> = {}): Promise<Answer> {
  const url = new URL(path, place.node?.address.url)
  const request = httpRequest(url, { method: 'POST', headers: { authorization: `Bearer ${by.token}`, ...headers } })
  request.end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const body: Buffer[] = []
  for await (const chunk of response as AsyncIterable<Buffer>) body.push(chunk)
  const names = Object.entries(response.headers).filter(([name]) => name !== 'date')
  const fields = names.map(([name, value]) => `${name}: ${value}`).sort()
  return { status: response.statusCode, headers: fields, body: Buffer.concat(body).toString('latin1') }
}

/** Lines of the log of fetches, without their times. */
function logged(): string[] {
  const folder = join(place.environment.STORAGE_DIR as string, 'fetches')
  const text = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'latin1'))
  return text
    .join('')
    .split('\n')
    .map((line) => line.replace(/^\d+ /, ''))
}

/** Asks both ways: an option that says nothing leaves a get to the command. */
async function bothWays(cid: string, by: Pick<Tenant, 'token'> = alice): Promise<Answer> {
  const answers: Answer[] = []
  const lines: string[][] = []
  for (const path of [`/api/v0/block/get?arg=${cid}`, `/api/v0/block/get?arg=${cid}&offline=true`]) {
    const before = logged().length
    answers.push(await ask(path, by))
    lines.push(logged().slice(before - 1))
  }
  expect(answers[0]).toEqual(answers[1])
  expect(lines[0]).toEqual(lines[1])
  return answers[0] as Answer
}

test('what is here is answered and logged as by the command, byte for byte', async () => {
  const small = new Uint8Array(randomBytes(700))
  const hers = sealedBlock({ owner: bob.account, writer: alice.account })
  const blocks = [
    small,
    new Uint8Array(0),
    new Uint8Array(randomBytes(15_000)),
    new Uint8Array(randomBytes(90_000)),
    hers,
  ]
  for (const bytes of blocks) {
    const cid = await put(bytes)
    for (const by of [alice, bob]) {
      const { status, body } = await bothWays(cid, by)
      expect([status, body]).toEqual([200, Buffer.from(bytes).toString('latin1')])
    }
  }
  const node = new Uint8Array([0x0a, 2, 8, 1])
  expect((await bothWays(await put(node, 'dag-pb'), bob)).status).toBe(200)
  const { length } = logged()
  const cid = await put(small)
  await Promise.all(Array.from({ length: 50 }, () => ask(`/api/v0/block/get?arg=${cid}`, bob)))
  expect(logged().length).toBe(length + 50)
})

test('what cannot be answered so is refused as by the command', async () => {
  const cid = await put(sealedBlock({ owner: alice.account, writer: alice.account }))
  expect((await bothWays(cid, { token: 'nobody' })).status).toBe(401)
  expect((await ask(`/api/v0/block/get?arg=${cid}`, { token: '' })).status).toBe(401)
  expect((await bothWays(`${cid.slice(0, -1)}1`)).status).toBe(400)
  const never = await put(new Uint8Array(randomBytes(300)))
  await ask(`/api/v0/block/rm?arg=${never}`, alice)
  expect((await bothWays(never)).status).toBe(500)
  const body = JSON.stringify({ cids: [cid] })
  await cluster.request(place, '/v1/erasures', { body, headers: { 'content-type': 'application/json' } })
  expect((await bothWays(cid)).status).toBe(200)
  await expect.poll(async () => (await bothWays(cid)).status, { timeout: 30_000 }).toBe(410)
})
