/** Bearer tokens (chain SPEC §1): at a service's door, and for those who knock at another's. Nobody issues or stores them. */
import { timingSafeEqual } from 'node:crypto'
import type { StateReader } from '@healthblock/chain/state'
import { keyRoles, userTables } from '@healthblock/chain/tables'
import { createToken, type TokenScope, type TokenStatement, verifyToken } from '@healthblock/chain/token'
import { encodeUtf8 } from '@healthblock/encoding/bytes'
import { codeOf, messageOf, RuntimeError } from '../errors.ts'
import { isYetToCome } from '../process/pauses.ts'
import type { FastifyRequest } from './http-app.ts'

/** The live public key of an account (number 1 op, 2 node or store key), or undefined. */
export type KeyOf = (account: Uint8Array, keyNumber: number) => Uint8Array | undefined

/** Keys as a verified Userchain state has them: a follower's `state('userchain')`, or a node's own. */
export function keyOfState(state: StateReader): KeyOf {
  return (account, keyNumber) => {
    const role = keyNumber === 1 ? keyRoles.op : keyNumber === 2 ? keyRoles.node : undefined
    if (role === undefined) return undefined
    const k = userTables.keyHead.get(state, account, role)
    const record = k === undefined ? undefined : userTables.key.get(state, account, role, k)
    return record === undefined || record.c !== undefined ? undefined : record.key
  }
}

/** How to make a guard. */
export interface TokenGuardOptions {
  /** 32 bytes. */
  readonly ledgerId: Uint8Array
  readonly scope: TokenScope
  /** What a token may be meant for besides the ledger id: this node's account. */
  readonly audiences?: readonly Uint8Array[]
  readonly keyOf: KeyOf
  readonly now?: () => number
}

/** A Fastify `onRequest` hook, and what it found. */
export interface TokenGuard {
  /** Refuses a request without a good token before anything else is looked at: 401. */
  readonly hook: (request: FastifyRequest) => Promise<void>
  /** Checks one token text. Throws {RuntimeError} `ERR_TOKEN_INVALID`. */
  verify(token: string): TokenStatement
  /** Who sent a request that passed the hook. */
  callerOf(request: FastifyRequest): TokenStatement
}

const goodMax = 4_096

/**
 * The token of an `Authorization: Bearer` header.
 *
 * @throws {RuntimeError} `ERR_TOKEN_MISSING`.
 */
export function bearerOf(request: FastifyRequest): string {
  const token = /^Bearer ([!-~]{1,2048})$/i.exec(request.headers.authorization ?? '')?.[1]
  if (token !== undefined) return token
  throw new RuntimeError('a bearer token is needed', { code: 'ERR_TOKEN_MISSING' })
}

/** Makes a guard for routes that need a token of any live account: `app.get(path, { onRequest: guard.hook }, …)`. */
export function createTokenGuard(options: TokenGuardOptions): TokenGuard {
  const now = options.now ?? Date.now
  const audiences = [options.ledgerId, ...(options.audiences ?? [])]
  const callers = new WeakMap<FastifyRequest, TokenStatement>()
  // Good tokens with the key that verified them: the signature is checked once, the key and the time each time.
  const good = new Map<string, { statement: TokenStatement; keyNumber: number; publicKey: Uint8Array }>()

  const verifyFirst = (token: string): TokenStatement => {
    let used: { keyNumber: number; publicKey: Uint8Array } | undefined
    const keyOf: KeyOf = (account, keyNumber) => {
      const publicKey = options.keyOf(account, keyNumber)
      if (publicKey !== undefined) used = { keyNumber, publicKey }
      return publicKey
    }
    try {
      const statement = verifyToken({
        token,
        ledgerId: options.ledgerId,
        audiences,
        scope: options.scope,
        nowMs: now(),
        keyOf,
      })
      if (good.size >= goodMax) good.clear()
      if (used !== undefined) good.set(token, { statement, ...used })
      return statement
    } catch (cause) {
      if (codeOf(cause) !== 'ERR_TOKEN_INVALID') throw cause
      throw new RuntimeError(messageOf(cause), { code: 'ERR_TOKEN_INVALID', reason: messageOf(cause) }, { cause })
    }
  }
  const verify = (token: string): TokenStatement => {
    const known = good.get(token)
    if (known !== undefined && known.statement.until > now()) {
      const live = options.keyOf(known.statement.account, known.keyNumber)
      if (live !== undefined && Buffer.compare(live, known.publicKey) === 0) return known.statement
    }
    good.delete(token)
    return verifyFirst(token)
  }
  return {
    verify,
    hook: async (request) => {
      callers.set(request, verify(bearerOf(request)))
    },
    callerOf(request) {
      const caller = callers.get(request)
      if (caller === undefined) throw new RuntimeError('a bearer token is needed', { code: 'ERR_TOKEN_MISSING' })
      return caller
    },
  }
}

/** A Fastify `onRequest` hook that demands a fixed secret as bearer token (API and administrator secrets), compared in constant time. */
export function createSecretGuard(secret: string): (request: FastifyRequest) => Promise<void> {
  const expected = encodeUtf8(secret)
  return async (request) => {
    const given = encodeUtf8(bearerOf(request))
    if (given.length === expected.length && timingSafeEqual(given, expected)) return
    throw new RuntimeError('the secret is not valid', { code: 'ERR_TOKEN_INVALID', reason: 'secret' })
  }
}

/** How to make a token source. */
export interface TokenSourceOptions {
  /** 32 bytes. */
  readonly ledgerId: Uint8Array
  readonly account: Uint8Array
  /** The account's key that signs: 1 op, 2 node or store key. */
  readonly keyNumber: 1 | 2
  readonly signingKey: { sign(message: Uint8Array): Uint8Array }
  readonly scope: TokenScope
  /** The ledger id (every node takes it; default) or one node's account. */
  readonly audience?: Uint8Array
  /** Life of a token, default 1 h, at most 24 h. */
  readonly lifetimeMs?: number
  readonly now?: () => number
}

/** A function that gives a token, and a new one from half of the last one's life on. */
export function createTokenSource(options: TokenSourceOptions): () => string {
  const now = options.now ?? Date.now
  // The checker's clock may be behind: its limit of 24 h is kept with a minute to spare.
  const lifetimeMs = Math.min(options.lifetimeMs ?? 3_600_000, 86_400_000 - 60_000)
  let token: string | undefined
  let renewAtMs = 0
  return () => {
    if (token === undefined || !isYetToCome(renewAtMs, { nowMs: now(), lengthMs: lifetimeMs })) {
      const statement = {
        account: options.account,
        audience: options.audience ?? options.ledgerId,
        scope: options.scope,
        until: now() + lifetimeMs,
      }
      token = createToken({
        ledgerId: options.ledgerId,
        statement,
        key: options.keyNumber,
        signingKey: options.signingKey,
      })
      renewAtMs = now() + lifetimeMs / 2
    }
    return token
  }
}
