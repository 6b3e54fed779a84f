/** Who calls: the interface that this service needs, and the implementation that reads a file. */
import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { parseToken, type TokenStatement } from '@healthblock/chain/token'
import { equalBytes, fromHex } from '@healthblock/encoding/bytes'
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
}

/** Number of the node or store key in signed statements. */
export const storeKeyNumber = 2

interface TokenLine {
  account: string
  sha256: string
}

/**
 * Reads a file of tokens: `{"tokens": [{"account": hex32, "sha256": hex32}]}`, where `sha256` is that of the token text.
 *
 * @throws {StorageError} `ERR_CONFIG_INVALID` if the file is missing or malformed.
 */
export function readTokenFile(path: string): Map<string, Uint8Array> {
  try {
    const { tokens } = JSON.parse(readFileSync(path, 'utf8')) as { tokens: TokenLine[] }
    return new Map(
      tokens.map(({ account, sha256 }) => {
        if (fromHex(account).length !== 32 || fromHex(sha256).length !== 32) throw new TypeError('not 32 bytes')
        return [sha256, fromHex(account)]
      }),
    )
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
  readonly #tokens: ReadonlyMap<string, Uint8Array>
  readonly #guard: TokenGuard
  readonly #self: Uint8Array
  /** Tokens of the list that were hashed once: no more than it has. */
  readonly #known = new Map<string, Principal>()

  constructor(options: {
    tokens: ReadonlyMap<string, Uint8Array>
    members: Members
    self: Uint8Array
    now: () => number
  }) {
    const { members, self, now } = options
    this.#tokens = options.tokens
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
    const account = this.#tokens.get(hash('sha256', token))
    if (account) {
      const principal: Principal = { account, role: 'tenant' }
      this.#known.set(token, principal)
      return principal
    }
    const statement = verifyWith(this.#guard, token)
    if (isForStore(token, statement, this.#self)) return { account: statement.account, role: 'store' }
    throw new StorageError('the token is not valid', { code: 'ERR_TOKEN_INVALID' })
  }
}
