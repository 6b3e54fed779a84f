/** The HTTP surface: who calls, how errors look, how much at once; the routes are in src/routes. */

import type { IncomingMessage, RequestListener, Server } from 'node:http'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Authorizer, Principal } from './access/authorizer.ts'
import { bearerOf } from './access/bearer.ts'
import { StorageError } from './errors.ts'
import { failureAnswer, internalReason } from './failures.ts'
import { createHttpServer } from './http.ts'
import { createBodies } from './routes/blocks.ts'
import { FairShare } from './routes/fair-share.ts'
import { addKuboRoutes } from './routes/kubo.ts'
import { addNodeRoutes, type NodeRouteParts } from './routes/node.ts'
import { addDescription } from './routes/openapi.ts'
import { createPaces } from './routes/pace.ts'
import type { KuboRouteParts } from './routes/parts.ts'
import { QuickGet } from './routes/quick-get.ts'
import { QuickPut } from './routes/quick-put.ts'
import { addReplicaRoutes, type ReplicaRouteParts } from './routes/replicas.ts'
import { schemaController } from './routes/validation.ts'
import { answerUnreadable } from './unreadable.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls; set before any route that needs a token runs. */
    principal: Principal
  }
}

/** Most requests at once, and half as many of one account; more are told to come again. */
export const requestsAtOnceMax = 1024
/** A body that is not streamed must be here by then; a streamed one may take as long as it moves. */
const requestTimeoutMs = 120_000
const streamTimeoutMs = 6 * 3_600_000
/** A connection over which nothing moves is closed: whoever stops reading, or sending, holds nothing. */
const idleTimeoutMs = 120_000
/** How long a connection is kept that has nothing under way. */
const keepAliveTimeoutMs = 72_000
/** Longest query: 256 arguments. */
const urlLengthMax = 65_536
const streamedPaths = new Set(['/api/v0/add', '/api/v0/dag/import'])
/** Paths that need no token. */
const openPaths = new Set(['/healthz', '/readyz', '/metrics', '/openapi.json'])

/** What {@link createApp} builds the surface from. */
export interface AppParts
  extends Omit<KuboRouteParts, 'bodies' | 'paces'>,
    Omit<NodeRouteParts, 'paces'>,
    ReplicaRouteParts {
  authorizer: Authorizer
}

/** Cuts off callers whose bodies do not come: one timer for all, since one for each request costs every request. */
class BodyLimit {
  /** Requests whose bodies are on their way, with when they began; the oldest first. */
  readonly #waiting = new Map<IncomingMessage, number>()
  readonly #timer: NodeJS.Timeout

  constructor() {
    this.#timer = setInterval(() => this.#sweep(), requestTimeoutMs / 8)
    this.#timer.unref()
  }

  add(request: IncomingMessage): void {
    this.#waiting.set(request, performance.now())
  }

  remove(request: IncomingMessage): void {
    this.#waiting.delete(request)
  }

  #sweep(): void {
    for (const [request, beganAt] of this.#waiting) {
      if (performance.now() - beganAt < requestTimeoutMs) return
      this.#waiting.delete(request)
      if (!request.complete) request.destroy()
    }
  }

  close(): void {
    clearInterval(this.#timer)
  }
}

/** Requests under way: how many, whose, and which of their bodies are on their way. */
class UnderWay {
  readonly #shares = new FairShare(requestsAtOnceMax)
  readonly #bodies = new BodyLimit()
  #count = 0

  /** False at the limit, of all or of an account. Then the command is asked, which refuses. */
  hasRoom(account?: Uint8Array): boolean {
    return this.#count < requestsAtOnceMax && (account === undefined || this.#shares.has(account, 1))
  }

  /** A request has come, whoever sends it, and ends with its answer, also when the caller has gone. */
  begin(request: FastifyRequest, reply: FastifyReply): void {
    this.#count++
    reply.raw.once('close', () => {
      this.#count--
      this.#bodies.remove(request.raw)
    })
  }

