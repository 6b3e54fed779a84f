/** Erasures that prove themselves: what an account with a key signs, and what no other store makes up for it. */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createErasureOrder, parseErasureOrder } from '@healthblock/chain/erasure-order'
import { generateSigningKey, type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { fromHex } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { importFile } from '@healthblock/runtime/unixfs'
import { encode as encodeDagCbor } from '@ipld/dag-cbor'
import type { CID } from 'multiformats/cid'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { FileMembers, type Member } from './access/members.ts'
import { Cluster, multipart, type Place, sealedBlock, type Tenant } from './cluster.fixture.ts'
import { StorageError } from './errors.ts'
import { pinnedLinksMax } from './files.ts'
import { ledgerWord, statedWord, wordOfOrder } from './replication/erasure-word.ts'
import { NodeClient } from './replication/node-client.ts'
import { rankMembers } from './replication/placement.ts'
import { type BlockId, codecRaw, encodeBlockId, fromCid, hashBlock, parseBlockId, toCid } from './store/block-id.ts'

const waiting = { timeout: 60_000, interval: 50 }

let cluster: Cluster
let places: Place[]
let alice: Tenant & { key: SigningKey }
let bob: Tenant & { key: SigningKey }
let liar: { client: NodeClient; members: FileMembers } | undefined

beforeEach(() => {
  cluster = new Cluster()
})

afterEach(async () => {
  liar?.client.close()
  liar?.members.close()
  liar = undefined
  await cluster.end()
})

async function start(count: number, isSigned = true, settings: Record<string, string> = {}): Promise<void> {
  await cluster.prepare(count, { STORAGE_ERASE_DELAY_SECONDS: '1', ...settings }, isSigned)
  places = cluster.places
  ;[alice, bob] = cluster.tenants as [typeof alice, typeof bob]
  await cluster.startAll()
}

async function put(bytes: Uint8Array, by: Tenant = alice, codec = 'raw'): Promise<BlockId> {
  const path = `/api/v0/block/put?cid-codec=${codec}`
  const response = await cluster.request(places[0] as Place, path, multipart(bytes), by)
  expect(response.status).toBe(200)
  return parseBlockId(((await response.json()) as { Key: string }).Key)
}

/** An order of Alice's, but for what is said otherwise. */
function order(id: BlockId, changed: Partial<Parameters<typeof createErasureOrder>[0]> = {}): Uint8Array {
  const { account, key: signingKey } = alice
  const { ledgerId } = cluster
  return createErasureOrder({ account, ...id, ms: Date.now(), key: 1, ledgerId, signingKey, ...changed })
}

async function erase(cid: string, by: Tenant, orders?: Uint8Array[]): Promise<{ state: string; Reason?: string }> {
  const texts = orders?.map((one) => Buffer.from(one).toString('base64url'))
  const body = JSON.stringify({ cids: [cid], ...(texts ? { orders: texts } : {}) })
  const headers = { 'content-type': 'application/json' }
  const response = await cluster.request(places[0] as Place, '/v1/erasures', { body, headers }, by)
  expect(response.status).toBe(200)
  const { results } = (await response.json()) as { results: { state: string; Reason?: string }[] }
  return results[0] as { state: string }
}

async function own(place: Place | undefined, cid: string): Promise<string> {
  const response = await cluster.request(place as Place, `/api/v0/block/stat?arg=${cid}&offline=true`)
  return ((await response.json()) as { Reason?: string }).Reason ?? String(response.status)
}

async function everywhere(cids: readonly string[], expected: string): Promise<void> {
  await vi.waitFor(async () => {
    const found = await Promise.all(places.flatMap((place) => cids.map((cid) => own(place, cid))))
    expect(found).toEqual(found.map(() => expected))
  }, waiting)
}

/** The second store, as whoever has its key can speak to the first one. */
function asLiar(): { client: NodeClient; first: Member } {
  const [first, second] = places as [Place, Place]
  const file = second.environment.STORAGE_STORE_KEY_FILE as string
  const key = signingKeyFromSeed(fromHex(readFileSync(file, 'utf8').trim()))
  const members = new FileMembers(second.environment.STORAGE_MEMBERS_FILE as string, () => {})
  liar ??= { members, client: new NodeClient({ members, key, account: second.account, now: Date.now }) }
  return { client: liar.client, first: members.find(first.account) as Member }
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => 'done',
    (error: unknown) =>
      error instanceof StorageError
        ? error.detail.code === 'ERR_NODE_REFUSED'
          ? error.detail.reason
          : error.detail.code
        : String(error),
  )
}

