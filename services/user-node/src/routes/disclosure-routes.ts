/** The key file with which a person lets an auditor judge a window of her diagnoses again. */
import { disclosedNodes, encodeDisclosure } from '@healthblock/crypto/disclosure'
import { equalBytes, toBase64 } from '@healthblock/encoding/bytes'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { actOf, evidenceProperties } from '@healthblock/runtime/second-factor-routes'
import { UserNodeError } from '../errors.ts'
import { streamOfKind } from '../sealing/samples.ts'
import type { Services } from '../services.ts'

const disclosureBody = {
  type: 'object',
  additionalProperties: false,
  properties: {
    streams: { type: 'array', minItems: 1, maxItems: 16, items: { type: 'string', maxLength: 16 } },
    from: { type: 'integer', minimum: 0 },
    until: { type: 'integer', minimum: 0 },
    ...evidenceProperties,
  },
} as const

/** `POST /v1/people/:p/disclosures`: whole epochs, both ends rounded down; without `until` the current one is the last. */
export function registerDisclosureRoutes(app: FastifyInstance, services: Services): void {
  const { access, sessions, factors, vaultFactors, ledger, nowMs } = services
  app.post('/v1/people/:p/disclosures', { schema: { body: disclosureBody } }, async (request, reply) => {
    const session = access.requireSession(request)
    const { person, vault } = session
    const body = request.body as { streams?: string[]; from?: number; until?: number }
    const chosen = body.streams?.map((kind) => streamOfKind(person, kind))
    const { epochLengthMs } = ledger
    const from = Math.floor((body.from ?? 0) / epochLengthMs)
    const until = Math.floor((body.until ?? nowMs() + epochLengthMs) / epochLengthMs)
    if (until <= from) {
      const message = `no whole hour lies between the two times (an hour here is ${epochLengthMs / 60_000} min)`
      throw new UserNodeError(message, { code: 'ERR_GRANT_INVALID', field: 'until' })
    }
    factors.demand(vaultFactors.holderOf(session), actOf(request))
    await sessions.absorbRoots(session)
    // Streams that are no data streams are those of her doctors' diagnoses.
    const isData = (stream: Uint8Array): boolean => person.streams.some((own) => equalBytes(own.stream, stream))
    const isChosen = (stream: Uint8Array): boolean =>
      chosen === undefined || chosen.some((own) => equalBytes(own.stream, stream))
    const nodes = disclosedNodes(vault.contents.nodes, {
      from,
      until,
      isDisclosed: (stream) => !isData(stream) || isChosen(stream),
    })
    const file = encodeDisclosure({ ledgerId: ledger.ledgerId, patient: person.account, from, until, nodes })
    void reply.code(201).header('cache-control', 'no-store')
    return {
      file: toBase64(file),
      from: new Date(from * epochLengthMs).toISOString(),
      until: new Date(until * epochLengthMs).toISOString(),
      streams: new Set(nodes.map(({ stream }) => toBase64(stream))).size,
      generations: new Set(nodes.map(({ generation }) => generation)).size,
      nodes: nodes.reduce((sum, held) => sum + held.nodes.length, 0),
    }
  })
}
