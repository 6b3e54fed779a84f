/**
 * What a node does by the clock: follows the register even if no hint came, replaces a leader that is stuck or leaves transactions
 * out, asks for what got lost, and renews its cosignature.
 */
import { parseCheckpoint } from '@healthblock/chain/checkpoint'
import { encodeUtf8 } from '@healthblock/encoding/bytes'
import { cosign, fetchTrail, isPublished, keepStep, spread, takePublished, verifyLine } from './attester.ts'
import type { Follower } from './catch-up.ts'
import { type CoreState, peerPatienceMs } from './core-state.ts'
import { within } from './mutex.ts'
import type { Sequencer } from './sequencer.ts'
import { encodeMessage, type Fields, parseMessage } from './wire.ts'

/** How often a node looks. */
const tickMs = 250
/** No block for this long, plus `rankDelayMs` for each rank, although a transaction waits: the leader is replaced. */
const stuckMs = 2_000
const rankDelayMs = 500
/** A transaction older than this is left out on purpose, or as good as. */
const leftOutMs = 10_000
/** Docchain: a close that is published for this long must be anchored. */
const anchorOverdueMs = 5_000
/** A lost or wrong register is rebuilt after this long (and the rank's delay), so that its owner may come first. */
const rebuildMs = 2_000
/** Renewal of the cosignature. */
const heartbeatMs = 60_000
/** Two renewals are missing. */
const staleMs = 2 * heartbeatMs
/** How long an applied head may go unpublished before the peers are asked. */
const unpublishedMs = 500
/** How often peers are asked for their heads. */
const askMs = 1_000
/** Pool entries judged in one look for a rule of takeover, and as many again of those that lacked something before. */
const judgedMax = 64

const utf8 = new TextDecoder()

/** Answers `head`: where this node stands, and the asking node's own largest cosignature as known here. */
export function answerHead(core: CoreState, from: number): Uint8Array {
  const { height, size, root } = core.head()
  const yours = core.cosignatures.largestOf(from)
  const published = core.published?.checkpoint ?? ''
  return encodeMessage({
    height,
    size,
    root,
    published: encodeUtf8(published),
    nowms: core.nowMs(),
    ...(yours === undefined ? {} : { yours: { size: yours.size, root: yours.root, line: encodeUtf8(yours.line) } }),
  })
}

/** The ticking part of a core. */
export class Watch {
  readonly #core: CoreState
  readonly #follower: Follower
  readonly #sequencer: Sequencer
  readonly #peerSkewMs = new Map<number, number>()
  /** Peers that told what this node had signed. */
  readonly #told = new Set<number>()
  #signFrom: { size: number; root: Uint8Array }
  #invalidSinceMs: number | undefined
  #unanchoredSinceMs: number | undefined
  #unpublishedSinceMs: number | undefined
  #cosignedMs = 0
  #askedMs = 0
  /** By rank, until it has answered or failed. */
  readonly #asking = new Map<number, Promise<void>>()

  constructor(core: CoreState, follower: Follower, sequencer: Sequencer) {
    this.#core = core
    this.#follower = follower
    this.#sequencer = sequencer
    this.#signFrom = core.promise.current
    // The first tick renews the cosignature: after a pause the published note is older than readers accept.
    this.#cosignedMs = core.elapsedMs() - heartbeatMs
  }

  /** Ticks until the core stops. */
  async run(): Promise<void> {
    const core = this.#core
    await this.#ask()
    while (!core.signal.aborted) {
      try {
        await this.#tick()
      } catch (error) {
        core.report('a tick', error)
      }
      await core.wait(tickMs)
    }
  }

