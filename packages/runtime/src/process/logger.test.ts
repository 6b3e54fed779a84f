import { spawn } from 'node:child_process'
import { type EventEmitter, once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { canMount, mountSmallDisk } from '../../../../test/support/small-disk.ts'
import { RuntimeError } from '../errors.ts'
import { createLogger } from './logger.ts'

function capture(): { lines: string[]; write(line: string): void } {
  const lines: string[] = []
  return { lines, write: (line) => void lines.push(line) }
}

describe('createLogger', () => {
  it('never writes secrets, bytes or bodies, at any depth, in children and in errors', () => {
    const out = capture()
    const logger = createLogger({ name: 'test', level: 'debug' }, out)
    const canary = 'CANARY-9f2'
    const bytes = new TextEncoder().encode(canary)
    logger.info({ token: canary, nested: { apiSecret: canary, deep: [{ passphrase: canary }] }, key: bytes }, 'a')
    logger.child({ authorization: `Bearer ${canary}`, part: 'x' }).info({ headers: { cookie: canary } }, 'b')
    logger.info({ request: { body: { name: canary } }, rawBody: canary, leaves: [canary] }, 'c')
    const cause = Object.assign(new Error('inner'), { detail: { code: 'ERR_X', seed: canary } })
    logger.error({ err: new RuntimeError('outer', { code: 'ERR_NOT_FOUND', what: 'x' }, { cause }) }, 'd')
    logger.error(Object.assign(new Error('bare'), { token: canary }))
    const all = out.lines.join('')
    expect(out.lines).toHaveLength(5)
    expect(all).not.toContain(canary)
    expect(all).not.toContain(Buffer.from(bytes).toString('base64'))
    expect(all).toContain('[redacted]')
    expect(all).toContain('[10 bytes]')
  })

  it('keeps fields, codes and causes', () => {
    const out = capture()
    const logger = createLogger({ name: 'test' }, out).child({ part: 'follower' })
    logger.info({ height: 7, hasToken: true, token: true }, 'followed')
    const error = new RuntimeError(
      'none',
      { code: 'ERR_NO_SOURCE', attempts: ['a'] },
      { cause: new TypeError('inner') },
    )
    logger.warn({ err: error }, 'failed')
    const [first, second] = out.lines.map((line) => JSON.parse(line))
    expect(first).toMatchObject({
      level: 'info',
      name: 'test',
      part: 'follower',
      height: 7,
      hasToken: true,
      token: true,
      msg: 'followed',
    })
    expect(second.err).toMatchObject({
      type: 'RuntimeError',
      code: 'ERR_NO_SOURCE',
      detail: { attempts: ['a'] },
      cause: { message: 'inner' },
    })
  })

  it('survives values that contain themselves', () => {
    const out = capture()
    const value: Record<string, unknown> = {}
    value.self = value
    createLogger({ name: 'test' }, out).info({ value }, 'loop')
    expect(out.lines[0]).toContain('[deeper]')
  })

  it.skipIf(!canMount)(
    'does not end a process whose log has no room, and writes again when there is some',
    async () => {
      const dir = mkdtempSync(join(tmpdir(), 'hb-log-'))
      const disk = mountSmallDisk(dir, 65_536)
      const log = openSync(join(dir, 'log'), 'a')
      const script = `import { createLogger } from ${JSON.stringify(join(import.meta.dirname, 'logger.ts'))}
      const logger = createLogger({ name: 'test' })
      let count = 0
      process.stdin.on('data', (step) => {
        const until = count + Number(step)
        while (count < until) logger.info({ number: ++count }, 'line '.repeat(100))
        console.log(count)
      })`
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', log] })
      const ended = once(child, 'exit')
      const write = async (count: number): Promise<void> => {
        child.stdin?.write(String(count))
        await Promise.race([
          once(child.stdout as EventEmitter, 'data'),
          ended.then(() => Promise.reject(new Error('it ended'))),
        ])
      }
      try {
        await write(1)
        disk.fill()
        await write(50)
        disk.free()
        await write(1)
        const lines = readFileSync(join(dir, 'log'), 'utf8').trim().split('\n')
        expect(JSON.parse(lines[0] as string)).toMatchObject({ number: 1 })
        expect(lines.length).toBeGreaterThan(20)
      } finally {
        child.kill('SIGKILL')
        await ended
        closeSync(log)
        disk.remove()
        rmSync(dir, { recursive: true })
      }
    },
  )
})
