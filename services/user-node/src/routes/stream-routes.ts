import type { ReadingBatch } from '@healthblock/diagnosis/batch'
import { type VitalSign, vitalSigns } from '@healthblock/diagnosis/batch'
import { fromBase64 } from '@healthblock/encoding/bytes'
import type { FastifyInstance, FastifyRequest } from '@healthblock/runtime/http-app'
import { UserNodeError } from '../errors.ts'
import { readFhir } from '../sealing/fhir-input.ts'
import { streamOfKind } from '../sealing/samples.ts'
import { type DeviceForm, deviceFormDefault } from '../sealing/switches.ts'
import type { Services } from '../services.ts'
import type { Person, PersonStream } from '../store/person.ts'

interface EcgBody {
  readonly startMs: number
  readonly rateHz: number
  readonly gain: number
  readonly baseline?: number
  readonly unit?: string
  readonly leads: string[]
  readonly samples: string
}

interface VitalsBody {
  readonly rows: { timeMs: number; sign: string; value: number }[]
}

const sampleBody = {
  type: 'object',
  additionalProperties: false,
  properties: {
    startMs: { type: 'integer', minimum: 0, maximum: 2 ** 45 },
    rateHz: { type: 'number', exclusiveMinimum: 0, maximum: 10_000 },
    gain: { type: 'number', exclusiveMinimum: 0, maximum: 1_000_000 },
    baseline: { type: 'integer' },
    unit: { type: 'string', maxLength: 16 },
    leads: { type: 'array', minItems: 1, maxItems: 12, items: { type: 'string', maxLength: 32 } },
    samples: { type: 'string', maxLength: 1_400_000 },
    rows: {
      type: 'array',
      minItems: 1,
      maxItems: 10_000,
      items: {
        type: 'object',
        required: ['timeMs', 'sign', 'value'],
        additionalProperties: false,
        properties: {
          timeMs: { type: 'integer', minimum: 0 },
          sign: { type: 'string' },
          value: { type: 'number', minimum: 0, maximum: 1_000_000 },
        },
      },
    },
  },
} as const

function invalid(field: string, reason: string): UserNodeError {
  return new UserNodeError(`${field} ${reason}`, { code: 'ERR_SAMPLES_INVALID', field })
}

function ecgBatch(body: EcgBody): ReadingBatch {
  for (const field of ['startMs', 'rateHz', 'gain', 'leads', 'samples'] as const) {
    if (body[field] === undefined) throw invalid(field, 'is missing')
  }
  const bytes = fromBase64(body.samples)
  if (bytes.length === 0 || bytes.length % (2 * body.leads.length) !== 0)
    throw invalid('samples', 'is not a whole number of 16-bit samples of each lead')
  const samples = new Int16Array(bytes.length / 2)
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(2 * i, true)
  return {
    kind: 'ecg',
    startMs: body.startMs,
    rateMilliHz: Math.round(body.rateHz * 1000),
    leads: body.leads.map((lead) => lead.toLowerCase()),
    unit: (body.unit ?? 'mv').toLowerCase(),
    gainMilli: Math.round(body.gain * 1000),
    baseline: body.baseline ?? 0,
    samples,
  }
}

function vitalsBatch(body: VitalsBody): ReadingBatch {
  if (body.rows === undefined) throw invalid('rows', 'is missing')
  const rows = body.rows.map(({ timeMs, sign, value }) => {
    if (!Object.hasOwn(vitalSigns, sign)) throw invalid('rows.sign', `"${sign.slice(0, 32)}" is not known`)
    return { atMs: timeMs, sign: sign as VitalSign, value }
  })
  rows.sort((a, b) => a.atMs - b.atMs)
  return { kind: 'vitals', startMs: rows[0]?.atMs ?? 0, rows }
}

const switchBody = {
  type: 'object',
  required: ['on'],
  additionalProperties: false,
  properties: {
    on: { type: 'boolean' },
    everyMs: { type: 'integer', minimum: 0, maximum: 86_400_000 },
    rateHz: { type: 'number', exclusiveMinimum: 0, maximum: 10_000 },
    leads: { type: 'integer', minimum: 1, maximum: 12 },
  },
} as const

/** The person's stream of a kind that takes samples. */
function sampledStream(person: Person, kind: string): PersonStream {
  const stream = streamOfKind(person, kind)
  if (kind !== 'ecg' && kind !== 'vitals')
    throw new UserNodeError(`"${kind}" takes no samples`, { code: 'ERR_STREAM_UNKNOWN', kind })
  return stream
}

