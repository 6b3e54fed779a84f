/** Requests that bring several blocks and do not come to their end: nothing of them is kept, and no quota is used. */
import { randomBytes } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import * as dagCbor from '@ipld/dag-cbor'
import { CID } from 'multiformats/cid'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { encodeCar } from './car.ts'
import { Cluster, type Place, type Tenant } from './cluster.fixture.ts'
import { kuboBinary } from './kubo/kubo.fixture.ts'
import { rankMembers } from './replication/placement.ts'
import { codecDagCbor, codecDagJson, codecRaw, hashBlock, toCid } from './store/block-id.ts'

const patient = { timeout: 30_000, interval: 20 }
const cluster = new Cluster()
let place: Place
let bob: Tenant

beforeAll(async () => {
  await cluster.prepare(1, { STORAGE_REPLICAS: '1' })
  await cluster.startAll()
  ;[place] = cluster.places as [Place]
  bob = cluster.tenants[1] as Tenant
})
afterAll(() => cluster.end())

const partHead = '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'

interface State {
  blocks: bigint
  bytes: bigint
  left: number
  pins: string[]
}

async function state(): Promise<State> {
  const client = cluster.client(place, bob)
  const { numObjects: blocks, repoSize: bytes } = await client.repo.stat()
  const pins: string[] = []
  for await (const { cid } of client.pin.ls({ type: 'recursive' })) pins.push(cid.toString())
  return { blocks, bytes, pins, left: place.node?.store.bytesLeft(bob.account).ofAccount as number }
}

/** A node of dag-json with something of its own. */
function node(): Buffer {
  return Buffer.from(JSON.stringify({ name: randomBytes(8).toString('hex') }))
}

/** An archive of a root and three leaves; of the last leaf nothing is left if `isCut`, and it has other bytes if `isWrong`. */
async function archive(how: { isCut?: boolean; isWrong?: boolean } = {}): Promise<Buffer> {
  const leaves = Array.from({ length: 3 }, () => new Uint8Array(randomBytes(40_000)))
  const cids = leaves.map((bytes) => toCid({ digest: hashBlock(bytes), codec: codecRaw }))
  const rootBytes = dagCbor.encode({ leaves: cids })
  const root = CID.decode(toCid({ digest: hashBlock(rootBytes), codec: codecDagCbor }).bytes)
  if (how.isWrong) (leaves[2] as Uint8Array)[7] = ((leaves[2] as Uint8Array)[7] as number) ^ 1
  async function* sections() {
    yield { cid: root, bytes: rootBytes }
    for (const [index, cid] of cids.entries()) yield { cid, bytes: leaves[index] as Uint8Array }
  }
  const pieces: Uint8Array[] = []
  for await (const piece of encodeCar([root], sections())) pieces.push(piece)
  const whole = Buffer.concat(pieces)
  return how.isCut ? whole.subarray(0, -30_000) : whole
}

/** Sends a body that does not end, waits until `begun`, which may send more, and goes away. */
async function breakOff(
  path: string,
  body: Buffer,
  { at, by }: { at: Place; by: Tenant },
  begun: (send: (more: Buffer) => void) => Promise<void>,
): Promise<void> {
  const sent = httpRequest(`${at.node?.address.url}/api/v0/${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${by.token}`, 'content-type': 'multipart/form-data; boundary=b' },
  })
  sent.on('error', () => {})
  sent.write(body)
  await begun((more) => sent.write(more))
  sent.destroy()
}

async function answerOf(path: string, body: Buffer): Promise<{ isWhole: boolean; text: string }> {
  const headers = { 'content-type': 'multipart/form-data; boundary=b' }
  try {
    const response = await cluster.request(place, `/api/v0/${path}`, { body, headers }, bob)
    const text = await response.text()
    return { isWhole: response.ok, text }
  } catch {
    return { isWhole: false, text: '' }
  }
}

