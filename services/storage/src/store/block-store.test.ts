import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { StorageError } from '../errors.ts'
import { codecRaw, hashBlock } from './block-id.ts'
import { BlockStore } from './block-store.ts'
import { diskReserveBytes } from './disk-room.ts'
import type { HandoffEntry } from './entries.ts'
import { handoffKinds } from './operations.ts'
import { markBytes, packPathOf, packsFolderOf, parseMark, recordHeadBytes } from './pack-place.ts'
import { blockRowBytes } from './tallies.ts'

const key = randomBytes(32)
const alice = new Uint8Array(32).fill(1)
const bob = new Uint8Array(32).fill(2)
const target = new Uint8Array(32).fill(3)

let folder: string
let corrupt: string[]
const open: BlockStore[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'storage-'))
  corrupt = []
})

afterEach(async () => {
  for (const store of open.splice(0)) await store.close()
  rmSync(folder, { recursive: true })
})

async function openStore(
  limits: { bytesMax?: number; accountBytesMax?: number; bytesFree?: () => number } = {},
): Promise<BlockStore> {
  const store = new BlockStore({
    path: join(folder, 'node.sqlite'),
    key,
    bytesMax: limits.bytesMax ?? 1e9,
    accountBytesMax: limits.accountBytesMax ?? 1e9,
    ...(limits.bytesFree && { bytesFree: limits.bytesFree }),
    node: target,
    now: Date.now,
    onCorrupt: (digest) => corrupt.push(Buffer.from(digest).toString('hex')),
    onFatal: (error) => {
      throw error
    },
  })
  await store.open()
  open.push(store)
  return store
}

async function reopen(store: BlockStore): Promise<BlockStore> {
  open.splice(open.indexOf(store), 1)
  await store.close()
  return await openStore()
}

function block(size = 1024): { digest: Uint8Array; bytes: Uint8Array; codec: number } {
  const bytes = new Uint8Array(randomBytes(size))
  return { digest: hashBlock(bytes), bytes, codec: codecRaw }
}

function by(account: Uint8Array, at = 1): { account: Uint8Array; at: number; pin: number }[] {
  return [{ account, at, pin: 0 }]
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    if (error instanceof StorageError) return error.detail.code
    throw error
  }
  return 'none'
}

