/** Who calls: the interface that this service needs, and the implementation that reads a file. */
import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { parseToken, type TokenStatement } from '@healthblock/chain/token'
import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import { createTokenGuard, type TokenGuard } from '@healthblock/runtime/token-guard'
import { StorageError } from '../errors.ts'
import type { Members } from './members.ts'

/** What a caller is: a member store of this network, or anybody else with an account. */
export type Role = 'store' | 'tenant'

/** A caller whose token was good. */
export interface Principal {
  /** 32-byte account. */
  account: Uint8Array
  role: Role
}

/**
 * Decides on bearer tokens. Implementations keep no state that a caller can fill, and answer from what they have
 * verified themselves.
 */
export interface Authorizer {
  /**
   * @param token - what followed `Bearer `, at most 4,096 characters.
   * @throws {StorageError} `ERR_TOKEN_INVALID` whatever is wrong with it.
   */
  authorize(token: string): Principal
  /** True if what an account erases or releases must be signed by it: no store is believed about it. */
  signsErasures(account: Uint8Array): boolean
  /**
   * The account whose references a bearer token gives up at every store, though it signs its erasures: who has a token that every
   * node takes may ask each store himself.
   *
   * @returns undefined for a token that does not say so much.
   * @throws {StorageError} `ERR_TOKEN_INVALID`.
   */
  releaserOf(token: string): Uint8Array | undefined
  /**
   * The account's keys of a number (1 op, 2 node or store key) that may have signed an erasure order at a time (Unix ms).
   *
   * @returns undefined if the account is not known here, or not yet.
   */
  erasureKeys(signer: { account: Uint8Array; key: number }, ms: number): readonly Uint8Array[] | undefined
}

/** Number of the node or store key in signed statements. */
export const storeKeyNumber = 2
/** Number of the key that an account uses every day. */
const opKeyNumber = 1

interface TokenLine {
  account: string
  sha256: string
  erasureKey?: string
}

/** What a file of tokens says. */
export interface TokenFile {
  /** Accounts by the SHA-256 of their tokens, in hex. */
  readonly tokens: ReadonlyMap<string, Uint8Array>
  /** Keys with which accounts, in hex, sign what they erase. */
  readonly erasureKeys: ReadonlyMap<string, Uint8Array>
}

function parseHex32(text: string): Uint8Array {
  const bytes = fromHex(text)
  if (bytes.length !== 32) throw new TypeError('not 32 bytes')
  return bytes
}

/**
 * Reads a file of tokens: `{"tokens": [{"account": hex32, "sha256": hex32, "erasureKey"?: hex32}]}`, where `sha256` is that of the
 * token text, and `erasureKey` the Ed25519 key without whose signature nothing of the account is erased.
 *
 * @throws {StorageError} `ERR_CONFIG_INVALID` if the file is missing or malformed.
 */
export function readTokenFile(path: string): TokenFile {
  try {
    const lines = (JSON.parse(readFileSync(path, 'utf8')) as { tokens: TokenLine[] }).tokens
    const tokens = new Map(lines.map(({ account, sha256 }) => [toHex(parseHex32(sha256)), parseHex32(account)]))
    const erasureKeys = lines.flatMap(({ account, erasureKey }): [string, Uint8Array][] =>
      erasureKey === undefined ? [] : [[toHex(parseHex32(account)), parseHex32(erasureKey)]],
    )
    return { tokens, erasureKeys: new Map(erasureKeys) }
  } catch (cause) {
    throw new StorageError('the token file cannot be read', { code: 'ERR_CONFIG_INVALID', faults: [path] }, { cause })
  }
}

/**
 * What a token says that a guard takes.
 *
 * @throws {StorageError} `ERR_TOKEN_INVALID`.
 */
export function verifyWith(guard: TokenGuard, token: string): TokenStatement {
  try {
    return guard.verify(token)
  } catch (cause) {
    throw new StorageError('the token is not valid', { code: 'ERR_TOKEN_INVALID' }, { cause })
  }
}

/**
 * True for a token that a store has made for this node alone, with its store key. One that every node takes is no store's
 * word to any: whoever gets it could use it at another.
 *
 * @param statement - of the token, verified.
 */
export function isForStore(token: string, statement: TokenStatement, self: Uint8Array): boolean {
  return equalBytes(statement.audience, self) && parseToken(token).key === storeKeyNumber
}

/** Stands alone: tenants by the hashes of their tokens, stores by tokens that they sign and the member list. */
export class StandaloneAuthorizer implements Authorizer {
  readonly #file: TokenFile
  readonly #guard: TokenGuard
  readonly #self: Uint8Array
  /** Tokens of the list that were hashed once: no more than it has. */
  readonly #known = new Map<string, Principal>()

  constructor(options: {
    file: TokenFile
    members: Members
    self: Uint8Array
    now: () => number
  }) {
    const { members, self, now } = options
    this.#file = options.file
    this.#self = self
    this.#guard = createTokenGuard({
      ledgerId: members.ledgerId,
      scope: 'storage',
      audiences: [self],
      keyOf: (account, number) => (number === storeKeyNumber ? members.find(account)?.storeKey : undefined),
      now,
    })
  }

  authorize(token: string): Principal {
    const known = this.#known.get(token)
    if (known) return known
    const account = this.#file.tokens.get(hash('sha256', token))
    if (account) {
      const principal: Principal = { account, role: 'tenant' }
      this.#known.set(token, principal)
      return principal
    }
    const statement = verifyWith(this.#guard, token)
    if (isForStore(token, statement, this.#self)) return { account: statement.account, role: 'store' }
    throw new StorageError('the token is not valid', { code: 'ERR_TOKEN_INVALID' })
  }

  signsErasures(account: Uint8Array): boolean {
    return this.#file.erasureKeys.has(toHex(account))
  }

  releaserOf(): undefined {
    return undefined
  }

  erasureKeys({ account, key }: { account: Uint8Array; key: number }): readonly Uint8Array[] {
    const known = this.#file.erasureKeys.get(toHex(account))
    return known === undefined || key !== opKeyNumber ? [] : [known]
  }
}
