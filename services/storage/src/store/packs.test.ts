import { randomBytes } from 'node:crypto'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Applier } from './applier.ts'
import { sealAtRest } from './at-rest.ts'
import { codecRaw, hashBlock } from './block-id.ts'
import { BlockStore } from './block-store.ts'
import type { Operation } from './operations.ts'
import { recordsOf } from './pack-files.ts'
import { isJournal } from './pack-journal.ts'
import { packedBytesMin, packPathOf, packsFolderOf, parseMark, recordHeadBytes } from './pack-place.ts'
import { Packs } from './packs.ts'
import { references4 } from './schema.fixture.ts'
import { openWriter } from './schema.ts'

const key = new Uint8Array(32).fill(9)
const account = new Uint8Array(32).fill(1)
let folder: string
let path: string
let store: BlockStore
let damaged: string[]

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'storage-large-'))
  path = join(folder, 'blocks.db')
  damaged = []
  store = await open()
})

afterEach(async () => {
  await store.close()
  rmSync(folder, { recursive: true })
})

async function open(): Promise<BlockStore> {
  const opened = new BlockStore({
    ...{ path, key, bytesMax: 1e9, accountBytesMax: 1e9, node: account, now: Date.now },
    onCorrupt: (digest) => damaged.push(Buffer.from(digest).toString('hex')),
    onFatal: (error) => {
      throw error
    },
  })
  await opened.open()
  return opened
}

async function reopen(): Promise<void> {
  await store.close()
  store = await open()
}

/** The packs' bytes, one after the other. */
function packed(): Buffer {
  const folderOf = packsFolderOf(path)
  return Buffer.concat(readdirSync(folderOf).map((name) => readFileSync(join(folderOf, name))))
}

/** Records of a pack; `journals` says whether those that are no blocks are among them. */
function recordsIn(pack: number, { journals }: { journals: boolean }): { offset: number; length: number }[] {
  const file = packPathOf(packsFolderOf(path), pack)
  const records = [...recordsOf(file, { from: 0, to: readFileSync(file).length })]
  return records.filter(({ digest }) => journals || !isJournal(digest))
}

/** Where a block's sealed bytes are. */
function placeOf(digest: Uint8Array): { file: string; from: number; to: number; sealed: Buffer } {
  const database = new DatabaseSync(path, { readOnly: true })
  const mark = database.prepare('SELECT sealed FROM block WHERE digest = ?').get(digest)?.sealed as Uint8Array
  database.close()
  const { pack, offset, length } = parseMark(mark)
  const file = packPathOf(packsFolderOf(path), pack)
  const from = offset + recordHeadBytes
  return { file, from, to: from + length, sealed: readFileSync(file).subarray(from, from + length) }
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0)
}

function putOf(bytes: Uint8Array): Extract<Operation, { kind: 'put' }> {
  const references = [{ account, at: 1, pin: 0 }]
  const rest = { references, handoff: [], handoffDelayMs: 0, isExternal: false, bytesMax: 1e9, now: 1 }
  return { kind: 'put', digest: hashBlock(bytes), codec: codecRaw, bytes, size: bytes.length, ...rest }
}

async function put(bytes: Uint8Array): Promise<Uint8Array> {
  const { digest, codec, references } = putOf(bytes)
  await store.put({ digest, codec, bytes, references, enforceQuota: true })
  return digest
}

const large = 200_000

function noise(size = large): Uint8Array {
  return new Uint8Array(randomBytes(size))
}

/** Opens the writer's end of a stopped store. */
function openApplier(): { applier: Applier; database: DatabaseSync; end: () => void } {
  const database = openWriter(path, key)
  const packs = new Packs(database, path, key)
  const end = (): void => {
    database.close()
    packs.close()
  }
  return { applier: new Applier(database, key, packs), database, end }
}

