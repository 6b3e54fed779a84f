import { Readable } from 'node:stream'
import { writeBundle } from '@healthblock/fhir/bundle'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { streamOfKind } from '../sealing/samples.ts'
import type { Services } from '../services.ts'
import { heldBy } from './held-nodes.ts'

const query = {
  type: 'object',
  properties: {
    from: { type: 'integer', minimum: 0, default: 0 },
    until: { type: 'integer', minimum: 0 },
    streams: { type: 'string', maxLength: 128 },
  },
} as const

/** What a person has of a period as one FHIR R4 Bundle, written as it is opened: one that breaks off is no JSON. */
export function registerExportRoutes(app: FastifyInstance, services: Services): void {
  const { access, fhirExport, sessions, nowMs } = services
  /** Writing it is an act of the person: it keeps the session from growing idle, and breaks off when that ends, for then no key opens anything. */
  async function* whileOpen<T>(id: string, resources: AsyncIterable<T>): AsyncGenerator<T> {
    for await (const resource of resources) {
      sessions.find(id)
      yield resource
    }
  }
  app.get('/v1/people/:p/fhir', { schema: { querystring: query } }, async (request, reply) => {
    const session = access.requireSession(request)
    const { from, until = nowMs() + 1, streams } = request.query as { from: number; until?: number; streams?: string }
    const wanted = streams?.split(',').map((kind) => streamOfKind(session.person, kind)) ?? session.person.streams
    const held = await heldBy(services, session)
    const resources = fhirExport.resources(session, held, { fromMs: from, untilMs: until, streams: wanted })
    return reply
      .header('cache-control', 'private, no-store')
      .type('application/fhir+json')
      .send(Readable.from(writeBundle(whileOpen(session.id, resources), nowMs())))
  })
}
