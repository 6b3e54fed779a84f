import { createServer } from 'node:net'
import { findFreePort } from '@healthblock/runtime/ports'
import { afterEach, expect, test } from 'vitest'
import { requireRedisAt } from './redis.ts'

const server = createServer()
afterEach(() => void server.close())

test.each([
  ['127.0.0.1:6379', 'not a URL'],
  ['http://127.0.0.1', 'must begin with redis://'],
  ['nonsense', 'not a URL'],
])('REDIS_URL=%s is not taken', async (url, words) => {
  await expect(requireRedisAt(url)).rejects.toThrow(words)
})

test('an address where nothing answers is named, without its password', async () => {
  const port = await findFreePort()
  const refused = await requireRedisAt(`redis://user:CANARY@127.0.0.1:${port}`).catch((error: Error) => error.message)
  expect(refused).toContain(`REDIS_URL names 127.0.0.1:${port}, where nothing answers (ECONNREFUSED)`)
  expect(refused).not.toContain('CANARY')
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  await requireRedisAt(`redis://127.0.0.1:${port}/3`)
})