test('an account with a key erases by its own order alone, for that block, at that time', async () => {
  await start(1)
  const id = await put(sealedBlock({ owner: alice.account, writer: alice.account }))
  const other = await put(sealedBlock({ owner: alice.account, writer: alice.account, sequence: 2 }))
  const cid = encodeBlockId(id)
  const refused = async (orders: Uint8Array[] | undefined, Reason: string, by: Tenant = alice): Promise<void> => {
    expect(await erase(cid, by, orders)).toMatchObject({ state: 'refused', Reason })
  }
  await refused(undefined, 'ERR_SIGNATURE_NEEDED')
  await refused([], 'ERR_SIGNATURE_NEEDED')
  await refused([new Uint8Array(5)], 'ERR_ORDER_INVALID')
  await refused([order(other)], 'ERR_ORDER_INVALID')
  await refused([order({ ...id, codec: 0x70 })], 'ERR_ORDER_INVALID')
  await refused([order(id, { ms: Date.now() - 700_000 })], 'ERR_ORDER_INVALID')
  await refused([order(id, { ms: Date.now() + 700_000 })], 'ERR_ORDER_INVALID')
  await refused([order(id, { signingKey: bob.key })], 'ERR_ORDER_INVALID')
  await refused([order(id, { key: 2 })], 'ERR_ORDER_INVALID')
  await refused([order(id, { ledgerId: new Uint8Array(32) })], 'ERR_ORDER_INVALID')
  await refused([order(id)], 'ERR_ORDER_INVALID', bob)
  await refused([order(id, { account: bob.account, signingKey: bob.key })], 'ERR_NOT_OWNER', bob)
  const removal = await cluster.request(places[0] as Place, `/api/v0/block/rm?arg=${cid}`)
  expect(await removal.text()).toMatch(/signs for/)
  await everywhere([cid], '200')
  expect(await erase(cid, alice, [order(id)])).toMatchObject({ state: 'erased' })
  await everywhere([cid], 'ERR_BLOCK_ERASED')
})

test.each([
  ['without a key everywhere', false, ['ERR_BLOCK_NOT_FOUND', 'ERR_BLOCK_NOT_FOUND']],
  [
    'with a key at the store that was asked, whose word about it the other does not take',
    true,
    ['ERR_BLOCK_NOT_FOUND', '200'],
  ],
])(
  'what a request brought that fails in its middle is given up, of an account %s',
  async (_whose, isSigned, states) => {
    await start(2, isSigned)
    const first = Buffer.from(JSON.stringify({ name: randomBytes(8).toString('hex') }))
    const part = (body: Buffer | string): string =>
      `--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n${body}\r\n`
    const body = `${part(first)}${part('no node')}--b--\r\n`
    const headers = { 'content-type': 'multipart/form-data; boundary=b' }
    const path = '/api/v0/dag/put?input-codec=dag-json&store-codec=dag-json'
    const answer = cluster.request(places[0] as Place, path, { body, headers }, alice)
    // The first line may be on its way already when the second node is looked at.
    await expect(answer.then((response) => response.text().then(() => response.ok))).rejects.toThrow()
    const cid = encodeBlockId({ digest: hashBlock(first), codec: codecRaw })
    await vi.waitFor(async () => {
      expect(await Promise.all(places.map((place) => own(place, cid)))).toEqual(states)
    }, waiting)
  },
)

