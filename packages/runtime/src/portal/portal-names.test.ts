import { request } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createHttpApp, type HttpApp } from '../http/http-app.ts'
import { createLogger } from '../process/logger.ts'
import { guardPortalNames } from './portal-names.ts'

let app: HttpApp
let port: number

beforeAll(async () => {
  app = await createHttpApp({ name: 'x', version: '1', logger: createLogger({ name: 'x', level: 'silent' }) })
  guardPortalNames(app.fastify, ['ann.example'])
  app.fastify.get('/', async () => 'page')
  app.fastify.get('/v1/things', async () => 'things')
  port = (await app.listen({ port: 0 })).port
})

afterAll(() => app.stop())

function statusOf(path: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path, headers }, (answer) => {
      answer.resume()
      resolve(answer.statusCode as number)
    })
      .once('error', reject)
      .end()
  })
}

test('a page whose name was made to lead to this machine is not taken in', async () => {
  for (const host of [
    'evil.example',
    `evil.example:${port}`,
    'localhost.evil.example',
    'ann.example.evil',
    '127.0.0.1.x',
  ])
    expect(await statusOf('/', { host }), host).toBe(421)
  // Nor may it use a session that it came by.
  expect(await statusOf('/v1/things', { host: 'evil.example', cookie: 'a=b' })).toBe(421)
  const good = ['localhost', `127.0.0.1:${port}`, `[::1]:${port}`, 'ann.example', 'ANN.example.:443', '10.0.0.7']
  for (const host of good) expect(await statusOf('/', { host }), host).toBe(200)
  // Services know each other by names of their own.
  expect(await statusOf('/v1/things', { host: 'accounting-1:8080' })).toBe(200)
  expect(await statusOf('/v1/things', { host: 'a', cookie: 'a=b', authorization: 'Bearer x' })).toBe(200)
  // What somebody who is no proxy says of the name counts nothing.
  expect(await statusOf('/', { host: 'evil.example', 'x-forwarded-host': 'ann.example' })).toBe(421)
})
