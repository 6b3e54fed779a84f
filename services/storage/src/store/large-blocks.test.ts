import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { sealAtRest } from './at-rest.ts'
import { codecRaw, hashBlock } from './block-id.ts'
import { BlockStore } from './block-store.ts'
import { LargeBlocks, largeBytesMin, largeFolderOf } from './large-blocks.ts'
import { Applier, type Operation } from './operations.ts'
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

function files(): string[] {
  return readdirSync(largeFolderOf(path))
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

test('from its size on a block has a file, and is read from it, now and after a start', async () => {
  const least = new Uint8Array(randomBytes(largeBytesMin - 28))
  const below = least.slice(1)
  await put(below)
  expect(files()).toEqual([])
  const digest = await put(least)
  expect(files()).toHaveLength(1)
  expect(await store.get(digest)).toEqual(Buffer.from(least))
  await reopen()
  expect(await store.get(digest)).toEqual(Buffer.from(least))
  expect(await store.get(hashBlock(below))).toEqual(Buffer.from(below))
  expect(damaged).toEqual([])
})

test('a block that is given up leaves no file, and one that is put again at once is there', async () => {
  const bytes = new Uint8Array(randomBytes(200_000))
  const digest = await put(bytes)
  const released = store.release(digest, account, { at: 2, force: true })
  const again = store.put({
    digest,
    codec: codecRaw,
    bytes,
    references: [{ account, at: 3, pin: 0 }],
    enforceQuota: true,
  })
  expect([(await released).deleted, await again]).toEqual([1, true])
  expect(files()).toHaveLength(1)
  expect(await store.get(digest)).toEqual(Buffer.from(bytes))
  await store.release(digest, account, { at: 4, force: true })
  expect(files()).toEqual([])
  expect([await store.get(digest), damaged]).toEqual([undefined, []])
})

test('a file that was changed, cut or taken away counts as damaged once, and the block can be put again', async () => {
  for (const hurt of ['flip', 'cut', 'gone'] as const) {
    const bytes = new Uint8Array(randomBytes(200_000))
    const digest = await put(bytes)
    const [name = ''] = files()
    const file = join(largeFolderOf(path), name)
    const content = readFileSync(file)
    content[100_000] = (content[100_000] as number) ^ 1
    if (hurt === 'gone') rmSync(file)
    else writeFileSync(file, hurt === 'cut' ? content.subarray(0, 1000) : content)
    const answers = await Promise.all([store.get(digest), store.get(digest)])
    expect([hurt, ...answers]).toEqual([hurt, undefined, undefined])
    expect(files()).toEqual([])
    await put(bytes)
    expect(await store.get(digest)).toEqual(Buffer.from(bytes))
    await store.release(digest, account, { at: 9, force: true })
  }
  expect(damaged).toHaveLength(3)
})

test('a start removes the files of transactions that did not come to their commit, and no others', async () => {
  const bytes = new Uint8Array(randomBytes(200_000))
  const digest = await put(bytes)
  const [name = ''] = files()
  await store.close()
  const folderOfFiles = largeFolderOf(path)
  // Another block's, and a second file of the block that is there.
  writeFileSync(join(folderOfFiles, `${'ab'.repeat(32)}.${'cd'.repeat(8)}`), 'half')
  writeFileSync(join(folderOfFiles, `${name.slice(0, 64)}.${'cd'.repeat(8)}`), 'half')
  store = await open()
  expect(files()).toEqual([name])
  expect(await store.get(digest)).toEqual(Buffer.from(bytes))
})

test('what is refused, or ends with its transaction, leaves neither row nor file; what was there stays', async () => {
  const kept = new Uint8Array(randomBytes(200_000))
  const digest = await put(kept)
  await store.close()
  const database = openWriter(path, key)
  const large = new LargeBlocks(largeFolderOf(path))
  const applier = new Applier(database, key, large)
  const bytes = new Uint8Array(randomBytes(200_000))
  // The row cannot be written: the file was, and goes again.
  database.exec("CREATE TRIGGER no_more BEFORE INSERT ON block BEGIN SELECT RAISE(ABORT, 'no'); END")
  expect(applier.applyGroup([putOf(bytes)])).toEqual([{ ok: false, code: 'ERR_STORE_FAILED' }])
  database.exec('DROP TRIGGER no_more')
  expect(files()).toHaveLength(1)
  // The transaction as a whole fails after one block was written and another given up.
  database.exec("CREATE TRIGGER no_end BEFORE UPDATE ON handoff BEGIN SELECT RAISE(ROLLBACK, 'no'); END")
  database.exec("INSERT INTO handoff VALUES (1, 1, x'00', x'00', x'00', 1, 0, 1)")
  const release = { kind: 'release', digest, account, at: 9, force: true } as const
  const failing = { kind: 'handoff-retry', id: 1, nextAt: 5 } as const
  expect(() => applier.applyGroup([putOf(bytes), release, failing])).toThrow()
  database.exec('DROP TRIGGER no_end')
  expect(files()).toHaveLength(1)
  database.close()
  large.close()
  store = await open()
  expect(await store.get(digest)).toEqual(Buffer.from(kept))
  expect(await store.get(hashBlock(bytes))).toBeUndefined()
})

test('files of rows that version 2 wrote in place are read as before', async () => {
  const bytes = new Uint8Array(randomBytes(200_000))
  const digest = hashBlock(bytes)
  await store.close()
  const database = new DatabaseSync(path)
  const insert = database.prepare('INSERT INTO block (digest, codec, size, stored_at, sealed) VALUES (?, 85, ?, 1, ?)')
  insert.run(digest, bytes.length, sealAtRest(key, digest, bytes))
  database.close()
  store = await open()
  expect(await store.get(digest)).toEqual(Buffer.from(bytes))
})