test('a store that makes erasures up, or tells them of another block, has nothing erased or released', async () => {
  await start(2)
  const id = await put(sealedBlock({ owner: alice.account, writer: alice.account }))
  const plain = await put(new Uint8Array(randomBytes(900)))
  const { client, first } = asLiar()
  const tell = (word: Uint8Array): Promise<string> => codeOf(client.tell(first, word))
  const told = (made: Uint8Array): Promise<string> => tell(wordOfOrder(made).bytes)
  for (const block of [id, plain]) {
    expect(await tell(statedWord(block, alice.account, Date.now()).bytes)).toBe('ERR_SIGNATURE_NEEDED')
    expect(await tell(ledgerWord(block).bytes)).toBe('ERR_STORE_BUSY')
    expect(await told(order(block, { signingKey: generateSigningKey() }))).toBe('ERR_ORDER_INVALID')
    expect(await told(order(block, { ms: Date.now() + 3_600_000 }))).toBe('ERR_ORDER_INVALID')
    // A good order, for another block than the one that it is told of.
    const stolen = order({ digest: hashBlock(randomBytes(8)), codec: codecRaw })
    expect(await told(stolen)).toBe('done')
    const release = client.release(first, block, { account: alice.account, at: Date.now(), force: true })
    expect(await codeOf(release)).toBe('ERR_SIGNATURE_NEEDED')
  }
  expect(await told(order(id, { account: bob.account, signingKey: bob.key }))).toBe('ERR_NOT_OWNER')
  // Bob's own word takes his references alone.
  expect(await told(order(plain, { account: bob.account, signingKey: bob.key }))).toBe('done')
  for (const bad of [new Uint8Array(600), encodeCbor([]), encodeCbor([9, id.digest]), encodeCbor([1, id.digest])]) {
    expect(await tell(bad)).toBe('ERR_ORDER_INVALID')
  }
  const store = places[0]?.node?.store
  expect([store?.has(id.digest), store?.has(plain.digest)]).toEqual([true, true])
  expect(store?.tombstone(id.digest)).toBeUndefined()
  expect(await told(order(plain))).toBe('done')
  expect(store?.has(plain.digest)).toBe(false)
  expect(await told(order(id))).toBe('done')
  expect(store?.tombstone(id.digest)?.owner).toEqual(alice.account)
  // A copy that is still on its way when the word comes is not kept either.
  const late = new Uint8Array(randomBytes(900))
  const gone = { digest: hashBlock(late), codec: codecRaw }
  expect(await told(order(gone))).toBe('done')
  const references = [{ account: alice.account, at: Date.now() - 5_000, pin: 0 }]
  const copy = client.copy(first, { id: gone, bytes: late, references, handoff: [] })
  expect(await codeOf(copy)).toBe('ERR_BLOCK_RELEASED')
  // Told again, a word takes nothing that was put after it.
  const again = new Uint8Array(randomBytes(900))
  const before = order({ digest: hashBlock(again), codec: codecRaw }, { ms: Date.now() - 60_000 })
  const later = await put(again)
  expect(await told(before)).toBe('done')
  expect(store?.has(later.digest)).toBe(true)
})

test('a copy that says of an account what no pin is, is refused', async () => {
  await start(2)
  const { client, first } = asLiar()
  const bytes = new Uint8Array(randomBytes(90))
  const copy = (pin: number): Promise<void> => {
    const references = [{ account: alice.account, at: Date.now(), pin }]
    return client.copy(first, { id: { digest: hashBlock(bytes), codec: codecRaw }, bytes, references, handoff: [] })
  }
  for (const pin of [3, 4]) expect(await codeOf(copy(pin))).toBe('ERR_ARGUMENT_INVALID')
  expect(await codeOf(copy(2))).toBe('done')
})

test('a store that was killed, or busy, between a word and what it takes does the rest when it is told again', async () => {
  await start(2)
  const id = await put(new Uint8Array(randomBytes(900)))
  const { client, first } = asLiar()
  const made = order(id)
  const { bytes } = wordOfOrder(made)
  const { ms: at } = parseErasureOrder(made)
  const store = places[0]?.node?.store
  await store?.addWord({ digest: id.digest, account: alice.account, at, bytes }, [])
  expect(store?.has(id.digest)).toBe(true)
  await client.tell(first, bytes)
  expect(store?.has(id.digest)).toBe(false)
})

test('who links to what another keeps cannot erase it, with a file of her own or with all her keys', async () => {
  await start(2)
  const kept = new Uint8Array(randomBytes(1024))
  const id = await put(kept, bob)
  const head = sealedBlock({ owner: alice.account, writer: alice.account, kind: 3 })
  const brought: BlockId[] = []
  const { cid } = await importFile(
    (async function* () {
      yield Buffer.concat([head, kept])
    })(),
    {
      leafBytes: 1024,
      put: async ({ bytes, cid: of }) => {
        brought.push(await put(bytes, alice, of.code === codecRaw ? 'raw' : 'dag-pb'))
      },
    },
  )
  expect(brought).toHaveLength(3)
  expect(await erase(cid.toString(), alice, [order(fromCid(cid))])).toMatchObject({ state: 'erased', blocks: 3 })
  await everywhere([cid.toString()], 'ERR_BLOCK_ERASED')
  for (const place of places) {
    await place.node?.erasure.sweep()
    expect(place.node?.store.has(id.digest)).toBe(true)
    expect(place.node?.store.references(id.digest).map(({ account }) => account)).toEqual([bob.account])
  }
  expect((await cluster.request(places[1] as Place, '/api/v0/block/put', multipart(kept), bob)).status).toBe(200)
})

