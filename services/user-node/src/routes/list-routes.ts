import { fromHex } from '@healthblock/encoding/bytes'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { noEnd } from '../consent/compose.ts'
import { UserNodeError } from '../errors.ts'
import { listExposure, previewExposure } from '../reading/exposure.ts'
import { listGrants, listReadings } from '../reading/lists.ts'
import { streamOfKind } from '../sealing/samples.ts'
import type { Services } from '../services.ts'
import { heldBy } from './held-nodes.ts'

interface ExposureQuery {
  readonly doctor?: string
  readonly streams?: string
  readonly from?: number
  readonly until?: number
}

const exposureQuery = {
  type: 'object',
  properties: {
    doctor: { type: 'string', pattern: '^[0-9a-f]{64}$' },
    streams: { type: 'string', maxLength: 128 },
    from: { type: 'integer', minimum: 0 },
    until: { type: 'integer', minimum: 0 },
  },
} as const

const diagnosesPage = 100
const diagnosesQuery = {
  type: 'object',
  properties: {
    before: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
    limit: { type: 'integer', minimum: 1, maximum: 1000 },
  },
} as const
const diagnosisParams = {
  type: 'object',
  properties: { id: { type: 'string', pattern: '^[0-9a-f]{64}$' } },
} as const

/** What a person sees: her grants, readings, diagnoses, alarms, whether all of it goes out, and what others may hold. */
export function registerListRoutes(app: FastifyInstance, services: Services): void {
  const { access, alarms, database, ledger, nowMs } = services
  const place = () => ({ epochLengthMs: ledger.epochLengthMs, nowMs: nowMs() })

  app.get('/v1/people/:p/grants', async (request) =>
    listGrants(database, access.requireSession(request).person, { ledger, nowMs: nowMs() }),
  )

  app.get('/v1/people/:p/readings', async (request) => {
    const session = access.requireSession(request)
    await services.sessions.absorbRoots(session)
    await services.refresh()
    return listReadings(database, session.person, [...session.person.hot.nodes, ...session.vault.contents.nodes])
  })

  app.get('/v1/people/:p/exposure', { schema: { querystring: exposureQuery } }, async (request) => {
    const { person } = access.requireSession(request)
    const { doctor, streams, from, until } = request.query as ExposureQuery
    const where = { ...place(), database, person }
    const given = listExposure(where, doctor)
    const isAsked = streams !== undefined || from !== undefined || until !== undefined
    if (doctor === undefined || (given.length > 0 && !isAsked)) return given
    const wanted = streams?.split(',').map((kind) => streamOfKind(person, kind)) ?? person.streams
    const window = { fromMs: from ?? nowMs(), untilMs: until ?? noEnd }
    return [...given, ...previewExposure(where, { doctor, streams: wanted, ...window })]
  })

  app.get('/v1/people/:p/diagnoses', { schema: { querystring: diagnosesQuery } }, async (request) => {
    const session = access.requireSession(request)
    const { before, limit = diagnosesPage } = request.query as { before?: number; limit?: number }
    return services.diagnoses.list(session.person, await heldBy(services, session), { before, limit })
  })

  app.get('/v1/people/:p/diagnoses/:id', { schema: { params: diagnosisParams } }, async (request) => {
    const session = access.requireSession(request)
    const { id } = request.params as { id: string }
    const found = services.diagnoses.find(session.person, await heldBy(services, session), fromHex(id))
    if (found === undefined)
      throw new UserNodeError('there is no such diagnosis', { code: 'ERR_TRANSACTION_UNKNOWN', id })
    return found
  })

  app.get('/v1/people/:p/standing', async (request) => services.standingOf(access.requireSession(request).person))

  app.get('/v1/people/:p/alarms', async (request) => alarms.list(access.requireSession(request).person))

  app.post('/v1/people/:p/alarms/:id/acknowledge', async (request, reply) => {
    const { person } = access.requireSession(request)
    alarms.acknowledge(person, Number((request.params as { id: string }).id), nowMs())
    void reply.code(204)
  })
}
