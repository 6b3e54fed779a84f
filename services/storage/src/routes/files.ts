/** Commands on files and directories (UnixFS). */

import {
  type FileNode,
  type FileOptions,
  type FileRoot,
  importDirectory,
  importFile,
  leafSizeBytes,
  readFile,
} from '@healthblock/runtime/unixfs'
import type { FastifyInstance } from 'fastify'
import { StorageError } from '../errors.ts'
import { recursivePin } from '../replication/pins.ts'
import { codecRaw, fromCid } from '../store/block-id.ts'
import { assertQuota, blockBytesMax } from './blocks.ts'
import { Fetched } from './fetched.ts'
import { type BodyPart, readParts } from './multipart.ts'
import type { KuboRouteParts } from './parts.ts'
import {
  addCommand,
  argumentInvalid,
  argumentOf,
  argumentsOf,
  assertSha256,
  flagOf,
  type KuboRequest,
  numberOf,
  optionOf,
  parsePath,
  sendBytes,
  sendLines,
  signalOf,
} from './query.ts'
import { Upload } from './upload.ts'

/** Options of `add` that change what is stored and are not offered: refused rather than ignored. */
const notOffered = [
  ...['trickle', 'nocopy', 'fscache', 'inline', 'to-files', 'pin-name'],
  ...['preserve-mode', 'preserve-mtime', 'mode', 'mtime', 'mtime-nsecs'],
]

/** Adds `add`, `cat`, `ls`, `files/stat`, `refs`. */
export function addFileCommands(app: FastifyInstance, parts: KuboRouteParts): void {
  app.register(async (scope) => addUpload(scope, parts))
  addReading(app, parts)
  addRefs(app, parts)
}

function fileOptions(request: KuboRequest): Omit<FileOptions, 'put'> & { cidVersion: 0 | 1 } {
  for (const name of notOffered) {
    const value = optionOf(request, name) ?? ''
    if (!['', 'false', '0'].includes(value)) throw argumentInvalid(name, 'is not offered')
  }
  assertSha256(request)
  const version = numberOf(request, 'cid-version') ?? 0
  if (version !== 0 && version !== 1) throw argumentInvalid('cid-version', 'is 0 or 1')
  const chunker = optionOf(request, 'chunker') ?? `size-${leafSizeBytes}`
  const leafBytes = chunker === 'default' ? leafSizeBytes : Number(/^size-(\d{1,7})$/.exec(chunker)?.[1] ?? 0)
  if (leafBytes < 1 || leafBytes > blockBytesMax / 2) throw argumentInvalid('chunker', 'is size-BYTES up to 1 MiB')
  return { cidVersion: version, rawLeaves: flagOf(request, 'raw-leaves', version === 1), leafBytes }
}

interface Entry extends FileRoot {
  name: string
}

/** A directory of a body, by its path. */
class Tree {
  readonly entries = new Map<string, Entry | Tree>()

  /** The tree of a path, made if it is not there. */
  at(names: readonly string[]): Tree {
    const [name, ...rest] = names
    if (name === undefined) return this
    const found = this.entries.get(name)
    const tree = found instanceof Tree ? found : new Tree()
    this.entries.set(name, tree)
    return tree.at(rest)
  }
}

function addUpload(scope: FastifyInstance, parts: KuboRouteParts): void {
  scope.addContentTypeParser('multipart/form-data', (_request, payload, done) => done(null, payload))
  const options = {
    preParsing: async (request: KuboRequest): Promise<void> => assertQuota(parts, request),
    consumes: ['multipart/form-data'],
  }
  addCommand(
    scope,
    'add',
    async (request, reply) => {
      const body = request.body as AsyncIterable<Buffer> | undefined
      if (body === undefined) throw argumentInvalid('path', 'file argument is required')
      const settings = fileOptions(request)
      return await sendLines(reply, addAll(parts, request, { settings, body }))
    },
    options as never,
  )
}

