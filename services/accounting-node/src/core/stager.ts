/**
 * The acceptor's side of a proposal. A node promises terms, and stages at most one block per (height, term), only in the term that it
 * promised last; a block is executed and on its disk before its ack exists. What it staged it shows to the next leader.
 */
import type { PendingBlock } from '@healthblock/chain/block'
import { ChainError } from '@healthblock/chain/errors'
import { parseSealLeaf } from '@healthblock/chain/seal'
import { equalBytes } from '@healthblock/encoding/bytes'
import { isAccountingError } from '../errors.ts'
import { execute, type Follower } from './catch-up.ts'
import type { CoreState } from './core-state.ts'
import { readRegister } from './head-register.ts'
import type { StagedBlock } from './staged.ts'
import { type Ack, encodeAcks, encodeMessage, type Fields, isSameHead, parseAcks, parseBlock } from './wire.ts'

/** A new block's SEAL time lies at most this far from the stager's clock. */
export const clockDifferenceMsMax = 5_000
/** A new Docchain block is anchored at least at what the stager has known as published for this long. */
const anchorKnownMs = 2_000

/** How long a block may wait for the switch before it to be published. */
const switchWaitMs = 2_000

/** Why a node did not stage. */
type StageRefusal = 'behind' | 'term' | 'invalid' | 'clock' | 'anchor' | 'promised'

/** A block that a leader asks to stage. */
interface StageOrder {
  readonly height: number
  readonly term: number
  readonly leader: number
  readonly blockBytes: Uint8Array
  /** Of a re-proposal: acks of earlier terms for these bytes. */
  readonly acks: readonly Ack[]
}

/** A refusal, with what the leader may want to know. */
class Refused extends Error {
  readonly reason: StageRefusal
  constructor(reason: StageRefusal, message: string = reason) {
    super(message)
    this.reason = reason
  }
}

/**
 * Makes sure that `leader` holds `term`, if this node has not promised that term yet: a promise is given to whom the register names.
 */
async function checkTerm(core: CoreState, term: number, leader: number): Promise<void> {
  const promised = core.promise.current
  if (term < promised.term || (term === promised.term && leader !== promised.leader)) throw new Refused('term')
  // Its word is lost: whatever it was, it was given in a term that the register has had, so an older one than the present is not taken up.
  const isKnown = !core.promise.isLost || core.log.count() <= 1
  if (isKnown && term === promised.term) return
  if (isKnown && core.value?.term === term && core.value.leader === leader) return
  const { value } = await readRegister(core)
  if (value?.term !== term || value.leader !== leader) throw new Refused('term')
}

/**
 * A re-proposal is exempt from the rules about clock and anchor if as many nodes staged it before as a decided block's rules demand. A time
 * that lies ahead stays in the ledger for good, so one node's word is not enough for that: what may have been decided another one judged.
 */
async function isReproposal(core: CoreState, order: StageOrder, pending: PendingBlock): Promise<boolean> {
  if (order.acks.length === 0) return false
  const { members } = core
  const good = members.goodAcks(pending.head, order.acks)
  return good.length >= (liesAhead(core, pending.head) ? members.aheadVotesMin : Math.max(1, members.votesMin))
}

/** True for a block's time that is further ahead of this node's clock than that of a new block may be. */
export function liesAhead(core: CoreState, { ms }: { readonly ms: number }): boolean {
  return ms - core.nowMs() > clockDifferenceMsMax
}

/** The register named a block of this height or beyond, on q acks: this node is behind, and stages that very block or none. */
function checkDecided({ decided }: CoreState, { height, size, root }: PendingBlock['head']): void {
  if (decided === undefined || decided.height < height) return
  if (decided.height > height || !isSameHead(decided, { size, root })) throw new Refused('behind')
}

async function checkTimes(core: CoreState, order: StageOrder, pending: PendingBlock): Promise<void> {
  const { ms, anchor } = pending.head
  const late = Math.abs(ms - core.nowMs()) > clockDifferenceMsMax
  const known = core.options.userchain?.publishedSizeAt(core.elapsedMs() - anchorKnownMs) ?? 0
  const stale = anchor !== undefined && anchor.size < known
  if (!late && !stale) return
  if (await isReproposal(core, order, pending)) return
  throw new Refused(late ? 'clock' : 'anchor')
}

async function executed(core: CoreState, order: StageOrder): Promise<PendingBlock> {
  const { known } = core
  if (
    known !== undefined &&
    isSameHead(known.pending.base, core.head()) &&
    equalBytes(known.blockBytes, order.blockBytes)
  ) {
    return known.pending
  }
  const leaves = parseBlock(order.blockBytes)
  try {
    return await execute(core, leaves)
  } catch (error) {
    if (!(error instanceof ChainError)) throw error
    if (error.detail.code === 'ERR_ANCHOR_UNKNOWN') throw new Refused('behind', error.message)
    // Another block may have become the head meanwhile: then this one is late, not wrong.
    const last = leaves[leaves.length - 1]
    if (last !== undefined && isLate(core, last)) throw new Refused('behind')
    throw new Refused('invalid', error.message)
  }
}

function isLate(core: CoreState, sealLeaf: Uint8Array): boolean {
  try {
    return parseSealLeaf(sealLeaf).h <= core.head().height
  } catch {
    return false
  }
}

