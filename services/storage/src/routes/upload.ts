/** Blocks that one request brings and that belong together: they are kept when all of it is through, or given up again. */
import type { BlockId } from '../store/block-id.ts'
import type { KuboRouteParts } from './parts.ts'

/** One request's blocks for one account. */
export class Upload {
  readonly #parts: KuboRouteParts
  readonly #account: Uint8Array
  /** What the account did not keep before. */
  readonly #brought: BlockId[] = []
  readonly #underWay = new Set<Promise<void>>()

  constructor(parts: KuboRouteParts, account: Uint8Array) {
    this.#parts = parts
    this.#account = account
  }

  /** Stores a block. Throws as {@link Files.putBlock}. */
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
    const had = backend.references(id.digest).some((one) => Buffer.compare(one.account, account) === 0)
    await files.putBlock(id, bytes, { account, at: now(), pin: 0 })
    if (!had) this.#brought.push(id)
  }

  /**
   * The lines of a request that may break off anywhere, also because nobody reads them any more: unless they come to
   * their end, what was brought is nobody's, and does not count on a quota.
   */
  async *whole<T>(lines: AsyncIterable<T>): AsyncGenerator<T> {
    let isWhole = false
    try {
      yield* lines
      isWhole = true
    } finally {
      if (!isWhole) await this.#giveUp()
    }
  }

  async #giveUp(): Promise<void> {
    // Whoever puts several at once does not wait for the others when one fails, or when the body breaks off.
    await Promise.allSettled(this.#underWay)
    for (const id of this.#brought) await this.#parts.replicator.release(id, this.#account, true).catch(() => {})
  }
}