describe('blocks', () => {
  test('what was put is there after a reopening, and the file does not show it', async () => {
    let store = await openStore()
    const blocks = Array.from({ length: 200 }, () => block())
    const stored = await Promise.all(
      blocks.map((one) => store.put({ ...one, references: by(alice), enforceQuota: true })),
    )
    expect(stored.every((isNew) => isNew)).toBe(true)
    store = await reopen(store)
    for (const one of blocks) expect(await store.get(one.digest)).toEqual(Buffer.from(one.bytes))
    expect(store.totals()).toEqual({ bytes: 200 * 1024, blocks: 200 })
    const file = readFileSync(join(folder, 'node.sqlite'))
    expect(blocks.some((one) => file.includes(one.bytes.subarray(0, 64)))).toBe(false)
  })

  test('a second put of the same bytes adds a reference and no copy', async () => {
    const store = await openStore()
    const one = block()
    expect(await store.put({ ...one, references: by(alice), enforceQuota: true })).toBe(true)
    expect(await store.put({ ...one, references: by(bob), enforceQuota: true })).toBe(false)
    expect(store.totals().blocks).toBe(1)
    expect(store.references(one.digest).map((reference) => reference.account[0])).toEqual([1, 2])
  })

  test('the block goes with the last reference', async () => {
    const store = await openStore()
    const one = block()
    await store.put({ ...one, references: [...by(alice), ...by(bob)], enforceQuota: true })
    expect(await store.release(one.digest, alice, { at: 2, force: false })).toMatchObject({ changed: true, deleted: 0 })
    expect(store.has(one.digest)).toBe(true)
    expect(await store.release(one.digest, target, { at: 2, force: false })).toMatchObject({
      changed: false,
      deleted: 0,
    })
    expect(await store.release(one.digest, bob, { at: 2, force: false })).toMatchObject({ changed: true, deleted: 1 })
    expect(await store.get(one.digest)).toBeUndefined()
    expect(store.totals()).toEqual({ bytes: 0, blocks: 0 })
  })

  test('a slower copy does not bring back a released reference, a newer put does', async () => {
    const store = await openStore()
    const one = block()
    await store.put({ ...one, references: [...by(alice, 5), ...by(bob, 5)], enforceQuota: true })
    await store.release(one.digest, alice, { at: 9, force: false })
    await store.put({ ...one, references: by(alice, 5), enforceQuota: false })
    expect(store.references(one.digest)).toHaveLength(1)
    await store.put({ ...one, references: by(alice, 10), enforceQuota: true })
    expect(store.references(one.digest)).toHaveLength(2)
    await store.release(one.digest, alice, { at: 11, force: false })
    await store.release(one.digest, bob, { at: 11, force: false })
    await store.put({ ...one, references: by(alice, 20), enforceQuota: true })
    expect(await store.release(one.digest, alice, { at: 15, force: true })).toMatchObject({ changed: false })
    expect(store.has(one.digest)).toBe(true)
    await store.release(one.digest, alice, { at: 21, force: true })
    const late = store.put({ ...one, references: [...by(alice, 10), ...by(bob, 5)], enforceQuota: false })
    expect(await codeOf(late)).toBe('ERR_BLOCK_RELEASED')
    expect(store.has(one.digest)).toBe(false)
  })

  test('a sealed payload is removed by nobody, and by its tombstone in spite of references', async () => {
    const store = await openStore()
    const one = block()
    await store.put({ ...one, references: [...by(alice), ...by(bob)], owner: alice, writer: bob, enforceQuota: true })
    expect(await codeOf(store.release(one.digest, bob, { at: 2, force: true }))).toBe('ERR_BLOCK_SEALED')
    const removeAt = Date.now() + 3_600_000
    const entry = { digest: one.digest, owner: alice, at: 3, removeAt }
    expect(await store.addTombstones([entry])).toBe(true)
    expect(await store.addTombstones([{ ...entry, removeAt: 1 }])).toBe(false)
    // Until then it can be read, so that who may read it can export it; no new copy is taken.
    expect(await store.get(one.digest)).toHaveLength(1024)
    expect(await codeOf(store.put({ ...one, references: by(bob, 20), enforceQuota: false }))).toBe('ERR_BLOCK_ERASED')
    expect(await store.sweep(removeAt - 1, 0, 0)).toBe(0)
    expect(await store.sweep(removeAt, 0, 0)).toBe(1)
    expect(await store.get(one.digest)).toBeUndefined()
    expect(await codeOf(store.put({ ...one, references: by(bob, 20), enforceQuota: false }))).toBe('ERR_BLOCK_ERASED')
    expect(store.totals()).toEqual({ bytes: 0, blocks: 0 })
  })

  test("a word that came before its block bars the copies that are its account's, and no others", async () => {
    const store = await openStore()
    const [hers, his] = [block(), block()]
    for (const { digest } of [hers, his]) {
      await store.addWord({ digest, account: alice, at: 1, bytes: new Uint8Array(1) }, [])
    }
    const header = { writer: bob, stream: new Uint8Array(8), sequence: 1 }
    const put = (one: typeof hers, owner: Uint8Array): Promise<unknown> =>
      store.put({ ...one, ...header, owner, references: by(bob), enforceQuota: false })
    expect(await codeOf(put(hers, alice))).toBe('ERR_BLOCK_ERASED')
    expect(await put(his, bob)).toBe(true)
  })

  test('below a root a tombstone counts once enough stores name it, of what is kept here', async () => {
    const store = await openStore()
    const [leaf, root] = [block(), block()]
    await store.put({ ...leaf, references: by(bob), enforceQuota: false })
    const entries = [{ digest: leaf.digest, root: root.digest }]
    const [one, two] = [target, alice]
    const by2 = { storesNeeded: 2, delayMs: 7 }
    // A root that this store knows nothing of: nobody's word counts.
    for (const by of [one, two]) await store.vouch(by, entries, by2)
    await store.addTombstones([{ digest: root.digest, owner: alice, at: 3, removeAt: 10 }])
    for (const by of [one, one]) await store.vouch(by, entries, by2)
    const absent = block().digest
    for (const by of [one, two]) await store.vouch(by, [{ digest: absent, root: root.digest }], by2)
    expect([leaf.digest, absent].map((digest) => store.tombstone(digest))).toEqual([undefined, undefined])
    // Another's payload is nobody's leaf.
    const his = { ...block(), owner: bob, writer: bob, stream: new Uint8Array(8), sequence: 1 }
    await store.put({ ...his, references: by(bob), enforceQuota: false })
    for (const by of [one, two]) await store.vouch(by, [{ digest: his.digest, root: root.digest }], by2)
    expect(store.tombstone(his.digest)).toBeUndefined()
    await store.vouch(two, entries, by2)
    expect(store.tombstone(leaf.digest)).toMatchObject({ owner: alice, removeAt: 10 })
  })

  test('what stores say of a block is forgotten once nobody keeps it here any more', async () => {
    const store = await openStore()
    const root = block().digest
    await store.addTombstones([{ digest: root, owner: alice, at: 3, removeAt: 10 }])
    const [kept, gone, released] = [block(), block(), block()]
    for (const one of [kept, gone, released]) {
      await store.put({ ...one, references: by(bob), enforceQuota: false })
      await store.vouch(target, [{ digest: one.digest, root }], { storesNeeded: 2, delayMs: 7 })
    }
    await store.setAside(gone.digest)
    await store.release(released.digest, bob, { at: 2, force: true })
    await store.sweep(0, 1, 0)
    const tables = new DatabaseSync(join(folder, 'node.sqlite'), { readOnly: true })
    const said = tables
      .prepare('SELECT digest FROM vouch')
      .all()
      .map(({ digest }) => digest)
    tables.close()
    expect(said).toHaveLength(2)
    expect(said).toEqual(expect.arrayContaining([kept.digest, gone.digest]))
  })

  test('below a root a store that does not keep the block is believed of what the file or its writer has kept for longest', async () => {
    const store = await openStore()
    const [hers, his, forged, old] = [block(), block(), block(), block()]
    const root = block().digest
    for (const one of [hers, forged, old]) await store.put({ ...one, references: by(bob), enforceQuota: false })
    await store.put({ ...his, references: [...by(target, 1), ...by(bob, 2)], enforceQuota: false })
    const names = { root, owner: alice, writer: bob }
    const two = { storesNeeded: 2, delayMs: 7 }
    const [first, second] = [new Uint8Array(32).fill(7), new Uint8Array(32).fill(8)]
    const vouchAll = async (): Promise<void> => {
      await store.vouch(first, [{ digest: hers.digest, root, owner: alice }], two)
      await store.vouch(second, [{ digest: hers.digest, ...names }], two)
      for (const by of [first, second]) await store.vouch(by, [{ digest: his.digest, ...names }], two)
      // Two that do not say the same, and one alone, are too few.
      await store.vouch(first, [{ digest: forged.digest, ...names }], two)
      await store.vouch(second, [{ digest: forged.digest, ...names, writer: target }], two)
      await store.vouch(second, [{ digest: old.digest, ...names }], two)
    }
    const laid = (): unknown => [hers, his, forged, old].map(({ digest }) => store.tombstone(digest)?.removeAt)
    await vouchAll()
    expect(laid()).toEqual([undefined, undefined, undefined, undefined])
    // Nobody has the root any more, so that it has no tombstone here; its owner's word is known.
    await store.addWord({ digest: root, account: alice, at: 3, bytes: new Uint8Array(1) }, [])
    await vouchAll()
    expect(laid()).toEqual([10, undefined, undefined, undefined])
    expect(store.references(his.digest).map(({ account }) => account)).toEqual([target])
    expect(store.references(old.digest)).toHaveLength(1)
  })

  test('below a root of which nothing is known it is removed by the latest erasure in Userchain that a store names, whoever says it last', async () => {
    const store = await openStore()
    const stream = new Uint8Array(8)
    for (const at of [3, 6]) await store.eraseRange({ owner: alice, stream, first: at, last: at, at, removeAt: at + 7 })
    const two = { storesNeeded: 2, delayMs: 7 }
    for (const times of [
      [6, 3],
      [3, 6],
    ]) {
      const leaf = block()
      await store.put({ ...leaf, references: by(bob), enforceQuota: false })
      const entry = { digest: leaf.digest, root: block().digest, owner: alice }
      // A time at which nothing of its owner's was erased is no word.
      await store.vouch(target, [{ ...entry, at: 5 }], two)
      for (const [index, at] of times.entries()) {
        expect(store.tombstone(leaf.digest)).toBeUndefined()
        await store.vouch(new Uint8Array(32).fill(7 + index), [{ ...entry, at }], two)
      }
      expect(store.tombstone(leaf.digest)).toMatchObject({ owner: alice, at: 6, removeAt: 13 })
    }
  })

  test('a block below two erased roots of an owner goes also where each store names another of them, and not before the later erasure', async () => {
    const store = await openStore()
    const two = { storesNeeded: 2, delayMs: 7 }
    const roots = [block().digest, block().digest, block().digest] as const
    for (const [index, account] of [alice, alice, bob].entries()) {
      const word = { digest: roots[index] as Uint8Array, account, at: 6 - index, bytes: new Uint8Array(1) }
      await store.addWord(word, [])
    }
    const [one, other] = [new Uint8Array(32).fill(7), new Uint8Array(32).fill(8)]
    const leaf = block()
    const { digest } = leaf
    await store.put({ ...leaf, references: by(bob), enforceQuota: false })
    await store.vouch(one, [{ digest, root: roots[0], owner: alice }], two)
    // Of another owner.
    await store.vouch(other, [{ digest, root: roots[2], owner: bob }], two)
    expect(store.tombstone(digest)).toBeUndefined()
    await store.vouch(other, [{ digest, root: roots[1], owner: alice }], two)
    expect(store.tombstone(digest)).toMatchObject({ owner: alice, at: 6, removeAt: 13 })
  })

  test('what is not kept here is named below its root for the stores that keep it', async () => {
    const store = await openStore()
    const [here, absent] = [block(), block()]
    await store.put({ ...here, references: by(target), enforceQuota: false })
    const root = block().digest
    const common = { owner: alice, at: 3, removeAt: 10, root, writer: bob }
    await store.addTombstones([here, absent].map(({ digest }) => ({ digest, ...common })))
    // Another's block, which was only linked to, is not.
    expect(store.below('below', 0, 10)).toEqual([{ id: 1, digest: absent.digest, root, owner: alice, writer: bob }])
    expect(store.below('below', 1, 10)).toEqual([])
    expect(store.below('tombstones', 0, 10)).toEqual([])
  })

  test('a leaf that was not here when its file was erased comes back neither soon nor late, but for who keeps it else', async () => {
    const store = await openStore()
    const [root, leaf, linked, plain] = [block(), block(), block(), block()]
    const common = { owner: alice, at: 3, removeAt: 10 }
    await store.addTombstones(
      [leaf, linked].map(({ digest }) => ({ digest, ...common, root: root.digest, writer: bob })),
    )
    await store.addTombstones([{ digest: root.digest, ...common }])
    await store.release(plain.digest, alice, { at: 4, force: true })
    const putBy = (one: typeof leaf, ...accounts: Uint8Array[]): Promise<unknown> =>
      store.put({ ...one, references: accounts.flatMap((account) => by(account)), enforceQuota: false })
    for (const releasesBefore of [0, 100]) {
      await store.sweep(100, releasesBefore, 0)
      for (const accounts of [[alice], [bob], [alice, bob]]) {
        expect(await codeOf(putBy(leaf, ...accounts))).toBe('ERR_BLOCK_RELEASED')
      }
    }
    // Somebody else's copy stays, and is not the file's.
    await putBy(linked, alice, target)
    expect(store.references(linked.digest).map(({ account }) => account)).toEqual([target])
    // What was given up by itself is forgotten in time.
    expect(await codeOf(putBy(plain, alice))).toBe('none')
  })

  test('a removal waits until enough stores have heard of the tombstone', async () => {
    const store = await openStore()
    const one = block()
    await store.put({ ...one, references: by(alice), owner: alice, writer: alice, enforceQuota: true })
    const word = { digest: one.digest, account: alice, at: 3, bytes: new Uint8Array(1) }
    const tombstone = { digest: one.digest, owner: alice, at: 3, removeAt: 10 }
    await store.addTombstones([tombstone], { word, targets: [bob, target] })
    expect(await store.get(one.digest)).toBeUndefined()
    expect(await store.sweep(10, 0, 1)).toBe(0)
    const [first] = store.handoffsDue(Date.now(), 10, bob)
    await store.finishHandoffs([first as HandoffEntry])
    expect(await store.sweep(10, 0, 0)).toBe(0)
    expect(await store.sweep(10, 0, 1)).toBe(1)
  })

  test('erased records go, and copies of them that come later are refused', async () => {
    const store = await openStore()
    const stream = new Uint8Array(8).fill(7)
    const records = [1, 2, 3, 4].map((sequence) => ({ ...block(), owner: alice, writer: alice, stream, sequence }))
    for (const one of records.slice(0, 3)) await store.put({ ...one, references: by(alice), enforceQuota: true })
    const range = { owner: alice, stream, first: 2, last: 4, at: 5, removeAt: 10 }
    expect(store.recordsOf(range)).toHaveLength(2)
    await store.eraseRange(range)
    expect(await store.sweep(10, 0, 0)).toBe(2)
    expect(store.has((records[0] as (typeof records)[0]).digest)).toBe(true)
    const late = records[3] as (typeof records)[0]
    expect(await codeOf(store.put({ ...late, references: by(alice), enforceQuota: false }))).toBe('ERR_BLOCK_ERASED')
    const others = { ...block(), owner: bob, writer: bob, stream, sequence: 2 }
    expect(await store.put({ ...others, references: by(bob), enforceQuota: true })).toBe(true)
  })

  test('what was set aside as damaged goes with its tombstone too, and so does what accounts kept of it', async () => {
    const store = await openStore()
    const one = block()
    await store.put({ ...one, references: by(alice), owner: alice, writer: alice, enforceQuota: true })
    await store.setAside(one.digest)
    await store.addTombstones([{ digest: one.digest, owner: alice, at: 3, removeAt: 10 }])
    const left = store.bytesLeft(alice).ofAccount
    expect(await store.sweep(10, 0, 0)).toBe(1)
    expect(store.references(one.digest)).toEqual([])
    expect(store.bytesLeft(alice).ofAccount).toBe(left + one.bytes.length + blockRowBytes)
    expect(await store.sweep(10, 0, 0)).toBe(0)
    const tables = new DatabaseSync(join(folder, 'node.sqlite'), { readOnly: true })
    for (const name of ['quarantine', 'gone', 'reference']) {
      expect(tables.prepare(`SELECT count(*) AS n FROM ${name}`).get()?.n).toBe(0)
    }
    tables.close()
  })

  test('after the removal no file of the store holds one piece of what lay there', async () => {
    const store = await openStore()
    const blocks = [block(300), block(1024), block(200_000), block(2 * 1024 * 1024)]
    for (const one of blocks) {
      await store.put({ ...one, references: by(alice), owner: alice, writer: alice, enforceQuota: true })
    }
    const kept = block(5000)
    await store.put({ ...kept, references: by(alice), enforceQuota: true })
    const sealed = blocks.map((one) => readSealed(one.digest))
    const isOnDisk = (bytes: Uint8Array): boolean => {
      // Pages cut long values: each piece is looked for by itself.
      const pieces = Array.from({ length: Math.ceil(bytes.length / 512) }, (_, at) =>
        bytes.subarray(at * 512, at * 512 + 64),
      )
      const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
      const files = entries.map(({ parentPath, name }) => readFileSync(join(parentPath, name)))
      return pieces.some((piece) => piece.length >= 32 && files.some((file) => file.includes(piece)))
    }
    for (const bytes of sealed) expect(isOnDisk(bytes)).toBe(true)
    const entries = blocks.map(({ digest }) => ({ digest, owner: alice, at: 3, removeAt: 10 }))
    await store.addTombstones(entries)
    // Whoever reads just before does not keep the write-ahead log from being emptied.
    expect(store.has(kept.digest) && (await store.get(kept.digest))?.length).toBe(5000)
    expect(await store.sweep(10, 0, 0)).toBe(4)
    for (const bytes of sealed) expect(isOnDisk(bytes)).toBe(false)
    expect(isOnDisk(readSealed(kept.digest))).toBe(true)
  })
})

