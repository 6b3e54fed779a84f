/** Setting up, using and ending a second factor: the same routes at every node, whoever keeps the secrets. */
import { fromBase64Url } from '@healthblock/encoding/bytes'
import type { FastifyInstance, FastifyRequest } from '../http/http-app.ts'
import type { Act, Evidence, FactorHolder, SecondFactors } from './second-factor.ts'
import { type KeyAssertion, type KeyRegistration, keyAlgorithms, keyPageOf } from './webauthn.ts'

/** Bytes as base64url in JSON. */
const bytes = (sizeMax: number) => ({ type: 'string', pattern: '^[\\w-]+$', maxLength: Math.ceil((sizeMax * 4) / 3) })
const keyAnswer = {
  type: 'object',
  required: ['id', 'clientData', 'authenticatorData', 'signature'],
  additionalProperties: false,
  properties: { id: bytes(1023), clientData: bytes(4096), authenticatorData: bytes(2048), signature: bytes(1024) },
}
const registration = {
  type: 'object',
  required: ['id', 'clientData', 'authenticatorData', 'publicKey', 'algorithm'],
  additionalProperties: false,
  properties: {
    id: bytes(1023),
    clientData: bytes(4096),
    authenticatorData: bytes(4096),
    publicKey: bytes(2048),
    algorithm: { type: 'integer', enum: keyAlgorithms },
  },
}

/** What a body may carry to show who acts: `code` of the authenticator app, or `key`, a security key's answer. */
export const evidenceProperties = { code: { type: 'string', maxLength: 16 }, key: keyAnswer } as const

/** The same as it arrives: bytes are base64url. */
export interface EvidenceBody {
  readonly code?: string
  readonly key?: { readonly [field in keyof KeyAssertion]: string }
}

function evidenceOf({ code, key }: EvidenceBody): Evidence {
  if (key === undefined) return { code }
  const { id, clientData, authenticatorData, signature } = key
  return {
    key: {
      id: fromBase64Url(id),
      clientData: fromBase64Url(clientData),
      authenticatorData: fromBase64Url(authenticatorData),
      signature: fromBase64Url(signature),
    },
  }
}

/** The act that a request asks for, with what it carries to show who acts. */
export function actOf(request: FastifyRequest): Act {
  const body = (request.body ?? {}) as EvidenceBody
  const path = request.url.split('?')[0] as string
  return { path, body, page: keyPageOf(request), evidence: evidenceOf(body) }
}

/** Whose factor it is, and what else the service wants. */
export interface SecondFactorRoutesOptions {
  /** Where the routes begin, for example `/v1/portal/second-factor`. */
  readonly base: string
  readonly factors: SecondFactors
  /** The holder of a request's session; throws for everybody else. */
  readonly holderOf: (request: FastifyRequest) => FactorHolder
  /** Throws if this person must not have a second factor yet. */
  readonly demandReady?: (request: FastifyRequest) => void
  /** Checks another proof that ends a factor, whose guesses are counted already; throws if it is none. */
  readonly checkPhrase?: (request: FastifyRequest, phrase: string) => void
}

const tags = ['portal']
const name = { type: 'string', minLength: 1, maxLength: 64 }
const keyParams = { type: 'object', properties: { key: bytes(1023) } }
const evidenceBody = { type: 'object', additionalProperties: false, properties: evidenceProperties }
const endBody = {
  ...evidenceBody,
  properties: { ...evidenceProperties, phrase: { type: 'string', maxLength: 1024 } },
}

/**
 * Adds, at `base`: `GET` (what is set up), `POST` `{code?|key?}` (a new secret `{uri}` for an app) and `POST /confirm {code}` (puts it in
 * force), `POST /remove {code|key|phrase}`; `POST /challenge {path, body}` (what to ask a key for that act); `POST /keys/offer
 * {code?|key?}` and `POST /keys {name, answer}`, `PUT /keys/:key {name}`, `POST /keys/:key/remove {code|key|phrase}`. Once a factor is on,
 * another one is set up and each is ended against it.
 */
export function addSecondFactorRoutes(app: FastifyInstance, options: SecondFactorRoutesOptions): void {
  // Whoever has no session learns nothing, not even what a body should look like.
  const onRequest = async (request: FastifyRequest): Promise<void> => void options.holderOf(request)
  const guarded = { ...options, onRequest }
  addViewRoutes(app, guarded)
  addCodeRoutes(app, guarded)
  addKeyRoutes(app, guarded)
}

interface Guarded extends SecondFactorRoutesOptions {
  readonly onRequest: (request: FastifyRequest) => Promise<void>
}

