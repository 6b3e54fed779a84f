import { afterEach, expect, test, vi } from 'vitest'
import { Batcher } from './batcher.ts'

const limits = { requests: 1, items: 4, bytes: 100, bytesBeside: 0, restMsMax: 0 }

afterEach(() => {
  vi.useRealTimers()
})

test('what arrives while a request is under way shares the next ones, within the limits and in order', async () => {
  const sent: number[][] = []
  const gate = Promise.withResolvers<void>()
  const batcher = new Batcher<number, number>(async (items) => {
    sent.push(items)
    await gate.promise
    return items.map((item) => item * 2)
  }, limits)
  const results = [1, 2, 3, 4, 5, 6, 7].map((item) => batcher.add(item, item === 6 ? 99 : 10))
  gate.resolve()
  expect(await Promise.all(results)).toEqual([2, 4, 6, 8, 10, 12, 14])
  expect(sent).toEqual([[1], [2, 3, 4, 5], [6], [7]])
})

test('errors go to the item that they belong to, a failed request to all of its items, and later ones go on', async () => {
  const batcher = new Batcher<number, number>(async (items) => {
    if (items.includes(13)) throw new Error('no')
    return items.map((item) => (item === 2 ? new Error('two') : item))
  }, limits)
  const settled = await Promise.allSettled([1, 2, 3].map((item) => batcher.add(item, 1)))
  expect(settled.map((one) => one.status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  await expect(batcher.add(13, 1)).rejects.toThrow('no')
  expect(await batcher.add(5, 1)).toBe(5)
})

test('an item without a result is rejected', async () => {
  const batcher = new Batcher<number, number>(async () => [], limits)
  await expect(batcher.add(1, 1)).rejects.toBeUndefined()
})

test('what somebody waits for goes first, and another request begins only when enough waits', async () => {
  const sent: number[][] = []
  const gate = Promise.withResolvers<void>()
  const batcher = new Batcher<number, number>(
    async (items) => {
      sent.push(items)
      await gate.promise
      return items
    },
    { requests: 2, items: 4, bytes: 100, bytesBeside: 30, restMsMax: 0 },
  )
  const results = [batcher.add(0, 1), batcher.add(1, 10, false), batcher.add(2, 10, false), batcher.add(3, 9)]
  expect(sent).toEqual([[0]])
  results.push(batcher.add(4, 1))
  expect(sent).toEqual([[0], [3, 4, 1, 2]])
  results.push(batcher.add(5, 90), batcher.add(6, 90, false))
  expect(sent).toHaveLength(2)
  gate.resolve()
  expect(await Promise.all(results)).toEqual([0, 1, 2, 3, 4, 5, 6])
  expect(sent.slice(2)).toEqual([[5], [6]])
})

/** A batcher whose requests take 6 ms, by a clock that the test moves. */
function createSlow(sent: number[][]): Batcher<number, number> {
  vi.useFakeTimers()
  const send = async (items: number[]): Promise<number[]> => {
    sent.push(items)
    await new Promise((resolve) => setTimeout(resolve, 6))
    return items
  }
  return new Batcher<number, number>(send, { requests: 2, items: 64, bytes: 500, bytesBeside: 100, restMsMax: 4 })
}

const eight = [1, 2, 3, 4, 5, 6, 7, 8]

test('after a request of several the next waits half as long, for others to share it', async () => {
  const sent: number[][] = []
  const batcher = createSlow(sent)
  const results = [0, ...eight].map((item) => batcher.add(item, 1))
  await vi.advanceTimersByTimeAsync(12)
  expect(sent).toEqual([[0], eight])
  results.push(batcher.add(20, 1))
  await vi.advanceTimersByTimeAsync(2)
  results.push(batcher.add(21, 1))
  expect(sent).toHaveLength(2)
  await vi.advanceTimersByTimeAsync(1)
  expect(sent[2]).toEqual([20, 21])
  await vi.advanceTimersByTimeAsync(6)
  // The last one had few: nobody is to be waited for.
  results.push(batcher.add(22, 1))
  expect(sent[3]).toEqual([22])
  await vi.advanceTimersByTimeAsync(6)
  expect(await Promise.all(results)).toEqual([0, ...eight, 20, 21, 22])
})

test('what is worth a request of its own does not wait for others', async () => {
  const sent: number[][] = []
  const batcher = createSlow(sent)
  const results = [0, ...eight].map((item) => batcher.add(item, 1))
  await vi.advanceTimersByTimeAsync(12)
  results.push(batcher.add(20, 1))
  expect(sent).toHaveLength(2)
  results.push(batcher.add(21, 99))
  expect(sent[2]).toEqual([20, 21])
  await vi.advanceTimersByTimeAsync(12)
  expect(await Promise.all(results)).toEqual([0, ...eight, 20, 21])
})
