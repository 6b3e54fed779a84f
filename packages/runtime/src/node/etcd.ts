/**
 * etcd over the JSON gateway that every member serves (etcd 3.4 and newer, paths below `/v3`). Several members, user and
 * password, TLS with the deployment's own authority. What is needed of etcd here are reads and transactions of single keys,
 * so this is all of it; locks, leases and watches are not used.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { messageOf, RuntimeError } from '../errors.ts'
import { misbehaved, originOf } from '../http/http-client.ts'

/** How to reach a cluster of etcd. */
export interface EtcdOptions {
  /** Client URLs of the members, at least one. */
  readonly endpoints: readonly string[]
  /** Absent: the cluster asks for no user. */
  readonly credentials?: { readonly user: string; readonly password: string }
  /** PEM texts for https endpoints; absent ones leave the system's authorities and no client certificate. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string }
  /** Time for one member's answer. */
  readonly timeoutMs: number
}

/** A JSON object as the gateway reads and writes it: 64-bit integers are texts, bytes are base64, zero values are absent. */
export type EtcdMessage = Readonly<Record<string, unknown>>

const answerSizeBytesMax = 4 * 1024 * 1024
const connectionsMax = 8
/** gRPC's code of a token that the member does not know (any more). */
const unauthenticated = 16

/** A refusal that says that the request was not carried out because of the token it came with. */
function isTokenRefused(status: number, answer: EtcdMessage): boolean {
  const words = String(answer.error ?? answer.message ?? '')
  return (
    (status === 401 && answer.code === unauthenticated) ||
    words.includes('user name is empty') ||
    words.includes('revision of auth store is old')
  )
}

/** Nothing was sent: the request may go to another member whatever it asks for. */
function isNotSent(error: unknown): boolean {
  const cause = error instanceof RuntimeError ? error.cause : error
  const { code } = (cause ?? {}) as { code?: unknown }
  return code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'EHOSTUNREACH' || code === 'ENETUNREACH'
}

