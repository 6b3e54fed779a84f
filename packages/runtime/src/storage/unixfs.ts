/**
 * Files as IPFS keeps them: UnixFS nodes in dag-pb, leaves of 256 KiB, balanced trees of at most 174 links a node, the
 * form that every IPFS implementation gives the same bytes. A file of any size is built and read with a few blocks in
 * memory. The formats are `ipfs-unixfs` and `@ipld/dag-pb`; the two walks are here, because the packages that bring
 * them (`ipfs-unixfs-importer`, `-exporter`) add 39 packages and 10 MB to a service, and are what the tests compare with.
 */
import { createHash } from 'node:crypto'
import * as dagPb from '@ipld/dag-pb'
import { UnixFS } from 'ipfs-unixfs'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'
import { RuntimeError } from '../errors.ts'

/** Bytes of a leaf. */
export const leafSizeBytes = 256 * 1024
/** Links of a node. */
export const nodeLinksMax = 174
/** Deepest tree that is read: 174^6 leaves and more. */
const depthMax = 8
/** Nodes with more links than this are not read: a block of 2 MiB holds no more that mean anything. */
const linksReadMax = 50_000
/** Leaves that are fetched ahead of the reader, and blocks that are put while the next ones are made. */
const blocksAhead = 4

const rawCode = 0x55
const sha256Code = 0x12

/** A block of a file and its address. */
export interface DagBlock {
  readonly cid: CID
  readonly bytes: Uint8Array
}

/** A file as its root has it. */
export interface FileRoot {
  readonly cid: CID
  /** Bytes of the file. */
  readonly sizeBytes: number
  /** Bytes of all its blocks. */
  readonly dagSizeBytes: number
}

/** How a file is built. */
export interface FileOptions {
  /** Keeps a block; the file's root comes last, after every other block is kept. */
  readonly put: (block: DagBlock) => Promise<void>
  /** Version of the CIDs, default 1. */
  readonly cidVersion?: 0 | 1
  /** Leaves are bare bytes, not UnixFS nodes; default true for version 1. */
  readonly rawLeaves?: boolean
  /** Bytes of a leaf, default {@link leafSizeBytes}. */
  readonly leafBytes?: number
  /** A file of one leaf gets a node above it, so that its root is dag-pb whatever its size; default false. */
  readonly isAlwaysNode?: boolean
}

interface Child {
  readonly cid: CID
  readonly sizeBytes: number
  readonly dagSizeBytes: number
}

function invalid(cid: CID, reason: string): RuntimeError {
  return new RuntimeError(`${cid}: ${reason}`, { code: 'ERR_DAG_INVALID', cid: cid.toString(), reason })
}

function cidOf(bytes: Uint8Array, code: number, version: 0 | 1): CID {
  const digest = createDigest(sha256Code, new Uint8Array(createHash('sha256').update(bytes).digest()))
  // Version 0 can say dag-pb only.
  return version === 0 && code === dagPb.code ? CID.createV0(digest) : CID.createV1(code, digest)
}

/** The address of a block of a file, by its SHA-256. */
export function fileCid(digest: Uint8Array, codec: 'raw' | 'dag-pb'): CID {
  return CID.createV1(codec === 'raw' ? rawCode : dagPb.code, createDigest(sha256Code, digest))
}

/** SHA-256 and codec of a block of a file, as a storage client asks for it. */
export function blockOf(cid: CID): { digest: Uint8Array; codec: 'raw' | 'dag-pb' } {
  return { digest: cid.multihash.digest, codec: cid.code === rawCode ? 'raw' : 'dag-pb' }
}

/** Builds the tree of one file, leaf by leaf. */
export class FileBuilder {
  readonly #options: FileOptions
  readonly #version: 0 | 1
  readonly #rawLeaves: boolean
  /** Children that wait for their parent, by height above the leaves; each list is shorter than a node. */
  readonly #levels: Child[][] = [[]]
  readonly #puts = new Set<Promise<void>>()
  #failed: { error: unknown } | undefined
  #leaves = 0

