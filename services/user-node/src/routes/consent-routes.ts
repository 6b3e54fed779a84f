import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { actOf, evidenceProperties } from '@healthblock/runtime/second-factor-routes'
import { noEnd } from '../consent/compose.ts'
import { checkRequest, type GrantRequest } from '../consent/request.ts'
import { UserNodeError } from '../errors.ts'
import { streamOfKind } from '../sealing/samples.ts'
import type { Services } from '../services.ts'

const hex32 = { type: 'string', pattern: '^[0-9a-f]{64}$' } as const

const grantBody = {
  type: 'object',
  required: ['doctor'],
  additionalProperties: false,
  properties: {
    doctor: hex32,
    streams: { type: 'array', minItems: 1, maxItems: 16, items: { type: 'string', maxLength: 16 } },
    from: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
    until: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
    rights: { type: 'integer', minimum: 1, maximum: 15 },
    purpose: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
    ...evidenceProperties,
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

/** Giving and taking back access. */
export function registerConsentRoutes(app: FastifyInstance, services: Services): void {
  registerGrantRoute(app, services)
  registerRevocationRoutes(app, services)
  registerRekeyRoute(app, services)
}

function registerGrantRoute(app: FastifyInstance, services: Services): void {
  const { access, consent, sessions, factors, vaultFactors, ledger, nowMs } = services

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
    const kinds = body.streams === undefined ? undefined : [...new Set(body.streams)]
    const streams = kinds?.map((kind) => streamOfKind(person, kind)) ?? person.streams
    const asked: GrantRequest = {
      to: fromHex(body.doctor),
      streams: streams.map(({ stream }) => stream),
      fromMs: body.from ?? nowMs(),
      untilMs: body.until ?? noEnd,
      rights: body.rights,
      purpose: body.purpose,
    }
    // A code, and a key's answer, are good once: they are not spent on what cannot be granted.
    checkRequest(person, asked, { ledger, nowMs })
    factors.demand(vaultFactors.holderOf(session), actOf(request))
    const granted = await consent.grant(person, vault, asked)
    await sessions.absorbRoots(session)
    services.wake()
    void reply.code(201)
    return { transactionId: toHex(granted.tx), grant: toHex(granted.grantId) }
  })
}

/** Her root key replaces the op key, and all keys change. It gives nobody anything: a second factor is not asked for. */
function registerRekeyRoute(app: FastifyInstance, services: Services): void {
  app.post('/v1/people/:p/op-key', async (request, reply) => {
    const session = services.access.requireSession(request)
    await services.refresh()
    const tx = services.rekeys.begin(session)
    services.wake()
    void reply.code(202)
    return { transactionId: toHex(tx) }
  })
}

function registerRevocationRoutes(app: FastifyInstance, services: Services): void {
  const { access, consent, settlement } = services

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
}
