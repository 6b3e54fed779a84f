/**
 * What the parts of one chain's core share. `lock` is held by whoever changes the log, the ledger, the staged block or the
 * promise; whatever must wait for others waits before it takes the lock.
 */
import type { ChainHead, Ledger, PendingBlock } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import { rulesVersionNewest } from '@healthblock/chain/genesis'
import { parseTransactionLeaf, type Transaction } from '@healthblock/chain/transaction'
import { equalBytes } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import { AccountingError } from '../errors.ts'
import type { AppliedBlock, ChainCore, PublishedHead } from './chain-core.ts'
import { Cosignatures } from './cosignatures.ts'
import { Handed } from './handed.ts'
import type { JudgedValue } from './judged-value.ts'
import type { BlockLog } from './log.ts'
import { encodeRecord } from './log.ts'
import type { Members, Memberships, OwnKeys } from './members.ts'
import { Condition, Mutex } from './mutex.ts'
import { Pool } from './pool.ts'
import type { Clock, CoreObserver, Disk, HeadRegister, IntakeQueue, PeerMethod, PeerNetwork } from './ports.ts'
import type { PromiseStore } from './promise.ts'
import { SizeHistory } from './size-history.ts'
import type { StagedStore } from './staged.ts'
import type { TrailStore } from './trail-store.ts'
import { type Ack, type HeadValue, isSameHead } from './wire.ts'

/** What a core is made with. */
export interface CoreOptions {
  readonly chain: ChainName
  /** This node's account: its rank follows from the policy in force. */
  readonly account: Uint8Array
  readonly memberships: Memberships
  /** The policy trail, which both chains of the node share. */
  readonly trail: TrailStore
  readonly keys: OwnKeys
  /** Shared by both chains of the node. */
  readonly ledger: Ledger
  readonly clock: Clock
  readonly disk: Disk
  readonly register: HeadRegister
  readonly queue: IntakeQueue
  readonly network: PeerNetwork
  readonly observe: CoreObserver
  /** Docchain: the Userchain core of the same node, whose checkpoints are the anchors. */
  readonly userchain?: ChainCore
  /** True once another ledger carries this one on: the node decides and signs nothing more. */
  readonly isEnded?: () => boolean
  /** For demonstrations and tests only: as leader, this node leaves out transactions signed by these accounts (hex). */
  readonly faultCensor?: ReadonlySet<string>
}

/** How long a peer may take, by method. A stager executes up to 4,096 transactions before it answers. */
export const peerTimeoutMs = { stage: 10_000, collect: 4_000, block: 10_000, other: 3_000 } as const
/** And how long it may hold up whoever asks several: others are asked beside it, and what it answers later counts when it comes. */
export const peerPatienceMs = 1_000

/** The rank of a node that is in no policy. */
export const noRank = -1

/** A block that was computed here and may yet be decided. */
export interface KnownBlock {
  readonly pending: PendingBlock
  readonly blockBytes: Uint8Array
}

/** State of one chain's core. */
export class CoreState {
  readonly options: CoreOptions
  readonly chain: ChainName
  readonly memberships: Memberships
  readonly ledger: Ledger
  readonly clock: Clock
  readonly lock = new Mutex()
  /** Woken by every change that somebody may wait for: applied, published, accepted, another register value. */
  readonly changed = new Condition()
  readonly pool: Pool
  readonly stopping = new AbortController()
  /** What this node's own gateway handed over while it leads. */
  readonly handed = new Handed()
  log!: BlockLog
  staged!: StagedStore
  promise!: PromiseStore
  /** The register's newest value that stood on q acks, and the bytes it was read as. */
  value: HeadValue | undefined
  registerReachable = false
  /** What was read from the register last. */
  judged: JudgedValue | undefined
  /** The block last computed for the next height: executed once, committed when decided. */
  known: KnownBlock | undefined
  /** The block that this node is executing and storing in a leader's order. */
  staging: { readonly height: number; readonly done: Promise<unknown> } | undefined
  /** Term in which this node leads, or 0. */
  leadingTerm = 0
  published: PublishedHead | undefined
  /** The checkpoint of a switch as the policy before it published it, for the trail. */
  switchNote: { readonly size: number; readonly checkpoint: string } | undefined
  /** Unix ms of the oldest cosignature in the published note. */
  publishedOldestTime = 0
  /** Number of the policy that the published note was made under; of a note that was read at the start nothing is known. */
  publishedUnder = -1
  /** Published sizes, by `elapsedMs`. */
  readonly publishedSizes = new SizeHistory()
  readonly cosignatures = new Cosignatures()
  /** The size that this run cosigned last, and as member of which policy. */
  cosigned = { size: -1, k: -1 }
  /** This node's newest cosignature, until all peers were told of it. */
  unspread: { readonly size: number; readonly root: Uint8Array; readonly line: string } | undefined
  /** Least size at which this node may sign again (its own highest published cosignature), once the peers were asked. */
  signFrom: { readonly size: number; readonly root: Uint8Array } | undefined
  /** The largest head that more than n - q nodes signed or the register named, to know when this node is behind. */
  largestSizeSeen = 0
  /** The largest head that the register named on q acks: of this height nobody decides another block, whatever the register says later. */
  decided: { readonly height: number; readonly size: number; readonly root: Uint8Array } | undefined
  /** Sizes that the register named, on q acks; that of before the start at no time. */
  readonly decidedSizes = new SizeHistory()
  /** By `elapsedMs`, as all moments below. */
  lastDecidedMs = 0
  /** When this node last staged a block of another's: once per height and term, so it gives a slow leader one more spell and no more. */
  stagedMs = 0
  /** When this node first knew of the register's leader: a new one gets its time; the same one in a newer term does not. */
  leaderSinceMs = 0
  clockSkewMs = 0
  /** Until when a rank is not collected from: it attested a block that nobody could show, or alone staged one whose time lies ahead. */
  readonly unproved = new Map<number, number>()
  /** True while this node's own check of its files has failed: it cosigns nothing. */
  suspended = false
  halted: string | undefined
  readonly #applied = new Set<(block: AppliedBlock) => void>()
  readonly #publishedListeners = new Set<(published: PublishedHead) => void>()

