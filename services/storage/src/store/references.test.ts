/** What stores make of puts, pins and releases of one block that they hear of in any order: the account's last word holds everywhere. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { isStorageError } from '../errors.ts'
import { codecRaw, hashBlock } from './block-id.ts'
import { BlockStore } from './block-store.ts'
import type { Reference } from './operations.ts'

const folder = mkdtempSync(join(tmpdir(), 'storage-references-'))
const [alice, bob] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]
const stores: BlockStore[] = []
/** What the stores' clocks show, Unix ms. */
let nowMs = 1_000_000

beforeAll(async () => {
  for (const name of ['a', 'b', 'c']) {
    const store = new BlockStore({
      ...{ path: join(folder, name), key: randomBytes(32), bytesMax: 1e9, accountBytesMax: 1e9 },
      ...{ node: new Uint8Array(32), now: () => nowMs, onCorrupt: () => {}, onFatal: () => {} },
    })
    await store.open()
    stores.push(store)
  }
})

afterAll(async () => {
  for (const store of stores) await store.close()
  rmSync(folder, { recursive: true })
})

interface Block {
  digest: Uint8Array
  codec: number
  bytes: Uint8Array
}

function newBlock(): Block {
  const bytes = new Uint8Array(randomBytes(64))
  return { digest: hashBlock(bytes), codec: codecRaw, bytes }
}

/** Late news: what it is refused for is what the store knows better. */
async function hear(news: Promise<unknown>): Promise<void> {
  const known = ['ERR_BLOCK_RELEASED', 'ERR_BLOCK_NOT_FOUND', 'ERR_NOT_PINNED'] as const
  await news.catch((error: unknown) => {
    if (!known.some((code) => isStorageError(error, code))) throw error
  })
}

const kinds = ['put', 'release', 'direct', 'recursive', 'refer', 'unpin'] as const
type Kind = (typeof kinds)[number]

/** @param isAsked - true of the store that the account asks itself, false of one that is told of it. */
async function tell(store: BlockStore, block: Block, kind: Kind, at: number, isAsked = false): Promise<void> {
  const { digest } = block
  const pin = kind === 'direct' ? 1 : kind === 'recursive' ? 2 : 0
  const reference = { account: alice, at, pin }
  if (kind === 'release') await hear(store.release(digest, alice, { at, force: true }))
  else if (kind === 'unpin') await hear(store.unpin(digest, alice, at))
  else if (kind === 'put') await hear(store.put({ ...block, references: [reference], enforceQuota: isAsked }))
  else await hear(store.pin(block, reference, isAsked))
}

async function handOver(from: BlockStore, to: BlockStore, block: Block): Promise<void> {
  const references: Reference[] = from.references(block.digest)
  if (references.length > 0) await hear(to.put({ ...block, references, enforceQuota: false }))
}

/** A step of what happens: something that the account did reaches a store, or one store hands another its copy. */
type Step = { store: number; said: number } | { store: number; from: number }

/** What an account did, one thing after the other, and in what order three stores hear of all of it, with copies between. */
const histories = fc
  .record({ did: fc.array(fc.constantFrom(...kinds), { minLength: 2, maxLength: 6 }), isShared: fc.boolean() })
  .chain(({ did, isShared }) => {
    const told: Step[] = [0, 1, 2].flatMap((store) => did.map((_, said) => ({ store, said })))
    const copy = fc.record({ store: fc.nat(2), from: fc.nat(2) })
    const steps = fc.array(copy, { maxLength: 6 }).chain((copies) => {
      const all: Step[] = [...told, ...copies]
      return fc.shuffledSubarray(all, { minLength: all.length })
    })
    return fc.record({ did: fc.constant(did), isShared: fc.constant(isShared), steps })
  })

