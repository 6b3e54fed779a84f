/**
 * Reads every block here and checks it against its address. What does not match is set aside, reported and healed, as
 * when a reader meets it. It runs each week within a bandwidth budget, and when it is asked for.
 */
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import { encodeUtf8, fromHex, toHex } from '@healthblock/encoding/bytes'
import type { BlockBackend } from '../backend.ts'
import { StorageError } from '../errors.ts'
import { codecRaw, encodeBlockId } from '../store/block-id.ts'
import type { BlockStore } from '../store/block-store.ts'

const pageSize = 256
/** Where it is kept how far the last run came. */
const scrubCursor = 'scrub'

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

/** What a node that is started again goes on with. */
interface Kept extends ScrubState {
  /** Digest of the last block that was checked, in hex. */
  readonly after: string
}

/** Checks the store; one run at a time. How far it is outlives the process: a node that is restarted often checks everything, too. */
export class Scrubber {
  readonly #options: { backend: BlockBackend; store: BlockStore; now: () => number }
  #state: ScrubState | undefined
  #isRunning = false
  /** True while the run that is under way has a budget, and whether another one waits for its end. */
  #isBudgeted = false
  #isAsked = false
  #stopped = false
  #running: Promise<void> = Promise.resolve()

  constructor(options: { backend: BlockBackend; store: BlockStore; now: () => number }) {
    this.#options = options
  }

  /** The run that is under way, or the last one, which may have been broken off. */
  get state(): ScrubState | undefined {
    if (this.#state === undefined) {
      const { after: _, ...kept } = this.#kept() ?? { after: '' }
      if ('checked' in kept) this.#state = kept
    }
    return this.#state
  }

  /** True if no run is under way and the last one that came to its end did so longer ago than this. */
  isDue(intervalMs: number): boolean {
    const { startedAt, endedAt } = this.state ?? { startedAt: 0, endedAt: undefined }
    const passedMs = this.#options.now() - (endedAt ?? startedAt)
    return !this.#isRunning && (endedAt === undefined || passedMs >= intervalMs || passedMs < 0)
  }

  /** Ends after the block that is under way. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  /**
   * Checks every block, in the order of digests.
   *
   * @param bytesPerSecond - budget, with which it goes on where the last run was broken off; without one it begins anew, and a
   *   run that has a budget makes way for it: that may take hours.
   * @throws {StorageError} `ERR_STORE_BUSY` while another run is under way.
   */
  async *run(bytesPerSecond = Number.POSITIVE_INFINITY): AsyncGenerator<ScrubStep> {
    const isBudgeted = bytesPerSecond !== Number.POSITIVE_INFINITY
    if (this.#isAsked || (this.#isRunning && (isBudgeted || !this.#isBudgeted))) {
      throw new StorageError('a scrub is under way', { code: 'ERR_STORE_BUSY', operationsMax: 1 })
    }
    this.#isAsked = this.#isRunning
    await this.#running
    this.#isAsked = false
    const done = Promise.withResolvers<void>()
    this.#running = done.promise
    this.#isRunning = true
    this.#isBudgeted = isBudgeted
    try {
      yield* this.#run(bytesPerSecond)
    } finally {
      this.#isRunning = false
      done.resolve()
    }
  }

  #kept(): Kept | undefined {
    const text = Buffer.from(this.#options.store.cursor(scrubCursor) ?? []).toString()
    return text === '' ? undefined : (JSON.parse(text) as Kept)
  }

  async #keep(state: ScrubState, after: Uint8Array): Promise<void> {
    const kept = { ...state, after: toHex(after) } satisfies Kept
    try {
      await this.#options.store.setCursor(scrubCursor, encodeUtf8(JSON.stringify(kept)))
    } catch (error) {
      // On a disk without room it goes on all the same, and would begin earlier after a restart.
      if (!(error instanceof StorageError)) throw error
    }
  }

  async *#run(bytesPerSecond: number): AsyncGenerator<ScrubStep> {
    const { backend, store, now } = this.#options
    const before = bytesPerSecond === Number.POSITIVE_INFINITY ? undefined : this.#kept()
    const goesOn = before !== undefined && before.endedAt === undefined
    const { startedAt, checked, damaged } = goesOn ? before : { startedAt: now(), checked: 0, damaged: 0 }
    const state = { startedAt, endedAt: undefined, checked, damaged, total: store.totals().blocks }
    this.#state = state
    let after = goesOn ? fromHex(before.after) : new Uint8Array(0)
    for (;;) {
      const digests = store.digests(after, pageSize)
      for (const digest of digests) {
        if (this.#stopped || this.#isAsked) return
        const size = backend.stat(digest)?.size ?? 0
        const isGood = size === 0 && !backend.has(digest) ? true : await backend.verify(digest)
        state.checked++
        if (!isGood) state.damaged++
        yield { cid: encodeBlockId({ digest, codec: codecRaw }), checked: state.checked, isGood }
        // Readers and writers come between any two blocks.
        if (bytesPerSecond === Number.POSITIVE_INFINITY) await nextTurn()
        else await delay((size / bytesPerSecond) * 1000)
      }
      after = new Uint8Array(digests.at(-1) ?? after)
      const isWhole = digests.length < pageSize
      if (isWhole) this.#state = { ...state, endedAt: now() }
      await this.#keep(this.#state, after)
      if (isWhole) return
    }
  }
}
