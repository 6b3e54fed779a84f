import type { FastifyInstance } from '@healthblock/runtime/http-app'
import type { Services } from '../services.ts'

const query = {
  type: 'object',
  properties: { since: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 0 } },
} as const

/** What storage nodes signed of who fetched a person's blocks: for an auditor. */
export function registerFetchRoutes(app: FastifyInstance, services: Services): void {
  const { access, fetchEvidence } = services
  app.get('/v1/people/:p/fetches', { schema: { querystring: query } }, async (request, reply) => {
    const { person } = access.requireSession(request)
    const { bytes, unreachable, cut } = await fetchEvidence.collect(person, (request.query as { since: number }).since)
    return reply
      .header('cache-control', 'private, no-store')
      .header('healthblock-unreachable', String(unreachable))
      .header('healthblock-cut', String(cut))
      .type('application/cbor-seq')
      .send(Buffer.from(bytes))
  })
}
