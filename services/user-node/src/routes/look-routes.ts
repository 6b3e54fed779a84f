import { RuntimeError } from '@healthblock/runtime/errors'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { listLookers, listLooks, parseLookCursor } from '../reading/look-lists.ts'
import type { Services } from '../services.ts'

const query = {
  type: 'object',
  properties: {
    reader: { type: 'string', pattern: '^[0-9a-f]{64}$' },
    after: { type: 'string', maxLength: 32 },
    limit: { type: 'integer', minimum: 1, maximum: 1000 },
  },
} as const

/** Who looked at a person's data, as the storage nodes have it. */
export function registerLookRoutes(app: FastifyInstance, services: Services): void {
  const { access, looks, database } = services

  app.get('/v1/people/:p/looks', { schema: { querystring: query } }, async (request) => {
    const { person } = access.requireSession(request)
    const { reader, after, limit = 100 } = request.query as { reader?: string; after?: string; limit?: number }
    const cursor = after === undefined ? undefined : parseLookCursor(after)
    if (after !== undefined && cursor === undefined) {
      const detail = { code: 'ERR_REQUEST_INVALID', field: 'querystring/after', reason: 'not a cursor' } as const
      throw new RuntimeError('querystring/after is no cursor of this list', detail)
    }
    if (cursor === undefined) await looks.gather(person)
    return listLooks(database, person, { reader, after: cursor, limit })
  })

  app.get('/v1/people/:p/lookers', async (request) => {
    const { person } = access.requireSession(request)
    await looks.gather(person)
    const { atMs, unreachable } = looks.gathered(person)
    return {
      asOf: atMs === undefined ? null : new Date(atMs).toISOString(),
      unreachable,
      lookers: listLookers(database, person),
    }
  })
}
