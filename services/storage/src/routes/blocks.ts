/** Commands on single blocks. */
import type { FastifyInstance, FastifyReply, FastifyRequest, RequestPayload } from 'fastify'
import { bearerOf } from '../access/bearer.ts'
import { StorageError } from '../errors.ts'
import { encodeReceipts, receiptsHeader } from '../replication/receipt.ts'
import {
  type BlockId,
  codecDagPb,
  encodeBlockId,
  encodeBlockIdV0,
  encodeLike,
  hashBlock,
  parseBlockId,
} from '../store/block-id.ts'
import { BlockBodies } from './block-body.ts'
import { Fetched } from './fetched.ts'
import { multipartOverheadBytesMax, parseParts } from './multipart.ts'
import type { KuboRouteParts } from './parts.ts'
import {
  addCommand,
  argumentInvalid,
  argumentOf,
  argumentsOf,
  assertSha256,
  codecOf,
  flagOf,
  idOf,
  type KuboRequest,
  optionOf,
  sendLines,
  signalOf,
} from './query.ts'
import { Upload } from './upload.ts'

/** Type of a block's bytes, as Kubo says it. */
export const blockType = 'application/vnd.ipld.raw'
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
  if (parts.replicator.canDoWithout) return
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
    reply.type(blockType).header('x-content-type-options', 'nosniff').header('x-stream-output', '1')
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  })
  addCommand(app, 'block/stat', async (request) => {
    const id = idOf(request)
    const Key = encodeLike(argumentOf(request), id)
    const here = backend.stat(id.digest)
    if (here) return { Key, Size: here.size }
    const { bytes } = await replicator.read(id, { signal: signalOf(request), offline: flagOf(request, 'offline') })
    return { Key, Size: bytes.length }
  })
  addCommand(app, 'block/rm', async (request, reply) => {
    const force = flagOf(request, 'force')
    const named = argumentsOf(request).map((text) => ({ text, id: parseBlockId(text) }))
    const { account } = request.principal
    const token = bearerOf(request)
    async function* lines(): AsyncGenerator<{ Hash: string; Error?: string }> {
      for (const { text, id } of named) {
        const Hash = encodeLike(text, id)
        try {
          const root = await files.rootOf(id, account)
          if (root !== undefined) throw new StorageError(`pinned: via ${root}`, { code: 'ERR_BLOCK_PINNED', cid: Hash })
          await replicator.release(id, { account, force, token })
          if (!flagOf(request, 'quiet')) yield { Hash }
        } catch (error) {
          // As Kubo: one line per block, and what cannot be removed says why.
          if (!(error instanceof StorageError)) throw error
          const isAbsent = error.detail.code === 'ERR_BLOCK_NOT_FOUND'
          if (!(force && isAbsent)) yield { Hash, Error: isAbsent ? `ipld: could not find ${Hash}` : error.message }
          else if (!flagOf(request, 'quiet')) yield { Hash }
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
  const handle = async (request: KuboRequest, reply: FastifyReply): Promise<unknown> => {
    if (!Buffer.isBuffer(request.body)) throw argumentInvalid('data', 'file argument is required')
    assertSha256(request)
    const { codec, keyOf } = formOf(request)
    const [bytes, ...others] = parseParts(request.headers['content-type'] ?? '', request.body).map(asBlock)
    if (bytes === undefined || others.length > 0) {
      const blocks = bytes === undefined ? [] : [bytes, ...others]
      return await sendLines(reply, putAll(parts, request, { blocks, codec, keyOf }))
    }
    const id = { digest: hashBlock(bytes), codec }
    const { account } = request.principal
    const pin = flagOf(request, 'pin') ? 1 : 0
    const receipts = await parts.files.putBlock(id, bytes, { account, at: parts.now(), pin })
    const answer = { Key: keyOf(id), Size: bytes.length }
    // Every copy is stored. After a failure somebody may still be at it: then the memory is left to the collector.
    bodies.giveBack(request.body)
    reply.header(receiptsHeader, encodeReceipts(receipts))
    reply.header('x-chunked-output', '1')
    return answer
  }
  addCommand(scope, 'block/put', handle, { consumes: ['multipart/form-data'] })
}

/** A part that is no larger than a block. */
function asBlock(bytes: Buffer): Buffer {
  if (bytes.length <= blockBytesMax) return bytes
  throw new StorageError('the block is too large', { code: 'ERR_BLOCK_TOO_LARGE', sizeBytesMax: blockBytesMax })
}

interface BlockForm {
  readonly codec: number
  readonly keyOf: (id: BlockId) => string
}

/** How blocks are to be named. Kubo's old option has a name for nodes of dag-pb whose CIDs are of version 0. */
function formOf(request: KuboRequest): BlockForm {
  const [codec, format] = [optionOf(request, 'cid-codec'), optionOf(request, 'format')]
  if (format === 'v0' && codec === undefined) return { codec: codecDagPb, keyOf: encodeBlockIdV0 }
  return { codec: codecOf(codec ?? format ?? 'raw', 'cid-codec'), keyOf: encodeBlockId }
}

/** Several blocks of one body: all of them are kept, or none. */
async function* putAll(
  parts: KuboRouteParts,
  request: KuboRequest,
  { blocks, codec, keyOf }: BlockForm & { blocks: readonly Buffer[] },
): AsyncGenerator<object> {
  const upload = new Upload(parts, request)
  async function* lines(): AsyncGenerator<object> {
    for (const bytes of blocks) {
      const id = { digest: hashBlock(bytes), codec }
      await upload.put(id, bytes)
      if (flagOf(request, 'pin')) await parts.replicator.pin(id, request.principal.account, 1)
      yield { Key: keyOf(id), Size: bytes.length }
    }
  }
  yield* upload.whole(lines())
}
