/**
 * Reads every block here and checks it against its address. What does not match is set aside, reported and healed, as
 * when a reader meets it. It runs each week within a bandwidth budget, and when it is asked for.
 */
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import type { BlockBackend } from '../backend.ts'
import { StorageError } from '../errors.ts'
import { codecRaw, encodeBlockId } from '../store/block-id.ts'
import type { BlockStore } from '../store/block-store.ts'

const pageSize = 256

/** One block's answer. */
export interface ScrubStep {
  readonly cid: string
  /** Blocks so far, this one included. */
  readonly checked: number
  readonly isGood: boolean
}

/** How far a run is, or how the last one ended. */
export interface ScrubState {
  readonly startedAt: number
  readonly endedAt: number | undefined
  readonly checked: number
  readonly damaged: number
  /** Blocks that there were when it began. */
  readonly total: number
}

/** Checks the store; one run at a time. */
export class Scrubber {
  readonly #options: { backend: BlockBackend; store: BlockStore; now: () => number }
  #state: ScrubState | undefined
  #stopped = false
  #running: Promise<void> = Promise.resolve()

  constructor(options: { backend: BlockBackend; store: BlockStore; now: () => number }) {
    this.#options = options
  }

  /** The run that is under way, or the last one. */
  get state(): ScrubState | undefined {
    return this.#state
  }

  /** Ends after the block that is under way. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  /**
   * Checks every block, in the order of digests.
   *
   * @param bytesPerSecond - budget; none without.
   * @throws {StorageError} `ERR_STORE_BUSY` while another run is under way.
   */
  async *run(bytesPerSecond = Number.POSITIVE_INFINITY): AsyncGenerator<ScrubStep> {
    if (this.#state !== undefined && this.#state.endedAt === undefined) {
      throw new StorageError('a scrub is under way', { code: 'ERR_STORE_BUSY', operationsMax: 1 })
    }
    const done = Promise.withResolvers<void>()
    this.#running = done.promise
    try {
      yield* this.#run(bytesPerSecond)
    } finally {
      this.#state = { ...(this.#state as ScrubState), endedAt: this.#options.now() }
      done.resolve()
    }
  }

  async *#run(bytesPerSecond: number): AsyncGenerator<ScrubStep> {
    const { backend, store, now } = this.#options
    const state = { startedAt: now(), endedAt: undefined, checked: 0, damaged: 0, total: store.totals().blocks }
    this.#state = state
    let after: Uint8Array = new Uint8Array(0)
    for (;;) {
      const digests = store.digests(after, pageSize)
      for (const digest of digests) {
        if (this.#stopped) return
        const size = backend.stat(digest)?.size ?? 0
        const isGood = size === 0 && !backend.has(digest) ? true : await backend.verify(digest)
        state.checked++
        if (!isGood) state.damaged++
        yield { cid: encodeBlockId({ digest, codec: codecRaw }), checked: state.checked, isGood }
        // Readers and writers come between any two blocks.
        if (bytesPerSecond === Number.POSITIVE_INFINITY) await nextTurn()
        else await delay((size / bytesPerSecond) * 1000)
      }
      const last = digests.at(-1)
      if (!last || digests.length < pageSize) return
      after = last
    }
  }
}
