/** The HTTP surface: who calls, how errors look, how much at once; the routes are in src/routes. */
import fastify, { type FastifyError, type FastifyInstance, type FastifyRequest } from 'fastify'
import type { Authorizer, Principal } from './access/authorizer.ts'
import { StorageError, type StorageErrorCode } from './errors.ts'
import { addKuboRoutes, type KuboRouteParts } from './routes/kubo.ts'
import { addNodeRoutes, type NodeRouteParts } from './routes/node.ts'
import { addReplicaRoutes } from './routes/replicas.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls; set before any route that needs a token runs. */
    principal: Principal
  }
}

/** Most requests at once; more are told to come again. */
export const requestsAtOnceMax = 1024
const tokenLengthMax = 4096
const requestTimeoutMs = 120_000
/** Paths that need no token. */
const openPaths = new Set(['/healthz', '/readyz', '/metrics'])

const statusOf: Partial<Record<StorageErrorCode, number>> = {
  ERR_TOKEN_MISSING: 401,
  ERR_TOKEN_INVALID: 401,
  ERR_ROLE_FORBIDDEN: 403,
  ERR_NOT_WRITER: 403,
  ERR_BLOCK_SEALED: 403,
  ERR_ARGUMENT_INVALID: 400,
  ERR_CID_INVALID: 400,
  ERR_MULTIPART_INVALID: 400,
  ERR_BLOCK_MISMATCH: 400,
  ERR_BLOCK_TOO_LARGE: 413,
  ERR_QUOTA_EXCEEDED: 413,
  ERR_BLOCK_NOT_FOUND: 404,
  ERR_NOT_PINNED: 404,
  ERR_BLOCK_ERASED: 410,
  ERR_BLOCK_RELEASED: 410,
  ERR_BLOCK_PINNED: 409,
  ERR_PIN_UNSUPPORTED: 501,
  ERR_STORE_FULL: 507,
  ERR_STORE_BUSY: 503,
  ERR_QUORUM_MISSED: 503,
  ERR_TIMEOUT: 504,
}

/** What {@link createApp} builds the surface from. */
export interface AppParts extends KuboRouteParts, NodeRouteParts {
  authorizer: Authorizer
}

function bearerOf(request: FastifyRequest): string {
  const header = request.headers.authorization
  if (!header) throw new StorageError('a bearer token is needed', { code: 'ERR_TOKEN_MISSING' })
  const token = header.startsWith('Bearer ') ? header.slice(7) : ''
  if (token === '' || token.length > tokenLengthMax) {
    throw new StorageError('the token is not valid', { code: 'ERR_TOKEN_INVALID' })
  }
  return token
}

/** How a failure is told: status, typed reason, public message. */
function describe(error: unknown): { status: number; reason: string; message: string } {
  if (error instanceof StorageError) {
    return { status: statusOf[error.detail.code] ?? 500, reason: error.detail.code, message: error.message }
  }
  const { name, statusCode, code, message } = error as FastifyError
  if (name === 'TimeoutError' || name === 'AbortError') {
    return { status: 504, reason: 'ERR_TIMEOUT', message: 'context deadline exceeded' }
  }
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return { status: 413, reason: 'ERR_BLOCK_TOO_LARGE', message: 'the block is too large' }
  }
  if (statusCode && statusCode >= 400 && statusCode < 500) {
    return { status: statusCode, reason: 'ERR_ARGUMENT_INVALID', message }
  }
  return { status: 500, reason: 'ERR_INTERNAL', message: 'internal error' }
}

/** Builds the Fastify instance; it does not listen. */
export function createApp(parts: AppParts): FastifyInstance {
  const { authorizer, events } = parts
  const app = fastify({
    logger: false,
    bodyLimit: 64 * 1024,
    requestTimeout: requestTimeoutMs,
    return503OnClosing: true,
    routerOptions: { maxParamLength: 128 },
    ajv: { customOptions: { removeAdditional: false } },
  })
  let atOnce = 0
  app.decorateRequest('principal', null as unknown as Principal)
  app.addHook('onRequest', async (request, reply) => {
    atOnce++
    // 'close' comes for every answer, also when the caller has gone.
    reply.raw.once('close', () => atOnce--)
    const path = request.url.split('?', 1)[0] as string
    if (openPaths.has(path)) return
    if (atOnce > requestsAtOnceMax) {
      throw new StorageError('too many requests', { code: 'ERR_STORE_BUSY', operationsMax: requestsAtOnceMax })
    }
    request.principal = await authorizer.authorize(bearerOf(request))
  })
  app.addHook('onResponse', async (request, reply) => {
    events.requestDone(request.routeOptions.url ?? 'unknown', reply.statusCode, reply.elapsedTime / 1000)
  })
  app.setErrorHandler((error, request, reply) => {
    const { status, reason, message } = describe(error)
    if (status === 500) events.requestFailed(request.routeOptions.url ?? 'unknown', error)
    if (status === 401) reply.header('www-authenticate', 'Bearer')
    if (status === 503) reply.header('retry-after', '1')
    return reply
      .code(status)
      .type('application/json')
      .send({ Message: message, Code: 0, Type: 'error', Reason: reason })
  })
  app.setNotFoundHandler((_request, reply) =>
    reply
      .code(404)
      .type('application/json')
      .send({ Message: 'no such command', Code: 0, Type: 'error', Reason: 'ERR_ROUTE' }),
  )
  app.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_request, body, done) =>
    done(null, body),
  )
  addKuboRoutes(app, parts)
  addReplicaRoutes(app, parts)
  addNodeRoutes(app, parts)
  return app
}
