/**
 * Moves the write-ahead log of a SQLite file into the file, on a thread of its own: of what a busy second or two wrote that takes 35 to 110 ms,
 * for which the event loop would wait. The thread is there only while it is needed, and nothing relies on it: the owner's connection moves
 * the log by itself once that is longer than the thread ever lets it become.
 */
import { Worker } from 'node:worker_threads'
import { type CheckpointData, checkpointEnd, checkpointRequest, turnOf } from './checkpoint-turn.ts'

/** How long the thread stays after its last checkpoint: it takes some MiB of memory, and 50 ms of a core to start. */
const restMsPreset = 10_000
/** How long a close waits for a checkpoint that is under way. */
const closeMsMax = 5_000
/** A thread that does so little needs no more. */
const resourceLimits = { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16 }

/** Checkpoints of one file. Whoever makes one closes it before the file. */
export class CheckpointThread {
  readonly #path: string
  readonly #restMs: number
  readonly #script: URL
  readonly #turn = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  #worker: Worker | undefined
  /** Resolves when the last one that was started has ended. */
  #ended: Promise<void> = Promise.resolve()
  #underWay: PromiseWithResolvers<void> | undefined
  /** A thread that ended by itself is not started again. */
  #isOver = false
  #rest: NodeJS.Timeout | undefined

  /**
   * @param path - Of a database in WAL mode that this process has open.
   * @param options - `restMs`: how long the thread stays after its last checkpoint. `script`: what it runs.
   */
  constructor(path: string, options: { readonly restMs?: number; readonly script?: URL } = {}) {
    this.#path = path
    this.#restMs = options.restMs ?? restMsPreset
    this.#script = options.script ?? new URL('./checkpoint-worker.ts', import.meta.url)
  }

  /** Has a checkpoint made, unless one is under way. Resolves when that has moved what it could, or never will. */
  request(): Promise<void> {
    if (this.#isOver) return Promise.resolve()
    if (this.#underWay === undefined) {
      clearTimeout(this.#rest)
      this.#underWay = Promise.withResolvers()
      this.#worker ??= this.#start()
      this.#worker.postMessage(checkpointRequest)
    }
    return this.#underWay.promise
  }

  /** True while the thread is there. */
  get isRunning(): boolean {
    return this.#worker !== undefined
  }

  #start(): Worker {
    const workerData: CheckpointData = { path: this.#path, turn: this.#turn.buffer as SharedArrayBuffer }
    const worker = new Worker(this.#script, { workerData, resourceLimits })
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#ended = promise
    worker.on('message', () => {
      this.#settle()
      if (!this.#isOver) this.#rest = setTimeout(() => this.#end(), this.#restMs).unref()
    })
    // What went wrong helps nobody: the owner's connection does the work from now on. `exit` follows.
    worker.on('error', () => {})
    worker.on('exit', () => {
      resolve()
      if (this.#worker !== worker) return
      this.#isOver = true
      this.#worker = undefined
      Atomics.store(this.#turn, 0, turnOf.closed)
      this.#settle()
    })
    return worker
  }

  #settle(): void {
    this.#underWay?.resolve()
    this.#underWay = undefined
  }

  /** It ends by itself: a thread that is terminated while it loads its modules can take the whole process with it. */
  #end(): void {
    this.#worker?.postMessage(checkpointEnd)
    this.#worker = undefined
  }

  /** The thread does not use the file any more when this returns, and has ended when it resolves. Waits for a checkpoint that is under way. */
  close(): Promise<void> {
    clearTimeout(this.#rest)
    this.#isOver = true
    const { free, working, closed } = turnOf
    if (Atomics.compareExchange(this.#turn, 0, free, closed) === working) {
      Atomics.wait(this.#turn, 0, working, closeMsMax)
      Atomics.store(this.#turn, 0, closed)
    }
    this.#end()
    this.#settle()
    return this.#ended
  }
}
