/**
 * The HTTP application of every service: one error handler, limits, health, readiness, metrics, OpenAPI, an orderly
 * stop. A service adds its routes, each with a schema, and nothing here knows what they do.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import swagger from '@fastify/swagger'
import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import { collectDefaultMetrics, Histogram, Registry } from 'prom-client'
import { writeFileDurably } from '../disk/files.ts'
import { messageOf, RuntimeError } from '../errors.ts'
import type { Logger } from '../process/logger.ts'
import { processInstance } from '../process/process-instance.ts'
import { Networks } from './client-source.ts'
import { limitConnections } from './connection-limit.ts'
import { listenFailure } from './listen-failure.ts'
import { noteMethods } from './method-guard.ts'
import { createProblem, problemContentType, problemOf, type StatusOfCode } from './problem.ts'
import { findRequestFault } from './request-fault.ts'

export type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
export { createProblem, type Problem, type StatusOfCode } from './problem.ts'

/** One thing that must hold before work is sent to this process. `reason` says what is missing. */
export interface ReadinessCheck {
  readonly name: string
  readonly ready: boolean
  readonly reason?: string
}

/** How to build an application. */
export interface HttpAppOptions {
  /** Service name, for OpenAPI and logs. */
  readonly name: string
  readonly version: string
  readonly logger: Logger
  /** Looked at for each `/readyz`; absent means ready as soon as it listens. */
  readonly readiness?: () => readonly ReadinessCheck[] | Promise<readonly ReadinessCheck[]>
  /** HTTP status of the service's own error codes. */
  readonly statusOfCode?: StatusOfCode
  /** Metrics of the service; a new registry if absent. */
  readonly metrics?: Registry
  /** Largest body, default 1 MiB; a route may set its own `bodyLimit`. */
  readonly bodySizeBytesMax?: number
  /** A request must have arrived in full within this time, default 30 s. Answers are not bounded by it. */
  readonly requestTimeoutMs?: number
  /** Connections at one time, default 1,024. */
  readonly connectionsMax?: number
  /** And of one source (`sourceOf`), default three quarters of them: more are answered 429. Behind a trusted proxy: requests under way. */
  readonly connectionsPerSourceMax?: number
  /** Addresses and networks whose `X-Forwarded-For`, `-Proto` and `-Host` are believed; nobody's by default. */
  readonly trustedProxies?: readonly string[] | undefined
  /** After this long a stop ends connections that are still busy, default 10 s. */
  readonly stopTimeoutMs?: number
}

/** An application, with what a service needs besides its routes. */
export interface HttpApp {
  readonly fastify: FastifyInstance
  readonly metrics: Registry
  /** Aborted when the stop begins: streams that would last for ever end upon it. */
  readonly stopping: AbortSignal
  /**
   * Begins to listen, and writes `address.json` if a folder is named.
   *
   * @returns The address, with the port that the system chose if `port` was 0.
   * @throws {RuntimeError} `ERR_PORT_IN_USE`, or `ERR_LISTEN_FAILED`.
   */
  listen(options: ListenOptions): Promise<Address>
  /** Finishes what is under way, then closes; removes `address.json`. Twice is once. */
  stop(): Promise<void>
}

/** Where to listen. */
export interface ListenOptions {
  /** Default 127.0.0.1. */
  readonly host?: string
  /** 0 lets the system choose. */
  readonly port: number
  /** Folder for `address.json`. */
  readonly dir?: string
}

/** Where a service listens; the content of `address.json`. */
export interface Address {
  readonly url: string
  readonly host: string
  readonly port: number
  readonly pid: number
  /** As `/healthz` and `/readyz` say it (`processInstance`). */
  readonly instance: string
}

/** Content types whose bodies routes get as bytes (`Buffer`). */
const byteContentTypes = ['application/cbor', 'application/cbor-seq', 'application/octet-stream']

