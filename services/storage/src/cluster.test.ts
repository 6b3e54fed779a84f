/** Three nodes on loopback: what is kept, moved, healed and refused when one of them fails, forgets or lies. */
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createToken, type TokenStatement } from '@healthblock/chain/token'
import { signingKeyFromSeed } from '@healthblock/crypto/signature'
import { toHex } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { CID } from 'multiformats/cid'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Cluster, multipart, type Place, type Tenant } from './cluster.fixture.ts'
import { readConfig } from './config.ts'
import { rankMembers } from './replication/placement.ts'
import { parseReceipts, receiptsHeader, verifyReceipt } from './replication/receipt.ts'
import { codecRaw, encodeBlockId, hashBlock } from './store/block-id.ts'
import { markBytes, packPathOf, packsFolderOf, parseMark, recordHeadBytes } from './store/pack-place.ts'
import { Bitswap, type BlockSource } from './swarm/bitswap.ts'
import { Swarm } from './swarm/swarm.ts'

let cluster: Cluster
let places: [Place, Place, Place]

beforeEach(async () => {
  cluster = new Cluster()
  await cluster.prepare(3)
  await cluster.startAll()
  places = cluster.places as [Place, Place, Place]
})

afterEach(async () => {
  await cluster.end()
})

interface Stored {
  bytes: Uint8Array
  digest: Uint8Array
  cid: CID
}

function newBlock(size = 1024): Stored {
  const bytes = new Uint8Array(randomBytes(size))
  const digest = hashBlock(bytes)
  return { bytes, digest, cid: CID.parse(encodeBlockId({ digest, codec: codecRaw })) }
}

/** Puts a block and returns the accounts whose receipts came, each verified. */
async function put(place: Place, block: Stored): Promise<string[]> {
  const response = await cluster.request(place, '/api/v0/block/put', multipart(block.bytes))
  expect(response.status).toBe(200)
  await response.arrayBuffer()
  const members = place.members
  if (!members) throw new TypeError('not running')
  const expected = { members, digest: block.digest, size: block.bytes.length }
  const receipts = parseReceipts(response.headers.get(receiptsHeader) ?? '')
  const verified = await Promise.all(receipts.map((receipt) => verifyReceipt(receipt, expected)))
  return verified.map((receipt) => toHex(receipt.store))
}

async function holds(place: Place, { cid }: Stored): Promise<boolean> {
  const response = await cluster.request(place, `/api/v0/block/stat?arg=${cid}&offline=true`)
  await response.arrayBuffer()
  return response.status === 200
}

async function eventually(condition: () => Promise<boolean>): Promise<void> {
  await vi.waitFor(async () => expect(await condition()).toBe(true), { timeout: 20_000, interval: 20 })
}

/** A block that all three hold, and whose copy at the first one went bad while that was away. */
async function putAndDamage(): Promise<Stored> {
  const block = newBlock()
  await put(places[0], block)
  await eventually(() => allHold(places, [block]))
  await cluster.stop(places[0])
  flipStoredByte(places[0], block)
  await cluster.start(places[0])
  await cluster.connected()
  return block
}

async function allHold(nodes: readonly Place[], blocks: readonly Stored[]): Promise<boolean> {
  for (const block of blocks) {
    const answers = await Promise.all(nodes.map((node) => holds(node, block)))
    if (!answers.every((answer) => answer)) return false
  }
  return true
}

async function incidents(
  place: Place,
): Promise<{ kind: string; cid: string; digest: string; node: string; servedBy?: string; at: string }[]> {
  const response = await cluster.request(place, '/v1/incidents', { method: 'GET' })
  return ((await response.json()) as { incidents: Awaited<ReturnType<typeof incidents>> }).incidents
}

