/**
 * Threads that hash leaves and verify signatures for whoever replays a ledger: one for each core, fed in large pieces. What is urgent, or
 * soon done, goes before the rest: a block waits for no submission, and one transaction not for the thousands of somebody else.
 */
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { PreparationRequest, PreparationResult, PreparationWorkers } from '@healthblock/chain/preparation'
import { RuntimeError } from '../errors.ts'
import { endAnswer, endRequest } from './preparation-thread.ts'

interface Waiting {
  readonly resolve: (result: PreparationResult) => void
  readonly reject: (error: Error) => void
}

interface Task extends Waiting {
  readonly request: PreparationRequest
}

/** Tasks that a thread has at one time, unless its owner says otherwise. */
const tasksMaxDefault = 8
/** A request with so few signatures is soon done. */
const claimsFew = 16
/** Bytes of one claim. */
const claimSizeBytes = 96

interface Thread {
  readonly worker: Worker
  /** Tasks that it was given and has not answered, oldest first. */
  readonly waiting: Waiting[]
  /** Resolves when it has ended, or is about to. */
  readonly ended: Promise<void>
}

/** A pool of threads. Whoever makes one closes it. */
export class PreparationPool implements PreparationWorkers {
  readonly #threads: Thread[]
  /** What no thread has yet, in order. */
  readonly #urgent: Task[] = []
  readonly #others: Task[] = []
  #failed: RuntimeError | undefined

  readonly #tasksMax: number

  /**
   * @param threads - By default as many as the machine has cores.
   * @param tasksMax - Tasks that a thread has at one time: with more it waits less often for the next, with fewer what is urgent waits less.
   */
  constructor(threads = availableParallelism(), tasksMax = tasksMaxDefault) {
    this.#tasksMax = tasksMax
    this.#threads = Array.from({ length: threads }, () => {
      const worker = new Worker(new URL('./preparation-worker.ts', import.meta.url))
      const { promise: ended, resolve: end } = Promise.withResolvers<void>()
      const thread: Thread = { worker, waiting: [], ended }
      worker.on('message', (answer: PreparationResult | typeof endAnswer) => {
        if (answer === endAnswer) return end()
        thread.waiting.shift()?.resolve(answer)
        this.#feed()
      })
      worker.on('error', (error) => this.#fail(error))
      worker.on('exit', () => {
        end()
        this.#fail(undefined)
      })
      return thread
    })
  }

  /** @see {@link PreparationWorkers} */
  prepare(request: PreparationRequest): Promise<PreparationResult> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed)
    return new Promise((resolve, reject) => {
      const isUrgent = request.isUrgent === true || request.claims.length <= claimsFew * claimSizeBytes
      const queue = isUrgent ? this.#urgent : this.#others
      queue.push({ request, resolve, reject })
      this.#feed()
    })
  }

  #feed(): void {
    for (;;) {
      const [first] = this.#threads
      if (first === undefined) return
      let least = first
      for (const thread of this.#threads) if (thread.waiting.length < least.waiting.length) least = thread
      if (least.waiting.length >= this.#tasksMax) return
      const task = this.#urgent.shift() ?? this.#others.shift()
      if (task === undefined) return
      least.waiting.push(task)
      // Everything is copied: pieces this small cost more to hand over than to copy.
      least.worker.postMessage(task.request)
    }
  }

  /**
   * Ends the threads. What is under way is rejected. Each ends by itself once it has looked at what it was given: a thread that is terminated
   * while it loads its modules can take the whole process with it (V8: "Check failed: !is_null()", Node 26.10).
   */
  async close(): Promise<void> {
    this.#fail(undefined)
    for (const { worker } of this.#threads) worker.postMessage(endRequest)
    await Promise.all(this.#threads.map(({ ended }) => ended))
  }

  #fail(cause: unknown): void {
    const message = 'the threads that verify signatures have ended'
    this.#failed ??= new RuntimeError(message, { code: 'ERR_CLOSED', what: 'preparation pool' }, { cause })
    const open = [...this.#threads.flatMap(({ waiting }) => waiting.splice(0)), ...this.#urgent.splice(0)]
    for (const { reject } of [...open, ...this.#others.splice(0)]) reject(this.#failed)
  }
}
