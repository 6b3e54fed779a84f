/** The leader's side of one block: staged by q nodes, then decided by compare-and-set. Both are repeated until the outcome is known. */
import type { PendingBlock } from '@healthblock/chain/block'
import { equalBytes } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import { cosign } from './attester.ts'
import type { Follower } from './catch-up.ts'
import type { CoreState } from './core-state.ts'
import { readRegister } from './head-register.ts'
import { stage } from './stager.ts'
import { type Ack, encodeAcks, encodeHeadValue, encodeMessage, type HeadValue, parseMessage } from './wire.ts'

/** Pauses between tries of one peer. */
const behindPauseMs = 50
const awayPauseMs = 250
/** How often a leader whose block is under way looks whether it still leads. */
const lookMs = 250

/** This node leads no more: another term was promised or taken. `promised` is the highest term heard of. */
export class StepDown extends Error {
  override readonly name = 'StepDown'
  readonly promised: number
  constructor(reason: string, promised: number) {
    super(reason)
    this.promised = promised
  }
}

/** So many nodes refused the block itself that q can no longer stage it: in another term another one must be built. */
export class BlockRefused extends Error {
  override readonly name = 'BlockRefused'
  /** The least of the terms that the refusing nodes say to have promised: of so many one is honest, and has promised no less. */
  readonly promised: number
  constructor(reason: string, promised: number) {
    super(reason)
    this.promised = promised
  }
}

/** A leader's hold on a chain: its term and the register's value under it. */
export interface Leadership {
  readonly term: number
  /** The value and the bytes that the next compare-and-set expects. */
  value: HeadValue
  bytes: Uint8Array
}

/** A block to stage; `acks` if it is a re-proposal. */
export interface Proposal {
  readonly pending: PendingBlock
  readonly blockBytes: Uint8Array
  readonly acks: readonly Ack[]
}

/** One round of staging: asks all nodes at once until q acks are in, or q can no longer be. */
class Round {
  readonly #core: CoreState
  readonly #follower: Follower
  readonly #term: number
  readonly #proposal: Proposal
  readonly #acks = new Map<number, Ack>()
  /** The term that each node which refused says to have promised. */
  readonly #refused = new Map<number, number>()
  readonly #done = Promise.withResolvers<Ack[]>()
  #open = true
  /** True while this node's own staging waits for another node's ack. */
  #ownWaits = false

  constructor(core: CoreState, follower: Follower, term: number, proposal: Proposal) {
    this.#core = core
    this.#follower = follower
    this.#term = term
    this.#proposal = proposal
  }

  async run(): Promise<Ack[]> {
    const core = this.#core
    const abort = (): void => this.#done.reject(new StepDown('stopping', 0))
    core.signal.addEventListener('abort', abort)
    if (core.signal.aborted) abort()
    const { blockBytes, acks } = this.#proposal
    const { height } = this.#proposal.pending.head
    const order = encodeMessage({
      height,
      term: this.#term,
      block: blockBytes,
      ...(acks.length > 0 ? { acks: encodeAcks(acks) } : {}),
    })
    for (const rank of core.members.others(core.rank)) void this.#ask(rank, order)
    this.#ownWaits = this.#isJudgedFirst()
    if (!this.#ownWaits) void this.#own()
    void this.#watch()
    try {
      return await this.#done.promise
    } finally {
      this.#open = false
      core.signal.removeEventListener('abort', abort)
    }
  }

  /**
   * True for a new block that another node must find good before this one stages it. Under a policy in which what one node staged may have
   * been decided, that block would be proposed again, free of the rules of clock and anchor, although all others had refused it: a leader's
   * wrong clock would be the ledger's for good.
   */
  #isJudgedFirst(): boolean {
    const { members } = this.#core
    return this.#proposal.acks.length === 0 && members.count > 1 && members.votesMin < 2
  }