  constructor(options: FileOptions) {
    this.#options = options
    this.#version = options.cidVersion ?? 1
    this.#rawLeaves = options.rawLeaves ?? this.#version === 1
  }

  /** Adds the next leaf: a whole one, or the last. The bytes may be used again when the promise resolves. */
  async add(bytes: Uint8Array): Promise<void> {
    this.#leaves++
    await this.#push(0, this.#rawLeaves ? await this.#put(bytes.slice(), rawCode) : await this.#putNode([], bytes))
  }

  /** Adds the next leaf, a raw block that is kept already. */
  async addKept(cid: CID, sizeBytes: number): Promise<void> {
    this.#leaves++
    await this.#push(0, { cid, sizeBytes, dagSizeBytes: sizeBytes })
  }

  async #push(height: number, child: Child): Promise<void> {
    const level = this.#levels[height] as Child[]
    level.push(child)
    if (level.length < nodeLinksMax) return
    await this.#close(height)
  }

  /** Puts the node over the children of a height. */
  async #close(height: number): Promise<void> {
    const children = this.#levels[height] as Child[]
    this.#levels[height] = []
    this.#levels[height + 1] ??= []
    await this.#push(height + 1, await this.#putNode(children))
  }

  /**
   * The root, once every block is kept.
   *
   * @throws whatever the first failed put threw.
   */
  async finish(): Promise<FileRoot> {
    if (this.#leaves === 0) await this.add(new Uint8Array(0))
    for (let height = 0; height < this.#levels.length; height++) {
      const level = this.#levels[height] as Child[]
      const isTop = height === this.#levels.length - 1
      const isBareLeaf = height === 0 && this.#options.isAlwaysNode === true
      if (isTop && level.length === 1 && !isBareLeaf) break
      if (level.length > 0) await this.#close(height)
    }
    await this.#settle(0)
    return (this.#levels.at(-1) as Child[])[0] as Child
  }

  async #putNode(children: readonly Child[], data?: Uint8Array): Promise<Child> {
    const unixfs = new UnixFS({ type: 'file', ...(data === undefined ? {} : { data }) })
    for (const { sizeBytes } of children) unixfs.addBlockSize(BigInt(sizeBytes))
    const Links = children.map(({ cid, dagSizeBytes }) => ({ Name: '', Hash: cid, Tsize: dagSizeBytes }))
    const bytes = dagPb.encode({ Data: unixfs.marshal(), Links })
    // A parent is kept after its children: whoever finds a root finds the file.
    if (children.length > 0) await this.#settle(0)
    const own = await this.#put(bytes, dagPb.code)
    const sum = (of: (child: Child) => number): number => children.reduce((total, child) => total + of(child), 0)
    return {
      cid: own.cid,
      sizeBytes: data?.length ?? sum(({ sizeBytes }) => sizeBytes),
      dagSizeBytes: bytes.length + sum(({ dagSizeBytes }) => dagSizeBytes),
    }
  }

  async #put(bytes: Uint8Array, code: number): Promise<Child> {
    const cid = cidOf(bytes, code, this.#version)
    const put = this.#options.put({ cid, bytes }).then(
      () => {
        this.#puts.delete(put)
      },
      (error: unknown) => {
        this.#puts.delete(put)
        this.#failed ??= { error }
      },
    )
    this.#puts.add(put)
    await this.#settle(blocksAhead - 1)
    return { cid, sizeBytes: bytes.length, dagSizeBytes: bytes.length }
  }

  /** Waits until at most `count` puts are under way. */
  async #settle(count: number): Promise<void> {
    while (this.#puts.size > count) await Promise.race(this.#puts)
    if (this.#failed !== undefined) throw this.#failed.error
  }
}

