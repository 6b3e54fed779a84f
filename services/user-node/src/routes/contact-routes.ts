import type { FastifyInstance } from '@healthblock/runtime/http-app'
import type { Services } from '../services.ts'

const person = { type: 'string', minLength: 1, maxLength: 64 } as const
const putSchema = {
  params: {
    type: 'object',
    required: ['p', 'account'],
    properties: { p: person, account: { type: 'string', pattern: '^[0-9a-f]{64}$' } },
  },
  body: {
    type: 'object',
    required: ['name'],
    additionalProperties: false,
    properties: {
      name: { type: 'string', minLength: 1, maxLength: 128, pattern: '\\S' },
      compared: { type: 'boolean' },
    },
  },
} as const

/** Whom a person can give access, and her own names for them. */
export function registerContactRoutes(app: FastifyInstance, services: Services): void {
  const { access, contacts } = services

  app.get(
    '/v1/people/:p/directory',
    {
      schema: {
        params: { type: 'object', required: ['p'], properties: { p: person } },
        querystring: {
          type: 'object',
          properties: { q: { type: 'string', maxLength: 128 }, account: { type: 'string', pattern: '^[0-9a-f]{64}$' } },
        },
      },
    },
    async (request) => {
      const session = access.requireSession(request)
      const { q, account } = request.query as { q?: string; account?: string }
      await services.refresh()
      if (account === undefined) return contacts.find(session.person, q ?? '')
      return { found: [contacts.get(session.person, account)], isMore: false, unreachable: 0 }
    },
  )

  app.get('/v1/people/:p/contacts', async (request) => contacts.names(access.requireSession(request).person))

  app.put('/v1/people/:p/contacts/:account', { schema: putSchema }, async (request) => {
    const session = access.requireSession(request)
    const { account } = request.params as { account: string }
    const { name, compared } = request.body as { name: string; compared?: boolean }
    return contacts.put(session.person, account, { name, isCompared: compared === true })
  })
}
