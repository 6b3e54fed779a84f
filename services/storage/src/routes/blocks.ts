/** Commands on single blocks. */
import { toHex } from '@healthblock/encoding/bytes'
import type { FastifyInstance, FastifyReply, FastifyRequest, RequestPayload } from 'fastify'
import { bearerOf } from '../access/bearer.ts'
import { StorageError, tooManyRemovals } from '../errors.ts'
import { collectOnce } from '../memory.ts'
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
  type Options,
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
  assertRoom(parts, request.principal.account, Number(request.headers['content-length'] ?? 0))
}

/** What tells whether a block has room. */
type RoomParts = Pick<KuboRouteParts, 'store' | 'replicator'>

/**
 * Refuses a body of so many bytes that cannot be kept for an account.
 *
 * @throws {StorageError} `ERR_QUOTA_EXCEEDED`, `ERR_STORE_FULL`.
 */
export function assertRoom(parts: RoomParts, account: Uint8Array, length: number): void {
  const { ofAccount, ofNode } = parts.store.bytesLeft(account)
  const bytes = length - multipartOverheadBytesMax
  if (ofAccount === 0 && parts.store.removalsLeft(account) === 0) throw tooManyRemovals()
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
    const roots = await files.rootsOf(
      named.map(({ id }) => id),
      account,
    )
    async function* lines(): AsyncGenerator<{ Hash: string; Error?: string }> {
      for (const { text, id } of named) {
        const Hash = encodeLike(text, id)
        try {
          const root = roots.get(toHex(id.digest))
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

/** What the bodies of single blocks are read with. */
export function createBodies(store: Pick<KuboRouteParts['store'], 'collect'>): BlockBodies {
  return new BlockBodies(blockBytesMax + multipartOverheadBytesMax, () => {
    store.collect()
    collectOnce()
  })
}

/** A block is taken from a body that is read only if it can be kept. */
function addBlockPut(scope: FastifyInstance, parts: KuboRouteParts): void {
  const { bodies } = parts
  scope.addContentTypeParser('multipart/form-data', async (request: FastifyRequest, payload: RequestPayload) => {
    const told = request.headers['content-length']
    assertQuota(parts, request)
    const { account } = request.principal
    const from = { account, sizeTold: told === undefined ? undefined : Number(told) }
    return await bodies.read(payload, from, (bytes) => assertRoom(parts, account, bytes))
  })
  const handle = async (request: KuboRequest, reply: FastifyReply): Promise<unknown> => {
    if (!Buffer.isBuffer(request.body)) throw argumentInvalid('data', 'file argument is required')
    const form = formOf(request)
    const [bytes, ...others] = parseParts(request.headers['content-type'] ?? '', request.body).map(asBlock)
    if (bytes === undefined || others.length > 0) {
      const blocks = bytes === undefined ? [] : [bytes, ...others]
      return await sendLines(reply, putAll(parts, request, { blocks, ...form }))
    }
    const { answer, receipts } = await putOne(
      parts,
      { account: request.principal.account, tokenOf: () => bearerOf(request) },
      bytes,
      form,
    )
    // Every copy is stored. After a failure somebody may still be at it: then the memory is left to the collector.
    bodies.giveBack(request.body)
    reply.header(receiptsHeader, receipts)
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

/** What the options of a put say of its blocks. */
export interface BlockForm {
  readonly codec: number
  readonly keyOf: (id: BlockId) => string
  readonly isPinned: boolean
}

/**
 * How blocks are to be named and kept. Kubo's old option has a name for nodes of dag-pb whose CIDs are of version 0.
 *
 * @throws {StorageError} `ERR_ARGUMENT_INVALID`.
 */
export function formOf(request: Options): BlockForm {
  assertSha256(request)
  const isPinned = flagOf(request, 'pin')
  const [codec, format] = [optionOf(request, 'cid-codec'), optionOf(request, 'format')]
  if (format === 'v0' && codec === undefined) return { codec: codecDagPb, keyOf: encodeBlockIdV0, isPinned }
  return { codec: codecOf(codec ?? format ?? 'raw', 'cid-codec'), keyOf: encodeBlockId, isPinned }
}

/**
 * Puts the one block of a body for an account.
 *
 * @returns what is answered, with the receipts as their header has them.
 * @throws {StorageError} as `Files.putBlock`.
 */
export async function putOne(
  { files, now }: Pick<KuboRouteParts, 'files' | 'now'>,
  by: { account: Uint8Array; tokenOf: () => string },
  bytes: Buffer,
  { codec, keyOf, isPinned }: BlockForm,
): Promise<{ answer: { Key: string; Size: number }; receipts: string }> {
  const id = { digest: hashBlock(bytes), codec }
  const reference = { account: by.account, at: now(), pin: isPinned ? 1 : 0 }
  const receipts = await files.putBlock(id, bytes, { reference, tokenOf: by.tokenOf })
  return { answer: { Key: keyOf(id), Size: bytes.length }, receipts: encodeReceipts(receipts) }
}

/** Several blocks of one body: all of them are kept, or none. */
async function* putAll(
  parts: KuboRouteParts,
  request: KuboRequest,
  { blocks, codec, keyOf, isPinned }: BlockForm & { blocks: readonly Buffer[] },
): AsyncGenerator<object> {
  const upload = new Upload(parts, request)
  async function* lines(): AsyncGenerator<object> {
    for (const bytes of blocks) {
      const id = { digest: hashBlock(bytes), codec }
      await upload.put(id, bytes)
      if (isPinned) await upload.pinAlone(id, 1)
      yield { Key: keyOf(id), Size: bytes.length }
    }
  }
  yield* upload.whole(lines())
}