describe('three nodes', () => {
  test('a put is acknowledged with two receipts of different stores, and the third copy follows', async () => {
    const blocks = Array.from({ length: 15 }, () => newBlock())
    for (const [index, block] of blocks.entries()) {
      const stores = await put(places[index % 3] as Place, block)
      expect(new Set(stores).size).toBe(2)
    }
    await eventually(() => allHold(places, blocks))
    const [block] = blocks as [Stored]
    const response = await cluster.request(places[0], `/v1/receipts/${block.cid}`)
    expect(((await response.json()) as { stores: string[] }).stores.sort()).toEqual(
      places.map((place) => toHex(place.account)).sort(),
    )
  })

  test('a block is read through any node, and references and pins are the same everywhere', async () => {
    const block = newBlock(2 * 1024 * 1024)
    await put(places[0], block)
    for (const place of places) expect(await cluster.client(place).block.get(block.cid)).toHaveLength(2 * 1024 * 1024)
    await eventually(() => allHold(places, [block]))
    await cluster.client(places[1]).pin.add(block.cid)
    const pins: string[] = []
    for await (const pin of cluster.client(places[2]).pin.ls()) pins.push(pin.cid.toString())
    expect(pins).toEqual([block.cid.toString()])
    await cluster.client(places[2]).pin.rm(block.cid)
    for await (const removed of cluster.client(places[1]).block.rm(block.cid)) expect(removed.error).toBeUndefined()
    for (const place of places) expect(await holds(place, block)).toBe(false)
  })

  test('with one node away puts and reads go on, and it gets what it missed when it is back', async () => {
    const [away, ...others] = [places[2], places[0], places[1]]
    if (!away) throw new TypeError('no node')
    const earlier = newBlock()
    await put(places[0], earlier)
    await eventually(() => allHold(places, [earlier]))
    await cluster.stop(away)
    const blocks = Array.from({ length: 20 }, () => newBlock())
    for (const block of blocks) {
      const stores = await put(places[0], block)
      expect(new Set(stores).size).toBe(2)
      expect(stores).not.toContain(toHex(away.account))
    }
    for await (const removed of cluster.client(places[1]).block.rm(earlier.cid)) expect(removed.error).toBeUndefined()
    expect(await allHold(others, blocks)).toBe(true)
    await cluster.start(away)
    await eventually(() => allHold([away], blocks))
    await eventually(async () => !(await holds(away, earlier)))
    await away.node?.repair.run()
    for (const place of places) expect(await holds(place, earlier)).toBe(false)
  })

  test('what is put again after it was given up stays at a store that was away, also if it hears of that last', async () => {
    const [releasing, putting, away] = places
    const block = newBlock()
    const [{ account }] = cluster.tenants as [Tenant]
    await put(putting, block)
    await eventually(() => allHold(places, [block]))
    const before = away.node?.store.keptSince(block.digest, account) ?? 0
    await cluster.stop(away)
    for await (const removed of cluster.client(releasing).block.rm(block.cid)) expect(removed.error).toBeUndefined()
    await put(putting, block)
    // Who is to tell of the removal comes when the new copy is there already.
    await cluster.stop(releasing)
    await cluster.start(away)
    await putting.node?.repair.run()
    await eventually(async () => (away.node?.store.keptSince(block.digest, account) ?? 0) > before)
    await cluster.start(releasing)
    await cluster.connected()
    await eventually(async () => places.every(({ node }) => node?.store.handoffCount() === 0))
    expect(await allHold(places, [block])).toBe(true)
    for (const { node } of places) expect(node?.store.keptSince(block.digest, account)).toBeGreaterThan(before)
  })

  test('a block is given up, put again and pinned at once, whatever the clock said of which came first', async () => {
    const block = newBlock()
    const [{ account }] = cluster.tenants as [Tenant]
    await put(places[0], block)
    await eventually(() => allHold(places, [block]))
    // By the clock of the store that was asked, which was an hour ahead.
    const at = Date.now() + 3_600_000
    for (const { node } of places) await node?.store.release(block.digest, account, { at, force: true })
    expect(await put(places[1], block)).toHaveLength(2)
    await eventually(() => allHold(places, [block]))
    for await (const removed of cluster.client(places[2]).block.rm(block.cid)) expect(removed.error).toBeUndefined()
    for (const place of places) expect(await holds(place, block)).toBe(false)
    await put(places[0], block)
    await eventually(() => allHold(places, [block]))
    await cluster.client(places[1]).pin.add(block.cid)
    for (const { node } of places) expect(node?.store.pinOf(block.digest, account)).toBe(2)
  })

  test('what is pinned and unpinned while a store is away holds there too, once it is back', async () => {
    const [asked, other, away] = places
    const [kept, given, both] = [newBlock(), newBlock(), newBlock()] as const
    for (const block of [kept, given, both]) await put(asked, block)
    await eventually(() => allHold(places, [kept, given, both]))
    await cluster.client(asked).pin.add(given.cid)
    await cluster.stop(away)
    await cluster.client(asked).pin.add(kept.cid)
    await cluster.client(asked).pin.rm(given.cid)
    // The last word holds, whichever of the two stores that were there it was said to.
    await cluster.client(other).pin.add(both.cid)
    await cluster.client(asked).pin.rm(both.cid)
    await cluster.client(other).pin.add(both.cid, { recursive: false })
    await cluster.start(away)
    const [{ account }] = cluster.tenants as [Tenant]
    const pinsAt = ({ node }: Place): string[] =>
      (node?.store.pins(account, new Uint8Array(0), 10) ?? []).map(({ digest, pin }) => `${toHex(digest)} ${pin}`)
    const expected = [`${toHex(kept.digest)} 2`, `${toHex(both.digest)} 1`].sort()
    await eventually(async () => pinsAt(away).join() === expected.join())
    for (const place of places) expect(pinsAt(place)).toEqual(expected)
    await eventually(async () => places.every(({ node }) => node?.store.handoffCount() === 0))
  })

  test('a store that was away learns of pins from one that was asked for none, as who was asked is gone', async () => {
    const [asked, other, away] = places
    const blocks = [newBlock(), newBlock()] as const
    for (const block of blocks) await put(asked, block)
    await eventually(() => allHold(places, blocks))
    await cluster.client(asked).pin.add(blocks[0].cid)
    await cluster.stop(away)
    await cluster.client(asked).pin.rm(blocks[0].cid)
    await cluster.client(asked).pin.add(blocks[1].cid)
    await cluster.stop(asked)
    await cluster.start(away)
    await cluster.connected([other, away])
    const [{ account }] = cluster.tenants as [Tenant]
    const pinned = (): unknown => blocks.map(({ digest }) => away.node?.store.pinOf(digest, account))
    await eventually(async () => String(pinned()) === '0,2')
    const listed: string[] = []
    for await (const { cid } of cluster.client(away).pin.ls()) listed.push(cid.toString())
    expect(listed).toEqual([blocks[1].cid.toString()])
  })

  test('a pin is taken away, and set again, whatever the clock of the store said that set it', async () => {
    const block = newBlock()
    await put(places[0], block)
    await eventually(() => allHold(places, [block]))
    const [{ account }] = cluster.tenants as [Tenant]
    const id = { digest: block.digest, codec: codecRaw }
    const ahead = { account, at: Date.now() + 60_000, pin: 2 }
    for (const { node } of places) await node?.store.pin(id, ahead)
    const pinned = (): (number | undefined)[] => places.map(({ node }) => node?.store.pinOf(block.digest, account))
    await cluster.client(places[1]).pin.rm(block.cid)
    expect(pinned()).toEqual([0, 0, 0])
    await cluster.client(places[2]).pin.add(block.cid)
    expect(pinned()).toEqual([2, 2, 2])
  })

  test('a pin that its store set when its clock was an hour ahead is taken away for good, and set again', async () => {
    const block = newBlock()
    await put(places[0], block)
    await eventually(() => allHold(places, [block]))
    const [{ account }] = cluster.tenants as [Tenant]
    const id = { digest: block.digest, codec: codecRaw }
    cluster.aheadMs = 3_600_000
    await places[0].node?.store.pin(id, { account, at: Date.now() + cluster.aheadMs, pin: 2 })
    cluster.aheadMs = 0
    for (const { node } of places.slice(1)) await node?.store.pin(id, { account, at: Date.now(), pin: 2 })
    const pinned = (): (number | undefined)[] => places.map(({ node }) => node?.store.pinOf(block.digest, account))
    await cluster.client(places[0]).pin.rm(block.cid)
    for (const { node } of places) await node?.repair.run()
    expect(pinned()).toEqual([0, 0, 0])
    await cluster.client(places[0]).pin.add(block.cid)
    for (const { node } of places) await node?.repair.run()
    expect(pinned()).toEqual([2, 2, 2])
  })

  test('what a store that is away lacks is told, and no longer once it is back and has it', async () => {
    const [away, asked] = [places[2], places[0]]
    const blocks = Array.from({ length: 5 }, () => newBlock())
    for (const block of blocks) await put(asked, block)
    await eventually(() => allHold(places, blocks))
    const { url = '', addresses = [] } = away.node?.address ?? {}
    Object.assign(away.environment, {
      STORAGE_RPC_PORT: new URL(url).port,
      STORAGE_SWARM_PORT: addresses[0]?.split('/').at(-1),
    })
    await cluster.stop(away)
    const below = async (): Promise<number> => {
      const response = await cluster.request(asked, '/v1/status', { method: 'GET' })
      return ((await response.json()) as { below: number }).below
    }
    await asked.node?.repair.run()
    expect(await below()).toBe(5)
    // A look at another store says nothing of this one.
    await asked.node?.repair.run({ target: places[1].account })
    expect(await below()).toBe(5)
    await cluster.start(away)
    await eventually(async () => (await below()) === 0)
    const metrics = await (await cluster.request(asked, '/metrics', { method: 'GET' })).text()
    expect(metrics).toContain('storage_blocks_below_replicas 0')
  })

  test('with the third node away, of many large puts at once those for which two have no room any more are told so', async () => {
    const [full, also, away] = places
    await cluster.stop(away)
    for (const place of [full, also]) {
      await cluster.stop(place)
      place.environment.STORAGE_BYTES_MAX = '500000'
      await cluster.start(place)
    }
    await cluster.connected([full, also])
    const answers = await Promise.all(
      Array.from({ length: 12 }, async () => {
        const answer = await cluster.request(full, '/api/v0/block/put', multipart(newBlock(200_000).bytes))
        return `${answer.status} ${((await answer.json()) as { Reason?: string }).Reason}`
      }),
    )
    // The two need not have kept the same ones.
    const refused = answers.filter((answer) => answer !== '200 undefined')
    expect(refused.length).toBeGreaterThanOrEqual(10)
    expect(new Set(refused)).toEqual(new Set(['507 ERR_STORE_FULL']))
  })

  test('with two nodes away a put is refused, and what is here can be read', async () => {
    const block = newBlock()
    await put(places[0], block)
    await eventually(() => allHold(places, [block]))
    await cluster.stop(places[1])
    await cluster.stop(places[2])
    const response = await cluster.request(places[0], '/api/v0/block/put', multipart(newBlock().bytes))
    expect(response.status).toBe(503)
    expect(((await response.json()) as { Reason: string }).Reason).toBe('ERR_QUORUM_MISSED')
    expect(await cluster.client(places[0]).block.get(block.cid)).toHaveLength(1024)
  })

  test('a wiped node is filled again', async () => {
    const blocks = Array.from({ length: 100 }, () => newBlock())
    await Promise.all(blocks.map((block) => put(places[0], block)))
    await eventually(() => allHold(places, blocks))
    await cluster.stop(places[1])
    rmSync(places[1].environment.STORAGE_DIR as string, { recursive: true })
    await cluster.start(places[1])
    await cluster.connected()
    await eventually(() => allHold([places[1]], blocks))
    for await (const removed of cluster.client(places[1]).block.rm(blocks.map(({ cid }) => cid))) {
      expect(removed.error).toBeUndefined()
    }
    expect(await allHold([places[1]], blocks.slice(0, 1))).toBe(false)
  })

  test('flipped bytes in the file of one node: the right bytes are served, the copy healed, the incident recorded', async () => {
    const blocks = [newBlock(), newBlock(), newBlock(200_000)]
    for (const block of blocks) await put(places[0], block)
    await eventually(() => allHold(places, blocks))
    await cluster.stop(places[0])
    for (const block of blocks) flipStoredByte(places[0], block)
    await cluster.start(places[0])
    await cluster.connected()
    const before = Date.now()
    for (const block of blocks) {
      expect(Buffer.compare(await cluster.client(places[0]).block.get(block.cid), block.bytes)).toBe(0)
    }
    expect(await allHold([places[0]], blocks)).toBe(true)
    const recorded = await incidents(places[0])
    const account = toHex(places[0].account)
    const others = [toHex(places[1].account), toHex(places[2].account)]
    for (const { cid, digest } of blocks) {
      const [corrupt, healed, ...more] = recorded.filter((incident) => incident.cid === cid.toString())
      expect(corrupt).toMatchObject({ kind: 'block-corrupt', node: account, digest: toHex(digest) })
      expect(healed).toMatchObject({ kind: 'block-healed', node: account, digest: toHex(digest) })
      expect(others).toContain(healed?.servedBy)
      expect(Date.parse(corrupt?.at ?? '')).toBeGreaterThanOrEqual(before - 5000)
      expect(more).toEqual([])
    }
    expect(await incidents(places[1])).toEqual([])
  })

  test('a copy that went bad is noticed by the repair of another store, though nobody reads it, and is made good', async () => {
    const block = await putAndDamage()
    await places[1].node?.repair.run()
    const kinds = async (): Promise<string[]> => (await incidents(places[0])).map(({ kind }) => kind)
    await eventually(async () => (await kinds()).includes('block-corrupt') && (await allHold(places, [block])))
    expect(await incidents(places[1])).toEqual([])
  })

  test('a damaged copy that there is no room to heal is read from the others all the same', async () => {
    const blocks = [newBlock(), newBlock()]
    for (const block of blocks) await put(places[0], block)
    await eventually(() => allHold(places, blocks))
    await cluster.stop(places[0])
    const [damaged] = blocks as [Stored, Stored]
    flipStoredByte(places[0], damaged)
    places[0].environment.STORAGE_BYTES_MAX = '1500'
    await cluster.start(places[0])
    await cluster.connected()
    for (let count = 0; count < 2; count++) {
      const answer = await cluster.request(places[0], `/api/v0/block/get?arg=${damaged.cid}`)
      expect([answer.status, Buffer.compare(Buffer.from(await answer.arrayBuffer()), damaged.bytes)]).toEqual([200, 0])
    }
    expect(await holds(places[0], damaged)).toBe(false)
  })

  test('what nobody has put can be given up by nobody, and leaves nothing behind at any node', async () => {
    const block = newBlock()
    await put(places[0], block)
    const unknown = Array.from({ length: 20 }, () => newBlock().cid)
    const lines: (Error | undefined)[] = []
    for await (const { error } of cluster.client(places[0]).block.rm([...unknown, block.cid])) lines.push(error)
    expect(lines.map((error) => /could not find/.test(String(error)))).toEqual([...unknown.map(() => true), false])
    for (const { environment } of places) {
      const database = new DatabaseSync(join(environment.STORAGE_DIR as string, 'blocks.db'), { readOnly: true })
      expect(database.prepare('SELECT count(*) AS n FROM release').get()?.n).toBe(1)
      database.close()
    }
  })

  test('repairs that are asked for while one waits are that one', async () => {
    const repair = places[0].node?.repair
    if (!repair) throw new TypeError('not running')
    const [first, second] = [repair.run(), repair.run()]
    expect(second).toBe(first)
    await first
    expect(repair.run()).not.toBe(first)
  })

  test('damage that a peer meets is healed too, without a reader here', async () => {
    const block = await putAndDamage()
    // The others are asked for a receipt, which makes the damaged node read its copy.
    await (await cluster.request(places[1], `/v1/receipts/${block.cid}`)).arrayBuffer()
    await eventually(async () => (await incidents(places[0])).length === 2)
    expect(await holds(places[0], block)).toBe(true)
  })

  test("a store's token serves one node, for a time, in the name of a member", async () => {
    const seed = readFileSync(places[0].environment.STORAGE_STORE_KEY_FILE as string, 'utf8')
    const key = signingKeyFromSeed(new Uint8Array(Buffer.from(seed, 'hex')))
    const stranger = signingKeyFromSeed(new Uint8Array(randomBytes(32)))
    const { ledgerId } = cluster
    const [account, audience] = [places[0].account, places[1].account]
    const good = { account, audience, scope: 'storage', until: Date.now() + 60_000 } as const
    const sign = (changed: Partial<TokenStatement>, signingKey = key, number = 2, ledger = ledgerId): string =>
      createToken({ ledgerId: ledger, statement: { ...good, ...changed }, key: number, signingKey })
    const status = async (token: string): Promise<number> => {
      const init = { headers: { authorization: `Bearer ${token}`, 'content-type': 'application/octet-stream' } }
      const response = await cluster.request(places[1], '/v1/replicas/check', { ...init, body: new Uint8Array([0x80]) })
      await response.arrayBuffer()
      return response.status
    }
    expect(await status(sign({}))).toBe(200)
    const refused = [
      // What every node takes, one of them could use at the others.
      sign({ audience: ledgerId }),
      sign({}, stranger),
      sign({}, key, 1),
      sign({}, key, 2, new Uint8Array(32)),
      sign({ audience: places[2].account }),
      sign({ account: places[2].account }),
      sign({ scope: 'ledger' }),
      sign({ until: Date.now() - 1 }),
      sign({ until: Date.now() + 25 * 3600_000 }),
    ]
    for (const token of refused) expect(await status(token)).toBe(401)
    // No store fills the queue that all share with one request.
    const init = { headers: { authorization: `Bearer ${sign({})}`, 'content-type': 'application/octet-stream' } }
    const body = new Uint8Array(encodeCbor(Array.from({ length: 257 }, () => 0)))
    const many = await cluster.request(places[1], '/v1/replicas', { ...init, body })
    expect([many.status, await many.text()]).toEqual([400, expect.stringContaining('at most 256')])
    // Nor does one spoil what is kept here, or bar what comes, by an account's release at the end of all times.
    const block = newBlock()
    const release = encodeCbor([cluster.tenants[0]?.account as Uint8Array, Number.MAX_SAFE_INTEGER, 1])
    const path = `/v1/replicas/${block.cid}/release`
    const taken = await cluster.request(places[1], path, { ...init, body: new Uint8Array(release) })
    expect([taken.status, await taken.text()]).toEqual([200, '\0'])
    const put = await cluster.request(places[1], '/api/v0/block/put', multipart(block.bytes))
    expect(put.status).toBe(200)
    const others = await cluster.request(places[1], '/api/v0/block/put', multipart(block.bytes), cluster.tenants[1])
    expect(others.status).toBe(200)
    const repaired = await cluster.request(places[1], '/v1/repair')
    expect(await repaired.text()).toContain('"isDone":true')
  })
})

