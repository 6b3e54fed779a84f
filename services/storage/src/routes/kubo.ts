/** The part of the Kubo RPC that this service speaks (docs.ipfs.tech/reference/kubo/rpc), so that IPFS clients work. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { BlockBackend } from '../backend.ts'
import { isStorageError, StorageError } from '../errors.ts'
import { assertWriter, type PayloadReader } from '../ownership.ts'
import { encodeReceipts, receiptsHeader } from '../replication/receipt.ts'
import type { Replicator } from '../replication/replicator.ts'
import { type BlockId, codecDagPb, codecRaw, encodeBlockId, hashBlock, parseBlockId } from '../store/block-id.ts'
import type { BlockStore, PinEntry } from '../store/block-store.ts'
import type { FetchLog } from '../store/fetch-log.ts'
import { parseDurationMs } from './duration.ts'
import { multipartOverheadBytesMax, parseSinglePart } from './multipart.ts'

/** Largest block. */
export const blockBytesMax = 2 * 1024 * 1024
const defaultTimeoutMs = 30_000

/** What the routes work with. */
export interface KuboRouteParts {
  backend: BlockBackend
  store: BlockStore
  replicator: Replicator
  readHeader: PayloadReader
  fetchLog: FetchLog
  /** Bytes that this node may hold. */
  bytesMax: number
  now: () => number
}

interface KuboQuery {
  arg?: string[]
  timeout?: string
  offline?: string
  pin?: string
  force?: string
  quiet?: string
  recursive?: string
  type?: string
  stream?: string
  format?: string
  'cid-codec'?: string
  mhtype?: string
  mhlen?: string
}

type KuboRequest = FastifyRequest<{ Querystring: KuboQuery }>

const text = { type: 'string', maxLength: 160 } as const
const querystring = {
  type: 'object',
  properties: {
    arg: { type: 'array', items: text, maxItems: 256 },
    timeout: text,
    offline: text,
    pin: text,
    force: text,
    quiet: text,
    recursive: text,
    type: text,
    stream: text,
    format: text,
    'cid-codec': text,
    mhtype: text,
    mhlen: text,
  },
} as const

function argumentInvalid(field: string, reason: string): StorageError {
  return new StorageError(`${field}: ${reason}`, { code: 'ERR_ARGUMENT_INVALID', field, reason })
}

function idsOf(request: KuboRequest): BlockId[] {
  const ids = (request.query.arg ?? []).map(parseBlockId)
  if (ids.length === 0) throw argumentInvalid('arg', 'argument "cid" is required')
  return ids
}

function idOf(request: KuboRequest): BlockId {
  const [id, ...others] = idsOf(request)
  if (!id || others.length > 0) throw argumentInvalid('arg', 'exactly one CID is needed')
  return id
}

function signalOf(request: KuboRequest): AbortSignal {
  const { timeout } = request.query
  return AbortSignal.timeout(timeout ? parseDurationMs(timeout) : defaultTimeoutMs)
}

function codecOf(query: KuboQuery): number {
  const { mhtype = 'sha2-256', mhlen = '-1' } = query
  if (mhtype !== 'sha2-256' || (mhlen !== '-1' && mhlen !== '32')) throw argumentInvalid('mhtype', 'only sha2-256')
  switch (query['cid-codec'] ?? query.format ?? 'raw') {
    case 'raw':
      return codecRaw
    case 'dag-pb':
    case 'protobuf':
      return codecDagPb
    default:
      throw argumentInvalid('cid-codec', 'only raw and dag-pb')
  }
}

const pinNames = ['none', 'direct', 'recursive']

/** Adds the routes under `/api/v0`. */
export function addKuboRoutes(app: FastifyInstance, parts: KuboRouteParts): void {
  addNodeRoutes(app, parts)
  addBlockPut(app, parts)
  addBlockRoutes(app, parts)
  addPinRoutes(app, parts)
}

function addNodeRoutes(app: FastifyInstance, parts: KuboRouteParts): void {
  app.post('/api/v0/version', { schema: { querystring } }, async () => ({
    Version: '0.43.0',
    Commit: '',
    Repo: '18',
    System: `${process.arch}/${process.platform}`,
    Golang: '',
  }))
  app.post('/api/v0/id', { schema: { querystring } }, async () => {
    const { peerId, publicKey, addresses, protocols } = parts.backend.identity()
    const withPeer = addresses.map((address) => `${address}/p2p/${peerId}`)
    return {
      ID: peerId,
      PublicKey: publicKey,
      Addresses: withPeer,
      AgentVersion: 'healthblock/0.1.0',
      Protocols: protocols,
    }
  })
  app.post('/api/v0/repo/stat', { schema: { querystring } }, async () => {
    const { bytes, blocks } = parts.backend.totals()
    return { RepoSize: bytes, StorageMax: parts.bytesMax, NumObjects: blocks, RepoPath: '', Version: 'fs-repo@18' }
  })
  app.post('/api/v0/swarm/peers', { schema: { querystring } }, async () => ({
    Peers: parts.backend.connections().map(({ peer, address, direction }) => ({
      Addr: address,
      Peer: peer,
      Identify: {},
      Latency: '',
      Muxer: '/yamux/1.0.0',
      Direction: direction === 'inbound' ? 0 : 1,
      Streams: null,
    })),
  }))
}

