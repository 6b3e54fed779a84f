/** One chain's core, put together. */
import type { Ledger } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import { ChainError } from '@healthblock/chain/errors'
import { parseTransactionLeaf, type Transaction } from '@healthblock/chain/transaction'
import { encodeUtf8 } from '@healthblock/encoding/bytes'
import { AccountingError } from '../errors.ts'
import { answerCosignature, answerTrail, takePublished } from './attester.ts'
import { answerBlocks, Follower, repairBlock } from './catch-up.ts'
import type { AppliedBlock, AppliedHead, BlockPlace, ChainCore, CoreStatus, PublishedHead } from './chain-core.ts'
import { type CoreState, parseTransactions } from './core-state.ts'
import type { PeerMethod } from './ports.ts'
import { PromiseStore } from './promise.ts'
import { Sequencer } from './sequencer.ts'
import { StagedStore } from './staged.ts'
import { answerCollect, answerStage } from './stager.ts'
import { answerHead, Watch } from './watch.ts'
import { asLeaves, encodeBlock, encodeMessage, parseMessage } from './wire.ts'

/** File of the newest published note; derived. */
const checkpointFile = 'checkpoint'
/** Least time between two writes of it: a file for each block would cost the disk as much as the block, and whoever starts asks his peers. */
const checkpointPeriodMs = 1_000
/** What was decided for so long should be applied. */
const behindMs = 2_000
/** Most transactions of one gossip. */
const gossipMax = 256
const utf8 = new TextDecoder()

/** Called by `openCores` only. */
export class ChainNode implements ChainCore {
  readonly chain: ChainName
  readonly ledger: Ledger
  readonly #core: CoreState
  readonly #follower: Follower
  readonly #sequencer: Sequencer
  #watching: Promise<void> | undefined
  #unsaved: PublishedHead | undefined
  #saving: Promise<void> | undefined

