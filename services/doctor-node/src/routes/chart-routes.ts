import { Readable } from 'node:stream'
import type { ReadingBatch } from '@healthblock/diagnosis/batch'
import { fromHex, toBase64 } from '@healthblock/encoding/bytes'
import { writeBundle } from '@healthblock/fhir/bundle'
import type { FastifyInstance, FastifyReply } from '@healthblock/runtime/http-app'
import { DoctorNodeError } from '../errors.ts'
import { unreadableCodes } from '../judging/reader.ts'
import { exportPeriod } from '../reading/fhir.ts'
import { summarisePatients } from '../reading/lists.ts'
import { type EcgMarks, heartRatesOf, marksOf, settleMs } from '../reading/marks.ts'
import { type OpenedStretch, unreachableCode } from '../reading/opened-records.ts'
import { petnameLengthMax } from '../reading/petnames.ts'
import { news2Of, trendsOf } from '../reading/trends.ts'
import type { Services } from '../services.ts'
import { hex32 } from './schemas.ts'

const samplesMax = { records: 64, bytes: 8 * 1024 * 1024 } as const
const marksMsMax = 10 * 60_000
const trendMax = { records: 512, bytes: 64 * 1024 * 1024 } as const
/** An answer waits so long for the stores, all its records together: a page waits three times that for the answer. */
const storesMsMax = 10_000
/** Values of vital signs of one answer: a patient may pack years into a day's records, and each minute of them has a median. */
const trendValuesMax = 300_000
/** Heart rates are found in pieces of so many records, so that the node's other work goes on. */
const pieceRecords = 32
/** Kinds of streams. */
const kinds = { ecg: 1, vitals: 2 } as const

const moment = { type: 'integer', minimum: 0, maximum: 2 ** 45 } as const
const rangeQuery = {
  type: 'object',
  required: ['from', 'to'],
  additionalProperties: false,
  properties: { from: moment, to: moment },
} as const
const periodQuery = {
  type: 'object',
  additionalProperties: false,
  properties: { from: { ...moment, default: 0 }, to: moment },
} as const
const patientParams = { type: 'object', required: ['patient'], properties: { patient: hex32 } } as const
const streamParams = {
  type: 'object',
  required: ['patient', 'stream'],
  properties: { patient: hex32, stream: { type: 'string', pattern: '^[0-9a-f]{16}$' } },
} as const

interface Asked {
  readonly params: unknown
  readonly query: unknown
}

function placeOf({ params }: Asked): { patient: Uint8Array; stream: Uint8Array } {
  const { patient, stream } = params as { patient: string; stream: string }
  return { patient: fromHex(patient), stream: fromHex(stream) }
}

function rangeOf({ query }: Asked): { fromMs: number; toMs: number } {
  const { from, to } = query as { from: number; to: number }
  return { fromMs: from, toMs: to }
}

/** What was opened is for this reader alone. */
function forbidKeeping(reply: FastifyReply): void {
  void reply.header('cache-control', 'no-store')
}

function batchView(batch: ReadingBatch): object {
  if (batch.kind === 'vitals') return { rows: batch.rows.map(({ atMs, sign, value }) => [atMs, sign, value]) }
  const { rateMilliHz, leads, unit, gainMilli, baseline, samples } = batch
  const bytes = Buffer.alloc(2 * samples.length)
  for (let index = 0; index < samples.length; index++) bytes.writeInt16LE(samples[index] as number, 2 * index)
  return { rateMilliHz, leads, unit, gainMilli, baseline, samples: toBase64(bytes) }
}

const reasons = { ...unreadableCodes, unreachable: unreachableCode }
const reasonOf = new Map<number, string>(Object.entries(reasons).map(([name, code]) => [code, name]))

function stretchView({ kind, records, unread, nextMs }: OpenedStretch): object {
  return {
    kind: kind === kinds.ecg ? 'ecg' : kind === kinds.vitals ? 'vitals' : 'other',
    records: records.map(({ sequence, fromMs, toMs, batch }) => ({
      ...{ sequence, from: fromMs, to: toMs, batch: batchView(batch) },
    })),
    unread: unread.map(({ sequence, fromMs, toMs, code }) => ({
      ...{ sequence, from: fromMs, to: toMs, reason: reasonOf.get(code) ?? 'unknown' },
    })),
    ...(nextMs === undefined ? {} : { next: nextMs }),
  }
}

