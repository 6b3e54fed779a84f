/** The node as a process: how it starts, what it refuses to start with, how it stops, and what survives a kill. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { Cluster, multipart, type Place } from './cluster.fixture.ts'
import type { NodeAddress } from './node.ts'
import { codecRaw, encodeBlockId, hashBlock } from './store/block-id.ts'

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 })

const cluster = new Cluster()
const mainPath = fileURLToPath(new URL('./main.ts', import.meta.url))
let place: Place

beforeAll(async () => {
  await cluster.prepare(1, { STORAGE_REPLICAS: '1' })
  ;[place] = cluster.places as [Place]
})

afterAll(async () => {
  await cluster.end()
})

interface Running {
  child: ChildProcess
  address: NodeAddress
  output: string[]
}

function launch(environment: Record<string, string>): { child: ChildProcess; output: string[] } {
  const env = { PATH: process.env.PATH, NODE_COMPILE_CACHE: join(cluster.folder, 'cache'), ...environment }
  const child = spawn(process.execPath, [mainPath], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const output: string[] = ['', '']
  child.stdout?.on('data', (chunk) => {
    output[0] += String(chunk)
  })
  child.stderr?.on('data', (chunk) => {
    output[1] += String(chunk)
  })
  return { child, output }
}

/** Starts the node as a process and waits for its address. */
async function start(): Promise<Running> {
  const path = join(place.environment.STORAGE_DIR as string, 'address.json')
  rmSync(path, { force: true })
  mkdirSync(dirname(path), { recursive: true })
  const { child, output } = launch(place.environment)
  const changes = watch(dirname(path))
  const ended = once(child, 'exit')
  for (;;) {
    try {
      const address = JSON.parse(readFileSync(path, 'utf8')) as NodeAddress
      if (address.pid === child.pid) {
        changes.close()
        return { child, address, output }
      }
    } catch {
      // Not there yet.
    }
    const [code] = (await Promise.race([once(changes, 'change'), ended])) as unknown[]
    if (typeof code === 'number') throw new Error(`ended early: ${output[1]}`)
  }
}

async function post(address: NodeAddress, path: string, init: RequestInit = {}): Promise<Response> {
  const headers = { authorization: `Bearer ${cluster.tenants[0]?.token}`, ...init.headers }
  // A process that is killed may leave a connection without a word.
  const signal = AbortSignal.timeout(60_000)
  return await fetch(`${address.url}${path}`, { method: 'POST', signal, ...init, headers })
}

test('starts, says nothing on stdout, serves, and stops on SIGTERM with what it was doing done', async () => {
  const { child, address, output } = await start()
  expect((await fetch(`${address.url}/readyz`)).status).toBe(200)
  const bytes = new Uint8Array(randomBytes(500_000))
  const answer = post(address, '/api/v0/block/put', multipart(bytes))
  expect((await answer).status).toBe(200)
  child.kill('SIGTERM')
  expect(await once(child, 'exit')).toEqual([0, null])
  expect(output[0]).toBe('')
  const again = await start()
  const cid = encodeBlockId({ digest: hashBlock(bytes), codec: codecRaw })
  const got = await post(again.address, `/api/v0/block/get?arg=${cid}`)
  expect(Buffer.compare(new Uint8Array(await got.arrayBuffer()), bytes)).toBe(0)
  again.child.kill('SIGTERM')
  await once(again.child, 'exit')
})

test.skipIf(process.platform !== 'linux')(
  'a first start, whose modules have to be compiled, goes on as one that finds them compiled; a later one is no other from the beginning',
  async () => {
    rmSync(join(cluster.folder, 'cache'), { recursive: true, force: true })
    const replaced: boolean[] = []
    for (let round = 0; round < 2; round++) {
      const { child, address } = await start()
      // What it was told when it was last replaced.
      replaced.push(readFileSync(`/proc/${address.pid}/environ`, 'utf8').includes('HEALTHBLOCK_MODULES_CACHED='))
      child.kill('SIGTERM')
      await once(child, 'exit')
    }
    expect(replaced).toEqual([true, false])
  },
)

test('refuses to start with faults, and names each of them', async () => {
  writeFileSync(join(cluster.folder, 'short.key'), 'abcd')
  const { child, output } = launch({
    ...place.environment,
    STORAGE_REPLICAS: 'three',
    STORAGE_RPC_PORT: '70000',
    STORAGE_REST_KEY_FILE: join(cluster.folder, 'short.key'),
    STORAGE_SWARM_KEY_FILE: join(cluster.folder, 'absent.key'),
  })
  expect((await once(child, 'exit'))[0]).toBe(2)
  for (const name of ['STORAGE_REPLICAS', 'STORAGE_RPC_PORT', 'STORAGE_REST_KEY_FILE', 'STORAGE_SWARM_KEY_FILE']) {
    expect(output[1]).toContain(name)
  }
  expect(output[1]).not.toContain('abcd')
})

