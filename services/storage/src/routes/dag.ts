/** Commands on nodes of any codec, and on archives of them (CARv1). */
import type { FastifyInstance } from 'fastify'
import { CID } from 'multiformats/cid'
import { encodeCar, readCar } from '../car.ts'
import { decodeNode, encodeNode, stepInto } from '../dag-node.ts'
import { StorageError } from '../errors.ts'
import { type BlockId, codecDagJson, encodeBlockId, fromCid, hashBlock, toCid } from '../store/block-id.ts'
import { assertQuota, blockBytesMax } from './blocks.ts'
import { Fetched } from './fetched.ts'
import { readParts } from './multipart.ts'
import type { KuboRouteParts } from './parts.ts'
import {
  addCommand,
  argumentInvalid,
  argumentOf,
  assertSha256,
  codecOf,
  flagOf,
  type KuboRequest,
  optionOf,
  parsePath,
  rootOf,
  sendBytes,
  sendLines,
  signalOf,
} from './query.ts'
import { Upload } from './upload.ts'

const exportTimeoutMs = 3_600_000

/** Adds `dag/{put,get,resolve,export,import}`. */
export function addDagCommands(app: FastifyInstance, parts: KuboRouteParts): void {
  app.register(async (scope) => {
    scope.addContentTypeParser('multipart/form-data', (_request, payload, done) => done(null, payload))
    addUploads(scope, parts)
  })
  addDagGet(app, parts)
  addDagExport(app, parts)
}

function bodyOf(request: KuboRequest): AsyncIterable<Buffer> {
  if (request.body === undefined || request.body === null) throw argumentInvalid('path', 'file argument is required')
  return request.body as AsyncIterable<Buffer>
}

async function collect(content: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const piece of content) {
    size += piece.length
    if (size > blockBytesMax) {
      throw new StorageError('the node is too large', { code: 'ERR_BLOCK_TOO_LARGE', sizeBytesMax: blockBytesMax })
    }
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}

function addUploads(scope: FastifyInstance, parts: KuboRouteParts): void {
  const options = {
    preParsing: async (request: KuboRequest): Promise<void> => assertQuota(parts, request),
    consumes: ['multipart/form-data'],
  } as never
  const handlePut = async (request: KuboRequest, reply: Parameters<typeof sendLines>[0]): Promise<unknown> => {
    assertSha256(request)
    const stored = codecOf(optionOf(request, 'store-codec') ?? 'dag-cbor', 'store-codec')
    const given = codecOf(optionOf(request, 'input-codec') ?? 'dag-json', 'input-codec')
    const upload = new Upload(parts, request)
    async function* lines(): AsyncGenerator<object> {
      for await (const { content } of readParts(request.headers['content-type'] ?? '', bodyOf(request))) {
        const bytes = encodeNode(decodeNode(await collect(content), given, 'the node'), stored)
        const id = { digest: hashBlock(bytes), codec: stored }
        await upload.put(id, bytes)
        if (flagOf(request, 'pin')) await upload.pin(id, signalOf(request))
        yield { Cid: { '/': encodeBlockId(id) } }
      }
    }
    return await sendLines(reply, upload.whole(lines()))
  }
  const handleImport = async (request: KuboRequest, reply: Parameters<typeof sendLines>[0]): Promise<unknown> => {
    const upload = new Upload(parts, request)
    async function* lines(): AsyncGenerator<object> {
      const roots: CID[] = []
      let [count, bytesCount] = [0, 0]
      for await (const { content } of readParts(request.headers['content-type'] ?? '', bodyOf(request))) {
        const car = await readCar(content, blockBytesMax)
        roots.push(...car.roots)
        for await (const { cid, bytes } of car.sections) {
          const id = fromCid(cid)
          if (Buffer.compare(hashBlock(bytes), id.digest) !== 0) {
            throw new StorageError(`${cid}: other bytes`, { code: 'ERR_BLOCK_MISMATCH', cid: cid.toString() })
          }
          await upload.put(id, bytes.slice())
          count++
          bytesCount += bytes.length
        }
      }
      for (const root of roots) {
        let PinErrorMsg = ''
        try {
          if (flagOf(request, 'pin-roots', true)) await upload.pin(fromCid(root), signalOf(request))
        } catch (error) {
          if (!(error instanceof StorageError)) throw error
          PinErrorMsg = error.message
        }
        yield { Root: { Cid: { '/': root.toString() }, PinErrorMsg } }
      }
      if (flagOf(request, 'stats')) yield { Stats: { BlockCount: count, BlockBytesCount: bytesCount } }
    }
    return await sendLines(reply, upload.whole(lines()))
  }
  addCommand(scope, 'dag/put', handlePut, options)
  addCommand(scope, 'dag/import', handleImport, options)
}