/** What a doctor looks at: a patient's streams, opened for the answer and kept nowhere (SPEC.md §5). */
export function registerChartRoutes(app: FastifyInstance, services: Services): void {
  const { opened } = services

  app.get('/v1/patients/summary', async (_request, reply) => {
    forbidKeeping(reply)
    return summarisePatients(services)
  })

  app.get(
    '/v1/patients/:patient/streams/:stream/samples',
    { schema: { params: streamParams, querystring: rangeQuery } },
    async (request, reply) => {
      forbidKeeping(reply)
      const limits = {
        recordsMax: samplesMax.records,
        bytesMax: samplesMax.bytes,
        signal: AbortSignal.timeout(storesMsMax),
      }
      return stretchView(await opened.read(placeOf(request), { ...rangeOf(request), ...limits }))
    },
  )

  app.get(
    '/v1/patients/:patient/streams/:stream/marks',
    { schema: { params: streamParams, querystring: rangeQuery } },
    async (request, reply) => {
      forbidKeeping(reply)
      const range = rangeOf(request)
      if (range.toMs - range.fromMs > marksMsMax) {
        throw new DoctorNodeError('marks are made for ten minutes at most', { code: 'ERR_RANGE_INVALID' })
      }
      const wide = { fromMs: Math.max(0, range.fromMs - settleMs), toMs: range.toMs }
      const limits = {
        recordsMax: trendMax.records,
        bytesMax: trendMax.bytes,
        signal: AbortSignal.timeout(storesMsMax),
      }
      const { records } = await opened.read(placeOf(request), { ...wide, ...limits })
      return marksOf(
        records.map(({ batch }) => batch),
        range,
      )
    },
  )
  registerPatientCharts(app, services)
}

/** @throws {DoctorNodeError} `ERR_PATIENT_UNKNOWN` for somebody who never gave this doctor a grant. */
function requireKnown({ grants }: Services, patient: string): void {
  if (grants.all(fromHex(patient)).length > 0) return
  throw new DoctorNodeError('this patient never gave access', { code: 'ERR_PATIENT_UNKNOWN', patient })
}

function registerPatientCharts(app: FastifyInstance, services: Services): void {
  const { petnames } = services

  app.put(
    '/v1/patients/:patient/petname',
    {
      schema: {
        params: patientParams,
        body: {
          type: 'object',
          required: ['petname'],
          additionalProperties: false,
          properties: { petname: { type: 'string', maxLength: 4 * petnameLengthMax } },
        },
      },
    },
    async (request) => {
      const { patient } = request.params as { patient: string }
      requireKnown(services, patient)
      return { petname: petnames.set(fromHex(patient), (request.body as { petname: string }).petname) }
    },
  )

  app.get(
    '/v1/patients/:patient/fhir',
    { schema: { params: patientParams, querystring: periodQuery } },
    async (request, reply) => {
      forbidKeeping(reply)
      const { patient } = request.params as { patient: string }
      requireKnown(services, patient)
      const { from, to = services.nowMs() + 1 } = request.query as { from: number; to?: number }
      const resources = exportPeriod(services, fromHex(patient), { fromMs: from, toMs: to })
      return reply.type('application/fhir+json').send(Readable.from(writeBundle(resources, services.nowMs())))
    },
  )

  app.get(
    '/v1/patients/:patient/trends',
    { schema: { params: patientParams, querystring: rangeQuery } },
    async (request, reply) => {
      forbidKeeping(reply)
      return trendsView(services, fromHex((request.params as { patient: string }).patient), rangeOf(request))
    },
  )
}

/** Signs, heart rate from the ECG, and NEWS2 of a stretch of time. */
async function trendsView(
  services: Services,
  patient: Uint8Array,
  range: { fromMs: number; toMs: number },
): Promise<object> {
  const { opened } = services
  const signal = AbortSignal.timeout(storesMsMax)
  const limits = { recordsMax: trendMax.records, bytesMax: trendMax.bytes, isNewest: true, signal }
  const batches: ReadingBatch[] = []
  const heartRate: [number, number][] = []
  let isPartial = false
  let values = 0
  for (const { stream, kind } of await opened.streams(patient)) {
    if (kind !== kinds.ecg && kind !== kinds.vitals) continue
    const rowsMax = trendValuesMax - values
    const stretch = await opened.read({ patient, stream }, { ...range, ...limits, rowsMax })
    if (stretch.nextMs !== undefined || stretch.unread.length > 0) isPartial = true
    const found = stretch.records.map(({ batch }) => batch)
    for (const batch of found) if (batch.kind === 'vitals') values += batch.rows.length
    if (kind === kinds.vitals) batches.push(...found)
    else for await (const marks of marksInPieces(found, range)) heartRate.push(...heartRatesOf(marks))
  }
  const signs = trendsOf(batches)
  const times = { from: range.fromMs, to: range.toMs }
  return { ...times, signs, heartRate, news2: news2Of(signs, range, services.limits.of(patient)), isPartial }
}

async function* marksInPieces(
  batches: readonly ReadingBatch[],
  range: { fromMs: number; toMs: number },
): AsyncGenerator<EcgMarks> {
  for (let first = 0; first < batches.length; first += pieceRecords) {
    yield marksOf(batches.slice(first, first + pieceRecords), range)
    await new Promise((resolve) => setImmediate(resolve))
  }
}
