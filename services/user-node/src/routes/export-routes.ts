import { writeBundle } from '@healthblock/fhir/bundle'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { UserNodeError } from '../errors.ts'
import { streamOfKind } from '../sealing/samples.ts'
import type { Services } from '../services.ts'
import { heldBy } from './held-nodes.ts'

const query = {
  type: 'object',
  properties: {
    from: { type: 'integer', minimum: 0, default: 0 },
    until: { type: 'integer', minimum: 0 },
    streams: { type: 'string', maxLength: 128 },
    export: { type: 'string', pattern: '^[0-9a-f]{16}$' },
  },
} as const

/** What a file's name says of its period: the day that it begins or ends with, or that there is no bound. */
function dayOf(ms: number | undefined, otherwise: string): string {
  const date = new Date(ms ?? Number.NaN)
  return ms === undefined || ms === 0 || Number.isNaN(date.getTime()) ? otherwise : date.toISOString().slice(0, 10)
}

/** What a person has of a period as one FHIR R4 Bundle, written as it is opened: one that breaks off is no JSON. */
export function registerExportRoutes(app: FastifyInstance, services: Services): void {
  const { access, fhirExport, exportProgress, sessions, nowMs } = services
  /** Writing it is an act of the person: it keeps the session from growing idle, and breaks off when that ends, for then no key opens anything. */
  async function* whileOpen<T>(id: string, resources: AsyncIterable<T>): AsyncGenerator<T> {
    for await (const resource of resources) {
      sessions.find(id)
      yield resource
    }
  }
  app.get('/v1/people/:p/fhir', { schema: { querystring: query } }, async (request, reply) => {
    const session = access.requireSession(request)
    const asked = request.query as { from: number; until?: number; streams?: string; export?: string }
    const { from, until = nowMs() + 1 } = asked
    const wanted = asked.streams?.split(',').map((kind) => streamOfKind(session.person, kind)) ?? session.person.streams
    const held = await heldBy(services, session)
    const period = { fromMs: from, untilMs: until, streams: wanted }
    const progress = exportProgress.begin(session.id, asked.export, fhirExport.recordsIn(session.person, period))
    const resources = fhirExport.resources(session, held, { ...period, onRecord: () => progress.records++ })
    const name = `healthblock-${dayOf(from, 'begin')}-${dayOf(asked.until, dayOf(nowMs(), ''))}.fhir.json`
    const pieces = writeBundle(whileOpen(session.id, resources), nowMs())
    return reply
      .header('cache-control', 'private, no-store')
      .header('content-disposition', `attachment; filename="${name}"`)
      .type('application/fhir+json')
      .send(exportProgress.stream(progress, pieces))
  })

  app.get('/v1/people/:p/exports/:name', async (request) => {
    const session = access.requireSession(request)
    const { name } = request.params as { name: string }
    const found = exportProgress.find(session.id, name)
    if (found === undefined)
      throw new UserNodeError('there is no such download', { code: 'ERR_JOB_UNKNOWN', job: name })
    return found
  })
}
