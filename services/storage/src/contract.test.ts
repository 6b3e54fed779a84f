/** The RPC's contract, written with the client that others use, against both backends and against Kubo's own daemon. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { KuboRPCClient } from 'kubo-rpc-client'
import { CID } from 'multiformats/cid'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Cluster, multipart, type Place, type Tenant } from './cluster.fixture.ts'
import { kuboBinary } from './kubo/kubo.fixture.ts'
import { codecRaw, encodeBlockId, hashBlock } from './store/block-id.ts'

const backends: { name: string; settings: Record<string, string> }[] = [
  { name: 'embedded', settings: {} },
  { name: 'kubo', settings: { STORAGE_BACKEND: 'kubo', KUBO_BINARY: kuboBinary ?? '' } },
]

function newBytes(size = 1024): Uint8Array {
  return new Uint8Array(randomBytes(size))
}

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of source) items.push(item)
  return items
}

async function bytesOf(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await collect(source))
}

describe.each(backends)('backend $name', ({ name, settings }) => {
  const isThere = name !== 'kubo' || kuboBinary !== undefined
  const cluster = new Cluster()
  let place: Place
  let bob: Tenant
  let client: KuboRPCClient

  beforeAll(async () => {
    if (!isThere) return
    await cluster.prepare(1, { STORAGE_REPLICAS: '1', ...settings })
    await cluster.startAll()
    ;[place] = cluster.places as [Place]
    bob = cluster.tenants[1] as Tenant
    client = cluster.client(place)
  })

  afterAll(() => cluster.end())

  const absent = (): CID => CID.parse(encodeBlockId({ digest: hashBlock(newBytes()), codec: codecRaw }))

  test.skipIf(!isThere)('blocks: put, get, stat, rm', async () => {
    for (const size of [0, 1, 1024, 32_500, 65_536, 131_000, 300_000, 2 * 1024 * 1024]) {
      const bytes = newBytes(size)
      const cid = await client.block.put(bytes, { format: 'raw', version: 1 })
      expect(cid.toString()).toBe(encodeBlockId({ digest: hashBlock(bytes), codec: codecRaw }))
      expect(Buffer.compare(await client.block.get(cid), bytes)).toBe(0)
      expect(await client.block.stat(cid)).toMatchObject({ size })
      expect((await collect(client.block.rm(cid)))[0]?.error).toBeUndefined()
      await expect(client.block.get(cid, { offline: true } as never)).rejects.toThrow(/could not find/)
      expect((await collect(client.block.rm(cid)))[0]?.error?.message).toMatch(/could not find/)
    }
  })

  test.skipIf(!isThere)('files: a folder comes as an archive with all below it', async () => {
    const contents = { 'top/a.txt': 'a', 'top/inner/b.txt': 'bb', 'top/inner/large': Buffer.from(newBytes(600_000)) }
    const files = Object.entries(contents).map(([path, content]) => ({ path, content }))
    const roots = await collect(client.addAll(files, { cidVersion: 1 }))
    const top = roots.find(({ path }) => path === 'top')?.cid as CID
    const list = (archive: Buffer): string[] =>
      execFileSync('tar', ['-tf', '-'], { input: archive }).toString().trim().split('\n').sort()
    const paths = ['', '/a.txt', '/inner', '/inner/b.txt', '/inner/large'].map((path) => `${top}${path}`)
    expect(list(await bytesOf(client.get(top)))).toEqual(paths)
    expect(list(await bytesOf(client.get(`${top}/inner/b.txt`)))).toEqual(['b.txt'])
    await expect(bytesOf(client.get(absent()))).rejects.toThrow(/could not find/)
  })

  test.skipIf(!isThere)('files: the CIDs are those of Kubo, whole and in ranges', async () => {
    const known = await client.add('hello', { cidVersion: 1 })
    expect(known).toMatchObject({ size: 5 })
    expect(known.cid.toString()).toBe('bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq')
    expect((await client.add('hello')).cid.toString()).toBe('QmWfVY9y3xjsixTgbd9AorQxH7VtMpzfx2HaWtsoUYecaX')
    const bytes = newBytes(1_000_000)
    for (const options of [{ cidVersion: 0 }, { cidVersion: 1 }, { cidVersion: 1, rawLeaves: false }] as const) {
      const { cid } = await client.add(bytes, options)
      expect(Buffer.compare(await bytesOf(client.cat(cid)), bytes)).toBe(0)
      for (const [offset, length] of [
        [0, 10],
        [262_140, 10],
        [500_000, 400_000],
        [999_999, 10],
        [1_000_000, 1],
      ] as const) {
        const part = await bytesOf(client.cat(cid, { offset, length }))
        expect(Buffer.compare(part, bytes.subarray(offset, offset + length))).toBe(0)
      }
      const stat = await client.files.stat(`/ipfs/${cid}`)
      expect(stat).toMatchObject({ size: 1_000_000, blocks: 4, type: 'file' })
      expect(stat.cumulativeSize).toBeGreaterThan(1_000_000)
      expect(await collect(client.refs(cid, { recursive: true }))).toHaveLength(4)
    }
  })

  test.skipIf(!isThere)('directories: added, listed, read by path', async () => {
    const files = [
      { path: 'd/a.txt', content: 'one' },
      { path: 'd/e/b.txt', content: 'two' },
    ]
    const added = await collect(client.addAll(files, { cidVersion: 1 }))
    expect(added.map(({ path }) => path).sort()).toEqual(['d', 'd/a.txt', 'd/e', 'd/e/b.txt'])
    const top = added.find(({ path }) => path === 'd')?.cid as CID
    const listed = await collect(client.ls(top))
    expect(listed.map(({ name: file, type, size }) => [file, type, size])).toEqual([
      ['a.txt', 'file', 3],
      ['e', 'dir', 0],
    ])
    expect((await bytesOf(client.cat(`/ipfs/${top}/e/b.txt`))).toString()).toBe('two')
    await expect(bytesOf(client.cat(`/ipfs/${top}/e/c.txt`))).rejects.toThrow(/no link named/)
    await expect(bytesOf(client.cat(top))).rejects.toThrow(/directory/)
    expect(await client.files.stat(`/ipfs/${top}`)).toMatchObject({ type: 'directory', size: 0, blocks: 2 })
    const wrapped = await collect(client.addAll(files, { cidVersion: 1, wrapWithDirectory: true }))
    const outer = wrapped.find(({ path }) => path === '')?.cid as CID
    expect((await collect(client.ls(outer))).map(({ name: file }) => file)).toEqual(['d'])
    const before = (await client.repo.stat()).numObjects
    await client.add('a file alone', { cidVersion: 1 })
    expect((await client.repo.stat()).numObjects).toBe(before + 1n)
  })

  test.skipIf(!isThere)('nodes: put, got, exported and imported', async () => {
    const leaf = await client.add(newBytes(300_000), { cidVersion: 1 })
    const cid = await client.dag.put({ name: 'x', list: [1, { deep: leaf.cid }] })
    expect(cid.code).toBe(0x71)
    const { value } = await client.dag.get(cid)
    expect(value.list[0]).toBe(1)
    const shown = await cluster.request(place, `/api/v0/dag/get?arg=${cid}/list/1`)
    expect(await shown.text()).toBe(`{"deep":{"/":"${leaf.cid}"}}`)
    expect(await client.dag.resolve(cid, { path: 'list/1/deep' })).toMatchObject({ remainderPath: '' })
    const car = await bytesOf(client.dag.export(cid))
    await client.pin.rm(leaf.cid)
    const other = cluster.client(place, bob)
    const [root] = await collect(other.dag.import([car]))
    expect(root?.root.cid.toString()).toBe(cid.toString())
    expect(root?.root.pinErrorMsg).toBe('')
    const pins = await collect(other.pin.ls({ type: 'recursive' }))
    expect(pins.map((pin) => pin.cid.toString())).toContain(cid.toString())
    const json = await client.dag.put(Buffer.from('{"b":1,"a":{"/":{"bytes":"AQID"}}}'), {
      inputCodec: 'dag-json',
      storeCodec: 'dag-json',
    })
    const raw = Buffer.from(await client.block.get(json)).toString()
    expect(raw).toBe('{"a":{"/":{"bytes":"AQID"}},"b":1}')
  })

  test.skipIf(!isThere)('pins: direct, recursive, indirect, verified', async () => {
    const block = await client.block.put(newBytes(), { pin: true })
    const file = await client.add(newBytes(600_000), { cidVersion: 1 })
    const types = new Map((await collect(client.pin.ls())).map((pin) => [pin.cid.toString(), pin.type]))
    expect(types.get(block.toString())).toBe('direct')
    expect(types.get(file.cid.toString())).toBe('recursive')
    const children = (await collect(client.refs(file.cid))).map(({ ref }) => ref)
    expect(children.map((child) => types.get(child))).toEqual(['indirect', 'indirect', 'indirect'])
    const leaf = CID.parse(children[0] as string)
    expect((await collect(client.block.rm(leaf)))[0]?.error?.message).toMatch(/pinned/)
    const verified = await (await cluster.request(place, '/api/v0/pin/verify?verbose=true')).text()
    expect(verified).toContain(`{"Cid":"${file.cid}","Ok":true}`)
    await client.pin.rm(block)
    await client.pin.rm(file.cid)
    await expect(client.pin.rm(file.cid)).rejects.toThrow(/not pinned/)
    await expect(client.pin.add(absent(), { timeout: 1000 })).rejects.toThrow(/could not find/)
    expect((await collect(client.block.rm(leaf)))[0]?.error).toBeUndefined()
  })

  test.skipIf(!isThere)('the node: version, id, repo, swarm, bitswap', async () => {
    expect((await client.version()).version).toBe('0.43.0')
    expect((await client.id()).id.toString()).toBe(place.peerId)
    const before = (await client.repo.stat()).numObjects
    await client.block.put(newBytes())
    expect((await client.repo.stat()).numObjects).toBe(before + 1n)
    const lines = (await (await cluster.request(place, '/api/v0/repo/verify')).text()).trim().split('\n')
    expect(lines.at(-1)).toBe('{"Msg":"verify complete, all blocks validated.","Progress":0}')
    expect(lines).toHaveLength(Number(before) + 2)
    expect(await client.swarm.peers()).toEqual([])
    expect((await client.bitswap.stat()).blocksSent).toBe(0n)
    const stranger = '/ip4/127.0.0.1/tcp/1/p2p/12D3KooWBT8PiCos4nsD6s9QNBDN6QbeBvxJEwZefQs75qk4HSYB'
    const refused = await cluster.request(place, `/api/v0/swarm/connect?arg=${stranger}`)
    expect(((await refused.json()) as { Message: string }).Message).toMatch(/^connect 12D3\w+ failure/)
  })

  test.skipIf(!isThere)('what it does not offer is answered as Kubo answers an unknown command', async () => {
    for (const command of ['repo/gc', 'name/publish', 'files/write', 'config/show', 'shutdown', 'pubsub/ls']) {
      const response = await cluster.request(place, `/api/v0/${command}`)
      expect([response.status, await response.text()]).toEqual([404, '404 page not found\n'])
    }
  })

  test.skipIf(!isThere)('what is asked wrongly is refused in the form of errors, and changes nothing', async () => {
    const before = (await client.repo.stat()).numObjects
    const { body, headers } = multipart(newBytes())
    const car = Buffer.concat([body.subarray(0, 100), Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]), body.subarray(-9)])
    for (const [path, bytes] of [
      ['add?trickle=true', body],
      ['add?chunker=rabin', body],
      ['add?hash=blake3', body],
      ['add?cid-version=2', body],
      ['dag/put?input-codec=nonsense', body],
      ['dag/put', body],
      ['dag/import', body],
      ['dag/import', car],
      ['block/put', body.subarray(0, 200)],
      ['cat?arg=nonsense', undefined],
      ['refs', undefined],
      ['ls?arg=bafy', undefined],
      ['files/stat?arg=/', undefined],
    ] as const) {
      const init = bytes === undefined ? {} : { body: bytes as Uint8Array<ArrayBuffer>, headers }
      const response = await cluster.request(place, `/api/v0/${path}`, init)
      const problem = (await response.json()) as { Message: string; Type: string; Reason: string }
      expect([path, response.status, problem.Type]).toEqual([path, 400, 'error'])
      expect(problem.Reason).toMatch(/^ERR_/)
    }
    expect((await client.repo.stat()).numObjects).toBe(before)
  })

  test.skipIf(!isThere)('a file whose body ends early is not there', async () => {
    const { body, headers } = multipart(newBytes(400_000))
    const pinned = (await collect(client.pin.ls({ type: 'recursive' }))).length
    const response = await cluster.request(place, '/api/v0/add', { body: body.subarray(0, 300_000), headers })
    expect([response.status, ((await response.json()) as { Reason: string }).Reason]).toEqual([
      400,
      'ERR_MULTIPART_INVALID',
    ])
    expect((await collect(client.pin.ls({ type: 'recursive' }))).length).toBe(pinned)
  })

  test.skipIf(!isThere)('a node that was stopped has everything again', async () => {
    const bytes = newBytes(700_000)
    const { cid } = await client.add(bytes, { cidVersion: 1 })
    await cluster.stop(place)
    await cluster.start(place)
    client = cluster.client(place)
    expect(Buffer.compare(await bytesOf(client.cat(cid)), bytes)).toBe(0)
  })
})

test.skipIf(kuboBinary === undefined)('a Kubo daemon that dies is started again', async () => {
  const cluster = new Cluster()
  await cluster.prepare(1, { STORAGE_REPLICAS: '1', STORAGE_BACKEND: 'kubo', KUBO_BINARY: kuboBinary as string })
  await cluster.startAll()
  const [place] = cluster.places as [Place]
  const client = cluster.client(place)
  const bytes = newBytes()
  const cid = await client.block.put(bytes)
  const pid = place.node?.kuboPid as number
  process.kill(pid, 'SIGKILL')
  for (;;) {
    try {
      expect(Buffer.compare(await client.block.get(cid), bytes)).toBe(0)
      if (place.node?.kuboPid !== pid) break
    } catch {
      await once(process, 'never', { signal: AbortSignal.timeout(20) }).catch(() => {})
    }
  }
  await cluster.end()
})
