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
   * @returns another one that may still give the block up and had it: then it is this one's to give up.
   */
  take(account: Uint8Array, digest: Uint8Array, request: object): object | undefined {
    const key = keyOf(account, digest)
    const holder = this.#holders.get(key)
    if (holder === kept) return undefined
    this.#holders.set(key, request)
    return holder === request ? undefined : holder
  }

  /** A block is put for good by a request that is under way. */
  keep(account: Uint8Array, digest: Uint8Array): void {
    if (this.#underWay.size > 0) this.#holders.set(keyOf(account, digest), kept)
  }

  /**
   * Puts a block for good. It is remembered while it is being put, and after that only if a request under way has touched
   * it: an upload may take hours, and others put millions of blocks meanwhile.
   */
  async keepWhile<T>(account: Uint8Array, digest: Uint8Array, put: () => Promise<T>): Promise<T> {
    if (this.#underWay.size === 0) return await put()
    const key = keyOf(account, digest)
    const isTouched = this.#holders.has(key)
    this.#holders.set(key, kept)
    try {
      return await put()
    } finally {
      if (isTouched || this.#holders.get(key) !== kept) this.keep(account, digest)
      else this.#holders.delete(key)
    }
  }

  /** How many blocks are remembered. */
  get size(): number {
    return this.#holders.size
  }

  /** True if nobody else has put the block since the request did. */
  isHeld(account: Uint8Array, digest: Uint8Array, request: object): boolean {
    return this.#holders.get(keyOf(account, digest)) === request
  }
}