/** Cuts a stream of bytes into pieces of `sizeBytes`, the last one shorter; each is a view that the next one overwrites. */
export async function* cutStream(source: AsyncIterable<Uint8Array>, sizeBytes: number): AsyncGenerator<Uint8Array> {
  const piece = new Uint8Array(sizeBytes)
  let filled = 0
  for await (const bytes of source) {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + sizeBytes - filled)
      piece.set(part, filled)
      filled += part.length
      at += part.length
      if (filled < sizeBytes) continue
      yield piece
      filled = 0
    }
  }
  if (filled > 0) yield piece.subarray(0, filled)
}

/** Builds a file from a stream of bytes. @throws whatever the source or a put throws. */
export async function importFile(source: AsyncIterable<Uint8Array>, options: FileOptions): Promise<FileRoot> {
  const builder = new FileBuilder(options)
  for await (const leaf of cutStream(source, options.leafBytes ?? leafSizeBytes)) await builder.add(leaf)
  return builder.finish()
}

/** A directory's node over entries that are kept already. @throws {RuntimeError} `ERR_LIMIT_EXCEEDED` past one block. */
export async function importDirectory(
  entries: readonly (FileRoot & { name: string })[],
  options: FileOptions,
): Promise<FileRoot> {
  const Links = entries.map(({ name, cid, dagSizeBytes }) => ({ Name: name, Hash: cid, Tsize: dagSizeBytes }))
  const node = { Data: new UnixFS({ type: 'directory' }).marshal(), Links }
  const bytes = dagPb.encode(dagPb.prepare(node))
  if (bytes.length > leafSizeBytes) {
    const detail = { code: 'ERR_LIMIT_EXCEEDED', limit: 'directory', max: leafSizeBytes } as const
    throw new RuntimeError('a directory must fit into one block of 256 KiB', detail)
  }
  const cid = cidOf(bytes, dagPb.code, options.cidVersion ?? 1)
  await options.put({ cid, bytes })
  const dagSizeBytes = entries.reduce((total, entry) => total + entry.dagSizeBytes, bytes.length)
  return { cid, sizeBytes: 0, dagSizeBytes }
}

/** Gets a block's verified bytes. */
export type GetBlock = (cid: CID) => Promise<Uint8Array>

/** A node of a file or directory, read. */
export interface FileNode {
  readonly cid: CID
  readonly type: 'file' | 'directory'
  /** Bytes of the file; 0 for a directory. */
  readonly sizeBytes: number
  /** Bytes of all its blocks. */
  readonly dagSizeBytes: number
  readonly links: readonly { readonly name: string; readonly cid: CID; readonly dagSizeBytes: number }[]
  /** For a file, the bytes of the file under each link. */
  readonly linkSizes: readonly number[]
  /** What the node itself holds of the file. */
  readonly data: Uint8Array
}

/**
 * Reads one node; a raw block is a file of one leaf.
 *
 * @throws {RuntimeError} `ERR_DAG_INVALID` for another codec, malformed bytes, and sharded directories.
 */
