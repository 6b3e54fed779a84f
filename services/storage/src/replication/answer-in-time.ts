/** Answers to many questions of one request, of which some may take longer than whoever asks waits. */
import { setTimeout as delay } from 'node:timers/promises'

/**
 * Has items worked on in their order, each once the one before is done or has had its head start, and gives what is there
 * when the time is up: a slow one holds up neither those that come after it nor the answer. It goes on by itself.
 *
 * @param times.headStartMs - how long the next one waits for one that is slow.
 * @param times.answerMs - when the answer is due.
 * @returns a result for each item in their order; undefined for one that is not done, or was not begun.
 * @throws what `act` throws before the answer is due.
 */
export async function answerInTime<Item, Result>(
  items: readonly Item[],
  act: (item: Item) => Promise<Result>,
  { headStartMs, answerMs }: { headStartMs: number; answerMs: number },
): Promise<(Result | undefined)[]> {
  const results: (Result | undefined)[] = items.map(() => undefined)
  const done = new AbortController()
  const wait = (ms: number): Promise<void> => delay(ms, undefined, { signal: done.signal }).catch(() => {})
  let isLate = false
  const late = wait(answerMs).then(() => {
    isLate = true
  })
  const all = new Set<Promise<void>>()
  try {
    for (const [index, item] of items.entries()) {
      if (isLate) break
      const one = act(item).then((result) => {
        results[index] = result
      })
      // What fails when the answer has gone is told again.
      one.catch(() => {})
      all.add(one)
      await Promise.race([one, wait(headStartMs), late])
    }
    await Promise.race([Promise.all(all), late])
    return [...results]
  } finally {
    done.abort()
  }
}