function readSealed(digest: Uint8Array): Uint8Array {
  const database = new DatabaseSync(join(folder, 'node.sqlite'), { readOnly: true })
  try {
    const sealed = database.prepare('SELECT sealed FROM block WHERE digest = ?').get(digest)?.sealed as Uint8Array
    if (sealed.length !== markBytes) return sealed
    const { pack, offset, length } = parseMark(sealed)
    const from = offset + recordHeadBytes
    return readFileSync(packPathOf(packsFolderOf(join(folder, 'node.sqlite')), pack)).subarray(from, from + length)
  } finally {
    database.close()
  }
}

function permutations<T>(list: readonly T[]): T[][] {
  if (list.length < 2) return [[...list]]
  return list.flatMap((one, at) => permutations(list.toSpliced(at, 1)).map((rest) => [one, ...rest]))
}

describe('pins and quotas', () => {
  test('a pin keeps the block until it is removed', async () => {
    const store = await openStore()
    const one = block()
    await store.put({ ...one, references: by(alice), enforceQuota: true })
    await store.pin(one, { account: alice, at: 2, pin: 1 })
    expect(store.pins(alice, new Uint8Array(0), 10)).toHaveLength(1)
    expect(store.pins(bob, new Uint8Array(0), 10)).toHaveLength(0)
    expect(await codeOf(store.release(one.digest, alice, { at: 3, force: false }))).toBe('ERR_BLOCK_PINNED')
    expect(await store.unpin(one.digest, alice, 3)).toBe(true)
    expect(await store.unpin(one.digest, alice, 3)).toBe(false)
    expect(await codeOf(store.unpin(one.digest, bob, 3))).toBe('ERR_NOT_PINNED')
    expect((await store.release(one.digest, alice, { at: 3, force: false })).deleted).toBe(1)
    expect(await codeOf(store.pin(one, { account: alice, at: 4, pin: 1 }))).toBe('ERR_BLOCK_NOT_FOUND')
  })

  test('pins come to the same whatever a store hears of them first, and a copy brings nothing back', async () => {
    const store = await openStore()
    const set = (at: number, pin: number) => (one: ReturnType<typeof block>) =>
      store.pin(one, { account: alice, at, pin }, false)
    const unset = (at: number) => (one: ReturnType<typeof block>) => store.unpin(one.digest, alice, at)
    const copied =
      (direct: number, recursive: number, removed: number, pin: number) => (one: ReturnType<typeof block>) => {
        const references = [{ account: alice, at: 1, pin, pins: { direct, recursive, removed } }]
        return store.put({ ...one, references, enforceQuota: false })
      }
    const told = [
      { words: [set(2, 2), unset(4), set(3, 1)], pin: 0 },
      { words: [set(2, 2), unset(3), set(4, 1)], pin: 1 },
      { words: [set(4, 1), set(3, 2), unset(2)], pin: 2 },
      { words: [unset(5), copied(0, 4, 0, 2), set(5, 1)], pin: 0 },
      { words: [set(3, 2), copied(0, 3, 4, 0)], pin: 0 },
      { words: [unset(3), copied(0, 4, 3, 2)], pin: 2 },
    ]
    for (const { words, pin } of told) {
      for (const order of permutations(words)) {
        const one = block(64)
        await store.put({ ...one, references: by(alice), enforceQuota: true })
        for (const word of order) await word(one)
        expect(store.pinOf(one.digest, alice)).toBe(pin)
        expect(store.pins(alice, new Uint8Array(0), 100).some((entry) => entry.pin === pin)).toBe(pin > 0)
        await store.release(one.digest, alice, { at: 9, force: true })
      }
    }
  })

  test('a put with a pin counts, though a store whose clock is ahead has had one taken away', async () => {
    const store = await openStore()
    const one = block()
    await store.put({ ...one, references: by(alice), enforceQuota: true })
    await store.unpin(one.digest, alice, 50)
    await store.put({ ...one, references: [{ account: alice, at: 20, pin: 1 }], enforceQuota: true })
    expect(store.references(one.digest)).toMatchObject([{ pin: 1, pins: { direct: 51, removed: 50 } }])
  })

  test('what is due of the hand-off queue is found without going through all of it', async () => {
    const store = await openStore()
    const accounts = [3, 1, 2].map((byte) => new Uint8Array(32).fill(byte))
    const later = Date.now() + 100_000
    for (const [index, account] of accounts.entries()) {
      for (let count = 0; count < 5; count++) {
        const entry = { handoffKind: 2, digest: new Uint8Array(32).fill(count), account, at: 1, target: account }
        await store.enqueueHandoff(entry)
      }
      if (index === 0) continue
      for (const { id } of store.handoffsDue(Date.now(), 10, account)) await store.retryHandoff(id, later + index)
    }
    const asked: string[] = []
    const { prepare } = DatabaseSync.prototype
    DatabaseSync.prototype.prepare = function (sql: string) {
      asked.push(sql)
      return prepare.call(this, sql)
    }
    try {
      // Opened anew, it asks its questions for the first time.
      const again = await reopen(store)
      expect(again.handoffTargets(Date.now())).toEqual([accounts[0]])
      expect(again.handoffTargets(later + 1).map(([byte]) => byte)).toEqual([1, 3])
      expect(again.nextHandoffAt(Date.now())).toBe(later + 1)
      expect(again.nextHandoffAt(later + 2)).toBeUndefined()
      expect(again.handoffsDue(Date.now(), 3, accounts[0] as Uint8Array).map(({ digest }) => digest[0])).toEqual([
        0, 1, 2,
      ])
    } finally {
      DatabaseSync.prototype.prepare = prepare
    }
    const database = new DatabaseSync(join(folder, 'node.sqlite'))
    const questions = asked.filter((sql) => /FROM handoff/.test(sql) && /^(SELECT|WITH)/.test(sql))
    expect(questions).toHaveLength(3)
    for (const sql of questions) {
      const steps = database
        .prepare(`EXPLAIN QUERY PLAN ${sql}`)
        .all()
        .map(({ detail }) => String(detail))
      expect(steps.filter((step) => /SCAN handoff|TEMP B-TREE/.test(step))).toEqual([])
      expect(steps.some((step) => /SEARCH handoff USING (COVERING )?INDEX handoff_due/.test(step))).toBe(true)
    }
    database.close()
  })

  test('a disk that is nearly full takes no more blocks, and lets go of those that it has', async () => {
    let bytesFree = diskReserveBytes + 3 * 1024
    const store = await openStore({ bytesFree: () => bytesFree })
    expect(store.bytesLeft(alice).ofNode).toBe(3 * 1024)
    const blocks = Array.from({ length: 5 }, () => block())
    const codes = await Promise.all(
      blocks.map((one) => codeOf(store.put({ ...one, references: by(alice), enforceQuota: false }))),
    )
    expect(codes).toEqual(['none', 'none', 'none', 'ERR_STORE_FULL', 'ERR_STORE_FULL'])
    bytesFree = 1024
    await vi.waitFor(() => expect(store.bytesLeft(alice).ofNode).toBe(0), { timeout: 20_000, interval: 20 })
    const [one] = blocks as [ReturnType<typeof block>]
    expect((await store.release(one.digest, alice, { at: 2, force: false })).deleted).toBe(1)
    expect(await codeOf(store.put({ ...block(0), references: by(alice), enforceQuota: false }))).toBe('none')
    bytesFree = 1e12
    await vi.waitFor(() => expect(store.bytesLeft(alice).ofNode).toBeGreaterThan(1e8), {
      timeout: 20_000,
      interval: 20,
    })
    expect(await codeOf(store.put({ ...block(), references: by(alice), enforceQuota: false }))).toBe('none')
  })

  test('the quota holds among concurrent puts, and is given back', async () => {
    const store = await openStore({ accountBytesMax: 10 * (1024 + blockRowBytes) })
    const blocks = Array.from({ length: 30 }, () => block())
    const codes = await Promise.all(
      blocks.map((one) => codeOf(store.put({ ...one, references: by(alice), enforceQuota: true }))),
    )
    expect(codes.filter((code) => code === 'none')).toHaveLength(10)
    expect(codes.filter((code) => code === 'ERR_QUOTA_EXCEEDED')).toHaveLength(20)
    expect(store.bytesLeft(alice).ofAccount).toBe(0)
    expect(store.totals().blocks).toBe(10)
    const kept = blocks[codes.indexOf('none')] as { digest: Uint8Array }
    await store.release(kept.digest, alice, { at: 2, force: false })
    expect(store.bytesLeft(alice).ofAccount).toBe(1024 + blockRowBytes)
  })

  test('many small blocks count as much on the quota as they take on the disk, or nearly', async () => {
    const accountBytesMax = 2 * 1024 * 1024
    const store = await openStore({ accountBytesMax })
    let codes: string[] = []
    while (!codes.includes('ERR_QUOTA_EXCEEDED')) {
      const put = (one: ReturnType<typeof block>): Promise<unknown> =>
        store.put({ ...one, references: by(alice), enforceQuota: true })
      codes = await Promise.all(Array.from({ length: 500 }, () => codeOf(put(block(32)))))
    }
    const path = join(folder, 'node.sqlite')
    const tables = new DatabaseSync(path)
    tables.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    tables.close()
    expect(statSync(path).size).toBeLessThan(1.5 * accountBytesMax)
  })

  test("an account's removals are remembered as far as its quota reaches, and counted no more when they are forgotten", async () => {
    const store = await openStore({ accountBytesMax: 20 * blockRowBytes })
    const kept = block(100)
    await store.put({ ...kept, references: by(alice, 50), enforceQuota: true })
    for (let count = 0; count < 20; count++) {
      const one = block(10)
      await store.put({ ...one, references: by(alice), enforceQuota: true })
      await store.release(one.digest, alice, { at: count + 2, force: true })
      // Once more says nothing new.
      await store.release(one.digest, alice, { at: count + 2, force: true })
    }
    const next = block(10)
    expect(await codeOf(store.put({ ...next, references: by(alice), enforceQuota: true }))).toBe('ERR_QUOTA_EXCEEDED')
    expect([store.bytesLeft(alice).ofAccount, store.removalsLeft(alice)]).toEqual([0, 0])
    expect(await codeOf(store.put({ ...next, references: by(bob), enforceQuota: true }))).toBe('none')
    expect((await store.release(kept.digest, alice, { at: 60, force: true })).changed).toBe(true)
    await store.sweep(100, 12, 0)
    expect(store.removalsLeft(alice)).toBe(9)
    expect(store.bytesLeft(alice).ofAccount).toBe(20 * blockRowBytes)
    const again = await reopen(store)
    expect(again.removalsLeft(alice)).toBe(Math.floor(1e9 / blockRowBytes) - 11)
  })

  test('a refused reference takes back those added before it', async () => {
    const store = await openStore({ accountBytesMax: 1024 + blockRowBytes })
    await store.put({ ...block(), references: by(bob), enforceQuota: true })
    const one = block()
    const references = [...by(alice), ...by(bob)]
    expect(await codeOf(store.put({ ...one, references, enforceQuota: true }))).toBe('ERR_QUOTA_EXCEEDED')
    expect(store.references(one.digest)).toEqual([])
    expect(store.bytesLeft(alice).ofAccount).toBe(1024 + blockRowBytes)
  })

  test('a full node refuses and stays whole', async () => {
    const store = await openStore({ bytesMax: 2048 })
    const one = block()
    await store.put({ ...one, references: by(alice), enforceQuota: true })
    await store.put({ ...block(), references: by(alice), enforceQuota: true })
    expect(await codeOf(store.put({ ...block(), references: by(bob), enforceQuota: false }))).toBe('ERR_STORE_FULL')
    await store.put({ ...one, references: by(bob), enforceQuota: true })
    expect(store.totals().blocks).toBe(2)
  })
})