/** A path followed as far as it goes: the node where it ends, and the value there. */
async function follow(
  parts: KuboRouteParts,
  request: KuboRequest,
): Promise<{ id: BlockId; bytes: Uint8Array; value: unknown; names: string[] }> {
  const { root, names } = parsePath(argumentOf(request, 'ref'))
  const get = parts.files.reader(signalOf(request), flagOf(request, 'offline'))
  let id = fromCid(root)
  let bytes = await get(toCid(id))
  let value = decodeNode(bytes, id.codec, root.toString())
  let within: string[] = []
  for (const name of names) {
    const next = stepInto(value, name, within.length === 0 ? id.codec : codecDagJson)
    if (next === undefined) {
      const detail = { code: 'ERR_PATH_NOT_FOUND', name, under: encodeBlockId(id) } as const
      throw new StorageError(`key not found: "${name}"`, detail)
    }
    const cid = CID.asCID(next)
    if (cid) {
      id = fromCid(cid)
      bytes = await get(cid)
      value = decodeNode(bytes, id.codec, cid.toString())
      within = []
    } else {
      value = next
      within.push(name)
    }
  }
  return { id, bytes, value, names: within }
}

function addDagGet(app: FastifyInstance, parts: KuboRouteParts): void {
  addCommand(app, 'dag/get', async (request, reply) => {
    const codec = codecOf(optionOf(request, 'output-codec') ?? 'dag-json', 'output-codec')
    const { id, bytes, value } = await follow(parts, request)
    await new Fetched(parts, request).asked(id, bytes)
    const encoded = encodeNode(value, codec)
    const type = codec === codecDagJson ? 'text/plain' : 'application/octet-stream'
    reply.type(type).header('x-stream-output', '1').header('x-content-type-options', 'nosniff')
    return Buffer.from(encoded)
  })
  addCommand(app, 'dag/resolve', async (request) => {
    const { id, names } = await follow(parts, request)
    return { Cid: { '/': encodeBlockId(id) }, RemPath: names.map((name) => `/${name}`).join('') }
  })
}

function addDagExport(app: FastifyInstance, parts: KuboRouteParts): void {
  addCommand(app, 'dag/export', async (request, reply) => {
    const path = argumentOf(request, 'root')
    const { root: named, names } = parsePath(path)
    const id = await rootOf(parts, request, path)
    // An archive names its root as the caller does.
    const root = names.length > 0 ? toCid(id) : named
    const signal = AbortSignal.timeout(exportTimeoutMs)
    const get = parts.files.reader(signal, flagOf(request, 'offline'))
    // What is not there is an answer of its own, and no archive that breaks off.
    await parts.files.reader(signalOf(request), flagOf(request, 'offline'))(root)
    const fetched = new Fetched(parts, request)
    const getBelow = fetched.below(get)
    async function* sections() {
      const bytes = await get(root)
      await fetched.asked(id, bytes)
      yield { cid: root, bytes }
      for await (const one of parts.files.descendants(id, signal)) {
        const cid = toCid(one)
        yield { cid, bytes: await getBelow(cid) }
      }
    }
    return await sendBytes(reply, encodeCar([root], sections()), { type: 'application/vnd.ipld.car' })
  })
}