test('from its size on a block lies in a pack, and is read from it, now and after a start', async () => {
  const least = noise(packedBytesMin - 28)
  const below = least.slice(1)
  await put(below)
  expect(packed()).toHaveLength(0)
  const blocks = [least, noise(65_536), noise(65_537), noise(1_000_000), noise(2 * 1024 * 1024)]
  const digests = await Promise.all(blocks.map(put))
  const lengths = recordsIn(1, { journals: false }).map(({ length }) => length)
  expect(lengths.toSorted()).toEqual(blocks.map(({ length }) => length + 28).toSorted())
  const size = packed().length
  for (let round = 0; round < 2; round++) {
    for (const [index, digest] of digests.entries()) {
      expect(Buffer.compare((await store.get(digest)) as Uint8Array, blocks[index] as Uint8Array)).toBe(0)
    }
    expect(await store.get(hashBlock(below))).toEqual(Buffer.from(below))
    await reopen()
    expect(packed()).toHaveLength(size)
  }
  expect(damaged).toEqual([])
})

test('of a block that is given up no byte is left, and one that is put again at once is there', async () => {
  const bytes = noise()
  const digest = await put(bytes)
  const first = placeOf(digest)
  const released = store.release(digest, account, { at: 2, force: true })
  const references = [{ account, at: 3, pin: 0 }]
  const again = store.put({ digest, codec: codecRaw, bytes, references, enforceQuota: true })
  expect([(await released).deleted, await again]).toEqual([1, true])
  const second = placeOf(digest)
  expect(second.from).toBeGreaterThanOrEqual(first.to + recordHeadBytes)
  expect(packed().includes(first.sealed.subarray(0, 64))).toBe(false)
  expect(await store.get(digest)).toEqual(Buffer.from(bytes))
  await store.release(digest, account, { at: 4, force: true })
  expect(isZero(packed().subarray(second.from, second.to))).toBe(true)
  expect([await store.get(digest), damaged]).toEqual([undefined, []])
})

test('bytes that a crash kept from being overwritten are overwritten by the next start', async () => {
  const [gone, kept] = [await put(noise()), await put(noise())]
  const place = placeOf(gone)
  await store.release(gone, account, { at: 2, force: true })
  await store.close()
  // As if the process had died between the commit and the overwriting.
  const file = readFileSync(place.file)
  file.set(place.sealed, place.from)
  writeFileSync(place.file, file)
  store = await open()
  expect(isZero(readFileSync(place.file).subarray(place.from, place.to))).toBe(true)
  expect(await store.get(kept)).toBeDefined()
  // It is written down until the next transaction, and no longer.
  await put(noise())
  const database = new DatabaseSync(path, { readOnly: true })
  expect(database.prepare('SELECT count(*) AS count FROM wipe').get()).toEqual({ count: 0 })
  database.close()
})

test.each(['flip', 'cut', 'gone', 'cut while away', 'gone while away'] as const)(
  'a pack that was hurt (%s) is damaged once for each block, which can be put again',
  async (hurt) => {
    const [bytes, other] = [noise(), noise()]
    const [digest, after] = [await put(bytes), await put(other)]
    const { file, from } = placeOf(digest)
    if (hurt.endsWith('away')) await store.close()
    const content = readFileSync(file)
    content[from + 100_000] = (content[from + 100_000] as number) ^ 1
    if (hurt === 'flip') writeFileSync(file, content)
    else if (hurt.startsWith('cut')) truncateSync(file, from + 1000)
    else rmSync(file)
    if (hurt.endsWith('away')) store = await open()
    expect(await Promise.all([store.get(digest), store.get(digest)])).toEqual([undefined, undefined])
    if (hurt === 'flip') expect(await store.get(after)).toEqual(Buffer.from(other))
    else expect(await store.get(after)).toBeUndefined()
    expect(damaged).toHaveLength(hurt === 'flip' ? 1 : 2)
    if (hurt === 'gone') await reopen()
    await put(bytes)
    await put(other)
    expect(await store.get(digest)).toEqual(Buffer.from(bytes))
    expect(await store.get(after)).toEqual(Buffer.from(other))
    await store.release(digest, account, { at: 9, force: true })
  },
)

