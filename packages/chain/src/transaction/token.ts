/** Bearer tokens: a short-lived statement of an account that it may read (SPEC.md §1). */
import { CryptoError } from '@healthblock/crypto/errors'
import { parseVerifyingKey, verifySignature } from '@healthblock/crypto/signature'
import { equalBytes, fromBase64Url, toBase64Url } from '@healthblock/encoding/bytes'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { EncodingError } from '@healthblock/encoding/errors'
import { ChainError, type ChainErrorDetail } from '../errors.ts'
import { bytes, type Check, tuple, uint } from './schema.ts'
import { statementMessage } from './statement.ts'

/** What a token opens. */
export type TokenScope = 'ledger' | 'storage'

/** What a token states. `audience`: the ledger id or one node's account; `until` in Unix ms. */
export interface TokenStatement {
  readonly account: Uint8Array
  readonly audience: Uint8Array
  readonly scope: TokenScope
  readonly until: number
}

/** A token taken apart; nothing of it is verified. */
export interface Token {
  readonly statement: TokenStatement
  /** The account's key that signed: 1 op, 2 node or store key. */
  readonly key: number
  readonly signature: Uint8Array
  /** The statement's bytes, as signed. */
  readonly statementBytes: Uint8Array
}

/** Furthest end of a token from the checker's clock. */
export const tokenLifetimeMsMax = 86_400_000
/** Longest token text. */
const tokenLengthMax = 512

type Reason = Extract<ChainErrorDetail, { code: 'ERR_TOKEN_INVALID' }>['reason']

function tokenError(reason: Reason, cause?: unknown): ChainError {
  return new ChainError(`the token is not valid: ${reason}`, { code: 'ERR_TOKEN_INVALID', reason }, { cause })
}

type StatementTuple = readonly [account: Uint8Array, audience: Uint8Array, scope: TokenScope, until: number]
const isScope: Check<TokenScope> = (value) => value === 'ledger' || value === 'storage'
const isToken = tuple<readonly [StatementTuple, number, Uint8Array]>([
  tuple<StatementTuple>([bytes(32), bytes(32), isScope, uint()]),
  uint(1, 2),
  bytes(64),
])

/** Makes a token: base64url text. `key` is the number of the signing key in its account: 1 op, 2 node or store key. */
export function createToken(request: {
  readonly ledgerId: Uint8Array
  readonly statement: TokenStatement
  readonly key: number
  readonly signingKey: { sign(message: Uint8Array): Uint8Array }
}): string {
  const { account, audience, scope, until } = request.statement
  const values = [account, audience, scope, until]
  const statement = encodeCbor(values)
  const signature = request.signingKey.sign(statementMessage({ label: 'token', ledgerId: request.ledgerId, statement }))
  return toBase64Url(encodeCbor([values, request.key, signature]))
}

/**
 * Takes a token apart. It verifies nothing.
 *
 * @throws {ChainError} `ERR_TOKEN_INVALID` with reason `format`.
 */
export function parseToken(token: string): Token {
  if (token.length > tokenLengthMax) throw tokenError('format')
  let decoded: ReturnType<typeof decodeCbor>
  try {
    decoded = decodeCbor(fromBase64Url(token))
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
    throw tokenError('format', cause)
  }
  if (!isToken(decoded)) throw tokenError('format')
  const [statement, key, signature] = decoded as unknown as [StatementTuple, number, Uint8Array]
  const [account, audience, scope, until] = statement
  return {
    statement: { account, audience, scope, until },
    key,
    signature,
    statementBytes: encodeCbor([account, audience, scope, until]),
  }
}

/**
 * Verifies a token: for one of these audiences and this scope, not past, ending at most 24 h from `nowMs`, signed by the
 * account's live key.
 *
 * @param request - `keyOf` gives the account's live public key of that number in the checker's own verified Userchain
 * state, or `undefined`.
 * @returns What the token states.
 * @throws {ChainError} `ERR_TOKEN_INVALID` with the reason.
 */
export function verifyToken(request: {
  readonly token: string
  readonly ledgerId: Uint8Array
  readonly audiences: readonly Uint8Array[]
  readonly scope: TokenScope
  readonly nowMs: number
  readonly keyOf: (account: Uint8Array, keyNumber: number) => Uint8Array | undefined
}): TokenStatement {
  const token = parseToken(request.token)
  const { statement, signature } = token
  if (statement.scope !== request.scope) throw tokenError('scope')
  if (!request.audiences.some((audience) => equalBytes(audience, statement.audience))) throw tokenError('audience')
  if (statement.until <= request.nowMs) throw tokenError('expired')
  if (statement.until > request.nowMs + tokenLifetimeMsMax) throw tokenError('lifetime')
  const publicKey = request.keyOf(statement.account, token.key)
  if (publicKey === undefined) throw tokenError('key')
  const message = statementMessage({ label: 'token', ledgerId: request.ledgerId, statement: token.statementBytes })
  try {
    verifySignature({ signature, message, key: parseVerifyingKey(publicKey) })
  } catch (cause) {
    if (!(cause instanceof CryptoError)) throw cause
    throw tokenError('signature', cause)
  }
  return statement
}
