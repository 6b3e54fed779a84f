import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { repairLines } from './node.ts'
import { Pace } from './pace.ts'

let nowMs = 0

/** A run that takes so long. */
function work(ms: number): () => AsyncGenerator<string> {
  return async function* () {
    nowMs += ms
    yield 'done'
  }
}

async function ask(pace: Pace, ms: number): Promise<string> {
  try {
    for await (const line of pace.run('scrub', work(ms))) return line
    return 'nothing'
  } catch (error) {
    return (error as Error).message
  }
}

test('after a long run the next one is refused for as long as that took, an hour at most, and is told when to ask', async () => {
  const pace = new Pace(() => nowMs)
  expect(await ask(pace, 60_000)).toBe('done')
  nowMs += 10_000
  expect(await ask(pace, 1)).toBe('a scrub has ended just now: ask for the next one in 50 s')
  nowMs += 50_000
  expect(await ask(pace, 10 * 3_600_000)).toBe('done')
  nowMs += 3_590_000
  expect(await ask(pace, 1)).toMatch(/in 10 s$/)
  nowMs += 10_000
  expect(await ask(pace, 1)).toBe('done')
})

test('a short rest is waited for, and who waits is let go when the node stops', async () => {
  const pace = new Pace(() => nowMs)
  expect(await ask(pace, 20)).toBe('done')
  expect(await ask(pace, 4_000)).toBe('done')
  const waiting = ask(pace, 1)
  pace.stop()
  expect(await waiting).toBe('the node stops')
})

test('who asks for a repair and leaves does not have the next one begin sooner', async () => {
  const pace = new Pace(() => nowMs)
  const repair = Promise.withResolvers<{ checked: number; placed: number; below: number }>()
  const progress = { checked: 1, placed: 0, below: 0 }
  const lines = (): AsyncGenerator<object> =>
    repairLines({ run: () => repair.promise, progress }, { totals: () => ({ bytes: 0, blocks: 9 }) })
  const asked = pace.run('repair', lines)
  expect(await asked.next()).toEqual({ done: false, value: { ...progress, total: 9 } })
  const left = asked.return(undefined)
  // What ends with the asking has ended by then.
  await nextTurn()
  nowMs += 60_000
  repair.resolve({ checked: 9, placed: 0, below: 0 })
  await left
  expect(await ask(pace, 1)).toMatch(/in 60 s$/)
})
