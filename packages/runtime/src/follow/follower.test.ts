import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type GovernedNode, governActs } from '@healthblock/chain/governing'
import { userTables } from '@healthblock/chain/tables'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { toHex } from '@healthblock/encoding/bytes'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Consortium as GoverningConsortium } from '../../../chain/src/consortium.test-support.ts'
import { codeOf, RuntimeError } from '../errors.ts'
import { createLogger } from '../process/logger.ts'
import { type Consortium, createConsortium, type Lies, startTestNode, TestLedger, type TestNode } from '../testkit.ts'
import { type FollowedBlock, type FollowerEvent, LedgerFollower } from './follower.ts'

let dir: string
let consortium: Consortium
let history: TestLedger
const closing: { close(): Promise<void> }[] = []
const logger = createLogger({ name: 'test', level: 'silent' })

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-follower-'))
  consortium = createConsortium()
  history = new TestLedger(consortium)
})
afterEach(async () => {
  for (const one of closing.splice(0).reverse()) await one.close()
  rmSync(dir, { recursive: true, force: true })
})

async function node(
  lies: Lies = {},
  options: { pageBlocks?: number; of?: TestLedger; port?: number } = {},
): Promise<TestNode> {
  const { of = history, ...others } = options
  const started = await startTestNode(of, { lies, pageBlocks: 100, ...others })
  closing.push(started)
  return started
}

function follower(
  nodes: readonly TestNode[],
  options: { docchain?: boolean; now?: () => number; name?: string; pollMs?: number } = {},
): { follower: LedgerFollower; events: FollowerEvent[] } {
  const events: FollowerEvent[] = []
  const opened = LedgerFollower.open({
    dir: join(dir, options.name ?? 'ledger'),
    genesis: consortium.genesis.bytes,
    urls: nodes.map(({ url }) => url),
    logger,
    token: () => 'test-token',
    onEvent: (event) => events.push(event),
    docchain: options.docchain ?? true,
    ...(options.now === undefined ? {} : { now: options.now }),
    ...(options.pollMs === undefined ? {} : { pollMs: options.pollMs }),
  })
  closing.push(opened)
  return { follower: opened, events }
}

/** Two nodes at free ports, the number of one of which begins with the other's. */
async function likeNamedNodes(): Promise<{ liar: TestNode; innocent: TestNode }> {
  for (let port = 1_100; port < 3_200; port++) {
    try {
      const liar = await node({}, { port })
      return { liar, innocent: await node({}, { port: 10 * port }) }
    } catch (error) {
      if (codeOf(error) !== 'EADDRINUSE') throw error
    }
  }
  throw new Error('no two ports are free')
}

function grow(blocks: number, of: TestLedger = history): void {
  for (let i = 0; i < blocks; i++) expect(of.block('userchain', [of.algorithm()])).toBeDefined()
}

/** The first `count` blocks that a consumer gets. */
async function take(from: LedgerFollower, count: number, cursor?: Uint8Array): Promise<FollowedBlock[]> {
  const stop = new AbortController()
  const blocks: FollowedBlock[] = []
  await from.follow({
    chain: 'userchain',
    cursor,
    signal: stop.signal,
    onBlock: (block) => {
      blocks.push(block)
      if (blocks.length === count) stop.abort()
    },
  })
  return blocks
}

const caught = (promise: Promise<unknown>): Promise<unknown> => promise.then(() => 'no error', codeOf)

