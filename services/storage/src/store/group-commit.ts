/**
 * Feeds the writer's thread. Two groups are under way at a time, one that the disk is busy with and one that the thread applies
 * meanwhile; whatever is asked for then forms the next one, so that a slow disk makes groups larger instead of making
 * callers queue for one flush each. Only puts of large blocks do not wait for the answers about other puts: the thread
 * writes their bytes down while the disk is busy with the others (src/store/group-line.ts).
 */
import { Worker } from 'node:worker_threads'
import { StorageError } from '../errors.ts'
import { decodeOutcome, encodeGroup } from './group-message.ts'
import { type Operation, type Outcome, removesNothing } from './operations.ts'
import { packedBytesMin } from './pack-place.ts'
import type { WriterAnswer, WriterData } from './writer.ts'

/** Most operations that wait; more are refused with `ERR_STORE_BUSY`. */
export const operationsWaitingMax = 8192
/** Most operations and payload bytes of one group; no other follows one that has so many unless it is answered. */
const groupOperationsMax = 1024
const groupBytesMax = 16 * 1024 * 1024
/** Groups under way, if the thread is done with the first of them but for its sync. */
const groupsAtOnce = 2
/** The second has at least this part of what the first has: each costs a transaction, a sync and two messages. */
const besidePart = 0.5
/**
 * So many large blocks go ahead of the rest of their group: the thread writes them down while the others are still read. Larger
 * ones than these are read in many turns, and few are whole in one.
 */
const aheadCount = 4
const aheadBlockBytesMax = 256 * 1024

interface Waiting {
  operation: Operation
  resolve: (outcome: Outcome) => void
  reject: (error: Error) => void
}

function bytesOf({ operation }: Waiting): number {
  return operation.kind === 'put' ? operation.bytes.length : 0
}

function isLarge(waiting: Waiting): boolean {
  return bytesOf(waiting) >= packedBytesMin
}

function mayGoAhead(waiting: Waiting): boolean {
  return isLarge(waiting) && bytesOf(waiting) <= aheadBlockBytesMax
}

/** Applied as soon as it is with the thread; one that follows finds it in the tables. */
function isAppliedAtOnce(waiting: Waiting): boolean {
  return !isLarge(waiting) && removesNothing(waiting.operation)
}

function isPut({ operation }: Waiting): boolean {
  return operation.kind === 'put'
}