test('a store that comes back when a file can be walked no more learns of its leaves from the others', async () => {
  await start(3)
  const head = sealedBlock({ owner: alice.account, writer: alice.account, kind: 3 })
  const cids: string[] = []
  const { cid } = await importFile(
    (async function* () {
      yield Buffer.concat([head, randomBytes(9000)])
    })(),
    {
      leafBytes: 1024,
      put: async ({ bytes, cid: of }) => {
        await put(bytes, alice, of.code === codecRaw ? 'raw' : 'dag-pb')
        cids.push(of.toString())
      },
    },
  )
  await everywhere(cids, '200')
  const away = places[2] as Place
  await cluster.stop(away)
  places = places.slice(0, 2)
  expect(await erase(cid.toString(), alice, [order(fromCid(cid))])).toMatchObject({ blocks: cids.length })
  await everywhere(cids, 'ERR_BLOCK_ERASED')
  await vi.waitFor(() => {
    for (const place of places) expect(place.node?.store.totals().blocks).toBe(0)
  }, waiting)
  await cluster.start(away)
  for (const one of cids) expect(await own(away, one)).toBe('ERR_BLOCK_ERASED')
  await vi.waitFor(() => expect(away.node?.store.totals().blocks).toBe(0), waiting)
})

test('where no store has the root any more that Userchain erased, a store that has nothing of it is told once', async () => {
  await start(3, true, { STORAGE_REPLICAS: '2' })
  const away = places[2] as Place
  const members = away.members?.list() ?? []
  const isPlacedThere = ({ cid }: { cid: CID }): boolean =>
    rankMembers(fromCid(cid).digest, members)
      .slice(0, 2)
      .some(({ account }) => Buffer.compare(account, away.account) === 0)
  const blocks: { bytes: Uint8Array; cid: CID }[] = []
  do {
    blocks.length = 0
    const head = sealedBlock({ owner: alice.account, writer: alice.account, kind: 3 })
    const put = async (block: { bytes: Uint8Array; cid: CID }): Promise<void> => void blocks.push(block)
    const content = (async function* () {
      yield Buffer.concat([head, randomBytes(1024)])
    })()
    await importFile(content, { leafBytes: 1024, put })
  } while (blocks.some(isPlacedThere))
  for (const { bytes, cid } of blocks) await put(bytes, alice, cid.code === codecRaw ? 'raw' : 'dag-pb')
  const [first, second] = places as [Place, Place]
  await vi.waitFor(() => {
    for (const { node } of [first, second]) expect(node?.store.totals().blocks).toBe(blocks.length)
  }, waiting)
  await cluster.stop(away)
  const range = { owner: alice.account, stream: new Uint8Array(8), first: 1, last: 1, at: Date.now() }
  for (const { node } of [first, second]) await node?.erasure.eraseRecords({ ...range, removeAt: range.at + 1000 })
  await vi.waitFor(() => {
    for (const { node } of [first, second]) expect(node?.store.totals().blocks).toBe(0)
  }, waiting)
  expect([first, second].map(({ node }) => node?.store.words(0, 9).length)).toEqual([1, 1])
  await cluster.start(away)
  await vi.waitFor(() => {
    expect([first, second].map(({ node }) => node?.store.handoffCount())).toEqual([0, 0])
    for (const { account } of [first, second]) {
      const read = away.node?.store.cursor(`words ${Buffer.from(account).toString('hex')}`)
      expect(Number.parseInt(Buffer.from(read ?? []).toString(), 10)).toBeGreaterThan(0)
    }
  }, waiting)
})

/** Stores a file of Alice's of which the last of three stores is to have leaves, but not the root. @returns the root, all blocks, and those leaves. */
async function putFileWithoutRootThere(): Promise<{ root: BlockId; blocks: BlockId[]; kept: BlockId[] }> {
  const away = places[2] as Place
  const members = away.members?.list() ?? []
  const isPlacedThere = (id: BlockId): boolean =>
    rankMembers(id.digest, members)
      .slice(0, 2)
      .some(({ account }) => Buffer.compare(account, away.account) === 0)
  const made: { bytes: Uint8Array; cid: CID }[] = []
  let root: CID
  do {
    made.length = 0
    const head = sealedBlock({ owner: alice.account, writer: alice.account, kind: 3 })
    const put = async (block: { bytes: Uint8Array; cid: CID }): Promise<void> => void made.push(block)
    const content = (async function* () {
      yield Buffer.concat([head, randomBytes(9000)])
    })()
    root = (await importFile(content, { leafBytes: 1024, put })).cid
  } while (isPlacedThere(fromCid(root)) || !made.slice(1).some(({ cid }) => isPlacedThere(fromCid(cid))))
  for (const { bytes, cid } of made) await put(bytes, alice, cid.code === codecRaw ? 'raw' : 'dag-pb')
  const blocks = made.map(({ cid }) => fromCid(cid))
  // The first leaf has a header of its own, by which it goes by itself.
  const kept = blocks.slice(1).filter(isPlacedThere)
  for (const { digest } of kept) await vi.waitFor(() => expect(away.node?.store.has(digest)).toBe(true), waiting)
  return { root: fromCid(root), blocks, kept }
}

