/** Groups on their way to the writer's thread, through a store. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { codecRaw, hashBlock } from './block-id.ts'
import { BlockStore } from './block-store.ts'
import { breakLog } from './broken-log.fixture.ts'

const account = new Uint8Array(32).fill(1)
let folder: string
let store: BlockStore
let fatal: Error[]

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'storage-group-'))
  fatal = []
  store = new BlockStore({
    ...{ path: join(folder, 'blocks.db'), key: new Uint8Array(32).fill(9), bytesMax: 1e9, accountBytesMax: 1e9 },
    ...{ node: account, now: Date.now, onCorrupt: () => {}, onFatal: (error) => fatal.push(error) },
  })
  await store.open()
})

afterEach(async () => {
  await store.close()
  rmSync(folder, { recursive: true })
})

function put(bytes: Uint8Array, by = account): Promise<boolean> {
  const references = [{ account: by, at: Date.now(), pin: 0 }]
  return store.put({ digest: hashBlock(bytes), codec: codecRaw, bytes, references, enforceQuota: true })
}

test.each([1, 3, 4, 5, 8, 9])(
  '%i large blocks that come in one turn are stored, none of them left waiting',
  async (count) => {
    const blocks = Array.from({ length: count }, () => new Uint8Array(randomBytes(65_536)))
    expect(await Promise.all(blocks.map((block) => put(block)))).toEqual(blocks.map(() => true))
    for (const block of blocks) {
      expect(Buffer.compare((await store.get(hashBlock(block))) ?? new Uint8Array(0), block)).toBe(0)
    }
  },
)

test('small and large blocks and other changes in one turn are all done', async () => {
  const sizes = [65_536, 500, 65_536, 65_536, 1_048_576, 65_536, 500, 65_536, 20_000, 65_536, 500]
  const blocks = sizes.map((size) => new Uint8Array(randomBytes(size)))
  const digests = blocks.map((block) => hashBlock(block))
  const done = blocks.slice(0, 6).map((block) => put(block)) as Promise<unknown>[]
  done.push(store.setAside(digests[0] as Uint8Array))
  done.push(...blocks.slice(6).map((block) => put(block)))
  await Promise.all(done)
  expect(digests.map((digest) => store.has(digest))).toEqual(digests.map((_, index) => index !== 0))
  // Whatever comes next finds nothing in its way.
  expect(await put(blocks[0] as Uint8Array)).toBe(true)
})

test.each([65_536, 500])(
  'a group of blocks of %i bytes that cannot go to the thread is refused, and nothing else is answered in its place',
  async (size) => {
    const blocks = Array.from({ length: 5 }, () => new Uint8Array(randomBytes(size)))
    // Longer than an account is: the group's message has no room for it.
    const tooLong = new Uint8Array(200)
    const asked = blocks.map((block, index) => put(block, index === 3 ? tooLong : account))
    const states = (await Promise.allSettled(asked)).map(({ status }) => status)
    expect(states.slice(0, 4)).toEqual(states.slice(0, 4).map(() => 'rejected'))
    for (const block of blocks) await put(block)
    for (const block of blocks) {
      expect(Buffer.compare((await store.get(hashBlock(block))) ?? new Uint8Array(0), block)).toBe(0)
    }
  },
)

test('what is settled is answered: until then a block may be seen that is not durable yet', async () => {
  let isStored = false
  const asked = put(new Uint8Array(randomBytes(500))).then(() => {
    isStored = true
  })
  const turn = (): Promise<unknown> => new Promise((resolve) => setImmediate(resolve))
  // At the end of the turn it goes to the thread.
  await turn()
  await store.settled()
  await turn()
  expect(isStored).toBe(true)
  await asked
})

test.skipIf(process.platform !== 'linux')(
  'after a sync of the log that failed, what can be seen is not said to be durable, and nothing is stored any more',
  async () => {
    breakLog(folder)
    const bytes = new Uint8Array(randomBytes(500))
    await expect(put(bytes)).rejects.toMatchObject({ detail: { code: 'ERR_STORE_FAILED' } })
    expect(store.has(hashBlock(bytes))).toBe(true)
    await expect(store.settled()).rejects.toMatchObject({ detail: { code: 'ERR_STORE_FAILED' } })
    await expect(put(bytes)).rejects.toMatchObject({ detail: { code: 'ERR_STORE_FAILED' } })
    await vi.waitFor(() => expect(fatal).toHaveLength(1))
    await expect(store.settled()).rejects.toMatchObject({ detail: { code: 'ERR_STORE_FAILED' } })
  },
)
