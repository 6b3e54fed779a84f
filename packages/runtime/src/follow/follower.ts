/**
 * A verified follower of the ledger. It believes no node: blocks are taken only if their leaves lead to a Merkle root that
 * a quorum of the policy cosigned, and are then executed, block by block, over a durable state of its own. It never goes
 * back. A node whose blocks fail is left alone; a quorum that signed another history than the one followed is a conflict,
 * upon which the follower stops for good and says so.
 *
 * Consumers get every block at least once, in order, each with a cursor that they keep with what they made of it.
 */
import type { ChainHead, Ledger } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import type { LogPolicy, VerifiedCheckpoint } from '@healthblock/chain/checkpoint'
import { type Genesis, parseGenesis } from '@healthblock/chain/genesis'
import { parseHead } from '@healthblock/chain/head'
import { CompactRange } from '@healthblock/chain/merkle'
import { logPolicyOf } from '@healthblock/chain/policy'
import { leafKind, parseTransactionLeaf } from '@healthblock/chain/transaction'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { ensureFolder } from '../disk/files.ts'
import { codeOf, isLocalFault, isRuntimeError, messageOf, RuntimeError } from '../errors.ts'
import type { ReadinessCheck } from '../http/http-app.ts'
import { misbehaved } from '../http/http-client.ts'
import { type BlockFrame, LedgerClient, type LedgerTrust } from '../ledger/ledger-client.ts'
import { appendFrames, isPrefix, provedRootAt, subtreesOf } from '../ledger/ledger-page.ts'
import { pause } from '../process/pauses.ts'
import type { SqliteChainStore } from '../state/ledger-stores.ts'
import { followedBlock } from './followed-block.ts'
import { decodeCursor } from './follower-cursor.ts'
import { finalFault, readinessOf, refusalOf } from './follower-faults.ts'
import { openLedger, removeStores } from './follower-files.ts'
import { followerTrust } from './follower-trust.ts'
import type { FollowedBlock, FollowerEvent, FollowerOptions, Freshness } from './follower-types.ts'
import { RecentBlocks } from './recent-blocks.ts'
import { StreamTurns } from './stream-turns.ts'

export type { FollowedBlock, FollowerEvent, FollowerOptions, Freshness } from './follower-types.ts'

/** A checkpoint whose quorum is older than this is stale: another node is asked. */
export const staleAfterMs = 150_000
/** How often a follower asks whether it is still up to date while a stream is silent. */
const pollMs = 30_000
const retryMsMin = 250
const retryMsMax = 15_000

interface Chain {
  readonly name: ChainName
  readonly store: SqliteChainStore
  /** The tail of what was applied. */
  readonly recent: RecentBlocks
  cosignedMs: number | undefined
  publishedSize: number
  /** How all nodes that answered turned this one away when it last caught up; undefined if one did not. */
  turnedAway: string | undefined
  /** Ends when whoever applies blocks now is done. */
  busy: Promise<unknown>
  /** The stream that is listened to, and the size to which it led. */
  stream: { readonly end: AbortController; size: number } | undefined
}

/** Follows both chains, or Userchain alone. */
export class LedgerFollower {
  readonly genesis: Genesis
  /** The executed ledger at its verified heads: read from it, never build or commit. */
  readonly ledger: Ledger
  /** Whose word counts, by the verified state. */
  readonly trust: LedgerTrust
  /** A client with that trust, to be shared with an outbox. */
  readonly client: LedgerClient
  readonly #options: FollowerOptions
  readonly #now: () => number
  readonly #chains: Readonly<Record<ChainName, Chain>>
  readonly #stop = new AbortController()
  readonly #listeners = new Set<() => void>()
  #halted: RuntimeError | undefined
  #running: Promise<unknown> | undefined