  constructor(core: CoreState) {
    this.#core = core
    this.chain = core.chain
    this.ledger = core.ledger
    this.#follower = new Follower(core)
    this.#sequencer = new Sequencer(core, this.#follower)
    core.onPublished((published) => this.#saveCheckpoint(published))
  }

  head(): AppliedHead {
    return this.#core.head()
  }

  published(): PublishedHead | undefined {
    return this.#core.published
  }

  publishedSizeAt(ms: number): number {
    return this.#core.publishedSizes.sizeAt(ms)
  }

  publishedBeyondMs(size: number): number | undefined {
    return this.#core.publishedSizes.beyondMs(size)
  }

  entry(index: number): Uint8Array {
    return this.#core.log.entry(index)
  }

  entries(from: number, to: number): Uint8Array[] {
    return this.#core.log.entries(from, to)
  }

  blockAt(height: number): BlockPlace | undefined {
    return height > this.head().height ? undefined : this.#core.log.place(height)
  }

  heightOfIndex(index: number): number | undefined {
    return index >= this.head().size ? undefined : this.#core.log.heightOf(index)
  }

  async submit(transactions: readonly Transaction[]): Promise<void> {
    if (this.#core.leadingTerm > 0) this.#core.handed.add(transactions)
    await this.#core.options.queue.add(encodeBlock(transactions.map(({ leaf }) => leaf)))
  }

  noteAccepted(transactions: readonly Transaction[], options: { ageMs?: number; again?: boolean } = {}): void {
    const core = this.#core
    const source = { rank: core.rank, count: core.members.count, isVerified: true }
    const fresh = core.pool.add(transactions, core.elapsedMs() - (options.ageMs ?? 0), source)
    core.changed.notify()
    const told = options.again === true ? transactions : fresh
    for (let from = 0; from < told.length; from += gossipMax) {
      const txs = told.slice(from, from + gossipMax).map(({ leaf }) => leaf)
      core.tell('gossip', encodeMessage({ txs }))
    }
  }

  onApplied(listener: (block: AppliedBlock) => void): () => void {
    return this.#core.onApplied(listener)
  }

  onPublished(listener: (published: PublishedHead) => void): () => void {
    return this.#core.onPublished(listener)
  }

  term(): { term: number; leader: number | undefined } {
    const { value } = this.#core
    return { term: value?.term ?? 0, leader: value?.leader }
  }

  status(): CoreStatus {
    const core = this.#core
    const nowMs = core.elapsedMs()
    const anchored = core.head().anchor?.size ?? 0
    const beyondMs = core.options.userchain?.publishedBeyondMs(anchored) ?? nowMs
    return {
      ...this.term(),
      leads: core.leadingTerm > 0,
      queueDepth: core.options.queue.depth(),
      poolCount: core.pool.count(),
      anchorLagMs: nowMs - beyondMs,
      sinceDecidedMs: nowMs - core.lastDecidedMs,
      registerReachable: core.registerReachable,
      signs: core.signFrom !== undefined && core.maySign(core.head().size) && core.largestSizeSeen <= core.head().size,
      hasLostLeaves: core.head().size < core.promise.current.size,
      takesPart: core.takesPart,
      behindLeaves: core.behindLeaves(behindMs),
      heardPeers: core.signFrom !== undefined,
      cosignedAgeMs: core.nowMs() - core.publishedOldestTime,
      clockSkewMs: core.clockSkewMs,
      halted: core.halted,
    }
  }

  readBlock(height: number): readonly Uint8Array[] | undefined {
    try {
      return this.#core.log.block(height).leaves
    } catch (error) {
      if (error instanceof AccountingError) return undefined
      throw error
    }
  }

  repairBlock(height: number, isGood: (leaves: readonly Uint8Array[]) => boolean): Promise<boolean> {
    return repairBlock(this.#core, height, isGood)
  }

  suspend(isSuspended: boolean): void {
    this.#core.suspended = isSuspended
    this.#core.changed.notify()
  }

  async handlePeer(from: number, method: PeerMethod, body: Uint8Array): Promise<Uint8Array> {
    const core = this.#core
    const request = parseMessage(body)
    switch (method) {
      case 'stage':
        return answerStage(core, this.#follower, from, request)
      case 'collect':
        return answerCollect(core, from, request)
      case 'decided':
        // A hint: the register says what is true.
        void this.#follower.follow()
        return encodeMessage({})
      case 'cosignature':
        return answerCosignature(core, request)
      case 'published':
        takePublished(core, utf8.decode(request.bytes('checkpoint')))
        return encodeMessage({})
      case 'gossip':
        return this.#gossip(from, asLeaves(request.list('txs')))
      case 'block':
        return answerBlocks(core, request)
      case 'head':
        return answerHead(core, from)
      case 'trail':
        return answerTrail(core, request)
    }
  }

  #gossip(from: number, leaves: readonly Uint8Array[]): Uint8Array {
    const core = this.#core
    // Copies: a view would keep the whole message, which may be large, for as long as the pool keeps one of its transactions.
    const transactions = leaves.slice(0, gossipMax).map((leaf) => parseTransactionLeaf(leaf.slice()))
    const source = { rank: from, count: core.members.count, isVerified: false }
    const fresh = core.pool.add(transactions, core.elapsedMs(), source)
    // Their block will follow: its signatures are then known already.
    core.ledger.preverify(core.chain, fresh).catch((error) => core.report('gossip', error))
    return encodeMessage({})
  }

  /** Writes the newest note, at once or soon; at the latest when this node stops. */
  #saveCheckpoint(published: PublishedHead): void {
    this.#unsaved = published
    this.#saving ??= this.#save()
  }

  async #save(): Promise<void> {
    const core = this.#core
    while (this.#unsaved !== undefined) {
      const { checkpoint } = this.#unsaved
      this.#unsaved = undefined
      try {
        await core.options.disk.write(checkpointFile, encodeUtf8(checkpoint), { durable: false })
      } catch (error) {
        core.report('the checkpoint file', error)
      }
      await core.wait(checkpointPeriodMs)
    }
    this.#saving = undefined
  }

  async start(): Promise<void> {
    const core = this.#core
    core.staged = await StagedStore.open(core.options.disk)
    core.promise = await PromiseStore.open(core.options.disk)
    const { options, chain, staged, promise } = core
    if (staged.isDamaged)
      options.observe({ kind: 'damaged', chain, file: 'staged/blocks', index: staged.newest()?.size ?? 0 })
    if (promise.isDamaged) options.observe({ kind: 'damaged', chain, file: 'promise', index: 0 })
    await this.#replay()
    core.checkRules()
    const checkpoint = await core.options.disk.read(checkpointFile)
    if (checkpoint !== undefined && checkpoint.length > 0) this.#restorePublished(utf8.decode(checkpoint))
    core.lastDecidedMs = core.elapsedMs()
    core.largestSizeSeen = Math.max(core.largestSizeSeen, core.head().size)
    const { height, size } = core.head()
    core.options.observe({ kind: 'started', chain: this.chain, height, size })
    const watch = new Watch(core, this.#follower, this.#sequencer)
    this.#watching = watch.run()
  }

  /** Executes what the log holds beyond the ledger's stores. */
  async #replay(): Promise<void> {
    const core = this.#core
    for (let height = core.head().height + 1; height < core.log.count(); height++) {
      const leaves = core.log.leaves(height)
      const transactions = parseTransactions(leaves)
      await core.ledger.preverify(this.chain, transactions)
      try {
        core.commit(core.ledger.checkBlock({ chain: this.chain, leaves, parsed: transactions }))
      } catch (error) {
        if (!(error instanceof ChainError) || error.detail.code !== 'ERR_ANCHOR_UNKNOWN') throw error
        // Userchain's log was cut or set back below the anchor: these blocks come again from the peers, after Userchain's.
        core.report('replaying the log', error)
        await core.durably(core.log.truncate(height))
      }
    }
  }

  #restorePublished(checkpoint: string): void {
    try {
      takePublished(this.#core, checkpoint)
    } catch (error) {
      this.#core.report('the checkpoint file', error)
    }
  }

  async stop(): Promise<void> {
    const core = this.#core
    core.stopping.abort()
    core.changed.notify()
    await this.#watching
    await this.#sequencer.ended()
    await this.#follower.follow()
    await this.#saving
    // What is still under way ends before the files close.
    await core.lock.run(async () => {
      await core.log.close()
      await core.staged?.close()
      await core.promise?.close()
    })
  }
}
