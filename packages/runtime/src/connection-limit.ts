/** No one takes all connections of a service: each address has a part of them. */
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { RuntimeError } from './errors.ts'

/** Who has too many waits so long. */
const retryAfterMs = 5_000
/** One too many that asks nothing is closed after so long. */
const silentMs = 2_000

/**
 * Bounds the connections of one address. On one more the first request is answered 429, whatever it asks, and the connection is closed. Behind a
 * proxy all are of one address: there the proxy bounds, and `max` must be what it may open.
 */
export function limitConnections(app: FastifyInstance, max: number): void {
  const open = new Map<string, number>()
  const surplus = new WeakSet<Socket>()
  app.server.on('connection', (socket: Socket) => {
    const source = socket.remoteAddress ?? ''
    const count = (open.get(source) ?? 0) + 1
    open.set(source, count)
    socket.once('close', () => {
      const left = (open.get(source) ?? 1) - 1
      if (left === 0) open.delete(source)
      else open.set(source, left)
    })
    if (count <= max) return
    surplus.add(socket)
    const timer = setTimeout(() => socket.destroy(), silentMs)
    timer.unref()
    socket.once('close', () => clearTimeout(timer))
  })
  app.addHook('onRequest', async (request, reply) => {
    if (!surplus.has(request.raw.socket)) return
    void reply.header('connection', 'close')
    const words = 'too many connections from one address: use fewer, or keep them open'
    throw new RuntimeError(words, { code: 'ERR_TOO_MANY_AT_ONCE', retryAfterMs })
  })
}