/** A block is taken from a body that is read only if it can be kept. */
function addBlockPut(app: FastifyInstance, parts: KuboRouteParts): void {
  const bodyLimit = blockBytesMax + multipartOverheadBytesMax
  app.addContentTypeParser('multipart/form-data', { parseAs: 'buffer', bodyLimit }, (_request, body, done) => {
    done(null, body)
  })
  const options = {
    bodyLimit,
    schema: { querystring },
    preParsing: async (request: KuboRequest): Promise<void> => {
      const left = parts.store.bytesLeft(request.principal.account)
      const length = Number(request.headers['content-length'] ?? 0)
      if (left > 0 && length - multipartOverheadBytesMax <= left) return
      throw new StorageError('the quota is used up', { code: 'ERR_QUOTA_EXCEEDED', bytesMax: left })
    },
  }
  app.post<{ Querystring: KuboQuery }>('/api/v0/block/put', options, async (request, reply) => {
    if (!Buffer.isBuffer(request.body)) throw argumentInvalid('body', 'not multipart/form-data')
    const bytes = parseSinglePart(request.headers['content-type'] ?? '', request.body)
    if (bytes.length > blockBytesMax) {
      throw new StorageError('the block is too large', { code: 'ERR_BLOCK_TOO_LARGE', sizeBytesMax: blockBytesMax })
    }
    const id = { digest: hashBlock(bytes), codec: codecOf(request.query) }
    const { account } = request.principal
    assertWriter(parts.readHeader(bytes), account, id)
    const pin = request.query.pin === 'true' ? 1 : 0
    const receipts = await parts.replicator.put(id, bytes, { account, at: parts.now(), pin })
    reply.header(receiptsHeader, encodeReceipts(receipts))
    return { Key: encodeBlockId(id), Size: bytes.length }
  })
}

function addBlockRoutes(app: FastifyInstance, parts: KuboRouteParts): void {
  const { replicator, fetchLog, now } = parts
  app.post<{ Querystring: KuboQuery }>('/api/v0/block/get', { schema: { querystring } }, async (request, reply) => {
    const id = idOf(request)
    const signal = signalOf(request)
    const { bytes } = await replicator.read(id, { signal, offline: request.query.offline === 'true' })
    fetchLog.add({ at: now(), account: request.principal.account, cid: encodeBlockId(id) })
    reply.type('application/octet-stream').header('x-content-type-options', 'nosniff')
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  })
  app.post<{ Querystring: KuboQuery }>('/api/v0/block/stat', { schema: { querystring } }, async (request) => {
    const id = idOf(request)
    const here = parts.backend.stat(id.digest)
    if (here) return { Key: encodeBlockId(id), Size: here.size }
    const { bytes } = await replicator.read(id, {
      signal: signalOf(request),
      offline: request.query.offline === 'true',
    })
    return { Key: encodeBlockId(id), Size: bytes.length }
  })
  app.post<{ Querystring: KuboQuery }>('/api/v0/block/rm', { schema: { querystring } }, async (request, reply) => {
    const force = request.query.force === 'true'
    const lines: { Hash: string; Error?: string }[] = []
    for (const id of idsOf(request)) {
      const Hash = encodeBlockId(id)
      try {
        await replicator.release(id, request.principal.account, force)
        if (request.query.quiet !== 'true') lines.push({ Hash })
      } catch (error) {
        // As Kubo: one line per block, and what cannot be removed says why.
        if (!(error instanceof StorageError)) throw error
        if (!(force && isStorageError(error, 'ERR_BLOCK_NOT_FOUND'))) lines.push({ Hash, Error: error.message })
      }
    }
    return sendLines(reply, lines)
  })
}

function sendLines(reply: FastifyReply, lines: readonly object[]): FastifyReply {
  return reply.type('application/json').send(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
}

function addPinRoutes(app: FastifyInstance, parts: KuboRouteParts): void {
  const { replicator } = parts
  app.post<{ Querystring: KuboQuery }>('/api/v0/pin/add', { schema: { querystring } }, async (request) => {
    const ids = idsOf(request)
    const isRecursive = request.query.recursive !== 'false'
    for (const id of ids) {
      if (isRecursive && id.codec === codecDagPb) {
        const detail = { code: 'ERR_PIN_UNSUPPORTED', cid: encodeBlockId(id) } as const
        throw new StorageError('recursive pins of dag-pb are not supported: use recursive=false', detail)
      }
      await replicator.pin(id, request.principal.account, isRecursive ? 2 : 1)
    }
    return { Pins: ids.map(encodeBlockId) }
  })
  app.post<{ Querystring: KuboQuery }>('/api/v0/pin/rm', { schema: { querystring } }, async (request) => {
    const ids = idsOf(request)
    for (const id of ids) await replicator.unpin(id, request.principal.account)
    return { Pins: ids.map(encodeBlockId) }
  })
  app.post<{ Querystring: KuboQuery }>('/api/v0/pin/ls', { schema: { querystring } }, async (request, reply) => {
    const { type = 'all', stream, arg = [] } = request.query
    const wanted = arg.map(parseBlockId)
    const pins = (await replicator.pins(request.principal.account)).filter(
      (pin) => type === 'all' || pinNames[pin.pin] === type,
    )
    const chosen = wanted.length === 0 ? pins : wanted.map((id) => findPin(pins, id))
    if (stream === 'true') {
      return sendLines(
        reply,
        chosen.map((pin) => ({ Cid: encodeBlockId(pin), Type: pinNames[pin.pin], Name: '' })),
      )
    }
    return { Keys: Object.fromEntries(chosen.map((pin) => [encodeBlockId(pin), { Type: pinNames[pin.pin] }])) }
  })
}

function findPin(pins: readonly PinEntry[], id: BlockId): PinEntry {
  const pin = pins.find((one) => Buffer.compare(one.digest, id.digest) === 0)
  if (pin) return pin
  const cid = encodeBlockId(id)
  throw new StorageError(`path '${cid}' is not pinned`, { code: 'ERR_NOT_PINNED', cid })
}
