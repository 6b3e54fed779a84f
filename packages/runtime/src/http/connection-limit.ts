/** No one takes all of a service: each source has a part of its connections, or, behind a proxy, of what is asked at one time. */
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { RuntimeError } from '../errors.ts'
import { type Networks, sourceOf } from './client-source.ts'

/** Who has too many waits so long. */
const retryAfterMs = 5_000
/** One too many that asks nothing is closed after so long. */
const silentMs = 2_000

/** What each source has open. */
class Open {
  readonly #counts = new Map<string, number>()

  /** @returns how many the source has with this one. */
  add(source: string): number {
    const count = (this.#counts.get(source) ?? 0) + 1
    this.#counts.set(source, count)
    return count
  }

  remove(source: string): void {
    const left = (this.#counts.get(source) ?? 1) - 1
    if (left === 0) this.#counts.delete(source)
    else this.#counts.set(source, left)
  }
}

/**
 * Bounds the connections of one source. On one more the first request is answered 429, whatever it asks, and the connection is closed. A
 * connection of a trusted proxy carries many sources: there each has at most `max` requests that are not answered yet.
 */
export function limitConnections(app: FastifyInstance, { max, proxies }: { max: number; proxies: Networks }): void {
  const connections = new Open()
  const surplus = new WeakSet<Socket>()
  app.server.on('connection', (socket: Socket) => {
    const { remoteAddress } = socket
    if (proxies.has(remoteAddress)) return
    const source = sourceOf(remoteAddress ?? '')
    const count = connections.add(source)
    socket.once('close', () => connections.remove(source))
    if (count <= max) return
    surplus.add(socket)
    const timer = setTimeout(() => socket.destroy(), silentMs)
    timer.unref()
    socket.once('close', () => clearTimeout(timer))
  })
  const requests = new Open()
  app.addHook('onRequest', async (request, reply) => {
    const { socket } = request.raw
    if (proxies.has(socket.remoteAddress)) {
      const source = sourceOf(request.ip)
      reply.raw.once('close', () => requests.remove(source))
      if (requests.add(source) <= max) return
    } else if (surplus.has(socket)) void reply.header('connection', 'close')
    else return
    const words = 'too many connections from one address: use fewer, or keep them open'
    throw new RuntimeError(words, { code: 'ERR_TOO_MANY_AT_ONCE', retryAfterMs })
  })
}
