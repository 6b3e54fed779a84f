/**
 * Following decided blocks. A block is decided for good when q nodes staged it in one term; its acks are kept with it, so whoever
 * has a block can prove it to one that is behind, and peers need no trust. Every block is executed here before it counts.
 */
import type { PendingBlock } from '@healthblock/chain/block'
import { ChainError } from '@healthblock/chain/errors'
import { prepareLeaves } from '@healthblock/chain/preparation'
import { cosign } from './attester.ts'
import { type CoreState, type KnownBlock, parseTransactions, peerPatienceMs, peerTimeoutMs } from './core-state.ts'
import { readRegister } from './head-register.ts'
import { encodeRecord } from './log.ts'
import { within } from './mutex.ts'
import {
  type Ack,
  asLeaves,
  encodeAcks,
  encodeMessage,
  type Fields,
  type HeadValue,
  isSameHead,
  parseAcks,
  parseBlock,
  parseMessage,
} from './wire.ts'

/** Most blocks, and bytes, of one answer. */
const blocksPerAnswerMax = 64
const answerSizeBytesMax = 4 * 1024 * 1024
/** How long a Docchain block may wait for Userchain to reach its anchor. */
export const anchorWaitMs = 2_000

/** A decided block and its proof, as peers send it. */
interface DecidedBlock {
  readonly blockBytes: Uint8Array
  readonly acks: readonly Ack[]
}

/** Answers `block`: decided blocks from `height` on; with `staged`, the undecided one that this node staged there, if it has no other. */
export function answerBlocks(core: CoreState, request: Fields): Uint8Array {
  const from = request.uint('height')
  const max = Math.min(request.has('max') ? request.uint('max') : 1, blocksPerAnswerMax)
  const blocks: (Uint8Array | ReturnType<typeof encodeAcks>)[][] = []
  let sizeBytes = 0
  for (let height = from; height < from + max && height < core.log.count(); height++) {
    const { blockBytes, acks } = core.log.record(height)
    sizeBytes += blockBytes.length
    if (blocks.length > 0 && sizeBytes > answerSizeBytesMax) break
    blocks.push([blockBytes, encodeAcks(acks)])
  }
  const staged = core.staged.newest()
  const withStaged = blocks.length === 0 && staged?.height === from
  return encodeMessage({ blocks, ...(withStaged ? { staged: staged.blockBytes } : {}) })
}

/** Reads, hashes and verifies a block's leaves, on the node's threads if it has some. */
async function prepared(core: CoreState, leaves: readonly Uint8Array[]) {
  const { ledger, chain } = core
  if (ledger.workers !== undefined) {
    const order = { workers: ledger.workers, ledger, chain, seen: ledger.signatures, isUrgent: true }
    const known = await prepareLeaves(order, leaves)
    return { leaves: known.map(({ leaf }) => leaf), prepared: known }
  }
  const parsed = parseTransactions(leaves)
  await ledger.preverify(chain, parsed, { isUrgent: true })
  return { leaves, parsed }
}

/** Executes a block on the committed head; waits up to `anchorWaitMs` for Userchain if the anchor is not applied yet. */
export async function execute(core: CoreState, leaves: readonly Uint8Array[]): Promise<PendingBlock> {
  const block = await prepared(core, leaves)
  for (let attempt = 0; ; attempt++) {
    try {
      return core.ledger.checkBlock({ chain: core.chain, ...block })
    } catch (error) {
      if (!(error instanceof ChainError) || error.detail.code !== 'ERR_ANCHOR_UNKNOWN' || attempt > 0) throw error
      const { size } = error.detail
      const reached = (): boolean => core.ledger.head('userchain').size >= size
      // Userchain's core follows its own register; its appliers wake this one.
      await core.changed.until(reached, core.clock, anchorWaitMs, core.signal)
    }
  }
}

