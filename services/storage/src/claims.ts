/**
 * Who has brought a block. A request that breaks off gives up what it brought, but not what another request of the same
 * account has put meanwhile: a caller who was cut off tries again, often before the first attempt is noticed to have
 * ended. One that is still under way takes over what is known of the block, and decides when it ends itself. Only what
 * requests under way have touched is remembered; a request that has ended whole holds for good.
 */

import type { BlockId } from './store/block-id.ts'
import type { Retraction } from './store/operations.ts'

/** A block that a request said its account keeps, with the times at which it did, Unix ms. */
export interface Said extends Omit<Retraction, 'account'> {
  readonly id: BlockId
  since: number
  at: number
  /** True of what the account did not keep before, as far as this store knew: that is given up again. */
  isNew: boolean
  isStored: boolean
}

/** A request that brings blocks, and may give them up. */
export interface Bringer {
  newOf(name: string): Said | undefined
  /** Another request has brought a block, too, and has ended: what it said of it goes with what this one did. */
  inherit(theirs: Said): void
}

/** Stands for whatever is not given up again. */
export const kept: unique symbol = Symbol('kept')

/** One account's block, as a key. */
function keyOf(account: Uint8Array, digest: Uint8Array): string {
  return Buffer.concat([account, digest]).toString('latin1')
}

/** The claims of a node's requests, by whatever object stands for a request. */
export class Claims<R extends object> {
  readonly #underWay = new Set<R>()
  /** Who has brought a block and may give it up, the last one last. */
  readonly #holders = new Map<string, readonly R[] | typeof kept>()
  /** What is being given up just now. */
  readonly #leaving = new Map<string, Promise<void>>()

  /** A request begins that may give up what it brings. {@link end} must follow. */
  begin(request: R): void {
    this.#underWay.add(request)
  }

  /** It has ended, and has given up what it had to. */
  end(request: R): void {
    this.#underWay.delete(request)
    if (this.#underWay.size === 0) this.#holders.clear()
  }

  /**
   * A request is about to put a block.
   *
   * @returns the one that may still give the block up, too, and had it last.
   */
  take(account: Uint8Array, digest: Uint8Array, request: R): R | undefined {
    const key = keyOf(account, digest)
    const holders = this.#holders.get(key)
    if (holders === kept) return undefined
    const others = this.#others(holders, request)
    this.#holders.set(key, [...others, request])
    return others.at(-1)
  }

  /**
   * A request gives a block up.
   *
   * @returns {@link kept} if somebody has put it for good; the request that is still under way and has brought it last, whose
   *   it is to decide then; undefined if nobody else has put it: then what the request said is to be taken back.
   */
  leave(account: Uint8Array, digest: Uint8Array, request: R): R | typeof kept | undefined {
    const key = keyOf(account, digest)
    const holders = this.#holders.get(key)
    if (holders === undefined || holders === kept || !holders.includes(request)) return kept
    const others = this.#others(holders, request)
    if (others.length > 0) this.#holders.set(key, others)
    else this.#holders.delete(key)
    return others.at(-1)
  }

  #others(holders: readonly R[] = [], request: R): R[] {
    return holders.filter((one) => one !== request && this.#underWay.has(one))
  }

  /** Takes back what a request said that has left a block. Who brings it meanwhile waits ({@link left}). */
  async takeBack(account: Uint8Array, digest: Uint8Array, act: () => Promise<void>): Promise<void> {
    const key = keyOf(account, digest)
    const leaving = act().finally(() => this.#leaving.delete(key))
    this.#leaving.set(key, leaving)
    await leaving
  }

  /** Waits until what was said of a block is taken back, if it is just now: what is said next is not known by it. */
  async left(account: Uint8Array, digest: Uint8Array): Promise<void> {
    if (this.#leaving.size > 0) await this.#leaving.get(keyOf(account, digest))
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
}