  /** Ends the round once this node has promised a later term, or has seen one taken: then q acks of this one may never come. */
  async #watch(): Promise<void> {
    const core = this.#core
    while (this.#open && !core.signal.aborted) {
      if (Math.max(core.promise.current.term, core.value?.term ?? 0) > this.#term) {
        this.#done.reject(new StepDown('a later term was promised or taken', 0))
        return
      }
      await core.changed.wait(core.clock, lookMs, core.signal)
    }
  }

  async #own(): Promise<void> {
    const { blockBytes, acks, pending } = this.#proposal
    const { rank } = this.#core
    try {
      const order = { height: pending.head.height, term: this.#term, leader: rank, blockBytes, acks }
      this.#acked(await stage(this.#core, this.#follower, order))
    } catch (error) {
      this.#done.reject(new StepDown(`cannot stage here: ${messageOf(error)}`, this.#core.promise.current.term))
    }
  }

  async #ask(rank: number, order: Uint8Array): Promise<void> {
    const core = this.#core
    while (this.#open && !core.signal.aborted) {
      const pauseMs = await this.#askOnce(rank, order)
      if (pauseMs === undefined || !this.#open) return
      await core.wait(pauseMs)
    }
  }

  /** Answers how long to wait before the next try, or undefined if this node has given its answer. */
  async #askOnce(rank: number, order: Uint8Array): Promise<number | undefined> {
    const core = this.#core
    const { head } = this.#proposal.pending
    try {
      const answer = parseMessage(await core.call(rank, 'stage', order))
      // What comes after the outcome changes nothing: an ack costs as much to verify as a transaction.
      if (!this.#open) return undefined
      if (answer.has('ack')) {
        const ack: Ack = { rank, term: this.#term, signature: answer.bytes('ack', 64) }
        if (core.members.isAck(head, ack)) this.#acked(ack)
        else this.#refusedBy(rank, 'an ack that does not verify', 0)
        return undefined
      }
      const promised = answer.uint('promised')
      if (answer.uint('height') >= head.height || promised > this.#term) {
        await this.#claimed(rank, promised)
        return undefined
      }
      const reason = answer.text('error')
      if (reason === 'behind' || reason === 'term') return behindPauseMs
      this.#refusedBy(rank, reason, promised)
      return undefined
    } catch {
      return awayPauseMs
    }
  }

  #acked(ack: Ack): void {
    this.#acks.set(ack.rank, ack)
    if (this.#ownWaits) {
      this.#ownWaits = false
      void this.#own()
    }
    if (this.#acks.size < this.#core.members.quorum) return
    this.#done.resolve([...this.#acks.values()].sort((a, b) => a.rank - b.rank))
  }

  /**
   * A peer says that it promised a later term, or has this height already. The register shows it, or it is one node's word, which makes no
   * leader step down: that node refuses, and the others decide.
   */
  async #claimed(rank: number, promised: number): Promise<void> {
    const { height } = this.#proposal.pending.head
    const { value } = await readRegister(this.#core)
    const isOurs = value?.term === this.#term && value.leader === this.#core.rank && value.height < height
    if (isOurs) this.#refusedBy(rank, 'promised', promised)
    else this.#done.reject(new StepDown('the register names another term, leader or block', value?.term ?? 0))
  }

  #refusedBy(rank: number, reason: string, promised: number): void {
    this.#refused.set(rank, promised)
    const { count, quorum } = this.#core.members
    if (this.#refused.size <= count - quorum) return
    this.#done.reject(new BlockRefused(reason, Math.min(...this.#refused.values())))
  }
}

/**
 * Has q nodes stage a block in the leader's term. As long as too few answer it asks again.
 *
 * @returns q acks of distinct nodes, ascending by rank.
 * @throws {StepDown} if this node leads no more; {BlockRefused} if the block itself was refused by too many.
 */
export function gatherAcks(core: CoreState, follower: Follower, term: number, proposal: Proposal): Promise<Ack[]> {
  return new Round(core, follower, term, proposal).run()
}

/**
 * Sets the register from what this leader knows it to be to `next`. A try whose outcome is unknown is followed by reading.
 *
 * @throws {StepDown} if somebody else changed it.
 */
export async function setRegister(core: CoreState, leadership: Leadership, next: HeadValue): Promise<void> {
  const bytes = encodeHeadValue(next)
  while (!core.signal.aborted) {
    try {
      // The commit point of a block: when this is done, q nodes hold it and no other can follow.
      const done = await core.options.register.cas(core.chain, leadership.bytes, bytes)
      const found = done ? bytes : (await readRegister(core)).bytes
      if (found !== undefined && equalBytes(found, bytes)) {
        leadership.value = next
        leadership.bytes = bytes
        core.value = next
        return
      }
      if (found === undefined || !equalBytes(found, leadership.bytes)) {
        throw new StepDown('the register holds another value', core.value?.term ?? 0)
      }
    } catch (error) {
      if (error instanceof StepDown) throw error
      core.registerReachable = false
      core.report('the head register', error)
      await core.wait(awayPauseMs)
    }
  }
  throw new StepDown('stopping', 0)
}

/** Stages, decides and applies one block, and tells the others. */
export async function decide(
  core: CoreState,
  follower: Follower,
  leadership: Leadership,
  proposal: Proposal,
): Promise<void> {
  const acks = await gatherAcks(core, follower, leadership.term, proposal)
  const { height, size, root } = proposal.pending.head
  await setRegister(core, leadership, { ...leadership.value, height, size, root, acks })
  core.tell('decided', encodeMessage({ value: leadership.bytes }))
  const applied = await core.apply(proposal, acks, { sign: true })
  if (!applied && core.head().height < height) await follower.follow()
  await cosign(core)
}
