import type { FastifyInstance } from '@healthblock/runtime/http-app'
import type { Services } from '../app.ts'

const heartbeatMs = 15_000
const drainMsMax = 600_000

/** Live events of a person, and waiting until nothing is under way. */
export function registerEventRoutes(app: FastifyInstance, services: Services): void {
  const { access, events } = services

  app.get('/v1/events', async (request, reply) => {
    const { person } = access.requireSession(request)
    reply.hijack()
    const { raw } = reply
    raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    const stop = events.listen((event) => {
      if (event.account === person.id) raw.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
    })
    const heartbeat = setInterval(() => raw.write(': alive\n\n'), heartbeatMs)
    const end = (): void => {
      clearInterval(heartbeat)
      stop()
      raw.end()
    }
    services.stopping.addEventListener('abort', end, { once: true })
    raw.once('close', () => {
      services.stopping.removeEventListener('abort', end)
      end()
    })
  })

  app.post(
    '/v1/drain',
    {
      schema: {
        body: {
          type: 'object',
          additionalProperties: false,
          properties: { timeoutMs: { type: 'integer', minimum: 0, maximum: drainMsMax } },
        },
      },
      preValidation: async (request) => access.requireApiSecret(request),
    },
    async (request) => ({
      pending: await services.drain((request.body as { timeoutMs?: number }).timeoutMs ?? 30_000),
    }),
  )
}
