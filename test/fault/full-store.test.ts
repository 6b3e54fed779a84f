/** A store whose disk is full all at once, in the middle of large blocks: each is told as full or is there whole. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isStorageError } from '../../services/storage/src/errors.ts'
import { codecRaw, hashBlock } from '../../services/storage/src/store/block-id.ts'
import { BlockStore } from '../../services/storage/src/store/block-store.ts'
import { canMount, mountSmallDisk, type SmallDisk } from '../support/small-disk.ts'

const mebibyte = 1024 * 1024
const account = new Uint8Array(32).fill(1)

describe.skipIf(!canMount)('a disk that is full in the middle of large blocks', () => {
  let folder: string
  let disk: SmallDisk
  let store: BlockStore

  const ballast = (): string => join(folder, 'ballast-of-somebody-else')

  async function open(): Promise<void> {
    store = new BlockStore({
      path: join(folder, 'blocks.db'),
      key: new Uint8Array(32).fill(9),
      bytesMax: 1e12,
      accountBytesMax: 1e12,
      node: new Uint8Array(32),
      // As it was asked before somebody else took the room.
      bytesFree: () => 1e12,
      now: () => 1,
      onCorrupt: () => {},
      onFatal: (error) => {
        throw error
      },
    })
    await store.open()
  }

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'full-store-'))
    disk = mountSmallDisk(folder, 32 * mebibyte)
    writeFileSync(ballast(), new Uint8Array(8 * mebibyte))
    await open()
  })

  afterEach(async () => {
    await store.close()
    disk.remove()
    rmSync(folder, { recursive: true, force: true })
  })

  test('says so of each block that it does not take, keeps the others whole, and goes on once there is room', async () => {
    const put = async (bytes: Uint8Array): Promise<unknown> => {
      const references = [{ account, at: 1, pin: 0 }]
      const digest = hashBlock(bytes)
      try {
        await store.put({ digest, codec: codecRaw, bytes, references, enforceQuota: true })
        return 'stored'
      } catch (error) {
        return isStorageError(error, 'ERR_STORE_FULL') ? 'full' : error
      }
    }
    const blocks = Array.from({ length: 64 }, (_, i) => new Uint8Array(randomBytes((i % 4 === 3 ? 0.2 : 1) * mebibyte)))
    const outcomes: unknown[] = []
    for (let at = 0; at < blocks.length; at += 16) {
      // Some come while the thread is at those before.
      const waves = blocks.slice(at, at + 16).map(async (bytes, i) => {
        for (let turn = 0; turn < i % 4; turn++) await new Promise((resolve) => setImmediate(resolve))
        return await put(bytes)
      })
      outcomes.push(...(await Promise.all(waves)))
    }
    expect(new Set(outcomes)).toEqual(new Set(['stored', 'full']))
    // Also opened while it is full.
    await store.close()
    await open()
    for (const [index, bytes] of blocks.entries()) {
      const found = await store.get(hashBlock(bytes))
      expect(found === undefined ? 'full' : 'stored').toBe(outcomes[index])
      if (found) expect(Buffer.compare(found, bytes)).toBe(0)
    }
    expect(store.totals().blocks).toBe(outcomes.filter((outcome) => outcome === 'stored').length)
    rmSync(ballast())
    const refused = blocks.find((_, index) => outcomes[index] === 'full') as Uint8Array
    expect(await put(refused)).toBe('stored')
    const gone = await store.release(hashBlock(refused), account, { at: 2, force: true })
    expect(gone).toMatchObject({ deleted: 1 })
  })
})
