import type { ReadingBatch } from '@healthblock/diagnosis/batch'
import { toBase64 } from '@healthblock/encoding/bytes'
import { RuntimeError } from '@healthblock/runtime/errors'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { recordsOpenedMax } from '../reading/measurements.ts'
import { parseTimelineCursor, parseTimelineKinds, readTimeline } from '../reading/timeline.ts'
import { streamOfKind } from '../sealing/samples.ts'
import type { Services } from '../services.ts'

const p = { type: 'string', minLength: 1, maxLength: 64 } as const
const pageMax = 500
const iso = (ms: number): string => new Date(ms).toISOString()

/** A piece in the form in which devices bring it. */
function pieceOf(batch: ReadingBatch): unknown {
  if (batch.kind === 'vitals')
    return { startMs: batch.startMs, rows: batch.rows.map(({ atMs, sign, value }) => ({ timeMs: atMs, sign, value })) }
  const { samples } = batch
  const bytes = new Uint8Array(2 * samples.length)
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < samples.length; i++) view.setInt16(2 * i, samples[i] as number, true)
  return {
    ...{ startMs: batch.startMs, rateHz: batch.rateMilliHz / 1000, gain: batch.gainMilli / 1000 },
    ...{ baseline: batch.baseline, unit: batch.unit, leads: batch.leads, samples: toBase64(bytes) },
  }
}

/** What a person looks at: her measurements, opened, and everything that happened. */
export function registerReadingRoutes(app: FastifyInstance, services: Services): void {
  const { access, measurements, database } = services

  app.get('/v1/people/:p/streams', async (request) => {
    const { person } = access.requireSession(request)
    return person.streams.map((stream) => {
      const extent = measurements.extent(person, stream)
      return {
        kind: stream.kind,
        firstAt: extent === undefined ? null : iso(extent.firstMs),
        lastAt: extent === undefined ? null : iso(extent.lastMs),
      }
    })
  })

  const samplesSchema = {
    params: {
      type: 'object',
      required: ['p', 'kind'],
      properties: { p, kind: { type: 'string', enum: ['ecg', 'vitals'] } },
    },
    querystring: {
      type: 'object',
      required: ['from', 'until'],
      properties: {
        from: { type: 'integer', minimum: 0 },
        until: { type: 'integer', minimum: 0 },
        most: { type: 'integer', minimum: 1, maximum: recordsOpenedMax, default: 64 },
      },
    },
  } as const
  app.get('/v1/people/:p/streams/:kind/samples', { schema: samplesSchema }, async (request, reply) => {
    const session = access.requireSession(request)
    const { kind } = request.params as { kind: string }
    const { from, until, most } = request.query as { from: number; until: number; most: number }
    const window = { fromMs: from, untilMs: until, most }
    const measured = await measurements.read(session, streamOfKind(session.person, kind), window)
    void reply.header('cache-control', 'no-store')
    return {
      pieces: measured.batches.map(pieceOf),
      ...{ records: measured.records, opened: measured.opened },
      unread: measured.unread.map(({ fromMs, toMs, isErased }) => ({
        ...{ from: iso(fromMs), to: iso(toMs), reason: isErased ? 'erased' : 'unreachable' },
      })),
    }
  })

  const timelineSchema = {
    params: { type: 'object', required: ['p'], properties: { p } },
    querystring: {
      type: 'object',
      properties: {
        after: { type: 'string', maxLength: 128 },
        kinds: { type: 'string', maxLength: 128 },
        limit: { type: 'integer', minimum: 1, maximum: pageMax, default: 100 },
      },
    },
  } as const
  app.get('/v1/people/:p/timeline', { schema: timelineSchema }, async (request) => {
    const { person } = access.requireSession(request)
    const { after, kinds, limit } = request.query as { after?: string; kinds?: string; limit: number }
    const place = after === undefined ? undefined : parseTimelineCursor(after)
    if (after !== undefined && place === undefined) throw invalid('after')
    const wanted = parseTimelineKinds(kinds)
    if (wanted === undefined) throw invalid('kinds')
    return readTimeline(database, person, { after: place, limit, kinds: wanted })
  })
}

function invalid(field: string): RuntimeError {
  return new RuntimeError(`querystring.${field} cannot be read`, {
    ...{ code: 'ERR_REQUEST_INVALID' as const, field: `querystring.${field}`, reason: 'cannot be read' },
  })
}
