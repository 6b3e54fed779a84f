import { sourceOf } from '@healthblock/runtime/client-source'
import type { FastifyInstance, FastifyRequest } from '@healthblock/runtime/http-app'
import { addPassphraseRoute } from '@healthblock/runtime/passphrase-route'
import { isFactorOn } from '@healthblock/runtime/second-factor'
import { actOf, addSecondFactorRoutes } from '@healthblock/runtime/second-factor-routes'
import type { PhraseWord } from '../people/rehearsal.ts'
import type { Session } from '../people/sessions.ts'
import type { Services } from '../services.ts'

const params = {
  type: 'object',
  required: ['p'],
  properties: { p: { type: 'string', minLength: 1, maxLength: 64 } },
} as const

/** The second factor, the recovery phrase at first use, and another passphrase. */
export function registerSecurityRoutes(app: FastifyInstance, services: Services): void {
  registerFactorRoutes(app, services)
  registerPhraseRoutes(app, services)
  registerPassphraseRoute(app, services)
}

function registerFactorRoutes(app: FastifyInstance, services: Services): void {
  const { access, factors, vaultFactors, rehearsals } = services
  const sessionOf = (request: FastifyRequest): Session => access.requireSession(request)

  app.get('/v1/people/:p/security', { schema: { params } }, async (request) => {
    const session = sessionOf(request)
    const rehearsedAtMs = rehearsals.rehearsedAtMs(session)
    return {
      secondFactor: isFactorOn(vaultFactors.holderOf(session).read()),
      rehearsedAt: rehearsedAtMs === undefined ? null : new Date(rehearsedAtMs).toISOString(),
    }
  })

  addSecondFactorRoutes(app, {
    base: '/v1/people/:p/second-factor',
    factors,
    holderOf: (request) => vaultFactors.holderOf(sessionOf(request)),
    demandReady: (request) => vaultFactors.demandRehearsal(sessionOf(request)),
    checkPhrase: (request, phrase) => vaultFactors.checkPhrase(sessionOf(request), phrase),
  })
}

function registerPassphraseRoute(app: FastifyInstance, services: Services): void {
  const { access, factors, vaultFactors, sessions } = services
  addPassphraseRoute(app, {
    ...{ path: '/v1/people/:p/passphrase', params },
    demandSession: (request) => void access.requireSession(request),
    change: (request, change) => {
      const session = access.requireSession(request)
      const demand = (): void => factors.demand(vaultFactors.holderOf(session), actOf(request))
      return sessions.changePassphrase(session, { ...change, source: sourceOf(request.ip), demand })
    },
  })
}

function registerPhraseRoutes(app: FastifyInstance, { access, rehearsals }: Services): void {
  const path = '/v1/people/:p/recovery'

  const showBody = {
    type: 'object',
    required: ['passphrase'],
    additionalProperties: false,
    properties: { passphrase: { type: 'string', maxLength: 1024 } },
  }
  app.post(`${path}/phrase`, { schema: { params, body: showBody } }, async (request, reply) => {
    const session = access.requireSession(request)
    const { passphrase } = request.body as { passphrase: string }
    void reply.header('cache-control', 'no-store')
    return { words: await rehearsals.show(session, passphrase, sourceOf(request.ip)) }
  })

  app.post(`${path}/questions`, { schema: { params } }, async (request) => ({
    positions: rehearsals.ask(access.requireSession(request)),
  }))

  const answerBody = {
    type: 'object',
    required: ['words'],
    additionalProperties: false,
    properties: {
      words: {
        type: 'array',
        maxItems: 8,
        items: {
          type: 'object',
          required: ['position', 'word'],
          additionalProperties: false,
          properties: {
            position: { type: 'integer', minimum: 1, maximum: 24 },
            word: { type: 'string', maxLength: 32 },
          },
        },
      },
    },
  }
  app.post(`${path}/rehearsal`, { schema: { params, body: answerBody } }, async (request, reply) => {
    rehearsals.answer(access.requireSession(request), (request.body as { words: PhraseWord[] }).words)
    void reply.code(204)
  })
}
