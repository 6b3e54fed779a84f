/** A newcomer's private IPFS: one command makes it, IPFS clients use it, and it is there again after an end. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findFreePort } from '@healthblock/runtime/ports'
import { create } from 'kubo-rpc-client'
import { afterAll, expect, test, vi } from 'vitest'
import type { Io } from '../io.ts'
import { runStorage } from './storage.ts'
import { serveStandalone } from './storage-serve.ts'

const dir = mkdtempSync(join(tmpdir(), 'storage-standalone-'))

afterAll(() => rmSync(dir, { recursive: true, force: true }))

interface Running {
  readonly urls: string[]
  readonly pids: number[]
  readonly token: string
  readonly tokenFile: string
}

/** Runs the network while `work` does. */
async function serving<T>(
  nodes: number,
  port: number,
  work: (running: Running) => Promise<T>,
  warned: string[] = [],
): Promise<T> {
  const said = Promise.withResolvers<Running>()
  const ended = Promise.withResolvers<void>()
  const io: Io = {
    stdin: (async function* () {})(),
    stdout: (text) => said.resolve(JSON.parse(text) as Running),
    stderr: (text) => void warned.push(text),
    interactive: false,
  }
  const options = { dir, nodes: String(nodes), port: String(port), backend: undefined, json: true }
  const served = serveStandalone(options, io, ended.promise)
  served.catch((error: unknown) => said.reject(error))
  try {
    return await work(await said.promise)
  } finally {
    ended.resolve()
    expect(await served).toBe(0)
  }
}

test('three nodes from nothing: put, read elsewhere, and there again after an end', { timeout: 180_000 }, async () => {
  const port = await findFreePort()
  const bytes = new Uint8Array(randomBytes(400_000))
  const added = await serving(3, port, async ({ urls, token, tokenFile }) => {
    expect(statSync(tokenFile).mode & 0o077).toBe(0)
    expect(readFileSync(join(dir, 'tokens.json'), 'utf8')).not.toContain(token)
    const headers = { authorization: `Bearer ${token}` }
    const { cid } = await create({ url: `${urls[0]}/api/v0`, headers }).add(bytes, { cidVersion: 1 })
    const parts: Uint8Array[] = []
    for await (const part of create({ url: `${urls[2]}/api/v0`, headers }).cat(cid)) parts.push(part)
    expect(Buffer.compare(Buffer.concat(parts), bytes)).toBe(0)
    expect((await fetch(`${urls[0]}/api/v0/id`, { method: 'POST' })).status).toBe(401)
    const output: string[] = []
    const io: Io = {
      stdin: (async function* () {})(),
      stdout: (text) => void output.push(text),
      stderr: () => {},
      interactive: false,
    }
    const where = ['--url', urls.join(','), '--token-file', tokenFile, '--json']
    expect(await runStorage(['scrub', ...where], io)).toBe(0)
    expect(await runStorage(['repair', ...where], io)).toBe(0)
    expect(await runStorage(['status', ...where], io)).toBe(0)
    const [scrubbed, repaired, nodes] = output.map((text) => JSON.parse(text) as Record<string, number>[])
    expect(scrubbed?.map(({ checked, damaged }) => [checked, damaged])).toEqual([
      [3, 0],
      [3, 0],
      [3, 0],
    ])
    expect(repaired?.map(({ below }) => below)).toEqual([0, 0, 0])
    expect(nodes?.map(({ blocks, below, peers }) => [blocks, below, peers])).toEqual([
      [3, 0, 2],
      [3, 0, 2],
      [3, 0, 2],
    ])
    // A node that does not run is named, and the others are asked all the same.
    const withGone = ['--url', ['http://127.0.0.1:1', ...urls].join(','), '--token-file', tokenFile, '--json']
    output.length = 0
    for (const action of ['scrub', 'repair', 'status']) expect(await runStorage([action, ...withGone], io)).toBe(1)
    const [first, second, third] = output.map((text) => JSON.parse(text) as Record<string, unknown>[])
    for (const results of [first, second]) {
      expect(results?.map(({ checked, error }) => [checked, typeof error])).toEqual([
        [undefined, 'string'],
        ...urls.map(() => [3, 'undefined']),
      ])
    }
    expect(third?.map(({ state, blocks }) => [state, blocks])).toEqual([
      ['unreachable', undefined],
      ...urls.map(() => ['given', 3]),
    ])
    // Who is not let in is told so, and not that nobody is there.
    output.length = 0
    const wrong = join(dir, 'wrong')
    writeFileSync(wrong, 'no token')
    expect(await runStorage(['status', '--url', urls.join(','), '--token-file', wrong, '--json'], io)).toBe(1)
    const refused = JSON.parse(output[0] as string) as { state: string }[]
    expect(refused.map(({ state }) => state)).toEqual(urls.map(() => 'refused: the token is not valid'))
    const block = await create({ url: `${urls[0]}/api/v0`, headers }).block.put(new Uint8Array(randomBytes(100)))
    expect(await runStorage(['erase', block.toString(), ...withGone], io)).toBe(0)
    // A reading names its block by the hash: that is taken as the CID that it is; what is neither is told before anybody is asked.
    const record = new Uint8Array(randomBytes(100))
    const { version } = await create({ url: `${urls[0]}/api/v0`, headers }).block.put(record, {
      format: 'raw',
      version: 1,
    })
    expect(version).toBe(1)
    const hash = createHash('sha256').update(record).digest('hex')
    expect(await runStorage(['proof', hash, ...where], io)).toBe(1)
    expect(await runStorage(['erase', hash, ...where], io)).toBe(0)
    expect(await runStorage(['proof', hash, ...where], io)).toBe(0)
    for (const action of ['proof', 'erase'])
      await expect(runStorage([action, 'xyz', ...where], io)).rejects.toThrow('"xyz" is no CID of a block')
    return { cid, token }
  })
  await serving(3, port, async ({ urls, token, pids }) => {
    expect(token).toBe(added.token)
    // The folder is taken: a second one there would tell the nodes of other ports.
    const again = { dir, nodes: '3', port: '20001', backend: undefined, json: true }
    await expect(serveStandalone(again, { stdin: [], stdout: () => {} } as never)).rejects.toThrow(/is in use by/)
    // One that is killed is there again by itself, and the others go on.
    process.kill(pids[2] as number, 'SIGKILL')
    const headers = { authorization: `Bearer ${token}` }
    const sizeAt = async (url: string | undefined): Promise<number> =>
      (await create({ url: `${url}/api/v0`, headers }).files.stat(`/ipfs/${added.cid}`)).size
    expect(await sizeAt(urls[1])).toBe(400_000)
    await vi.waitFor(async () => expect(await sizeAt(urls[2])).toBe(400_000), { timeout: 60_000, interval: 100 })
  })
})