test("whatever the order in which three stores hear of them, an account's last put or pin is kept if it was not released since", async () => {
  await fc.assert(
    fc.asyncProperty(histories, async ({ did, isShared, steps }) => {
      const block = newBlock()
      // Pins are of blocks that somebody keeps; a block that nobody else does goes and comes with its puts.
      const bobs = { ...block, references: [{ account: bob, at: 1, pin: 0 }], enforceQuota: false }
      if (isShared) await Promise.all(stores.map((store) => store.put(bobs)))
      const isHeard = (kind: Kind): boolean => isShared || kind === 'put' || kind === 'release'
      const timeOf = (said: number): number => 10 + said
      for (const step of steps) {
        const store = stores[step.store] as BlockStore
        if ('from' in step) await handOver(stores[step.from] as BlockStore, store, block)
        else if (isHeard(did[step.said] as Kind)) await tell(store, block, did[step.said] as Kind, timeOf(step.said))
      }
      const lastOf = (isOne: (kind: Kind) => boolean): number =>
        Math.max(0, ...did.map((kind, said) => (isHeard(kind) && isOne(kind) ? timeOf(said) : 0)))
      const kept = lastOf((kind) => kind !== 'release' && kind !== 'unpin')
      const isKept = kept > lastOf((kind) => kind === 'release')
      for (const store of stores) {
        expect(store.keptSince(block.digest, alice)).toBe(isKept ? kept : undefined)
        expect(store.has(block.digest)).toBe(isKept || isShared)
      }
      // What one of them heard while it had nothing to write it down with, it has from the others' copies.
      for (const from of stores) for (const to of stores) await handOver(from, to, block)
      const pins = stores.map((store) => store.pinOf(block.digest, alice))
      expect(new Set(pins).size).toBe(1)
      if (did.includes('unpin')) return
      const released = lastOf((kind) => kind === 'release')
      const pinned = (name: Kind): boolean => lastOf((kind) => kind === name) > released
      expect(pins[0]).toBe(pinned('recursive') ? 2 : pinned('direct') ? 1 : 0)
    }),
    { numRuns: 60 },
  )
}, 60_000)

test('a reference is taken back by the request that made it, unless another one has said the same, be it within one ms', async () => {
  const [store] = stores as [BlockStore]
  const made = async (tells: readonly Kind[], isAsked = true): Promise<boolean> => {
    const block = newBlock()
    await store.put({ ...block, references: [{ account: bob, at: 1, pin: 0 }], enforceQuota: true })
    for (const kind of tells) await tell(store, block, kind, 20, isAsked)
    const isTakenBack = await store.retract(block.digest, { account: alice, at: 20 })
    if (isTakenBack) expect(store.keptSince(block.digest, alice)).toBeUndefined()
    else expect(store.keptSince(block.digest, alice)).toBeGreaterThanOrEqual(20)
    expect(store.releasedAt(block.digest, alice)).toBeUndefined()
    return isTakenBack
  }
  expect(await made(['refer'])).toBe(true)
  expect(await made(['direct'])).toBe(true)
  for (const other of ['refer', 'put', 'direct', 'recursive'] as const) expect(await made(['refer', other])).toBe(false)
  // What another store tells, or hands over, is told twice where the first answer was lost.
  for (const one of ['refer', 'put'] as const) expect(await made([one, one], false)).toBe(true)
})

test('a put of what its account gave up later is refused, also where others keep the block: nobody would keep it for that account', async () => {
  const [store] = stores as [BlockStore]
  const block = newBlock()
  await store.put({ ...block, references: [{ account: bob, at: 1, pin: 0 }], enforceQuota: true })
  await store.release(block.digest, alice, { at: 20, force: true })
  const put = (at: number): Promise<boolean> =>
    store.put({ ...block, references: [{ account: alice, at, pin: 0 }], enforceQuota: true })
  await expect(put(20)).rejects.toMatchObject({ detail: { code: 'ERR_BLOCK_RELEASED' } })
  await put(21)
  expect(store.keptSince(block.digest, alice)).toBe(21)
})