/** Stores every file of a body, then the directories above them; says each as it is done. */
async function* addAll(
  parts: KuboRouteParts,
  request: KuboRequest,
  source: { settings: ReturnType<typeof fileOptions>; body: AsyncIterable<Buffer> },
): AsyncGenerator<object> {
  const isDry = flagOf(request, 'only-hash')
  const upload = new Upload(parts, request)
  const options: FileOptions & { cidVersion: 0 | 1 } = {
    ...source.settings,
    put: async ({ cid, bytes }) => {
      if (!isDry) await upload.put(fromCid(cid), bytes)
    },
  }
  const isSilent = flagOf(request, 'silent')
  for await (const line of upload.whole(addParts(request, { options, body: source.body, isDry, upload }))) {
    if (!isSilent) yield line
  }
}

async function* addParts(
  request: KuboRequest,
  source: { options: FileOptions & { cidVersion: 0 | 1 }; body: AsyncIterable<Buffer>; isDry: boolean; upload: Upload },
): AsyncGenerator<object> {
  const { options, isDry, upload } = source
  const isPinned = flagOf(request, 'pin', true)
  const top = new Tree()
  for await (const part of readParts(request.headers['content-type'] ?? '', source.body)) {
    const names = namesOf(part)
    if (part.contentType === 'application/x-directory') {
      top.at(names)
      continue
    }
    if (part.contentType === 'application/symlink') throw argumentInvalid('path', 'symbolic links are not stored')
    const counted = { bytes: 0 }
    const root = await importFile(count(part.content, counted), options)
    const name = names.at(-1) ?? ''
    top.at(names.slice(0, -1)).entries.set(name, { ...root, name })
    if (flagOf(request, 'progress')) yield { Name: names.join('/'), Bytes: counted.bytes }
    yield lineOf(names.join('/') || root.cid.toString(), root)
  }
  yield* makeDirectories(top, [], options)
  const isWrapped = flagOf(request, 'wrap-with-directory')
  const wrapped = isWrapped ? await importDirectory(entriesOf(top), options) : undefined
  if (wrapped !== undefined) yield lineOf('', wrapped)
  if (!isPinned || isDry) return
  for (const { cid } of wrapped === undefined ? entriesOf(top) : [wrapped]) {
    await upload.pinAlone(fromCid(cid), recursivePin)
  }
}

function namesOf(part: BodyPart): string[] {
  const names = part.name.split('/').filter((name) => name !== '')
  if (names.length > 64 || names.some((name) => name === '..')) throw argumentInvalid('path', 'cannot be used')
  return names
}

async function* count(source: AsyncIterable<Uint8Array>, counted: { bytes: number }): AsyncGenerator<Uint8Array> {
  for await (const bytes of source) {
    counted.bytes += bytes.length
    yield bytes
  }
}

function lineOf(name: string, root: FileRoot): object {
  return { Name: name, Hash: root.cid.toString(), Size: String(root.dagSizeBytes) }
}

function entriesOf(tree: Tree): Entry[] {
  return [...tree.entries.values()].filter((entry): entry is Entry => !(entry instanceof Tree))
}

/** The directories in a tree, from the innermost outwards; each takes the place of its own tree. */
async function* makeDirectories(tree: Tree, path: readonly string[], options: FileOptions): AsyncGenerator<object> {
  for (const [name, entry] of tree.entries) {
    if (!(entry instanceof Tree)) continue
    const own = [...path, name]
    yield* makeDirectories(entry, own, options)
    const root = await importDirectory(entriesOf(entry), options)
    tree.entries.set(name, { ...root, name })
    yield lineOf(own.join('/'), root)
  }
}

const unixfsTypes = { directory: 1, file: 2 } as const
const noTime = { Target: '', Mode: 0, ModTime: '0001-01-01T00:00:00Z' }