test('with fewer copies than stores, one that has a leaf and neither its root nor who to ask for it gives the leaf up, too', async () => {
  await start(3, true, { STORAGE_REPLICAS: '2' })
  const away = places[2] as Place
  const { root, blocks, kept } = await putFileWithoutRootThere()
  await cluster.stop(away)
  places = places.slice(0, 2)
  expect(await erase(encodeBlockId(root), alice, [order(root)])).toMatchObject({ blocks: blocks.length })
  await vi.waitFor(() => {
    for (const place of places) expect(place.node?.store.totals().blocks).toBe(0)
  }, waiting)
  await cluster.start(away)
  await vi.waitFor(() => {
    for (const { digest } of kept) expect(away.node?.store.tombstone(digest)?.owner).toEqual(alice.account)
  }, waiting)
  await vi.waitFor(() => expect(away.node?.store.totals().blocks).toBe(0), waiting)
})

test('of a file that Userchain erased such a store gives its leaves up once it has read that itself', async () => {
  await start(3, true, { STORAGE_REPLICAS: '2' })
  const [first, second, away] = places as [Place, Place, Place]
  const { kept } = await putFileWithoutRootThere()
  await cluster.stop(away)
  const at = Date.now()
  const range = { owner: alice.account, stream: new Uint8Array(8), first: 1, last: 1, at, removeAt: at + 1000 }
  for (const { node } of [first, second]) await node?.erasure.eraseRecords(range)
  await vi.waitFor(() => {
    for (const { node } of [first, second]) expect(node?.store.totals().blocks).toBe(0)
  }, waiting)
  const node = await cluster.start(away)
  await cluster.connected()
  // What the others say of Userchain is not believed.
  await node.erasure.pull()
  for (const { digest } of kept) expect(node.store.has(digest)).toBe(true)
  await node.erasure.eraseRecords({ ...range, at: at - 5 })
  await node.erasure.pull()
  for (const { digest } of kept) expect(node.store.has(digest)).toBe(true)
  await node.erasure.eraseRecords({ ...range, last: 2 })
  await node.erasure.pull()
  for (const { digest } of kept) expect(node.store.tombstone(digest)).toMatchObject({ at, removeAt: at + 1000 })
  await node.erasure.sweep()
  for (const { digest } of kept) expect(node.store.digests(new Uint8Array(0), 99)).not.toContainEqual(digest)
})

test.each([
  ['without a key', false],
  ['with a key', true],
])(
  'a folder that an account %s erases leaves what it has pinned by itself below, with all that such a pin holds',
  async (_whose, isSigned) => {
    await start(2, isSigned)
    const client = cluster.client(places[0] as Place)
    const leafOf = (): Buffer => randomBytes(1024)
    const leaves = [leafOf(), leafOf(), leafOf()] as const
    const contents = {
      'folder/pinned': Buffer.concat(leaves),
      // Its only block is a leaf of the pinned one, too.
      'folder/shared': leaves[1],
      'folder/direct': leafOf(),
      'folder/inner/pinned': leafOf(),
      'folder/inner/plain': leafOf(),
      'folder/plain': Buffer.concat([leafOf(), leafOf()]),
    }
    const cids = new Map<string, string>()
    const files = Object.entries(contents).map(([path, content]) => ({ path, content }))
    for await (const { path, cid } of client.addAll(files, { cidVersion: 1, chunker: 'size-1024', pin: false })) {
      cids.set(path, cid.toString())
    }
    const cidsOf = (...paths: string[]): string[] => paths.map((path) => cids.get(path) as string)
    const [pinned = '', direct = '', inner = ''] = cidsOf('folder/pinned', 'folder/direct', 'folder/inner/pinned')
    await client.pin.add(pinned as never)
    await client.pin.add(inner as never)
    await client.pin.add(direct as never, { recursive: false })
    const below = leaves.map((leaf) => encodeBlockId({ digest: hashBlock(leaf), codec: codecRaw }))
    const kept = [pinned, ...below, direct, inner]
    const gone = cidsOf('folder', 'folder/inner', 'folder/inner/plain', 'folder/plain')
    await everywhere([...kept, ...gone], '200')
    const eraseOf = async (cid: string): Promise<unknown> =>
      await erase(cid, alice, isSigned ? [order(parseBlockId(cid))] : undefined)
    // The folder, the one within, a file of one leaf, and a file of two.
    expect(await eraseOf(gone[0] as string)).toMatchObject({ state: 'released', blocks: 3 + 3 })
    await everywhere(gone, 'ERR_BLOCK_NOT_FOUND')
    await everywhere(kept, '200')
    // What is named itself goes whatever pins it, and once nothing pins it, with what is below.
    await client.pin.rm(inner as never)
    expect(await eraseOf(pinned)).toMatchObject({ state: 'released', blocks: 4 })
    await everywhere([pinned, ...below], 'ERR_BLOCK_NOT_FOUND')
    await everywhere([direct, inner], '200')
  },
)