test.each([15, 20])(
  'a pinned block is not taken back if the account has put it by another clock at %i ms, too',
  async (at) => {
    const [store] = stores as [BlockStore]
    const block = newBlock()
    for (const kind of ['put', 'direct'] as const) await tell(store, block, kind, 20, true)
    const failed = { account: alice, since: 20, at: 20, pinnedAt: 20 }
    await tell(store, block, 'put', at, true)
    expect(await store.retract(block.digest, failed)).toBe(false)
    // Nor was that word all that is left to be released.
    await store.release(block.digest, alice, { at: 21, force: true })
    expect(store.has(block.digest)).toBe(false)
    for (const kind of ['put', 'direct'] as const) await tell(store, block, kind, 20 + 20, true)
    const again = { ...failed, since: 40, at: 40, pinnedAt: 40 }
    expect(await store.retract(block.digest, again)).toBe(true)
  },
)

test('a sealed payload of which nothing is known but a put that is taken back does not stay, unless somebody else keeps it', async () => {
  const [store] = stores as [BlockStore]
  const header = { owner: bob, writer: alice, stream: new Uint8Array(8), sequence: 1 }
  const isHereAfter = async (...accounts: Uint8Array[]): Promise<boolean> => {
    const block = newBlock()
    const references = accounts.map((account) => ({ account, at: 20, pin: 0 }))
    await store.put({ ...block, ...header, references, enforceQuota: true })
    expect(await store.retract(block.digest, { account: accounts[0] as Uint8Array, at: 20 })).toBe(true)
    return store.has(block.digest)
  }
  expect(await isHereAfter(alice)).toBe(false)
  expect(await isHereAfter(alice, bob)).toBe(true)
  // Of who is not its writer no pin that failed takes it.
  expect(await isHereAfter(bob)).toBe(true)
})

test('a sealed payload that has been here for long goes with no request that broke off, whatever another store says of when it was put', async () => {
  const [store] = stores as [BlockStore]
  const header = { owner: bob, writer: alice, stream: new Uint8Array(8), sequence: 1 }
  const block = newBlock()
  await store.put({ ...block, ...header, references: [{ account: alice, at: 20, pin: 0 }], enforceQuota: true })
  nowMs += 25 * 3_600_000
  try {
    const all = { account: alice, since: 0, at: Number.MAX_SAFE_INTEGER }
    expect(await store.retract(block.digest, all)).toBe(true)
    expect(store.has(block.digest)).toBe(true)
  } finally {
    nowMs = 1_000_000
  }
})

test('a block that is put again keeps its place among those who keep it, and its second time goes with its copy', async () => {
  const block = newBlock()
  const [first, second] = stores as [BlockStore, BlockStore]
  const put = (account: Uint8Array, at: number): Promise<boolean> =>
    first.put({ ...block, references: [{ account, at, pin: 0 }], enforceQuota: true })
  await put(alice, 10)
  await put(bob, 11)
  await put(alice, 12)
  expect(first.ownerOf(block.digest)).toEqual(alice)
  await handOver(first, second, block)
  for (const store of [first, second]) {
    const references = store.references(block.digest).sort((one, other) => one.at - other.at)
    expect(references).toEqual([
      { account: alice, at: 10, pin: 0, again: 12 },
      { account: bob, at: 11, pin: 0 },
    ])
    await store.release(block.digest, alice, { at: 11, force: true })
    // It was given up in between: from then on the other one has kept it for longer.
    expect(store.ownerOf(block.digest)).toEqual(bob)
    expect(store.keptSince(block.digest, alice)).toBe(12)
    await store.release(block.digest, alice, { at: 12, force: true })
    expect(store.references(block.digest)).toHaveLength(1)
  }
})