function createFastify(options: HttpAppOptions): FastifyInstance {
  const proxies = new Networks(options.trustedProxies ?? [])
  const app = fastify({
    // An address that cannot be read has no route, and so none of the handlers below.
    frameworkErrors: (_error, _request, reply) => {
      const problem = createProblem({ status: 400, code: 'ERR_REQUEST_INVALID', detail: 'the address cannot be read' })
      void (reply as FastifyReply).code(400).type(problemContentType).send(JSON.stringify(problem))
    },
    trustProxy: (address: string) => proxies.has(address),
    loggerInstance: options.logger.child({ part: 'http' }) as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    // What is logged of a request names it: a logger for each costs more than routing it.
    childLoggerFactory: (logger) => logger,
    bodyLimit: options.bodySizeBytesMax ?? 1024 * 1024,
    requestTimeout: options.requestTimeoutMs ?? 30_000,
    http: { connectionsCheckingInterval: Math.min(5_000, options.requestTimeoutMs ?? 30_000) },
    keepAliveTimeout: 30_000,
    forceCloseConnections: 'idle',
    return503OnClosing: true,
    routerOptions: { maxParamLength: 512 },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: true, allErrors: false } },
  }) as unknown as FastifyInstance
  const connectionsMax = options.connectionsMax ?? 1024
  app.server.maxConnections = connectionsMax
  limitConnections(app, { proxies, max: options.connectionsPerSourceMax ?? Math.ceil(0.75 * connectionsMax) })
  app.server.headersTimeout = Math.min(15_000, options.requestTimeoutMs ?? 30_000)
  for (const type of byteContentTypes) {
    app.addContentTypeParser(type, { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  }
  return app
}

/**
 * What every answer says unless its route says otherwise: it is for the one who asked and is kept nowhere, not even on the disk of a browser
 * that somebody logged out of, and it is what it says it is.
 */
const usualHeaders = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' } as const

function addUsualHeaders(app: FastifyInstance): void {
  app.addHook('onRequest', async (_request, reply) => void reply.headers(usualHeaders))
}

function addValueGuard(app: FastifyInstance): void {
  app.addHook('preHandler', async ({ params, query, body }) => {
    const fault =
      findRequestFault(params, 'params') ?? findRequestFault(query, 'querystring') ?? findRequestFault(body, 'body')
    if (fault === undefined) return
    throw new RuntimeError(`${fault.field} is ${fault.reason}`, { code: 'ERR_REQUEST_INVALID', ...fault })
  })
}

function addErrorHandlers(app: FastifyInstance, options: HttpAppOptions): void {
  const send = (reply: FastifyReply, error: unknown): void => {
    const { problem, headers } = problemOf(error, options.statusOfCode ?? {})
    void reply
      .code(problem.status)
      // What is not there yet may be there soon.
      .headers({ 'cache-control': 'no-store', ...headers })
      .type(problemContentType)
      .send(JSON.stringify(problem))
  }
  app.setErrorHandler((error, request, reply) => {
    const { problem } = problemOf(error, options.statusOfCode ?? {})
    if (problem.status >= 500 && problem.status !== 503) {
      request.log.error({ err: error, route: routeOf(request), requestId: request.id }, 'request failed')
    }
    send(reply, error)
  })
  const methodsOf = noteMethods(app)
  app.setNotFoundHandler((request, reply) => {
    const methods = methodsOf(request.url)
    const problem =
      methods.length === 0
        ? createProblem({ status: 404, code: 'ERR_NOT_FOUND', detail: 'there is nothing at this address' })
        : createProblem({
            status: 405,
            code: 'ERR_METHOD',
            detail: `this address takes ${methods.join(', ')} alone`,
          })
    if (methods.length > 0) void reply.header('allow', methods.join(', '))
    void reply.code(problem.status).type(problemContentType).send(JSON.stringify(problem))
  })
}

/** The route's pattern, never the address: ids in paths stay out of logs and labels. */
function routeOf(request: FastifyRequest): string {
  return request.routeOptions.url ?? 'unknown'
}

function addMetrics(app: FastifyInstance, registry: Registry): void {
  collectDefaultMetrics({ register: registry })
  const duration = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time from the request to the end of its answer',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30],
    registers: [registry],
  })
  app.addHook('onResponse', async (request, reply) => {
    const labels = { method: request.method, route: routeOf(request), status: String(reply.statusCode) }
    duration.observe(labels, reply.elapsedTime / 1000)
    request.log.debug({ ...labels, ms: Math.round(reply.elapsedTime) }, 'request')
  })
}

async function readinessOf(options: HttpAppOptions): Promise<readonly ReadinessCheck[]> {
  try {
    return (await options.readiness?.()) ?? []
  } catch (error) {
    return [{ name: 'readiness', ready: false, reason: messageOf(error) }]
  }
}