describe('damage', () => {
  test('a block with any flipped byte is absent, set aside, reported once, and can be put again', async () => {
    let store = await openStore()
    const one = block(300)
    await store.put({ ...one, references: by(alice), enforceQuota: true })
    open.splice(0)
    await store.close()
    const path = join(folder, 'node.sqlite')
    const database = new DatabaseSync(path)
    const { sealed } = database.prepare('SELECT sealed FROM block').get() as { sealed: Uint8Array }
    database.close()
    const file = readFileSync(path)
    const at = file.indexOf(sealed)
    expect(at).toBeGreaterThan(0)
    for (const offset of [0, 12, 150, sealed.length - 1]) {
      const damaged = Buffer.from(file)
      damaged[at + offset] = (damaged[at + offset] as number) ^ 1
      writeFileSync(path, damaged)
      rmSync(`${path}-wal`, { force: true })
      rmSync(`${path}-shm`, { force: true })
      corrupt = []
      store = await openStore()
      const answers = await Promise.all([store.get(one.digest), store.get(one.digest)])
      expect(answers).toEqual([undefined, undefined])
      expect(corrupt).toEqual([Buffer.from(one.digest).toString('hex')])
      expect(store.has(one.digest)).toBe(false)
      expect(store.references(one.digest)).toHaveLength(1)
      await store.put({ ...one, references: [], enforceQuota: false })
      expect(await store.get(one.digest)).toEqual(Buffer.from(one.bytes))
      open.splice(0)
      await store.close()
    }
  })

  test('what somebody else alters in the tables is noticed, also while nothing is written', async () => {
    const store = await openStore()
    const one = block()
    await store.put({ ...one, references: by(alice), enforceQuota: true })
    expect(await store.get(one.digest)).toEqual(Buffer.from(one.bytes))
    const other = new DatabaseSync(join(folder, 'node.sqlite'))
    const { sealed } = other.prepare('SELECT sealed FROM block WHERE digest = ?').get(one.digest) as {
      sealed: Uint8Array
    }
    sealed[20] = (sealed[20] as number) ^ 1
    other.prepare('UPDATE block SET sealed = ? WHERE digest = ?').run(sealed, one.digest)
    other.close()
    await vi.waitFor(async () => expect(await store.get(one.digest)).toBeUndefined(), 10_000)
    expect(corrupt).toEqual([Buffer.from(one.digest).toString('hex')])
  })

  test('a block filed under another address is not served', async () => {
    const store = await openStore()
    const digest = hashBlock(new Uint8Array([1]))
    await store.put({ ...block(), digest, references: by(alice), enforceQuota: true })
    expect(await store.get(digest)).toBeUndefined()
    expect(corrupt).toHaveLength(1)
    expect(store.incidents(0, 10)).toMatchObject([{ kind: 'block-corrupt' }])
  })

  test('incidents cannot be changed or taken back', async () => {
    const store = await openStore()
    await store.recordIncident({ at: 1, kind: 'block-corrupt', digest: alice, node: bob, servedBy: target })
    const database = new DatabaseSync(join(folder, 'node.sqlite'))
    expect(() => database.exec('DELETE FROM incident')).toThrow(/append-only/)
    expect(() => database.exec('UPDATE incident SET at = 2')).toThrow(/append-only/)
    database.close()
    expect(store.incidents(0, 10)).toMatchObject([{ id: 1, at: 1, kind: 'block-corrupt' }])
    expect(store.incidents(1, 10)).toEqual([])
  })
})

