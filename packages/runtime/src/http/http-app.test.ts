import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isRuntimeError, RuntimeError } from '../errors.ts'
import { createLogger } from '../process/logger.ts'
import { sendEvents } from './event-stream.ts'
import { createHttpApp, type HttpApp, type ReadinessCheck } from './http-app.ts'

let dir: string
let app: HttpApp
let checks: ReadinessCheck[]
const lines: string[] = []
const logger = createLogger({ name: 'test', level: 'info' }, { write: (line) => void lines.push(line) })

async function build(): Promise<HttpApp> {
  const built = await createHttpApp({
    name: 'test',
    version: '1.2.3',
    logger,
    readiness: () => checks,
    statusOfCode: { ERR_LEDGER_CONFLICT: 409 },
    bodySizeBytesMax: 1000,
    requestTimeoutMs: 500,
    stopTimeoutMs: 300,
  })
  const body = {
    type: 'object',
    required: ['n'],
    additionalProperties: false,
    properties: { n: { type: 'integer', minimum: 1 } },
  }
  built.fastify.post(
    '/echo',
    { schema: { body, response: { 200: { type: 'object', additionalProperties: true } } } },
    async (request) => request.body,
  )
  built.fastify.post('/bytes', async (request) => ({ size: (request.body as Uint8Array).length }))
  built.fastify.get('/fail/:how', async (request) => {
    const { how } = request.params as { how: string }
    if (how === 'typed')
      throw new RuntimeError('roots differ', {
        code: 'ERR_LEDGER_CONFLICT',
        chain: 'userchain',
        size: 2,
        ownRoot: '',
        otherRoot: '',
        url: '',
      })
    if (how === 'busy') throw new RuntimeError('later', { code: 'ERR_BUSY', retryAfterMs: 4_100 })
    if (how === 'token') throw new RuntimeError('no token', { code: 'ERR_TOKEN_MISSING' })
    throw new Error('CANARY inside')
  })
  return built
}

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'hb-http-'))
  checks = []
  app = await build()
})
afterEach(async () => {
  await app.stop()
  rmSync(dir, { recursive: true, force: true })
})

const json = { 'content-type': 'application/json' }