/** Largest FHIR resource: an hour of one lead as decimal text, or a day of vital signs. */
const fhirSizeBytesMax = 8 * 1024 * 1024

/** Readings as Observations of FHIR R4, for devices and systems that speak nothing else. */
function registerFhirRoute(app: FastifyInstance, services: Services): void {
  const { access, samples, wake } = services
  const json = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser('application/fhir+json', { parseAs: 'string' }, json)
  app.post(
    '/v1/fhir',
    { bodyLimit: fhirSizeBytesMax, schema: { body: { type: 'object' } } },
    async (request, reply) => {
      const person = access.requireDevice(request)
      const pieces = readFhir(person, request.body)
      samples.addMeasured(person, pieces)
      wake()
      void reply.code(202)
      return { accepted: true, batches: pieces.length }
    },
  )
}

/** Samples from devices, their switches, and recordings of this host. */
export function registerStreamRoutes(app: FastifyInstance, services: Services): void {
  registerSwitchRoutes(app, services)
  registerFhirRoute(app, services)
  const { access, samples, jobs } = services

  app.post(
    '/v1/streams/:kind/samples',
    {
      bodyLimit: 2 * 1024 * 1024,
      schema: { params: { type: 'object', properties: { kind: { type: 'string', maxLength: 16 } } }, body: sampleBody },
    },
    async (request, reply) => {
      const person = access.requireDevice(request)
      const { kind } = request.params as { kind: string }
      const { stream } = sampledStream(person, kind)
      const batch = kind === 'ecg' ? ecgBatch(request.body as EcgBody) : vitalsBatch(request.body as VitalsBody)
      samples.addMeasured(person, [{ stream, batch }])
      services.wake()
      void reply.code(202)
      return { accepted: true }
    },
  )

  app.post(
    '/v1/people/:p/record',
    {
      schema: {
        body: {
          type: 'object',
          required: ['record'],
          additionalProperties: false,
          properties: {
            record: { type: 'string', minLength: 1, maxLength: 4096 },
            from: { type: 'number', minimum: 0 },
            to: { type: 'number', minimum: 0 },
            speed: { anyOf: [{ type: 'number', exclusiveMinimum: 0 }, { const: 'max' }] },
          },
        },
      },
    },
    async (request, reply) => {
      const { person } = access.requireHostsSession(request)
      if (person.state !== 'live')
        throw new UserNodeError('the enrolment is not finished yet', {
          code: 'ERR_PERSON_PENDING',
          person: person.name,
        })
      await services.gate.passed(person)
      const body = request.body as { record: string; from?: number; to?: number; speed?: number | 'max' }
      const job = await jobs.start(person, {
        record: body.record,
        fromSeconds: body.from ?? 0,
        toSeconds: body.to,
        speed: body.speed ?? 1,
      })
      void reply.code(202)
      return { job: job.id }
    },
  )

  app.get('/v1/jobs/:job', async (request) => {
    const { person } = access.requireSession(request)
    const { id: _id, account: _account, ...state } = jobs.find(person, (request.params as { job: string }).job)
    return state
  })
}

/** Devices that say that they are switched on or off, and people who do it for them. */
function registerSwitchRoutes(app: FastifyInstance, services: Services): void {
  const { access, switches, wake } = services
  const schema = {
    params: { type: 'object', properties: { kind: { type: 'string', maxLength: 16 } } },
    body: switchBody,
  }
  const turn = (person: Person, request: FastifyRequest): { on: boolean; since?: string } => {
    if (person.state !== 'live')
      throw new UserNodeError('the enrolment is not finished yet', { code: 'ERR_PERSON_PENDING', person: person.name })
    const stream = sampledStream(person, (request.params as { kind: string }).kind)
    const { on, ...form } = request.body as { on: boolean } & Partial<DeviceForm>
    const since = on ? switches.switchOn(person, stream, { ...deviceFormDefault, ...form }) : undefined
    if (!on) switches.switchOff(person, stream)
    wake()
    return since === undefined ? { on } : { on, since: new Date(since).toISOString() }
  }
  app.post('/v1/streams/:kind/switch', { schema }, async (request) => turn(access.requireDevice(request), request))
  app.post('/v1/people/:p/switches/:kind', { schema }, async (request) =>
    turn(access.requireSession(request).person, request),
  )
}