describe('dag/put', () => {
  test('a caller who goes away after the first of two nodes leaves none', async () => {
    const before = await state()
    const body = Buffer.concat([Buffer.from(partHead), node(), Buffer.from(`\r\n${partHead}`), node().subarray(0, 5)])
    await breakOff('dag/put?pin=true', body, { at: place, by: bob }, () =>
      vi.waitFor(async () => expect((await state()).blocks).toBeGreaterThan(before.blocks), patient),
    )
    await vi.waitFor(async () => expect(await state()).toEqual(before), patient)
  })

  test('two nodes of which the second is malformed are neither of them kept', async () => {
    const before = await state()
    const parts = [partHead, node(), `\r\n${partHead}`, '{"half":', '\r\n--b--\r\n'].map((part) => Buffer.from(part))
    expect((await answerOf('dag/put?pin=true', Buffer.concat(parts))).isWhole).toBe(false)
    await vi.waitFor(async () => expect(await state()).toEqual(before), patient)
  })

  test('two whole nodes are both kept', async () => {
    const before = await state()
    const parts = [partHead, node(), `\r\n${partHead}`, node(), '\r\n--b--\r\n'].map((part) => Buffer.from(part))
    const { isWhole, text } = await answerOf('dag/put?pin=true', Buffer.concat(parts))
    expect([isWhole, text.trim().split('\n').length]).toEqual([true, 2])
    const after = await state()
    expect([after.blocks - before.blocks, after.pins.length - before.pins.length]).toEqual([2n, 2])
  })
})

test('what two requests bring is kept if the first one ends whole, though the other one breaks off meanwhile', async () => {
  const [both, second] = [node(), node()]
  const { blocks } = await state()
  const part = (one: Buffer): Buffer => Buffer.concat([Buffer.from(partHead), one, Buffer.from('\r\n')])
  const body = new TransformStream<Uint8Array, Uint8Array>()
  const writer = body.writable.getWriter()
  const headers = { 'content-type': 'multipart/form-data; boundary=b' }
  const init = { body: body.readable, duplex: 'half', headers } as RequestInit
  const path = 'dag/put?input-codec=dag-json&store-codec=dag-json&pin=true'
  const answered = cluster.request(place, `/api/v0/${path}`, init, bob).then((answer) => answer.text())
  await writer.write(Buffer.concat([part(both), Buffer.from('--b\r\n')]))
  const blocksAre = (count: bigint): Promise<void> =>
    vi.waitFor(async () => expect((await state()).blocks).toBe(blocks + count), patient)
  await blocksAre(1n)
  await breakOff(path, Buffer.concat([part(both), part(second), Buffer.from('--b\r\n')]), { at: place, by: bob }, () =>
    blocksAre(2n),
  )
  // The second block is the other one's alone: when it is gone, the first was looked at.
  await blocksAre(1n)
  const isKept = (): boolean => place.node?.store.keptSince(hashBlock(both), bob.account) !== undefined
  expect(isKept()).toBe(true)
  await writer.write(Buffer.concat([part(node()).subarray(5), Buffer.from('--b--\r\n')]))
  await writer.close()
  expect((await answered).trim().split('\n')).toHaveLength(2)
  expect(isKept()).toBe(true)
})

