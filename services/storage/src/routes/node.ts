/** What is asked of the node itself: health, metrics, incidents, receipts. */
import { toHex } from '@healthblock/encoding/bytes'
import type { FastifyInstance } from 'fastify'
import type { Events } from '../events.ts'
import { encodeReceipts, receiptsHeader } from '../replication/receipt.ts'
import type { Replicator } from '../replication/replicator.ts'
import { codecRaw, encodeBlockId, parseBlockId } from '../store/block-id.ts'
import type { BlockStore } from '../store/block-store.ts'

const incidentsPageMax = 1000
const receiptsTimeoutMs = 10_000

/** What the routes work with. */
export interface NodeRouteParts {
  store: BlockStore
  replicator: Replicator
  events: Events
  /** False while starting, stopping, or unable to write. */
  isReady: () => boolean
}

/** Adds `/healthz`, `/readyz`, `/metrics`, which need no token, and `/v1/incidents`, `/v1/receipts/:cid`, which do. */
export function addNodeRoutes(app: FastifyInstance, parts: NodeRouteParts): void {
  const { store, replicator, events } = parts
  app.get('/healthz', async () => ({ status: 'ok' }))
  app.get('/readyz', async (_request, reply) => {
    const isReady = parts.isReady()
    return reply.code(isReady ? 200 : 503).send({ status: isReady ? 'ready' : 'not-ready' })
  })
  app.get('/metrics', async (_request, reply) => {
    return reply.type(events.registry.contentType).send(await events.registry.metrics())
  })
  const querystring = {
    type: 'object',
    properties: {
      after: { type: 'integer', minimum: 0, default: 0 },
      limit: { type: 'integer', minimum: 1, maximum: incidentsPageMax, default: 100 },
    },
  } as const
  app.get<{ Querystring: { after: number; limit: number } }>(
    '/v1/incidents',
    { schema: { querystring } },
    async (request) => {
      const incidents = store.incidents(request.query.after, request.query.limit)
      return {
        incidents: incidents.map(({ id, at, kind, digest, node, servedBy }) => ({
          id,
          at: new Date(at).toISOString(),
          kind,
          cid: encodeBlockId({ digest, codec: codecRaw }),
          digest: toHex(digest),
          node: toHex(node),
          ...(servedBy ? { servedBy: toHex(servedBy) } : {}),
        })),
        next: incidents.at(-1)?.id ?? request.query.after,
      }
    },
  )
  app.post<{ Params: { cid: string } }>('/v1/receipts/:cid', async (request, reply) => {
    const id = parseBlockId(request.params.cid)
    const receipts = await replicator.receipts(id, AbortSignal.timeout(receiptsTimeoutMs))
    const encoded = encodeReceipts(receipts)
    reply.header(receiptsHeader, encoded)
    return { cid: encodeBlockId(id), receipts: encoded, stores: receipts.map((receipt) => toHex(receipt.store)) }
  })
}