  private constructor(options: FollowerOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    ensureFolder(options.dir)
    this.genesis = parseGenesis(options.genesis)
    const { ledger, stores } = openLedger(options)
    this.ledger = ledger
    const chain = (name: ChainName): Chain => {
      const store = stores[name]
      return {
        name,
        store,
        recent: new RecentBlocks(),
        cosignedMs: undefined,
        publishedSize: 0,
        turnedAway: undefined,
        busy: Promise.resolve(),
        stream: undefined,
      }
    }
    this.#chains = { userchain: chain('userchain'), docchain: chain('docchain') }
    this.trust = followerTrust(this.genesis, this.ledger)
    this.client = new LedgerClient({
      urls: options.urls,
      trust: this.trust,
      token: options.token,
      now: this.#now,
      onQuarantine: (event) => this.#emit({ type: 'quarantine', ...event }),
      ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
    })
  }

  /**
   * Opens a follower where it stood. It asks nobody before `catchUp`, `start` or `follow`. Damaged files are emptied: what they held
   * follows from the ledger, and is fetched and verified again.
   *
   * @throws {RuntimeError} as `openDatabase`, but for `ERR_DATABASE_CORRUPT`; {ChainError} `ERR_GENESIS_INVALID`.
   */
  static open(options: FollowerOptions): LedgerFollower {
    try {
      return new LedgerFollower(options)
    } catch (error) {
      const code = codeOf(error)
      if (code !== 'ERR_DATABASE_CORRUPT' && code !== 'ERR_STATE_CORRUPT') throw error
      removeStores(options.dir)
      const follower = new LedgerFollower(options)
      follower.#emit({ type: 'rebuilt', reason: messageOf(error) })
      return follower
    }
  }

