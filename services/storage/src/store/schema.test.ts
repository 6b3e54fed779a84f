import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { payloadKinds, sealPayload } from '@healthblock/crypto/payload'
import { afterAll, expect, test } from 'vitest'
import { parseWord } from '../replication/erasure-word.ts'
import { sealAtRest } from './at-rest.ts'
import { codecRaw, hashBlock } from './block-id.ts'
import { BlockStore } from './block-store.ts'
import { handoffKinds } from './operations.ts'
import { references4 } from './schema.fixture.ts'
import { openWriter, schemaVersion } from './schema.ts'

const folder = mkdtempSync(join(tmpdir(), 'storage-schema-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** The tables that version 1 had and version 2 changed. */
const tables1 = `
CREATE TABLE block (
  id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, codec INTEGER NOT NULL, size INTEGER NOT NULL, stored_at INTEGER NOT NULL,
  owner BLOB, writer BLOB, sealed BLOB NOT NULL
) STRICT;
CREATE TABLE tombstone (digest BLOB PRIMARY KEY, owner BLOB NOT NULL, at INTEGER NOT NULL, remove_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE total (one INTEGER PRIMARY KEY CHECK (one = 1), bytes INTEGER NOT NULL, blocks INTEGER NOT NULL) STRICT;
PRAGMA user_version = 1;
`
const key = new Uint8Array(randomBytes(32))
const owner = new Uint8Array(32).fill(3)
const stream = new Uint8Array(8).fill(4)

function record(sequence: number): Uint8Array {
  const fields = { ledgerId: new Uint8Array(32), owner, writer: owner, stream, generation: 1, epoch: 2, sequence }
  const sealing = { epochKey: new Uint8Array(32), plaintext: new Uint8Array(100), sizeBytes: 1024 }
  return sealPayload({ kind: payloadKinds.data, ...fields, ...sealing }).block
}

/** A file as a node of version 1 left it: three records, a plain block, and two tombstones. */
function writeVersion1(path: string): { records: Uint8Array[]; plain: Uint8Array } {
  const database = new DatabaseSync(path)
  database.exec(tables1)
  const add = database.prepare(
    'INSERT INTO block (digest, codec, size, stored_at, owner, writer, sealed) VALUES (?, ?, ?, 1, ?, ?, ?)',
  )
  const records = [7, 8, 2 ** 40].map(record)
  const plain = new Uint8Array(randomBytes(50))
  for (const bytes of [...records, plain]) {
    const digest = hashBlock(bytes)
    const by = bytes === plain ? null : owner
    add.run(digest, codecRaw, bytes.length, by, by, sealAtRest(key, digest, bytes))
  }
  database.prepare('INSERT INTO total VALUES (1, ?, 4)').run(3 * 1024 + 50)
  const erase = database.prepare('INSERT INTO tombstone VALUES (?, ?, ?, ?)')
  for (const at of [5, 6]) erase.run(new Uint8Array(32).fill(at), owner, at, at + 10)
  database.close()
  return { records, plain }
}

async function open(path: string): Promise<BlockStore> {
  const store = new BlockStore({
    ...{ path, key, bytesMax: 1e9, accountBytesMax: 1e9, node: new Uint8Array(32), now: () => 1 },
    onCorrupt: () => {},
    onFatal: () => {},
  })
  await store.open()
  return store
}

test('a file of version 1 is brought up to date: records are found by number, tombstones have an order, all is there', async () => {
  const path = join(folder, 'one.db')
  const { records, plain } = writeVersion1(path)
  // Twice: what was brought up to date is not touched again.
  for (let round = 0; round < 2; round++) {
    const store = await open(path)
    const found = store.recordsOf({ owner, stream, first: 8, last: 2 ** 40, at: 0, removeAt: 0 })
    expect(found.map(({ digest }) => digest)).toEqual(records.slice(1).map(hashBlock))
    const tombstones = [5, 6].map((at) => store.tombstone(new Uint8Array(32).fill(at)))
    expect(tombstones).toMatchObject([5, 6].map((at) => ({ owner, at, removeAt: at + 10 })))
    // Nobody proves them: they are told to no other store.
    expect([store.words(0, 10), store.below('tombstones', 0, 10)]).toEqual([[], []])
    for (const bytes of [...records, plain]) expect(await store.get(hashBlock(bytes))).toEqual(Buffer.from(bytes))
    expect(store.totals()).toEqual({ blocks: 4, bytes: 3 * 1024 + 50 })
    await store.close()
  }
})

test("a tombstone of version 3 that a store has yet to hear of is told as this store's own word, others are not", async () => {
  const path = join(folder, 'three.db')
  await (await open(path)).close()
  const database = new DatabaseSync(path)
  database.exec(references4)
  database.exec('DROP TABLE word; DROP TABLE vouch; ALTER TABLE tombstone DROP COLUMN root; PRAGMA user_version=3')
  const erase = database.prepare('INSERT INTO tombstone (digest, owner, at, remove_at) VALUES (?, ?, ?, ?)')
  const digests = [5, 6].map((at) => new Uint8Array(32).fill(at)) as [Uint8Array, Uint8Array]
  for (const digest of digests) erase.run(digest, owner, 7, 8)
  const tell = database.prepare(
    'INSERT INTO handoff (kind, digest, target, account, at, attempts, next_at) VALUES (3, ?, ?, ?, 7, 0, 9)',
  )
  for (const target of digests) tell.run(digests[0], target, owner)
  database.close()
  const store = await open(path)
  expect(digests.map((digest) => store.tombstone(digest)?.removeAt)).toEqual([8, 8])
  const words = store.words(0, 10).map(({ bytes }) => parseWord(bytes))
  expect(words).toMatchObject([{ form: 'stated', id: { digest: digests[0], codec: codecRaw }, account: owner, at: 7 }])
  await store.close()
})

test('references of version 4 get numbers: who keeps what, pins, quotas and what waits to be healed stay as they were', async () => {
  const path = join(folder, 'four.db')
  const [alice, bob] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]
  const blocks = Array.from({ length: 12 }, (_, at) => new Uint8Array(randomBytes(at % 4 === 0 ? 40_000 : 400)))
  const put = (store: BlockStore, at: number, account: Uint8Array, pin: number): Promise<boolean> => {
    const bytes = blocks[at] as Uint8Array
    const references = [{ account, at: at + (account === bob ? 1 : 20), pin }]
    return store.put({ digest: hashBlock(bytes), codec: codecRaw, bytes, references, enforceQuota: true })
  }
  const stateOf = (store: BlockStore): unknown => ({
    references: blocks.map((bytes) => store.references(hashBlock(bytes)).sort((a, b) => a.at - b.at)),
    pins: [alice, bob].map((account) => store.pins(account, new Uint8Array(0), 100)),
    left: [alice, bob].map((account) => store.bytesLeft(account)),
    owners: blocks.map((bytes) => store.ownerOf(hashBlock(bytes))),
  })
  let store = await open(path)
  for (const at of blocks.keys()) await put(store, at, at % 3 === 0 ? bob : alice, at % 3)
  for (const at of [3, 4, 5]) await put(store, at, at === 3 ? alice : bob, 1)
  await store.release(hashBlock(blocks[1] as Uint8Array), alice, { at: 50, force: true })
  // Damaged: set aside, and waiting for a good copy.
  for (const at of [4, 6, 11]) await store.setAside(hashBlock(blocks[at] as Uint8Array))
  const before = stateOf(store)
  await store.close()
  const database = new DatabaseSync(path)
  database.exec(references4)
  database.exec('PRAGMA user_version=4')
  database.close()
  store = await open(path)
  expect(stateOf(store)).toEqual(before)
  const healed = blocks[4] as Uint8Array
  const copy = { digest: hashBlock(healed), codec: codecRaw, bytes: healed, references: [], enforceQuota: false }
  expect(await store.put(copy)).toBe(true)
  expect(await store.get(copy.digest)).toEqual(Buffer.from(healed))
  await store.release(hashBlock(blocks[6] as Uint8Array), bob, { at: 50, force: true })
  const fresh = new Uint8Array(randomBytes(100))
  blocks.push(fresh)
  expect(await put(store, 12, bob, 2)).toBe(true)
  const references = blocks.map((bytes) => store.references(hashBlock(bytes)).length)
  expect(references).toEqual([1, 0, 1, 2, 2, 2, 0, 1, 1, 1, 1, 1, 1])
  await store.close()
  // No number of a block that is gone was given to another.
  const rows = new DatabaseSync(path, { readOnly: true })
  const lone =
    'SELECT count(*) AS n FROM reference WHERE block NOT IN (SELECT id FROM block UNION SELECT block FROM gone)'
  expect(rows.prepare(lone).get()?.n).toBe(0)
  expect(rows.prepare('SELECT count(*) AS n FROM gone').get()?.n).toBe(1)
  rows.close()
})

test('a file of version 5 is taken as it is: version 6 differs in its packs alone', async () => {
  const path = join(folder, 'five.db')
  const [bytes, later] = [new Uint8Array(randomBytes(40_000)), new Uint8Array(randomBytes(40_000))]
  const put = (store: BlockStore, block: Uint8Array): Promise<boolean> => {
    const references = [{ account: owner, at: 1, pin: 1 }]
    return store.put({ digest: hashBlock(block), codec: codecRaw, bytes: block, references, enforceQuota: true })
  }
  let store = await open(path)
  await put(store, bytes)
  await store.close()
  const database = new DatabaseSync(path)
  database.exec('PRAGMA user_version=5')
  database.close()
  store = await open(path)
  expect(await put(store, later)).toBe(true)
  for (const block of [bytes, later]) expect(await store.get(hashBlock(block))).toEqual(Buffer.from(block))
  expect(store.pins(owner, new Uint8Array(0), 10)).toHaveLength(2)
  await store.close()
})

test('a pin of version 6 is as old as its reference, and goes by a word that came after that', async () => {
  const path = join(folder, 'six.db')
  const blocks = [1, 2].map(() => new Uint8Array(randomBytes(100)))
  let store = await open(path)
  for (const [pin, bytes] of blocks.entries()) {
    const references = [{ account: owner, at: 5, pin: pin + 1 }]
    await store.put({ digest: hashBlock(bytes), codec: codecRaw, bytes, references, enforceQuota: true })
  }
  await store.close()
  const database = new DatabaseSync(path)
  const added = ['direct_at', 'recursive_at', 'removed_at', 'again_at'].map(
    (name) => `ALTER TABLE reference DROP COLUMN ${name};`,
  )
  database.exec(
    `DROP INDEX reference_changed; ${added.join('')} ALTER TABLE handoff DROP COLUMN codec; PRAGMA user_version=6`,
  )
  database.close()
  store = await open(path)
  const digests = blocks.map(hashBlock) as [Uint8Array, Uint8Array]
  for (const [pin, digest] of digests.entries()) {
    expect(store.references(digest)).toEqual([{ account: owner, at: 5, pin: pin + 1 }])
    expect(await store.unpin(digest, owner, 4)).toBe(false)
  }
  expect(store.pins(owner, new Uint8Array(0), 10)).toHaveLength(2)
  expect(await store.unpin(digests[1], owner, 6)).toBe(true)
  expect(store.pins(owner, new Uint8Array(0), 10).map(({ digest }) => digest)).toEqual([digests[0]])
  const entry = { digest: digests[0], target: owner, account: owner, at: 1, codec: 0x70 }
  await store.enqueueHandoff({ handoffKind: handoffKinds.direct, ...entry })
  expect(store.handoffsDue(1, 1, owner)).toMatchObject([entry])
  await store.close()
})

test('references of version 7 stay as they are, and get a time when their block is put again; removals are counted', async () => {
  const path = join(folder, 'seven.db')
  const bytes = new Uint8Array(randomBytes(100))
  const digest = hashBlock(bytes)
  const put = (store: BlockStore, at: number, pin: number): Promise<boolean> =>
    store.put({ digest, codec: codecRaw, bytes, references: [{ account: owner, at, pin }], enforceQuota: true })
  let store = await open(path)
  await put(store, 5, 1)
  await store.unpin(digest, owner, 6)
  const pins = { direct: 5, recursive: 0, removed: 6 }
  // Who has given up much, and keeps nothing here, and the owner of a file of which something lay elsewhere.
  const stranger = new Uint8Array(32).fill(9)
  for (let at = 1; at < 4; at++) await store.release(hashBlock(new Uint8Array([at])), stranger, { at, force: true })
  const below = { owner, at: 1, removeAt: 2, root: digest, writer: owner }
  await store.addTombstones([4, 5].map((at) => ({ digest: new Uint8Array(32).fill(at), ...below })))
  const left = [owner, stranger].map((account) => store.removalsLeft(account))
  expect(left.map((count) => Math.floor(1e9 / 256) - count)).toEqual([4, 3])
  await store.close()
  const database = new DatabaseSync(path)
  database.exec(`ALTER TABLE reference DROP COLUMN again_at; ALTER TABLE account DROP COLUMN remembered;
    DELETE FROM account WHERE id NOT IN (SELECT account FROM reference); PRAGMA user_version=7`)
  database.close()
  store = await open(path)
  expect([owner, stranger].map((account) => store.removalsLeft(account))).toEqual(left)
  expect(store.references(digest)).toEqual([{ account: owner, at: 5, pin: 0, pins }])
  await put(store, 9, 0)
  expect(store.references(digest)).toEqual([{ account: owner, at: 5, pin: 0, pins, again: 9 }])
  await store.release(digest, owner, { at: 8, force: true })
  expect(store.references(digest)).toMatchObject([{ account: owner, at: 9 }])
  await store.close()
})

test('tables of version 8 from before stores told when a file was erased are opened, and take that', async () => {
  const path = join(folder, 'eight.db')
  await (await open(path)).close()
  const database = new DatabaseSync(path)
  database.exec('DROP INDEX erasure_at; ALTER TABLE vouch DROP COLUMN at')
  database.close()
  const store = await open(path)
  const [bytes, root] = [new Uint8Array(randomBytes(100)), new Uint8Array(32).fill(8)]
  const digest = hashBlock(bytes)
  const references = [{ account: owner, at: 1, pin: 0 }]
  await store.put({ digest, codec: codecRaw, bytes, references, enforceQuota: true })
  await store.eraseRange({ owner, stream, first: 1, last: 1, at: 5, removeAt: 9 })
  await store.vouch(owner, [{ digest, root, owner, at: 5 }], { storesNeeded: 1, delayMs: 1 })
  expect(store.tombstone(digest)).toMatchObject({ at: 5, removeAt: 9 })
  await store.close()
})

test('the version changes with the tables, in one step: a crash leaves either', () => {
  const path = join(folder, 'step.db')
  writeVersion1(path)
  const versions: unknown[] = []
  const exec = DatabaseSync.prototype.exec
  // Looks at the file with other eyes whenever the migration has done something.
  DatabaseSync.prototype.exec = function (sql: string) {
    exec.call(this, sql)
    const other = new DatabaseSync(path, { readOnly: true })
    const hasStream = other
      .prepare('PRAGMA table_info(block)')
      .all()
      .some(({ name }) => name === 'stream')
    versions.push([other.prepare('PRAGMA user_version').get()?.user_version, hasStream])
    other.close()
  }
  try {
    openWriter(path, key).close()
  } finally {
    DatabaseSync.prototype.exec = exec
  }
  expect(new Set(versions.map(String))).toEqual(new Set(['1,false', `${schemaVersion},true`]))
})
