import { expect, test } from 'vitest'
import { VerificationGroups } from './verification-groups.ts'

/** Lets everything that is ready run. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function recorded() {
  const calls: { items: readonly number[]; done: PromiseWithResolvers<void> }[] = []
  const groups = new VerificationGroups<number>((items) => {
    const done = Promise.withResolvers<void>()
    calls.push({ items, done })
    return done.promise
  })
  return { calls, groups }
}

test('small submissions of one moment go together, and those that come meanwhile are the next group', async () => {
  const { calls, groups } = recorded()
  const order: string[] = []
  const verify = (name: string, ...items: number[]): void => {
    void groups.verify(items).then(() => order.push(name))
  }
  verify('a', 1)
  verify('b', 2, 3)
  await settled()
  verify('c', 4)
  verify('d', 5)
  await settled()
  expect(calls.map(({ items }) => items)).toEqual([[1, 2, 3]])
  expect(order).toEqual([])
  calls[0]?.done.resolve()
  await settled()
  expect(order).toEqual(['a', 'b'])
  expect(calls.map(({ items }) => items)).toEqual([
    [1, 2, 3],
    [4, 5],
  ])
  calls[1]?.done.resolve()
  await settled()
  verify('e', 6)
  await settled()
  expect(calls[2]?.items).toEqual([6])
})

test('a large submission waits for no group, and a group is no larger than one may be', async () => {
  const { calls, groups } = recorded()
  for (let i = 0; i < 5; i++) void groups.verify(new Array<number>(30).fill(i))
  void groups.verify(new Array<number>(200).fill(9))
  expect(calls.map(({ items }) => items.length)).toEqual([200])
  for (let i = 0; i < 3; i++) {
    await settled()
    calls.at(-1)?.done.resolve()
  }
  await settled()
  expect(calls.map(({ items }) => items.length)).toEqual([200, 60, 60, 30])
})

test('a group that cannot be verified is told to all of it, and the next one is tried', async () => {
  const { calls, groups } = recorded()
  const failed = [groups.verify([1]), groups.verify([2])]
  await settled()
  const next = groups.verify([3])
  calls[0]?.done.reject(new Error('the threads have ended'))
  expect(await Promise.allSettled(failed)).toMatchObject([{ status: 'rejected' }, { status: 'rejected' }])
  await settled()
  calls[1]?.done.resolve()
  await expect(next).resolves.toBeUndefined()
})
