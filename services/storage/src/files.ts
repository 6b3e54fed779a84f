/**
 * Blocks that hang together: files, directories, and other nodes with links. They are put and read through the
 * replicator, a few blocks at a time, whatever their size.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type FileNode, type GetBlock, parseFileNode, readFileNode } from '@healthblock/runtime/unixfs'
import type { CID } from 'multiformats/cid'
import type { Caller } from './access/bearer.ts'
import { type Bringer, Claims } from './claims.ts'
import { linksOf, type NodeLink } from './dag-node.ts'
import { isStorageError, StorageError, type StorageErrorCode } from './errors.ts'
import { assertWriter, headerOf, type PayloadHeader, type PayloadReader } from './ownership.ts'
import { type Made, pinsListedMax, recursivePin } from './replication/pins.ts'
import type { Receipt } from './replication/receipt.ts'
import type { Replicator } from './replication/replicator.ts'
import { type BlockId, codecDagPb, codecRaw, encodeBlockId, fromCid, toCid } from './store/block-id.ts'
import type { BlockStore } from './store/block-store.ts'
import type { PinEntry, PinsListed } from './store/entries.ts'
import type { Reference } from './store/operations.ts'

/** Most blocks of one tree that are walked. */
export const treeBlocksMax = 1_000_000
/** Most links of all pins of an account that are looked through: 64 GiB of files. */
export const pinnedLinksMax = 262_144
/** Deepest first leaf that is looked for. */
const depthMax = 8
const headerTimeoutMs = 5_000
/** How long the pins of an account are looked through at most. */
const pinsTimeoutMs = 30_000

/** A block that cannot be read, and why. */
export interface BadNode {
  readonly cid: string
  readonly reason: string
}

/** What {@link Files} works with. */
export interface FilesOptions {
  replicator: Replicator
  store: BlockStore
  readHeader: PayloadReader
}

/** Who puts a block, and the token that shows it: asked for only where it is needed. */
export interface Putting {
  reference: Reference
  tokenOf: () => string
  /** Called with the time at which it is said again, Unix ms, if a store knows of a release that is later than the reference. */
  onLater?: (at: number) => void
}

/**
 * Codes with which a put is refused that another store may have taken. Where too few are reached, the copy stays at those that have it: the
 * same put again makes it whole.
 */
const partialCodes = ['ERR_QUOTA_EXCEEDED', 'ERR_STORE_FULL', 'ERR_BLOCK_ERASED'] as const

function keyOf(id: BlockId): string {
  return Buffer.from(id.digest).toString('hex')
}

/** Trees of blocks. */
export class Files {
  /** What requests under way may give up again. */
  readonly claims = new Claims<Bringer>()
  readonly #options: FilesOptions

  constructor(options: FilesOptions) {
    this.#options = options
  }

  /**
   * Stores a block for an account.
   *
   * @throws {StorageError} `ERR_NOT_WRITER` for a sealed payload, or a file of one, that is another's; and as {@link Replicator.put}.
   */
  async putBlock(id: BlockId, bytes: Uint8Array, by: Putting): Promise<Receipt[]> {
    const put = (): Promise<Receipt[]> => this.putClaimed(id, bytes, by)
    return await this.claims.keepWhile(by.reference.account, id.digest, put)
  }

  /** As {@link putBlock}, for a request that has taken the block's claim. */
  async putClaimed(id: BlockId, bytes: Uint8Array, { reference, tokenOf, onLater }: Putting): Promise<Receipt[]> {
    const { account, at: since } = reference
    const header = await this.headerOf(id, bytes)
    assertWriter(header, account, id)
    const { replicator } = this.#options
    let at = since
    const saidLater = (later: number): void => {
      at = later
      onLater?.(later)
    }
    try {
      return await replicator.put(id, bytes, reference, { header, onLater: saidLater })
    } catch (error) {
      // One store may have taken what another has no room for.
      const isPartial = partialCodes.some((code) => isStorageError(error, code))
      const made = { account, at, ...(at > since ? { since } : {}) }
      if (isPartial) await replicator.retract(id, { ...made, token: tokenOf() }).catch(() => {})
      throw error
    }
  }

