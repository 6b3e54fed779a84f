/** Blocks that one request brings and that belong together: they are kept when all of it is through, or given up again. */
import { toHex } from '@healthblock/encoding/bytes'
import type { FastifyRequest } from 'fastify'
import { type Caller, callerOf } from '../access/bearer.ts'
import type { Made } from '../replication/pins.ts'
import type { BlockId } from '../store/block-id.ts'
import type { Retraction } from '../store/operations.ts'
import { msAfter } from '../store/pin-stamps.ts'
import type { KuboRouteParts } from './parts.ts'

/** A block that a request brought, with the times at which it said so, Unix ms. */
interface Brought extends Omit<Retraction, 'account'> {
  readonly id: BlockId
  readonly since: number
}

/** One request's blocks for one account. */
export class Upload {
  readonly #parts: KuboRouteParts
  readonly #account: Uint8Array
  readonly #caller: Caller
  /** What the account did not keep before, as far as this store knew, by the digests in hex; and whatever it put. */
  readonly #brought = new Map<string, Brought>()
  readonly #put: BlockId[] = []
  /** References to what lies below roots that were pinned. */
  readonly #made: Made[] = []
  readonly #underWay = new Set<Promise<void>>()

  constructor(parts: KuboRouteParts, request: Pick<FastifyRequest, 'headers' | 'principal'>) {
    this.#parts = parts
    this.#account = request.principal.account
    this.#caller = callerOf(request)
  }

  /** Stores a block, as one of {@link whole}. Throws as {@link Files.putBlock}. */
  async put(id: BlockId, bytes: Uint8Array): Promise<void> {
    const stored = this.#store(id, bytes)
    this.#underWay.add(stored)
    try {
      await stored
    } finally {
      this.#underWay.delete(stored)
    }
  }

  async #store(id: BlockId, bytes: Uint8Array): Promise<void> {
    const { store, files, now } = this.#parts
    const account = this.#account
    const name = toHex(id.digest)
    const holder = files.claims.take(account, id.digest, this)
    const had = store.keptSince(id.digest, account) !== undefined
    // What was put before and may go, by this request or by one that leaves it to this one: the next word is later.
    const before = this.#brought.get(name) ?? (holder instanceof Upload ? holder.#brought.get(name) : undefined)
    const at = Math.max(now(), msAfter(store.releasedAt(id.digest, account) ?? 0), msAfter(before?.at ?? 0))
    if (before !== undefined || !had) this.#brought.set(name, { id, since: before?.since ?? at, at })
    await files.putClaimed(id, bytes, { reference: { account, at, pin: 0 }, tokenOf: () => this.#caller.token })
    this.#put.push(id)
  }

  /** Pins a root with all below it, as one of {@link whole}. Throws as {@link Files.pinTree}. */
  async pin(root: BlockId, signal: AbortSignal): Promise<void> {
    const broughtAt = (id: BlockId): number | undefined => this.#broughtAt(id)
    const { made, at } = await this.#parts.files.pinTree(root, this.#caller, signal, broughtAt)
    for (const one of made) this.#made.push(one)
    this.#pinned(root, at)
  }

  /** Pins a block that was put, as one of {@link whole}. Throws as {@link Pins.add}. */
  async pinAlone(id: BlockId, mode: number): Promise<void> {
    this.#pinned(id, await this.#parts.replicator.pins.add(id, this.#caller, mode, this.#broughtAt(id)))
  }

  #broughtAt({ digest }: BlockId): number | undefined {
    return this.#brought.get(toHex(digest))?.at
  }

  #pinned({ digest }: BlockId, pinnedAt: number): void {
    const brought = this.#brought.get(toHex(digest))
    if (brought) brought.pinnedAt = pinnedAt
  }

  /**
   * The lines of a request that may break off anywhere, also because nobody reads them any more: unless they come to
   * their end, what was brought is nobody's, and does not count on a quota.
   */
  async *whole<T>(lines: AsyncIterable<T>): AsyncGenerator<T> {
    const { claims } = this.#parts.files
    let isWhole = false
    claims.begin(this)
    try {
      yield* lines
      for (const { digest } of this.#put) claims.keep(this.#account, digest)
      isWhole = true
    } finally {
      if (!isWhole) await this.#giveUp()
      claims.end(this)
    }
  }

  async #giveUp(): Promise<void> {
    // Whoever puts several at once does not wait for the others when one fails, or when the body breaks off.
    await Promise.allSettled(this.#underWay)
    const { files, replicator } = this.#parts
    await replicator.pins.takeBack(this.#made, this.#caller)
    for (const { id, ...made } of this.#brought.values()) {
      // Another request of the account has put it here since: that one decides.
      if (!files.claims.isHeld(this.#account, id.digest, this)) continue
      await replicator.retract(id, { ...this.#caller, ...made }).catch(() => {})
    }
  }
}
