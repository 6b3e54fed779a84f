/** `get`: a file, or a folder with all below it, as an archive, which clients unpack by themselves. */
import { Readable } from 'node:stream'
import { createGzip } from 'node:zlib'
import { type FileNode, type GetBlock, readFile } from '@healthblock/runtime/unixfs'
import type { FastifyInstance } from 'fastify'
import { StorageError } from '../errors.ts'
import type { Files } from '../files.ts'
import { fromCid } from '../store/block-id.ts'
import { encodeTar, type TarEntry } from '../tar.ts'
import { Fetched } from './fetched.ts'
import type { KuboRouteParts } from './parts.ts'
import {
  addCommand,
  argumentInvalid,
  argumentOf,
  flagOf,
  type KuboRequest,
  numberOf,
  parsePath,
  sendBytes,
} from './query.ts'

/** Deepest folder. */
const depthMax = 256
/** A whole folder may take this long to be read. */
const readingTimeoutMs = 3_600_000

/** Adds `get`. */
export function addGet(app: FastifyInstance, parts: KuboRouteParts): void {
  const { files, now } = parts
  addCommand(app, 'get', async (request, reply) => {
    const path = argumentOf(request, 'ipfs-path')
    const level = levelOf(request)
    const get = files.reader(AbortSignal.timeout(readingTimeoutMs), flagOf(request, 'offline'))
    const { root, names } = parsePath(path)
    const node = await files.resolve({ root, names }, get)
    const isArchive = flagOf(request, 'archive') || level === undefined
    if (!isArchive && node.type === 'directory') throw invalidNode(node, 'file is not regular')
    const fetched = new Fetched(parts, request)
    await fetched.asked(fromCid(node.cid), await get(node.cid))
    const getBelow = fetched.below(get)
    const name = names.at(-1) ?? ''
    const entries = entriesUnder({ node, path: isName(name) ? name : root.toString(), depth: 0 }, files, getBelow)
    const bytes = isArchive ? encodeTar(entries, Math.floor(now() / 1000)) : readFile(node, getBelow)
    const sizeBytes = node.type === 'file' ? node.sizeBytes : node.dagSizeBytes
    return await sendBytes(reply, level === undefined ? bytes : compressed(bytes, level), {
      type: 'text/plain',
      ...(level === undefined ? { sizeBytes } : {}),
    })
  })
}

/** How much is to be compressed, 1 to 9; undefined for not at all. */
function levelOf(request: KuboRequest): number | undefined {
  const level = numberOf(request, 'compression-level')
  if (level === undefined || level === 0) return flagOf(request, 'compress') ? 6 : undefined
  if (level > 9) throw argumentInvalid('compression-level', 'is 1 to 9')
  return level
}

function compressed(bytes: AsyncIterable<Uint8Array>, level: number): AsyncIterable<Uint8Array> {
  const gzip = createGzip({ level })
  const source = Readable.from(bytes, { objectMode: false })
  source.on('error', (error) => gzip.destroy(error))
  gzip.on('close', () => source.destroy())
  return source.pipe(gzip)
}

/** A node and what is below it, folders first. */
async function* entriesUnder(
  { node, path, depth }: { node: FileNode; path: string; depth: number },
  files: Files,
  get: GetBlock,
): AsyncGenerator<TarEntry> {
  const { type, sizeBytes } = node
  if (type === 'file') {
    yield { path, type, sizeBytes, content: readFile(node, get) }
    return
  }
  if (depth > depthMax) throw invalidNode(node, 'nested too deeply')
  yield { path, type, sizeBytes: 0, content: nothing() }
  for (const { name, cid } of node.links) {
    // Whoever unpacks it would write elsewhere.
    if (!isName(name)) throw invalidNode(node, 'a name cannot be used')
    const child = await files.resolve({ root: cid, names: [] }, get)
    yield* entriesUnder({ node: child, path: `${path}/${name}`, depth: depth + 1 }, files, get)
  }
}

function isName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name)
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

function invalidNode({ cid }: FileNode, reason: string): StorageError {
  return new StorageError(reason, { code: 'ERR_DAG_INVALID', cid: cid.toString(), reason })
}