test('a release that comes late does not take what was pinned after it, and neither keeps that from another store', async () => {
  const [one, pinned] = [block(), { account: alice, at: 5, pin: 2 }]
  const late = await openStore()
  await late.put({ ...one, references: by(alice), enforceQuota: true })
  await late.pin(one, pinned)
  expect(await late.release(one.digest, alice, { at: 3, force: true })).toMatchObject({ deleted: 0 })
  expect(late.references(one.digest)).toMatchObject([{ account: alice, at: 5, pin: 2 }])
  const [reference] = late.references(one.digest)
  // One that has not heard of the release tells of the pin to one that has.
  const told = { account: alice, at: 1, pin: 2, pins: { direct: 0, recursive: 5, removed: 0 } }
  const other = block()
  await late.release(other.digest, alice, { at: 3, force: true })
  await late.put({ ...other, references: [told], enforceQuota: false })
  expect(late.references(other.digest)).toMatchObject([{ ...reference, pin: 2 }])
  // What came before the release goes with it, as ever.
  expect(await late.release(one.digest, alice, { at: 5, force: true })).toMatchObject({ deleted: 1 })
})

test('what is asked for anew while its hand-off is under way is not done with it', async () => {
  const store = await openStore()
  const one = block()
  await store.put({ ...one, references: by(alice), enforceQuota: true })
  const release = { handoffKind: handoffKinds.release, digest: one.digest, target, account: alice }
  await store.enqueueHandoff({ ...release, at: 5 })
  const [first] = store.handoffsDue(Date.now(), 10, target)
  await store.enqueueHandoff({ ...release, at: 7 })
  await store.finishHandoffs([first as HandoffEntry])
  const [second] = store.handoffsDue(Date.now(), 10, target)
  expect(second).toMatchObject({ kind: 2, at: 7 })
  await store.finishHandoffs([second as HandoffEntry])
  expect(store.handoffCount()).toBe(0)
})

