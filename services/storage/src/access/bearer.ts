import type { IncomingMessage } from 'node:http'
import type { FastifyRequest } from 'fastify'
import { StorageError } from '../errors.ts'
import type { Authorizer } from './authorizer.ts'

/** Longest token. */
export const tokenLengthMax = 4096

/** The bearer token of a request. @throws {StorageError} `ERR_TOKEN_MISSING`, `ERR_TOKEN_INVALID`. */
export function bearerOf(request: { headers: IncomingMessage['headers'] }): string {
  const header = request.headers.authorization
  if (!header) throw new StorageError('a bearer token is needed', { code: 'ERR_TOKEN_MISSING' })
  const token = header.startsWith('Bearer ') ? header.slice(7) : ''
  if (token === '' || token.length > tokenLengthMax) {
    throw new StorageError('the token is not valid', { code: 'ERR_TOKEN_INVALID' })
  }
  return token
}

/** Who asks, with the token that shows it. */
export interface Caller {
  account: Uint8Array
  token: string
}

/** Who has sent a request that was let in. */
export function callerOf(request: Pick<FastifyRequest, 'headers' | 'principal'>): Caller {
  return { account: request.principal.account, token: bearerOf(request) }
}

const scheme = 'Bearer '

/** The account of a request whose token is good; undefined for any other. */
export function accountOf(authorizer: Authorizer, authorization: string | undefined): Uint8Array | undefined {
  if (!authorization?.startsWith(scheme) || authorization.length > scheme.length + tokenLengthMax) return undefined
  try {
    return authorizer.authorize(authorization.slice(scheme.length)).account
  } catch {
    return undefined
  }
}
