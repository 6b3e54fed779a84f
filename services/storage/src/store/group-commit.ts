/**
 * Feeds the writer's thread. Exactly one group is under way at a time; whatever is asked for meanwhile forms the next
 * one, so that a slow disk makes groups larger instead of making callers queue for one flush each.
 */
import { Worker } from 'node:worker_threads'
import { StorageError } from '../errors.ts'
import { decodeOutcome, encodeGroup } from './group-message.ts'
import type { Operation, Outcome } from './operations.ts'
import type { WriterData } from './writer.ts'

/** Most operations that wait; more are refused with `ERR_STORE_BUSY`. */
export const operationsWaitingMax = 8192
/** Most operations and payload bytes of one transaction. */
const groupOperationsMax = 1024
const groupBytesMax = 16 * 1024 * 1024

interface Waiting {
  operation: Operation
  resolve: (outcome: Outcome) => void
  reject: (error: Error) => void
}

/** The queue before the writer's thread. */
export class GroupCommit {
  readonly #worker: Worker
  /** Waiting operations, oldest first. */
  #queue: Waiting[] = []
  /** The group that the thread works on. */
  #group: Waiting[] = []
  #failed: Error | undefined
  #ready: PromiseWithResolvers<void> = Promise.withResolvers()
  #closed: PromiseWithResolvers<void> = Promise.withResolvers()
  #scheduled = false
  #groups = 0
  #closing = false
  readonly #onFatal: (error: Error) => void
  readonly #onBegin: () => void

  /**
   * @param on.fatal - called once if the thread dies: the node can no longer write and must be restarted.
   * @param on.begin - called before each group goes to the thread.
   */
  constructor(data: WriterData, on: { fatal: (error: Error) => void; begin: () => void }) {
    this.#onFatal = on.fatal
    this.#onBegin = on.begin
    this.#worker = new Worker(new URL('./writer.ts', import.meta.url), {
      workerData: data,
      // The thread keeps little: without a limit its young generation alone grows to 16 MiB and more.
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    })
    this.#worker.on('message', (message: number[] | string) => this.#onMessage(message))
    this.#worker.on('error', (error) => this.#fail(error instanceof Error ? error : new Error(String(error))))
    this.#worker.on('exit', () => {
      this.#fail(new StorageError('the store is closed', { code: 'ERR_STORE_FAILED' }))
      this.#closed.resolve()
    })
    this.#ready.promise.catch(() => {})
  }

  /** Resolves when the tables are open. */
  async ready(): Promise<void> {
    await this.#ready.promise
  }

  /**
   * Applies one operation durably.
   *
   * @throws {StorageError} `ERR_STORE_BUSY` if too many wait, `ERR_STORE_FAILED` if the transaction could not commit.
   */
  apply(operation: Operation): Promise<Outcome> {
    if (this.#failed) return Promise.reject(this.#failed)
    if (this.#queue.length >= operationsWaitingMax) {
      const detail = { code: 'ERR_STORE_BUSY', operationsMax: operationsWaitingMax } as const
      return Promise.reject(new StorageError('too many operations wait', detail))
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ operation, resolve, reject })
      this.#schedule()
    })
  }

  /** The thread gives back the memory that it does not need while it is idle. */
  giveBack(): void {
    if (!this.#failed && !this.#closing) this.#worker.postMessage('give-back')
  }

  /** True while the thread has nothing to do: then the tables stay as they are until the next group begins. */
  get isQuiet(): boolean {
    return this.#group.length === 0
  }

  /** Groups that were applied so far: while it stays the same, so do the tables. */
  get groups(): number {
    return this.#groups
  }

  /** Waits for what was asked for, then closes the tables. */
  async close(): Promise<void> {
    this.#closing = true
    while (this.#group.length + this.#queue.length > 0 && !this.#failed) {
      const last = this.#queue.at(-1) ?? this.#group.at(-1)
      if (last) await new Promise<void>((resolve) => this.#afterwards(last, resolve))
    }
    if (!this.#failed) this.#worker.postMessage('close')
    await this.#closed.promise
  }

  #afterwards(waiting: Waiting, done: () => void): void {
    const { resolve, reject } = waiting
    waiting.resolve = (outcome) => {
      resolve(outcome)
      done()
    }
    waiting.reject = (error) => {
      reject(error)
      done()
    }
  }

  #schedule(): void {
    if (this.#scheduled || this.#group.length > 0) return
    this.#scheduled = true
    // What arrives in the same turn of the event loop shares the first transaction too.
    setImmediate(() => {
      this.#scheduled = false
      this.#send()
    })
  }

  #send(): void {
    if (this.#group.length > 0 || this.#queue.length === 0 || this.#failed) return
    let count = 0
    let bytes = 0
    for (const { operation } of this.#queue) {
      const size = operation.kind === 'put' ? operation.bytes.length : 0
      if (count > 0 && (count >= groupOperationsMax || bytes + size > groupBytesMax)) break
      count++
      bytes += size
    }
    this.#group = this.#queue.splice(0, count)
    this.#onBegin()
    const { message, moved } = encodeGroup(this.#group.map(({ operation }) => operation))
    this.#worker.postMessage(message, moved)
  }

  #onMessage(message: number[] | string): void {
    if (message === 'closed') {
      // Its file is closed, which is all that is waited for: not every Node version tells of the thread's end.
      this.#fail(new StorageError('the store is closed', { code: 'ERR_STORE_FAILED' }))
      this.#closed.resolve()
      this.#worker.terminate().catch(() => {})
      return
    }
    if (message === 'ready') {
      this.#ready.resolve()
      return
    }
    const group = this.#group
    this.#group = []
    this.#groups++
    if (typeof message === 'string') {
      const error = new StorageError(
        'the transaction could not be committed',
        { code: 'ERR_STORE_FAILED' },
        { cause: message },
      )
      for (const waiting of group) waiting.reject(error)
    } else {
      for (const [index, waiting] of group.entries()) waiting.resolve(decodeOutcome(message[index] as number))
    }
    this.#schedule()
  }

  #fail(error: Error): void {
    if (this.#failed) return
    this.#failed = error
    this.#ready.reject(error)
    for (const waiting of [...this.#group, ...this.#queue]) waiting.reject(error)
    this.#group = []
    this.#queue = []
    if (!this.#closing) this.#onFatal(error)
  }
}
