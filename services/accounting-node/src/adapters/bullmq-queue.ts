/**
 * The intake queue of one chain as a BullMQ queue. One job is one micro-batch, as base64 text. Jobs have one attempt, no delay
 * and no priority, and are completed as soon as they are read: Redis gives an order, and nothing is lost with it that a
 * gateway's outbox does not bring back.
 */
import { once } from 'node:events'
import type { ChainName } from '@healthblock/chain/chains'
import { messageOf } from '@healthblock/runtime/errors'
import { type Job, Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import type { IntakeQueue } from '../core/ports.ts'
import { AccountingError } from '../errors.ts'

/** Most jobs that may wait before `add` refuses. */
const jobsWaitingMax = 2_048
/** How long `add` waits for Redis. */
const addTimeoutMs = 2_000
/** Pause of `take` while Redis is away. */
const awayPauseMs = 500
/** How long one blocking request for a job lasts, in seconds. */
const blockSeconds = 5

/** How to reach the queue. */
export interface BullQueueOptions {
  readonly chain: ChainName
  readonly redisUrl: string
  /** Prefix of the keys in Redis: one per ledger. */
  readonly prefix: string
  /** Told of faults of the connection; they heal by themselves. */
  readonly onFault: (error: Error) => void
}

/** A queue and its connections. */
export interface BullQueue extends IntakeQueue {
  /** Resolves if Redis answers. */
  ping(): Promise<void>
  close(): Promise<void>
}

/** Resolves after `ms` or when `signal` aborts. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end)
    if (signal.aborted) end()
  })
}

function bytesOf(job: Job): Uint8Array {
  return new Uint8Array(Buffer.from(String(job.data), 'base64'))
}

function within<T>(work: Promise<T>, ms: number): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms)
  work.then(resolve, reject).finally(() => clearTimeout(timer))
  return promise
}

/** A worker whose jobs are taken from outside. */
class TakingWorker extends Worker {
  /** Completes a job, and gives the next one if it is there: one command for both. */
  async nextAfter(job: Job, token: string): Promise<Job | undefined> {
    const [data, id] = (await job.moveToCompleted(0, token, true)) || []
    return (await this.nextJobFromJobData(data, id, token)) ?? undefined
  }
}

/** Takes jobs, in order, for one spell of leadership. */
class Consumer {
  readonly #worker: TakingWorker
  readonly #token = 'leader'
  #closed = false

  constructor(name: string, connection: Redis, prefix: string, onFault: (error: Error) => void) {
    this.#worker = new TakingWorker(name, null, {
      connection,
      prefix,
      autorun: false,
      drainDelay: blockSeconds,
      maxStalledCount: 0,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
    })
    this.#worker.on('error', onFault)
    // Jobs that a leader took and did not complete before it died are thrown away, not run again.
    this.#worker.startStalledCheckTimer().catch(onFault)
  }

  async take(max: number, onFault: (error: Error) => void): Promise<Uint8Array[]> {
    const jobs: Uint8Array[] = []
    let first: Job | undefined
    // A blocking request ends without a job after a while, and the first one does not block at all.
    while (first === undefined && !this.#closed) first = await this.#next(true)
    if (first === undefined) return jobs
    jobs.push(bytesOf(first))
    // If completing fails (wiped meanwhile, or away), the job is ours all the same.
    const lost = (error: Error): undefined => void onFault(error)
    const second = max > 1 ? await this.#worker.nextAfter(first, this.#token).catch(lost) : undefined
    if (max <= 1) first.moveToCompleted(0, this.#token, false).catch(onFault)
    let found = second === undefined ? [] : [second]
    while (found.length > 0) {
      for (const job of found) {
        jobs.push(bytesOf(job))
        job.moveToCompleted(0, this.#token, false).catch(onFault)
      }
      // One way to Redis for as many as there are already: a busy leader waits for each of them.
      found = await this.#nextSome(Math.min(jobs.length, max - jobs.length))
    }
    return jobs
  }

  /** At most so many jobs that are there, in order. */
  async #nextSome(max: number): Promise<Job[]> {
    const asked = Array.from({ length: max }, () => this.#next(false).catch(() => undefined))
    return (await Promise.all(asked)).filter((job) => job !== undefined)
  }

  async #next(block: boolean): Promise<Job | undefined> {
    return (await this.#worker.getNextJob(this.#token, { block })) ?? undefined
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#worker.close(true)
  }
}

/** A count of the waiting jobs is believed for so long. */
const depthKnownMs = 500

class RedisQueue implements BullQueue {
  readonly #name: string
  readonly #prefix: string
  readonly #onFault: (error: Error) => void
  readonly #adding: Redis
  readonly #blocking: Redis
  #opened: Queue | undefined
  #consumer: Consumer | undefined
  #depth = 0
  #countedMs = Number.NEGATIVE_INFINITY

  constructor({ chain, prefix, redisUrl, onFault }: BullQueueOptions) {
    this.#name = `{${chain}}-intake`
    this.#prefix = prefix
    this.#onFault = onFault
    const retryStrategy = (attempt: number): number => Math.min(50 * attempt, 1_000)
    this.#adding = new Redis(redisUrl, { maxRetriesPerRequest: 0, retryStrategy })
    this.#blocking = new Redis(redisUrl, { maxRetriesPerRequest: null, retryStrategy })
    for (const connection of [this.#adding, this.#blocking]) connection.on('error', onFault)
  }

  async add(job: Uint8Array): Promise<void> {
    await this.#assertRoom()
    try {
      await this.#put(job)
    } catch (cause) {
      this.#forgetQueue()
      const reason = messageOf(cause)
      const detail = { code: 'ERR_QUEUE_AWAY', retryAfterMs: 2_000, reason } as const
      throw new AccountingError(`the intake queue is away: ${reason}`, detail, { cause })
    }
    this.#count()
  }

  async take(max: number, signal: AbortSignal): Promise<Uint8Array[]> {
    if (signal.aborted) return []
    this.#consumer ??= new Consumer(this.#name, this.#blocking, this.#prefix, this.#onFault)
    const mine = this.#consumer
    const { promise: aborted, resolve } = Promise.withResolvers<Uint8Array[]>()
    const taking = mine.take(max, this.#onFault)
    const abort = (): void => {
      // Jobs that were under way go back to the end of the queue.
      taking.then((late) => Promise.all(late.map((job) => this.#put(job)))).catch(this.#onFault)
      this.#dismiss(mine)
      resolve([])
    }
    signal.addEventListener('abort', abort)
    try {
      return await Promise.race([taking, aborted])
    } catch (error) {
      this.#onFault(error instanceof Error ? error : new Error(messageOf(error)))
      // Whatever state it is in, the next try begins with another one.
      this.#dismiss(mine)
      await pause(awayPauseMs, signal)
      return []
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  depth(): number {
    // Whoever takes jobs does not tell the others: what is known grows old.
    if (performance.now() - this.#countedMs > depthKnownMs) this.#count()
    return this.#depth
  }

  #count(): void {
    this.#countedMs = performance.now()
    this.#waitingCount().then(
      (count) => {
        this.#depth = count
      },
      () => {},
    )
  }

  async ping(): Promise<void> {
    await within(this.#adding.ping(), addTimeoutMs)
  }

  async close(): Promise<void> {
    await this.#consumer?.close()
    this.#consumer = undefined
    await this.#opened?.close()
    for (const connection of [this.#adding, this.#blocking]) connection.disconnect()
  }

  /**
   * BullMQ asks Redis for its version once, when a queue is made, and that queue is of no use if the answer does not come:
   * so it is made once Redis is there, and made anew after a fault.
   */
  async #queueNow(): Promise<Queue> {
    if (this.#adding.status !== 'ready') await within(once(this.#adding, 'ready'), addTimeoutMs)
    if (this.#opened === undefined) {
      const options = {
        connection: this.#adding,
        prefix: this.#prefix,
        skipWaitingForReady: true,
        skipMetasUpdate: true,
      }
      this.#opened = new Queue(this.#name, options)
      this.#opened.on('error', this.#onFault)
    }
    return this.#opened
  }

  #forgetQueue(): void {
    this.#opened?.close().catch(this.#onFault)
    this.#opened = undefined
  }

  #dismiss(consumer: Consumer): void {
    if (this.#consumer === consumer) this.#consumer = undefined
    consumer.close().catch(this.#onFault)
  }

  async #waitingCount(): Promise<number> {
    const queue = await this.#queueNow()
    // Nobody pauses the queue or prefers a job, so this list is all that waits; BullMQ counts by a script.
    return within(this.#adding.llen(queue.toKey('wait')), addTimeoutMs)
  }

  async #put(job: Uint8Array): Promise<void> {
    const queue = await this.#queueNow()
    const settings = { attempts: 1, removeOnComplete: true, removeOnFail: true }
    await within(queue.add('batch', Buffer.from(job).toString('base64'), settings), addTimeoutMs)
  }

  async #assertRoom(): Promise<void> {
    if (this.#depth < jobsWaitingMax) return
    this.#depth = await this.#waitingCount().catch(() => this.#depth)
    if (this.#depth < jobsWaitingMax) return
    const detail = { code: 'ERR_QUEUE_FULL', retryAfterMs: 2_000, jobs: this.#depth } as const
    throw new AccountingError('the intake queue is full', detail)
  }
}

/** Opens the queue `{<chain>}-intake`. Redis need not be there yet. */
export function openBullQueue(options: BullQueueOptions): BullQueue {
  return new RedisQueue(options)
}
