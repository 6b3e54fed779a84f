/** Access and members by Userchain, as this node has verified it itself (packages/chain/SPEC.md §1, §5). */
import { equalBytes, toBase58 } from '@healthblock/encoding/bytes'
import type { LedgerFollower } from '@healthblock/runtime/follower'
import { createTokenGuard, type TokenGuard } from '@healthblock/runtime/token-guard'
import { StorageError } from '../errors.ts'
import type { Authorizer, Principal } from './authorizer.ts'
import type { Member, Members } from './members.ts'

type Follower = Pick<LedgerFollower, 'genesis' | 'keyOf' | 'storeKeyOf' | 'ledger'>

/** Takes tokens of every account whose key is live; a replaced key or an ended account loses access with the next block. */
export class LedgerAuthorizer implements Authorizer {
  readonly #follower: Follower
  readonly #guard: TokenGuard

  constructor(options: { follower: Follower; self: Uint8Array; now: () => number }) {
    this.#follower = options.follower
    this.#guard = createTokenGuard({
      ledgerId: options.follower.genesis.ledgerId,
      scope: 'storage',
      audiences: [options.self],
      keyOf: options.follower.keyOf,
      now: options.now,
    })
  }

  async authorize(token: string): Promise<Principal> {
    try {
      const { account } = this.#guard.verify(token)
      return { account, role: this.#follower.storeKeyOf(account) === undefined ? 'tenant' : 'store' }
    } catch (cause) {
      throw new StorageError('the token is not valid', { code: 'ERR_TOKEN_INVALID' }, { cause })
    }
  }
}

/**
 * The members of the policy in force. The file says where they are; who they are, and with which keys and peer ids, the
 * ledger says: a line of the file that the ledger does not confirm is left out.
 */
export class LedgerMembers implements Members {
  readonly #located: Members
  readonly #follower: Follower

  constructor(options: { located: Members; follower: Follower }) {
    this.#located = options.located
    this.#follower = options.follower
  }

  get ledgerId(): Uint8Array {
    return this.#follower.genesis.ledgerId
  }

  list(): readonly Member[] {
    return this.#located.list().filter((member) => this.#isConfirmed(member))
  }

  find(account: Uint8Array): Member | undefined {
    const member = this.#located.find(account)
    return member !== undefined && this.#isConfirmed(member) ? member : undefined
  }

  findPeer(peerId: string): Member | undefined {
    const member = this.#located.findPeer(peerId)
    return member !== undefined && this.#isConfirmed(member) ? member : undefined
  }

  onChange(listener: () => void): () => void {
    return this.#located.onChange(listener)
  }

  #isConfirmed(member: Member): boolean {
    const store = this.#follower.ledger
      .policy('userchain')
      .stores.find(([, account]) => equalBytes(account, member.account))
    if (store === undefined) return false
    const [, , key, peer] = store
    return equalBytes(key, member.storeKey) && toBase58(peer) === member.peerId
  }
}
