/**
 * Who has brought a block last. A request that breaks off gives up what it brought, but not what another request of the
 * same account has put meanwhile: a caller who was cut off tries again, often before the first attempt is noticed to
 * have ended. Only what requests under way have touched is remembered; a request that has ended whole holds for good.
 */

/** Holds for whatever is not given up again. */
const kept = {}

/** One account's block, as a key. */
function keyOf(account: Uint8Array, digest: Uint8Array): string {
  return Buffer.concat([account, digest]).toString('latin1')
}

/** The claims of a node's requests, by whatever object stands for a request. */
export class Claims {
  readonly #underWay = new Set<object>()
  readonly #holders = new Map<string, object>()

  /** A request begins that may give up what it brings. {@link end} must follow. */
  begin(request: object): void {
    this.#underWay.add(request)
  }

  /** It has ended, and has given up what it had to. */
  end(request: object): void {
    this.#underWay.delete(request)
    if (this.#underWay.size === 0) this.#holders.clear()
  }

  /**
   * A request is about to put a block.
   *
   * @returns true if another one that may still give the block up had it: then it is this one's to give up.
   */
  take(account: Uint8Array, digest: Uint8Array, request: object): boolean {
    const key = keyOf(account, digest)
    const holder = this.#holders.get(key)
    if (holder === kept) return false
    this.#holders.set(key, request)
    return holder !== undefined && holder !== request
  }

  /** A block is put for good. */
  keep(account: Uint8Array, digest: Uint8Array): void {
    if (this.#underWay.size > 0) this.#holders.set(keyOf(account, digest), kept)
  }

  /** True if nobody else has put the block since the request did. */
  isHeld(account: Uint8Array, digest: Uint8Array, request: object): boolean {
    return this.#holders.get(keyOf(account, digest)) === request
  }
}
