import { randomBytes } from 'node:crypto'
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { codecDagPb, codecRaw, hashBlock } from './block-id.ts'
import { BlockStore } from './block-store.ts'
import type { PutRequest } from './entries.ts'
import { recordsOf } from './pack-files.ts'
import { isJournal } from './pack-journal.ts'
import { packPathOf, packsFolderOf, recordHeadBytes } from './pack-place.ts'

const key = new Uint8Array(32).fill(9)
const [alice, bob] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]
const accountBytesMax = 1e8
let folder: string
let path: string
let store: BlockStore
let damaged: Uint8Array[]

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'storage-journal-'))
  path = join(folder, 'blocks.db')
  damaged = []
  await open()
})

afterEach(async () => {
  await store.close()
  rmSync(folder, { recursive: true })
})

async function open(): Promise<void> {
  store = new BlockStore({
    ...{ path, key, bytesMax: 1e9, accountBytesMax, node: alice, now: Date.now },
    onCorrupt: (digest) => damaged.push(digest),
    onFatal: (error) => {
      throw error
    },
  })
  await store.open()
}

/** What the disk has when power is lost: the packs as they were synced, the tables as they were at the last commit that waited for it. */
async function losePower(after: () => Promise<void>, hurt: () => void = () => {}): Promise<void> {
  await store.close()
  copyFileSync(path, `${path}-before`)
  await open()
  await after()
  await store.close()
  copyFileSync(`${path}-before`, path)
  hurt()
  await open()
}

function requestOf(size = 100_000, more: Partial<PutRequest> = {}): PutRequest {
  const bytes = new Uint8Array(randomBytes(size))
  const references = [{ account: alice, at: 5, pin: 0 }]
  return { digest: hashBlock(bytes), codec: codecRaw, bytes, references, enforceQuota: true, ...more }
}

/** One after the other, so that each has a journal of its own. */
async function putAll(requests: readonly PutRequest[]): Promise<void> {
  for (const request of requests) expect(await store.put(request)).toBe(true)
}

async function areHere(requests: readonly PutRequest[]): Promise<boolean[]> {
  const found: boolean[] = []
  for (const { digest, bytes } of requests) {
    found.push(Buffer.compare((await store.get(digest)) ?? new Uint8Array(0), bytes) === 0)
  }
  return found
}

function pack(number = 1): string {
  return packPathOf(packsFolderOf(path), number)
}

function records(number = 1): { digest: Uint8Array; offset: number; length: number }[] {
  return [...recordsOf(pack(number), { from: 0, to: statSync(pack(number)).size })]
}

/** Changes one bit of a record. */
function flip({ offset }: { offset: number }): void {
  const content = readFileSync(pack())
  content[offset + recordHeadBytes + 20] = (content[offset + recordHeadBytes + 20] as number) ^ 1
  writeFileSync(pack(), content)
}

test('what was answered is there after a loss of power: bytes, references, pins, header, quota, hand-offs', async () => {
  const header = { owner: alice, writer: bob, stream: new Uint8Array(8).fill(7), sequence: 3 }
  const plain = requestOf()
  const rich = requestOf(200_000, {
    codec: codecDagPb,
    references: [
      { account: alice, at: 5, pin: 0 },
      { account: bob, at: 6, pin: 2 },
    ],
    handoff: [bob],
    ...header,
  })
  const many = Array.from({ length: 40 }, () => requestOf(70_000))
  const old = requestOf()
  await putAll([old])
  const stateOf = (): unknown => ({
    ...{ totals: store.totals(), left: [alice, bob].map((account) => store.bytesLeft(account)) },
    stats: [plain, rich, old].map(({ digest }) => store.stat(digest)),
    references: [plain, rich, old].map(({ digest }) => store.references(digest)),
    ...{ pins: store.pins(bob, new Uint8Array(0), 9), waiting: store.handoffCount() },
  })
  let before: unknown
  await losePower(async () => {
    await putAll([plain, rich])
    await Promise.all(many.map((request) => store.put(request)))
    before = stateOf()
  })
  expect(stateOf()).toEqual(before)
  const all = [old, plain, rich, ...many]
  expect(await areHere(all)).toEqual(all.map(() => true))
  expect(damaged).toEqual([])
  // Once more, with nothing to be put again; and what comes next has its place behind.
  await store.close()
  await open()
  const next = requestOf()
  await putAll([next])
  expect(await areHere([...all, next])).toEqual([...all, next].map(() => true))
  const database = new DatabaseSync(path, { readOnly: true })
  expect(database.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' })
  expect(database.prepare('SELECT bytes FROM pack WHERE number = 1').get()?.bytes).toBe(statSync(pack()).size)
  database.close()
})

test('before the tables have heard of any block, and over the end of a pack, too', async () => {
  const requests = Array.from({ length: 35 }, () => requestOf(2 * 1024 * 1024))
  await losePower(() => putAll(requests))
  expect(readdirSync(packsFolderOf(path))).toEqual(['1', '2'])
  expect(await areHere(requests)).toEqual(requests.map(() => true))
  expect(records(2).filter(({ digest }) => !isJournal(digest)).length).toBeGreaterThan(0)
}, 60_000)

test.each(['its block', 'its journal'])(
  'of a group of which %s did not come to the disk nothing is there, and all before it',
  async (what) => {
    const [first, second] = [requestOf(), requestOf()]
    let whole = 0
    await losePower(
      async () => {
        await putAll([first])
        whole = statSync(pack()).size
        await putAll([second])
      },
      () => flip(records().at(what === 'its block' ? -2 : -1) as { offset: number }),
    )
    expect([store.has(second.digest), store.references(second.digest)]).toEqual([false, []])
    expect([statSync(pack()).size, await areHere([first]), damaged]).toEqual([whole, [true], []])
    await putAll([second])
    expect(await areHere([first, second])).toEqual([true, true])
  },
)

test('a block that was hurt before others that were synced is not forgotten, but found damaged', async () => {
  const [first, second] = [requestOf(), requestOf()]
  await losePower(
    () => putAll([first, second]),
    () => flip(records()[0] as { offset: number }),
  )
  expect(await areHere([first, second])).toEqual([false, true])
  expect(damaged).toEqual([first.digest])
  expect(store.references(first.digest)).toHaveLength(1)
})

test('records between them that no journal has are overwritten', async () => {
  const [first, stray, last] = [requestOf(), requestOf(), requestOf()]
  await losePower(
    () => putAll([first, stray, last]),
    // As if it had been written ahead of a commit that did not come.
    () => flip(records()[3] as { offset: number }),
  )
  expect(await areHere([first, last])).toEqual([true, true])
  expect(store.has(stray.digest)).toBe(false)
  const { offset, length } = records()[2] as { offset: number; length: number }
  const bytes = readFileSync(pack()).subarray(offset + recordHeadBytes, offset + recordHeadBytes + length)
  expect(bytes.every((byte) => byte === 0)).toBe(true)
})

test('a journal counts at its own place alone, and under the key of its store', async () => {
  const [first, second] = [requestOf(), requestOf()]
  await losePower(
    () => putAll([first, second]),
    () => {
      // The second journal is taken away, and the first one comes once more in its place.
      const [, journal, , last] = records() as { offset: number; length: number }[]
      const content = readFileSync(pack())
      const copy = content.subarray(journal?.offset, (journal?.offset ?? 0) + recordHeadBytes + (journal?.length ?? 0))
      writeFileSync(pack(), Buffer.concat([content.subarray(0, last?.offset), copy]))
    },
  )
  expect([store.has(first.digest), store.has(second.digest)]).toEqual([true, false])
})