function addViewRoutes(app: FastifyInstance, { base, factors, holderOf, onRequest }: Guarded): void {
  app.get(base, { schema: { tags, summary: 'what is set up' }, onRequest }, async (request, reply) => {
    void reply.header('cache-control', 'no-store')
    return factors.view(holderOf(request), keyPageOf(request))
  })
  const body = {
    type: 'object',
    required: ['path', 'body'],
    additionalProperties: false,
    properties: { path: { type: 'string', maxLength: 2048 }, body: { type: 'object' } },
  }
  app.post<{ Body: { path: string; body: object } }>(
    `${base}/challenge`,
    { schema: { tags, summary: 'what to ask a security key for an act', body }, onRequest },
    async (request, reply) => {
      void reply.header('cache-control', 'no-store')
      const act = { ...request.body, page: keyPageOf(request) }
      return factors.question(holderOf(request), act) ?? { keys: [] }
    },
  )
}

/** Ends a factor for who shows it, or the phrase where there is one. */
function end(
  request: FastifyRequest,
  { factors, holderOf, checkPhrase }: SecondFactorRoutesOptions,
  remove: (holder: FactorHolder) => void,
): void {
  const holder = holderOf(request)
  const { phrase } = (request.body ?? {}) as { phrase?: string }
  if (phrase === undefined || checkPhrase === undefined) factors.demand(holder, actOf(request))
  else {
    const forget = factors.count(holder)
    checkPhrase(request, phrase)
    forget()
  }
  remove(holder)
}

function addCodeRoutes(app: FastifyInstance, options: Guarded): void {
  const { base, factors, holderOf, demandReady, onRequest } = options
  app.post(
    base,
    { schema: { tags, summary: 'a new secret for an app', body: evidenceBody }, onRequest },
    async (request, reply) => {
      const holder = holderOf(request)
      demandReady?.(request)
      if (holder.read().totp === undefined) factors.demand(holder, actOf(request))
      void reply.code(201).header('cache-control', 'no-store')
      return factors.offerCode(holder)
    },
  )
  const confirmBody = {
    type: 'object',
    required: ['code'],
    additionalProperties: false,
    properties: { code: evidenceProperties.code },
  }
  app.post<{ Body: { code: string } }>(
    `${base}/confirm`,
    { schema: { tags, summary: 'put the new secret in force', body: confirmBody }, onRequest },
    async (request, reply) => {
      factors.confirmCode(holderOf(request), request.body.code)
      return reply.code(204).send()
    },
  )
  app.post(
    `${base}/remove`,
    { schema: { tags, summary: 'no longer take codes', body: endBody }, onRequest },
    async (request, reply) => {
      end(request, options, (holder) => factors.removeCode(holder))
      return reply.code(204).send()
    },
  )
}

function addKeyRoutes(app: FastifyInstance, options: Guarded): void {
  const { base, factors, holderOf, demandReady, onRequest } = options
  app.post(
    `${base}/keys/offer`,
    { schema: { tags, summary: 'what to register a security key with', body: evidenceBody }, onRequest },
    async (request, reply) => {
      const holder = holderOf(request)
      demandReady?.(request)
      const page = keyPageOf(request)
      if (page !== undefined) factors.demand(holder, actOf(request))
      void reply.code(201).header('cache-control', 'no-store')
      return factors.offerKey(holder, page)
    },
  )
  const addBody = {
    type: 'object',
    required: ['name', 'answer'],
    additionalProperties: false,
    properties: { name, answer: registration },
  }
  app.post<{ Body: { name: string; answer: Record<Exclude<keyof KeyRegistration, 'algorithm'>, string> } }>(
    `${base}/keys`,
    { schema: { tags, summary: 'a new security key', body: addBody }, onRequest },
    async (request, reply) => {
      const { answer } = request.body
      const { algorithm } = answer as unknown as { algorithm: number }
      factors.addKey(holderOf(request), keyPageOf(request), {
        name: request.body.name,
        answer: {
          id: fromBase64Url(answer.id),
          clientData: fromBase64Url(answer.clientData),
          algorithm,
          authenticatorData: fromBase64Url(answer.authenticatorData),
          publicKey: fromBase64Url(answer.publicKey),
        },
      })
      return reply.code(204).send()
    },
  )
  const nameBody = { type: 'object', required: ['name'], additionalProperties: false, properties: { name } }
  app.put<{ Params: { key: string }; Body: { name: string } }>(
    `${base}/keys/:key`,
    { schema: { tags, summary: 'another name for a key', params: keyParams, body: nameBody }, onRequest },
    async (request, reply) => {
      factors.renameKey(holderOf(request), request.params.key, request.body.name)
      return reply.code(204).send()
    },
  )
  app.post<{ Params: { key: string } }>(
    `${base}/keys/:key/remove`,
    { schema: { tags, summary: 'no longer take a key', params: keyParams, body: endBody }, onRequest },
    async (request, reply) => {
      end(request, options, (holder) => factors.removeKey(holder, request.params.key))
      return reply.code(204).send()
    },
  )
}
