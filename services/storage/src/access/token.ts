/**
 * The tokens that stores show to each other: base64url of canonical CBOR `[[account, audience, scope, until], 2, signature]`,
 * signed with the store key under "healthblock/1 token" (packages/chain/SPEC.md §1).
 */
import { parseVerifyingKey, type SigningKey, verifySignature } from '@healthblock/crypto/signature'
import { concatBytes, encodeUtf8, equalBytes, fromBase64Url, toBase64Url } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { StorageError } from '../errors.ts'
import type { Members } from './members.ts'

/** Number of the node or store key in signed statements. */
const keyOfStore = 2
/** Longest life of a token. */
export const tokenLifeMsMax = 24 * 3600 * 1000
const tokenLengthMax = 1024
const verifiedMax = 256

function signedBytes(ledgerId: Uint8Array, statement: CborValue): Uint8Array {
  return concatBytes(encodeUtf8('healthblock/1 token'), new Uint8Array(1), ledgerId, encodeCbor(statement))
}

/**
 * Makes a store's token.
 *
 * @param token.audience - 32 bytes: the account of the node that shall take it.
 * @param token.until - Unix ms, at most {@link tokenLifeMsMax} ahead.
 */
export function createStoreToken(
  key: SigningKey,
  token: { ledgerId: Uint8Array; account: Uint8Array; audience: Uint8Array; until: number },
): string {
  const statement = [token.account, token.audience, 'storage', token.until]
  const signature = key.sign(signedBytes(token.ledgerId, statement))
  return toBase64Url(encodeCbor([statement, keyOfStore, signature]))
}

interface ParsedToken {
  statement: CborValue
  account: Uint8Array
  audience: Uint8Array
  scope: string
  until: number
  signature: Uint8Array
}

function refused(cause?: unknown): StorageError {
  return new StorageError('the token is not valid', { code: 'ERR_TOKEN_INVALID' }, { cause })
}

function parseToken(text: string): ParsedToken {
  if (text.length > tokenLengthMax) throw refused()
  let value: CborValue
  try {
    value = decodeCbor(fromBase64Url(text))
  } catch (cause) {
    throw refused(cause)
  }
  if (!Array.isArray(value) || value.length !== 3) throw refused()
  const [statement, key, signature] = value
  if (!Array.isArray(statement) || statement.length !== 4) throw refused()
  const [account, audience, scope, until] = statement
  if (!(account instanceof Uint8Array) || account.length !== 32) throw refused()
  if (!(audience instanceof Uint8Array) || typeof scope !== 'string' || typeof until !== 'number') throw refused()
  if (key !== keyOfStore || !(signature instanceof Uint8Array)) throw refused()
  return { statement, account, audience, scope, until, signature }
}

/** Checks store tokens against the member list. Tokens that were good are remembered until they end. */
export class TokenVerifier {
  readonly #options: { members: Members; self: Uint8Array; now: () => number }
  readonly #verified = new Map<string, { account: Uint8Array; storeKey: Uint8Array; until: number }>()

  constructor(options: { members: Members; self: Uint8Array; now: () => number }) {
    this.#options = options
  }

  /**
   * @returns the store's account.
   * @throws {StorageError} `ERR_TOKEN_INVALID`.
   */
  verify(text: string, scope: 'storage'): Uint8Array {
    const { members, self, now } = this.#options
    const known = this.#verified.get(text)
    if (known && known.until > now()) {
      const member = members.find(known.account)
      if (member && equalBytes(member.storeKey, known.storeKey)) return known.account
    }
    const token = parseToken(text)
    if (token.scope !== scope || token.until <= now() || token.until > now() + tokenLifeMsMax) throw refused()
    if (!equalBytes(token.audience, members.ledgerId) && !equalBytes(token.audience, self)) throw refused()
    const member = members.find(token.account)
    if (!member) throw refused()
    try {
      const key = parseVerifyingKey(member.storeKey)
      verifySignature({ signature: token.signature, message: signedBytes(members.ledgerId, token.statement), key })
    } catch (cause) {
      throw refused(cause)
    }
    if (this.#verified.size >= verifiedMax) this.#verified.clear()
    const account = token.account.slice()
    this.#verified.set(text, { account, storeKey: member.storeKey, until: token.until })
    return account
  }
}