/** Adds a folder, which alone is pinned. @returns the CIDs by their paths. */
async function addFolder(name: string, contents: Record<string, Buffer>): Promise<Map<string, string>> {
  const client = cluster.client(places[0] as Place)
  const cids = new Map<string, string>()
  const files = Object.entries(contents).map(([path, content]) => ({ path: `${name}/${path}`, content }))
  for await (const { path, cid } of client.addAll(files, { cidVersion: 1, chunker: 'size-1024', pin: true })) {
    cids.set(path, cid.toString())
  }
  return cids
}

test.each([
  ['without a key', false],
  ['with a key', true],
])('a folder that an account %s erases leaves what another of its pins lists', async (_whose, isSigned) => {
  await start(2, isSigned)
  const [own, other, shared, twice] = [randomBytes(900), randomBytes(900), randomBytes(3000), randomBytes(900)]
  const left = await addFolder('left', { own, shared })
  const right = await addFolder('right', { shared, 'inner/other': other, 'inner/twice': twice, 'again/twice': twice })
  const leaves = [0, 1024, 2048].map((at) => hashBlock(shared.subarray(at, Math.min(at + 1024, shared.length))))
  const leafCids = leaves.map((digest) => encodeBlockId({ digest, codec: codecRaw }))
  const [leftRoot = '', rightRoot = '', inner = ''] = [left.get('left'), right.get('right'), right.get('right/inner')]
  const kept = [...right.values(), ...leafCids]
  await everywhere([...left.values(), ...kept], '200')
  const eraseOf = async (cid: string): Promise<unknown> =>
    await erase(cid, alice, isSigned ? [order(parseBlockId(cid))] : undefined)
  expect(await eraseOf(leftRoot)).toMatchObject({ state: 'released', blocks: 2 })
  await everywhere([leftRoot, left.get('left/own') as string], 'ERR_BLOCK_NOT_FOUND')
  await everywhere(kept, '200')
  // What the pinned folder lists only through the one within that is named goes with it; the other copy stays.
  expect(await eraseOf(inner)).toMatchObject({ state: 'released', blocks: 2 })
  await everywhere([inner, right.get('right/inner/other') as string], 'ERR_BLOCK_NOT_FOUND')
  await everywhere([rightRoot, right.get('right/again/twice') as string, ...leafCids], '200')
})

/** Nodes of one link each, the last of which names a leaf, and the leaf. */
async function chainOf(leaf: Uint8Array): Promise<{ root: BlockId; leaf: BlockId }> {
  const id = await put(leaf)
  return { leaf: id, root: await put(encodeDagCbor({ file: toCid(id) }), alice, 'dag-cbor') }
}

async function eraseSigned(id: BlockId): Promise<void> {
  expect(await erase(encodeBlockId(id), alice, [order(id)])).toMatchObject({ state: 'released' })
}

