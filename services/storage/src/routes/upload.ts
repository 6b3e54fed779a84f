/** Blocks that one request brings and that belong together: they are kept when all of it is through, or given up again. */
import type { FastifyRequest } from 'fastify'
import { type Caller, callerOf } from '../access/bearer.ts'
import type { Made } from '../replication/pins.ts'
import type { BlockId } from '../store/block-id.ts'
import type { KuboRouteParts } from './parts.ts'

/** One request's blocks for one account. */
export class Upload {
  readonly #parts: KuboRouteParts
  readonly #account: Uint8Array
  readonly #caller: Caller
  /** What the account did not keep before, and whatever it put. */
  readonly #brought: BlockId[] = []
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
    const { backend, files, now } = this.#parts
    const account = this.#account
    const isTaken = files.claims.take(account, id.digest, this)
    const had = backend.references(id.digest).some((one) => Buffer.compare(one.account, account) === 0)
    const reference = { account, at: now(), pin: 0 }
    await files.putClaimed(id, bytes, { reference, tokenOf: () => this.#caller.token })
    this.#put.push(id)
    if (!had || isTaken) this.#brought.push(id)
  }

  /** Pins a root with all below it, as one of {@link whole}. Throws as {@link Files.pinTree}. */
  async pin(root: BlockId, signal: AbortSignal): Promise<void> {
    for (const made of await this.#parts.files.pinTree(root, this.#caller, signal)) this.#made.push(made)
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
    for (const id of this.#brought) {
      // Another request of the account has put it since: that one decides.
      if (!files.claims.isHeld(this.#account, id.digest, this)) continue
      await replicator.takeBack(id, this.#caller).catch(() => {})
    }
  }
}