/** One at a time: who asks while it is being worked out gets the same. Anybody may ask, and it costs something. */
function shared<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined
  return () => {
    running ??= work().finally(() => {
      running = undefined
    })
    return running
  }
}

function addOwnRoutes(app: FastifyInstance, options: HttpAppOptions, registry: Registry, stopping: AbortSignal): void {
  const hidden = { schema: { hide: true } }
  const readiness = shared(() => readinessOf(options))
  const metrics = shared(() => registry.metrics())
  let description: string | undefined
  app.get('/healthz', hidden, async () => ({ status: 'alive', instance: processInstance() }))
  app.get('/readyz', hidden, async (_request, reply) => {
    const checks = stopping.aborted ? [{ name: 'running', ready: false, reason: 'stopping' }] : await readiness()
    const ready = checks.every((check) => check.ready)
    const status = ready ? 'ready' : 'not ready'
    return reply.code(ready ? 200 : 503).send({ status, checks, instance: processInstance() })
  })
  app.get('/metrics', hidden, async (_request, reply) => reply.type(registry.contentType).send(await metrics()))
  app.get('/openapi.json', hidden, async (_request, reply) => {
    // The routes stay what they are: written once.
    description ??= JSON.stringify(app.swagger())
    return reply.type('application/json; charset=utf-8').send(description)
  })
}

/** Builds an application with everything but the service's routes: add those to `fastify`, then `listen`. */
export async function createHttpApp(options: HttpAppOptions): Promise<HttpApp> {
  const registry = options.metrics ?? new Registry()
  const stopping = new AbortController()
  const app = createFastify(options)
  addUsualHeaders(app)
  addErrorHandlers(app, options)
  addValueGuard(app)
  addMetrics(app, registry)
  await app.register(swagger, {
    openapi: { openapi: '3.1.0', info: { title: options.name, version: options.version } },
  })
  addOwnRoutes(app, options, registry, stopping.signal)

  let addressPath: string | undefined
  let stopped: Promise<void> | undefined
  const stop = async (): Promise<void> => {
    stopping.abort()
    if (addressPath !== undefined) rmSync(addressPath, { force: true })
    const force = setTimeout(() => app.server.closeAllConnections(), options.stopTimeoutMs ?? 10_000)
    try {
      await app.close()
    } finally {
      clearTimeout(force)
    }
  }
  return {
    fastify: app,
    metrics: registry,
    stopping: stopping.signal,
    async listen(listenOptions) {
      const address = await listen(app, listenOptions)
      if (listenOptions.dir !== undefined) {
        addressPath = join(listenOptions.dir, 'address.json')
        writeFileDurably(addressPath, `${JSON.stringify(address)}\n`)
      }
      options.logger.info({ url: address.url }, 'listening')
      return address
    },
    stop() {
      stopped ??= stop()
      return stopped
    },
  }
}

async function listen(app: FastifyInstance, options: ListenOptions): Promise<Address> {
  const host = options.host ?? '127.0.0.1'
  try {
    await app.listen({ host, port: options.port })
  } catch (error) {
    throw listenFailure(error, { host, port: options.port })
  }
  const bound = app.server.address()
  const port = typeof bound === 'object' && bound !== null ? bound.port : options.port
  const shown = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : host.includes(':') ? `[${host}]` : host
  return { url: `http://${shown}:${port}`, host, port, pid: process.pid, instance: processInstance() }
}

/**
 * Runs `stop` once, upon the first SIGTERM or SIGINT, and ends the process: status 0, or 1 if the stop failed or took
 * longer than `timeoutMs` (default 20 s). A second signal ends it at once.
 */
export function stopOnSignals(options: { logger: Logger; stop: () => Promise<void>; timeoutMs?: number }): void {
  let stopping = false
  const begin = (signal: NodeJS.Signals): void => {
    if (stopping) process.exit(1)
    stopping = true
    options.logger.info({ signal }, 'stopping')
    const force = setTimeout(() => process.exit(1), options.timeoutMs ?? 20_000)
    force.unref()
    options.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        options.logger.error({ err: error }, 'the stop failed')
        process.exit(1)
      },
    )
  }
  process.on('SIGTERM', begin)
  process.on('SIGINT', begin)
}