describe('LedgerFollower', () => {
  it('catches up over several pages, executes both chains, and goes on after a restart', async () => {
    const { transaction, person } = history.registration()
    history.block('userchain', [transaction])
    grow(6)
    const honest = await node({}, { pageBlocks: 2 })
    const first = follower([honest]).follower
    await first.catchUp()
    expect(first.head('userchain')).toEqual(history.ledger.head('userchain'))
    expect(first.head('docchain')).toEqual(history.ledger.head('docchain'))
    expect(userTables.account.get(first.ledger.state('userchain'), person.account)?.role).toBe(1)
    expect(first.keyOf(person.account, 1)).toEqual(person.op.publicKey)
    expect(first.storeKeyOf(consortium.store.account)).toEqual(consortium.store.key.publicKey)
    expect(first.freshness('userchain')).toMatchObject({ stale: false, appliedSize: 16, publishedSize: 16 })
    await first.close()
    grow(2)
    const second = follower([honest]).follower
    expect(second.head('userchain').height).toBe(7)
    await second.catchUp()
    expect(second.head('userchain')).toEqual(history.ledger.head('userchain'))
  })

  it('gives a consumer every block once it is verified, from its own cursor, also what was applied long before', async () => {
    grow(4)
    const { follower: one } = follower([await node({}, { pageBlocks: 3 })])
    await one.catchUp()
    one.start()
    const blocks = await take(one, 5)
    expect(blocks.map((block) => block.height)).toEqual([0, 1, 2, 3, 4])
    expect(blocks[4]?.transactions[0]?.index).toBe(8)
    const cursor = blocks[2]?.cursor as Uint8Array
    await one.close()
    const { follower: two } = follower([await node()])
    two.start()
    expect((await take(two, 2, cursor)).map((block) => block.height)).toEqual([3, 4])
    const waiting = take(two, 4, cursor)
    grow(2)
    const later = await waiting
    expect(later.map((block) => block.height)).toEqual([3, 4, 5, 6])
    expect(toHex(later[3]?.leaves[0] as Uint8Array)).toBe(toHex(history.leaves.userchain[12] as Uint8Array))
  })

  it('repeats a block whose handler failed, and refuses a cursor of another history', async () => {
    grow(2)
    const { follower: one } = follower([await node()])
    await one.catchUp()
    const failing = one.follow({
      chain: 'userchain',
      signal: new AbortController().signal,
      onBlock: () => Promise.reject(new TypeError('full')),
    })
    await expect(failing).rejects.toThrow('full')
    const blocks = await take(one, 3)
    expect(blocks).toHaveLength(3)
    const wrong = Uint8Array.from((blocks[1] as FollowedBlock).cursor)
    wrong[wrong.length - 1] = (wrong.at(-1) as number) ^ 1
    expect(await caught(take(one, 1, wrong))).toBe('ERR_CURSOR_INVALID')
    expect(await caught(take(one, 1, Uint8Array.of(1)))).toBe('ERR_CURSOR_INVALID')
  })

  const flipped: Lies['frame'] = (frame) => {
    frame.leaves = frame.leaves.map((leaf, i) =>
      i === 0 ? leaf.map((byte, at) => (at === leaf.length - 1 ? byte ^ 1 : byte)) : leaf,
    )
  }
  it.each<[string, () => Lies]>([
    ['a tampered leaf', () => ({ frame: flipped })],
    [
      'a wrong cosignature',
      () => ({ checkpoint: (chain) => history.checkpoint(chain).replace(/.{8}\n$/, 'AAAAAAA=\n') }),
    ],
    ['too few cosignatures', () => ({ checkpoint: (chain) => history.checkpoint(chain, 0, { cosigners: 2 }) })],
    ['another consortium', () => ({ checkpoint: (chain) => new TestLedger(createConsortium()).checkpoint(chain) })],
    ['a block left out', () => ({ page: (frames) => frames.filter((_, i) => i !== 1) })],
    ['no blocks at all', () => ({ page: () => [] })],
    [
      'a lying height',
      () => ({
        frame: (frame) => {
          frame.height += 1
        },
      }),
    ],
    [
      'a lying index',
      () => ({
        frame: (frame) => {
          frame.firstIndex += 1
        },
      }),
    ],
    [
      'a leaf left out',
      () => ({
        frame: (frame) => {
          frame.leaves = frame.leaves.slice(1)
        },
      }),
    ],
    [
      'two blocks as one',
      () => ({
        frame: (frame) => {
          frame.leaves = [...frame.leaves, ...frame.leaves]
        },
      }),
    ],
    ['blocks beyond the checkpoint', () => ({ checkpoint: (chain) => history.checkpoint(chain, 0, { size: 4 }) })],
    [
      'a root that nobody computed',
      () => ({
        checkpoint: (chain) => history.checkpoint(chain, 0, { size: 10, root: new Uint8Array(32), cosigners: 2 }),
      }),
    ],
  ])('leaves a node alone that serves %s, and takes the truth from another', async (_what, lies) => {
    grow(4)
    const liar = await node(lies(), { pageBlocks: 3 })
    const honest = await node()
    const { follower: one, events } = follower([liar, honest], { docchain: false })
    await one.catchUp()
    expect(one.head('userchain')).toEqual(history.ledger.head('userchain'))
    expect(events.map((event) => event.type === 'quarantine' && event.url)).toEqual([liar.url])
    const asked = liar.calls.length
    await one.catchUp()
    expect(liar.calls).toHaveLength(asked)
    const { follower: alone } = follower([liar], { docchain: false, name: 'alone' })
    expect(await caught(alone.catchUp())).toBe('ERR_NO_SOURCE')
    expect(alone.head('userchain').height).toBe(0)
  })

  it('leaves the node alone that streamed a tampered block, not one whose address only begins the same', async () => {
    const { liar, innocent } = await likeNamedNodes()
    let aheadMs = 0
    innocent.lies.status = 503
    const { follower: one, events } = follower([innocent, liar], { docchain: false, now: () => Date.now() + aheadMs })
    one.start()
    await expect.poll(() => history.onBlock.size, { timeout: 20_000 }).toBe(1)
    // The innocent one is back, and the first to be asked again.
    delete innocent.lies.status
    aheadMs = 31_000
    liar.lies.frame = flipped
    grow(1)
    await expect.poll(() => one.head('userchain'), { timeout: 20_000 }).toEqual(history.ledger.head('userchain'))
    expect(events.map((event) => event.type === 'quarantine' && event.url)).toEqual([liar.url])
  })

  it.each([
    ['as long', 3],
    ['longer', 5],
    ['shorter', 2],
  ])('stops for good when a quorum signed a second history, %s', async (_what, blocks) => {
    grow(3)
    const fork = new TestLedger(consortium)
    grow(blocks, fork)
    const [honest, forked] = [await node(), await node({}, { of: fork })]
    const { follower: one } = follower([honest], { docchain: false })
    await one.catchUp()
    const head = one.head('userchain')
    await one.close()
    const { follower: two, events } = follower([forked, honest], { docchain: false })
    expect(await caught(two.catchUp())).toBe('ERR_LEDGER_CONFLICT')
    expect(events.map((event) => event.type)).toEqual(['conflict'])
    expect(two.head('userchain')).toEqual(head)
    expect(await caught(two.catchUp())).toBe('ERR_LEDGER_CONFLICT')
    expect(await caught(take(two, 1))).toBe('ERR_LEDGER_CONFLICT')
  })

  it('passes by a node that is behind, stale or away, without quarantine', async () => {
    grow(3)
    const behind = new TestLedger(consortium)
    const away = await node()
    await away.close()
    const stale = await node({ checkpoint: (chain) => history.checkpoint(chain, 0, { ms: Date.now() - 200_000 }) })
    const nodes = [away, await node({}, { of: behind }), await node()]
    const { follower: one, events } = follower(nodes, { docchain: false })
    await one.catchUp()
    expect(one.head('userchain')).toEqual(history.ledger.head('userchain'))
    expect(one.freshness('userchain').stale).toBe(false)
    expect(events).toEqual([])
    const { follower: two, events: staleEvents } = follower([stale], { docchain: false, name: 'two' })
    await two.catchUp()
    expect(two.head('userchain')).toEqual(history.ledger.head('userchain'))
    expect(two.freshness('userchain').stale).toBe(true)
    expect(staleEvents.map((event) => event.type)).toEqual(['stale'])
  })

  it('is not ready while every node that answers turns it away, or it is behind; whom it cannot reach it works without', async () => {
    const [first, second] = [await node(), await node()]
    const { follower: one } = follower([first, second])
    expect(one.readiness()).toEqual([
      { name: 'userchain', ready: true },
      { name: 'docchain', ready: true },
    ])
    for (const { lies } of [first, second]) lies.status = 401
    expect(one.isTurnedAway()).toBe(false)
    await expect(one.catchUp()).rejects.toThrow('401')
    expect(one.isTurnedAway()).toBe(true)
    expect(one.readiness()).toMatchObject([
      { ready: false, reason: expect.stringContaining('401: as told') },
      { ready: true },
    ])
    // One that is away and one that refuses: nobody takes it.
    second.lies.status = 503
    await expect(one.catchUp()).rejects.toThrow('no source')
    expect(one.readiness()[0]?.ready).toBe(false)
    first.lies.status = 503
    await expect(one.catchUp()).rejects.toThrow('503')
    expect(one.readiness()[0]?.ready).toBe(true)
    for (const { lies } of [first, second]) delete lies.status
    await one.catchUp()
    expect(one.readiness().every(({ ready }) => ready)).toBe(true)
    expect(one.isTurnedAway()).toBe(false)
  })

  it('goes over to another node when the one that it listens to goes away', async () => {
    grow(1)
    const [first, second] = [await node(), await node()]
    const { follower: one } = follower([first, second], { docchain: false })
    one.start()
    expect(await take(one, 2)).toHaveLength(2)
    await first.close()
    grow(2)
    expect((await take(one, 4)).map((block) => block.height)).toEqual([0, 1, 2, 3])
  })

  it.each([400, 401, 404, 503])(
    'listens to another node when the first answers everything but a stream, for which it has %i',
    async (streamStatus) => {
      const nodes = [await node({ streamStatus }), await node()]
      const { follower: one } = follower(nodes, { docchain: false })
      one.start()
      await expect.poll(() => history.onBlock.size, { timeout: 20_000 }).toBe(1)
      grow(1)
      await expect.poll(() => one.head('userchain'), { timeout: 20_000 }).toEqual(history.ledger.head('userchain'))
    },
  )

  it('leaves the stream of a node that keeps from it what others have published', async () => {
    const nodes = [await node({}, { of: new TestLedger(consortium) }), await node()]
    const { follower: one, events } = follower(nodes, { docchain: false, pollMs: 20 })
    one.start()
    await expect.poll(() => nodes[0]?.calls.filter((path) => path.includes('blocks')).length).toBeGreaterThan(1)
    grow(1)
    await expect.poll(() => history.onBlock.size, { timeout: 20_000 }).toBe(1)
    expect(one.head('userchain')).toEqual(history.ledger.head('userchain'))
    expect(events).toEqual([])
  })

  it('knows the new key of a node from the policy trail, before it has applied the block that gave it', async () => {
    const world = new GoverningConsortium()
    const one = LedgerFollower.open({
      ...{ dir: join(dir, 'governed'), genesis: world.genesis.bytes, urls: ['http://127.0.0.1:1'], logger },
      token: () => 'test-token',
    })
    closing.push(one)
    const { publicKey } = generateSigningKey()
    const policy = world.policy((argument) => {
      const [rank, org, account, , ...logs] = argument.nodes[1] as GovernedNode
      argument.nodes = argument.nodes.with(1, [rank, org, account, publicKey, ...logs])
    })
    const account = policy.nodes[1]?.[2] as Uint8Array
    const former = one.trust.nodeKeyOf(account)
    expect(former).toEqual(expect.any(Uint8Array))
    const { firstIndex } = world.post('userchain', world.govern(governActs.policy, policy))
    one.trust.trail.extend(world.step('userchain', firstIndex, [{ rank: 0 }, { rank: 1 }, { rank: 2 }]))
    expect(one.trust.nodeKeyOf(account)).toEqual(publicKey)
    expect(former).not.toEqual(publicKey)
  })

  it('empties damaged files and fills them again, and a consumer goes on where it was', async () => {
    grow(4)
    const honest = await node()
    const first = follower([honest], { docchain: false }).follower
    await first.catchUp()
    const done = await take(first, 3)
    await first.close()
    const path = join(dir, 'ledger', 'userchain.db')
    const bytes = readFileSync(path)
    bytes.fill(0xa5, 4096, bytes.length)
    writeFileSync(path, bytes)
    grow(1)
    const { follower: second, events } = follower([honest], { docchain: false })
    expect(events.map((event) => event.type)).toEqual(['rebuilt'])
    const rest = take(second, 3, done.at(-1)?.cursor)
    second.start()
    expect((await rest).map((block) => block.height)).toEqual([3, 4, 5])
    expect(second.head('userchain')).toEqual(history.ledger.head('userchain'))
  })

  it('whichever page of a file is damaged, a start finds it and fills the file again', async () => {
    grow(2)
    const honest = await node()
    const path = join(dir, 'ledger', 'userchain.db')
    for (let page = 1, pages = 2; page < pages; page++) {
      const whole = follower([honest], { docchain: false }).follower
      await whole.catchUp()
      await whole.close()
      const bytes = readFileSync(path)
      pages = bytes.length / 4096
      bytes.fill(0xa5, page * 4096, page * 4096 + 16)
      writeFileSync(path, bytes)
      const { follower: anew, events } = follower([honest], { docchain: false })
      expect(events.map((event) => event.type)).toEqual(['rebuilt'])
      await anew.catchUp()
      expect(anew.head('userchain')).toEqual(history.ledger.head('userchain'))
      await anew.close()
    }
  })

  it('gives a block again while the consumer has no room, and ends upon any other fault', async () => {
    grow(2)
    const one = follower([await node()], { docchain: false }).follower
    await one.catchUp()
    const given: number[] = []
    const stop = new AbortController()
    const fail = (fault: Error | undefined) =>
      one.follow({
        chain: 'userchain',
        signal: stop.signal,
        onBlock: (block) => {
          given.push(block.height)
          if (given.length < 3 && fault !== undefined) throw fault
          if (block.height === 2) stop.abort()
        },
      })
    await expect(fail(new TypeError('a mistake'))).rejects.toThrow(TypeError)
    given.length = 0
    await fail(new RuntimeError('no room left', { code: 'ERR_DISK_FULL', path: 'node.db' }))
    expect(given).toEqual([0, 0, 0, 1, 2])
  })
})
