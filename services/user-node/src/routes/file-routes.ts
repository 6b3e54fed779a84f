import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from '@healthblock/runtime/http-app'
import { UserNodeError } from '../errors.ts'
import { listFiles } from '../files/file-list.ts'
import { partSizeBytesMax, type UploadState } from '../files/uploads.ts'
import type { Session } from '../people/sessions.ts'
import { streamOfKind } from '../sealing/samples.ts'
import type { Services } from '../services.ts'

const beginBody = {
  type: 'object',
  required: ['name', 'size'],
  additionalProperties: false,
  properties: {
    name: { type: 'string', minLength: 1, maxLength: 255 },
    type: { type: 'string', maxLength: 127 },
    size: { type: 'integer', minimum: 0, maximum: 2 ** 38 },
  },
} as const
const sequenceParam = { type: 'integer', minimum: 1 } as const
const params = { type: 'object', properties: { p: { type: 'string' }, sequence: sequenceParam } } as const
const offsetQuery = {
  type: 'object',
  required: ['offset'],
  properties: { offset: { type: 'integer', minimum: 0 } },
} as const
/** A whole file may take this long to be read. */
const readingTimeoutMs = 3_600_000

type FileRequest = FastifyRequest<{ Params: { sequence: number } }>

function view({ sequence, offset, sizeBytes, isStored }: UploadState): object {
  return { sequence, offset, size: sizeBytes, stored: isStored, partSizeMax: partSizeBytesMax }
}

/** A person's files: taken in by parts, listed, read whole or in ranges. */
export function registerFileRoutes(app: FastifyInstance, services: Services): void {
  registerUploadRoutes(app, services)
  registerReadingRoutes(app, services)
}

function sessionOf(services: Services, request: FastifyRequest): Session {
  const session = services.access.requireSession(request)
  const { state, name } = session.person
  if (state === 'live') return session
  throw new UserNodeError('the enrolment is not finished yet', { code: 'ERR_PERSON_PENDING', person: name })
}

function registerUploadRoutes(app: FastifyInstance, services: Services): void {
  const { uploads, gate } = services
  app.post('/v1/people/:p/files', { schema: { body: beginBody } }, async (request, reply) => {
    const { person } = sessionOf(services, request)
    await gate.passed(person)
    const {
      name,
      type = 'application/octet-stream',
      size,
    } = request.body as { name: string; type?: string; size: number }
    const state = uploads.begin(person, streamOfKind(person, 'records'), { name, type, sizeBytes: size })
    void reply.code(201)
    return view(state)
  })
  const partOptions = { bodyLimit: partSizeBytesMax, schema: { params, querystring: offsetQuery } }
  app.put('/v1/people/:p/files/:sequence', partOptions, async (request) => {
    const { person } = sessionOf(services, request)
    const { sequence } = (request as FileRequest).params
    const { offset } = request.query as { offset: number }
    const bytes = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
    await gate.passed(person)
    const state = await uploads.write(person, streamOfKind(person, 'records'), { sequence, offset, bytes })
    if (state.isStored) services.wake()
    return view(state)
  })
  app.delete('/v1/people/:p/files/:sequence', { schema: { params } }, async (request, reply) => {
    const { person } = sessionOf(services, request)
    uploads.abandon(person, streamOfKind(person, 'records'), (request as FileRequest).params.sequence)
    services.wake()
    return reply.code(204).send()
  })
  app.get('/v1/people/:p/files/:sequence/upload', { schema: { params } }, async (request) => {
    const { person } = sessionOf(services, request)
    return view(uploads.state(person, streamOfKind(person, 'records'), (request as FileRequest).params.sequence))
  })
}

/** One range of bytes, as RFC 9110 writes it; undefined for the whole. */
function rangeOf(header: string | undefined, sizeBytes: number): { from: number; to: number } | 'bad' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '')
  if (header === undefined) return undefined
  if (match === null || (match[1] === '' && match[2] === '')) return 'bad'
  const from = match[1] === '' ? Math.max(0, sizeBytes - Number(match[2])) : Number(match[1])
  const to = match[1] === '' || match[2] === '' ? sizeBytes - 1 : Math.min(sizeBytes - 1, Number(match[2]))
  return from <= to ? { from, to } : 'bad'
}

function registerReadingRoutes(app: FastifyInstance, services: Services): void {
  const { database, downloads } = services
  app.get('/v1/people/:p/files', async (request) => {
    const { person } = sessionOf(services, request)
    const { stream } = streamOfKind(person, 'records')
    return listFiles(database, person.account, stream)
  })
  app.get('/v1/people/:p/files/:sequence', { schema: { params } }, async (request, reply) => {
    const session = sessionOf(services, request)
    await services.sessions.absorbRoots(session)
    const stream = streamOfKind(session.person, 'records')
    const { sequence } = (request as FileRequest).params
    const signal = AbortSignal.any([AbortSignal.timeout(readingTimeoutMs), services.stopping])
    const file = await downloads.open(session, stream, sequence, signal)
    const range = rangeOf(request.headers.range, file.sizeBytes)
    reply.header('accept-ranges', 'bytes').header('x-content-type-options', 'nosniff')
    if (range === 'bad') {
      file.close()
      return reply.code(416).header('content-range', `bytes */${file.sizeBytes}`).send()
    }
    const { from, to } = range ?? { from: 0, to: file.sizeBytes - 1 }
    if (range !== undefined) reply.code(206).header('content-range', `bytes ${from}-${to}/${file.sizeBytes}`)
    return sendFile(reply, file, from, to - from + 1)
  })
}

function sendFile(
  reply: FastifyReply,
  file: Awaited<ReturnType<Services['downloads']['open']>>,
  from: number,
  length: number,
): FastifyReply {
  const source = Readable.from(file.read(from, length), { objectMode: false, highWaterMark: 0 })
  source.once('close', () => file.close())
  return reply
    .type('application/octet-stream')
    .header('content-length', String(length))
    .header('content-disposition', `attachment; filename*=UTF-8''${encodeURIComponent(file.name)}`)
    .header('file-type', encodeURIComponent(file.type))
    .send(source)
}
