/** Sessions of a browser: the cookie that carries one, and the proof that a request comes from the portal's own page. */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { RuntimeError } from '../errors.ts'
import type { FastifyReply, FastifyRequest } from '../http/http-app.ts'

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS'])
/** A page's own refreshing says so: it does not keep a session from growing idle. */
const backgroundHeader = 'x-background'

/** A session as a request names it. */
export interface NamedSession {
  readonly id: string
  /** False for what the page does by itself; true for what a person did. */
  readonly isUse: boolean
}

/** @throws {RuntimeError} `ERR_CSRF` for a request that the page of another site made (W3C Fetch Metadata). */
export function refuseOtherSite(request: FastifyRequest): void {
  const site = request.headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && site !== 'none') {
    throw new RuntimeError('this was asked for by the page of another site', { code: 'ERR_CSRF' })
  }
}

/**
 * The cookie of one node. Cookies know no ports, so the name carries a part of a hash over the node's secret: two portals on one host do
 * not log each other out.
 */
export class PortalCookie {
  readonly #name: string
  readonly #csrfKey: Buffer

  /** @param secret - The node's API secret. */
  constructor(secret: string) {
    const hash = createHash('sha256').update('healthblock portal cookie\0').update(secret).digest()
    this.#name = `hb-${hash.subarray(0, 6).toString('hex')}`
    this.#csrfKey = hash
  }

  /** The token that the page sends back with every act (OWASP: HMAC-based token bound to the session). */
  csrfOf(sessionId: string): string {
    return createHmac('sha256', this.#csrfKey).update(sessionId).digest('base64url')
  }

  /** Gives the browser a session. Scripts cannot read it and other sites cannot send it. */
  set(request: FastifyRequest, reply: FastifyReply, sessionId: string): void {
    const secure = request.protocol === 'https' ? '; Secure' : ''
    void reply.header('set-cookie', `${this.#name}=${sessionId}; Path=/; HttpOnly; SameSite=Strict${secure}`)
  }

  /** Takes it back. */
  clear(reply: FastifyReply): void {
    void reply.header('set-cookie', `${this.#name}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0`)
  }

  /** True if the request carries this node's cookie, good or not. */
  isCarriedBy(request: FastifyRequest): boolean {
    return this.idOf(request) !== undefined
  }

  /**
   * The session of a request, or undefined if it carries none.
   *
   * @throws {RuntimeError} `ERR_CSRF` for an act without the page's token, or from another site's page.
   */
  sessionOf(request: FastifyRequest): NamedSession | undefined {
    const id = this.idOf(request)
    if (id === undefined) return undefined
    refuseOtherSite(request)
    if (!safeMethods.has(request.method)) {
      const given = Buffer.from(String(request.headers['x-csrf-token'] ?? ''))
      const expected = Buffer.from(this.csrfOf(id))
      if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
        throw new RuntimeError('the page is out of date: load it again', { code: 'ERR_CSRF' })
      }
    }
    return { id, isUse: request.headers[backgroundHeader] === undefined }
  }

  /** The session that the request's cookie names, good or not. */
  idOf(request: FastifyRequest): string | undefined {
    for (const part of (request.headers.cookie ?? '').split(';')) {
      const [name, value] = part.trim().split('=', 2)
      if (name === this.#name && value !== undefined && /^[\w-]{16,128}$/.test(value)) return value
    }
    return undefined
  }
}
