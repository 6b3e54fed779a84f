import type { FastifyInstance } from '@healthblock/runtime/http-app'
import type { Services } from '../app.ts'
import type { PhraseWord } from '../people/rehearsal.ts'

const params = {
  type: 'object',
  required: ['p'],
  properties: { p: { type: 'string', minLength: 1, maxLength: 64 } },
} as const
const code = { type: 'string', maxLength: 16 } as const

/** The second factor, and the recovery phrase at first use. */
export function registerSecurityRoutes(app: FastifyInstance, services: Services): void {
  registerFactorRoutes(app, services)
  registerPhraseRoutes(app, services)
}

function registerFactorRoutes(app: FastifyInstance, { access, secondFactors, rehearsals }: Services): void {
  const path = '/v1/people/:p/second-factor'

  app.get('/v1/people/:p/security', { schema: { params } }, async (request) => {
    const session = access.requireSession(request)
    const rehearsedAtMs = rehearsals.rehearsedAtMs(session)
    return {
      secondFactor: secondFactors.isOn(session),
      rehearsedAt: rehearsedAtMs === undefined ? null : new Date(rehearsedAtMs).toISOString(),
    }
  })

  app.post(path, { schema: { params } }, async (request, reply) => {
    const offered = secondFactors.offer(access.requireSession(request))
    void reply.code(201).header('cache-control', 'no-store')
    return offered
  })

  const confirmBody = { type: 'object', required: ['code'], additionalProperties: false, properties: { code } }
  app.post(`${path}/confirm`, { schema: { params, body: confirmBody } }, async (request, reply) => {
    secondFactors.confirm(access.requireSession(request), (request.body as { code: string }).code)
    void reply.code(204)
  })

  const removeBody = {
    type: 'object',
    additionalProperties: false,
    properties: { code, phrase: { type: 'string', maxLength: 1024 } },
  }
  app.post(`${path}/remove`, { schema: { params, body: removeBody } }, async (request, reply) => {
    secondFactors.remove(access.requireSession(request), request.body as { code?: string; phrase?: string })
    void reply.code(204)
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
    return { words: await rehearsals.show(session, passphrase, request.ip) }
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
