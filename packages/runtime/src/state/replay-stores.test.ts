import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { withReplayStores, withThrownAwayStores } from './replay-stores.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-replay-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

test('two replays do not work in one folder at once; one after the other they do', async () => {
  const work = join(dir, 'a', 'work')
  const done = await withReplayStores(work, async () => {
    await expect(withReplayStores(work, async () => 'second')).rejects.toMatchObject({
      detail: { code: 'ERR_FOLDER_LOCKED' },
    })
    return 'first'
  })
  expect(done).toBe('first')
  await expect(
    withReplayStores(work, async () => {
      throw new Error('broke off')
    }),
  ).rejects.toThrow('broke off')
  expect(await withReplayStores(work, async () => 'third')).toBe('third')
})

test('where the second file is damaged, the first one is closed again', async () => {
  await withReplayStores(dir, async () => {})
  writeFileSync(join(dir, 'docchain.db'), 'no database, for long enough to be told from an empty file')
  await expect(withReplayStores(dir, async () => {})).rejects.toMatchObject({
    detail: { code: 'ERR_DATABASE_CORRUPT' },
  })
  // SQLite takes the log away when the last connection is closed.
  expect(existsSync(join(dir, 'userchain.db-wal'))).toBe(false)
})

test('a folder that is thrown away is gone afterwards, also when it broke off, and no two are one', async () => {
  let first = ''
  await withThrownAwayStores(async (open) => {
    first = open.dir
    expect(existsSync(join(first, 'userchain.db'))).toBe(true)
    const broken = withThrownAwayStores(async ({ dir: second }) => {
      expect(second).not.toBe(first)
      throw new Error('broke off')
    })
    await expect(broken).rejects.toThrow('broke off')
  })
  expect(existsSync(first)).toBe(false)
})