describe('a peer in bad faith', () => {
  test.each(['stalls', 'lies'])('that %s is passed over, and the block comes from the next', async (manner) => {
    const pair = new Cluster()
    await pair.prepare(3, { STORAGE_REPLICAS: '2' })
    await pair.startAll()
    const [reader, honest, bad] = pair.places as [Place, Place, Place]
    const members = reader.members?.list() ?? []
    let block = newBlock()
    const order = (): string[] => rankMembers(block.digest, members).map((member) => member.peerId)
    // The reader keeps a copy itself where another store was too slow: then it asks nobody, and another block is taken.
    do {
      do block = newBlock()
      while (order().join() !== [bad.peerId, honest.peerId, reader.peerId].join())
      await pair.client(reader).block.put(block.bytes)
    } while (reader.node?.store.has(block.digest))
    await pair.stop(bad)
    // In its place, with its keys, comes one that never answers, or answers with something else.
    const other = newBlock().bytes
    const imposter = await impersonate(bad, [reader], {
      get: async () => (manner === 'lies' ? other : await new Promise<never>(() => {})),
      has: () => true,
    })
    await pair.connected([reader, honest], 2)
    const read = async (): Promise<void> => {
      expect(Buffer.compare(await pair.client(reader).block.get(block.cid), block.bytes)).toBe(0)
    }
    await read()
    const recorded = async (): Promise<{ kind: string; node: string }[]> => {
      const response = await pair.request(reader, '/v1/incidents', { method: 'GET' })
      return ((await response.json()) as { incidents: { kind: string; node: string }[] }).incidents
    }
    // A lie that comes later than the next store's answer is of no interest any more, and is not seen: it is asked again.
    if (manner === 'lies') {
      await eventually(async () => {
        await read()
        return (await recorded()).length > 0
      })
    }
    const accused = { kind: 'peer-served-wrong-bytes', node: toHex(bad.account) }
    for (const one of await recorded()) expect(one).toMatchObject(accused)
    expect((await recorded()).length > 0).toBe(manner === 'lies')
    await imposter.stop()
    await pair.end()
  })
})

