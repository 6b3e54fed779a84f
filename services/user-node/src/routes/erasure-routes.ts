import { toHex } from '@healthblock/encoding/bytes'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { actOf, evidenceProperties } from '@healthblock/runtime/second-factor-routes'
import { cidOf } from '@healthblock/runtime/storage-client'
import type { ErasureRequest } from '../consent/erasure.ts'
import { UserNodeError } from '../errors.ts'
import type { Session } from '../people/sessions.ts'
import { streamOfKind } from '../sealing/samples.ts'
import type { Services } from '../services.ts'

const time = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const
const body = {
  type: 'object',
  required: ['from', 'until'],
  additionalProperties: false,
  properties: {
    streams: { type: 'array', minItems: 1, maxItems: 16, items: { type: 'string', maxLength: 16 } },
    from: time,
    until: time,
    ...evidenceProperties,
  },
} as const
const query = {
  type: 'object',
  required: ['from', 'until'],
  properties: { from: time, until: time, streams: { type: 'string', maxLength: 128 } },
} as const

/** How long records that are on their way to the ledger are waited for. */
const waitMs = 30_000

/** Erasing a period of one's streams. */
export function registerErasureRoutes(app: FastifyInstance, services: Services): void {
  const { access, erasures, erasureViews, factors, vaultFactors } = services
  app.post('/v1/people/:p/erasures', { schema: { body } }, async (request, reply) => {
    const session = liveSession(access.requireSession(request))
    const asked = request.body as { streams?: string[]; from: number; until: number }
    const wanted = requestOf(session, asked.streams, asked)
    // A code, and a key's answer, are good once: they are not spent on what cannot be erased.
    erasures.epochsOf(wanted)
    factors.demand(vaultFactors.holderOf(session), actOf(request))
    await services.gate.passed(session.person)
    await services.refresh()
    const erased = await erasures.erase(session, wanted, waitMs)
    services.wake()
    void reply.code(erased.isRepeated ? 200 : 201)
    const { epochLengthMs } = services.ledger
    return {
      transactionId: erased.tx === undefined ? null : toHex(erased.tx),
      isRepeated: erased.isRepeated,
      from: new Date(erased.fromEpoch * epochLengthMs).toISOString(),
      until: new Date(erased.untilEpoch * epochLengthMs).toISOString(),
      ranges: erased.ranges.map(([stream, from, to]) => ({ stream: toHex(stream), from, to })),
      cids: erased.digests.map((digest) => cidOf(digest)),
      late: erasureViews.late(session.person, { ...wanted, ...erased }),
    }
  })
  registerErasureViews(app, services)
}

/** What an erasure would do, and how those that were asked for stand. */
function registerErasureViews(app: FastifyInstance, services: Services): void {
  const { access, erasures, erasureViews } = services
  app.get('/v1/people/:p/erasures', async (request) => erasureViews.list(access.requireSession(request).person))

  app.get('/v1/people/:p/erasures/preview', { schema: { querystring: query } }, async (request) => {
    const session = access.requireSession(request)
    const { from, until, streams } = request.query as { from: number; until: number; streams?: string }
    const wanted = requestOf(session, streams?.split(','), { from, until })
    return erasureViews.preview(session.person, { ...erasures.epochsOf(wanted), ...wanted })
  })

  app.get('/v1/people/:p/erasures/:id', async (request) => {
    const { person } = access.requireSession(request)
    const { id } = request.params as { id: string }
    const found = /^[0-9a-f]{64}$/.test(id) ? await erasureViews.find(person, id) : undefined
    if (found === undefined)
      throw new UserNodeError('there is no such erasure', { code: 'ERR_TRANSACTION_UNKNOWN', id })
    return found
  })
}

function liveSession(session: Session): Session {
  const { person } = session
  if (person.state === 'live') return session
  throw new UserNodeError('the enrolment is not finished yet', { code: 'ERR_PERSON_PENDING', person: person.name })
}

function requestOf(
  { person }: Session,
  kinds: readonly string[] | undefined,
  { from, until }: { from: number; until: number },
): ErasureRequest {
  const streams = kinds === undefined ? person.streams : [...new Set(kinds)].map((kind) => streamOfKind(person, kind))
  return { streams, fromMs: from, untilMs: until }
}
