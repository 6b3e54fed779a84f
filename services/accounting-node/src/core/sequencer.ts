/** The leader: takes micro-batches in order, builds blocks of what is valid, and has each decided before the next. */
import type { BuiltBlock, SizeAndRoot, Verdict } from '@healthblock/chain/block'
import { parseTransactionLeaf, type Transaction } from '@healthblock/chain/transaction'
import { toHex } from '@healthblock/encoding/bytes'
import { BlockPace } from './block-pace.ts'
import { type Candidate, Candidates } from './candidates.ts'
import { Carried } from './carried.ts'
import type { Follower } from './catch-up.ts'
import type { CoreState, KnownBlock } from './core-state.ts'
import { inTurns } from './fair-queue.ts'
import { Owners } from './owners.ts'
import { BlockRefused, decide, type Leadership, StepDown } from './proposal.ts'
import { Sharing } from './sharing.ts'
import { clockDifferenceMsMax } from './stager.ts'
import { checkPart, takeTerm } from './takeover.ts'
import { encodeBlock, parseBlock } from './wire.ts'

/** Most jobs that are taken at one time. */
const jobsAtOnceMax = 16
/** A leader takes jobs until it has so many transactions: jobs of a busy queue may be small, and many, and of what it has it serves all in turns. */
const arrivedWanted = 4_096
/** Transactions of a job that goes back into the queue. */
const jobTransactionsMax = 128
/** Limits of a block; 16 micro-batches of 256 transactions and 256 KB. */
const blockLimits = { transactionsMax: 4_096, sizeBytesMax: 16 * 256 * 1024 } as const
/**
 * A block is made as large as the nodes decide within a time, by the last ones, so that none looks like a stuck leader; where they are slow
 * it takes so many times what a block takes by itself, and it may always have some transactions. While somebody who asks for little shares
 * the chain with somebody who asks for much, it takes no more than that multiple; else larger, cheaper ones are better for all.
 */
const pace = {
  shared: { wantedMs: 0, timesBlock: 1.8, transactionsLeast: 8 },
  alone: { wantedMs: 300, timesBlock: 5, transactionsLeast: 256 },
} as const
/** Of short blocks each third is a quarter of the others: blocks of one size do not tell what a block takes by itself. */
const probe = { every: 3, part: 0.25 } as const
/** A waiting transaction that no job brought is proposed from the pool after this long. */
const adoptAfterMs = 2_000
/** And after this long even while jobs keep coming: they may all be there, and it may be lost. */
const adoptAnywayMs = 6_000
/** And again at most this often. */
const adoptAgainMs = 2_000
/** Without a job for this long, jobs do not keep coming. */
const jobsPauseMs = 1_000
/** Most of them in one block. */
const adoptedMax = 1_024
/** Candidates that lack something are tried again with a block, as many as it may have, and at least so many; of the pool's so many. */
const retriedLeast = 64
/** How long an idle leader waits before it looks at its pool and anchor again. */
const idleMs = 250
/** Pause after a fault of the leader's own. */
const faultPauseMs = 500
/** A leader whose block too many refused leaves the next term to others for so long, and for `refusedRankMs` per node more. */
const refusedMs = 3_000
const refusedRankMs = 500

/** Leads one chain while the term lasts. */
export class Sequencer {
  readonly #core: CoreState
  readonly #follower: Follower
  readonly #owners: Owners
  readonly #sharing = new Sharing()
  /** Transactions taken from jobs that no block was built with yet. */
  readonly #arrived: Candidates
  #arrivedCount = 0
  /** Candidates that were deferred. */
  readonly #carried = new Carried()
  readonly #pace = new BlockPace()
  #shortBlocks = 0
  #fetching: AbortController | undefined
  #running: Promise<void> | undefined
  /** When jobs came last. */
  #jobMs = Number.NEGATIVE_INFINITY
  /** Not before this does it try to lead again. */
  #notBeforeMs = 0

