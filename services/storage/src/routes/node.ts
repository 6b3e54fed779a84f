/** What is asked of the node itself: health, metrics, incidents, receipts. */

import { setTimeout as delay } from 'node:timers/promises'
import { encodeUtf8, equalBytes, toBase64Url, toHex } from '@healthblock/encoding/bytes'
import { fetchPageSignatureHeader, fetchPageSizeMax } from '@healthblock/runtime/fetch-page'
import { processInstance } from '@healthblock/runtime/process-instance'
import type { FastifyInstance } from 'fastify'
import type { BlockBackend } from '../backend.ts'
import type { Events } from '../events.ts'
import { failureAnswer, internalReason } from '../failures.ts'
import type { Erasure } from '../replication/erasure.ts'
import { encodeReceipts, receiptsHeader } from '../replication/receipt.ts'
import type { Repair } from '../replication/repair.ts'
import type { Replicator } from '../replication/replicator.ts'
import type { Scrubber } from '../replication/scrub.ts'
import { type BlockId, codecRaw, encodeBlockId, parseBlockId } from '../store/block-id.ts'
import type { BlockStore } from '../store/block-store.ts'
import { encodeFetchCursor, type FetchLog, parseFetchCursor } from '../store/fetch-log.ts'
import type { Paces } from './pace.ts'
import { sendLines } from './query.ts'
import type { RequestSchema } from './validation.ts'

const incidentsPageMax = 1000
const receiptsTimeoutMs = 10_000
/** How often long work says how far it is. */
const progressMs = 500

/** What the routes work with. */
export interface NodeRouteParts {
  store: BlockStore
  backend: BlockBackend
  replicator: Replicator
  erasure: Erasure
  repair: Repair
  scrubber: Scrubber
  paces: Paces
  /** R. */
  replicas: number
  events: Events
  fetchLog: FetchLog
  /** This store's account. */
  account: Uint8Array
  /** 32 bytes: what erasure orders are signed for. */
  ledgerId: Uint8Array
  /** Signs a page of the log of fetches for the account that asked. */
  signFetches: (page: { account: Uint8Array; after: string; answer: Uint8Array }) => Uint8Array
  /** False while starting, stopping, or unable to write. */
  isReady: () => boolean
}

