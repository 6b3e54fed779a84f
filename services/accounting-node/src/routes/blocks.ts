/** Published blocks, as pages and as a stream for those who follow (SPEC.md §1). */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { chainNames } from '@healthblock/chain/chains'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import type { AccountingNode } from '../node.ts'
import { type ChainReader, encodeFrame } from '../reading/chain-reader.ts'
import type { Access } from './access.ts'
import { StreamPlaces } from './stream-places.ts'

/** Most bytes of one page; a single larger block is a page of its own. */
const pageSizeBytesMax = 4 * 1024 * 1024
/** Most blocks of one page. */
const pageBlocksMax = 1_000
/** A comment line at least this often. */
const heartbeatMs = 5_000

async function page(reader: ChainReader, from: number, limit: number): Promise<Buffer> {
  const { published } = reader
  let height = reader.heightOf(from)
  if (published === undefined || height === undefined) return Buffer.alloc(0)
  const frames: Uint8Array[] = []
  let sizeBytes = 0
  // The last frame carries the checkpoint, so each is held back until it is known whether another follows.
  let last = await reader.block(height)
  for (;;) {
    const isLast = frames.length + 1 >= limit || height >= published.height
    const next = isLast ? undefined : await reader.block(++height)
    const plain = encodeFrame(last, undefined)
    sizeBytes += plain.length
    const isFull = next === undefined || sizeBytes + encodedSize(next.leaves) > pageSizeBytesMax
    frames.push(isFull ? encodeFrame(last, published.checkpoint) : plain)
    if (isFull) return Buffer.concat(frames)
    last = next
  }
}

function encodedSize(leaves: readonly Uint8Array[]): number {
  return leaves.reduce((sum, { length }) => sum + length + 3, 16)
}

/** Resolves at the next publication, after the heartbeat's time, or upon the signal. */
async function nextSign(reader: ChainReader, signal: AbortSignal): Promise<'published' | 'silence'> {
  const timing = new AbortController()
  const silence = new Promise<'silence'>((resolve) => {
    const timer = setTimeout(() => resolve('silence'), heartbeatMs)
    const stop = (): void => {
      clearTimeout(timer)
      resolve('silence')
    }
    signal.addEventListener('abort', stop, { once: true })
    timing.signal.addEventListener('abort', () => {
      stop()
      signal.removeEventListener('abort', stop)
    })
  })
  const sign = await Promise.race([reader.nextPublication().then(() => 'published' as const), silence])
  timing.abort()
  return sign
}

async function write(raw: ServerResponse, text: string, signal: AbortSignal): Promise<void> {
  if (!raw.write(text) && !signal.aborted) await once(raw, 'drain', { signal }).catch(() => {})
}

/** Sends blocks from leaf `from` on, for ever; a slow reader is waited for and holds up nobody else. */
async function stream(reader: ChainReader, raw: ServerResponse, from: number, signal: AbortSignal): Promise<void> {
  let next = from
  while (!signal.aborted) {
    const published = reader.published
    const height = reader.heightOf(next)
    if (published === undefined || height === undefined) {
      if ((await nextSign(reader, signal)) === 'silence' && !signal.aborted) await write(raw, ':\n\n', signal)
      continue
    }
    const block = await reader.recentBlock(height)
    const frame = encodeFrame(block, published.checkpoint)
    next = block.size
    await write(raw, `id: ${next}\ndata: ${Buffer.from(frame).toString('base64')}\n\n`, signal)
  }
}

/** Adds `GET /v1/<chain>/blocks`. */
export function addBlockRoutes(
  app: FastifyInstance,
  node: AccountingNode,
  access: Access,
  stopping: AbortSignal,
): void {
  const places = new StreamPlaces()
  const query = {
    type: 'object',
    properties: {
      from: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 0 },
      limit: { type: 'integer', minimum: 1, maximum: pageBlocksMax, default: pageBlocksMax },
    },
  }
  for (const chain of chainNames) {
    const { reader } = node.chains[chain]
    app.get<{ Querystring: { from: number; limit: number } }>(
      `/v1/${chain}/blocks`,
      { schema: { tags: ['blocks'], summary: 'published blocks', querystring: query }, onRequest: access.member },
      async (request, reply) => {
        const { from, limit } = request.query
        if (request.headers.accept?.includes('text/event-stream') !== true) {
          return reply.type('application/cbor-seq').send(await page(reader, from, limit))
        }
        const leave = places.take(access.readerOf(request))
        const resumed = Number(request.headers['last-event-id'] ?? Number.NaN)
        const gone = new AbortController()
        const signal = AbortSignal.any([gone.signal, stopping])
        const { raw } = reply
        reply.hijack()
        raw.on('close', () => gone.abort())
        raw.on('error', () => gone.abort())
        if (raw.destroyed) gone.abort()
        raw.writeHead(200, {
          'content-type': 'text/event-stream',
          'cache-control': 'no-store',
          connection: 'keep-alive',
        })
        raw.write(':\n\n')
        try {
          await stream(reader, raw, Number.isSafeInteger(resumed) && resumed >= 0 ? resumed : from, signal)
        } catch (error) {
          request.log.warn({ err: error, requestId: request.id, url: request.url }, 'stream ended')
        } finally {
          leave()
          raw.end()
        }
        return reply
      },
    )
  }
}
