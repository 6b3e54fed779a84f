import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import type { Services } from '../app.ts'
import { noEnd } from '../consent/compose.ts'
import { UserNodeError } from '../errors.ts'
import { listExposure, listGrants, listReadings } from '../reading/lists.ts'
import { streamOfKind } from '../sealing/samples.ts'

const hex32 = { type: 'string', pattern: '^[0-9a-f]{64}$' } as const

const grantBody = {
  type: 'object',
  required: ['doctor'],
  additionalProperties: false,
  properties: {
    doctor: hex32,
    streams: { type: 'array', minItems: 1, maxItems: 16, items: { type: 'string', maxLength: 16 } },
    from: { type: 'integer', minimum: 0 },
    until: { type: 'integer', minimum: 0 },
    rights: { type: 'integer', minimum: 1, maximum: 15 },
    purpose: { type: 'integer', minimum: 0 },
  },
} as const

const revocationBody = {
  type: 'object',
  additionalProperties: false,
  properties: {
    doctor: hex32,
    grants: { type: 'array', minItems: 1, maxItems: 256, items: { type: 'string', pattern: '^[0-9a-f]{32}$' } },
  },
} as const

/** Grants, revocations and what a person sees of them. */
export function registerConsentRoutes(app: FastifyInstance, services: Services): void {
  const { access, consent, settlement, sessions, database, ledger, nowMs } = services
  const place = () => ({ epochLengthMs: ledger.epochLengthMs, nowMs: nowMs() })

  app.post('/v1/people/:p/grants', { schema: { body: grantBody } }, async (request, reply) => {
    const session = access.requireSession(request)
    const { person, vault } = session
    if (person.state !== 'live')
      throw new UserNodeError('the enrolment is not finished yet', { code: 'ERR_PERSON_PENDING', person: person.name })
    const body = request.body as {
      doctor: string
      streams?: string[]
      from?: number
      until?: number
      rights?: number
      purpose?: number
    }
    await sessions.absorbRoots(session)
    await services.refresh()
    const streams = body.streams === undefined ? person.streams : body.streams.map((kind) => streamOfKind(person, kind))
    const granted = await consent.grant(person, vault, {
      to: fromHex(body.doctor),
      streams: streams.map(({ stream }) => stream),
      fromMs: body.from ?? nowMs(),
      untilMs: body.until ?? noEnd,
      rights: body.rights,
      purpose: body.purpose,
    })
    await sessions.absorbRoots(session)
    services.wake()
    void reply.code(201)
    return { transactionId: toHex(granted.tx), grant: toHex(granted.grantId) }
  })

  app.post('/v1/people/:p/revocations', { schema: { body: revocationBody } }, async (request, reply) => {
    const person = access.requirePersonOrApiSecret(request)
    const { doctor, grants } = request.body as { doctor?: string; grants?: string[] }
    if ((doctor === undefined) === (grants === undefined)) {
      throw new UserNodeError('name either a doctor or grants', { code: 'ERR_GRANT_INVALID', field: 'doctor' })
    }
    const account = doctor === undefined ? undefined : fromHex(doctor)
    const revoked = await consent.revoke(person, ({ recipient, grantId }) =>
      account === undefined ? (grants ?? []).includes(toHex(grantId)) : equalBytes(recipient, account),
    )
    services.wake()
    void reply.code(201)
    return { transactionId: toHex(revoked.tx), changedAt: new Date(revoked.changedAtMs).toISOString() }
  })

  app.get('/v1/people/:p/revocations/:id', async (request) => {
    const { person } = access.requireSession(request)
    const { id } = request.params as { id: string }
    const found = /^[0-9a-f]{64}$/.test(id) ? settlement.find(person, id) : undefined
    if (found === undefined)
      throw new UserNodeError('there is no such revocation', { code: 'ERR_TRANSACTION_UNKNOWN', id })
    return found
  })

  app.get('/v1/people/:p/transactions/:id', async (request) => {
    const { person } = access.requireSession(request)
    const { id } = request.params as { id: string }
    const found = /^[0-9a-f]{64}$/.test(id) ? services.transaction(person, id) : undefined
    if (found === undefined)
      throw new UserNodeError('there is no such transaction', { code: 'ERR_TRANSACTION_UNKNOWN', id })
    return found
  })

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

  app.get('/v1/people/:p/alarms', async (request) => {
    const { person } = access.requireSession(request)
    const rows = database.all(
      'SELECT id, ms, code, severity, about, acknowledged FROM alarm WHERE account = ? ORDER BY ms LIMIT 10000',
      person.account,
    )
    return rows.map((row) => ({
      id: Number(row.id),
      at: new Date(Number(row.ms)).toISOString(),
      code: row.code,
      severity: row.severity,
      about: row.about === null ? null : toHex(row.about as Uint8Array),
      acknowledged: row.acknowledged !== null,
    }))
  })

  app.post('/v1/people/:p/alarms/:id/acknowledge', async (request, reply) => {
    const { person } = access.requireSession(request)
    const { id } = request.params as { id: string }
    database.run(
      'UPDATE alarm SET acknowledged = ? WHERE account = ? AND id = ? AND acknowledged IS NULL',
      nowMs(),
      person.account,
      Number(id),
    )
    void reply.code(204)
  })
}
