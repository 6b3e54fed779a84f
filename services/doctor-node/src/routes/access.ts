import type { FastifyRequest } from '@healthblock/runtime/http-app'
import type { PortalCookie } from '@healthblock/runtime/portal-access'
import { portalPaths, requirePortalSession } from '@healthblock/runtime/portal-routes'
import type { OpenPortalSession, PortalSessions } from '@healthblock/runtime/portal-session'
import { createSecretGuard } from '@healthblock/runtime/token-guard'

const openPaths = new Set(['/healthz', '/readyz', '/metrics', '/openapi.json', ...portalPaths])
/** What belongs to the node's administrator and its scripts, never to a browser. */
const secretPaths = new Set([
  '/v1/identity/confirm',
  '/v1/portal/people/:name',
  '/v1/statements',
  '/v1/experiments/decrypt',
  '/v1/experiments/envelope',
])

/** Who is let in, and who it is (SPEC.md §1). */
export interface Access {
  /** Lets in who carries the node's API secret, or the doctor's open session. */
  readonly hook: (request: FastifyRequest) => Promise<void>
  /** The open session of a request that was let in; undefined for the API secret. */
  readonly sessionOf: (request: FastifyRequest) => OpenPortalSession | undefined
  /** True while a session is open; one that grew idle is ended by the question. */
  readonly isOpen: (session: OpenPortalSession) => boolean
  /** The name that an act is kept under. */
  readonly nameOf: (request: FastifyRequest) => string
}

/** The node's door. */
export function createAccess(options: { apiSecret: string; cookie: PortalCookie; sessions: PortalSessions }): Access {
  const { cookie, sessions } = options
  const secretGuard = createSecretGuard(options.apiSecret)
  const known = new WeakMap<FastifyRequest, OpenPortalSession>()
  return {
    hook: async (request) => {
      const route = request.routeOptions.url ?? ''
      if (openPaths.has(route)) return
      const isBrowser = request.headers.authorization === undefined && cookie.isCarriedBy(request)
      if (!isBrowser || secretPaths.has(route)) return secretGuard(request)
      known.set(request, requirePortalSession(request, cookie, sessions))
    },
    sessionOf: (request) => known.get(request),
    isOpen: ({ id }) => sessions.find(id, false) !== undefined,
    nameOf: (request) => known.get(request)?.name ?? 'administrator',
  }
}