/** Joins the swarm with a node's keys and other blocks. */
async function impersonate(place: Place, victims: readonly Place[], blocks: BlockSource): Promise<Swarm> {
  const { secrets } = readConfig(place.environment)
  const { peerSeed: identitySeed, swarmKey } = secrets
  const swarm = new Swarm({ identitySeed, swarmKey, host: '127.0.0.1', port: 0, onConnect: () => {} })
  await swarm.start()
  await new Bitswap({ host: swarm.host, blocks, onMisbehaviour: () => {} }).start()
  await swarm.setPeers(
    victims.map((victim) => ({ id: victim.peerId, addresses: victim.node?.address.addresses ?? [] })),
  )
  return swarm
}

/** Changes one bit of a block's sealed bytes in the SQLite file of a stopped node, or in the pack where it lies. */
function flipStoredByte(node: Place, block: Stored): void {
  const path = join(node.environment.STORAGE_DIR as string, 'blocks.db')
  const database = new DatabaseSync(path)
  database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  const row = database.prepare('SELECT sealed FROM block WHERE digest = ?').get(block.digest) as { sealed: Uint8Array }
  database.close()
  expect(existsSync(`${path}-wal`)).toBe(false)
  const place = row.sealed.length === markBytes ? parseMark(row.sealed) : undefined
  const where = place ? packPathOf(packsFolderOf(path), place.pack) : path
  const file = readFileSync(where)
  // Long blocks continue on other pages: the start is enough to find them.
  const at = place ? place.offset + recordHeadBytes : file.indexOf(row.sealed.subarray(0, 64))
  expect(at).toBeGreaterThanOrEqual(0)
  file[at + 20] = (file[at + 20] as number) ^ 4
  writeFileSync(where, file)
}
