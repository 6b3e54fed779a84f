import { expect, test } from 'vitest'
import { ExportProgress } from './export-progress.ts'

async function* pieces(): AsyncGenerator<string> {
  for (const piece of ['äb', 'c', 'd']) yield piece
}

test('a download is done when all of it was taken, and broken when its reader leaves or it fails before', async () => {
  const progress = new ExportProgress()
  const whole = progress.begin('session', 'whole', 3)
  for await (const _ of progress.counted(whole, pieces())) whole.records++
  expect(progress.find('session', 'whole')).toEqual({ state: 'done', records: 3, recordsTotal: 3, sizeBytes: 5 })
  const left = progress.begin('session', 'left', 3)
  for await (const piece of progress.counted(left, pieces())) if (piece === 'c') break
  expect(progress.find('session', 'left')).toMatchObject({ state: 'broken', sizeBytes: 4 })
  const failed = progress.counted(
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
  expect(progress.find('session', 'failed')).toMatchObject({ state: 'broken', sizeBytes: 1 })
})

test('it is told to the session that began it alone, and the oldest are forgotten', () => {
  const progress = new ExportProgress()
  progress.begin('hers', 'one', 1)
  expect(progress.find('another', 'one')).toBeUndefined()
  for (let i = 0; i < 64; i++) progress.begin('hers', `later ${i}`, 1)
  expect(progress.find('hers', 'one')).toBeUndefined()
  expect(progress.find('hers', 'later 0')).toMatchObject({ state: 'running' })
})
