import { fromHex } from '@healthblock/encoding/bytes'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { listPatients, listQuarantine, listReadings } from '../reading/lists.ts'
import { listUnread } from '../reading/unread.ts'
import type { Services } from '../services.ts'
import { patientBody, patientQuery } from './schemas.ts'

/** What the doctor reads: patients and readings; and what he tries in vain. */
export function registerReadingRoutes(app: FastifyInstance, services: Services): void {
  const { database, grants, experiments } = services

  app.get('/v1/patients', async () => listPatients(services))

  app.get('/v1/readings', { schema: { querystring: patientQuery } }, async (request) => {
    const { patient } = request.query as { patient?: string }
    const patients = patient === undefined ? grants.patients() : [fromHex(patient)]
    return patients.flatMap((one) => listReadings(database, one))
  })

  app.get('/v1/unread', { schema: { querystring: patientQuery } }, async (request) => {
    const { patient } = request.query as { patient?: string }
    return listUnread(database, patient === undefined ? undefined : fromHex(patient))
  })

  app.get('/v1/standing', async () => services.standing())

  app.get('/v1/quarantine', { schema: { querystring: patientQuery } }, async (request) => {
    const { patient } = request.query as { patient?: string }
    return listQuarantine(database, patient === undefined ? undefined : fromHex(patient))
  })

  app.post('/v1/experiments/decrypt', { schema: { body: patientBody } }, async (request) =>
    experiments.decrypt(fromHex((request.body as { patient: string }).patient)),
  )

  app.post('/v1/experiments/envelope', { schema: { body: patientBody } }, async (request) =>
    experiments.envelope(fromHex((request.body as { patient: string }).patient)),
  )
}
