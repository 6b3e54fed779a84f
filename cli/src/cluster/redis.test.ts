import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findFreePort } from '@healthblock/runtime/ports'
import { afterEach, describe, expect, test } from 'vitest'
import { redisInstalled } from '../../../test/support/redis.ts'
import { redisConfiguration, requireRedisAt, writeRedisUsers } from './redis.ts'

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

describe.skipIf(!redisInstalled)('the private Redis of a cluster', () => {
  /** Sends lines, and gives what came back until the connection was closed (QUIT is added). */
  async function say(port: number, ...lines: string[]): Promise<string> {
    const socket = connect(port, '127.0.0.1')
    socket.end([...lines, 'QUIT', ''].join('\r\n'))
    let answer = ''
    for await (const piece of socket) answer += String(piece)
    return answer
  }

  /** Starts it, and gives what it says until it takes connections. */
  async function start(config: string): Promise<{ child: ChildProcess; log: string }> {
    const child = spawn('redis-server', [config], { stdio: ['ignore', 'pipe', 'ignore'] })
    let log = ''
    for await (const piece of child.stdout) {
      log += String(piece)
      if (log.includes('Ready to accept connections')) break
    }
    return { child, log }
  }

  test('has users of its own and nobody else, and remembers what they did when it starts again', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'hb-redis-'))
    const port = await findFreePort()
    const config = join(dir, 'redis.conf')
    const passwords = await writeRedisUsers(dir, ['accounting-0'])
    writeFileSync(config, redisConfiguration({ dir, port }).replace('loglevel warning', 'loglevel notice'))
    const login = `AUTH accounting-0 ${passwords.get('accounting-0')}`
    try {
      const first = await start(config)
      expect(await say(port, 'GET hb:job')).toContain('NOAUTH')
      expect(await say(port, 'AUTH default', 'AUTH default x', 'GET hb:job')).not.toContain('+OK\r\n$')
      // As the queue adds a job: all or nothing.
      expect(await say(port, login, 'MULTI', 'SET hb:job 7', 'SET hb:last 7', 'EXEC', 'GET hb:job')).toContain(
        '$1\r\n7',
      )
      expect(await say(port, login, 'SET other 1')).toContain('NOPERM')
      expect(await say(port, login, 'FLUSHALL')).toContain('NOPERM')
      first.child.kill('SIGTERM')
      await once(first.child, 'exit')
      const second = await start(config)
      try {
        expect(second.log).not.toContain('CRITICAL')
        expect(await say(port, login, 'GET hb:job')).toContain('$1\r\n7')
      } finally {
        second.child.kill('SIGKILL')
        await once(second.child, 'exit')
      }
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })
})