  /**
   * Lets one in that has begun.
   *
   * @param isAwaited - false if its body may take its time.
   * @throws {StorageError} `ERR_STORE_BUSY`; what `authorize` throws, which is not asked where there is no room.
   */
  admit({ raw }: FastifyRequest, reply: FastifyReply, authorize: () => Uint8Array, isAwaited: boolean): void {
    const busy = { code: 'ERR_STORE_BUSY', operationsMax: requestsAtOnceMax } as const
    if (this.#count > requestsAtOnceMax) throw new StorageError('too many requests', busy)
    const account = authorize()
    if (!this.#shares.take(account, 1)) throw new StorageError('too many requests of this account', busy)
    reply.raw.once('close', () => this.#shares.give(account, 1))
    if (isAwaited) this.#bodies.add(raw)
  }

  /** One that is not the framework's: {@link hasRoom} was asked. {@link endQuick} must follow. */
  beginQuick(request: IncomingMessage, account: Uint8Array): void {
    this.#count++
    this.#shares.take(account, 1)
    this.#bodies.add(request)
  }

  /** It is done, or left to the framework. */
  endQuick(request: IncomingMessage, account: Uint8Array): void {
    this.#count--
    this.#shares.give(account, 1)
    this.#bodies.remove(request)
  }

  close(): void {
    this.#bodies.close()
  }
}

/** What a check throws. */
function failureOf(check: () => void): Error | undefined {
  try {
    check()
    return undefined
  } catch (error) {
    return error as Error
  }
}

/** Failures in Kubo's form of errors, and its words for a command that it does not know. */
function answerFailures(app: FastifyInstance, events: AppParts['events']): void {
  app.setErrorHandler((error, request, reply) => {
    const { status, headers, body } = failureAnswer(error, request.url)
    if (body.Reason === internalReason) events.requestFailed(request.routeOptions.url ?? 'unknown', error)
    return reply.code(status).headers(headers).send(body)
  })
  app.setNotFoundHandler((request, reply) => {
    const isCommand = request.url.startsWith('/api/v0/')
    if (isCommand && request.method !== 'POST') {
      const answer = reply.code(405).header('allow', 'POST').type('text/plain; charset=utf-8')
      return answer.send('405 - Method Not Allowed\n')
    }
    return isCommand
      ? reply.code(404).type('text/plain; charset=utf-8').send('404 page not found\n')
      : reply
          .code(404)
          .type('application/json')
          .send({ Message: 'no such command', Code: 0, Type: 'error', Reason: 'ERR_ROUTE' })
  })
}

/** What bodies may be, beside those of single commands. */
function addBodyTypes(app: FastifyInstance): void {
  app.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_request, body, done) =>
    done(null, body),
  )
  // What many clients say of a POST without a body. A command takes its arguments from the query, whatever the body is, as Kubo does.
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'buffer' }, (_request, _body, done) =>
    done(null, undefined),
  )
}

/** Most gets and puts end before Fastify is asked (src/routes/quick-get.ts, quick-put.ts); all else goes to it. */
function createServer(ways: readonly (QuickGet | QuickPut)[], handler: RequestListener): Server {
  const server = createHttpServer({ maxHeaderSize: urlLengthMax }, (request, answer) => {
    if (!ways.some((way) => way.take(request, answer, handler))) handler(request, answer)
  })
  server.keepAliveTimeout = keepAliveTimeoutMs
  server.requestTimeout = streamTimeoutMs
  server.setTimeout(idleTimeoutMs)
  return server
}

/** Builds the Fastify instance; it does not listen. */
export function createApp(parts: AppParts): FastifyInstance {
  const { authorizer, events } = parts
  const underWay = new UnderWay()
  const hasRoom = (account?: Uint8Array): boolean => underWay.hasRoom(account)
  const bodies = createBodies(parts.store)
  const quickPut = new QuickPut({
    ...{ ...parts, bodies, hasRoom },
    onBegin: (request, account) => underWay.beginQuick(request, account),
    onEnd: (request, account) => underWay.endQuick(request, account),
  })
  const ways = [new QuickGet({ ...parts, hasRoom }), quickPut]
  const app = fastify({
    logger: false,
    bodyLimit: 64 * 1024,
    return503OnClosing: true,
    clientErrorHandler: answerUnreadable,
    routerOptions: { maxParamLength: 128 },
    schemaController,
    serverFactory: (handler) => createServer(ways, handler),
  })
  app.decorateRequest('principal', null as unknown as Principal)
  app.addHook('onClose', async () => {
    underWay.close()
    bodies.close()
  })
  app.addHook('preClose', async () => {
    for (const way of ways) way.close()
  })
  const admit = (request: FastifyRequest, reply: FastifyReply): void => {
    const path = request.url.split('?', 1)[0] as string
    if (openPaths.has(path)) return
    const authorize = (): Uint8Array => {
      request.principal = authorizer.authorize(bearerOf(request))
      return request.principal.account
    }
    underWay.admit(request, reply, authorize, request.method !== 'GET' && !streamedPaths.has(path))
  }
  // Hooks call back at once: each promise would cost every request a turn.
  app.addHook('onRequest', (request, reply, done) => {
    underWay.begin(request, reply)
    done(failureOf(() => admit(request, reply)))
  })
  app.addHook('onResponse', (request, reply, done) => {
    events.requestDone(request.routeOptions.url ?? 'unknown', reply.statusCode, reply.elapsedTime / 1000)
    done()
  })
  answerFailures(app, events)
  addBodyTypes(app)
  addDescription(app, openPaths)
  const paces = createPaces(app)
  addKuboRoutes(app, { ...parts, bodies, paces })
  addReplicaRoutes(app, parts)
  addNodeRoutes(app, { ...parts, paces })
  return app
}
