/** Threads that hash leaves and verify signatures for whoever replays a ledger: one for each core, fed in large pieces. */
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { PreparationRequest, PreparationResult, PreparationWorkers } from '@healthblock/chain/preparation'
import { RuntimeError } from './errors.ts'

interface Waiting {
  readonly resolve: (result: PreparationResult) => void
  readonly reject: (error: Error) => void
}

interface Thread {
  readonly worker: Worker
  /** Tasks that it was given and has not answered, oldest first. */
  readonly waiting: Waiting[]
}

/** A pool of threads. Whoever makes one closes it. */
export class PreparationPool implements PreparationWorkers {
  readonly #threads: Thread[]
  #failed: RuntimeError | undefined

  /** @param threads - By default as many as the machine has cores. */
  constructor(threads = availableParallelism()) {
    this.#threads = Array.from({ length: threads }, () => {
      const worker = new Worker(new URL('./preparation-worker.ts', import.meta.url))
      const thread: Thread = { worker, waiting: [] }
      worker.on('message', (result: PreparationResult) => thread.waiting.shift()?.resolve(result))
      worker.on('error', (error) => this.#fail(error))
      worker.on('exit', () => this.#fail(undefined))
      return thread
    })
  }

  /** @see {@link PreparationWorkers} */
  prepare(request: PreparationRequest): Promise<PreparationResult> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed)
    // Everything is copied: pieces this small cost more to hand over than to copy.
    return new Promise((resolve, reject) => {
      let least = this.#threads[0] as Thread
      for (const thread of this.#threads) if (thread.waiting.length < least.waiting.length) least = thread
      least.waiting.push({ resolve, reject })
      least.worker.postMessage(request)
    })
  }

  /** Ends the threads. What is under way is rejected. */
  async close(): Promise<void> {
    this.#fail(undefined)
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()))
  }

  #fail(cause: unknown): void {
    const message = 'the threads that verify signatures have ended'
    this.#failed ??= new RuntimeError(message, { code: 'ERR_CLOSED', what: 'preparation pool' }, { cause })
    for (const { waiting } of this.#threads) for (const { reject } of waiting.splice(0)) reject(this.#failed)
  }
}