test('a store that was away during an erasure takes what the others took, whatever is pinned by then', async () => {
  await start(3)
  const [kept, gone] = [await chainOf(randomBytes(900)), await chainOf(randomBytes(900))]
  const cids = [kept, gone].flatMap(({ root, leaf }) => [root, leaf]).map(encodeBlockId)
  await everywhere(cids, '200')
  const client = cluster.client(places[0] as Place)
  await client.pin.add(toCid(gone.leaf) as never, { recursive: false })
  const [, second, away] = places as [Place, Place, Place]
  await cluster.stop(away)
  // What is pinned and what is not is another matter before the erasure, at it, and after it.
  await client.pin.rm(toCid(gone.leaf) as never)
  await client.pin.add(toCid(kept.leaf) as never, { recursive: false })
  await eraseSigned(kept.root)
  await eraseSigned(gone.root)
  const expected = ['ERR_BLOCK_NOT_FOUND', '200', 'ERR_BLOCK_NOT_FOUND', 'ERR_BLOCK_NOT_FOUND']
  const stateOf = (place: Place): Promise<string[]> => Promise.all(cids.map((cid) => own(place, cid)))
  await vi.waitFor(async () => expect(await stateOf(second)).toEqual(expected), waiting)
  await client.pin.rm(toCid(kept.leaf) as never)
  await cluster.start(away)
  for (const place of places) expect(await stateOf(place)).toEqual(expected)
})

test('a store that has a leaf and not its root gives it up when it comes back after the erasure', async () => {
  await start(4)
  const away = places[3] as Place
  const isPlacedThere = (id: BlockId): boolean => {
    const ranked = rankMembers(id.digest, away.members?.list() ?? [])
    return ranked.slice(0, 3).some(({ account }) => Buffer.compare(account, away.account) === 0)
  }
  for (;;) {
    const leaf = randomBytes(900)
    const file = { digest: hashBlock(leaf), codec: codecRaw }
    const bytes = encodeDagCbor({ file: toCid(file) })
    if (!isPlacedThere(file) || isPlacedThere({ digest: hashBlock(bytes), codec: 0x71 })) continue
    const { root } = await chainOf(leaf)
    await vi.waitFor(async () => expect(await own(away, encodeBlockId(file))).toBe('200'), waiting)
    await cluster.stop(away)
    places = places.slice(0, 3)
    await eraseSigned(root)
    await everywhere([encodeBlockId(root), encodeBlockId(file)], 'ERR_BLOCK_NOT_FOUND')
    await cluster.start(away)
    await vi.waitFor(async () => expect(await own(away, encodeBlockId(file))).toBe('ERR_BLOCK_NOT_FOUND'), waiting)
    return
  }
})

test('a word that a store could not carry out when it came back is carried out later, though who told it is gone', async () => {
  await start(3)
  const { root, leaf } = await chainOf(randomBytes(900))
  const blocked = [root, leaf].map(encodeBlockId)
  await everywhere(blocked, '200')
  const [first, second, away] = places as [Place, Place, Place]
  await cluster.stop(away)
  const pinned = await addFolder('pinned', { 'inner/one': randomBytes(900) })
  await eraseSigned(root)
  places = [first, second]
  await everywhere(blocked, 'ERR_BLOCK_NOT_FOUND')
  await cluster.stop(first)
  // What the pin holds cannot be looked through any more.
  await second.node?.store.setAside(parseBlockId(pinned.get('pinned/inner') as string).digest)
  await cluster.start(away)
  await cluster.connected()
  await away.node?.erasure.pull()
  places = [away]
  await everywhere(blocked, '200')
  await cluster.client(second).pin.rm(pinned.get('pinned') as never)
  await away.node?.erasure.pull()
  await everywhere(blocked, 'ERR_BLOCK_NOT_FOUND')
})

test('a word about what one store alone had is carried out by the others, and told no more', async () => {
  await start(3)
  const [first, ...away] = places as [Place, Place, Place]
  for (const place of away) await cluster.stop(place)
  const leaf = randomBytes(900)
  const file = { digest: hashBlock(leaf), codec: codecRaw }
  const bytes = encodeDagCbor({ file: toCid(file) })
  const root = { digest: hashBlock(bytes), codec: 0x71 }
  // It answers that two stores are needed, and keeps its own copy.
  const tryPut = (block: Uint8Array, codec: string): Promise<Response> =>
    cluster.request(first, `/api/v0/block/put?cid-codec=${codec}`, multipart(block), alice)
  expect((await tryPut(leaf, 'raw')).ok).toBe(false)
  expect((await tryPut(bytes, 'dag-cbor')).ok).toBe(false)
  const cids = [root, file].map(encodeBlockId)
  expect(await Promise.all(cids.map((cid) => own(first, cid)))).toEqual(['200', '200'])
  await eraseSigned(root)
  for (const place of away) await cluster.start(place)
  await cluster.connected()
  await vi.waitFor(() => expect(first.node?.store.handoffCount()).toBe(0), { timeout: 30_000, interval: 200 })
})

