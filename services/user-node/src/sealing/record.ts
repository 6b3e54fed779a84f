/** Streams a WFDB recording of this host, as a device would: signals of millivolts become the ECG stream. */

import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { EcgBatch } from '@healthblock/diagnosis/batch'
import { decodeSignal, parseHeader, sampleMissing, type WfdbHeader } from '@healthblock/diagnosis/wfdb'
import { toHex } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import { UserNodeError } from '../errors.ts'
import type { Person } from '../people/person.ts'
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
}

interface Loaded {
  readonly header: WfdbHeader
  readonly leads: { name: string; samples: Int32Array; gain: number; baseline: number }[]
}

const jobsMax = 256
const postedPollMs = 20

function invalid(field: string, message: string, cause?: unknown): UserNodeError {
  return new UserNodeError(message, { code: 'ERR_RECORD_INVALID', field }, { cause })
}

function leadName(description: string, position: number): string {
  const name = description.toLowerCase().replaceAll(/[^a-z0-9._-]/g, '')
  return name === '' ? `ch${position}` : name.slice(0, 32)
}

async function loadRecord(path: string): Promise<Loaded> {
  let header: WfdbHeader
  try {
    header = parseHeader(new Uint8Array(await readFile(`${path}.hea`)))
  } catch (cause) {
    const reason =
      (cause as NodeJS.ErrnoException).code === 'ENOENT'
        ? 'does not exist'
        : `is not a WFDB header: ${(cause as Error).message}`
    throw invalid('record', `${basename(path)}.hea ${reason}`, cause)
  }
  const leads = []
  for (const [index, signal] of header.signals.entries()) {
    const file = join(dirname(path), basename(signal.file))
    const bytes = await readFile(file).catch((cause: unknown) => {
      throw invalid('record', `${basename(file)} cannot be read`, cause)
    })
    try {
      const samples = decodeSignal(header, index, new Uint8Array(bytes))
      leads.push({ name: leadName(signal.description, index), samples, gain: signal.gain, baseline: signal.baseline })
    } catch (cause) {
      throw invalid('record', `${basename(file)}: ${(cause as Error).message}`, cause)
    }
  }
  if (leads.length === 0) throw invalid('record', 'the recording has no signal')
  return { header, leads }
}

/** Samples [from, to) of the first lead, and of the second if it has the same gain and baseline. */
function piece(loaded: Loaded, from: number, to: number, startMs: number): EcgBatch {
  const [first] = loaded.leads as [Loaded['leads'][number]]
  const leads = loaded.leads
    .slice(0, 1)
    .concat(
      loaded.leads
        .slice(1, 2)
        .filter((lead) => lead.gain === first.gain && lead.baseline === first.baseline && lead.name !== first.name),
    )
  const samples = new Int16Array((to - from) * leads.length)
  for (let i = from; i < to; i++) {
    for (const [position, lead] of leads.entries()) {
      const value = lead.samples[i] ?? sampleMissing
      samples[(i - from) * leads.length + position] =
        value === sampleMissing ? -32768 : Math.max(-32767, Math.min(32767, value))
    }
  }
  return {
    kind: 'ecg',
    startMs,
    rateMilliHz: Math.round(loaded.header.rate * 1000),
    leads: leads.map(({ name }) => name),
    unit: 'mv',
    gainMilli: Math.round(first.gain * 1000),
    baseline: first.baseline,
    samples,
  }
}

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
    const loaded = await loadRecord(request.record)
    const rate = loaded.header.rate
    const length = loaded.leads[0]?.samples.length ?? 0
    const from = Math.floor(request.fromSeconds * rate)
    const to = Math.min(length, request.toSeconds === undefined ? length : Math.floor(request.toSeconds * rate))
    if (!(from < to))
      throw invalid(
        'from',
        `the recording has ${Math.floor(length / rate)} s: there is nothing from ${request.fromSeconds} s on`,
      )
    const frames = Math.max(1, Math.floor((this.#deps.periodMs * rate) / 1000))
    const job: Job = {
      id: randomUUID(),
      account: person.id,
      state: 'running',
      batches: 0,
      batchesTotal: Math.ceil((to - from) / frames),
      transactions: [],
      lastSequence: 0,
    }
    const oldest = this.#jobs.keys().next()
    if (this.#jobs.size >= jobsMax && oldest.done !== true) this.#jobs.delete(oldest.value)
    this.#jobs.set(job.id, job)
    this.#run(job, person, loaded, { from, to, frames, speed: request.speed }).catch((error: unknown) => {
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
    loaded: Loaded,
    range: { from: number; to: number; frames: number; speed: number | 'max' },
  ): Promise<void> {
    const { samples, sealer, deliver, nowMs, stopping, database } = this.#deps
    const stream = streamOfKind(person, 'ecg')
    // The recording is moved to now: its last sample is as old as it would be had it been measured live.
    const rate = loaded.header.rate
    const lengthMs = ((range.to - range.from) / rate) * 1000
    const startMs = await this.#startMs(person, stream.stream, lengthMs, range.speed)
    const before = sequenceOf(database, person, stream.stream)
    for (let at = range.from; at < range.to; at += range.frames) {
      const end = Math.min(range.to, at + range.frames)
      if (range.speed !== 'max') {
        const dueMs = startMs + ((end - range.from) / rate) * (1000 / range.speed)
        while (nowMs() < dueMs && !stopping.aborted) await delay(Math.min(250, dueMs - nowMs()))
      }
      if (stopping.aborted) throw new Error('the node is stopping; what was streamed so far is kept')
      samples.add(
        person,
        stream.stream,
        piece(loaded, at, end, startMs + Math.round(((at - range.from) / rate) * 1000)),
      )
      job.batches += sealer.seal(person, stream, false)
      deliver().catch(() => {})
      // Lets requests and timers in between.
      await delay(0)
    }
    job.batches += sealer.seal(person, stream, true)
    job.lastSequence = sequenceOf(database, person, stream.stream)
    job.transactions = await this.#transactions(person, stream.stream, { after: before, until: job.lastSequence })
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

  /** The ids of the IoT transactions of these batches, once all of them are signed. */
  async #transactions(person: Person, stream: Uint8Array, range: { after: number; until: number }): Promise<string[]> {
    const { database, deliver, stopping } = this.#deps
    for (;;) {
      const rows = database.all(
        'SELECT DISTINCT tx FROM batch WHERE account = ? AND stream = ? AND sequence > ? AND sequence <= ? ORDER BY sequence',
        ...[person.account, stream, range.after, range.until],
      )
      if (rows.every((row) => row.tx !== null) || stopping.aborted) {
        return rows.flatMap((row) => (row.tx === null ? [] : [toHex(row.tx as Uint8Array)]))
      }
      await deliver()
      await delay(postedPollMs)
    }
  }
}

function sequenceOf(database: Database, person: Person, stream: Uint8Array): number {
  return Number(
    database.get('SELECT sequence FROM stream WHERE account = ? AND stream = ?', person.account, stream)?.sequence ?? 0,
  )
}