/** The queue before the writer's thread. */
export class GroupCommit {
  readonly #worker: Worker
  /** Waiting operations, oldest first. */
  #queue: Waiting[] = []
  /** What the thread works on, oldest first. */
  #underWay: Waiting[] = []
  #bytesUnderWay = 0
  /** How many of those each group has that is not answered as a whole, oldest first. */
  #groupsUnderWay: number[] = []
  /** Blocks that may go ahead. */
  #aheadWaiting = 0
  /** True while the thread has puts whose group is not complete. */
  #isAhead = false
  #failed: Error | undefined
  #ready: PromiseWithResolvers<void> = Promise.withResolvers()
  #closed: PromiseWithResolvers<void> = Promise.withResolvers()
  #scheduled = false
  #groups = 0
  #isOpen = false
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
    this.#worker.on('message', (message: WriterAnswer | string) => this.#onMessage(message))
    this.#worker.on('error', (error) => this.#fail(this.#endedBy(error)))
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
   * @throws {StorageError} `ERR_STORE_BUSY` if too many wait, `ERR_STORE_FULL` if the disk is full, `ERR_STORE_FAILED` if the transaction could not commit else.
   */
  apply(operation: Operation): Promise<Outcome> {
    if (this.#failed) return Promise.reject(this.#failed)
    if (this.#queue.length >= operationsWaitingMax) {
      const detail = { code: 'ERR_STORE_BUSY', operationsMax: operationsWaitingMax } as const
      return Promise.reject(new StorageError('too many operations wait', detail))
    }
    return new Promise((resolve, reject) => {
      const waiting = { operation, resolve, reject }
      this.#queue.push(waiting)
      if (this.#isWorthGroup() || isLarge(waiting)) this.#schedule()
      if (!mayGoAhead(waiting)) return
      this.#aheadWaiting++
      if (this.#aheadWaiting >= aheadCount) this.#send(true)
    })
  }

  /** The thread looks for garbage once. */
  collect(): void {
    if (!this.#failed && !this.#closing) this.#worker.postMessage('collect')
  }

  /** The thread gives back the memory that it does not need while it is idle. */
  giveBack(): void {
    if (!this.#failed && !this.#closing) this.#worker.postMessage('give-back')
  }

  /** Resolves when all that is under way now is durable: it may be seen in the tables before. Throws as {@link apply}. */
  async settled(): Promise<void> {
    if (this.#failed) throw this.#failed
    const last = this.#underWay.at(-1)
    if (last) await new Promise<void>((resolve, reject) => this.#afterwards(last, resolve, reject))
  }

  /** True while the thread has nothing to do: then the tables stay as they are until the next group begins. */
  get isQuiet(): boolean {
    return this.#underWay.length === 0
  }

  /** Groups that were applied so far: while it stays the same, so do the tables. */
  get groups(): number {
    return this.#groups
  }

  /** Waits for what was asked for, then closes the tables. */
  async close(): Promise<void> {
    this.#closing = true
    while (this.#underWay.length + this.#queue.length > 0 && !this.#failed) {
      const last = this.#queue.at(-1) ?? this.#underWay.at(-1)
      if (last) await new Promise<void>((resolve) => this.#afterwards(last, resolve))
    }
    if (!this.#failed) this.#worker.postMessage('close')
    await this.#closed.promise
  }

  #afterwards(waiting: Waiting, done: () => void, failed: (error: Error) => void = done): void {
    const { resolve, reject } = waiting
    waiting.resolve = (outcome) => {
      resolve(outcome)
      done()
    }
    waiting.reject = (error) => {
      reject(error)
      failed(error)
    }
  }

  /** True if those that wait may go beside what is under way, where nothing else is against it. */
  #isWorthGroup(): boolean {
    if (this.#groupsUnderWay.length >= groupsAtOnce) return false
    return this.#queue.length >= besidePart * this.#underWay.length
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    // What arrives in the same turn of the event loop shares the first transaction too.
    setImmediate(() => {
      this.#scheduled = false
      this.#send()
    })
  }

  /** @param isAhead - more of the group may follow, at the end of this turn at the latest. */
  #send(isAhead = false): void {
    const count = this.#failed ? 0 : this.#next()
    const isHanded = count > 0 && this.#hand(this.#queue.splice(0, count), isAhead)
    if (this.#isAhead && !isAhead && !isHanded) this.#worker.postMessage('complete')
    this.#isAhead = isAhead && (this.#isAhead || isHanded)
  }

  /** False of a group that cannot go to the thread: it is refused, since no answer would come. */
  #hand(group: readonly Waiting[], isAhead: boolean): boolean {
    for (const waiting of group) if (mayGoAhead(waiting)) this.#aheadWaiting--
    try {
      this.#onBegin()
      const { message, moved } = encodeGroup(group.map(({ operation }) => operation))
      this.#worker.postMessage(isAhead ? { ...message, isAhead } : message, moved)
    } catch (cause) {
      const error = new StorageError('the group could not be handed over', { code: 'ERR_STORE_FAILED' }, { cause })
      for (const waiting of group) waiting.reject(error)
      if (this.#queue.length > 0) this.#schedule()
      return false
    }
    this.#underWay.push(...group)
    this.#groupsUnderWay.push(group.length)
    for (const waiting of group) this.#bytesUnderWay += bytesOf(waiting)
    return true
  }

  /** How many of those that wait go to the thread now. */
  #next(): number {
    let count = 0
    let bytes = 0
    for (const waiting of this.#queue) {
      const size = bytesOf(waiting)
      if (count > 0 && (count >= groupOperationsMax || bytes + size > groupBytesMax)) break
      count++
      bytes += size
    }
    if (this.#underWay.length === 0) return count
    if (this.#bytesUnderWay >= groupBytesMax || this.#underWay.length >= groupOperationsMax) return 0
    if (this.#isWorthGroup() && this.#underWay.every(isAppliedAtOnce)) return count
    const group = this.#queue.slice(0, count)
    return group.some(isLarge) && group.every(isPut) && this.#underWay.every(isPut) ? count : 0
  }

  #onMessage(message: WriterAnswer | string): void {
    if (message === 'closed') {
      // Its file is closed, which is all that is waited for: not every Node version tells of the thread's end.
      this.#fail(new StorageError('the store is closed', { code: 'ERR_STORE_FAILED' }))
      this.#closed.resolve()
      this.#worker.terminate().catch(() => {})
      return
    }
    if (typeof message === 'string') {
      this.#isOpen = true
      this.#ready.resolve()
      return
    }
    this.#groups++
    if (Array.isArray(message)) {
      const answered = this.#answered(message.length)
      for (const [index, waiting] of answered.entries()) waiting.resolve(decodeOutcome(message[index] as number))
    } else {
      const cause = { cause: message.reason }
      const error = message.isDiskFull
        ? new StorageError('the disk is full', { code: 'ERR_STORE_FULL', bytesMax: 0 }, cause)
        : new StorageError('the transaction could not be committed', { code: 'ERR_STORE_FAILED' }, cause)
      // What can be seen by now may never become durable: nobody is to rely on it while the thread ends.
      if (message.isLast) this.#fail(error)
      for (const waiting of this.#answered(message.count)) waiting.reject(error)
    }
    this.#schedule()
  }

  #answered(count: number): Waiting[] {
    const answered = this.#underWay.splice(0, count)
    for (const waiting of answered) this.#bytesUnderWay -= bytesOf(waiting)
    for (let left = count; left > 0; ) {
      const [first = left] = this.#groupsUnderWay
      if (first <= left) this.#groupsUnderWay.shift()
      else this.#groupsUnderWay[0] = first - left
      left -= first
    }
    return answered
  }

  /** Why the thread has ended: if the tables were never open, as it said itself. */
  #endedBy(cause: unknown): Error {
    if (this.#isOpen) return new StorageError('the writer has ended', { code: 'ERR_STORE_FAILED' }, { cause })
    return cause instanceof Error ? cause : new Error(String(cause))
  }

  #fail(error: Error): void {
    if (this.#failed) return
    this.#failed = error
    this.#ready.reject(error)
    for (const waiting of [...this.#underWay, ...this.#queue]) waiting.reject(error)
    this.#underWay = []
    this.#queue = []
    if (!this.#closing) this.#onFatal(error)
  }
}