test('a pin that was given up with its block is not there where the store hears of a later put first, then of the pin and the release', async () => {
  const block = newBlock()
  const [store] = stores as [BlockStore]
  await tell(store, block, 'put', 12)
  await tell(store, block, 'direct', 10)
  await tell(store, block, 'put', 13)
  await tell(store, block, 'release', 11)
  expect(store.pinOf(block.digest, alice)).toBe(0)
  expect(store.references(block.digest)).toEqual([
    { account: alice, at: 12, pin: 0, pins: { direct: 10, recursive: 0, removed: 11 }, again: 13 },
  ])
})

test('a block that is put after a word from a clock that was ahead is kept, whatever was released up to that word', async () => {
  const [store] = stores as [BlockStore]
  const [nowMs, aheadMs] = [1_000_000, 1_200_000]
  const put = async (block: Block, at: number, isPut: boolean): Promise<void> => {
    await store.put({ ...block, references: [{ account: alice, at, pin: 0 }], enforceQuota: isPut })
  }
  const block = newBlock()
  await put(block, aheadMs, false)
  await put(block, nowMs, true)
  // Who made the first one may not take back what was said since, either.
  expect(await store.retract(block.digest, { account: alice, at: aheadMs })).toBe(false)
  await store.release(block.digest, alice, { at: aheadMs, force: true })
  expect(store.keptSince(block.digest, alice)).toBe(aheadMs + 1)
  expect(store.has(block.digest)).toBe(true)
  await store.release(block.digest, alice, { at: aheadMs + 1, force: true })
  expect(store.has(block.digest)).toBe(false)
  // An older copy says nothing new.
  const copied = newBlock()
  await put(copied, aheadMs, false)
  await put(copied, nowMs, false)
  expect(store.keptSince(copied.digest, alice)).toBe(aheadMs)
})

/** Two requests of the account, at what times and how; in what order each store hears of them, and of copies from the others. */
const twoRequests = fc.record({
  times: fc.record({ failed: fc.integer({ min: 10, max: 13 }), other: fc.integer({ min: 10, max: 13 }) }),
  kinds: fc.record({ failed: fc.constantFrom('put', 'refer'), other: fc.constantFrom('put', 'refer', 'direct') }),
  steps: fc.array(
    fc.oneof(
      fc.record({ store: fc.nat(2), who: fc.constantFrom('failed', 'other') }),
      fc.record({ store: fc.nat(2), from: fc.nat(2) }),
    ),
    { minLength: 2, maxLength: 8 },
  ),
} as const)

test('what a request takes back that has failed leaves what another one has said, whatever their times and their order', async () => {
  await fc.assert(
    fc.asyncProperty(twoRequests, async ({ times, kinds: how, steps }) => {
      const block = newBlock()
      const bobs = { ...block, references: [{ account: bob, at: 1, pin: 0 }], enforceQuota: false }
      await Promise.all(stores.map((store) => store.put(bobs)))
      const heard = new Set<number>()
      const asked = { failed: new Set<number>(), other: new Set<number>() }
      for (const step of steps) {
        const store = stores[step.store] as BlockStore
        if ('from' in step) {
          await handOver(stores[step.from] as BlockStore, store, block)
          if (heard.has(step.from)) heard.add(step.store)
          continue
        }
        const [kind, at] = [how[step.who], times[step.who]]
        if (kind === 'put')
          await store.put({ ...block, references: [{ account: alice, at, pin: 0 }], enforceQuota: true })
        else await tell(store, block, kind, at, true)
        asked[step.who].add(step.store)
        if (step.who === 'other') heard.add(step.store)
      }
      for (const [index, store] of stores.entries()) {
        await store.retract(block.digest, { account: alice, at: times.failed })
        // What two say within one ms is told apart only where both were asked for: a copy may come twice.
        const isBoth = asked.failed.has(index) && asked.other.has(index)
        const isTold = times.failed === times.other ? isBoth : heard.has(index)
        if (isTold) expect(store.keptSince(block.digest, alice)).toBeGreaterThanOrEqual(times.other)
      }
    }),
    { numRuns: 200 },
  )
}, 60_000)
