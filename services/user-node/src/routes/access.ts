import { timingSafeEqual } from 'node:crypto'
import { sha256 } from '@healthblock/crypto/hash'
import { encodeUtf8 } from '@healthblock/encoding/bytes'
import type { FastifyInstance, FastifyRequest } from '@healthblock/runtime/http-app'
import type { PortalCookie } from '@healthblock/runtime/portal-access'
import { UserNodeError } from '../errors.ts'
import type { People } from '../people/people.ts'
import type { Session, Sessions } from '../people/sessions.ts'
import type { Person, PersonStore } from '../store/person.ts'

/** Who may call what: the node's API secret, a person's session, or a device's credential. */
export class Access {
  readonly #apiSecretHash: Uint8Array
  readonly #sessions: Sessions
  readonly #people: People
  readonly #store: PersonStore
  readonly #cookie: PortalCookie

  constructor(options: {
    apiSecret: string
    sessions: Sessions
    people: People
    store: PersonStore
    cookie: PortalCookie
  }) {
    this.#cookie = options.cookie
    this.#apiSecretHash = sha256(encodeUtf8(options.apiSecret))
    this.#sessions = options.sessions
    this.#people = options.people
    this.#store = options.store
  }

  /** @throws {UserNodeError} `ERR_SESSION_MISSING` unless the request carries the API secret. */
  requireApiSecret(request: FastifyRequest): void {
    if (!this.#isApiSecret(bearerOf(request))) throw unauthorized()
  }

  #isApiSecret(bearer: string): boolean {
    // Hashes have one length, so the comparison takes the same time whatever was sent.
    return timingSafeEqual(sha256(encodeUtf8(bearer)), this.#apiSecretHash)
  }

  /**
   * The session of the request, which must be that of the person in the path.
   *
   * @throws {UserNodeError} `ERR_SESSION_MISSING`; `ERR_FORBIDDEN` for another person's path.
   */
  requireSession(request: FastifyRequest): Session {
    const session = this.#find(request)
    const { p } = request.params as { p?: string }
    if (p !== undefined && p !== session.person.id && p !== session.person.name) {
      throw new UserNodeError('this belongs to somebody else', { code: 'ERR_FORBIDDEN' })
    }
    return session
  }

  /**
   * As `requireSession`, for what reads files of the node's host: a session that the API secret opened. Who merely lives here could otherwise
   * have the node read what he may not, such as its keys, through a link that he made.
   *
   * @throws {UserNodeError} `ERR_SESSION_MISSING`, `ERR_FORBIDDEN`.
   */
  requireHostsSession(request: FastifyRequest): Session {
    const session = this.requireSession(request)
    if (session.isHosts) return session
    throw new UserNodeError("files of the node's host are read for its administrator alone", { code: 'ERR_FORBIDDEN' })
  }

  /** By `Authorization: Bearer`, as scripts do, or by the portal's cookie. */
  #find(request: FastifyRequest): Session {
    const named = request.headers.authorization === undefined ? this.#cookie.sessionOf(request) : undefined
    return named === undefined ? this.#sessions.find(bearerOf(request)) : this.#sessions.find(named.id, named.isUse)
  }

  /** The person of the path, for her session or (where revoking needs no vault) the API secret. */
  requirePersonOrApiSecret(request: FastifyRequest): Person {
    const { p } = request.params as { p: string }
    const isScript = request.headers.authorization !== undefined
    if (isScript && this.#isApiSecret(bearerOf(request))) return this.#store.find(p)
    return this.requireSession(request).person
  }

  /** Lets nobody near a person's routes who could use none of them: the credential is looked at before anything that was sent is read. */
  guard(app: FastifyInstance): void {
    app.addHook('onRequest', async (request) => {
      const { url = '' } = request.routeOptions
      if (url.startsWith('/v1/people/:p/')) this.requirePersonOrApiSecret(request)
      else if (url.startsWith('/v1/streams/') || url === '/v1/fhir') this.requireDevice(request)
    })
  }

  /** The person whose device sent the request. @throws {UserNodeError} `ERR_SESSION_MISSING`. */
  requireDevice(request: FastifyRequest): Person {
    const person = this.#people.byCredential(bearerOf(request))
    if (person === undefined) throw unauthorized()
    return person
  }
}

function bearerOf(request: FastifyRequest): string {
  const header = request.headers.authorization ?? ''
  if (!header.startsWith('Bearer ')) throw unauthorized()
  return header.slice('Bearer '.length)
}

function unauthorized(): UserNodeError {
  return new UserNodeError('a credential is needed', { code: 'ERR_SESSION_MISSING' })
}