  constructor(core: CoreState, follower: Follower) {
    this.#core = core
    this.#follower = follower
    this.#owners = new Owners(core.ledger)
    this.#arrived = new Candidates({
      verify: (transactions) => core.ledger.preverify(core.chain, transactions, { isUrgent: true }),
      onReady: () => core.changed.notify(),
    })
  }

  /** True from the attempt to take a term until it is lost. */
  get isActive(): boolean {
    return this.#running !== undefined
  }

  /** Tries to take the next term and to lead. Does nothing while it does so already. */
  lead(): void {
    if (this.#core.elapsedMs() < this.#notBeforeMs) return
    this.#running ??= this.#lead().finally(() => {
      this.#running = undefined
    })
  }

  /** Resolves when nothing is under way. */
  async ended(): Promise<void> {
    await this.#running
  }

  async #lead(): Promise<void> {
    let least = 0
    for (let tries = 0; tries < 5 && !this.#core.signal.aborted; tries++) {
      const outcome = await this.#term(least)
      if (outcome === undefined) return
      least = outcome
    }
  }

  /** One term. Answers the least term to take at once, or undefined to leave it to the rules of takeover. */
  async #term(least: number): Promise<number | undefined> {
    const core = this.#core
    try {
      const { leadership, first } = await takeTerm(core, least)
      core.leadingTerm = leadership.term
      core.options.observe({ kind: 'led', chain: core.chain, term: leadership.term })
      if (first !== undefined) await decide(core, this.#follower, leadership, first)
      core.lastDecidedMs = core.elapsedMs()
      this.#fetch()
      while (!core.signal.aborted) await this.#next(leadership)
      return undefined
    } catch (error) {
      return await this.#ended(error)
    } finally {
      core.leadingTerm = 0
      core.handed.clear()
      this.#fetching?.abort()
      this.#fetching = undefined
      await this.#giveBack()
      core.changed.notify()
    }
  }

  /** Puts what no block was built with back into the queue, for the next leader. What is lost here, outboxes bring back. */
  async #giveBack(): Promise<void> {
    const core = this.#core
    const leaves = this.#arrived.takeAll().map(({ transaction }) => transaction.leaf)
    try {
      for (let from = 0; from < leaves.length && !core.signal.aborted; from += jobTransactionsMax) {
        await core.options.queue.add(encodeBlock(leaves.slice(from, from + jobTransactionsMax)))
      }
    } catch (error) {
      core.report('giving jobs back', error)
    }
  }

  async #ended(error: unknown): Promise<number | undefined> {
    const core = this.#core
    const reason = error instanceof Error ? error.message : String(error)
    if (!core.signal.aborted)
      core.options.observe({ kind: 'stepped-down', chain: core.chain, term: core.leadingTerm, reason })
    await this.#follower.follow()
    if (error instanceof BlockRefused) {
      // In this term the others hold another block of this height: the next one brings that out.
      if (error.message === 'promised') return Math.max(core.promise.current.term, error.promised) + 1
      // Nobody was reached while the block was new: the next one is built now.
      if (error.message === 'clock' && this.#isOld(core.known)) return core.promise.current.term + 1
      this.#notBeforeMs = core.elapsedMs() + refusedMs + refusedRankMs * core.members.count
      return undefined
    }
    if (error instanceof StepDown) return error.promised > core.promise.current.term ? error.promised + 1 : undefined
    core.report('leading', error)
    await core.wait(faultPauseMs)
    return undefined
  }

  /** True for a block whose time is, by this node's own clock, one that no node accepts any more. */
  #isOld(block: KnownBlock | undefined): boolean {
    return block !== undefined && this.#core.nowMs() - block.pending.head.ms > clockDifferenceMsMax
  }

  /** Keeps taking jobs for as long as this node leads and has fewer transactions than a block wants; parses and verifies while a block is under way. */
  #fetch(): void {
    const stop = new AbortController()
    this.#fetching = stop
    this.#core.signal.addEventListener('abort', () => stop.abort(), { once: true })
    const work = async (): Promise<void> => {
      while (!stop.signal.aborted) {
        if (this.#arrived.count >= arrivedWanted) {
          await this.#core.changed.wait(this.#core.clock, idleMs, stop.signal)
          continue
        }
        const jobs = await this.#core.options.queue.take(jobsAtOnceMax, stop.signal)
        this.#arrive(jobs)
      }
    }
    work().catch((error) => this.#core.report('taking jobs', error))
  }

  #arrive(jobs: readonly Uint8Array[]): void {
    const sinceMs = this.#core.elapsedMs()
    if (jobs.length > 0) this.#jobMs = sinceMs
    const transactions = jobs.flatMap((job) => this.#parse(job))
    this.#arrived.add(transactions.map((transaction) => this.#candidate(transaction, sinceMs)))
  }

  #candidate(transaction: Transaction, sinceMs: number): Candidate {
    const { ledger, chain } = this.#core
    const owner = this.#owners.of(transaction, ledger.transactionId(chain, transaction))
    this.#sharing.seen(owner.sponsor, sinceMs)
    return { transaction, owner, sinceMs, number: this.#arrivedCount++ }
  }

  /** A job is bytes from a queue that anybody inside may write to: what does not parse is dropped. */
  #parse(job: Uint8Array): Transaction[] {
    try {
      return parseBlock(job).map((leaf) => this.#core.handed.take(leaf) ?? parseTransactionLeaf(leaf))
    } catch (error) {
      this.#core.report('a job', error)
      return []
    }
  }

  #isCensored({ signatures }: Transaction): boolean {
    const accounts = this.#core.options.faultCensor
    return accounts !== undefined && signatures.some(({ account }) => accounts.has(toHex(account)))
  }

  /** What the pool has held for too long, and no job brought. */
  async #adopted(): Promise<Candidate[]> {
    const core = this.#core
    const nowMs = core.elapsedMs()
    // While jobs keep coming, what waits is most likely in one of them.
    const olderMs = nowMs - this.#jobMs < jobsPauseMs ? adoptAnywayMs : adoptAfterMs
    const isDue = ({ proposedMs }: { proposedMs: number }): boolean => proposedMs <= nowMs - adoptAgainMs
    const due = core.pool.toJudge(nowMs - olderMs, { freshMax: adoptedMax, lackingMax: retriedLeast }, isDue)
    for (const entry of due) entry.proposedMs = nowMs
    if (due.length > 0)
      await core.ledger.preverify(
        core.chain,
        due.map(({ transaction }) => transaction),
      )
    return due.map((entry) => ({ ...this.#candidate(entry.transaction, nowMs), entry }))
  }

  /** Candidates of a block of so many: some of what is carried, what arrived, and what is adopted from the pool. */
  async #candidates(transactionsMax: number): Promise<Candidate[]> {
    const adopted = await this.#adopted()
    const now = { height: this.#core.head().height, nowMs: this.#core.elapsedMs() }
    const carried = this.#carried.take(Math.max(retriedLeast, transactionsMax), now)
    const all = [...carried, ...this.#arrived.take(), ...adopted]
    if (this.#core.options.faultCensor === undefined) return all
    return all.filter(({ transaction }) => !this.#isCensored(transaction))
  }

  /** Sorts out what did not go into the block: what did not fit comes first next time, what lacks something is tried again. */
  #keep(candidates: readonly Candidate[], verdicts: readonly (Verdict | undefined)[]): void {
    const core = this.#core
    const left: Candidate[] = []
    const lacking: Candidate[] = []
    for (const [position, candidate] of candidates.entries()) {
      const verdict = verdicts[position]
      if (verdict === undefined) left.push(candidate)
      else if (verdict.verdict === 'deferred' && candidate.entry !== undefined) core.pool.lacks(candidate.entry)
      else if (verdict.verdict === 'deferred') lacking.push(candidate)
      else if (verdict.verdict === 'refused') {
        core.pool.drop(candidate.transaction)
        core.options.observe({ kind: 'dropped', chain: core.chain, rule: verdict.rule })
      }
    }
    this.#arrived.putBack(left)
    this.#carried.add(lacking)
  }

  /** How many transactions a block may have. */
  #transactionsIn({ wantedMs, timesBlock, transactionsLeast }: (typeof pace)['shared' | 'alone']): number {
    const wanted = this.#pace.countIn(wantedMs, timesBlock)
    return Math.min(blockLimits.transactionsMax, Math.max(transactionsLeast, wanted))
  }

  /** How many transactions the next block may have. To be asked once a block. */
  #nextMax(): number {
    const nowMs = this.#core.elapsedMs()
    const shortMax = this.#transactionsIn(pace.shared)
    this.#sharing.waiting(this.#arrived.sponsors(), shortMax, nowMs)
    if (!this.#sharing.isShared(nowMs)) return this.#transactionsIn(pace.alone)
    return ++this.#shortBlocks % probe.every === 0 ? Math.ceil(shortMax * probe.part) : shortMax
  }

  /** Docchain: the newest published Userchain checkpoint that is not older than the newest anchor. */
  #anchor(): SizeAndRoot | undefined {
    const { userchain } = this.#core.options
    if (userchain === undefined) return undefined
    const { anchor } = this.#core.head()
    const published = userchain.published()
    return published !== undefined && published.size >= (anchor?.size ?? 0) ? published : anchor
  }

  async #build(): Promise<BuiltBlock> {
    const core = this.#core
    const transactionsMax = this.#nextMax()
    const found = await this.#candidates(transactionsMax)
    const candidates = found.length > transactionsMax ? inTurns(found) : found
    const anchor = this.#anchor()
    const transactions = candidates.map(({ transaction }) => transaction)
    const limits = { ...blockLimits, transactionsMax }
    const order = { chain: core.chain, candidates: transactions, nowMs: core.nowMs(), limits }
    const built = core.ledger.buildBlock(anchor === undefined ? order : { ...order, anchor })
    this.#keep(candidates, built.verdicts)
    this.#arrived.want(transactionsMax)
    return built
  }

  /** Proposes one block if there is anything to propose, else waits for that. */
  async #next(leadership: Leadership): Promise<void> {
    const core = this.#core
    if (core.promise.current.term > leadership.term) throw new StepDown('a higher term was promised', 0)
    if (core.value !== undefined && core.value.term > leadership.term) throw new StepDown('a higher term was taken', 0)
    checkPart(core)
    if (!core.mayFollowHead) {
      await core.changed.wait(core.clock, idleMs, core.signal)
      return
    }
    const { pending } = await this.#build()
    // Jobs that arrive from now on are for the next block.
    core.changed.notify()
    if (pending === undefined) {
      if (this.#arrived.readyCount === 0) await core.changed.wait(core.clock, idleMs, core.signal)
      return
    }
    const blockBytes = encodeBlock(pending.leaves)
    core.known = { pending, blockBytes }
    const begunMs = core.elapsedMs()
    await decide(core, this.#follower, leadership, { pending, blockBytes, acks: [] })
    this.#pace.measure(pending.transactions.length, core.elapsedMs() - begunMs)
  }
}