/** Stages a block that this node may stage; the commit point is the sync of its staged file. */
async function stageLocked(core: CoreState, order: StageOrder, pending: PendingBlock): Promise<StagedBlock> {
  const { height, term, leader, blockBytes } = order
  const promised = core.promise.current
  if (term < promised.term || (term === promised.term && leader !== promised.leader)) throw new Refused('term')
  if (!isSameHead(pending.base, core.head())) throw new Refused('behind')
  const before = core.staged.newest()
  if (before !== undefined && before.height === height && before.term >= term) {
    if (before.term === term && equalBytes(before.blockBytes, blockBytes)) return before
    throw new Refused('promised')
  }
  const { size, root } = pending.head
  const signature = core.members.signAck({ height, size, root }, { rank: core.rank, term }, core.options.keys.node)
  const staged: StagedBlock = { height, term, leader, blockBytes, size, root, signature }
  // To stage in a newer term is to promise it.
  if (term > promised.term) await core.durably(core.promise.bind({ term, leader }))
  await core.durably(core.staged.put(staged))
  core.known = { pending, blockBytes }
  if (leader !== core.rank) core.stagedMs = core.elapsedMs()
  return staged
}

/**
 * Stages a block in a leader's order, or says why not.
 *
 * @throws {Refused} with the reason; other errors are faults of this node.
 */
export async function stage(core: CoreState, follower: Follower, order: StageOrder): Promise<Ack> {
  if (order.height > core.head().height + 1) await follower.follow()
  if (!core.mayFollowHead) {
    // The switch at the head comes out first.
    await core.changed.until(() => core.mayFollowHead, core.clock, switchWaitMs, core.signal)
  }
  if (!core.takesPart || !core.mayFollowHead) throw new Refused('behind', 'no member, or a switch is under way')
  const ahead = order.height - core.head().height
  const ready = core.signFrom !== undefined && core.head().size >= core.signFrom.size
  if (ahead !== 1 || !ready) throw new Refused(ahead < 1 ? 'promised' : 'behind')
  await checkTerm(core, order.term, order.leader)
  const work = executeAndStage(core, order)
  const staging = { height: order.height, done: work.catch(() => {}) }
  core.staging = staging
  try {
    const staged = await work
    return { rank: core.rank, term: staged.term, signature: staged.signature }
  } finally {
    if (core.staging === staging) core.staging = undefined
  }
}

async function executeAndStage(core: CoreState, order: StageOrder): Promise<StagedBlock> {
  const pending = await executed(core, order)
  checkDecided(core, pending.head)
  await checkTimes(core, order, pending)
  return core.lock.run(() => stageLocked(core, order, pending))
}

function refusal(core: CoreState, error: unknown): Uint8Array {
  const reason = error instanceof Refused ? error.reason : 'behind'
  if (!(error instanceof Refused) && !isAccountingError(error, 'ERR_REGISTER_FAILED')) core.report('staging', error)
  return encodeMessage({ error: reason, promised: core.promise.current.term, height: core.head().height })
}

/** Answers `stage`. */
export async function answerStage(
  core: CoreState,
  follower: Follower,
  from: number,
  request: Fields,
): Promise<Uint8Array> {
  const order: StageOrder = {
    height: request.uint('height'),
    term: request.uint('term'),
    leader: from,
    blockBytes: request.bytes('block'),
    acks: request.has('acks') ? parseAcks(request.list('acks')) : [],
  }
  try {
    const ack = await stage(core, follower, order)
    return encodeMessage({ ack: ack.signature })
  } catch (error) {
    const reason = error instanceof Refused ? error.message : 'fault'
    core.options.observe({ kind: 'stage-refused', chain: core.chain, height: order.height, leader: from, reason })
    return refusal(core, error)
  }
}

/**
 * Promises a term to the node that the register names as its leader, durably, and tells what this node has.
 *
 * @throws {Refused} `term`.
 */
export async function collect(core: CoreState, request: { term: number; leader: number }): Promise<Uint8Array> {
  const { term, leader } = request
  if (!core.takesPart) throw new Refused('term')
  await checkTerm(core, term, leader)
  return core.lock.run(async () => {
    const promised = core.promise.current
    if (term < promised.term || (term === promised.term && leader !== promised.leader)) throw new Refused('term')
    const incarnation = Math.max(promised.incarnation, core.value?.incarnation ?? 0)
    if (term > promised.term) await core.durably(core.promise.bind({ term, leader, incarnation }))
    const { height, size, root } = core.head()
    const staged = core.staged.newest()
    const above = staged !== undefined && staged.height > height
    return encodeMessage({
      promised: term,
      attested: [height, size, root],
      ...(above
        ? {
            staged: {
              height: staged.height,
              term: staged.term,
              block: staged.blockBytes,
              size: staged.size,
              root: staged.root,
              acks: encodeAcks([{ rank: core.rank, term: staged.term, signature: staged.signature }]),
            },
          }
        : {}),
    })
  })
}

/** Answers `collect`. */
export async function answerCollect(core: CoreState, from: number, request: Fields): Promise<Uint8Array> {
  try {
    return await collect(core, { term: request.uint('term'), leader: from })
  } catch (error) {
    return refusal(core, error)
  }
}