  /** Whose a block is: by its own header, or for a node of a file by that of the file's first leaf. */
  async headerOf(id: BlockId, bytes: Uint8Array): Promise<PayloadHeader | undefined> {
    if (id.codec === codecRaw) return this.#options.readHeader(bytes)
    if (id.codec !== codecDagPb) return undefined
    const signal = AbortSignal.timeout(headerTimeoutMs)
    let [at, node]: [BlockId, Uint8Array] = [id, bytes]
    for (let depth = 0; depth < depthMax; depth++) {
      if (at.codec === codecRaw) return this.#options.readHeader(node)
      const first = firstLink(at, node)
      if (first === undefined) return undefined
      // What is kept with a leaf was read from its own bytes; what is kept with a node another store may have said.
      const here = first.codec === codecRaw ? this.#options.store.stat(first.digest) : undefined
      if (here) return headerOf(here)
      try {
        ;[at, node] = [first, (await this.#options.replicator.read(first, { signal, offline: false })).bytes]
      } catch (error) {
        // A root without its leaves belongs to nobody.
        if (isStorageError(error, 'ERR_BLOCK_NOT_FOUND') || isStorageError(error, 'ERR_BLOCK_ERASED')) return undefined
        throw error
      }
    }
    return undefined
  }

  /** Whose a block is that somebody fetches, as far as this store knows (SPEC.md §5a). */
  async ownerOf(id: BlockId, bytes: Uint8Array): Promise<Uint8Array | undefined> {
    // A sealed payload says so itself, which spares the tables.
    const own = id.codec === codecRaw ? this.#options.readHeader(bytes)?.owner : undefined
    const owner = own ?? this.#options.store.ownerOf(id.digest)
    return owner ?? (await this.headerOf(id, bytes))?.owner
  }

  /** Reads blocks for one command. */
  reader(signal: AbortSignal, offline = false): GetBlock {
    return async (cid) => (await this.#options.replicator.read(fromCid(cid), { signal, offline })).bytes
  }

  /**
   * The file or directory at a path.
   *
   * @throws {StorageError} `ERR_PATH_NOT_FOUND`, `ERR_BLOCK_NOT_FOUND`; {RuntimeError} `ERR_DAG_INVALID`.
   */
  async resolve(path: { root: CID; names: readonly string[] }, get: GetBlock): Promise<FileNode> {
    let node = await readFileNode(path.root, get)
    for (const name of path.names) {
      const link = node.type === 'directory' ? node.links.find((one) => one.name === name) : undefined
      if (!link) {
        const detail = { code: 'ERR_PATH_NOT_FOUND', name, under: node.cid.toString() } as const
        throw new StorageError(`no link named "${name}" under ${node.cid}`, detail)
      }
      node = await readFileNode(link.cid, get)
    }
    return node
  }

  /**
   * Every block under a node, parents first, each once; leaves are named and not read.
   *
   * @throws {StorageError} `ERR_DAG_INVALID` past {@link treeBlocksMax}.
   */
  async *descendants(root: BlockId, signal: AbortSignal, offline = false): AsyncGenerator<BlockId> {
    const seen = new Set([keyOf(root)])
    const waiting: BlockId[][] = [[root]]
    while (waiting.length > 0) {
      const next = waiting.at(-1)?.shift()
      if (next === undefined) {
        waiting.pop()
        continue
      }
      if (next !== root) yield next
      if (next.codec === codecRaw) continue
      const children: BlockId[] = []
      const links = await this.links(next, signal, offline)
      // Others' requests come between any two nodes.
      await nextTurn()
      for (const { cid } of links) {
        const child = fromCid(cid)
        if (seen.has(keyOf(child))) continue
        seen.add(keyOf(child))
        children.push(child)
      }
      if (seen.size > treeBlocksMax) {
        const detail = { code: 'ERR_DAG_INVALID', cid: encodeBlockId(root), reason: 'too many blocks' } as const
        throw new StorageError('the tree has too many blocks', detail)
      }
      waiting.push(children)
    }
  }

  /**
   * What an account gives up with a node: the node, and every block below it but for what a pin of the account keeps by
   * another way than through that node, wherever the pin is.
   *
   * @throws {StorageError} as {@link descendants}; `ERR_BLOCK_NOT_FOUND` if a node on the way is nowhere; `ERR_DAG_INVALID`
   *   if the account's pins cannot be looked through, for one has a node that is nowhere or they are too many: then nothing
   *   is to be given up.
   */
  async withoutPinned(root: BlockId, account: Uint8Array, signal: AbortSignal): Promise<BlockId[]> {
    const below: BlockId[] = []
    for await (const one of this.descendants(root, signal)) below.push(one)
    if (below.length === 0) return [root]
    const kept = await this.#keptByPins(new Set(below.map(keyOf)), root, account, signal)
    return [root, ...below.filter((one) => !kept.has(keyOf(one)))]
  }

  /** Of blocks below a node, those that an account's pins keep. Nothing is held in memory of what the pins have else but their nodes. */
  async #keptByPins(
    below: ReadonlySet<string>,
    root: BlockId,
    account: Uint8Array,
    signal: AbortSignal,
  ): Promise<Set<string>> {
    const pins = await this.pinsOf(account)
    const kept = new Set<string>()
    // What is there only through the node that goes is not kept.
    const walked = new Set([keyOf(root)])
    for (const pin of pins) if (keyOf(pin) !== keyOf(root) && below.has(keyOf(pin))) kept.add(keyOf(pin))
    const linksOf = (node: BlockId, pin: BlockId): Promise<BlockId[]> =>
      this.#linksOfPinned(node, { pin, account, signal })
    for await (const { children } of this.#underPins(root, pins, walked, linksOf)) {
      signal.throwIfAborted()
      for (const key of children.map(keyOf)) if (below.has(key) && key !== keyOf(root)) kept.add(key)
      if (kept.size >= below.size) break
    }
    return kept
  }

  /**
   * Walks what recursive pins hold, each node once; leaves are named and not read.
   *
   * @param root - what is asked about. @param walked - nodes at which the walk ends; those that it comes to are added.
   * @throws {StorageError} `ERR_DAG_INVALID` past {@link pinnedLinksMax} links.
   */
  async *#underPins(
    root: BlockId,
    pins: readonly PinEntry[],
    walked: Set<string>,
    linksOf: (node: BlockId, pin: BlockId) => Promise<BlockId[]>,
  ): AsyncGenerator<{ pin: BlockId; children: BlockId[] }> {
    let links = 0
    for (const pin of pins) {
      const waiting = pin.pin === recursivePin ? [{ digest: pin.digest, codec: pin.codec }] : []
      for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
        if (node.codec === codecRaw || walked.has(keyOf(node))) continue
        walked.add(keyOf(node))
        const children = await linksOf(node, pin)
        links += children.length
        if (links > pinnedLinksMax) throw tooManyPinned(root)
        waiting.push(...children.filter(({ codec }) => codec !== codecRaw))
        yield { pin, children }
        // Others' requests come between any two nodes.
        await nextTurn()
      }
    }
  }

