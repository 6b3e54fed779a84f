import { expect, test } from 'vitest'
import { answerInTime } from './answer-in-time.ts'

const endless = new Promise<string>(() => {})

test('what takes longer than the answer may holds up neither what comes after it nor the answer', async () => {
  const begun: number[] = []
  const act = (item: number): Promise<string> => {
    begun.push(item)
    return item % 2 === 0 ? endless : Promise.resolve(`done ${item}`)
  }
  const answers = await answerInTime([0, 1, 2, 3], act, { headStartMs: 1, answerMs: 2_000 })
  expect(answers).toEqual([undefined, 'done 1', undefined, 'done 3'])
  expect(begun).toEqual([0, 1, 2, 3])
})

test('items that are quick are worked on one after the other', async () => {
  let underWay = 0
  const act = async (item: number): Promise<number> => {
    expect(++underWay).toBe(1)
    await new Promise((resolve) => setImmediate(resolve))
    underWay--
    return item
  }
  expect(await answerInTime([3, 1, 2], act, { headStartMs: 60_000, answerMs: 60_000 })).toEqual([3, 1, 2])
})

test('when the time is up, nothing more is begun', async () => {
  const begun: number[] = []
  const act = (item: number): Promise<string> => {
    begun.push(item)
    return endless
  }
  expect(await answerInTime([0, 1], act, { headStartMs: 60_000, answerMs: 1 })).toEqual([undefined, undefined])
  expect(begun).toEqual([0])
})

test('a fault of the work itself is no answer', async () => {
  const act = (item: number): Promise<string> => (item === 1 ? Promise.reject(new TypeError('broken')) : endless)
  await expect(answerInTime([1, 0], act, { headStartMs: 1, answerMs: 60_000 })).rejects.toThrow('broken')
})
