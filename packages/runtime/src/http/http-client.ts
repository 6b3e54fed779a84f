/** Requests to the project's own services: bounded in time and size, every failure typed. */
import { messageOf, RuntimeError } from '../errors.ts'
import { plainText } from './plain-text.ts'

/** A request. */
export interface HttpRequest {
  readonly url: string
  readonly method?: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array | string | FormData
  /** Time for the whole exchange. */
  readonly timeoutMs: number
  /** Largest answer that is read. */
  readonly sizeBytesMax: number
  readonly signal?: AbortSignal
  /** Statuses, besides 2xx, that are answers and not failures. */
  readonly accepted?: readonly number[]
}

/** An answer, read in full. */
export interface HttpAnswer {
  readonly status: number
  readonly headers: Headers
  readonly bytes: Uint8Array
}

/** Only the origin: paths and queries hold ids. */
export function originOf(url: string): string {
  return new URL(url).origin
}

/** A source that could not be reached, or did not answer in time. */
export function unreachable(url: string, error: unknown): RuntimeError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  const { code } = cause as { code?: unknown }
  const timedOut = error instanceof Error && error.name === 'TimeoutError'
  const reason = timedOut ? 'no answer in time' : typeof code === 'string' ? code : messageOf(cause)
  const origin = originOf(url)
  return new RuntimeError(
    `${origin}: ${reason}`,
    { code: 'ERR_SOURCE_UNREACHABLE', url: origin, reason },
    { cause: error },
  )
}

/** A source that answered something which no correct one does: what it said must not be used. */
export function misbehaved(url: string, reason: string, cause?: unknown): RuntimeError {
  const origin = originOf(url)
  const detail = { code: 'ERR_SOURCE_MISBEHAVED', url: origin, reason } as const
  return new RuntimeError(`${origin} answered what cannot be: ${reason}`, detail, cause === undefined ? {} : { cause })
}

async function readBounded(response: Response, request: HttpRequest): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of response.body ?? []) {
    size += part.length
    if (size > request.sizeBytesMax)
      throw misbehaved(request.url, `an answer of more than ${request.sizeBytesMax} bytes`)
    parts.push(part as Uint8Array)
  }
  const bytes = new Uint8Array(size)
  let offset = 0
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.length
  }
  return bytes
}

/** Below this nobody is turned away for a clock: tokens last for longer. */
const clockMsMin = 60_000

/** Where a source does not know who asks: how far the two clocks are apart, which is the cause more often than a wrong key. */
function clockWords(status: number, date: string | null | undefined): string {
  const aheadMs = Date.now() - Date.parse(date ?? '')
  if (status !== 401 || !(Math.abs(aheadMs) >= clockMsMin)) return ''
  const minutes = Math.round(Math.abs(aheadMs) / 60_000)
  return ` (this machine's clock is ${minutes} min ${aheadMs > 0 ? 'ahead of' : 'behind'} that one's: set it right)`
}

/** A source that answered with a status that is no success; `bytes` are what it said, `date` the header of that name. */
export function refused(url: string, status: number, bytes: Uint8Array, date?: string | null): RuntimeError {
  let sourceCode = 'none'
  let said = ''
  try {
    const problem = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>
    // Storage nodes speak Kubo's form of errors, with the typed code beside it.
    const code = problem.code ?? problem.Reason
    if (typeof code === 'string') sourceCode = plainText(code.slice(0, 64))
    const text = problem.detail ?? problem.Message
    if (typeof text === 'string') said = `: ${plainText(text.slice(0, 200))}`
  } catch {
    // Not a problem document: the status has to do.
  }
  const origin = originOf(url)
  const detail = { code: 'ERR_SOURCE_REFUSED', url: origin, status, sourceCode } as const
  return new RuntimeError(`${origin} refused with ${status}${said}${clockWords(status, date)}`, detail)
}

function fetchInit(request: HttpRequest, signal: AbortSignal): RequestInit {
  const init: RequestInit = { method: request.method ?? 'GET', redirect: 'error', signal }
  if (request.headers !== undefined) init.headers = request.headers
  if (request.body !== undefined) init.body = request.body as NonNullable<RequestInit['body']>
  return init
}

/**
 * Sends a request and reads the whole answer.
 *
 * @throws {RuntimeError} `ERR_SOURCE_UNREACHABLE` (no connection, no answer in time), `ERR_SOURCE_REFUSED` (a status outside 2xx that is not accepted), `ERR_SOURCE_MISBEHAVED` (too large). An abort of `signal` throws its reason.
 */
export async function sendRequest(request: HttpRequest): Promise<HttpAnswer> {
  const signals = [AbortSignal.timeout(request.timeoutMs)]
  if (request.signal !== undefined) signals.push(request.signal)
  try {
    const response = await fetch(request.url, fetchInit(request, AbortSignal.any(signals)))
    const bytes = await readBounded(response, request)
    if (!response.ok && !(request.accepted ?? []).includes(response.status)) {
      throw refused(request.url, response.status, bytes, response.headers.get('date'))
    }
    return { status: response.status, headers: response.headers, bytes }
  } catch (error) {
    request.signal?.throwIfAborted()
    if (error instanceof RuntimeError) throw error
    throw unreachable(request.url, error)
  }
}

/**
 * Opens an answer that lasts (server-sent events). `timeoutMs` bounds the time to its headers only.
 *
 * @throws {RuntimeError} as `sendRequest`.
 */
export async function openStream(request: HttpRequest): Promise<ReadableStream<Uint8Array>> {
  const opening = new AbortController()
  const timer = setTimeout(
    () => opening.abort(new DOMException('no answer in time', 'TimeoutError')),
    request.timeoutMs,
  )
  const signals = [opening.signal]
  if (request.signal !== undefined) signals.push(request.signal)
  try {
    const response = await fetch(request.url, fetchInit(request, AbortSignal.any(signals)))
    if (!response.ok) {
      const bytes = await readBounded(response, request)
      throw refused(request.url, response.status, bytes, response.headers.get('date'))
    }
    if (response.body === null) throw misbehaved(request.url, 'a stream without a body')
    return response.body as ReadableStream<Uint8Array>
  } catch (error) {
    request.signal?.throwIfAborted()
    if (error instanceof RuntimeError) throw error
    throw unreachable(request.url, error)
  } finally {
    clearTimeout(timer)
  }
}