  constructor(options: CoreOptions) {
    this.options = options
    this.chain = options.chain
    this.memberships = options.memberships
    this.ledger = options.ledger
    this.clock = options.clock
    this.pool = new Pool((transaction) => {
      const id = options.ledger.transactionId(options.chain, transaction)
      return { id, committed: options.ledger.index(options.chain).find(id) !== undefined }
    })
  }

  /** The members who decide the next block. */
  get members(): Members {
    return this.memberships.next
  }

  /** This node's rank in the policy in force; `noRank` while it is in none. */
  get rank(): number {
    return this.rankIn(this.members)
  }

  rankIn(members: Members): number {
    return members.nodes.find(({ account }) => equalBytes(account, this.options.account))?.rank ?? noRank
  }

  /** True while a rank is done without, because nothing proves what it says to have attested or staged. */
  isUnproved(rank: number): boolean {
    return (this.unproved.get(rank) ?? 0) > this.elapsedMs()
  }

  /** True once another ledger carries this one on. */
  get isEnded(): boolean {
    return this.options.isEnded?.() === true
  }

  /** True if this node, with the keys that it was started with, decides the next block with others. */
  get takesPart(): boolean {
    return !this.isEnded && this.members.takesPart(this.options.account, this.options.keys)
  }

  /** True if a block may follow the head: if it is a switch, its checkpoint is published and on the trail. */
  get mayFollowHead(): boolean {
    return this.options.trail.newest(this.chain) >= this.members.k
  }

  /** Who may cosign the head now: the members who decided it, and once its checkpoint is on the trail those after it. */
  get attesters(): Members {
    return this.mayFollowHead ? this.members : this.memberships.at(this.head().height)
  }

  /** Ranks of the nodes to talk to: of the policy in force, and of the one before while a switch is under way. */
  peers(): number[] {
    const own = this.rank
    const { height } = this.head()
    return [...new Set(this.memberships.cosignersOf(height).flatMap((members) => members.others(own)))]
  }

  /** Ranks of all nodes that may have what this one lacks. */
  sources(): number[] {
    const own = this.rank
    const known = this.options.network.known?.() ?? []
    return [...new Set([...this.peers(), ...known.filter((rank) => rank !== own)])]
  }

  /** Members whose cosignatures count for a head of this size, as far as it is known here. */
  cosignersOf(size: number): Members[] {
    const height = this.ledger.index(this.chain).boundary(size)?.height
    return height === undefined ? [this.members] : this.memberships.cosignersOf(height)
  }

  get signal(): AbortSignal {
    return this.stopping.signal
  }

  head(): ChainHead {
    return this.ledger.head(this.chain)
  }

  nowMs(): number {
    return this.clock.nowMs()
  }

  elapsedMs(): number {
    return this.clock.elapsedMs()
  }

  wait(ms: number): Promise<void> {
    return this.clock.wait(ms, this.signal)
  }

  onApplied(listener: (block: AppliedBlock) => void): () => void {
    this.#applied.add(listener)
    return () => this.#applied.delete(listener)
  }

  onPublished(listener: (published: PublishedHead) => void): () => void {
    this.#publishedListeners.add(listener)
    return () => this.#publishedListeners.delete(listener)
  }

  notifyPublished(published: PublishedHead, fresh: boolean): void {
    if (fresh) {
      this.publishedSizes.add(published.size, this.elapsedMs())
      this.#tell(this.#publishedListeners, published)
    }
    this.changed.notify()
  }

  /** Notes what was decided. */
  noteDecided({ height, size, root }: HeadValue): void {
    if (height > (this.decided?.height ?? -1)) this.decided = { height, size, root }
    this.decidedSizes.add(size, this.decidedSizes.isEmpty ? Number.NEGATIVE_INFINITY : this.elapsedMs())
  }

  /** Leaves that were decided `ms` ago or longer, and are not applied here. */
  behindLeaves(ms: number): number {
    return Math.max(0, this.decidedSizes.sizeAt(this.elapsedMs() - ms) - this.head().size)
  }

