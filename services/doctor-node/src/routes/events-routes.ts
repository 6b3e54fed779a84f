import { sendEvents } from '@healthblock/runtime/event-stream'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import type { Services } from '../services.ts'
import type { Access } from './access.ts'

const catchUpMsMax = 600_000

/** Live events, and waiting until everything that is published now has been looked at. */
export function registerEventRoutes(app: FastifyInstance, services: Services, access: Access): void {
  app.get('/v1/events', async (request, reply) => {
    const { events, stopping } = services
    const session = access.sessionOf(request)
    sendEvents(reply, {
      // A page that is locked, or grew idle, hears nothing more.
      listen: (send) => events.listen((event) => (session === undefined || access.isOpen(session)) && send(event)),
      stopping: session === undefined ? stopping : AbortSignal.any([stopping, session.end]),
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
