import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { RuntimeError } from '../errors.ts'
import { readPiece } from './piece-reads.ts'

const open: { close: () => void }[] = []
afterEach(() => {
  for (const { close } of open.splice(0)) close()
})

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const sockets = new Set<Socket>()
  const server = createServer(answer)
  server.on('connection', (socket) => sockets.add(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  open.push({
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/piece`, sockets }
}

const bounds = { timeoutMs: 10_000, sizeBytesMax: 1_000 }

async function failureOf(read: Promise<unknown>): Promise<unknown> {
  const error = await read.then(
    () => undefined,
    (found: unknown) => found,
  )
  if (!(error instanceof RuntimeError)) throw error ?? new Error('it succeeded')
  return { code: error.detail.code, ...('status' in error.detail ? { status: error.detail.status } : {}) }
}

describe('a read of a piece', () => {
  test('gives every byte, with its headers sent, over a connection that stays, refusals between', async () => {
    const { url, sockets } = await serve(({ headers }, response) => {
      if (headers.authorization === undefined) return void response.writeHead(401).end()
      response.write(`${headers.authorization} `)
      response.end(Uint8Array.of(0x61, 0, 0xff))
    })
    for (let i = 0; i < 3; i++) {
      expect(await failureOf(readPiece({ url, ...bounds }))).toEqual({ code: 'ERR_SOURCE_REFUSED', status: 401 })
      const bytes = await readPiece({ url, headers: { authorization: 'Bearer x' }, ...bounds })
      expect(Buffer.from(bytes).toString('latin1')).toBe('Bearer x a\0ÿ')
    }
    expect(sockets.size).toBe(1)
  })

  test('fails by name: refused, too large, redirected, cut off, nobody there', async () => {
    const answers: Record<string, (response: ServerResponse) => void> = {
      refused: (response) => response.writeHead(404).end('{"code":"ERR_NOT_FOUND"}'),
      large: (response) => response.end(new Uint8Array(1_001)),
      redirected: (response) => response.writeHead(302, { location: '/elsewhere' }).end(),
      cut: (response) => {
        response.writeHead(200, { 'content-length': '20' })
        response.write('some', () => response.destroy())
      },
    }
    const { url } = await serve((request, response) => answers[(request.url ?? '').slice(1)]?.(response))
    const read = (name: string) => failureOf(readPiece({ url: url.replace('piece', name), ...bounds }))
    expect(await read('refused')).toEqual({ code: 'ERR_SOURCE_REFUSED', status: 404 })
    expect(await read('large')).toEqual({ code: 'ERR_SOURCE_MISBEHAVED' })
    expect(await read('redirected')).toEqual({ code: 'ERR_SOURCE_REFUSED', status: 302 })
    expect(await read('cut')).toEqual({ code: 'ERR_SOURCE_UNREACHABLE' })
    const headers = { authorization: 'two\nlines' }
    expect(await failureOf(readPiece({ url, headers, ...bounds }))).toEqual({ code: 'ERR_SOURCE_UNREACHABLE' })
    open.splice(0)[0]?.close()
    expect(await read('gone')).toEqual({ code: 'ERR_SOURCE_UNREACHABLE' })
  })

  test('ends when its time is over, and when its caller gives up', async () => {
    const { url } = await serve(() => {})
    expect(await failureOf(readPiece({ url, ...bounds, timeoutMs: 20 }))).toEqual({ code: 'ERR_SOURCE_UNREACHABLE' })
    const reason = new Error('given up')
    await expect(readPiece({ url, ...bounds, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const control = new AbortController()
    const reading = readPiece({ url, ...bounds, signal: control.signal })
    control.abort(reason)
    await expect(reading).rejects.toBe(reason)
  })

  test('is made again if the connection that it was sent on had just been closed', async () => {
    let count = 0
    const { url } = await serve((request, response) => {
      count++
      // The second one is never answered: its connection ends as an idle one does.
      if (count === 2) request.socket.resetAndDestroy()
      else response.end(String(count))
    })
    const read = async () => Buffer.from(await readPiece({ url, ...bounds })).toString()
    expect(await read()).toBe('1')
    expect(await read()).toBe('3')
  })
})
