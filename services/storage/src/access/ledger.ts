/** Access and members by Userchain, as this node has verified it itself (packages/chain/SPEC.md §1, §5). */
import { erasureKeysAt } from '@healthblock/chain/erasure-order'
import { equalBytes, toBase58 } from '@healthblock/encoding/bytes'
import type { LedgerFollower } from '@healthblock/runtime/follower'
import { createTokenGuard, type TokenGuard } from '@healthblock/runtime/token-guard'
import { type Authorizer, isForStore, type Principal, verifyWith } from './authorizer.ts'
import type { Member, Members } from './members.ts'

type Follower = Pick<LedgerFollower, 'genesis' | 'keyOf' | 'ledger' | 'onChange'>

type Stores = ReturnType<Follower['ledger']['policy']>['stores']

function isSameList(left: Stores, right: Stores): boolean {
  const isSame = (a: Uint8Array | number, b: Uint8Array | number | undefined): boolean =>
    a instanceof Uint8Array ? b instanceof Uint8Array && equalBytes(a, b) : a === b
  return (
    left.length === right.length && left.every((store, at) => store.every((part, i) => isSame(part, right[at]?.[i])))
  )
}

/** The stores of the policy in force, read once per block: each request asks for them several times. */
class PolicyStores {
  readonly #follower: Follower
  #size = -1
  #stores: Stores = []

  constructor(follower: Follower) {
    this.#follower = follower
  }

  list(): Stores {
    const { size } = this.#follower.ledger.head('userchain')
    if (size !== this.#size) {
      const { stores } = this.#follower.ledger.policy('userchain')
      // The list stays the same object until a store comes, goes or changes: that is how a change is known.
      if (!isSameList(stores, this.#stores)) this.#stores = stores
      this.#size = size
    }
    return this.#stores
  }

  find(account: Uint8Array): Stores[number] | undefined {
    return this.list().find((store) => equalBytes(store[1], account))
  }
}

/** Takes tokens of every account whose key is live; a replaced key or an ended account loses access with the next block. */
export class LedgerAuthorizer implements Authorizer {
  readonly #follower: Follower
  readonly #stores: PolicyStores
  readonly #guard: TokenGuard
  readonly #self: Uint8Array

  constructor(options: { follower: Follower; self: Uint8Array; now: () => number }) {
    this.#self = options.self
    this.#follower = options.follower
    this.#stores = new PolicyStores(options.follower)
    this.#guard = createTokenGuard({
      ledgerId: options.follower.genesis.ledgerId,
      scope: 'storage',
      audiences: [options.self],
      keyOf: options.follower.keyOf,
      now: options.now,
    })
  }

  authorize(token: string): Principal {
    const statement = verifyWith(this.#guard, token)
    const { account } = statement
    const isStore = this.#stores.find(account) !== undefined && isForStore(token, statement, this.#self)
    return { account, role: isStore ? 'store' : 'tenant' }
  }

  signsErasures(): boolean {
    return true
  }

  releaserOf(token: string): Uint8Array | undefined {
    const { account, audience } = verifyWith(this.#guard, token)
    return equalBytes(audience, this.#follower.genesis.ledgerId) ? account : undefined
  }

  erasureKeys(signer: { account: Uint8Array; key: number }, ms: number): readonly Uint8Array[] | undefined {
    const { ledger } = this.#follower
    return erasureKeysAt({ state: ledger.state('userchain'), index: ledger.index('userchain') }, signer, ms)
  }
}

/**
 * The members of the policy in force. The file says where they are; who they are, and with which keys and peer ids, the
 * ledger says: a line of the file that the ledger does not confirm is left out.
 */
export class LedgerMembers implements Members {
  readonly #located: Members
  readonly #follower: Follower
  readonly #stores: PolicyStores
  /** What was confirmed, of which lists. */
  #confirmed: { stores: Stores; located: readonly Member[]; members: readonly Member[] } | undefined

  constructor(options: { located: Members; follower: Follower }) {
    this.#located = options.located
    this.#follower = options.follower
    this.#stores = new PolicyStores(options.follower)
  }

  get ledgerId(): Uint8Array {
    return this.#follower.genesis.ledgerId
  }

  list(): readonly Member[] {
    const stores = this.#stores.list()
    const located = this.#located.list()
    if (this.#confirmed?.stores !== stores || this.#confirmed.located !== located) {
      this.#confirmed = { stores, located, members: located.filter((member) => this.#isConfirmed(member)) }
    }
    return this.#confirmed.members
  }

  find(account: Uint8Array): Member | undefined {
    const member = this.#located.find(account)
    return member !== undefined && this.#isConfirmed(member) ? member : undefined
  }

  findPeer(peerId: string): Member | undefined {
    const member = this.#located.findPeer(peerId)
    return member !== undefined && this.#isConfirmed(member) ? member : undefined
  }

  /** Also after each block that changes which members the ledger confirms. */
  onChange(listener: () => void): () => void {
    let known = this.list()
    const check = (): void => {
      const members = this.list()
      if (members === known) return
      known = members
      listener()
    }
    const endLocated = this.#located.onChange(check)
    const endLedger = this.#follower.onChange('userchain', check)
    return () => {
      endLocated()
      endLedger()
    }
  }

  #isConfirmed(member: Member): boolean {
    const store = this.#stores.find(member.account)
    if (store === undefined) return false
    const [, , key, peer] = store
    return equalBytes(key, member.storeKey) && toBase58(peer) === member.peerId
  }
}
