import { toHex } from '@healthblock/encoding/bytes'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { cidOf } from '@healthblock/runtime/storage-client'
import { UserNodeError } from '../errors.ts'
import { streamOfKind } from '../sealing/samples.ts'
import type { Services } from '../services.ts'

const body = {
  type: 'object',
  required: ['from', 'until'],
  additionalProperties: false,
  properties: {
    streams: { type: 'array', minItems: 1, maxItems: 16, items: { type: 'string', maxLength: 16 } },
    from: { type: 'integer', minimum: 0 },
    until: { type: 'integer', minimum: 0 },
  },
} as const

/** How long records that are on their way to the ledger are waited for. */
const waitMs = 30_000

/** Erasing a period of one's streams. */
export function registerErasureRoutes(app: FastifyInstance, services: Services): void {
  const { access, erasures } = services
  app.post('/v1/people/:p/erasures', { schema: { body } }, async (request, reply) => {
    const session = access.requireSession(request)
    const { person } = session
    if (person.state !== 'live')
      throw new UserNodeError('the enrolment is not finished yet', { code: 'ERR_PERSON_PENDING', person: person.name })
    const asked = request.body as { streams?: string[]; from: number; until: number }
    await services.gate.passed(person)
    await services.refresh()
    const streams = asked.streams?.map((kind) => streamOfKind(person, kind)) ?? person.streams
    const erased = await erasures.erase(session, { streams, fromMs: asked.from, untilMs: asked.until }, waitMs)
    services.wake()
    void reply.code(201)
    const { epochLengthMs } = services.ledger
    return {
      transactionId: erased.tx === undefined ? null : toHex(erased.tx),
      from: new Date(erased.fromEpoch * epochLengthMs).toISOString(),
      until: new Date(erased.untilEpoch * epochLengthMs).toISOString(),
      ranges: erased.ranges.map(([stream, from, to]) => ({ stream: toHex(stream), from, to })),
      cids: erased.digests.map((digest) => cidOf(digest)),
    }
  })
}