/** The block of a decided head: the one computed or staged here, if it is that one. */
async function ownBlock(
  core: CoreState,
  head: { height: number; size: number; root: Uint8Array },
): Promise<KnownBlock | undefined> {
  const { known } = core
  if (known !== undefined && isSameHead(known.pending.head, head) && isSameHead(known.pending.base, core.head()))
    return known
  const staged = core.staged.newest()
  if (staged?.height !== head.height || !isSameHead(staged, head)) return undefined
  return { pending: await execute(core, parseBlock(staged.blockBytes)), blockBytes: staged.blockBytes }
}

/** The same, once the block of this height that is being staged here is: the others may decide a block before the last of them has stored it. */
async function stagedBlock(core: CoreState, value: HeadValue): Promise<KnownBlock | undefined> {
  const own = await ownBlock(core, value)
  if (own !== undefined || core.staging?.height !== value.height) return own
  await within(core.clock, core.staging.done, { ms: peerPatienceMs, signal: core.signal })
  return value.height === core.head().height + 1 ? ownBlock(core, value) : undefined
}

/** What a peer answers to `block`. */
interface BlocksAnswer {
  readonly blocks: readonly DecidedBlock[]
  readonly staged?: Uint8Array
}

async function fetchFrom(core: CoreState, rank: number, height: number, max: number): Promise<BlocksAnswer> {
  const answer = parseMessage(await core.call(rank, 'block', encodeMessage({ height, max })))
  const blocks = answer.list('blocks').map((value) => {
    const [blockBytes, acks] = Array.isArray(value) ? value : []
    return {
      blockBytes: asLeaves([blockBytes ?? 0])[0] as Uint8Array,
      acks: parseAcks(Array.isArray(acks) ? acks : []),
    }
  })
  return { blocks, ...(answer.has('staged') ? { staged: answer.bytes('staged') } : {}) }
}

/** Executes and applies one block that a peer sent, if its acks prove it. Answers false if they do not. */
async function takeDecided(core: CoreState, block: DecidedBlock, target: { height: number }): Promise<boolean> {
  const pending = await execute(core, parseBlock(block.blockBytes))
  const { head } = pending
  if (!core.members.isDecided(head, block.acks)) return false
  await core.apply({ pending, blockBytes: block.blockBytes }, block.acks, { sign: head.height >= target.height })
  return true
}

/**
 * The first answer with a block in it: the peers are asked one after the other, the next as soon as one failed, had nothing, or has kept this
 * node waiting. A dead or a bad peer costs a second, not the time that a slow one may take.
 */
async function fetchFirst(
  core: CoreState,
  ranks: readonly number[],
  height: number,
  max: number,
): Promise<BlocksAnswer | undefined> {
  const first = Promise.withResolvers<void>()
  let found: BlocksAnswer | undefined
  const ask = async (rank: number): Promise<void> => {
    try {
      const answer = await fetchFrom(core, rank, height, max)
      if (answer.blocks.length === 0 && answer.staged === undefined) return
      found ??= answer
      first.resolve()
    } catch (error) {
      if (found === undefined) core.report(`catching up from rank ${rank}`, error)
    }
  }
  const asked: Promise<void>[] = []
  for (const rank of ranks) {
    const asking = ask(rank)
    asked.push(asking)
    const either = Promise.race([asking, first.promise])
    await within(core.clock, either, { ms: peerPatienceMs, signal: core.signal })
    if (found !== undefined || core.signal.aborted) return found
  }
  const either = Promise.race([Promise.all(asked), first.promise])
  await within(core.clock, either, { ms: peerTimeoutMs.block, signal: core.signal })
  return found
}

/** Takes what the first peer has that has anything. Answers true if this node got on. */
async function followPeers(
  core: CoreState,
  ranks: readonly number[],
  target: { height: number; size?: number; root?: Uint8Array; acks?: readonly Ack[] },
): Promise<boolean> {
  const before = core.head().height
  const next = before + 1
  const answer = await fetchFirst(core, ranks, next, Math.min(target.height - before, blocksPerAnswerMax))
  if (answer === undefined) return false
  const { blocks, staged } = answer
  for (const block of blocks) if (!(await takeDecided(core, block, target))) break
  const { size, root, acks } = target
  if (
    blocks.length === 0 &&
    staged !== undefined &&
    next === target.height &&
    size !== undefined &&
    root !== undefined
  ) {
    const pending = await execute(core, parseBlock(staged))
    if (isSameHead(pending.head, { size, root }) && acks !== undefined) {
      await core.apply({ pending, blockBytes: staged }, acks, { sign: true })
    }
  }
  return core.head().height > before
}