test('a start cuts off what did not come to its commit, and removes packs without a row', async () => {
  const bytes = noise()
  const digest = await put(bytes)
  const { file } = placeOf(digest)
  const { length } = packed()
  await store.close()
  appendFileSync(file, noise())
  const stray = packPathOf(packsFolderOf(path), 7)
  writeFileSync(stray, 'half')
  store = await open()
  expect([readFileSync(file).length, existsSync(stray)]).toEqual([length, false])
  expect(await store.get(digest)).toEqual(Buffer.from(bytes))
  const next = await put(noise())
  expect(placeOf(next).from).toBe(length + recordHeadBytes)
})

test('what is refused, or ends with its transaction, leaves neither row nor bytes; what was there stays', async () => {
  const kept = noise()
  const digest = await put(kept)
  const to = packed().length
  await store.close()
  const { applier, database, end } = openApplier()
  const bytes = noise()
  // The row cannot be written: the record was, and goes again; the next one takes its place.
  database.exec(
    "CREATE TRIGGER no_more BEFORE INSERT ON block WHEN new.size = 200000 BEGIN SELECT RAISE(ABORT, 'no'); END",
  )
  const small = noise(50_000)
  const outcomes = applier.applyGroup([putOf(bytes), putOf(small)])
  expect(outcomes).toEqual([
    { ok: false, code: 'ERR_STORE_FAILED' },
    { ok: true, changed: true, deleted: 0 },
  ])
  database.exec('DROP TRIGGER no_more')
  const end1 = to + recordHeadBytes + 50_028
  expect(packed()).toHaveLength(end1)
  // The transaction as a whole fails after one block was written and another given up.
  database.exec("CREATE TRIGGER no_end BEFORE UPDATE ON handoff BEGIN SELECT RAISE(ROLLBACK, 'no'); END")
  database.exec("INSERT INTO handoff VALUES (1, 1, x'00', x'00', x'00', 1, 0, 1, NULL)")
  const release = { kind: 'release', digest, account, at: 9, force: true } as const
  const failing = { kind: 'handoff-retry', id: 1, nextAt: 5 } as const
  expect(() => applier.applyGroup([putOf(bytes), release, failing])).toThrow()
  database.exec('DROP TRIGGER no_end')
  expect(packed()).toHaveLength(end1)
  expect(applier.applyGroup([putOf(bytes)])).toEqual([{ ok: true, changed: true, deleted: 0 }])
  end()
  store = await open()
  expect(await store.get(digest)).toEqual(Buffer.from(kept))
  expect(await store.get(hashBlock(small))).toEqual(Buffer.from(small))
  expect(await store.get(hashBlock(bytes))).toEqual(Buffer.from(bytes))
})

test('a full pack is followed by another; one of which half is gone is copied away, and all that is left is there', async () => {
  const blocks = Array.from({ length: 36 }, () => noise(2 * 1024 * 1024))
  const digests: Uint8Array[] = []
  for (const block of blocks) digests.push(await put(block))
  const names = (): string[] => readdirSync(packsFolderOf(path))
  expect(names()).toEqual(['1', '2'])
  const away = digests.slice(0, 20)
  for (const digest of away) await store.release(digest, account, { at: 9, force: true })
  expect(names()).toEqual(['1', '2'])
  await store.sweep(1, 0, 0)
  expect(names()).toEqual(['2'])
  for (const [index, digest] of digests.entries()) {
    const found = await store.get(digest)
    if (index < 20) expect(found).toBeUndefined()
    else expect(Buffer.compare(found as Uint8Array, blocks[index] as Uint8Array)).toBe(0)
  }
  await reopen()
  const last = digests.at(-1) as Uint8Array
  expect(await store.get(last)).toBeDefined()
  expect(damaged).toEqual([])
  // The newest one stays, so that no number comes again.
  for (const digest of digests.slice(20)) await store.release(digest, account, { at: 9, force: true })
  await store.sweep(1, 0, 0)
  expect(names()).toEqual(['2'])
  const left = recordsIn(2, { journals: false })
  expect(left.length).toBeGreaterThan(0)
  for (const { offset } of left) {
    expect(isZero(packed().subarray(offset + recordHeadBytes, offset + recordHeadBytes + 1000))).toBe(true)
  }
}, 60_000)

