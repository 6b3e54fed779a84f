import type { FastifyRequest } from '@healthblock/runtime/http-app'
import type { PortalCookie } from '@healthblock/runtime/portal-access'
import { type PortalSessions, portalPaths, requirePortalSession } from '@healthblock/runtime/portal-routes'
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

/** A hook that lets in who carries the node's API secret, or the doctor's open session (SPEC.md §1). */
export function createAccess(options: {
  apiSecret: string
  cookie: PortalCookie
  sessions: PortalSessions
}): (request: FastifyRequest) => Promise<void> {
  const { cookie, sessions } = options
  const secretGuard = createSecretGuard(options.apiSecret)
  return async (request) => {
    const route = request.routeOptions.url ?? ''
    if (openPaths.has(route)) return
    const isBrowser = request.headers.authorization === undefined && cookie.isCarriedBy(request)
    if (!isBrowser || secretPaths.has(route)) return secretGuard(request)
    requirePortalSession(request, cookie, sessions)
  }
}
