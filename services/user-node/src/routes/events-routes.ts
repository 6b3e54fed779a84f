import { sendEvents } from '@healthblock/runtime/event-stream'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import type { UserNodeEvent } from '../events.ts'
import type { Services } from '../services.ts'

const drainMsMax = 600_000

/** Live events of a person, and waiting until nothing is under way. */
export function registerEventRoutes(app: FastifyInstance, services: Services): void {
  const { access, events } = services

  app.get('/v1/events', async (request, reply) => {
    const { person, end } = access.requireSession(request)
    sendEvents<UserNodeEvent>(reply, {
      listen: (send) => events.listen((event) => event.account === person.id && send(event)),
      stopping: AbortSignal.any([services.stopping, end]),
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
      onRequest: async (request) => access.requireApiSecret(request),
    },
    async (request) => ({
      pending: await services.drain((request.body as { timeoutMs?: number }).timeoutMs ?? 30_000),
    }),
  )
}