describe('dag/import', () => {
  test('a caller who goes away in the middle of an archive leaves nothing of it', async () => {
    const before = await state()
    const body = Buffer.concat([Buffer.from(partHead), await archive({ isCut: true })])
    await breakOff('dag/import', body, { at: place, by: bob }, () =>
      vi.waitFor(async () => expect((await state()).blocks).toBeGreaterThan(before.blocks), patient),
    )
    await vi.waitFor(async () => expect(await state()).toEqual(before), patient)
  })

  test.each([
    ['ends early', { isCut: true }],
    ['has a block with other bytes', { isWrong: true }],
  ])('of an archive that %s nothing is kept', async (_what, how) => {
    const before = await state()
    const body = Buffer.concat([Buffer.from(partHead), await archive(how), Buffer.from('\r\n--b--\r\n')])
    expect((await answerOf('dag/import', body)).isWhole).toBe(false)
    await vi.waitFor(async () => expect(await state()).toEqual(before), patient)
  })

  test.each([
    ['ends whole', true],
    ['breaks off too', false],
  ])(
    'what a second attempt puts before the first is noticed to be cut off is its own, and it %s',
    async (_how, isWhole) => {
      const leaves = [0, 1].map(() => new Uint8Array(randomBytes(20_000)))
      const cids = leaves.map((bytes) => toCid({ digest: hashBlock(bytes), codec: codecRaw }))
      const rootBytes = dagCbor.encode({ leaves: cids })
      const root = CID.decode(toCid({ digest: hashBlock(rootBytes), codec: codecDagCbor }).bytes)
      const bodyOf = async (extra: number): Promise<Buffer> => {
        async function* sections() {
          yield { cid: root, bytes: rootBytes }
          for (const [index, cid] of cids.entries()) yield { cid, bytes: leaves[index] as Uint8Array }
          for (let count = 0; count < extra; count++) {
            const bytes = new Uint8Array(randomBytes(5_000))
            yield { cid: toCid({ digest: hashBlock(bytes), codec: codecRaw }), bytes }
          }
        }
        const pieces: Uint8Array[] = [Buffer.from(partHead)]
        for await (const piece of encodeCar([root], sections())) pieces.push(piece)
        return Buffer.concat(pieces)
      }
      const blocksAre = (count: bigint): Promise<void> =>
        vi.waitFor(async () => expect((await state()).blocks).toBe(count), patient)
      const { blocks } = await state()
      const second = Buffer.concat([await bodyOf(0), Buffer.from(isWhole ? '\r\n--b--\r\n' : '\r\n')])
      // The last whole block is the first attempt's alone: when it is gone, the others were looked at.
      await breakOff('dag/import', (await bodyOf(2)).subarray(0, -2_500), { at: place, by: bob }, async () => {
        await blocksAre(blocks + 4n)
        expect((await answerOf('dag/import', second)).isWhole).toBe(isWhole)
      })
      await blocksAre(isWhole ? blocks + 3n : blocks)
      for (const cid of isWhole ? [root, ...cids] : []) {
        expect((await cluster.client(place, bob).block.stat(cid)).size).toBeGreaterThan(0)
      }
    },
  )

  test('what the account kept before an archive broke off stays', async () => {
    const whole = await archive()
    const body = Buffer.concat([Buffer.from(partHead), whole, Buffer.from('\r\n--b--\r\n')])
    expect((await answerOf('dag/import', body)).isWhole).toBe(true)
    const before = await state()
    await answerOf('dag/import', Buffer.concat([Buffer.from(partHead), whole, Buffer.from('\r\n')]))
    expect(await state()).toEqual(before)
  })
})

