/** Commands on single blocks. */
import type { FastifyInstance, FastifyRequest, RequestPayload } from 'fastify'
import { bearerOf } from '../access/bearer.ts'
import { isStorageError, StorageError } from '../errors.ts'
import { encodeReceipts, receiptsHeader } from '../replication/receipt.ts'
import { encodeBlockId, hashBlock } from '../store/block-id.ts'
import { BlockBodies } from './block-body.ts'
import { Fetched } from './fetched.ts'
import { multipartOverheadBytesMax, parseSinglePart } from './multipart.ts'
import type { KuboRouteParts } from './parts.ts'
import {
  addCommand,
  argumentInvalid,
  assertSha256,
  codecOf,
  flagOf,
  idOf,
  idsOf,
  type KuboRequest,
  optionOf,
  sendLines,
  signalOf,
} from './query.ts'

/** Largest block. */
export const blockBytesMax = 2 * 1024 * 1024

/** Refuses a body that cannot be kept, before any of it is read if its length is told. */
export function assertQuota(parts: KuboRouteParts, request: Pick<FastifyRequest, 'headers' | 'principal'>): void {
  assertBytes(parts, request, Number(request.headers['content-length'] ?? 0))
}

function assertBytes(parts: KuboRouteParts, request: Pick<FastifyRequest, 'principal'>, length: number): void {
  const { ofAccount, ofNode } = parts.store.bytesLeft(request.principal.account)
  const bytes = length - multipartOverheadBytesMax
  if (ofAccount === 0 || bytes > ofAccount) {
    throw new StorageError('the quota is used up', { code: 'ERR_QUOTA_EXCEEDED', bytesMax: ofAccount })
  }
  if (ofNode > 0 && bytes <= ofNode) return
  throw new StorageError('the store is full', { code: 'ERR_STORE_FULL', bytesMax: ofNode })
}

/** Adds `block/{put,get,stat,rm}`. */
export function addBlockCommands(app: FastifyInstance, parts: KuboRouteParts): void {
  const { backend, replicator, files } = parts
  app.register(async (scope) => addBlockPut(scope, parts))
  addCommand(app, 'block/get', async (request, reply) => {
    const id = idOf(request)
    const bytes =
      (await replicator.readHere(id)) ??
      (await replicator.read(id, { signal: signalOf(request), offline: flagOf(request, 'offline') })).bytes
    await new Fetched(parts, request).asked(id, bytes)
    reply.type('application/octet-stream').header('x-content-type-options', 'nosniff').header('x-stream-output', '1')
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  })
  addCommand(app, 'block/stat', async (request) => {
    const id = idOf(request)
    const here = backend.stat(id.digest)
    if (here) return { Key: encodeBlockId(id), Size: here.size }
    const { bytes } = await replicator.read(id, { signal: signalOf(request), offline: flagOf(request, 'offline') })
    return { Key: encodeBlockId(id), Size: bytes.length }
  })
  addCommand(app, 'block/rm', async (request, reply) => {
    const force = flagOf(request, 'force')
    const ids = idsOf(request)
    const { account } = request.principal
    const token = bearerOf(request)
    async function* lines(): AsyncGenerator<{ Hash: string; Error?: string }> {
      for (const id of ids) {
        const Hash = encodeBlockId(id)
        try {
          const root = await files.rootOf(id, account)
          if (root !== undefined) throw new StorageError(`pinned: via ${root}`, { code: 'ERR_BLOCK_PINNED', cid: Hash })
          await replicator.release(id, { account, force, token })
          if (!flagOf(request, 'quiet')) yield { Hash }
        } catch (error) {
          // As Kubo: one line per block, and what cannot be removed says why.
          if (!(error instanceof StorageError)) throw error
          if (!(force && isStorageError(error, 'ERR_BLOCK_NOT_FOUND'))) yield { Hash, Error: error.message }
        }
      }
    }
    return await sendLines(reply, lines())
  })
}

/** A block is taken from a body that is read only if it can be kept. */
function addBlockPut(scope: FastifyInstance, parts: KuboRouteParts): void {
  const bodies = new BlockBodies(blockBytesMax + multipartOverheadBytesMax)
  scope.addHook('onClose', async () => bodies.close())
  scope.addContentTypeParser('multipart/form-data', async (request: FastifyRequest, payload: RequestPayload) => {
    const told = request.headers['content-length']
    assertQuota(parts, request)
    return await bodies.read(payload, told === undefined ? undefined : Number(told), (bytes) =>
      assertBytes(parts, request, bytes),
    )
  })
  const handle = async (request: KuboRequest, reply: { header: (name: string, value: string) => unknown }) => {
    if (!Buffer.isBuffer(request.body)) throw argumentInvalid('body', 'not multipart/form-data')
    const bytes = parseSinglePart(request.headers['content-type'] ?? '', request.body)
    if (bytes.length > blockBytesMax) {
      throw new StorageError('the block is too large', { code: 'ERR_BLOCK_TOO_LARGE', sizeBytesMax: blockBytesMax })
    }
    assertSha256(request)
    const codec = codecOf(optionOf(request, 'cid-codec') ?? optionOf(request, 'format') ?? 'raw', 'cid-codec')
    const id = { digest: hashBlock(bytes), codec }
    const { account } = request.principal
    const pin = flagOf(request, 'pin') ? 1 : 0
    const receipts = await parts.files.putBlock(id, bytes, { account, at: parts.now(), pin })
    const answer = { Key: encodeBlockId(id), Size: bytes.length }
    // Every copy is stored. After a failure somebody may still be at it: then the memory is left to the collector.
    bodies.giveBack(request.body)
    reply.header(receiptsHeader, encodeReceipts(receipts))
    reply.header('x-chunked-output', '1')
    return answer
  }
  addCommand(scope, 'block/put', handle, { consumes: ['multipart/form-data'] })
}
