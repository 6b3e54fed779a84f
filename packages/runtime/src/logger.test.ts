import { describe, expect, it } from 'vitest'
import { RuntimeError } from './errors.ts'
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
})