/**
 * Applies decided blocks from peers until this node has the height of `target`, or no peer helps on. With `size`, `root` and `acks`
 * (a value of the register) the last block may also be one that a peer only staged.
 */
export async function catchUp(
  core: CoreState,
  target: { height: number; size?: number; root?: Uint8Array; acks?: readonly Ack[] },
): Promise<void> {
  const from = core.head().height
  const others = core.sources()
  let failures = 0
  for (
    let turn = Math.max(0, core.rank);
    core.head().height < target.height && failures < others.length && !core.signal.aborted;
    turn++
  ) {
    const start = turn % others.length
    try {
      if (await followPeers(core, [...others.slice(start), ...others.slice(0, start)], target)) failures = 0
      else failures++
    } catch (error) {
      failures++
      core.report('a block that a peer gave', error)
    }
  }
  const to = core.head().height
  if (to > from + 1) core.options.observe({ kind: 'caught-up', chain: core.chain, fromHeight: from, toHeight: to })
}

/**
 * Reads the register and applies what it decided: usually the one block that was staged here, else whatever the peers give. Then
 * cosigns, if this node is at the newest decided head.
 *
 * @throws {AccountingError} as `readRegister`.
 */
export async function followRegister(core: CoreState): Promise<void> {
  let { value, claimed } = await readRegister(core)
  if (value === undefined && claimed !== undefined && claimed.height > core.head().height + 1) {
    // It may stand on acks of a policy that lies between: every block on the way proves itself.
    await catchUp(core, { height: claimed.height })
    value = (await readRegister(core)).value
  }
  if (value === undefined) return
  if (value.height === core.head().height + 1) {
    const own = await stagedBlock(core, value)
    if (own !== undefined) await core.apply(own, value.acks, { sign: true })
  }
  if (value.height > core.head().height) await catchUp(core, value)
  const head = core.head()
  if (head.height >= value.height) await cosign(core)
}

/**
 * Fetches the block of a height that this node has applied and whose record is damaged, and stores it again. `isGood` compares it with
 * what was executed here; its acks must prove it to others, as those of the damaged record did.
 */
export async function repairBlock(
  core: CoreState,
  height: number,
  isGood: (leaves: readonly Uint8Array[]) => boolean,
): Promise<boolean> {
  const boundary = core.ledger.index(core.chain).boundaryAt(height)
  if (boundary === undefined) return false
  for (const rank of core.sources()) {
    try {
      const [block] = (await fetchFrom(core, rank, height, 1)).blocks
      if (block === undefined || !isGood(parseBlock(block.blockBytes))) continue
      if (!core.memberships.at(height).isDecided(boundary, block.acks)) continue
      await core.lock.run(() => core.log.repair(height, encodeRecord(block)))
      return true
    } catch (error) {
      core.report(`repairing block ${height} from rank ${rank}`, error)
    }
  }
  return false
}

/** One follower of the register at a time; a call during another one makes it look once more. */
export class Follower {
  readonly #core: CoreState
  #running: Promise<void> | undefined
  #again = false

  constructor(core: CoreState) {
    this.#core = core
  }

  /** Follows the register now. Never rejects: a fault is reported, and the next call tries again. */
  follow(): Promise<void> {
    if (this.#running !== undefined) {
      this.#again = true
      return this.#running
    }
    this.#running = this.#run().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #run(): Promise<void> {
    do {
      this.#again = false
      try {
        await followRegister(this.#core)
      } catch (error) {
        this.#core.report('following the register', error)
      }
    } while (this.#again && !this.#core.signal.aborted)
  }
}