  /** What a node under a pin links to; nothing if it is gone because its owner has erased it, or the account itself. */
  async #linksOfPinned(
    node: BlockId,
    { pin, account, signal }: { pin: BlockId; account: Uint8Array; signal: AbortSignal },
  ): Promise<BlockId[]> {
    try {
      return (await this.links(node, signal)).map(({ cid }) => fromCid(cid))
    } catch (error) {
      if (isStorageError(error, 'ERR_BLOCK_ERASED')) return []
      if (!isStorageError(error, 'ERR_BLOCK_NOT_FOUND')) throw error
      if (this.#options.store.releasedAt(node.digest, account) !== undefined) return []
      const cid = encodeBlockId(pin)
      const reason = `${encodeBlockId(node)} is nowhere`
      const message = `what the pin ${cid} keeps cannot be looked through: ${reason}`
      throw new StorageError(message, { code: 'ERR_DAG_INVALID', cid, reason }, { cause: error })
    }
  }

  /** What a node links to. */
  async links(id: BlockId, signal: AbortSignal, offline = false): Promise<NodeLink[]> {
    if (id.codec === codecRaw) return []
    return linksOf(id, (await this.#options.replicator.read(id, { signal, offline })).bytes)
  }

  /**
   * Pins a node and keeps everything under it for an account.
   *
   * @param broughtAt - when the same request has put a block, if it has: the account keeps that already, at each store that has it.
   * @returns what was referenced for that, and when it was pinned, Unix ms.
   * @throws {StorageError} `ERR_BLOCK_NOT_FOUND` if one of them is nowhere, and as `Pins.add`; nothing is kept for it then.
   */
  async pinTree(
    root: BlockId,
    caller: Caller,
    signal: AbortSignal,
    broughtAt: (id: BlockId) => number | undefined = () => undefined,
  ): Promise<{ made: Made[]; at: number }> {
    const { pins } = this.#options.replicator
    const made: Made[] = []
    try {
      for await (const id of this.descendants(root, signal)) {
        if (broughtAt(id) === undefined) made.push(await pins.refer(id, caller))
      }
      return { made, at: await pins.add(root, caller, recursivePin, broughtAt(root)) }
    } catch (error) {
      await pins.takeBack(made, caller)
      throw error
    }
  }

  /**
   * Of blocks, those that recursive pins of an account hold below their roots, by their digests in hex, each with such a root
   * as a CID. One walk looks for all of them.
   *
   * @throws {StorageError} `ERR_DAG_INVALID` if the account has pinned more recursively than can be looked through.
   */
  async rootsOf(ids: readonly BlockId[], account: Uint8Array): Promise<Map<string, string>> {
    const [first] = ids
    const roots = new Map<string, string>()
    if (first === undefined) return roots
    const pins = await this.pinsOf(account, 'recursive')
    const wanted = new Set(ids.map(keyOf))
    const signal = AbortSignal.timeout(pinsTimeoutMs)
    const linksOf = async (node: BlockId): Promise<BlockId[]> => {
      if (signal.aborted) throw tooManyPinned(first)
      const limit = AbortSignal.any([signal, AbortSignal.timeout(headerTimeoutMs)])
      // What nobody has holds nothing.
      return await this.#linksUnless(['ERR_BLOCK_NOT_FOUND', 'ERR_BLOCK_ERASED'], node, limit)
    }
    for await (const { pin, children } of this.#underPins(first, pins, new Set(), linksOf)) {
      for (const key of children.map(keyOf)) if (wanted.delete(key)) roots.set(key, encodeBlockId(pin))
      if (wanted.size === 0) break
    }
    return roots
  }

  /**
   * An account's pins, or its recursive ones.
   *
   * @throws {StorageError} `ERR_DAG_INVALID` if they are too many to be listed.
   */
  async pinsOf(account: Uint8Array, kind: PinsListed = 'all'): Promise<PinEntry[]> {
    const pins = await this.#options.replicator.pins.list(account, kind)
    const [first] = pins
    if (first !== undefined && pins.length >= pinsListedMax) throw tooManyPinned(first)
    return pins
  }

  /**
   * What recursive pins hold below their roots and no pin names itself, each once; leaves are named and not read.
   *
   * @throws {StorageError} `ERR_DAG_INVALID` past {@link pinnedLinksMax} links; `ERR_BLOCK_NOT_FOUND` if a node is nowhere.
   * @throws the signal's reason when it aborts.
   */
  async belowPins(pins: readonly PinEntry[], signal: AbortSignal): Promise<BlockId[]> {
    const [first] = pins
    if (first === undefined) return []
    const known = new Set(pins.map(keyOf))
    const below: BlockId[] = []
    const linksOf = (node: BlockId): Promise<BlockId[]> => this.#linksUnless(['ERR_BLOCK_ERASED'], node, signal)
    for await (const { children } of this.#underPins(first, pins, new Set(), linksOf)) {
      signal.throwIfAborted()
      for (const child of children) {
        if (known.has(keyOf(child))) continue
        known.add(keyOf(child))
        below.push(child)
      }
    }
    return below
  }

  /** What a node links to; nothing where it cannot be read for one of these reasons. */
  async #linksUnless(codes: readonly StorageErrorCode[], node: BlockId, signal: AbortSignal): Promise<BlockId[]> {
    try {
      return (await this.links(node, signal)).map(({ cid }) => fromCid(cid))
    } catch (error) {
      if (codes.some((code) => isStorageError(error, code))) return []
      throw error
    }
  }

  /** Walks what pins hold, as far as it is there. @throws {StorageError} `ERR_DAG_INVALID` past {@link pinnedLinksMax} links. */
  async #assertWalkable(first: PinEntry, pins: readonly PinEntry[], signal: AbortSignal): Promise<void> {
    const unread = ['ERR_BLOCK_ERASED', 'ERR_BLOCK_NOT_FOUND', 'ERR_DAG_INVALID'] as const
    const linksOf = (node: BlockId): Promise<BlockId[]> => this.#linksUnless(unread, node, signal)
    for await (const _ of this.#underPins(first, pins, new Set(), linksOf)) signal.throwIfAborted()
  }

  /**
   * Of each pin, the blocks that no store has, with the reason. What lies whole below one pin is not read again below another.
   *
   * @throws {StorageError} `ERR_DAG_INVALID` past {@link pinnedLinksMax} links.
   * @throws the signal's reason when it aborts.
   */
  async *missing(pins: readonly PinEntry[], signal: AbortSignal): AsyncGenerator<{ pin: PinEntry; bad: BadNode[] }> {
    const [first] = pins
    if (first === undefined) return
    // Before the first answer, which nothing but the connection's end could take back.
    await this.#assertWalkable(first, pins, signal)
    const whole = new Set<string>()
    let links = 0
    for (const pin of pins) {
      const bad: BadNode[] = []
      const seen = new Set<string>()
      const waiting: BlockId[] = [{ digest: pin.digest, codec: pin.codec }]
      for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
        if (whole.has(keyOf(node)) || seen.has(keyOf(node))) continue
        seen.add(keyOf(node))
        const children = await this.#linksOrBad(node, bad, signal)
        // Others' requests come between any two blocks.
        await nextTurn()
        signal.throwIfAborted()
        if (pin.pin !== recursivePin) break
        links += children.length
        if (links > pinnedLinksMax) throw tooManyPinned(pin)
        for (const child of children) waiting.push(child)
      }
      if (pin.pin === recursivePin && bad.length === 0) for (const key of seen) whole.add(key)
      yield { pin, bad }
    }
  }

  /** Reads a block, whatever its codec, and says what it links to; nothing if it cannot be read, which goes on a list. */
  async #linksOrBad(node: BlockId, bad: BadNode[], signal: AbortSignal): Promise<BlockId[]> {
    try {
      const { bytes } = await this.#options.replicator.read(node, { signal, offline: false })
      return linksOf(node, bytes).map(({ cid }) => fromCid(cid))
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      bad.push({ cid: encodeBlockId(node), reason: error.message })
      return []
    }
  }
}

function tooManyPinned(root: BlockId): StorageError {
  const detail = { code: 'ERR_DAG_INVALID', cid: encodeBlockId(root), reason: 'too much is pinned' } as const
  return new StorageError('the account has pinned too much to be looked through: take pins away first', detail)
}

/** The first link of a file's node; undefined for anything else. */
function firstLink(id: BlockId, bytes: Uint8Array): BlockId | undefined {
  try {
    const { type, links } = parseFileNode(toCid(id), bytes)
    const [link] = links
    return type === 'file' && link ? fromCid(link.cid) : undefined
  } catch {
    return undefined
  }
}
