/**
 * Who has brought a block. A request that breaks off gives up what it brought, but not what another request of the same
 * account has put meanwhile: a caller who was cut off tries again, often before the first attempt is noticed to have
 * ended. One that is still under way takes over what is known of the block, and decides when it ends itself. Only what
 * requests under way have brought is remembered, for as long as they are; a request that has ended whole holds for good.
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

/** What is remembered of an account's block. */
interface Held<R> {
  /** Requests under way that have brought it, the last one last. */
  bringers: readonly R[]
  /** True if it is not given up again. */
  isKept: boolean
  /** How many are putting it for good just now. */
  puts: number
}

/** The claims of a node's requests, by whatever object stands for a request. */
export class Claims<R extends object> {
  readonly #underWay = new Set<R>()
  readonly #held = new Map<string, Held<R>>()
  /** What is being given up just now. */
  readonly #leaving = new Map<string, Promise<void>>()

  /** A request begins that may give up what it brings. {@link end} must follow. */
  begin(request: R): void {
    this.#underWay.add(request)
  }

  /** It has ended, and has given up what it had to. */
  end(request: R): void {
    this.#underWay.delete(request)
    if (this.#underWay.size > 0) return
    for (const [key, { puts }] of this.#held) if (puts === 0) this.#held.delete(key)
  }

  /**
   * A request is about to put a block.
   *
   * @returns the one that may still give the block up, too, and had it last.
   */
  take(account: Uint8Array, digest: Uint8Array, request: R): R | undefined {
    const held = this.#hold(keyOf(account, digest))
    const others = this.#others(held, request)
    held.bringers = [...others, request]
    return held.isKept ? undefined : others.at(-1)
  }

  /**
   * A request gives a block up.
   *
   * @returns {@link kept} if somebody has put it for good; the request that is still under way and has brought it last, whose
   *   it is to decide then; undefined if nobody else has put it: then what the request said is to be taken back.
   */
  leave(account: Uint8Array, digest: Uint8Array, request: R): R | typeof kept | undefined {
    const key = keyOf(account, digest)
    const held = this.#held.get(key)
    if (held === undefined || !held.bringers.includes(request)) return kept
    held.bringers = this.#others(held, request)
    this.#forget(key, held)
    return held.isKept ? kept : held.bringers.at(-1)
  }

  #hold(key: string): Held<R> {
    const held = this.#held.get(key) ?? { bringers: [], isKept: false, puts: 0 }
    this.#held.set(key, held)
    return held
  }

  #others({ bringers }: Held<R>, request?: R): R[] {
    return bringers.filter((one) => one !== request && this.#underWay.has(one))
  }

  /** Who brings it from now on asks whether it is kept. */
  #forget(key: string, held: Held<R>): void {
    if (held.puts === 0 && this.#others(held).length === 0 && this.#held.get(key) === held) this.#held.delete(key)
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

  /** A request that is under way has put a block for good: of others that have brought it none gives it up. */
  keep(account: Uint8Array, digest: Uint8Array, request: R): void {
    const key = keyOf(account, digest)
    const held = this.#hold(key)
    held.isKept = true
    held.bringers = this.#others(held, request)
    this.#forget(key, held)
  }

  /**
   * Puts a block for good. It is remembered while it is being put, and after that only for as long as requests are under way that have
   * brought it: an upload may take hours, and others put millions of blocks meanwhile.
   */
  async keepWhile<T>(account: Uint8Array, digest: Uint8Array, put: () => Promise<T>): Promise<T> {
    if (this.#underWay.size === 0) return await put()
    const key = keyOf(account, digest)
    const held = this.#hold(key)
    held.isKept = true
    held.puts++
    try {
      return await put()
    } finally {
      held.puts--
      this.#forget(key, held)
    }
  }

  /** How many blocks are remembered. */
  get size(): number {
    return this.#held.size
  }
}
