import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { sendAll } from './patient-file.ts'

const size = 10
const partSizeMax = 4
let dir: string
let file: FileHandle
let server: Server | undefined

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'patient-file-'))
  writeFileSync(join(dir, 'file'), '0123456789')
  file = await open(join(dir, 'file'), 'r')
})
afterEach(async () => {
  await file.close()
  await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)))
  rmSync(dir, { recursive: true })
})

/** A node that answers the parts with these statuses, one after the other, then 200; `keeps`: bytes that it has of a part which it did not take whole. */
async function nodeThatAnswers(statuses: number[], { keeps = 0 } = {}) {
  let taken = ''
  const state = () => ({ sequence: 1, offset: taken.length, size, partSizeMax, stored: taken.length === size })
  const answer = (request: IncomingMessage, body: string): { status: number; json: object } => {
    const isPart = request.method === 'PUT'
    const status = (isPart ? statuses.shift() : undefined) ?? 200
    const offset = new URL(request.url ?? '', 'http://node').searchParams.get('offset')
    if (isPart && offset !== String(taken.length))
      return { status: 400, json: { detail: 'a part that does not follow' } }
    if (isPart) taken += status === 200 ? body : body.slice(0, keeps)
    return { status, json: status === 200 ? state() : { detail: 'too much waits' } }
  }
  server = createServer((request, response) => {
    let body = ''
    request.on('data', (piece) => {
      body += piece
    })
    request.on('end', () => {
      const { status, json } = answer(request, body)
      const headers = status === 200 ? {} : { 'retry-after': '7' }
      response.writeHead(status, { 'content-type': 'application/json', ...headers })
      response.end(JSON.stringify(json))
    })
  })
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const [paused, said]: [number[], string[]] = [[], []]
  const send = (waitMs: number) =>
    sendAll(file, state(), {
      ...{ access: { name: 'user', url: `http://127.0.0.1:${port}`, bearer: 'x' }, path: '/files/1', waitMs },
      pause: async (ms) => void paused.push(ms),
      say: (words) => said.push(words),
      onProgress: () => {},
    })
  return { send, paused, said, taken: () => taken }
}

test('a part that the node does not take yet is sent again when the node says', async () => {
  const { send, paused, said, taken } = await nodeThatAnswers([200, 503, 429])
  expect(await send(14_000)).toMatchObject({ stored: true })
  expect([paused, taken()]).toEqual([[7_000, 7_000], '0123456789'])
  expect(said).toEqual(Array.from({ length: 2 }, () => 'too much waits; again in 7 s\n'))
})

test('what the node kept of a part is not sent again', async () => {
  const { send, taken } = await nodeThatAnswers([503], { keeps: 3 })
  await send(7_000)
  expect(taken()).toBe('0123456789')
})

test('a node that takes nothing for long, or refuses, is not asked again', async () => {
  const later = await nodeThatAnswers([503, 503, 503])
  await expect(later.send(20_999)).rejects.toThrow('too much waits')
  expect(later.paused).toHaveLength(2)
  server?.close()
  const never = await nodeThatAnswers([413])
  await expect(never.send(60_000)).rejects.toThrow('too much waits')
  expect(never.paused).toEqual([])
})
