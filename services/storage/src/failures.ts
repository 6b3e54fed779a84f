/** How failures are told to callers: in Kubo's form, with a typed reason beside its words. */
import { RuntimeError } from '@healthblock/runtime/errors'
import type { FastifyError } from 'fastify'
import { StorageError, type StorageErrorCode } from './errors.ts'

/** Reason of what is a fault of this node. */
export const internalReason = 'ERR_INTERNAL'

const statusOf: Partial<Record<StorageErrorCode, number>> = {
  ERR_TOKEN_MISSING: 401,
  ERR_TOKEN_INVALID: 401,
  ERR_ROLE_FORBIDDEN: 403,
  ERR_NOT_WRITER: 403,
  ERR_BLOCK_SEALED: 403,
  ERR_ARGUMENT_INVALID: 400,
  ERR_CID_INVALID: 400,
  ERR_MULTIPART_INVALID: 400,
  ERR_BLOCK_MISMATCH: 400,
  ERR_BLOCK_TOO_LARGE: 413,
  ERR_QUOTA_EXCEEDED: 413,
  ERR_BLOCK_NOT_FOUND: 404,
  ERR_NOT_PINNED: 404,
  ERR_PATH_NOT_FOUND: 404,
  ERR_DAG_INVALID: 400,
  ERR_NOT_OWNER: 403,
  ERR_SIGNATURE_NEEDED: 403,
  ERR_ORDER_INVALID: 403,
  ERR_PEER_UNREACHABLE: 502,
  ERR_BLOCK_ERASED: 410,
  ERR_BLOCK_RELEASED: 410,
  ERR_BLOCK_PINNED: 409,
  ERR_STORE_FULL: 507,
  ERR_STORE_BUSY: 503,
  ERR_QUORUM_MISSED: 503,
  ERR_TIMEOUT: 504,
}

/**
 * Under the Kubo RPC 404 says "no such command", and Kubo's own clients take it so: what a command does not find is
 * Kubo's 500 there, with the reason beside it.
 */
function statusFor(code: StorageErrorCode, path: string): number {
  const status = statusOf[code] ?? 500
  return status === 404 && path.startsWith('/api/v0/') ? 500 : status
}

/** How a failure is told: status, typed reason, public message. */
function describe(error: unknown, path: string): { status: number; reason: string; message: string } {
  if (error instanceof StorageError) {
    return { status: statusFor(error.detail.code, path), reason: error.detail.code, message: error.message }
  }
  if (error instanceof RuntimeError) {
    const status =
      error.detail.code === 'ERR_DAG_INVALID' ? 400 : error.detail.code === 'ERR_LIMIT_EXCEEDED' ? 413 : 500
    return { status, reason: error.detail.code, message: error.message }
  }
  const { name, statusCode, code, message } = error as FastifyError
  if (name === 'TimeoutError' || name === 'AbortError') {
    return { status: 504, reason: 'ERR_TIMEOUT', message: 'context deadline exceeded' }
  }
  if (code === 'ECONNRESET') {
    return { status: 400, reason: 'ERR_MULTIPART_INVALID', message: 'the body ended early' }
  }
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return { status: 413, reason: 'ERR_BLOCK_TOO_LARGE', message: 'the block is too large' }
  }
  if (statusCode && statusCode >= 400 && statusCode < 500) {
    return { status: statusCode, reason: 'ERR_ARGUMENT_INVALID', message }
  }
  return { status: 500, reason: internalReason, message: 'internal error' }
}

/** What a request that failed is answered. */
export interface FailureAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: { Message: string; Code: 0; Type: 'error'; Reason: string }
}

/** The answer to a request of a path. */
export function failureAnswer(error: unknown, path: string): FailureAnswer {
  const { status, reason, message } = describe(error, path)
  const headers = {
    ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
    ...(status === 503 ? { 'retry-after': '1' } : {}),
    'content-type': 'application/json; charset=utf-8',
  }
  return { status, headers, body: { Message: message, Code: 0, Type: 'error', Reason: reason } }
}
