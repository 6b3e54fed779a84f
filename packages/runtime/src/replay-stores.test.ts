import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { withReplayStores } from './replay-stores.ts'

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
