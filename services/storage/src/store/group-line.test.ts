import { randomBytes } from 'node:crypto'
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Applier } from './applier.ts'
import { codecRaw, hashBlock } from './block-id.ts'
import { BlockStore } from './block-store.ts'
import { GroupLine } from './group-line.ts'
import { LogSync } from './log-sync.ts'
import type { Operation, Outcome, PutOperation } from './operations.ts'
import { recordsOf } from './pack-files.ts'
import { isJournal } from './pack-journal.ts'
import { packPathOf, packsFolderOf, recordHeadBytes } from './pack-place.ts'
import { Packs } from './packs.ts'
import { openWriter } from './schema.ts'

/** Of the disk: how the next syncs fail, each told of once, as Linux does. */
const failures = vi.hoisted(() => ({ later: [] as Error[], now: [] as Error[] }))
/** Files that were synced beside the thread, by their numbers on the disk, and what has syncs wait. */
const syncs = vi.hoisted(() => ({ files: [] as number[], until: undefined as Promise<unknown> | undefined }))

vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>()
  const fdatasync = (file: number, done: (error: Error | null) => void): void => {
    const failure = failures.later.shift()
    syncs.files.push(fs.fstatSync(file).ino)
    if (failure !== undefined) setImmediate(done, failure)
    else if (syncs.until === undefined) fs.fdatasync(file, done)
    else void syncs.until.then(() => fs.fdatasync(file, done))
  }
  const fdatasyncSync = (file: number): void => {
    const failure = failures.now.shift()
    if (failure !== undefined) throw failure
    fs.fdatasyncSync(file)
  }
  return { ...fs, fdatasync, fdatasyncSync }
})

const key = new Uint8Array(32).fill(9)
const account = new Uint8Array(32).fill(1)
const large = 100_000
const stored: Outcome = { ok: true, changed: true, deleted: 0 }
let folder: string
let path: string
let database: DatabaseSync
let packs: Packs
let log: LogSync
let line: GroupLine
let failed: Error[]
let answers: { operations: readonly Operation[]; outcomes: Outcome[] | Error }[]

function open(): void {
  database = openWriter(path, key)
  packs = new Packs(database, path, key)
  answers = []
  failed = []
  failures.later = []
  syncs.files = []
  syncs.until = undefined
  const applier = new Applier(database, key, packs)
  log = new LogSync(database, path, (error) => failed.push(error))
  line = new GroupLine({
    ...{ database, key, packs, applier, log },
    answer: (operations, outcomes) => answers.push({ operations: [...operations], outcomes }),
  })
}

function close(): void {
  database.close()
  packs.close()
  log.close()
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'storage-line-'))
  path = join(folder, 'blocks.db')
  open()
})

afterEach(() => {
  close()
  rmSync(folder, { recursive: true })
})

function putOf(size: number, accountBytesMax = 1e9): PutOperation {
  const bytes = new Uint8Array(randomBytes(size))
  const references = [{ account, at: 1, pin: 0 }]
  const rest = { references, handoff: [], handoffDelayMs: 0, isExternal: false, bytesMax: 1e9, accountBytesMax, now: 1 }
  return { kind: 'put', digest: hashBlock(bytes), codec: codecRaw, bytes, size, ...rest }
}

async function answered(count: number): Promise<Operation[]> {
  await expect.poll(() => answers.reduce((sum, { operations }) => sum + operations.length, 0)).toBe(count)
  return answers.flatMap(({ operations }) => [...operations])
}

function packed(): Buffer {
  const folderOf = packsFolderOf(path)
  return Buffer.concat(readdirSync(folderOf).map((name) => readFileSync(join(folderOf, name))))
}

/** Of the blocks in the one pack, which are overwritten. */
function overwritten(): boolean[] {
  const bytes = packed()
  const records = [...recordsOf(packPathOf(packsFolderOf(path), 1), { from: 0, to: bytes.length })]
  return records
    .filter(({ digest }) => !isJournal(digest))
    .map(({ offset, length }) =>
      bytes.subarray(offset + recordHeadBytes, offset + recordHeadBytes + length).every((byte) => byte === 0),
    )
}

/** How the last commit became durable: by itself, by a sync of the log after it, or by that of the packs. */
function syncedBy(): string {
  if (database.prepare('PRAGMA synchronous').get()?.synchronous === 2) return 'itself'
  return syncs.files.includes(statSync(`${path}-wal`).ino) ? 'log' : 'packs'
}

/** Starts the store anew, as whoever reads from it does. */
async function readAll(puts: readonly PutOperation[]): Promise<boolean[]> {
  close()
  const store = new BlockStore({
    ...{ path, key, bytesMax: 1e9, accountBytesMax: 1e9, node: account, now: Date.now },
    onCorrupt: () => {},
    onFatal: () => {},
  })
  await store.open()
  const found: boolean[] = []
  for (const { digest, bytes } of puts) {
    found.push(Buffer.compare((await store.get(digest)) ?? new Uint8Array(0), bytes) === 0)
  }
  await store.close()
  open()
  return found
}

