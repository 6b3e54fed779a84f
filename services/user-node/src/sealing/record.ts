/** Streams a WFDB recording of this host, as a device would: an ECG, or the numerics of a monitor. */

import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { toHex } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import { UserNodeError } from '../errors.ts'
import type { Person } from '../store/person.ts'
import { loadRecording, type Recording, recordInvalid } from './recording.ts'
import type { Samples } from './samples.ts'
import { streamOfKind } from './samples.ts'
import type { Sealer } from './sealer.ts'

/** A recording to stream. Seconds count from its begin. */
export interface RecordRequest {
  /** Path without ending. */
  readonly record: string
  readonly fromSeconds: number
  readonly toSeconds: number | undefined
  /** Times real time, or as fast as it goes. */
  readonly speed: number | 'max'
}

/** A running or finished job. */
export interface Job {
  readonly id: string
  readonly account: string
  state: 'running' | 'done' | 'failed'
  batches: number
  batchesTotal: number
  transactions: string[]
  lastSequence: number
  /** Batches that are sealed and kept, and not posted yet. */
  unsent: number
  /** Of these, those that no storage node has taken yet; if there are none, it is the ledger that the others wait for. */
  unstored: number
  error?: string
}

interface Dependencies {
  readonly database: Database
  readonly samples: Samples
  readonly sealer: Sealer
  readonly deliver: () => Promise<void>
  readonly periodMs: number
  readonly nowMs: () => number
  readonly stopping: AbortSignal
  /** How long a job waits for the next batch to be posted; absent: 15 s. */
  readonly patienceMs?: number
}

const jobsMax = 256
const postedPollMs = 20
/** A job waits so long for the next batch to be stored and posted; then it ends, and the node goes on trying. */
const unsentPatienceMs = 15_000