describe('where a store is asked that is to have none of the blocks', () => {
  const three = new Cluster()
  let alice: Tenant
  let [first, asked]: [Place, Place] = [] as never

  beforeAll(async () => {
    await three.prepare(3, { STORAGE_REPLICAS: '2' })
    await three.startAll()
    ;[first, , asked] = three.places as [Place, Place, Place]
    alice = three.tenants[0] as Tenant
  })
  afterAll(() => three.end())

  /** A node that the asked store is not to have. */
  function nodeElsewhere(): Buffer {
    for (;;) {
      const bytes = node()
      const [one, two] = rankMembers(hashBlock(bytes), asked.members?.list() ?? [])
      if (![one, two].some((member) => member?.peerId === asked.peerId)) return bytes
    }
  }

  const put = async (bytes: Buffer): Promise<void> =>
    void (await three.client(first, alice).block.put(bytes, { format: 'dag-json' }))
  const keepers = (bytes: Buffer): number =>
    three.places.filter(({ node: one }) => one?.store.keptSince(hashBlock(bytes), alice.account) !== undefined).length

  test('what the account kept elsewhere before a request broke off stays, and what it brought does not', async () => {
    const [kept, brought] = [nodeElsewhere(), nodeElsewhere()]
    await put(kept)
    const parts = [kept, brought, Buffer.from('no node')].map((part) => Buffer.concat([Buffer.from(partHead), part]))
    const body = Buffer.concat([...parts.flatMap((part) => [part, Buffer.from('\r\n')]), Buffer.from('--b--\r\n')])
    const headers = { 'content-type': 'multipart/form-data; boundary=b' }
    const path = '/api/v0/dag/put?input-codec=dag-json&store-codec=dag-json'
    const answered = three.request(asked, path, { body, headers }, alice).then((answer) => answer.text())
    await answered.catch(() => {})
    await vi.waitFor(() => expect([kept, brought].map(keepers)).toEqual([2, 0]), patient)
  })

  test('what the account puts at another store while a request is under way that breaks off stays', async () => {
    const [both, brought] = [nodeElsewhere(), nodeElsewhere()]
    const parts = [both, brought, node().subarray(0, 5)].map((part) => Buffer.concat([Buffer.from(partHead), part]))
    const body = Buffer.concat(parts.flatMap((part) => [part, Buffer.from('\r\n')]))
    const path = 'dag/put?input-codec=dag-json&store-codec=dag-json'
    await breakOff(path, body.subarray(0, -2), { at: asked, by: alice }, async () => {
      await vi.waitFor(() => expect([both, brought].map(keepers)).toEqual([2, 2]), patient)
      await put(both)
    })
    await vi.waitFor(() => expect([both, brought].map(keepers)).toEqual([2, 0]), patient)
  })

  test('what the account puts at another store between the two times that a request brings it stays when that breaks off', async () => {
    const [both, brought] = [nodeElsewhere(), nodeElsewhere()]
    const path = 'dag/put?input-codec=dag-json&store-codec=dag-json'
    const part = (one: Buffer): Buffer => Buffer.concat([Buffer.from(partHead), one, Buffer.from('\r\n')])
    const begin = Buffer.concat([part(both), Buffer.from('--b\r\n')])
    await breakOff(path, begin, { at: asked, by: alice }, async (send) => {
      await vi.waitFor(() => expect(keepers(both)).toBe(2), patient)
      await put(both)
      send(Buffer.concat([part(both).subarray(5), part(brought), Buffer.from('--b\r\n')]))
      await vi.waitFor(() => expect(keepers(brought)).toBe(2), patient)
    })
    await vi.waitFor(() => expect([both, brought].map(keepers)).toEqual([2, 0]), patient)
  })

  test('what a request brings that the account has given up since it brought it first is kept', async () => {
    const both = nodeElsewhere()
    const path = '/api/v0/dag/put?input-codec=dag-json&store-codec=dag-json'
    const part = (one: Buffer): Buffer => Buffer.concat([Buffer.from(partHead), one, Buffer.from('\r\n')])
    const parts = new TransformStream<Uint8Array, Uint8Array>()
    const writer = parts.writable.getWriter()
    const headers = { 'content-type': 'multipart/form-data; boundary=b' }
    const init = { body: parts.readable, duplex: 'half', headers } as RequestInit
    const answered = three.request(asked, path, init, alice).then((answer) => answer.text())
    await writer.write(Buffer.concat([part(both), Buffer.from('--b\r\n')]))
    await vi.waitFor(() => expect(keepers(both)).toBe(2), patient)
    const cid = CID.decode(toCid({ digest: hashBlock(both), codec: codecDagJson }).bytes)
    for await (const { error } of three.client(first, alice).block.rm(cid)) expect(error).toBeUndefined()
    expect(keepers(both)).toBe(0)
    await writer.write(Buffer.concat([part(both).subarray(5), Buffer.from('--b--\r\n')]))
    await writer.close()
    expect((await answered).trim().split('\n')).toHaveLength(2)
    expect(keepers(both)).toBe(2)
  })
})

test.skipIf(kuboBinary === undefined)(
  'what is taken back of a request that broke off leaves the Kubo daemon, too',
  async () => {
    const one = new Cluster()
    onTestFinished(() => one.end())
    const settings = { STORAGE_REPLICAS: '1', STORAGE_BACKEND: 'kubo', KUBO_BINARY: kuboBinary as string }
    await one.prepare(1, settings)
    await one.startAll()
    const [only] = one.places as [Place]
    const parts = [node(), Buffer.from('no node')].flatMap((part) => [Buffer.from(partHead), part, Buffer.from('\r\n')])
    const headers = { 'content-type': 'multipart/form-data; boundary=b' }
    const body = Buffer.concat([...parts, Buffer.from('--b--\r\n')])
    const store = only.node?.store
    const answered = one.request(only, '/api/v0/dag/put?pin=true', { body, headers }).then((answer) => answer.text())
    await answered.catch(() => {})
    await vi.waitFor(() => expect([store?.totals().blocks, store?.removals(9)]).toEqual([0, []]), patient)
  },
)
