import type { FastifyInstance } from '@healthblock/runtime/http-app'
import type { Services } from '../app.ts'
import { listExposure, listGrants, listReadings } from '../reading/lists.ts'

/** What a person sees: her grants, readings, diagnoses, alarms, and what others may hold. */
export function registerListRoutes(app: FastifyInstance, services: Services): void {
  const { access, sessions, alarms, database, ledger, nowMs } = services
  const place = () => ({ epochLengthMs: ledger.epochLengthMs, nowMs: nowMs() })

  app.get('/v1/people/:p/grants', async (request) =>
    listGrants(database, access.requireSession(request).person, place()),
  )

  app.get('/v1/people/:p/readings', async (request) => {
    const { person } = access.requireSession(request)
    await services.refresh()
    return listReadings(database, person)
  })

  app.get('/v1/people/:p/exposure', async (request) => {
    const { person } = access.requireSession(request)
    const { doctor } = request.query as { doctor?: string }
    return listExposure(database, person, { ...place(), doctor })
  })

  app.get('/v1/people/:p/diagnoses', async (request) => {
    const session = access.requireSession(request)
    await sessions.absorbRoots(session)
    await services.refresh()
    await services.diagnoses.open()
    return services.diagnoses.list(session.person, [...session.person.hot.nodes, ...session.vault.contents.nodes])
  })

  app.get('/v1/people/:p/alarms', async (request) => alarms.list(access.requireSession(request).person))

  app.post('/v1/people/:p/alarms/:id/acknowledge', async (request, reply) => {
    const { person } = access.requireSession(request)
    alarms.acknowledge(person, Number((request.params as { id: string }).id), nowMs())
    void reply.code(204)
  })
}