/** Streaming jobs of the household. */
export class RecordJobs {
  readonly #deps: Dependencies
  readonly #jobs = new Map<string, Job>()
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /**
   * Begins to stream. The recording is read and checked before this returns.
   *
   * @throws {UserNodeError} `ERR_RECORD_INVALID` naming what is wrong with the recording.
   */
  async start(person: Person, request: RecordRequest): Promise<Job> {
    const recording = await loadRecording(request.record)
    const { rateHz: rate, frames: length } = recording
    const from = Math.floor(request.fromSeconds * rate)
    const to = Math.min(length, request.toSeconds === undefined ? length : Math.floor(request.toSeconds * rate))
    if (!(from < to))
      throw recordInvalid(
        'from',
        `the recording has ${Math.floor(length / rate)} s: there is nothing from ${request.fromSeconds} s ${request.toSeconds === undefined ? 'on' : `to ${request.toSeconds} s`}`,
      )
    const periodFrames = Math.floor((this.#deps.periodMs * rate) / 1000)
    const frames = Math.max(1, Math.min(periodFrames, recording.pieceFramesMax))
    const job: Job = {
      id: randomUUID(),
      account: person.id,
      state: 'running',
      batches: 0,
      batchesTotal: Math.ceil((to - from) / frames),
      transactions: [],
      lastSequence: 0,
      unsent: 0,
      unstored: 0,
    }
    const oldest = this.#jobs.keys().next()
    if (this.#jobs.size >= jobsMax && oldest.done !== true) this.#jobs.delete(oldest.value)
    this.#jobs.set(job.id, job)
    this.#run(job, person, recording, { from, to, frames, speed: request.speed }).catch((error: unknown) => {
      job.state = 'failed'
      job.error = error instanceof Error ? error.message : 'streaming failed'
    })
    return job
  }

  /** @throws {UserNodeError} `ERR_JOB_UNKNOWN`. */
  find(person: Person, id: string): Job {
    const job = this.#jobs.get(id)
    if (job === undefined || job.account !== person.id)
      throw new UserNodeError('there is no such job', { code: 'ERR_JOB_UNKNOWN', job: id })
    return job
  }

  async #run(
    job: Job,
    person: Person,
    recording: Recording,
    range: { from: number; to: number; frames: number; speed: number | 'max' },
  ): Promise<void> {
    const { samples, sealer, deliver, nowMs, stopping, database } = this.#deps
    const stream = streamOfKind(person, recording.kind)
    // The recording is moved to now: its last sample is as old as it would be had it been measured live.
    const rate = recording.rateHz
    const lengthMs = ((range.to - range.from) / rate) * 1000
    const startMs = await this.#startMs(person, stream.stream, lengthMs, range.speed)
    // What was replayed faster than it was measured may reach beyond now: the pace counts from here all the same.
    const begunMs = nowMs()
    const before = sequenceOf(database, person, stream.stream)
    for (let at = range.from; at < range.to; at += range.frames) {
      const end = Math.min(range.to, at + range.frames)
      if (range.speed !== 'max') {
        const dueMs = begunMs + ((end - range.from) / rate) * (1000 / range.speed)
        while (nowMs() < dueMs && !stopping.aborted) await delay(Math.min(250, dueMs - nowMs()))
      }
      if (stopping.aborted) throw new Error('the node is stopping; what was streamed so far is kept')
      const piece = recording.piece(at, end, startMs + Math.round(((at - range.from) / rate) * 1000))
      if (piece !== undefined) samples.add(person, stream.stream, piece)
      job.batches += sealer.seal(person, stream, false)
      deliver().catch(() => {})
      // Lets requests and timers in between.
      await delay(0)
    }
    job.batches += sealer.seal(person, stream, true)
    job.lastSequence = sequenceOf(database, person, stream.stream)
    const sealed = { after: before, until: job.lastSequence }
    job.batches = this.#count(person, stream.stream, sealed)
    Object.assign(job, await this.#transactions(person, stream.stream, sealed))
    job.state = 'done'
  }

  async #startMs(person: Person, stream: Uint8Array, lengthMs: number, speed: number | 'max'): Promise<number> {
    const row = this.#deps.database.get(
      'SELECT max(until) AS until FROM batch WHERE account = ? AND stream = ?',
      person.account,
      stream,
    )
    const last = Number(row?.until ?? 0)
    const wanted = speed === 'max' ? this.#deps.nowMs() - lengthMs : this.#deps.nowMs()
    return Math.round(Math.max(last, wanted))
  }

  /** How many batches of readings a stretch of the stream has: some were sealed by the node's own round. */
  #count(person: Person, stream: Uint8Array, range: { after: number; until: number }): number {
    const row = this.#deps.database.get(
      'SELECT count(*) AS n FROM batch WHERE account = ? AND stream = ? AND sequence > ? AND sequence <= ? AND kind = 0',
      ...[person.account, stream, range.after, range.until],
    )
    return Number(row?.n ?? 0)
  }

  /** The ids of the IoT transactions of these batches: of all of them, unless nothing moves for a while. */
  async #transactions(
    person: Person,
    stream: Uint8Array,
    range: { after: number; until: number },
  ): Promise<Pick<Job, 'transactions' | 'unsent' | 'unstored'>> {
    const { database, deliver, stopping, patienceMs = unsentPatienceMs } = this.#deps
    let least = Number.POSITIVE_INFINITY
    let deadline = 0
    for (;;) {
      const rows = database.all(
        'SELECT sequence, state, tx FROM batch WHERE account = ? AND stream = ? AND sequence > ? AND sequence <= ? ORDER BY sequence LIMIT 1000000',
        ...[person.account, stream, range.after, range.until],
      )
      const unsent = rows.filter(({ tx }) => tx === null).length
      if (unsent < least) {
        least = unsent
        deadline = performance.now() + patienceMs
      }
      if (unsent === 0 || stopping.aborted || performance.now() > deadline) {
        const ids = rows.flatMap(({ tx }) => (tx === null ? [] : [toHex(tx as Uint8Array)]))
        const unstored = rows.filter(({ state }) => state === 'sealed').length
        return { transactions: [...new Set(ids)], unsent, unstored }
      }
      deliver().catch(() => {})
      await delay(postedPollMs)
    }
  }
}

function sequenceOf(database: Database, person: Person, stream: Uint8Array): number {
  return Number(
    database.get('SELECT sequence FROM stream WHERE account = ? AND stream = ?', person.account, stream)?.sequence ?? 0,
  )
}
