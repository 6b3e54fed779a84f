/**
 * The names that a portal goes by. A page of the web may have its own name lead to this machine a moment after it was loaded (DNS rebinding):
 * the browser then takes the node for that page's own site. So a portal answers to numbers and to `localhost`, which nobody else can have
 * lead anywhere, and to the names that its operator gave it.
 */
import { isIP } from 'node:net'
import { RuntimeError } from '../errors.ts'
import type { FastifyInstance, FastifyRequest } from '../http/http-app.ts'
import { portalPaths } from './portal-routes.ts'

/** What a browser asks for: the door, and everything that a session is carried to. */
function isBrowsers({ routeOptions, headers }: FastifyRequest): boolean {
  return (
    portalPaths.includes(routeOptions.url ?? '') ||
    (headers.cookie !== undefined && headers.authorization === undefined)
  )
}

/** Refuses what a browser asks under a name that is none of this node's: 421 `ERR_HOST_UNKNOWN`. Add it before the routes. */
export function guardPortalNames(app: FastifyInstance, names: readonly string[]): void {
  const own = new Set(['localhost', ...names])
  app.addHook('onRequest', async (request) => {
    if (!isBrowsers(request)) return
    const host = request.hostname.toLowerCase().replace(/\.$/, '')
    if (host === '' || own.has(host) || isIP(host.replace(/^\[|\]$/g, '')) !== 0) return
    const words = `this node does not go by the name ${host.slice(0, 100)}: its operator adds it to PORTAL_NAMES`
    throw new RuntimeError(words, { code: 'ERR_HOST_UNKNOWN' })
  })
}
