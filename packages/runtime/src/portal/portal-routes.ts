/** Logging in and out of a portal: the same three routes at every node, whoever keeps the sessions. */

import { RuntimeError } from '../errors.ts'
import { sourceOf } from '../http/client-source.ts'
import type { FastifyInstance, FastifyRequest } from '../http/http-app.ts'
import { addPassphraseRoute } from './passphrase-route.ts'
import { type PortalCookie, refuseOtherSite } from './portal-access.ts'
import type { NewPortalAccount, PortalAccounts } from './portal-accounts.ts'
import { type OpenPortalSession, type PortalSessions, portalSessionLimits } from './portal-session.ts'
import { actOf, addSecondFactorRoutes, evidenceProperties } from './second-factor-routes.ts'

/** What a browser may ask for before anybody is logged in. */
export const portalPaths: readonly string[] = [
  '/',
  '/assets/:name',
  '/portal/login',
  '/portal/session',
  '/portal/logout',
]

/** What the page learns of its session. */
interface SessionView {
  readonly name: string
  readonly role: string
  readonly expiresAt: string
  readonly idleSeconds: number
  readonly csrf: string
  /** The node's clock, so that ages are right where the reader's clock is not. */
  readonly now: string
}

const loginBody = {
  type: 'object',
  required: ['name', 'passphrase'],
  additionalProperties: false,
  properties: {
    name: { type: 'string', minLength: 1, maxLength: 128 },
    passphrase: { type: 'string', minLength: 1, maxLength: 1024 },
    ...evidenceProperties,
  },
}

/** Anybody may knock: no more is read than the longest name and passphrase, written with escapes, and the answer of a key take. */
const loginBytesMax = 32 * 1024

/** Adds `POST /portal/login`, `GET /portal/session`, `POST /portal/logout`. */
export function addPortalSessionRoutes(
  app: FastifyInstance,
  options: { cookie: PortalCookie; sessions: PortalSessions; nowMs: () => number; idleMs?: number },
): void {
  const { cookie, sessions, nowMs, idleMs = portalSessionLimits.idleMs } = options
  const view = (session: OpenPortalSession): SessionView => ({
    name: session.name,
    role: session.role,
    expiresAt: new Date(session.expiresAtMs).toISOString(),
    ...{
      idleSeconds: Math.floor(idleMs / 1000),
      csrf: cookie.csrfOf(session.id),
      now: new Date(nowMs()).toISOString(),
    },
  })
  app.post<{ Body: { name: string; passphrase: string } }>(
    '/portal/login',
    { bodyLimit: loginBytesMax, schema: { body: loginBody, tags: ['portal'], summary: 'log in' } },
    async (request, reply) => {
      refuseOtherSite(request)
      const { name, passphrase } = request.body
      const before = cookie.idOf(request)
      const session = await sessions.open({ name, passphrase, act: actOf(request), source: sourceOf(request.ip) })
      // A browser has one: nobody can come back to the one that this one takes the place of.
      if (before !== undefined) sessions.close(before)
      cookie.set(request, reply, session.id)
      void reply.header('cache-control', 'no-store')
      return view(session)
    },
  )
  app.get('/portal/session', { schema: { tags: ['portal'], summary: 'who is logged in' } }, async (request, reply) => {
    void reply.header('cache-control', 'no-store')
    return view(requirePortalSession(request, cookie, sessions))
  })
  app.post(
    '/portal/logout',
    { bodyLimit: 1024, schema: { tags: ['portal'], summary: 'log out' } },
    async (request, reply) => {
      const named = cookie.sessionOf(request)
      if (named !== undefined) sessions.close(named.id)
      cookie.clear(reply)
      return reply.code(204).send()
    },
  )
}

/**
 * The open session of a request.
 *
 * @throws {RuntimeError} `ERR_SESSION_MISSING`, `ERR_CSRF`.
 */
export function requirePortalSession(
  request: FastifyRequest,
  cookie: PortalCookie,
  sessions: PortalSessions,
): OpenPortalSession {
  const named = cookie.sessionOf(request)
  const session = named === undefined ? undefined : sessions.find(named.id, named.isUse)
  if (session !== undefined) return session
  throw new RuntimeError('there is no session: log in again', { code: 'ERR_SESSION_MISSING' })
}

/** Adds the second factor of who is logged in, at `/v1/portal/second-factor`, and `POST /v1/portal/passphrase`. */
export function addPortalFactorRoutes(
  app: FastifyInstance,
  { cookie, accounts }: { cookie: PortalCookie; accounts: PortalAccounts },
): void {
  addSecondFactorRoutes(app, {
    base: '/v1/portal/second-factor',
    factors: accounts.factors,
    holderOf: (request) => accounts.holderOf(requirePortalSession(request, cookie, accounts)),
  })
  addPassphraseRoute(app, {
    path: '/v1/portal/passphrase',
    demandSession: (request) => void requirePortalSession(request, cookie, accounts),
    change: (request, change) => {
      const session = requirePortalSession(request, cookie, accounts)
      return accounts.changePassphrase(session, { ...change, act: actOf(request), source: sourceOf(request.ip) })
    },
  })
}

/**
 * Adds `PUT /v1/portal/people/:name` `{role, passphrase, endsSecondFactor = false}`: the node's administrator lets somebody log in, or changes
 * how. `onRequest` must refuse everybody else.
 */
export function addPortalAccountRoute(
  app: FastifyInstance,
  options: {
    accounts: PortalAccounts
    roles: readonly string[]
    onRequest?: (request: FastifyRequest) => Promise<void>
  },
): void {
  const { accounts, roles, onRequest } = options
  const schema = {
    tags: ['portal'],
    summary: 'lets somebody log in',
    params: {
      type: 'object',
      required: ['name'],
      properties: { name: { type: 'string', minLength: 1, maxLength: 128 } },
    },
    body: {
      type: 'object',
      required: ['role', 'passphrase'],
      additionalProperties: false,
      properties: {
        role: { type: 'string', enum: roles },
        passphrase: { type: 'string', minLength: 8, maxLength: 1024 },
        endsSecondFactor: { type: 'boolean' },
      },
    },
  }
  app.put<{ Params: { name: string }; Body: Omit<NewPortalAccount, 'name'> }>(
    '/v1/portal/people/:name',
    { schema, ...(onRequest === undefined ? {} : { onRequest }) },
    async (request, reply) => {
      await accounts.set({ name: request.params.name, ...request.body })
      return reply.code(204).send()
    },
  )
}