  async #tick(): Promise<void> {
    const core = this.#core
    const nowMs = core.elapsedMs()
    await this.#follower.follow()
    core.pool.expire(nowMs)
    keepStep(core)
    spread(core)
    if (core.signFrom === undefined || this.#needsPeers(nowMs)) await this.#ask()
    if (nowMs - this.#cosignedMs >= heartbeatMs && core.signFrom !== undefined && isPublished(core)) {
      this.#cosignedMs = nowMs
      await cosign(core, { again: true })
    }
    if (this.#sequencer.isActive || core.signFrom === undefined || !this.#mustLead(core.elapsedMs())) return
    // Asking peers took time: what the register says now decides.
    await this.#follower.follow()
    if (this.#mustLead(core.elapsedMs())) this.#sequencer.lead()
  }

  /** True if the peers should be asked: this node's head is not published, or others have signed more than it has. */
  #needsPeers(nowMs: number): boolean {
    const core = this.#core
    const lacks =
      !isPublished(core) || !core.mayFollowHead || core.largestSizeSeen > core.head().size || this.#isStale()
    if (!lacks) this.#unpublishedSinceMs = undefined
    else this.#unpublishedSinceMs ??= nowMs
    const due = lacks && nowMs - (this.#unpublishedSinceMs ?? nowMs) >= unpublishedMs && nowMs - this.#askedMs >= askMs
    return due || nowMs - this.#askedMs >= heartbeatMs
  }

  /** Asks all peers where they stand, and sends this node's cosignature again. */
  async #ask(): Promise<void> {
    const core = this.#core
    this.#askedMs = core.elapsedMs()
    for (const rank of core.sources()) {
      if (this.#asking.has(rank)) continue
      const asking = this.#askOne(rank).finally(() => this.#asking.delete(rank))
      this.#asking.set(rank, asking)
    }
    const all = Promise.all(this.#asking.values())
    await within(core.clock, all, { ms: peerPatienceMs, signal: core.signal })
    this.#begin()
    if (core.signFrom !== undefined && (!isPublished(core) || this.#isStale())) await cosign(core, { again: true })
  }

  /** May sign again once a quorum, with this node, has told what it had signed. */
  #begin(): void {
    const core = this.#core
    const told = [...this.#told].filter((rank) => core.members.has(rank))
    if (told.length < core.members.quorum - 1 || core.signFrom !== undefined) return
    core.signFrom = this.#signFrom
    const { size } = core.head()
    if (size < this.#signFrom.size) {
      core.options.observe({ kind: 'rolled-back', chain: core.chain, size, sizeSigned: this.#signFrom.size })
    }
  }

  /** True if a quorum has not renewed its cosignatures in time: after a pause of all nodes, each may have missed the others'. */
  #isStale(): boolean {
    return this.#core.nowMs() - this.#core.publishedOldestTime > staleMs
  }

  async #askOne(rank: number): Promise<void> {
    const core = this.#core
    try {
      const sentMs = core.nowMs()
      const answer = parseMessage(await core.call(rank, 'head', encodeMessage({})))
      this.#peerSkewMs.set(rank, answer.uint('nowms') - (sentMs + core.nowMs()) / 2)
      this.#measureClock()
      this.#noteOwn(answer)
      const checkpoint = utf8.decode(answer.bytes('published'))
      if (checkpoint !== '') {
        this.#noteOwnLine(checkpoint)
        takePublished(core, checkpoint)
      }
      core.largestSizeSeen = Math.max(core.largestSizeSeen, core.published?.size ?? 0)
      if (!core.mayFollowHead) await fetchTrail(core, rank)
      this.#told.add(rank)
    } catch {
      // Away or confused: asked again at the next turn.
    }
  }

  #measureClock(): void {
    const sorted = [...this.#peerSkewMs.values()].sort((a, b) => a - b)
    this.#core.clockSkewMs = Math.abs(sorted[sorted.length >> 1] ?? 0)
  }

  /** Believes a peer about this node's own cosignature only if it is one. */
  #noteOwn(answer: Fields): void {
    if (!answer.has('yours')) return
    const yours = answer.map('yours')
    this.#noteLine({ size: yours.uint('size'), root: yours.bytes('root', 32), line: utf8.decode(yours.bytes('line')) })
  }

  #noteOwnLine(checkpoint: string): void {
    const { origin, size, root } = parseCheckpoint(checkpoint)
    if (origin !== this.#core.members.origin) return
    const lines = checkpoint.slice(checkpoint.lastIndexOf('\n\n') + 2).split(/(?<=\n)/)
    const own = lines.find((line) => line.startsWith(`\u2014 ${origin}/${this.#core.rank} `))
    if (own !== undefined) this.#noteLine({ size, root, line: own })
  }

  #noteLine(own: { size: number; root: Uint8Array; line: string }): void {
    if (own.size <= this.#signFrom.size) return
    const verified = verifyLine(this.#core, own)
    if (verified === undefined || verified.rank !== this.#core.rank) return
    this.#signFrom = { size: own.size, root: own.root }
    if (this.#core.signFrom !== undefined) this.#core.signFrom = this.#signFrom
  }

  get #delayMs(): number {
    const { members, rank } = this.#core
    return members.position(rank) * rankDelayMs
  }

  /** The rules of takeover. */
  #mustLead(nowMs: number): boolean {
    const core = this.#core
    if (!core.registerReachable || core.head().size < (core.signFrom?.size ?? 0)) return false
    if (!core.takesPart || !core.mayFollowHead) return false
    const { value } = core
    if (value === undefined || value.height < core.head().height) return this.#mustRebuild(nowMs, value === undefined)
    this.#invalidSinceMs = undefined
    // A leader that was restarted does not know what it staged: it begins a new term.
    if (value.leader === core.rank) return true
    // A leader that is no member decides nothing more.
    if (!core.members.has(value.leader)) return nowMs - core.leaderSinceMs >= this.#delayMs
    // A new leader gets the time to show something.
    if (nowMs - core.leaderSinceMs < stuckMs + this.#delayMs) return false
    return this.#isStuck(nowMs) || this.#isAnchorOverdue(nowMs)
  }

  #mustRebuild(nowMs: number, absent: boolean): boolean {
    // A new ledger: the lowest rank takes the first term.
    if (absent && this.#core.head().height === 0 && this.#core.rank === 0) return true
    this.#invalidSinceMs ??= nowMs
    return nowMs - this.#invalidSinceMs >= rebuildMs + this.#delayMs
  }

  #isStuck(nowMs: number): boolean {
    const core = this.#core
    const patienceMs = stuckMs + this.#delayMs
    const noBlock = nowMs - Math.max(core.lastDecidedMs, core.stagedMs) >= patienceMs
    const beforeMs = noBlock ? nowMs - patienceMs : nowMs - leftOutMs - this.#delayMs
    for (const entry of core.pool.toJudge(beforeMs, { freshMax: judgedMax, lackingMax: judgedMax })) {
      const { verdict } = core.ledger.judge(core.chain, entry.transaction, { atMs: core.nowMs() })
      if (verdict === 'valid') return true
      if (verdict === 'refused') core.pool.drop(entry.transaction)
      else core.pool.lacks(entry)
    }
    return false
  }

  #isAnchorOverdue(nowMs: number): boolean {
    const core = this.#core
    const published = core.options.userchain?.publishedSizeAt(nowMs) ?? 0
    const anchored = core.head().anchor?.size ?? 0
    const woken = published > 0 && (core.ledger.index('userchain').newestWake(published) ?? 0) > anchored
    if (!woken || core.options.userchain === undefined) {
      this.#unanchoredSinceMs = undefined
      return false
    }
    this.#unanchoredSinceMs ??= nowMs
    return nowMs - this.#unanchoredSinceMs >= anchorOverdueMs + this.#delayMs
  }
}
