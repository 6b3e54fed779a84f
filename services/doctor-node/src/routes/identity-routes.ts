import { fromBase64, fromHex, toBase64, toHex } from '@healthblock/encoding/bytes'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import type { Services } from '../services.ts'
import { hex32 } from './schemas.ts'

/** The doctor's account. */
export function registerIdentityRoutes(app: FastifyInstance, services: Services): void {
  const { identity } = services

  app.post(
    '/v1/identity',
    {
      schema: {
        body: {
          type: 'object',
          required: ['name', 'sponsor'],
          additionalProperties: false,
          properties: { name: { type: 'string', minLength: 1, maxLength: 64 }, sponsor: hex32 },
        },
      },
    },
    async (request, reply) => {
      const { name, sponsor } = request.body as { name: string; sponsor: string }
      const { account, body, isNew } = identity.create({ name, sponsor: fromHex(sponsor) })
      void reply.code(isNew ? 201 : 200)
      return { account: toHex(account), body: toBase64(body) }
    },
  )

  app.post(
    '/v1/identity/confirm',
    {
      schema: {
        body: {
          type: 'object',
          required: ['signature'],
          additionalProperties: false,
          properties: { signature: { type: 'string', maxLength: 128 } },
        },
      },
    },
    async (request, reply) => {
      services.register(fromBase64((request.body as { signature: string }).signature))
      void reply.code(202)
      return identity.view()
    },
  )

  app.get('/v1/identity', async () => identity.view())
}
