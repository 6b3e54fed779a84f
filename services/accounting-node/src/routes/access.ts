/** Who may call: members by token, administrators by the node's secret, people of the portal by their session. Checked before anything else of a request. */
import { timingSafeEqual } from 'node:crypto'
import { encodeUtf8, toHex } from '@healthblock/encoding/bytes'
import { RuntimeError } from '@healthblock/runtime/errors'
import type { FastifyRequest } from '@healthblock/runtime/http-app'
import type { PortalCookie } from '@healthblock/runtime/portal-access'
import { requirePortalSession } from '@healthblock/runtime/portal-routes'
import type { OpenPortalSession, PortalSessions } from '@healthblock/runtime/portal-session'
import { bearerOf, createTokenGuard, type TokenGuard } from '@healthblock/runtime/token-guard'
import { ledgerRead } from '../events.ts'
import type { AccountingNode } from '../node.ts'

/** Who logs in at the portal: an auditor reads everything that members may, an administrator acts for the organisation too. */
export const portalRoles = { auditor: 'auditor', administrator: 'administrator' } as const

/** A Fastify `onRequest` hook. */
type Hook = (request: FastifyRequest) => Promise<void>

/** The hooks of this node's routes. */
export interface Access {
  /** A token of scope `ledger` of any live account; noted in the log, since entries show who treats whom. */
  readonly member: Hook
  /** The administrator's secret: 401 without a good credential, 403 for a member's token. */
  readonly administrator: Hook
  /** Either. */
  readonly memberOrAdministrator: Hook
  /** Somebody who is logged in, or the administrator's secret; a member's token is 403. */
  readonly person: Hook
  /** The open session of a request, if it comes from a browser. */
  readonly sessionOf: (request: FastifyRequest) => OpenPortalSession | undefined
  /** Whom a request that passed `member` comes from: an account in hex, or the name of a session. */
  readonly readerOf: (request: FastifyRequest) => string
  /** Who asks, for the record: a name, or that it was the secret. */
  readonly nameOf: (request: FastifyRequest) => string
}

function isSecret(given: string, expected: string): boolean {
  const [a, b] = [encodeUtf8(given), encodeUtf8(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function forbidden(needed: string): RuntimeError {
  return new RuntimeError(`this needs ${needed}`, { code: 'ERR_ROLE_FORBIDDEN', needed })
}

/** Makes the hooks. */
export function createAccess(node: AccountingNode, portal: { cookie: PortalCookie; sessions: PortalSessions }): Access {
  const { cookie, sessions } = portal
  /** The open session of a browser; undefined for a request that carries a token or secret, or nothing. */
  const sessionOf = (request: FastifyRequest): OpenPortalSession | undefined => {
    const isBrowser = request.headers.authorization === undefined && cookie.isCarriedBy(request)
    return isBrowser ? requirePortalSession(request, cookie, sessions) : undefined
  }
  const { ledger } = node.chains.userchain.core
  const guard: TokenGuard = createTokenGuard({
    ledgerId: node.genesis.ledgerId,
    scope: 'ledger',
    audiences: [node.account],
    keyOf: (account, keyNumber) => ledger.accountKey(account, keyNumber),
    now: node.nowMs,
  })
  const isAdministrator = (request: FastifyRequest): boolean => isSecret(bearerOf(request), node.adminSecret)
  const member: Hook = async (request) => {
    const session = sessionOf(request)
    if (session !== undefined) {
      const { chain } = request.params as { chain?: string }
      return ledgerRead(node.logger, {
        account: session.name,
        route: request.routeOptions.url ?? '',
        chain: chain ?? '',
      })
    }
    if (isAdministrator(request)) throw forbidden('a token of scope ledger')
    await guard.hook(request)
    const { chain } = request.params as { chain?: string }
    const account = toHex(guard.callerOf(request).account)
    ledgerRead(node.logger, { account, route: request.routeOptions.url ?? '', chain: chain ?? '' })
  }
  const secretOnly: Hook = async (request) => {
    if (isAdministrator(request)) return
    // A good token of the wrong kind is told apart from a bad one.
    await guard.hook(request)
    throw forbidden("the administrator's secret")
  }
  return {
    member,
    sessionOf,
    readerOf: (request) => sessionOf(request)?.name ?? toHex(guard.callerOf(request).account),
    nameOf: (request) => sessionOf(request)?.name ?? "the administrator's secret",
    administrator: async (request) => {
      const session = sessionOf(request)
      if (session === undefined) return secretOnly(request)
      if (session.role !== portalRoles.administrator) throw forbidden('an administrator')
    },
    person: async (request) => {
      if (sessionOf(request) === undefined) await secretOnly(request)
    },
    memberOrAdministrator: async (request) => {
      if (sessionOf(request) !== undefined || !isAdministrator(request)) await member(request)
    },
  }
}