/** Adds `/healthz`, `/readyz`, `/metrics`, which need no token, and `/v1/incidents`, `/v1/receipts/:cid`, which do. */
export function addNodeRoutes(app: FastifyInstance, parts: NodeRouteParts): void {
  const { store, replicator, events } = parts
  app.get('/healthz', async () => ({ status: 'ok', instance: processInstance() }))
  app.get('/readyz', async (_request, reply) => {
    const isReady = parts.isReady()
    return reply
      .code(isReady ? 200 : 503)
      .send({ status: isReady ? 'ready' : 'not-ready', instance: processInstance() })
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
  } as const satisfies RequestSchema
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
  addFetches(app, parts)
  addErasures(app, parts)
  addErasureStanding(app, parts)
  addMaintenance(app, parts)
}

const fetchesQuery = {
  type: 'object',
  properties: {
    after: { type: 'string', maxLength: 32, default: '' },
    limit: { type: 'integer', minimum: 1, maximum: fetchPageSizeMax, default: 100 },
  },
} as const satisfies RequestSchema

/** Adds `GET /v1/fetches`: the caller's part of the log, signed. */
function addFetches(app: FastifyInstance, parts: NodeRouteParts): void {
  const { fetchLog, signFetches } = parts
  app.get<{ Querystring: { after: string; limit: number } }>(
    '/v1/fetches',
    { schema: { querystring: fetchesQuery } },
    async ({ query: { after, limit }, principal: { account } }, reply) => {
      const begin = after === '' ? undefined : parseFetchCursor(after)
      const { fetches, next, isEnd } = await fetchLog.read(account, { after: begin, limit })
      const answer = encodeUtf8(
        JSON.stringify({
          store: toHex(parts.account),
          fetches: fetches.map(({ at, account: by, cid }) => {
            const digest = toHex(parseBlockId(cid).digest)
            return { at: new Date(at).toISOString(), account: toHex(by), cid, digest }
          }),
          next: encodeFetchCursor(next),
          isEnd,
          ...(fetchLog.since === undefined ? {} : { since: new Date(fetchLog.since).toISOString() }),
        }),
      )
      const signature = toBase64Url(signFetches({ account, after, answer }))
      return reply.type('application/json').header(fetchPageSignatureHeader, signature).send(Buffer.from(answer))
    },
  )
}

/** 256 CIDs, each with its order. */
const erasuresBodyBytesMax = 192 * 1024
const erasuresBody = {
  type: 'object',
  required: ['cids'],
  additionalProperties: false,
  properties: {
    cids: { type: 'array', minItems: 1, maxItems: 256, items: { type: 'string', maxLength: 128 } },
    orders: { type: 'array', maxItems: 256, items: { type: 'string', maxLength: 512 } },
  },
} as const satisfies RequestSchema

function addErasures(app: FastifyInstance, parts: NodeRouteParts): void {
  const options = { schema: { body: erasuresBody }, bodyLimit: erasuresBodyBytesMax }
  app.post<{ Body: { cids: string[]; orders?: string[] } }>('/v1/erasures', options, async (request) => {
    const ids = request.body.cids.map(parseBlockId)
    const orders = request.body.orders?.map((text) => new Uint8Array(Buffer.from(text, 'base64url')))
    const results: object[] = []
    for (const [index, id] of ids.entries()) {
      try {
        const { removeAt, ...result } = await parts.erasure.erase(id, request.principal.account, orders?.[index])
        results.push({ ...result, removeAt: new Date(removeAt).toISOString() })
      } catch (error) {
        // One that is refused, or takes too long, leaves the others alone, and says why.
        const { Message, Reason } = failureAnswer(error, request.url).body
        if (Reason === internalReason) throw error
        results.push({ cid: encodeBlockId(id), state: 'refused', Message, Reason })
      }
    }
    return { results }
  })
}

const standingBody = {
  type: 'object',
  required: ['cids'],
  additionalProperties: false,
  properties: { cids: erasuresBody.properties.cids },
} as const satisfies RequestSchema

/**
 * How an erasure stands here: `erasing` is served until `removeAt`, for disputes, and on the disk until it is removed; `kept` is under no
 * erasure that this store knows of, as far as it is the asking account's to know; of `erased` and `absent` no bytes are here. Who has nothing to do with a block is told what `block/stat` says to anybody.
 */
function erasureStanding({ store, backend }: NodeRouteParts, { digest }: BlockId, account: Uint8Array): object {
  const tombstone = store.tombstone(digest)
  const isHere = backend.has(digest)
  if (tombstone === undefined) return { state: isHere ? 'kept' : 'absent' }
  const { owner, removeAt } = tombstone
  const theirs = [owner, store.ownerOf(digest), store.stat(digest)?.writer]
  const isTheirs = theirs.some((one) => one !== undefined && equalBytes(one, account))
  if (!isTheirs && store.keptSince(digest, account) === undefined) return { state: isHere ? 'kept' : 'erased' }
  if (!isHere && !store.isLeft(digest)) return { state: 'erased' }
  return { state: 'erasing', removeAt: new Date(removeAt).toISOString() }
}

/** Adds what an owner asks after an erasure: of this store's own copies, which nothing is asked of any other for. */
function addErasureStanding(app: FastifyInstance, parts: NodeRouteParts): void {
  const options = { schema: { body: standingBody }, bodyLimit: erasuresBodyBytesMax }
  app.post<{ Body: { cids: string[] } }>('/v1/erasures/standing', options, async (request) => ({
    results: request.body.cids.map((text) => {
      const id = parseBlockId(text)
      return { cid: encodeBlockId(id), ...erasureStanding(parts, id, request.principal.account) }
    }),
  }))
}

/** How far a repair is, and what it did. It ends with the repair, also for who has left before: what it took counts whole. */
export async function* repairLines(
  repair: Pick<Repair, 'run' | 'progress'>,
  store: Pick<BlockStore, 'totals'>,
): AsyncGenerator<object> {
  const running = repair.run()
  try {
    for (;;) {
      const done = await Promise.race([running, delay(progressMs, undefined, { ref: false })])
      if (done !== undefined) {
        yield { ...done, total: store.totals().blocks, isDone: true }
        return
      }
      yield { ...repair.progress, total: store.totals().blocks }
    }
  } finally {
    await running.catch(() => {})
  }
}

function addMaintenance(app: FastifyInstance, parts: NodeRouteParts): void {
  const { backend, store, repair, scrubber, paces } = parts
  app.get('/v1/status', async (request) => ({
    ledgerId: toHex(parts.ledgerId),
    account: toHex(request.principal.account),
    ...backend.totals(),
    peers: new Set(backend.connections().map(({ peer }) => peer)).size,
    replicas: parts.replicas,
    handoffs: store.handoffCount(),
    below: repair.below,
    repair: repair.last ?? null,
    scrub: scrubber.state ?? null,
    erased: store.tombstoneCount(),
  }))
  app.post('/v1/scrub', async (_request, reply) => {
    async function* lines(): AsyncGenerator<object> {
      let saidAt = performance.now()
      for await (const { cid, isGood } of scrubber.run()) {
        const { checked = 0, total = 0, damaged = 0 } = scrubber.state ?? {}
        if (!isGood) yield { damaged: cid }
        if (performance.now() - saidAt < progressMs) continue
        saidAt = performance.now()
        yield { checked, total, damaged }
      }
      yield { ...scrubber.state }
    }
    return await sendLines(reply, paces.scrub.run('scrub', lines))
  })
  app.post('/v1/repair', async (_request, reply) => {
    return await sendLines(
      reply,
      paces.repair.run('repair', () => repairLines(repair, store)),
    )
  })
}