  /** Ends this core for good: what it holds in memory and on disk may no longer agree. A restart recovers. */
  halt(error: unknown): AccountingError {
    if (this.halted === undefined) {
      this.halted = messageOf(error)
      this.options.observe({ kind: 'halted', chain: this.chain, error })
      this.stopping.abort()
      this.changed.notify()
    }
    const reason = messageOf(error)
    return new AccountingError(
      `${this.chain} halted: ${reason}`,
      { code: 'ERR_CORE_HALTED', chain: this.chain, reason },
      { cause: error },
    )
  }

  fork(height: number, reason: string): AccountingError {
    const error = new AccountingError(reason, { code: 'ERR_FORKED', chain: this.chain, height, reason })
    return this.halt(error)
  }

  report(part: string, error: unknown): void {
    if (!this.signal.aborted) this.options.observe({ kind: 'failed', chain: this.chain, part, error })
  }

  /** Asks a peer. */
  call(rank: number, method: PeerMethod, body: Uint8Array): Promise<Uint8Array> {
    const timeoutMs =
      method === 'stage' || method === 'collect' || method === 'block' ? peerTimeoutMs[method] : peerTimeoutMs.other
    return this.options.network.call(rank, this.chain, method, body, { timeoutMs })
  }

  /** Tells all peers, once, and does not wait: what is lost is repaired by asking. */
  tell(method: PeerMethod, body: Uint8Array): void {
    for (const rank of this.peers()) this.call(rank, method, body).catch(() => {})
  }

  /** Runs a durable write; if it fails nobody knows what is on the disk, so the core ends. */
  async durably<T>(write: Promise<T>): Promise<T> {
    try {
      return await write
    } catch (error) {
      throw this.halt(error)
    }
  }

  /**
   * Makes a decided block this node's head: entries to the disk, then the ledger. With `sign` the promise to cosign it goes to
   * the disk at the same time; on a restart after only the promise arrived, the node is behind its own word and signs nothing
   * until it has caught up. Answers false if the head is not the block's parent (somebody else applied it, or others after it).
   */
  apply(block: KnownBlock, acks: readonly Ack[], options: { sign: boolean }): Promise<boolean> {
    return this.lock.run(async () => {
      const { pending, blockBytes } = block
      if (this.signal.aborted || !isSameHead(this.head(), pending.base)) return false
      const { size, root, height } = pending.head
      const writes: Promise<void>[] = [this.log.append(encodeRecord({ blockBytes, acks }), pending.leaves.length)]
      if (options.sign && this.maySign(size)) writes.push(this.promise.bind({ size, root }))
      await this.durably(Promise.all(writes))
      this.commit(pending)
      this.lastDecidedMs = this.elapsedMs()
      this.largestSizeSeen = Math.max(this.largestSizeSeen, size)
      this.options.observe({
        kind: 'decided',
        chain: this.chain,
        height,
        size,
        transactions: pending.transactions.length,
      })
      return true
    })
  }

  /** Commits to the ledger what the log holds already, and tells the listeners. */
  commit(pending: PendingBlock): void {
    try {
      this.ledger.commit(pending)
    } catch (error) {
      throw this.halt(error)
    }
    this.known = undefined
    for (const { id } of pending.transactions) this.pool.remove(id)
    const { head, firstIndex, leaves, transactions, closes, wakes } = pending
    const { height, size, ms } = head
    const block: AppliedBlock = { height, i0: firstIndex, size, leaves, transactions, closes, wakes, ms }
    this.#tell(this.#applied, block)
    this.changed.notify()
    this.checkRules()
  }

  /**
   * Ends this core if the next block is under rules that this program does not know: whatever it did from here on would be a guess.
   *
   * @throws {AccountingError} `ERR_CORE_HALTED`.
   */
  checkRules(): void {
    const version = this.ledger.rules('userchain')
    if (version <= rulesVersionNewest) return
    const reason = `the next block is under version ${version} of the rules, and this program knows up to ${rulesVersionNewest}: install a newer one`
    throw this.halt(new AccountingError(reason, { code: 'ERR_RULES_UNKNOWN', version, newest: rulesVersionNewest }))
  }

  /** A listener that fails (it may have no room on its disk) is behind what was committed: only a restart brings it up to date. */
  #tell<T>(listeners: ReadonlySet<(event: T) => void>, event: T): void {
    try {
      for (const listener of listeners) listener(event)
    } catch (error) {
      throw this.halt(error)
    }
  }

  /** True if this node may cosign a head of this size: it asked its peers what it had signed, and has caught up with that. */
  maySign(size: number): boolean {
    if (this.suspended) return false
    const from = this.signFrom
    return from !== undefined && size >= from.size && size >= this.promise.current.size
  }
}

/** The transactions of a block's leaves (all but the SEAL). */
export function parseTransactions(leaves: readonly Uint8Array[]): Transaction[] {
  return leaves.slice(0, -1).map((leaf) => parseTransactionLeaf(leaf))
}