describe('createHttpApp', () => {
  it('takes no number that is not finite, whatever a schema lets pass', async () => {
    for (const n of ['1e400', 'Infinity', '-Infinity']) {
      const answer = await app.fastify.inject({ method: 'POST', url: '/echo', payload: { n } })
      expect([answer.statusCode, answer.json().code]).toEqual([400, 'ERR_REQUEST_INVALID'])
    }
    const good = await app.fastify.inject({ method: 'POST', url: '/echo', payload: { n: '12' } })
    expect(good.json()).toEqual({ n: 12 })
  })

  it('takes no body that is nested too deeply, where a schema lets anything pass, and says so', async () => {
    const anything = { schema: { body: { type: 'object' } }, bodyLimit: 2 ** 20 }
    app.fastify.post('/free', anything, async () => ({}))
    const nested = (depth: number): string => `{"free":${'['.repeat(depth)}${']'.repeat(depth)}}`
    for (const depth of [64, 100, 10_000, 500_000]) {
      const answer = await app.fastify.inject({ method: 'POST', url: '/free', headers: json, payload: nested(depth) })
      expect([answer.statusCode, answer.json().code]).toEqual([400, 'ERR_REQUEST_INVALID'])
    }
    const good = await app.fastify.inject({ method: 'POST', url: '/free', headers: json, payload: nested(63) })
    expect(good.statusCode).toBe(200)
  })

  it('listens on a port of the system, writes its address, and removes it at the stop', async () => {
    const address = await app.listen({ port: 0, dir })
    expect(address.url).toBe(`http://127.0.0.1:${address.port}`)
    expect(JSON.parse(readFileSync(join(dir, 'address.json'), 'utf8'))).toEqual({ ...address, pid: process.pid })
    const alive = await fetch(`${address.url}/healthz`)
    expect([alive.status, await alive.json()]).toEqual([200, { status: 'alive', instance: address.instance }])
    expect((await fetch(`${address.url}/readyz`)).status).toBe(200)
    checks = [{ name: 'follower', ready: false, reason: 'behind' }]
    const notReady = await fetch(`${address.url}/readyz`)
    expect(notReady.status).toBe(503)
    expect(await notReady.json()).toEqual({ status: 'not ready', checks, instance: address.instance })
    await app.stop()
    expect(existsSync(join(dir, 'address.json'))).toBe(false)
  })

  it('says clearly that a port is in use', async () => {
    const { port } = await app.listen({ port: 0 })
    const other = await build()
    const error = await other.listen({ port }).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    await other.stop()
    expect(isRuntimeError(error, 'ERR_PORT_IN_USE')).toBe(true)
    expect((error as Error).message).toContain(`port ${port} on 127.0.0.1 is in use`)
  })

  it('serves metrics and OpenAPI 3.1', async () => {
    const { url } = await app.listen({ port: 0 })
    await fetch(`${url}/fail/typed`)
    const metrics = await (await fetch(`${url}/metrics`)).text()
    expect(metrics).toContain('http_request_duration_seconds_count{method="GET",route="/fail/:how",status="409"} 1')
    const document = (await (await fetch(`${url}/openapi.json`)).json()) as { paths: object }
    expect(document).toMatchObject({ openapi: '3.1.0', info: { title: 'test', version: '1.2.3' } })
    expect(Object.keys(document.paths)).toEqual(['/echo', '/bytes', '/fail/{how}'])
  })

  it('answers 429 to more connections than an address may have, and takes it in again when one is closed', async () => {
    const small = await createHttpApp({ name: 'small', version: '1', logger, connectionsPerSourceMax: 2 })
    try {
      const { url, port } = await small.listen({ port: 0 })
      const alive = (): Promise<Response> => fetch(`${url}/healthz`, { headers: { connection: 'close' } })
      const held = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')]
      await Promise.all(held.map((socket) => new Promise((resolve) => socket.once('connect', resolve))))
      const refused = await alive()
      expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '5'])
      expect(await refused.json()).toMatchObject({ code: 'ERR_TOO_MANY_AT_ONCE', status: 429 })
      held[0]?.destroy()
      await expect.poll(async () => (await alive()).status, { timeout: 10_000 }).toBe(200)
      held[1]?.destroy()
    } finally {
      await small.stop()
    }
  })

  it('tells who is behind a proxy that it trusts, bounds each by himself, and believes nobody else', async () => {
    const build = (trustedProxies: readonly string[]): Promise<HttpApp> =>
      createHttpApp({ name: 'behind', version: '1', logger, connectionsPerSourceMax: 2, trustedProxies })
    const forwarded = { 'x-forwarded-for': '198.51.100.9, 203.0.113.1', 'x-forwarded-proto': 'https' }
    for (const [proxies, ip, protocol] of [
      [['127.0.0.0/8'], '203.0.113.1', 'https'],
      [['127.0.0.1', '203.0.113.0/24'], '198.51.100.9', 'https'],
      [[], '127.0.0.1', 'http'],
      [['10.0.0.1'], '127.0.0.1', 'http'],
    ] as const) {
      const one = await build(proxies)
      one.fastify.get('/who', async (request) => [request.ip, request.protocol])
      const waiting: (() => void)[] = []
      one.fastify.get('/wait', () => new Promise((resolve) => waiting.push(() => resolve('x'))))
      try {
        const { url } = await one.listen({ port: 0 })
        const who = await fetch(`${url}/who`, { headers: forwarded })
        expect(await who.json()).toEqual([ip, protocol])
        if (proxies.length !== 1 || protocol === 'http') continue
        // Two of one network wait: a third one of it is refused, others are not.
        const asks = (from: string, path: string): Promise<Response> =>
          fetch(url + path, { headers: { 'x-forwarded-for': from } })
        const held = [asks('2001:db8::1', '/wait'), asks('2001:db8::2', '/wait')]
        await expect.poll(() => waiting.length, { timeout: 10_000 }).toBe(2)
        expect((await asks('2001:db8::3', '/who')).status).toBe(429)
        expect((await asks('2001:db8:1::3', '/who')).status).toBe(200)
        for (const answer of waiting) answer()
        await Promise.all(held)
        await expect.poll(async () => (await asks('2001:db8::3', '/who')).status, { timeout: 10_000 }).toBe(200)
      } finally {
        await one.stop()
      }
    }
  })

  it('works readiness out once for all who ask at the same time', async () => {
    let asked = 0
    const { promise, resolve } = Promise.withResolvers<readonly ReadinessCheck[]>()
    const readiness = (): Promise<readonly ReadinessCheck[]> => {
      asked++
      return promise
    }
    const slow = await createHttpApp({ name: 'slow', version: '1', logger, readiness })
    try {
      const { url } = await slow.listen({ port: 0 })
      const answers = [1, 2, 3].map(() => fetch(`${url}/readyz`))
      await expect.poll(() => asked, { timeout: 10_000 }).toBe(1)
      // They arrive before the first is answered: the health of a process waits for nothing.
      await fetch(`${url}/healthz`)
      resolve([])
      expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([200, 200, 200])
      expect(asked).toBeLessThan(3)
      expect((await fetch(`${url}/readyz`)).status).toBe(200)
    } finally {
      await slow.stop()
    }
  })

  it('answers problem documents', async () => {
    const { url } = await app.listen({ port: 0 })
    const get = async (path: string): Promise<[Response, Record<string, unknown>]> => {
      const response = await fetch(url + path)
      return [response, (await response.json()) as Record<string, unknown>]
    }
    const [typed, problem] = await get('/fail/typed')
    expect(typed.headers.get('content-type')).toContain('application/problem+json')
    expect(problem).toEqual({
      type: 'urn:healthblock:problem:ERR_LEDGER_CONFLICT',
      title: 'Conflict',
      status: 409,
      detail: 'roots differ',
      code: 'ERR_LEDGER_CONFLICT',
    })
    expect(typed.headers.get('cache-control')).toBe('no-store')
    expect((await get('/fail/busy'))[0].headers.get('retry-after')).toBe('5')
    expect((await get('/fail/token'))[0].headers.get('www-authenticate')).toBe('Bearer')
    expect((await get('/none'))[1]).toMatchObject({ status: 404, code: 'ERR_NOT_FOUND' })
    const [unread, unreadProblem] = await get('/%zz')
    expect(unread.headers.get('content-type')).toContain('application/problem+json')
    expect(unreadProblem).toMatchObject({ status: 400, code: 'ERR_REQUEST_INVALID' })
    const [failed, hidden] = await get('/fail/else')
    expect(failed.status).toBe(500)
    expect(JSON.stringify(hidden)).not.toContain('CANARY')
    expect(lines.some((line) => line.includes('CANARY inside'))).toBe(true)
  })

  it('lets no answer be kept unless its route says so, and be taken for nothing else', async () => {
    app.fastify.get('/kept', async (_request, reply) => reply.header('cache-control', 'public, max-age=9').send('x'))
    const { url } = await app.listen({ port: 0 })
    const headersOf = async (path: string, init?: RequestInit): Promise<(string | null)[]> => {
      const { headers } = await fetch(url + path, init)
      return [headers.get('cache-control'), headers.get('x-content-type-options')]
    }
    const echo = { method: 'POST', headers: json, body: '{"n":1}' }
    expect(await headersOf('/echo', echo)).toEqual(['no-store', 'nosniff'])
    for (const path of ['/healthz', '/metrics', '/none', '/fail/typed'])
      expect(await headersOf(path), path).toEqual(['no-store', 'nosniff'])
    expect(await headersOf('/kept')).toEqual(['public, max-age=9', 'nosniff'])
  })

  it('says which methods an address takes', async () => {
    app.fastify.put('/things/:id/parts/*', async () => ({}))
    app.fastify.delete('/things/:id/parts/*', async () => ({}))
    const { url } = await app.listen({ port: 0 })
    const answer = await fetch(`${url}/things/a.b/parts/1/2?x=1`)
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'DELETE, PUT'])
    expect(await answer.json()).toMatchObject({ code: 'ERR_METHOD', title: 'Method not allowed' })
    const post = await fetch(`${url}/healthz`, { method: 'POST' })
    expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
    for (const path of ['/things/a/parts', '/things//parts/x', '/healthzz', '/openapi-json'])
      expect((await fetch(url + path, { method: 'PATCH' })).status, path).toBe(404)
  })

  it('ends a stream that nobody reads before it fills the memory', async () => {
    let send: ((event: { type: string; text: string }) => void) | undefined
    app.fastify.get('/events', (_request, reply) => {
      sendEvents<{ type: string; text: string }>(reply, {
        stopping: app.stopping,
        listen: (listener) => {
          send = listener
          return () => {
            send = undefined
          }
        },
      })
    })
    const { port } = await app.listen({ port: 0 })
    const socket = connect(port, '127.0.0.1').pause()
    socket.on('error', () => {})
    socket.write('GET /events HTTP/1.1\r\nhost: x\r\n\r\n')
    await expect.poll(() => send !== undefined, { timeout: 10_000 }).toBe(true)
    const text = 'x'.repeat(64 * 1024)
    // What the system itself holds for a connection comes on top.
    for (let sent = 0; sent < 1_000 && send !== undefined; sent++) {
      send({ type: 'thing', text })
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(send).toBeUndefined()
    socket.destroy()
  })

  it('streams nothing to who left before the stream began', async () => {
    const open = Promise.withResolvers<void>()
    const begun = Promise.withResolvers<boolean>()
    let listening = 0
    app.fastify.get('/events', async (_request, reply) => {
      open.resolve()
      await once(reply.raw, 'close')
      sendEvents(reply, {
        stopping: app.stopping,
        listen: () => {
          listening++
          return () => listening--
        },
      })
      begun.resolve(true)
    })
    const { port } = await app.listen({ port: 0 })
    const socket = connect(port, '127.0.0.1')
    socket.write('GET /events HTTP/1.1\r\nhost: x\r\n\r\n')
    await open.promise
    socket.destroy()
    expect(await begun.promise).toBe(true)
    expect(listening).toBe(0)
  })

  it('names the field that is wrong', async () => {
    const { url } = await app.listen({ port: 0 })
    const post = async (body: string): Promise<Record<string, unknown>> =>
      (await fetch(`${url}/echo`, { method: 'POST', headers: json, body })).json() as Promise<Record<string, unknown>>
    expect(await post('{"n":0}')).toMatchObject({ status: 400, field: 'body/n', code: 'ERR_REQUEST_INVALID' })
    expect(await post('{}')).toMatchObject({ status: 400, field: 'body/n' })
    expect(await post('{"n":1,"x":2}')).toMatchObject({ status: 400, field: 'body/x' })
    expect(await post('{')).toMatchObject({ status: 400 })
    expect(await post('{"n":2}')).toEqual({ n: 2 })
  })

  it('bounds bodies and time, and takes bytes', async () => {
    const { url, port } = await app.listen({ port: 0 })
    const cbor = { 'content-type': 'application/cbor-seq' }
    const good = await fetch(`${url}/bytes`, { method: 'POST', headers: cbor, body: new Uint8Array(10) })
    expect(await good.json()).toEqual({ size: 10 })
    const large = await fetch(`${url}/bytes`, { method: 'POST', headers: cbor, body: new Uint8Array(1001) })
    expect([large.status, ((await large.json()) as { code: string }).code]).toEqual([413, 'ERR_LIMIT_EXCEEDED'])
    const odd = await fetch(`${url}/bytes`, { method: 'POST', headers: { 'content-type': 'image/png' }, body: 'x' })
    expect(odd.status).toBe(415)
    // A request that never ends is ended by the server.
    const socket = connect(port, '127.0.0.1')
    socket.write('POST /bytes HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab')
    await new Promise<void>((resolve) =>
      socket
        .on('close', () => resolve())
        .on('error', () => {})
        .resume(),
    )
  })

  it('ends endless answers when it stops', async () => {
    app.fastify.get('/stream', (_request, reply) => {
      reply.hijack()
      reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
      reply.raw.write(': hello\n\n')
      app.stopping.addEventListener('abort', () => reply.raw.end())
    })
    app.fastify.get('/stuck', (_request, reply) => {
      reply.hijack()
      reply.raw.writeHead(200)
      reply.raw.write('x')
    })
    const { url } = await app.listen({ port: 0 })
    const stream = await fetch(`${url}/stream`)
    const stuck = await fetch(`${url}/stuck`)
    await app.stop()
    expect(await stream.text()).toBe(': hello\n\n')
    await expect(stuck.text()).rejects.toThrow()
  })
})
