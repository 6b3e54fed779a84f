import type { FastifyInstance } from '@healthblock/runtime/http-app'
import type { Services } from '../app.ts'

const heartbeatMs = 15_000
const catchUpMsMax = 600_000

/** Live events, and waiting until everything that is published now has been looked at. */
export function registerEventRoutes(app: FastifyInstance, services: Services): void {
  app.get('/v1/events', async (_request, reply) => {
    reply.hijack()
    const { raw } = reply
    raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    const stop = services.events.listen((event) =>
      raw.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`),
    )
    // Sends the head at once: whoever waits for it misses nothing that comes after.
    raw.write(': here\n\n')
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
    '/v1/catch-up',
    {
      schema: {
        body: {
          type: 'object',
          additionalProperties: false,
          properties: { timeoutMs: { type: 'integer', minimum: 0, maximum: catchUpMsMax } },
        },
      },
    },
    async (request) => services.catchUp((request.body as { timeoutMs?: number }).timeoutMs ?? 30_000),
  )
}