test('a hand-off is stored with its block and lives until it is done', async () => {
  let store = await openStore()
  const one = block()
  await store.put({ ...one, references: by(alice), handoff: [target], enforceQuota: true })
  await store.put({ ...one, references: by(bob), handoff: [target], enforceQuota: true })
  store = await reopen(store)
  const [entry, ...others] = store.handoffsDue(Date.now(), 10, target)
  expect(others).toEqual([])
  expect(entry).toMatchObject({ kind: 1, attempts: 0 })
  expect([store.handoffTargets(Date.now()), store.handoffTargets(Date.now() - 60_000)]).toEqual([[target], []])
  expect(store.handoffsDue(Date.now(), 10, bob)).toEqual([])
  await store.retryHandoff(entry?.id as number, Date.now() + 60_000)
  expect(store.handoffsDue(Date.now(), 10, target)).toEqual([])
  expect(store.handoffCount()).toBe(1)
  await store.finishHandoffs([entry as HandoffEntry])
  const release = { handoffKind: 2, digest: one.digest, target, account: alice }
  await store.enqueueHandoff({ ...release, at: 7 })
  await store.enqueueHandoff({ ...release, at: 5 })
  const [released] = store.handoffsDue(Date.now(), 10, target)
  expect(released).toMatchObject({ kind: 2, at: 7 })
  await store.finishHandoffs([released as HandoffEntry])
  expect([store.handoffCount(), store.nextHandoffAt(0)]).toEqual([0, undefined])
})