test('groups are answered in their order; what comes while blocks are synced shares the next transaction', async () => {
  const puts = [large, large, 500, large, 500].map((size) => putOf(size))
  for (const put of puts) line.add([put])
  expect(answers).toEqual([])
  expect(await answered(5)).toEqual(puts)
  expect(answers.map(({ outcomes }) => outcomes)).toEqual([[stored], [stored, stored, stored, stored]])
  expect(await readAll(puts)).toEqual(puts.map(() => true))
})

test('what comes ahead of the rest of its group is written down at once, and shares the transaction of the rest', async () => {
  const puts = Array.from({ length: 4 }, () => putOf(large))
  const [first, second, third, last] = puts as [PutOperation, PutOperation, PutOperation, PutOperation]
  line.add([first, second], true)
  line.add([third], true)
  expect(overwritten()).toEqual([false, false, false])
  line.add([last])
  expect(await answered(4)).toEqual(puts)
  expect(answers.map(({ outcomes }) => outcomes)).toEqual([puts.map(() => stored)])
  // Nothing else may come in the same turn: then it is told that this was all.
  const alone = putOf(large)
  line.add([alone], true)
  line.complete()
  await answered(5)
  expect(await readAll([...puts, alone])).toEqual([true, true, true, true, true])
})

test('of a block that comes twice at once, or is over the quota, no second copy is left', async () => {
  const put = putOf(large)
  line.add([put, putOf(large, large), { ...put }])
  await answered(3)
  const refused: Outcome = { ok: false, code: 'ERR_QUOTA_EXCEEDED' }
  expect(answers[0]?.outcomes).toEqual([stored, refused, { ...stored, changed: false }])
  expect(overwritten()).toEqual([false, true, true])
  expect(await readAll([put])).toEqual([true])
})

test('of a transaction that fails as a whole nothing is left, and those that wait behind it are stored', async () => {
  database.exec(
    `CREATE TRIGGER no_more BEFORE INSERT ON block WHEN new.codec = 113 BEGIN SELECT RAISE(ROLLBACK, 'no'); END`,
  )
  const [failing, next, last] = [{ ...putOf(large), codec: 113 }, putOf(large), putOf(large)]
  line.add([failing])
  line.add([next])
  await answered(2)
  expect(answers.map(({ outcomes }) => outcomes instanceof Error)).toEqual([true, false])
  expect(overwritten()).toEqual([true, false])
  // With nothing behind it, its records go from the end.
  line.add([{ ...putOf(large), codec: 113 }])
  await answered(3)
  expect(overwritten()).toEqual([true, false])
  line.add([last])
  await answered(4)
  expect(overwritten()).toEqual([true, false, false])
  expect(await readAll([failing, next, last])).toEqual([false, true, true])
  expect(database.prepare('SELECT count(*) AS count FROM wipe').get()?.count).toBe(0)
})

test('what cannot even begin leaves nothing, and the next one is stored in its place', async () => {
  const [failing, next] = [putOf(large), putOf(large)]
  const other = new DatabaseSync(path)
  other.exec('BEGIN IMMEDIATE')
  database.exec('PRAGMA busy_timeout=0')
  line.add([failing])
  await answered(1)
  other.close()
  expect(answers[0]?.outcomes).toBeInstanceOf(Error)
  expect(overwritten()).toEqual([])
  line.add([next])
  await answered(2)
  expect(overwritten()).toEqual([false])
  expect(await readAll([failing, next])).toEqual([false, true])
})

test('a commit is synced by itself only if something is overwritten after it, and the log only if no journal has all of it', async () => {
  const [put, plain] = [putOf(large), putOf(500)]
  const tell = { kind: 'cursor', name: 'a', value: new Uint8Array(1) } as const
  const steps: [Operation[], string][] = [
    [[put], 'packs'],
    [[plain], 'log'],
    [[putOf(large), putOf(large)], 'packs'],
    [[putOf(large), putOf(500)], 'log'],
    [[putOf(large)], 'packs'],
    // Here already; with an incident; what may remove bytes, or is not known to; and what is refused, so that its bytes are overwritten.
    [[{ ...put }], 'log'],
    [[{ ...putOf(large), incident: { at: 1, kind: 'block-healed', digest: account, node: account } }], 'log'],
    [[putOf(large)], 'packs'],
    [[tell], 'itself'],
    [[putOf(large)], 'packs'],
    [[{ kind: 'release', digest: plain.digest, account, at: 2, force: true }], 'itself'],
    [[putOf(500)], 'log'],
    [[putOf(large, large)], 'itself'],
  ]
  let count = 0
  for (const [operations, expected] of steps) {
    syncs.files = []
    line.add(operations)
    count += operations.length
    await answered(count)
    expect([operations, syncedBy()]).toEqual([operations, expected])
  }
})