export function parseFileNode(cid: CID, bytes: Uint8Array): FileNode {
  const whole = { cid, sizeBytes: bytes.length, dagSizeBytes: bytes.length, links: [], linkSizes: [] }
  if (cid.code === rawCode) return { ...whole, type: 'file', data: bytes }
  if (cid.code !== dagPb.code) throw invalid(cid, 'neither a file nor a directory')
  let node: dagPb.PBNode
  let unixfs: UnixFS
  try {
    node = dagPb.decode(bytes)
    unixfs = UnixFS.unmarshal(node.Data ?? new Uint8Array(0))
  } catch (cause) {
    const detail = { code: 'ERR_DAG_INVALID', cid: cid.toString(), reason: 'malformed' } as const
    throw new RuntimeError(`${cid}: malformed`, detail, { cause })
  }
  if (node.Links.length > linksReadMax) throw invalid(cid, 'too many links')
  const links = node.Links.map(({ Name, Hash, Tsize }) => ({ name: Name ?? '', cid: Hash, dagSizeBytes: Tsize ?? 0 }))
  const dagSizeBytes = links.reduce((total, link) => total + link.dagSizeBytes, bytes.length)
  if (unixfs.type === 'directory') {
    return { cid, type: 'directory', sizeBytes: 0, dagSizeBytes, links, linkSizes: [], data: new Uint8Array(0) }
  }
  if (unixfs.type !== 'file' && unixfs.type !== 'raw') throw invalid(cid, `a ${unixfs.type} is not read here`)
  const data = unixfs.data ?? new Uint8Array(0)
  const linkSizes = unixfs.blockSizes.map(Number)
  if (linkSizes.length !== links.length) throw invalid(cid, 'sizes and links differ in number')
  const sizeBytes = linkSizes.reduce((total, size) => total + size, data.length)
  if (!Number.isSafeInteger(sizeBytes) || linkSizes.some((size) => size < 0)) throw invalid(cid, 'sizes out of range')
  return { cid, type: 'file', sizeBytes, dagSizeBytes, links, linkSizes, data }
}

/** Gets and reads a node. Throws as {@link parseFileNode} and `get`. */
export async function readFileNode(cid: CID, get: GetBlock): Promise<FileNode> {
  return parseFileNode(cid, await get(cid))
}

/** The leaves of a range, in order, each as a function that fetches it: nothing but the nodes above them is read. */
async function* leavesOf(
  node: FileNode,
  span: { from: number; to: number; depth: number },
  get: GetBlock,
): AsyncGenerator<() => Promise<Uint8Array>> {
  if (span.depth > depthMax) throw invalid(node.cid, 'nested too deeply')
  let at = node.data.length
  if (span.from < at && span.to > 0) {
    yield async () => node.data.subarray(Math.max(0, span.from), Math.min(at, span.to))
  }
  for (const [index, { cid }] of node.links.entries()) {
    const size = node.linkSizes[index] as number
    const start = at
    at += size
    if (at <= span.from || start >= span.to) continue
    const [from, to] = [Math.max(0, span.from - start), Math.min(size, span.to - start)]
    if (cid.code === rawCode) {
      yield async () => {
        const bytes = await get(cid)
        if (bytes.length !== size) throw invalid(cid, 'another size than its parent says')
        return bytes.subarray(from, to)
      }
      continue
    }
    const child = await readFileNode(cid, get)
    if (child.type !== 'file' || child.sizeBytes !== size) throw invalid(cid, 'another size than its parent says')
    yield* leavesOf(child, { from, to, depth: span.depth + 1 }, get)
  }
}

/**
 * The bytes of a file, or of a range of it, in pieces of at most one leaf; a few leaves are fetched ahead.
 *
 * @param range.offset - from this byte on, default 0; @param range.length - so many, default to the end.
 * @throws {RuntimeError} `ERR_DAG_INVALID`; and whatever `get` throws.
 */
export async function* readFile(
  root: FileNode,
  get: GetBlock,
  range: { offset?: number; length?: number } = {},
): AsyncGenerator<Uint8Array> {
  if (root.type !== 'file') throw invalid(root.cid, 'this dag node is a directory')
  const from = Math.min(root.sizeBytes, range.offset ?? 0)
  const to = Math.min(root.sizeBytes, from + (range.length ?? root.sizeBytes))
  const waiting: Promise<Uint8Array>[] = []
  for await (const fetchLeaf of leavesOf(root, { from, to, depth: 0 }, get)) {
    const leaf = fetchLeaf()
    // It may fail while an earlier one is awaited; whoever reaches it hears of it.
    leaf.catch(() => {})
    waiting.push(leaf)
    if (waiting.length >= blocksAhead) yield await (waiting.shift() as Promise<Uint8Array>)
  }
  for (const leaf of waiting) yield await leaf
}
