import { expect, it } from 'vitest'
import { codeOf, RuntimeError } from '../errors.ts'
import { Sources } from './sources.ts'

const urls = ['http://a', 'http://b', 'http://c']

function away(url: string): RuntimeError {
  return new RuntimeError(`${url} is away`, { code: 'ERR_SOURCE_UNREACHABLE', url, reason: 'away' })
}

it('a source that was waited for in vain is tried last for three times as long', async () => {
  let nowMs = 0
  const sources = new Sources({ urls, now: () => nowMs })
  const answer = await sources.attempt(async (url) => {
    if (url !== 'http://a') return url
    nowMs += 8_000
    throw away(url)
  })
  expect(answer).toBe('http://b')
  nowMs += 23_999
  expect(sources.candidates()).toEqual(['http://b', 'http://c', 'http://a'])
  nowMs += 1
  expect(sources.candidates()).toEqual(urls)
})

it('a source that refuses at once is tried first again soon', async () => {
  let nowMs = 0
  const sources = new Sources({ urls, now: () => nowMs })
  expect(await sources.attempt(async (url) => (url === 'http://a' ? Promise.reject(away(url)) : url))).toBe('http://b')
  expect(sources.candidates()).toEqual(['http://b', 'http://c', 'http://a'])
  nowMs += 250
  expect(sources.candidates()).toEqual(urls)
})

it('silent sources are asked beside each other, the first success counts, and they are tried last', async () => {
  const sources = new Sources({ urls })
  const asked: string[] = []
  const work = (url: string): Promise<string> => {
    asked.push(url)
    return url === 'http://c' ? Promise.resolve(url) : new Promise<string>(() => {})
  }
  expect(await sources.attempt(work, { hedgeMs: 5 })).toBe('http://c')
  expect(asked).toEqual(urls)
  expect(sources.candidates()).toEqual(['http://c', 'http://a', 'http://b'])
})

it('a silent source that answers after all is tried first again', async () => {
  const sources = new Sources({ urls })
  const late = Promise.withResolvers<string>()
  const work = (url: string): Promise<string> => {
    if (url === 'http://a') return late.promise
    late.resolve('http://a')
    return new Promise<string>(() => {})
  }
  expect(await sources.attempt(work, { hedgeMs: 5 })).toBe('http://a')
  expect(sources.candidates()[0]).toBe('http://a')
})

it('a silent source that answers after the one that was asked beside it stays behind that one', async () => {
  const sources = new Sources({ urls })
  const late = Promise.withResolvers<string>()
  const work = (url: string): Promise<string> => (url === 'http://a' ? late.promise : Promise.resolve(url))
  expect(await sources.attempt(work, { hedgeMs: 5 })).toBe('http://b')
  late.resolve('http://a')
  await new Promise((resolve) => setImmediate(resolve))
  expect(sources.candidates()).toEqual(['http://b', 'http://c', 'http://a'])
})

it('the one that is to be asked last is asked when all others have failed', async () => {
  const sources = new Sources({ urls })
  const asked: string[] = []
  const work = (url: string): Promise<string> => {
    asked.push(url)
    return url === 'http://a' ? Promise.resolve(url) : Promise.reject(away(url))
  }
  expect(await sources.attempt(work, { last: ['http://a'] })).toBe('http://a')
  expect(asked).toEqual(['http://b', 'http://c', 'http://a'])
})

it('a failure beside a silent source asks the next one, and nobody twice', async () => {
  const sources = new Sources({ urls })
  const asked: string[] = []
  const silent = Promise.withResolvers<string>()
  const work = (url: string): Promise<string> => {
    asked.push(url)
    if (url === 'http://a') return silent.promise
    if (url === 'http://c') silent.reject(away('http://a'))
    return Promise.reject(away(url))
  }
  expect(await sources.attempt(work, { hedgeMs: 5 }).catch(codeOf)).toBe('ERR_NO_SOURCE')
  expect(asked).toEqual(urls)
})

it('a listener that fails ends the attempt with its own error', async () => {
  const fault = new RuntimeError('a lie', { code: 'ERR_SOURCE_MISBEHAVED', url: 'http://a', reason: 'a lie' })
  const onQuarantine = (): void => {
    throw new TypeError('the listener failed')
  }
  const sources = new Sources({ urls, onQuarantine })
  await expect(sources.attempt(() => Promise.reject(fault))).rejects.toThrow('the listener failed')
})

it('what no other source would answer differently ends the attempt, though others are still asked', async () => {
  const sources = new Sources({ urls })
  const silent = new Promise<string>(() => {})
  const work = (url: string): Promise<string> =>
    url === 'http://a' ? silent : Promise.reject(new TypeError('the question itself is wrong'))
  await expect(sources.attempt(work, { hedgeMs: 5 })).rejects.toThrow('the question itself is wrong')
})

function refusal(url: string, status: number): RuntimeError {
  return new RuntimeError(`${url}: ${status}`, { code: 'ERR_SOURCE_REFUSED', url, status, sourceCode: 'none' })
}

it.each([400, 413, 415, 422])(
  'one source that answers every question with %i keeps nobody from the others, and is tried last',
  async (status) => {
    let nowMs = 0
    const sources = new Sources({ urls, now: () => nowMs })
    const work = (url: string): Promise<string> =>
      url === 'http://a' ? Promise.reject(refusal(url, status)) : Promise.resolve(url)
    expect(await sources.attempt(work)).toBe('http://b')
    expect(sources.candidates()).toEqual(['http://b', 'http://c', 'http://a'])
    nowMs += 250
    expect(sources.candidates()).toEqual(urls)
  },
)

it.each([400, 429])(
  '%i of each source that answers is what the attempt says, though one is away; a 404 is not',
  async (status) => {
    const attempt = (said: number): Promise<unknown> =>
      new Sources({ urls })
        .attempt((url) => Promise.reject(url === 'http://b' ? away(url) : refusal(url, said)))
        .catch((error: unknown) => (error as RuntimeError).detail)
    expect(await attempt(status)).toMatchObject({ code: 'ERR_SOURCE_REFUSED', status })
    // What the others do not have may be at the one that is away.
    expect(await attempt(404)).toMatchObject({ code: 'ERR_NO_SOURCE' })
  },
)
