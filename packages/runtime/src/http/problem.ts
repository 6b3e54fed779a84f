/** RFC 9457 problem documents: what a failed request answers, made from typed errors in one place. */
import { codeOf, messageOf } from '../errors.ts'

/** Content type of a problem document. */
export const problemContentType = 'application/problem+json'

/** A problem document, as it is sent. `code` is the typed code that a client may act upon. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: string
  /** The input that was wrong, if one was. */
  readonly field?: string
  /** What to ask a security key, where its answer may stand for what was missing. */
  readonly keys?: object
}

/** A problem and the headers that go with it. */
export interface ProblemAnswer {
  readonly problem: Problem
  readonly headers: Readonly<Record<string, string>>
}

/** Status of each typed code of a service; codes that are absent become 500. */
export type StatusOfCode = Readonly<Record<string, number>>

const titles: Readonly<Record<number, string>> = {
  400: 'Bad request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not found',
  405: 'Method not allowed',
  408: 'Request timeout',
  409: 'Conflict',
  410: 'Gone',
  413: 'Content too large',
  415: 'Unsupported media type',
  421: 'Misdirected request',
  422: 'Unprocessable content',
  429: 'Too many requests',
  500: 'Internal error',
  502: 'Bad gateway',
  503: 'Service unavailable',
  504: 'Gateway timeout',
  507: 'Insufficient storage',
}

/** Statuses of the codes that this package and its own packages throw at request time. A service's table goes before it. */
export const sharedStatusOfCode: StatusOfCode = {
  ERR_REQUEST_INVALID: 400,
  ERR_CBOR_TRUNCATED: 400,
  ERR_CBOR_NOT_CANONICAL: 400,
  ERR_CBOR_FORBIDDEN: 400,
  ERR_CBOR_LIMIT: 400,
  ERR_CBOR_TRAILING: 400,
  ERR_TEXT_INVALID: 400,
  ERR_TOKEN_MISSING: 401,
  ERR_TOKEN_INVALID: 401,
  ERR_SESSION_MISSING: 401,
  ERR_PASSPHRASE_WRONG: 401,
  ERR_CODE_NEEDED: 401,
  ERR_CODE_WRONG: 401,
  ERR_KEY_WRONG: 401,
  ERR_KEY_PLACE: 409,
  ERR_FACTOR_ON: 409,
  ERR_FACTOR_NOT_OFFERED: 409,
  ERR_TOO_MANY_TRIES: 429,
  ERR_TOO_MANY_AT_ONCE: 429,
  ERR_CSRF: 403,
  ERR_HOST_UNKNOWN: 421,
  ERR_ROLE_FORBIDDEN: 403,
  ERR_NOT_FOUND: 404,
  ERR_BLOCK_NOT_FOUND: 404,
  ERR_LIMIT_EXCEEDED: 413,
  ERR_BUSY: 503,
  ERR_CLOSED: 503,
  ERR_OUTBOX_FULL: 503,
  ERR_NO_SOURCE: 503,
  ERR_RECEIPTS_MISSING: 503,
  ERR_DISK_FULL: 507,
}

/** Makes a problem document. */
export function createProblem(options: { status: number; code: string; detail: string; field?: string }): Problem {
  const { status, code, detail, field } = options
  const title = titles[status] ?? 'Error'
  const base = { type: `urn:healthblock:problem:${code}`, title, status, detail, code }
  return field === undefined ? base : { ...base, field }
}

interface FastifyFault {
  readonly statusCode?: unknown
  readonly validation?: readonly { instancePath?: string; message?: string; params?: Record<string, unknown> }[]
  readonly validationContext?: string
}

function validationProblem(error: FastifyFault): Problem {
  const first = error.validation?.[0]
  const missing = first?.params?.missingProperty
  const extra = first?.params?.additionalProperty
  const tail = typeof missing === 'string' ? `/${missing}` : typeof extra === 'string' ? `/${extra}` : ''
  const field = `${error.validationContext ?? 'request'}${first?.instancePath ?? ''}${tail}`
  const reason = first?.message ?? 'is not valid'
  return createProblem({ status: 400, code: 'ERR_REQUEST_INVALID', detail: `${field} ${reason}`, field })
}

/** Codes of Fastify's own refusals, under this project's names. */
const fastifyCodes: Readonly<Record<string, string>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'ERR_LIMIT_EXCEEDED',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'ERR_MEDIA_TYPE',
}

/**
 * The problem document of an error. Messages of typed errors are public; of any other error nothing is told.
 *
 * @param statusOfCode - The service's table, looked at before the shared one.
 */
export function problemOf(error: unknown, statusOfCode: StatusOfCode): ProblemAnswer {
  const fault = (typeof error === 'object' && error !== null ? error : {}) as FastifyFault
  if (fault.validation !== undefined) return { problem: validationProblem(fault), headers: {} }
  const code = codeOf(error)
  const known = code === undefined ? undefined : (statusOfCode[code] ?? sharedStatusOfCode[code])
  if (code !== undefined && known !== undefined) {
    const { detail } = error as { detail?: { field?: unknown; retryAfterMs?: unknown; keys?: object } }
    const field = typeof detail?.field === 'string' ? { field: detail.field } : {}
    const keys = detail?.keys === undefined ? {} : { keys: detail.keys }
    const headers: Record<string, string> = {}
    if (known === 401) headers['www-authenticate'] = 'Bearer'
    if (known === 503 || known === 429) {
      const afterMs = typeof detail?.retryAfterMs === 'number' ? detail.retryAfterMs : 1_000
      headers['retry-after'] = String(Math.max(1, Math.ceil(afterMs / 1000)))
    }
    return {
      problem: { ...createProblem({ status: known, code, detail: messageOf(error), ...field }), ...keys },
      headers,
    }
  }
  const status = typeof fault.statusCode === 'number' ? fault.statusCode : 500
  if (status >= 400 && status < 500) {
    const named = fastifyCodes[code ?? ''] ?? 'ERR_REQUEST_INVALID'
    return { problem: createProblem({ status, code: named, detail: messageOf(error) }), headers: {} }
  }
  const detail = 'the request failed inside the service; its log says why'
  return { problem: createProblem({ status: 500, code: 'ERR_INTERNAL', detail }), headers: {} }
}