test('a node that cannot be started again is said why, and is there once it can', { timeout: 60_000 }, async () => {
  const { execPath } = process
  const warned: string[] = []
  const work = async ({ pids }: Running): Promise<void> => {
    process.execPath = join(dir, 'no-node')
    process.kill(pids[0] as number, 'SIGKILL')
    const waiting = { timeout: 40_000, interval: 50 }
    await vi.waitFor(() => expect(warned.join('')).toMatch(/node-1: spawn .*no-node ENOENT/), waiting)
    process.execPath = execPath
    await vi.waitFor(() => expect(warned.join('')).toContain('node-1 is there again'), waiting)
  }
  try {
    await serving(1, await findFreePort(), work, warned)
  } finally {
    process.execPath = execPath
  }
})

test('what sits at a port already and answers is not taken for the node', { timeout: 60_000 }, async () => {
  const other = createServer((_request, response) => void response.end('{"status":"ready"}'))
  other.listen(0, '127.0.0.1')
  await once(other, 'listening')
  try {
    const { port } = other.address() as AddressInfo
    await expect(serving(1, port, async () => {})).rejects.toThrow(/node-1 ended/)
  } finally {
    other.close()
    other.closeAllConnections()
  }
})

test('what ends while the nodes start ends them without a word', { timeout: 60_000 }, async () => {
  const said: string[] = []
  const io = { stdout: (text: string) => void said.push(text), stderr: (text: string) => void said.push(text) }
  const short = join(dir, 'short')
  const options = { dir: short, nodes: '1', port: String(await findFreePort()), backend: undefined, json: false }
  const isBegun = vi.waitFor(() => statSync(join(short, 'node-1', 'data')), { timeout: 40_000, interval: 5 })
  expect(await serveStandalone(options, io as Io, isBegun)).toBe(0)
  expect(said).toEqual([])
})

test('a first start that was broken off goes on with the keys that are there, and names one that is none', {
  timeout: 60_000,
}, async () => {
  const broken = join(dir, 'broken-off')
  const keys = join(broken, 'node-1', 'keys')
  mkdirSync(keys, { recursive: true })
  const seed = randomBytes(32).toString('hex')
  writeFileSync(join(keys, 'store.key'), seed)
  writeFileSync(join(keys, 'peer.key'), 'no key')
  const serve = async (): Promise<unknown> => {
    const said = Promise.withResolvers<void>()
    const io = { stdout: () => said.resolve(), stderr: () => {} }
    const options = { dir: broken, nodes: '1', port: String(await findFreePort()), backend: undefined, json: true }
    return await serveStandalone(options, io as unknown as Io, said.promise)
  }
  await expect(serve()).rejects.toThrow(/^node-1 has no keys: create-keys: .*peer\.key is there, and is no key/)
  rmSync(join(keys, 'peer.key'))
  expect(await serve()).toBe(0)
  expect(readFileSync(join(keys, 'store.key'), 'utf8')).toBe(seed)
})