function addReading(app: FastifyInstance, parts: KuboRouteParts): void {
  const { files } = parts
  addCommand(app, 'cat', async (request, reply) => {
    const get = files.reader(AbortSignal.timeout(readingTimeoutMs), flagOf(request, 'offline'))
    const fetched = new Fetched(parts, request)
    const getBelow = fetched.below(get)
    const nodes: FileNode[] = []
    for (const path of argumentsOf(request, 'ipfs-path')) nodes.push(await files.resolve(parsePath(path), get))
    for (const node of nodes) {
      if (node.type === 'directory') throw notAFile(node.cid.toString())
      await fetched.asked(fromCid(node.cid), await get(node.cid))
    }
    const range = {
      offset: numberOf(request, 'offset') ?? 0,
      length: numberOf(request, 'length') ?? Number.MAX_SAFE_INTEGER,
    }
    const total = nodes.reduce((sum, node) => sum + node.sizeBytes, 0)
    const sizeBytes = Math.max(0, Math.min(range.length, total - range.offset))
    async function* contents(): AsyncGenerator<Uint8Array> {
      let { offset, length } = range
      for (const node of nodes) {
        if (length > 0) yield* readFile(node, getBelow, { offset, length })
        length -= Math.min(length, Math.max(0, node.sizeBytes - offset))
        offset = Math.max(0, offset - node.sizeBytes)
      }
    }
    return await sendBytes(reply, contents(), { type: 'text/plain', sizeBytes })
  })
  addCommand(app, 'ls', async (request) => {
    const get = files.reader(signalOf(request), flagOf(request, 'offline'))
    const Objects = []
    for (const path of argumentsOf(request, 'ipfs-path')) {
      const node = await files.resolve(parsePath(path), get)
      await new Fetched(parts, request).asked(fromCid(node.cid), await get(node.cid))
      const Links = []
      for (const [index, link] of node.links.entries()) {
        const isLeaf = node.type === 'file' || fromCid(link.cid).codec === codecRaw
        const child = isLeaf ? undefined : await files.resolve({ root: link.cid, names: [] }, get)
        const Size = node.linkSizes[index] ?? child?.sizeBytes ?? link.dagSizeBytes
        const Type = unixfsTypes[child?.type ?? 'file']
        Links.push({ Name: link.name, Hash: link.cid.toString(), Size, Type, ...noTime })
      }
      Objects.push({ Hash: path.replace(/^\/ipfs\//, ''), Links })
    }
    return { Objects }
  })
  addCommand(app, 'files/stat', async (request) => {
    const path = argumentOf(request, 'path')
    if (!path.startsWith('/')) throw argumentInvalid('path', 'paths must start with a leading slash')
    if (!path.startsWith('/ipfs/')) throw argumentInvalid('path', 'only /ipfs/ paths: there is no mutable file system')
    const node = await files.resolve(parsePath(path), files.reader(signalOf(request)))
    return {
      Hash: node.cid.toString(),
      Size: node.sizeBytes,
      CumulativeSize: node.dagSizeBytes,
      Blocks: node.links.length,
      Type: node.type,
    }
  })
}

/** A whole file may take this long to be read; a reader that stops is cut off sooner, by the connection's own limit. */
const readingTimeoutMs = 3_600_000

function notAFile(cid: string): StorageError {
  return new StorageError('this dag node is a directory', { code: 'ERR_DAG_INVALID', cid, reason: 'a directory' })
}

function addRefs(app: FastifyInstance, parts: KuboRouteParts): void {
  const { files } = parts
  addCommand(app, 'refs', async (request, reply) => {
    const isUnique = flagOf(request, 'unique')
    const depthMax = flagOf(request, 'recursive') ? Number(optionOf(request, 'max-depth') ?? -1) : 1
    const isEdges = flagOf(request, 'edges')
    const format = isEdges ? '<src> -> <dst>' : (optionOf(request, 'format') ?? '<dst>')
    const signal = signalOf(request)
    const seen = new Set<string>()
    async function* walk(cid: Awaited<ReturnType<typeof rootOf>>, depth: number): AsyncGenerator<object> {
      if (depthMax >= 0 && depth >= depthMax) return
      for (const link of await files.links(fromCid(cid), signal)) {
        const key = link.cid.toString()
        if (isUnique && seen.has(key)) continue
        seen.add(key)
        const Ref = format
          .replaceAll('<src>', cid.toString())
          .replaceAll('<dst>', key)
          .replaceAll('<linkname>', link.name)
        yield { Ref, Err: '' }
        yield* walk(link.cid, depth + 1)
      }
    }
    const rootOf = async (path: string) => {
      const parsed = parsePath(path)
      if (parsed.names.length === 0) return parsed.root
      return (await files.resolve(parsed, files.reader(signal))).cid
    }
    async function* lines(): AsyncGenerator<object> {
      for (const path of argumentsOf(request, 'ipfs-path')) yield* walk(await rootOf(path), 0)
    }
    return await sendLines(reply, lines())
  })
}
