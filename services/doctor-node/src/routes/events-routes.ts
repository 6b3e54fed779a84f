import { sendEvents } from '@healthblock/runtime/event-stream'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import type { Services } from '../app.ts'

const catchUpMsMax = 600_000

/** Live events, and waiting until everything that is published now has been looked at. */
export function registerEventRoutes(app: FastifyInstance, services: Services): void {
  app.get('/v1/events', async (_request, reply) => {
    sendEvents(reply, { listen: (send) => services.events.listen(send), stopping: services.stopping })
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
