/** The second factor of somebody who logs in by name and passphrase: turned on with a code of the app, and off with another. */
import { RuntimeError } from './errors.ts'
import type { FastifyInstance, FastifyRequest } from './http-app.ts'
import type { PortalCookie } from './portal-access.ts'
import type { PortalAccounts } from './portal-accounts.ts'
import { type OpenPortalSession, requirePortalSession } from './portal-routes.ts'
import { createTotpSecret, totpUri } from './totp.ts'

/** A secret that was shown and not confirmed is forgotten after so long. */
const pendingMs = 10 * 60_000

const codeBody = {
  type: 'object',
  required: ['code'],
  additionalProperties: false,
  properties: { code: { type: 'string', minLength: 6, maxLength: 16 } },
}

/**
 * Adds `GET /v1/portal/second-factor` `{on}`, `POST` (a new secret `{uri}`, not in force yet), `PUT {code}` (puts it in force),
 * `POST …/off {code}`: of the person whose session it is.
 */
export function addSecondFactorRoutes(
  app: FastifyInstance,
  options: { accounts: PortalAccounts; cookie: PortalCookie; issuer: string; nowMs: () => number },
): void {
  const { accounts, cookie, issuer, nowMs } = options
  const path = '/v1/portal/second-factor'
  const pending = new Map<string, { secret: Uint8Array; atMs: number }>()
  const tags = ['portal']
  const sessionOf = (request: FastifyRequest): OpenPortalSession => requirePortalSession(request, cookie, accounts)
  const onRequest = async (request: FastifyRequest): Promise<void> => void sessionOf(request)
  app.get(path, { schema: { tags, summary: 'whether a code is asked for' }, onRequest }, async (request, reply) => {
    void reply.header('cache-control', 'no-store')
    return { on: accounts.hasSecondFactor(sessionOf(request).name) }
  })
  app.post(path, { schema: { tags, summary: 'a new secret for an app' }, onRequest }, async (request, reply) => {
    const { id, name } = sessionOf(request)
    if (accounts.hasSecondFactor(name)) {
      throw new RuntimeError('turn the second factor off first', { code: 'ERR_ROLE_FORBIDDEN', needed: 'a code' })
    }
    for (const [key, { atMs }] of pending) if (nowMs() - atMs > pendingMs) pending.delete(key)
    const secret = createTotpSecret()
    pending.set(id, { secret, atMs: nowMs() })
    void reply.header('cache-control', 'no-store')
    return { uri: totpUri({ secret, account: name, issuer }) }
  })
  app.put<{ Body: { code: string } }>(
    path,
    { schema: { tags, summary: 'put the new secret in force', body: codeBody }, onRequest },
    async (request, reply) => {
      const { id, name } = sessionOf(request)
      const shown = pending.get(id)
      if (shown === undefined || nowMs() - shown.atMs > pendingMs) {
        throw new RuntimeError('begin again: the secret that was shown is no longer waiting', {
          ...{ code: 'ERR_NOT_FOUND', what: 'secret' },
        })
      }
      accounts.takeCode(name, request.body.code, shown.secret)
      pending.delete(id)
      accounts.setSecondFactor(name, shown.secret)
      return reply.code(204).send()
    },
  )
  app.post<{ Body: { code: string } }>(
    `${path}/off`,
    { schema: { tags, summary: 'no longer ask for a code', body: codeBody }, onRequest },
    async (request, reply) => {
      const { name } = sessionOf(request)
      accounts.takeCode(name, request.body.code)
      accounts.setSecondFactor(name, undefined)
      return reply.code(204).send()
    },
  )
}