test.each([
  ['without a key', false],
  ['with a key', true],
])(
  'a store that was away for longer than words are kept brings back nothing that an account %s erased, and gives it up, though who was asked is gone',
  async (_whose, isSigned) => {
    await start(3, isSigned)
    const [first, second, away] = places as [Place, Place, Place]
    const block = await put(randomBytes(900))
    const { root, leaf } = await chainOf(randomBytes(900))
    const cids = [block, root, leaf].map(encodeBlockId)
    await everywhere(cids, '200')
    await cluster.stop(away)
    for (const id of [block, root]) {
      expect(await erase(encodeBlockId(id), alice, isSigned ? [order(id)] : undefined)).toMatchObject({
        state: 'released',
      })
    }
    places = [first, second]
    await everywhere(cids, 'ERR_BLOCK_NOT_FOUND')
    cluster.aheadMs = 40 * 24 * 3_600_000
    for (const place of places) await place.node?.erasure.sweep()
    await cluster.stop(first)
    await cluster.start(away)
    places = [second, away]
    await cluster.connected(places)
    await away.node?.repair.run()
    await everywhere(cids, 'ERR_BLOCK_NOT_FOUND')
  },
)

test('of an account with a pin of which a node was lost no folder is erased, until the pin is taken away', async () => {
  await start(1)
  const shared = randomBytes(900)
  const pinned = await addFolder('pinned', { 'inner/shared': shared, 'inner/other': randomBytes(900) })
  const named = await addFolder('named', { shared })
  const root = named.get('named') as string
  await places[0]?.node?.store.setAside(parseBlockId(pinned.get('pinned/inner') as string).digest)
  const eraseNamed = async (): Promise<unknown> => await erase(root, alice, [order(parseBlockId(root))])
  expect(await eraseNamed()).toMatchObject({ state: 'refused', Reason: 'ERR_DAG_INVALID' })
  await everywhere([...named.values()], '200')
  await cluster.client(places[0] as Place).pin.rm(pinned.get('pinned') as never)
  expect(await eraseNamed()).toMatchObject({ state: 'released', blocks: 2 })
  await everywhere([...named.values()], 'ERR_BLOCK_NOT_FOUND')
})

test('of an account that has pinned more than can be looked through, no folder is erased and nothing below its pins listed, and it is told why', async () => {
  await start(1)
  const nodeOf = async (value: object): Promise<CID> => toCid(await put(encodeDagCbor(value), alice, 'dag-cbor'))
  const leaf = toCid(await put(randomBytes(100)))
  const nodes: CID[] = []
  const links = Array.from({ length: 45_000 }, () => leaf)
  for (let number = 0; number <= pinnedLinksMax / links.length; number++) nodes.push(await nodeOf({ number, links }))
  const wide = await nodeOf({ nodes })
  const named = await put(encodeDagCbor({ file: toCid(await put(randomBytes(100))) }), alice, 'dag-cbor')
  await cluster.client(places[0] as Place).pin.add(wide as never)
  const eraseNamed = async (): Promise<unknown> => await erase(encodeBlockId(named), alice, [order(named)])
  expect(await eraseNamed()).toMatchObject({
    state: 'refused',
    Reason: 'ERR_DAG_INVALID',
    Message: expect.stringMatching(/too much/),
  })
  await everywhere([encodeBlockId(named)], '200')
  const removal = await cluster.request(places[0] as Place, `/api/v0/block/rm?arg=${encodeBlockId(named)}`)
  expect(await removal.json()).toMatchObject({ Reason: 'ERR_DAG_INVALID' })
  // What lies below is not listed or verified either; what is pinned itself is.
  for (const command of ['pin/ls', 'pin/ls?type=indirect', 'pin/verify?verbose=true']) {
    const response = await cluster.request(places[0] as Place, `/api/v0/${command}`)
    const refused = { Code: 0, Type: 'error', Reason: 'ERR_DAG_INVALID', Message: expect.stringMatching(/too much/) }
    expect([command, response.status, await response.json()]).toEqual([command, 400, refused])
  }
  const roots = await cluster.request(places[0] as Place, '/api/v0/pin/ls?type=recursive')
  expect(Object.keys(((await roots.json()) as { Keys: object }).Keys)).toEqual([wide.toString()])
  await cluster.client(places[0] as Place).pin.rm(wide as never)
  expect(await eraseNamed()).toMatchObject({ state: 'released', blocks: 2 })
})
