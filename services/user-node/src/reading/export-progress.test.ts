import { once } from 'node:events'
import { expect, test } from 'vitest'
import { ExportProgress } from './export-progress.ts'

async function* pieces(): AsyncGenerator<string> {
  for (const piece of ['äb', 'c', 'd']) yield piece
}

test('a download is done when all of it was taken, and broken when its reader leaves or it fails before', async () => {
  const progress = new ExportProgress()
  const whole = progress.begin('session', 'whole', 3)
  for await (const _ of progress.stream(whole, pieces())) whole.records++
  expect(progress.find('session', 'whole')).toEqual({ state: 'done', records: 3, recordsTotal: 3, sizeBytes: 5 })
  const left = progress.begin('session', 'left', 3)
  for await (const piece of progress.stream(left, pieces())) if (piece === 'c') break
  await expect.poll(() => progress.find('session', 'left')).toMatchObject({ state: 'broken' })
  const failed = progress.stream(
    progress.begin('session', 'failed', 3),
    (async function* () {
      yield 'a'
      throw new Error('the session ended')
    })(),
  )
  const taken = async (): Promise<void> => {
    for await (const piece of failed) expect(piece).toBe('a')
  }
  await expect(taken()).rejects.toThrow('the session ended')
  await expect.poll(() => progress.find('session', 'failed')).toMatchObject({ state: 'broken', sizeBytes: 1 })
})

test('a download whose reader left before the first byte is broken, and not on its way for ever', async () => {
  const progress = new ExportProgress()
  const stream = progress.stream(progress.begin('session', 'gone', 3), pieces())
  stream.destroy()
  await once(stream, 'close')
  expect(progress.find('session', 'gone')).toMatchObject({ state: 'broken' })
})

test('it is told to the session that began it alone, and the oldest are forgotten', () => {
  const progress = new ExportProgress()
  progress.begin('hers', 'one', 1)
  expect(progress.find('another', 'one')).toBeUndefined()
  for (let i = 0; i < 64; i++) progress.begin('hers', `later ${i}`, 1)
  expect(progress.find('hers', 'one')).toBeUndefined()
  expect(progress.find('hers', 'later 0')).toMatchObject({ state: 'running' })
})