async function readJson(url: string, response: IncomingMessage): Promise<EtcdMessage> {
  const parts: Uint8Array[] = []
  let sizeBytes = 0
  for await (const part of response as AsyncIterable<Uint8Array>) {
    sizeBytes += part.length
    if (sizeBytes > answerSizeBytesMax) throw misbehaved(url, `an answer of more than ${answerSizeBytesMax} bytes`)
    parts.push(part)
  }
  let value: unknown
  try {
    value = JSON.parse(Buffer.concat(parts).toString('utf8'))
  } catch (cause) {
    throw misbehaved(url, 'no JSON', cause)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw misbehaved(url, 'no JSON object')
  return value as EtcdMessage
}

/** A client of one cluster. It stays with a member for as long as that one answers. */
export class EtcdClient {
  readonly #options: EtcdOptions
  readonly #http = new HttpAgent({ keepAlive: true, maxSockets: connectionsMax })
  readonly #https: HttpsAgent
  #at = 0
  #token: Promise<string> | undefined

  constructor(options: EtcdOptions) {
    this.#options = options
    this.#https = new HttpsAgent({ keepAlive: true, maxSockets: connectionsMax, ...options.tls })
  }

  /**
   * Calls one method of the gateway.
   *
   * @param path - Such as `/v3/kv/range`.
   * @param options - `repeatable`: the call may be carried out twice without harm (a read), so every member is tried.
   * Another call goes to a second member only if the first one cannot have got it.
   * @throws {RuntimeError} `ERR_SOURCE_UNREACHABLE`, `ERR_SOURCE_REFUSED` (with etcd's words), `ERR_SOURCE_MISBEHAVED`. Whether a
   * call that is not repeatable was carried out is then unknown.
   */
  async call(path: string, message: EtcdMessage, options: { repeatable: boolean }): Promise<EtcdMessage> {
    const { endpoints } = this.#options
    for (let tries = 1; ; tries++) {
      const endpoint = endpoints[this.#at % endpoints.length] as string
      try {
        return await this.#callMember(endpoint, path, message)
      } catch (error) {
        this.#at = (endpoints.indexOf(endpoint) + 1) % endpoints.length
        if (tries >= endpoints.length || !(options.repeatable || isNotSent(error))) throw error
      }
    }
  }

  /** Ends all connections. */
  close(): void {
    this.#http.destroy()
    this.#https.destroy()
  }

  async #callMember(endpoint: string, path: string, message: EtcdMessage): Promise<EtcdMessage> {
    for (let tries = 1; ; tries++) {
      const token = await this.#authenticate(endpoint)
      const { status, answer } = await this.#post(endpoint, path, message, token)
      if (status === 200) return answer
      if (token !== undefined && tries === 1 && isTokenRefused(status, answer)) {
        this.#token = undefined
        continue
      }
      throw refused(endpoint, status, answer)
    }
  }

  /** A token of this client's user; undefined without one. Members forget tokens after minutes and at a start. */
  async #authenticate(endpoint: string): Promise<string | undefined> {
    const { credentials } = this.#options
    if (credentials === undefined) return undefined
    this.#token ??= this.#newToken(endpoint, { name: credentials.user, password: credentials.password })
    const token = this.#token
    try {
      return await token
    } catch (error) {
      if (this.#token === token) this.#token = undefined
      throw error
    }
  }

  async #newToken(endpoint: string, message: EtcdMessage): Promise<string> {
    const { status, answer } = await this.#post(endpoint, '/v3/auth/authenticate', message, undefined)
    if (status !== 200) throw refused(endpoint, status, answer)
    if (typeof answer.token !== 'string') throw misbehaved(endpoint, 'no token')
    return answer.token
  }

  async #post(
    endpoint: string,
    path: string,
    message: EtcdMessage,
    token: string | undefined,
  ): Promise<{ status: number; answer: EtcdMessage }> {
    const url = new URL(path, endpoint)
    const body = Buffer.from(JSON.stringify(message))
    const headers = {
      'content-type': 'application/json',
      'content-length': body.length,
      ...(token === undefined ? {} : { authorization: token }),
    }
    const isTls = url.protocol === 'https:'
    const signal = AbortSignal.timeout(this.#options.timeoutMs)
    const init = { method: 'POST', headers, signal, agent: isTls ? this.#https : this.#http }
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        const request = (isTls ? httpsRequest : httpRequest)(url, init, resolve)
        request.once('error', reject)
        request.end(body)
      })
      return { status: response.statusCode ?? 0, answer: await readJson(endpoint, response) }
    } catch (error) {
      if (error instanceof RuntimeError) throw error
      throw unreachable(endpoint, signal.aborted ? 'no answer in time' : messageOf(error), error)
    }
  }
}

function unreachable(endpoint: string, reason: string, cause: unknown): RuntimeError {
  const origin = originOf(endpoint)
  return new RuntimeError(`${origin}: ${reason}`, { code: 'ERR_SOURCE_UNREACHABLE', url: origin, reason }, { cause })
}

function refused(endpoint: string, status: number, answer: EtcdMessage): RuntimeError {
  const origin = originOf(endpoint)
  const words = String(answer.error ?? answer.message ?? 'no reason').slice(0, 200)
  const detail = { code: 'ERR_SOURCE_REFUSED', url: origin, status, sourceCode: String(answer.code ?? '') } as const
  return new RuntimeError(`${origin} refused with ${status}: ${words}`, detail)
}

/** Bytes as the gateway wants them. */
export function etcdBytes(bytes: Uint8Array | string): string {
  return Buffer.from(bytes as Uint8Array).toString('base64')
}

/** The range that ends behind the last key with this prefix, for `range_end`. */
export function etcdRangeEnd(prefix: string): string {
  const end = Buffer.from(prefix)
  end[end.length - 1] = (end[end.length - 1] as number) + 1
  return end.toString('base64')
}