test('does not start in a folder, or at a port, that another one has, and says which', async () => {
  const { child, address } = await start()
  const files = (): string[] =>
    readdirSync(place.environment.STORAGE_DIR as string, { recursive: true })
      .map(String)
      .sort()
  await (await post(address, '/api/v0/block/put', multipart(new Uint8Array(randomBytes(500_000))))).arrayBuffer()
  const before = files()
  const second = launch(place.environment)
  expect((await once(second.child, 'exit'))[0]).toBe(2)
  expect(files()).toEqual(before)
  expect(second.output[1]).toMatch(/^storage: \S+ is in use by process \d+: stop it first/)
  const dir = join(cluster.folder, 'elsewhere')
  const { port } = new URL(address.url)
  const third = launch({ ...place.environment, STORAGE_DIR: dir, STORAGE_RPC_PORT: port })
  expect((await once(third.child, 'exit'))[0]).toBe(2)
  expect(third.output[1]).toContain(`storage: port ${port} on 127.0.0.1 is in use`)
  child.kill('SIGTERM')
  await once(child, 'exit')
})

test('a data folder that cannot be made is named in one line', async () => {
  const file = join(cluster.folder, 'file')
  writeFileSync(file, '')
  for (const dir of ['/proc/healthblock/data', file]) {
    const { child, output } = launch({ ...place.environment, STORAGE_DIR: dir })
    expect((await once(child, 'exit'))[0]).toBe(2)
    expect(output[1]).toMatch(/^storage: .*\n$/)
    expect(output[1]).toContain(dir)
  }
  const keys = spawn(process.execPath, [
    fileURLToPath(new URL('./create-keys.ts', import.meta.url)),
    '/proc/healthblock',
  ])
  expect((await once(keys, 'exit'))[0]).toBe(2)
  for (const name of ['fetches', 'address.json']) {
    const dir = join(cluster.folder, `no-${name}`)
    mkdirSync(dir)
    // The one is to be a folder, the other one a file.
    if (name === 'fetches') writeFileSync(join(dir, name), '')
    else mkdirSync(join(dir, name))
    const { child, output } = launch({ ...place.environment, STORAGE_DIR: dir })
    expect((await once(child, 'exit'))[0]).toBe(2)
    expect(output[1]).toMatch(new RegExp(`^storage: .*/${name}: .*\n$`))
  }
})

test('a node whose key is not on the list does not start', async () => {
  const strange = join(cluster.folder, 'strange.key')
  writeFileSync(strange, randomBytes(32).toString('hex'))
  const { child, output } = launch({ ...place.environment, STORAGE_STORE_KEY_FILE: strange })
  expect((await once(child, 'exit'))[0]).toBe(2)
  expect(output[1]).toMatch(/not on the list/)
})

test('killed during puts, over and over: nothing acknowledged is lost', async () => {
  const cycles = 2
  const acknowledged = new Map<string, number>()
  for (let cycle = 0; cycle < cycles; cycle++) {
    const { child, address } = await start()
    const lost: string[] = []
    const known = [...acknowledged.keys()].slice(-64)
    await Promise.all(
      known.map(async (cid) => {
        const response = await post(address, `/api/v0/block/get?arg=${cid}&offline=true`)
        const bytes = new Uint8Array(await response.arrayBuffer())
        if (encodeBlockId({ digest: hashBlock(bytes), codec: codecRaw }) !== cid) lost.push(cid)
      }),
    )
    expect(lost).toEqual([])
    const enough = 40 + cycle * 30
    let count = 0
    const killed = once(child, 'exit')
    const put = async (): Promise<void> => {
      for (;;) {
        const size = 100 + Math.floor(Math.random() * 60_000)
        const response = await post(address, '/api/v0/block/put', multipart(new Uint8Array(randomBytes(size))))
        const { Key } = (await response.json()) as { Key: string }
        if (response.status === 200) acknowledged.set(Key, size)
        if (++count === enough) child.kill('SIGKILL')
      }
    }
    // Each writer ends with the connection.
    await Promise.allSettled(Array.from({ length: 8 }, put))
    await killed
  }
  expect(acknowledged.size).toBeGreaterThan(cycles * 30)
  const { child, address } = await start()
  for (const [cid, size] of acknowledged) {
    const response = await post(address, `/api/v0/block/stat?arg=${cid}&offline=true`)
    expect(await response.json()).toEqual({ Key: cid, Size: size })
  }
  child.kill('SIGTERM')
  expect((await once(child, 'exit'))[0]).toBe(0)
})