test('nobody is answered before the log is synced; the next groups are applied meanwhile, but not one that is synced by itself', async () => {
  const [first, second, journaled] = [putOf(500), putOf(500), putOf(large)]
  const tell = { kind: 'cursor', name: 'a', value: new Uint8Array(1) } as const
  const held = Promise.withResolvers<void>()
  syncs.until = held.promise
  line.add([first])
  line.add([second])
  line.add([tell])
  const count = (table: string): unknown => database.prepare(`SELECT count(*) AS count FROM ${table}`).get()?.count
  expect([answers, count('block'), count('cursor')]).toEqual([[], 2, 0])
  syncs.until = undefined
  held.resolve()
  line.add([journaled])
  expect(await answered(4)).toEqual([first, second, tell, journaled])
  expect([count('block'), count('cursor')]).toEqual([3, 1])
  expect(failed).toEqual([])
})

test('if the log cannot be synced nobody is told that anything is stored, and nothing is any more', async () => {
  failures.later.push(new Error('EIO'))
  line.add([putOf(500)])
  // In the log behind it: a sync that succeeds says nothing of what lies before.
  line.add([putOf(500)])
  await answered(2)
  for (const size of [500, large]) line.add([putOf(size)])
  await answered(4)
  expect(answers.map(({ outcomes }) => outcomes)).toEqual(answers.map(() => new Error('EIO')))
  expect(failed[0]).toEqual(new Error('EIO'))
  expect(database.prepare('SELECT count(*) AS count FROM block').get()?.count).toBe(2)
})

test('what is in the log at a start is written back: the process before may have ended because it could not be synced', async () => {
  line.add([putOf(500)])
  await answered(1)
  const copy = join(folder, 'copy.db')
  for (const end of ['', '-wal']) copyFileSync(path + end, copy + end)
  expect(statSync(`${copy}-wal`).size).toBeGreaterThan(0)
  const again = new DatabaseSync(copy)
  const other = new LogSync(again, copy, () => {})
  expect(statSync(`${copy}-wal`).size).toBe(0)
  expect(again.prepare('SELECT count(*) AS count FROM block').get()?.count).toBe(1)
  other.close()
  again.close()
})

test('a crash leaves nothing of what was written ahead, over the end of a pack too', async () => {
  const kept = putOf(large)
  line.add([kept])
  await answered(1)
  const committed = packed().length
  const piece = new Uint8Array(2 * 1024 * 1024).fill(7)
  for (let count = 0; count < 34; count++) packs.stage(new Uint8Array(32).fill(count), piece.length, [piece.slice()])
  expect(readdirSync(packsFolderOf(path))).toEqual(['1', '2'])
  close()
  open()
  expect(readdirSync(packsFolderOf(path))).toEqual(['1'])
  expect(packed()).toHaveLength(committed)
  expect(await readAll([kept])).toEqual([true])
})

test('records that were given up at the end of a pack are overwritten by what follows in the next one', async () => {
  const piece = new Uint8Array(2 * 1024 * 1024).fill(7)
  const dropped = Array.from({ length: 32 }, (_, count) =>
    packs.stage(new Uint8Array(32).fill(count), piece.length, [piece.slice()]),
  )
  const put = putOf(large)
  line.add([put])
  packs.drop(dropped)
  await answered(1)
  expect(readdirSync(packsFolderOf(path))).toEqual(['2'])
  expect(await readAll([put])).toEqual([true])
})

test('what was written before a sync failed is not stored by the next one, which says nothing of it', async () => {
  const [first, ahead, next] = [putOf(large), putOf(large), putOf(large)]
  failures.later.push(new Error('EIO'))
  line.add([first])
  // Written while that sync is under way.
  line.add([ahead])
  await answered(2)
  expect(answers.map(({ outcomes }) => outcomes)).toEqual([new Error('EIO'), new Error('EIO')])
  line.add([next])
  await answered(3)
  expect(answers[2]?.outcomes).toEqual([stored])
  expect(await readAll([first, ahead, next])).toEqual([false, false, true])
})

test('a pack that is full and cannot be synced has nothing stored of the group at its end', async () => {
  const piece = new Uint8Array(2 * 1024 * 1024).fill(7)
  const before = Array.from({ length: 31 }, (_, count) =>
    packs.stage(new Uint8Array(32).fill(count), piece.length, [piece.slice()]),
  )
  const [last, other, next] = [putOf(2 * 1024 * 1024), putOf(large), putOf(large)]
  failures.now.push(new Error('EIO'))
  line.add([last, other])
  packs.drop(before)
  await answered(2)
  expect(answers.map(({ outcomes }) => outcomes)).toEqual([new Error('EIO')])
  line.add([next])
  await answered(3)
  expect(await readAll([last, other, next])).toEqual([false, false, true])
})
