import { expect, test } from 'vitest'
import { GuessQueue } from './guess-queue.ts'

/** Guesses that end when they are told to. */
function sample(queue: GuessQueue) {
  const made: string[] = []
  const ends: (() => void)[] = []
  const guess = (source: string, name: string): Promise<string> =>
    queue.run(source, () => {
      made.push(name)
      return new Promise((resolve) => ends.push(() => resolve(name)))
    })
  const endNext = async (): Promise<void> => {
    ends.shift()?.()
    // The next one begins when all that waited for this one has run.
    for (let turn = 0; turn < 10; turn++) await Promise.resolve()
  }
  return { made, guess, endNext }
}

const tooMany = { detail: { code: 'ERR_TOO_MANY_AT_ONCE', retryAfterMs: 2_000 } }

test('guesses are made one at a time; who knocks often waits for himself, and others for one of his', async () => {
  const { made, guess, endNext } = sample(new GuessQueue({ perSourceMax: 4 }))
  const stranger = [1, 2, 3, 4].map((number) => guess('stranger', `stranger ${number}`))
  await expect(guess('stranger', 'stranger 5')).rejects.toMatchObject(tooMany)
  const ann = guess('home', 'ann')
  expect(made).toEqual(['stranger 1'])
  await endNext()
  await endNext()
  await endNext()
  // Of two that wait, the one who has waited since his last turn for longer is next.
  expect(made).toEqual(['stranger 1', 'stranger 2', 'ann', 'stranger 3'])
  expect(await ann).toBe('ann')
  // One of his was made: there is room for one more.
  const again = guess('stranger', 'stranger 6')
  for (let turn = 0; turn < 3; turn++) await endNext()
  expect(await Promise.all([...stranger, again])).toHaveLength(5)
  expect(made).toHaveLength(6)
})

test('a guess that fails holds up none that follow, and all together are bounded', async () => {
  const queue = new GuessQueue({ waitingMax: 2 })
  const failing = queue.run('a', () => Promise.reject(new Error('wrong')))
  const [second, third] = [queue.run('b', async () => 'b'), queue.run('c', async () => 'c')]
  await expect(queue.run('d', async () => 'd')).rejects.toMatchObject(tooMany)
  await expect(failing).rejects.toThrow('wrong')
  expect(await Promise.all([second, third])).toEqual(['b', 'c'])
  expect(await queue.run('d', async () => 'd')).toBe('d')
  const throwing = queue.run('e', () => {
    throw new Error('at once')
  })
  await expect(throwing).rejects.toThrow('at once')
  expect(await queue.run('f', async () => 'f')).toBe('f')
})