  /** Chains that are followed. */
  get #names(): readonly ChainName[] {
    return this.#options.docchain === false ? ['userchain'] : ['userchain', 'docchain']
  }

  /** The verified head of a chain. */
  head(chain: ChainName): ChainHead {
    return this.ledger.head(chain)
  }

  /** The policy in force for a chain's checkpoints, by the verified state. */
  policy(chain: ChainName): LogPolicy {
    return logPolicyOf(this.ledger.policy(chain), chain)
  }

  /** An account's live public key (0 root, 1 op, 2 node or store key), by the verified state: for `createTokenGuard`. */
  readonly keyOf = (account: Uint8Array, keyNumber: number): Uint8Array | undefined =>
    this.ledger.accountKey(account, keyNumber)

  /** The key of a store of the policy in force: for `StorageClient`. */
  readonly storeKeyOf = (account: Uint8Array): Uint8Array | undefined =>
    this.ledger.policy('userchain').stores.find((store) => equalBytes(store[1], account))?.[2]

  /** How up to date a chain is: for readiness. */
  freshness(chain: ChainName): Freshness {
    const { cosignedMs, publishedSize } = this.#chains[chain]
    const appliedSize = this.head(chain).size
    const old = cosignedMs === undefined || this.#now() - cosignedMs > staleAfterMs
    const stale = old || appliedSize < publishedSize
    return { stale, appliedSize, publishedSize, ...(cosignedMs === undefined ? {} : { cosignedMs }) }
  }

  /** True while every accounting node that answers turns this one away as a reader: its clock is wrong, or its key is not in force. */
  readonly isTurnedAway = (): boolean => this.#chains.userchain.turnedAway !== undefined

  /**
   * For `/readyz`: whether the ledger takes this node as a reader, and nothing that it published is yet to be applied. One that nobody can reach
   * is no reason: the node works on without it.
   */
  readiness(): readonly ReadinessCheck[] {
    return this.#names.map((name) => {
      const away = this.#halted?.message ?? this.#chains[name].turnedAway
      return readinessOf(name, this.freshness(name), away)
    })
  }

  /**
   * Applies everything that is published, as the first node says that can prove it.
   *
   * @throws {RuntimeError} `ERR_NO_SOURCE`; `ERR_LEDGER_CONFLICT` or `ERR_LEDGER_INVALID`, after which the follower does nothing more.
   */
  async catchUp(options: { chain?: ChainName; signal?: AbortSignal } = {}): Promise<void> {
    const { signal } = options
    if (options.chain !== 'docchain') await this.#catchUpChain('userchain', signal)
    if (options.chain !== 'userchain' && this.#options.docchain !== false) await this.#catchUpChain('docchain', signal)
  }

  /** Begins to follow in the background, until `close`. */
  start(): void {
    if (this.#running !== undefined) return
    this.#running = Promise.all(this.#names.flatMap((name) => [this.#keepUp(name), this.#poll(name)]))
  }

  /**
   * Gives a consumer every block after its cursor, in order, one at a time, for ever: those applied earlier are fetched
   * again and checked against what was verified. A block whose handler did not return is given again next time; at once, after a pause, if
   * a fault of this machine's disk was the cause.
   *
   * @param options - `cursor`: of the last block that the consumer is done with; from block 0 if absent. The state of `ledger` may be ahead
   *   of the block given. A cursor beyond this follower's head (its files were lost) waits until that is caught up.
   * @returns When the signal aborts.
   * @throws What `onBlock` throws, unless it is `ERR_DISK_FULL`, `ERR_DATABASE_FAILED` or `ERR_FILE_FAILED`; {RuntimeError} `ERR_CURSOR_INVALID`, `ERR_LEDGER_CONFLICT`, `ERR_LEDGER_INVALID`.
   */
  async follow(options: {
    chain: ChainName
    cursor?: Uint8Array | undefined
    onBlock: (block: FollowedBlock) => void | Promise<void>
    signal: AbortSignal
  }): Promise<void> {
    const { chain, onBlock } = options
    const signal = AbortSignal.any([options.signal, this.#stop.signal])
    let at = await this.#startAt(chain, options.cursor, signal)
    let pauseMs = retryMsMin
    while (!signal.aborted) {
      this.#assertWell()
      if (at.range.size === this.head(chain).size) {
        await this.#changed(chain, at.range.size, signal)
        continue
      }
      try {
        for (const block of await this.#blocksAfter(chain, at, signal)) {
          await onBlock(block)
          at = this.#parseCursor(chain, block.cursor)
          pauseMs = retryMsMin
          if (signal.aborted) return
        }
      } catch (error) {
        if (signal.aborted) return
        const isAway = isRuntimeError(error, 'ERR_NO_SOURCE') || isRuntimeError(error, 'ERR_SOURCE_REFUSED')
        if (!isAway && !isLocalFault(error)) throw error
        if (!isAway)
          this.#options.logger.error({ chain, err: error }, 'a block could not be taken in; it will be tried again')
        await pause(pauseMs, signal)
        pauseMs = Math.min(retryMsMax, pauseMs * 2)
      }
    }
  }

  /**
   * Calls `listener` after each block of a chain that was applied, with the state of `ledger` at that block. It must not throw.
   *
   * @returns The function that ends it.
   */
  onChange(chain: ChainName, listener: () => void): () => void {
    let { size } = this.head(chain)
    const check = (): void => {
      if (this.head(chain).size === size) return
      size = this.head(chain).size
      listener()
    }
    this.#listeners.add(check)
    return () => this.#listeners.delete(check)
  }

  /** Stops following and closes the files. */
  async close(): Promise<void> {
    this.#stop.abort(new RuntimeError('the follower is closed', { code: 'ERR_CLOSED', what: 'follower' }))
    this.#wake()
    await this.#running
    for (const chain of Object.values(this.#chains)) {
      await chain.busy.catch(() => {})
      chain.store.close()
    }
  }

  #emit(event: FollowerEvent): void {
    const fields =
      event.type === 'conflict' || event.type === 'invalid'
        ? { chain: event.chain, url: event.url, err: event.error }
        : { ...event }
    this.#options.logger.warn(fields, `follower: ${event.type}`)
    this.#options.onEvent?.(event)
  }

  #assertWell(): void {
    if (this.#halted !== undefined) throw this.#halted
    this.#stop.signal.throwIfAborted()
  }

  #wake(): void {
    for (const listener of [...this.#listeners]) listener()
  }

  /** Returns when the chain has grown beyond `size`, the follower has halted, or the signal aborts. */
  async #changed(chain: ChainName, size: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#halted !== undefined || this.head(chain).size > size) return
    await new Promise<void>((resolve) => {
      const check = (): void => {
        if (!signal.aborted && this.#halted === undefined && this.head(chain).size === size) return
        this.#listeners.delete(check)
        signal.removeEventListener('abort', check)
        resolve()
      }
      this.#listeners.add(check)
      signal.addEventListener('abort', check, { once: true })
    })
  }

  /** Where a cursor stands, once this follower is as far. */
  async #startAt(chain: ChainName, cursor: Uint8Array | undefined, signal: AbortSignal) {
    if (cursor !== undefined) {
      const { height } = decodeCursor(chain, cursor)
      while (height > this.head(chain).height && !signal.aborted) {
        this.#assertWell()
        await this.#changed(chain, this.head(chain).size, signal)
      }
      if (signal.aborted) return { range: new CompactRange(), nextHeight: 0 }
    }
    return this.#parseCursor(chain, cursor)
  }

  #parseCursor(chain: ChainName, cursor: Uint8Array | undefined): { range: CompactRange; nextHeight: number } {
    if (cursor === undefined) return { range: new CompactRange(), nextHeight: 0 }
    const { height, range } = decodeCursor(chain, cursor)
    const known = this.ledger.index(chain).boundaryAt(height)
    if (known !== undefined && known.size === range.size && equalBytes(known.root, range.root)) {
      return { range, nextHeight: height + 1 }
    }
    throw new RuntimeError('the cursor is not of the history that is followed', { code: 'ERR_CURSOR_INVALID', chain })
  }

  /** Some blocks after a position that lies behind the head. */
  async #blocksAfter(
    chain: ChainName,
    at: { range: CompactRange; nextHeight: number },
    signal: AbortSignal,
  ): Promise<FollowedBlock[]> {
    const recent = this.#chains[chain].recent.from(at.range.size)
    if (recent !== undefined) return recent
    return this.client.sources.attempt(async (url) => {
      const { frames } = await this.client.blocks(chain, at.range.size, { url, signal })
      const range = at.range.clone()
      const blocks: FollowedBlock[] = []
      for (const frame of frames) {
        if (frame.height > this.head(chain).height) break
        appendFrames(url, [frame], { range, nextHeight: at.nextHeight + blocks.length })
        const known = this.ledger.index(chain).boundaryAt(frame.height)
        if (known?.size !== range.size || !equalBytes(known.root, range.root))
          throw misbehaved(url, `block ${frame.height} is not the one that was verified`)
        blocks.push(followedBlock(this.ledger, chain, frame, range))
      }
      if (blocks.length === 0)
        throw new RuntimeError(`${url} is behind`, { code: 'ERR_SOURCE_UNREACHABLE', url, reason: 'behind' })
      return blocks
    })
  }

  /** One at a time for each chain: whoever comes while another applies blocks waits, then goes on from the new head. */
  async #exclusively<T>(chain: ChainName, work: () => Promise<T>): Promise<T> {
    const own = this.#chains[chain]
    const turn = own.busy.then(work, work)
    own.busy = turn.catch(() => {})
    return turn
  }

  async #catchUpChain(chain: ChainName, signal?: AbortSignal): Promise<void> {
    const both = signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal])
    let more = true
    let first: string | undefined
    while (more) {
      this.#assertWell()
      both.throwIfAborted()
      const last: { stale?: number } = {}
      let asked = ''
      const step = (url: string): Promise<boolean> => {
        asked = url
        return this.#exclusively(chain, () => this.#step(chain, url, both, last))
      }
      try {
        more = await this.client.sources.attempt(step, { first })
        this.#chains[chain].turnedAway = undefined
      } catch (error) {
        this.#chains[chain].turnedAway = refusalOf(error)
        // Every node that proved anything proved something old: that is all there is.
        if (last.stale === undefined || !isRuntimeError(error, 'ERR_NO_SOURCE')) throw error
        this.#emit({ type: 'stale', chain, ageMs: last.stale })
        return
      }
      first = more ? asked : await this.#whoIsAhead(chain, asked, both)
      more = first !== undefined
    }
  }

  /** Compares with one other node: its URL if it has published more; a conflict if it shows another history. */
  async #whoIsAhead(chain: ChainName, asked: string, signal: AbortSignal): Promise<string | undefined> {
    const others = this.client.sources.candidates().filter((url) => url !== asked)
    const turn = Math.floor(Math.random() * others.length)
    for (const url of [...others.slice(turn), ...others.slice(0, turn)]) {
      try {
        const checkpoint = await this.client.checkpoint(chain, { url, signal })
        if (checkpoint.size > this.head(chain).size) return url
        this.#compare(chain, url, checkpoint)
        return undefined
      } catch (error) {
        this.#assertWell()
        if (!(error instanceof RuntimeError)) throw error
      }
    }
    return undefined
  }

  /** One page from one node; true if there may be more. */
  async #step(chain: ChainName, url: string, signal: AbortSignal, last: { stale?: number }): Promise<boolean> {
    this.#assertWell()
    const { frames } = await this.client.blocks(chain, this.head(chain).size, { url, signal })
    if (frames.length > 0) {
      await this.#apply(chain, url, frames, signal)
      return true
    }
    const checkpoint = await this.client.checkpoint(chain, { url, signal })
    const head = this.head(chain)
    if (checkpoint.size > head.size) {
      const again = await this.client.blocks(chain, head.size, { url, signal })
      if (again.frames.length === 0) throw misbehaved(url, 'no blocks up to its own checkpoint')
      await this.#apply(chain, url, again.frames, signal)
      return true
    }
    this.#compare(chain, url, checkpoint)
    if (checkpoint.size < head.size)
      throw new RuntimeError(`${url} is behind`, { code: 'ERR_SOURCE_UNREACHABLE', url, reason: 'behind' })
    this.#saw(chain, checkpoint)
    const ageMs = this.#now() - checkpoint.oldestTime
    if (ageMs > staleAfterMs) {
      last.stale = ageMs
      throw new RuntimeError(`${url} is stale`, { code: 'ERR_SOURCE_UNREACHABLE', url, reason: 'stale' })
    }
    return false
  }

  #saw(chain: ChainName, checkpoint: VerifiedCheckpoint): void {
    const own = this.#chains[chain]
    own.cosignedMs = Math.max(own.cosignedMs ?? 0, checkpoint.oldestTime)
    own.publishedSize = Math.max(own.publishedSize, checkpoint.size)
  }

  /** A quorum's checkpoint of a size that is verified already must have the same root: else there are two histories. */
  #compare(chain: ChainName, url: string, checkpoint: { size: number; root: Uint8Array }): void {
    const known = this.ledger.index(chain).boundary(checkpoint.size)
    if (known !== undefined && equalBytes(known.root, checkpoint.root)) return
    this.#conflict(chain, url, checkpoint)
  }

  #conflict(chain: ChainName, url: string, other: { size: number; root: Uint8Array }): never {
    const known = this.ledger.index(chain).boundary(other.size)
    const detail = {
      code: 'ERR_LEDGER_CONFLICT',
      chain,
      size: other.size,
      ownRoot: known === undefined ? 'none' : toHex(known.root),
      otherRoot: toHex(other.root),
      url,
    } as const
    const error = new RuntimeError(
      `a quorum has signed two histories of ${chain} at size ${other.size}: following has stopped`,
      detail,
    )
    this.#halt(error)
    this.#emit({ type: 'conflict', chain, url, error })
    throw error
  }

  #halt(error: RuntimeError): void {
    this.#halted = error
    this.#wake()
  }

  /** Verifies contiguous blocks as a whole, then executes and commits them one by one. */
  async #apply(chain: ChainName, url: string, frames: readonly BlockFrame[], signal: AbortSignal): Promise<void> {
    const checkpoint = await this.#verify(chain, url, frames, signal)
    const range = this.#rangeOf(chain)
    for (const frame of frames) {
      await this.#execute(chain, url, frame, signal)
      appendFrames(url, [frame], { range, nextHeight: frame.height })
      this.#chains[chain].recent.add(followedBlock(this.ledger, chain, frame, range))
      this.#wake()
    }
    this.#saw(chain, checkpoint)
    this.#compareTrail(chain, url)
  }

  /** The heads that the policy trail proves are this history's: else a quorum has signed two. */
  #compareTrail(chain: ChainName, url: string): void {
    for (const { chain: name, size, root } of this.trust.trail.heads) {
      if (name !== chain || size > this.head(chain).size) continue
      const own = this.ledger.index(chain).boundary(size)
      if (own === undefined || !equalBytes(own.root, root)) this.#conflict(chain, url, { size, root })
    }
  }

  #rangeOf(chain: ChainName): CompactRange {
    return parseHead(this.#chains[chain].store.head() as Uint8Array).range.clone()
  }

  async #verify(
    chain: ChainName,
    url: string,
    frames: readonly BlockFrame[],
    signal: AbortSignal,
  ): Promise<VerifiedCheckpoint> {
    const note = frames.at(-1)?.checkpoint
    if (note === undefined) throw misbehaved(url, 'blocks without a checkpoint')
    let checkpoint: VerifiedCheckpoint
    try {
      checkpoint = await this.client.verifyCheckpoint(chain, note, url, { signal })
    } catch (error) {
      signal.throwIfAborted()
      throw misbehaved(url, messageOf(error), error)
    }
    const head = this.head(chain)
    const range = this.#rangeOf(chain)
    try {
      appendFrames(url, frames, { range, nextHeight: head.height + 1 })
      const end = { size: range.size, root: range.root }
      if (!(await isPrefix({ client: this.client, chain, url, head: end, checkpoint, signal }))) {
        throw misbehaved(url, 'blocks that are not under its own checkpoint')
      }
    } catch (error) {
      if (isRuntimeError(error, 'ERR_SOURCE_MISBEHAVED')) await this.#seekConflict(chain, url, checkpoint)
      throw error
    }
    return checkpoint
  }

  /** Blocks failed although a quorum signed the checkpoint: if that one's history differs from ours, it is not the node's fault alone. */
  async #seekConflict(chain: ChainName, url: string, checkpoint: VerifiedCheckpoint): Promise<void> {
    const { size, root } = this.head(chain)
    if (checkpoint.size <= size) return this.#compare(chain, url, checkpoint)
    const rangeFrom = (count: number, hashes: readonly Uint8Array[]): CompactRange => new CompactRange(count, hashes)
    const asked = { client: this.client, chain, url, size, checkpoint, rangeFrom, nodes: subtreesOf }
    const other = await provedRootAt(asked).catch(() => undefined)
    if (other !== undefined && !equalBytes(other, root)) this.#conflict(chain, url, { size, root: other })
  }

  async #execute(chain: ChainName, url: string, frame: BlockFrame, signal: AbortSignal, again = false): Promise<void> {
    try {
      const transactions = frame.leaves.filter((leaf) => leafKind(leaf) === 'transaction').map(parseTransactionLeaf)
      await this.ledger.preverify(chain, transactions)
      this.ledger.commit(this.ledger.checkBlock({ chain, leaves: frame.leaves }))
    } catch (error) {
      if (codeOf(error) === 'ERR_ANCHOR_UNKNOWN' && chain === 'docchain' && !again) {
        await this.#catchUpChain('userchain', signal)
        return this.#execute(chain, url, frame, signal, true)
      }
      if (codeOf(error) === 'ERR_ANCHOR_UNKNOWN') {
        const detail = { code: 'ERR_SOURCE_UNREACHABLE', url, reason: 'userchain is behind' } as const
        throw new RuntimeError(detail.reason, detail, { cause: error })
      }
      const typed = finalFault(error, chain, frame)
      if (typed === undefined) throw error
      this.#halt(typed)
      this.#emit({ type: 'invalid', chain, url, error: typed })
      throw typed
    }
  }

  /** Catches up, then listens to one node's stream; when that ends, to another one's. */
  async #keepUp(chain: ChainName): Promise<void> {
    const { signal } = this.#stop
    const turns = new StreamTurns()
    let pauseMs = retryMsMin
    while (!signal.aborted && this.#halted === undefined) {
      try {
        await this.#catchUpChain(chain)
        const url = turns.next(this.client.sources.candidates())
        await this.#listen(chain, url, (from) => {
          pauseMs = retryMsMin
          turns.brings(from)
        })
      } catch (error) {
        if (signal.aborted || this.#halted !== undefined) return
        const level = isLocalFault(error) ? 'error' : 'debug'
        this.#options.logger[level]({ chain, err: error }, 'following was interrupted')
      }
      await pause(pauseMs, signal)
      pauseMs = Math.min(retryMsMax, pauseMs * 2)
    }
  }

  /** Takes what one node's stream brings, until it ends, or leaves something out. */
  async #listen(chain: ChainName, url: string | undefined, onTaken: (url: string) => void): Promise<void> {
    const own = this.#chains[chain]
    const end = new AbortController()
    const signal = AbortSignal.any([this.#stop.signal, end.signal])
    const stream = { end, size: this.head(chain).size }
    own.stream = stream
    try {
      for await (const { url: from, frame } of this.client.stream(chain, stream.size, { signal, url })) {
        const size = await this.#exclusively(chain, () => this.#takeFrame(chain, from, frame, signal))
        if (size === undefined) return
        if (size === 0) continue
        stream.size = size
        onTaken(from)
      }
    } finally {
      own.stream = undefined
    }
  }

  /**
   * A node whose frame does not hold is left alone.
   *
   * @returns the size to which it led; 0 if the block was known; undefined if blocks in between are missing.
   */
  async #takeFrame(chain: ChainName, url: string, frame: BlockFrame, signal: AbortSignal): Promise<number | undefined> {
    const { size } = this.head(chain)
    if (frame.firstIndex < size) return 0
    if (frame.firstIndex > size) return undefined
    try {
      await this.#apply(chain, url, [frame], signal)
    } catch (error) {
      if (isRuntimeError(error, 'ERR_SOURCE_MISBEHAVED')) this.client.sources.note(url, error)
      throw error
    }
    return this.head(chain).size
  }

  /** A silent stream may be that of a node that fell behind, or leaves something out: asks again from time to time. */
  async #poll(chain: ChainName): Promise<void> {
    const { signal } = this.#stop
    let owed: { stream: Chain['stream']; size: number } | undefined
    while (!signal.aborted && this.#halted === undefined) {
      await pause(this.#options.pollMs ?? pollMs, signal)
      if (signal.aborted || this.#halted !== undefined) return
      const { stream } = this.#chains[chain]
      // What was published when it was asked last should have come by now.
      if (stream !== undefined && owed?.stream === stream && stream.size < owed.size) stream.end.abort()
      await this.#catchUpChain(chain).catch((error: unknown) => {
        if (signal.aborted) return
        this.#options.logger.warn({ chain, code: codeOf(error), reason: messageOf(error) }, 'could not catch up')
      })
      owed = { stream, size: this.head(chain).size }
    }
  }
}