test('files of single blocks are taken into packs, and are gone; what had no row goes too', async () => {
  const [bytes, other] = [noise(), noise()]
  const digest = hashBlock(bytes)
  await store.close()
  const folderOf = `${path}-large`
  mkdirSync(folderOf)
  const mark = new Uint8Array(8).fill(5)
  const sealed = sealAtRest(key, digest, bytes)
  const name = `${Buffer.from(digest).toString('hex')}.${'05'.repeat(8)}`
  writeFileSync(join(folderOf, name), sealed)
  writeFileSync(join(folderOf, `${Buffer.from(hashBlock(other)).toString('hex')}.${'06'.repeat(8)}`), 'half')
  const database = new DatabaseSync(path)
  const insert = database.prepare('INSERT INTO block (digest, codec, size, stored_at, sealed) VALUES (?, 85, ?, 1, ?)')
  insert.run(digest, bytes.length, mark)
  database.close()
  store = await open()
  expect(await store.get(digest)).toEqual(Buffer.from(bytes))
  expect([existsSync(folderOf), placeOf(digest).sealed]).toEqual([false, Buffer.from(sealed)])
  // What somebody else put there keeps the folder, and no start from succeeding.
  await store.close()
  mkdirSync(folderOf)
  writeFileSync(join(folderOf, 'note.txt'), 'kept')
  store = await open()
  expect(readdirSync(folderOf)).toEqual(['note.txt'])
})

test('rows that version 2 wrote in place are read as before; tables of a newer version are left alone', async () => {
  const bytes = noise()
  const digest = hashBlock(bytes)
  await store.close()
  const database = new DatabaseSync(path)
  const insert = database.prepare('INSERT INTO block (digest, codec, size, stored_at, sealed) VALUES (?, 85, ?, 1, ?)')
  insert.run(digest, bytes.length, sealAtRest(key, digest, bytes))
  database.exec('PRAGMA user_version=9')
  expect(() => openWriter(path, key)).toThrow(/version 9/)
  expect(database.prepare('PRAGMA user_version').get()).toEqual({ user_version: 9 })
  database.exec(references4)
  database.exec('ALTER TABLE tombstone DROP COLUMN root; PRAGMA user_version=2')
  database.close()
  store = await open()
  expect(await store.get(digest)).toEqual(Buffer.from(bytes))
})

test('a pack that cannot be overwritten fails nothing that is committed, and goes with a later start', async () => {
  const bytes = noise()
  const first = await put(bytes)
  await store.close()
  const pack = packPathOf(packsFolderOf(path), 1)
  const packBytesMax = 64 * 1024 * 1024
  truncateSync(pack, packBytesMax)
  const database = new DatabaseSync(path)
  database.exec(`UPDATE pack SET bytes = ${packBytesMax}`)
  database.close()
  store = await open()
  const second = await put(noise())
  // What cannot be flushed, as a disk that has failed.
  renameSync(pack, `${path}-aside`)
  symlinkSync('/dev/full', pack)
  expect((await store.release(first, account, { at: 9, force: true })).deleted).toBe(1)
  expect([store.has(first), store.has(second), store.has(await put(noise()))]).toEqual([false, true, true])
  await reopen()
  expect(await store.get(second)).toBeDefined()
  expect(readdirSync(packsFolderOf(path))).toEqual(['1', '2'])
  renameSync(`${path}-aside`, pack)
  await reopen()
  expect(readdirSync(packsFolderOf(path))).toEqual(['2'])
})
