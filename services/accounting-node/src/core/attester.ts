/**
 * Cosigning, and gathering the others' cosignatures until there are q: then the checkpoint is published. A node cosigns only what
 * it executed and stored, one root per size, in ascending order, and its promise to do so is on its disk before the signature exists.
 */
import {
  addSignatures,
  type Cosignature,
  checkpointText,
  cosignCheckpoint,
  parseCheckpoint,
  signCheckpoint,
  verifyCosignature,
} from '@healthblock/chain/checkpoint'
import { encodeSingleNote, evidenceKinds } from '@healthblock/chain/misconduct'
import { trailStepsMax } from '@healthblock/chain/policy-trail'
import { encodeUtf8, equalBytes } from '@healthblock/encoding/bytes'
import type { CoreState } from './core-state.ts'
import type { HeldCosignature } from './cosignatures.ts'
import type { Members } from './members.ts'
import { encodeStep, makeStep, parseStep } from './trail-store.ts'
import { encodeMessage, Fields, isSameHead, parseMessage } from './wire.ts'

const utf8 = new TextDecoder()
/** Most steps of one answer. */
const trailStepsAtOnceMax = 256
/** How long a leader waits for q before it answers a cosignature without the note. */
const noteWaitMs = 500

/** A cosignature line over a head. */
interface HeadLine {
  readonly size: number
  readonly root: Uint8Array
  readonly line: string
}

/**
 * Cosigns the head, if this node may and has not yet (or `again`: a heartbeat), and publishes if that makes q. The leader gathers the
 * cosignatures of the block that it had decided; `again` tells all peers.
 */
export async function cosign(core: CoreState, options: { again?: boolean } = {}): Promise<void> {
  const line = await core.lock.run(async () => {
    const { size, root, height } = core.head()
    const { attesters } = core
    const { account, keys } = core.options
    if (core.signal.aborted || core.isEnded || !core.maySign(size) || !attesters.takesPart(account, keys))
      return undefined
    const promised = core.promise.current
    if (promised.size === size && !equalBytes(promised.root, root)) {
      throw core.fork(height, `this node cosigned another root at size ${size} than it has now`)
    }
    const isDone = core.cosigned.size === size && core.cosigned.k === attesters.k
    if (isDone && options.again !== true) return undefined
    if (promised.size < size) await core.durably(core.promise.bind({ size, root }))
    core.cosigned = { size, k: attesters.k }
    const head = { origin: attesters.origin, size, root }
    const cosigner = { rank: core.rankIn(attesters), signer: keys.cosigner, nowMs: core.nowMs() }
    return { ...head, line: cosignCheckpoint(head, cosigner) }
  })
  if (line === undefined) return
  takeCosignature(core, line)
  share(core, line, options.again === true)
}

/** Which peers learn of this node's cosignature, and when. */
function share(core: CoreState, line: HeadLine, toAll: boolean): void {
  const message = encodeMessage({ size: line.size, root: line.root, line: encodeUtf8(line.line) })
  const leader = core.value?.leader
  core.unspread = toAll ? undefined : line
  if (toAll) core.tell('cosignature', message)
  else if (leader !== undefined && leader !== core.rank) void hand(core, leader, line, message)
}

/**
 * Hands the cosignature to the leader, who answers with the note of q. Without that it goes to all: one message instead of one to each
 * node and one from each.
 */
async function hand(core: CoreState, leader: number, line: HeadLine, message: Uint8Array): Promise<void> {
  try {
    const answer = parseMessage(await core.call(leader, 'cosignature', message))
    if (answer.has('checkpoint')) return takePublished(core, utf8.decode(answer.bytes('checkpoint')))
  } catch {
    // The leader is away: whoever takes over needs this, and every reader does.
  }
  // Of an older one nobody needs to hear: the newer is on its way as this one was.
  if (core.unspread === line && (core.published?.size ?? 0) < line.size) core.tell('cosignature', message)
}

/** Tells all peers of the newest cosignature of this node that no note which it knows has shown them: they are asked for it if it ever loses its disk. */
export function spread(core: CoreState): void {
  const line = core.unspread
  if (line === undefined) return
  core.unspread = undefined
  if (core.published?.checkpoint.includes(line.line) === true) return
  core.tell('cosignature', encodeMessage({ size: line.size, root: line.root, line: encodeUtf8(line.line) }))
}

/** Takes a cosignature from whoever sent it, verifies it, and publishes if that makes q. Wrong ones are dropped. */
export function takeCosignature(core: CoreState, cosignature: HeadLine): void {
  const { size, root, line } = cosignature
  // Of what is published long since only a contradiction is of interest.
  if (size < (core.published?.size ?? 0) && isOfLog(core, { size, root })) return
  if (!core.cosignatures.has(cosignature)) {
    const verified = verifyLine(core, { size, root, line })
    if (verified === undefined) return
    convict(core, { ...verified, size, root })
    core.cosignatures.add({ ...verified, size, root }, core.published?.size ?? 0)
    // Of more than n - q one is honest: what fewer signed need not exist.
    const { count, quorum } = core.members
    core.largestSizeSeen = Math.max(core.largestSizeSeen, core.cosignatures.sizeSignedBy(count - quorum + 1))
  }
  publish(core)
}

/** False if this log has another root at this size, or no boundary; true also for what lies ahead. */
function isOfLog(core: CoreState, { size, root }: { size: number; root: Uint8Array }): boolean {
  if (size > core.head().size) return true
  const boundary = core.ledger.index(core.chain).boundary(size)
  return boundary !== undefined && equalBytes(boundary.root, root)
}

/** A line that contradicts another one of its key, or this log, is evidence against its node. */
function convict(core: CoreState, held: HeldCosignature): void {
  const { chain } = core
  const { origin } = core.members
  const noteOf = ({ size, root, line }: HeldCosignature): Uint8Array =>
    encodeSingleNote(checkpointText({ origin, size, root }), line)
  const before = core.cosignatures.contradicting(held)
  const tell = (kind: number, notes: readonly Uint8Array[]): void =>
    core.options.observe({ kind: 'evidence', chain, evidence: { chain, kind, notes } })
  if (before !== undefined) tell(evidenceKinds.equivocation, [noteOf(before), noteOf(held)])
  else if (!isOfLog(core, held)) tell(evidenceKinds.conflict, [noteOf(held)])
}

/** A line of somebody who may cosign a head of this size, with his key; wrong ones are reported. */
export function verifyLine(
  core: CoreState,
  { size, root, line }: { size: number; root: Uint8Array; line: string },
): (Cosignature & { key: Uint8Array }) | undefined {
  let failure: unknown
  for (const { origin, policy } of core.cosignersOf(size)) {
    try {
      const verified = verifyCosignature({ line, head: { origin, size, root }, cosigners: policy.cosigners })
      return { ...verified, key: policy.cosigners[verified.rank] as Uint8Array }
    } catch (error) {
      failure ??= error
    }
  }
  core.report('a cosignature', failure)
  return undefined
}

/** Answers `cosignature`: a leader with the note of q, if that comes in time. */
export async function answerCosignature(core: CoreState, request: Fields): Promise<Uint8Array> {
  const size = request.uint('size')
  takeCosignature(core, { size, root: request.bytes('root', 32), line: utf8.decode(request.bytes('line')) })
  if (core.leadingTerm === 0) return encodeMessage({})
  const isOut = (): boolean => (core.published?.size ?? 0) >= size
  if (!isOut()) await core.changed.until(isOut, core.clock, noteWaitMs, core.signal)
  const { published } = core
  return encodeMessage(published !== undefined && isOut() ? { checkpoint: encodeUtf8(published.checkpoint) } : {})
}

/** Publishes the largest applied boundary that q nodes cosigned, or a fresher note of the published one. */
export function publish(core: CoreState): void {
  const head = core.head()
  for (const height of [head.height, head.height - 1]) {
    const place = core.ledger.index(core.chain).boundaryAt(height)
    if (place === undefined) continue
    if (place.size < (core.published?.size ?? 0)) return
    // Readers find each policy on the trail: nothing is published under one that is not there yet, so a switch comes out under the one before it.
    const newest = core.options.trail.newest(core.chain)
    const members = core.memberships.cosignersOf(height).filter(({ k }) => k <= newest)
    // Then under the one after it too: the log key of a node that has new keys counts only there.
    for (const one of members.toReversed()) {
      const lines = core.cosignatures.over(place, one.policy)
      if (lines.length < one.quorum) continue
      publishUnder(core, place, one, lines)
      return
    }
  }
}

function publishUnder(
  core: CoreState,
  { height, size, root }: { height: number; size: number; root: Uint8Array },
  members: Members,
  lines: readonly HeldCosignature[],
): void {
  // Of a size that is out already, only fresher cosignatures make a new note, or those of a newer policy.
  const times = lines.map(({ time }) => time).sort((a, b) => b - a)
  const oldestTime = times[members.quorum - 1] as number
  const fresh = size !== core.published?.size
  if (!fresh && oldestTime <= core.publishedOldestTime && members.k <= core.publishedUnder) return
  const note = signCheckpoint({ origin: members.origin, size, root }, core.options.keys.log)
  const checkpoint = addSignatures(
    note,
    lines.map(({ line }) => line),
  )
  core.published = { height, size, root, checkpoint }
  core.publishedOldestTime = oldestTime
  core.publishedUnder = members.k
  if (fresh) core.options.observe({ kind: 'published', chain: core.chain, size, cosigners: lines.length })
  core.notifyPublished(core.published, fresh)
  if (size === core.head().size && members.k < core.members.k) {
    core.switchNote = { size, checkpoint }
    keepStep(core)
  }
}

/** Where the leaf lies that a step of the trail for this head shows: the `govern`, or Docchain's SEAL. */
function switchIndex(core: CoreState): number {
  return core.chain === 'docchain' ? core.head().size - 1 : core.ledger.policy('userchain').o
}

/** Puts the switch at the head on the trail, once its checkpoint is published; from then on blocks may follow. Does nothing if it is there. */
export function keepStep(core: CoreState): void {
  const { chain, switchNote } = core
  const { trail } = core.options
  if (switchNote?.size !== core.head().size || core.mayFollowHead) return
  // Docchain's step names a policy that Userchain's has to prove first; the next tick tries again.
  if (chain === 'docchain' && trail.newest('userchain') < core.members.k) return
  const { size, checkpoint } = switchNote
  const index = switchIndex(core)
  const work = async (): Promise<void> => {
    const { note } = trail.trail.receiptForm(chain, checkpoint)
    await trail.add(await makeStep(core.log, { chain, index, size, checkpoint: note }))
    core.options.observe({ kind: 'policy', chain, k: trail.newest(chain), size })
    core.changed.notify()
    await cosign(core)
  }
  // A node whose log key is none of that policy's cannot make the step: it takes the others'.
  work().catch((error) => core.report('the policy trail', error))
}

/** Answers `trail`: the steps from a number on. */
export function answerTrail(core: CoreState, request: Fields): Uint8Array {
  const steps = core.options.trail.trail.steps.slice(request.uint('from'), request.uint('from') + trailStepsAtOnceMax)
  return encodeMessage({ steps: steps.map(encodeStep) })
}

/** Takes the steps that a peer has and this node lacks. */
export async function fetchTrail(core: CoreState, rank: number): Promise<void> {
  const { trail } = core.options
  const before = trail.trail.steps.length
  // Two nodes may hold steps of different chains in different orders, so those known are read again and passed over.
  for (let from = 0; from < trailStepsMax; ) {
    const steps = parseMessage(await core.call(rank, 'trail', encodeMessage({ from }))).list('steps')
    if (steps.length === 0) break
    for (const value of steps) await trail.add(parseStep(Fields.of(value)))
    from += steps.length
  }
  if (trail.trail.steps.length > before) core.changed.notify()
}

/** Takes the cosignatures of a published note that a peer served. */
export function takePublished(core: CoreState, checkpoint: string): void {
  const { origin, size, root } = parseCheckpoint(checkpoint)
  if (origin !== core.members.origin || size < (core.published?.size ?? 0)) return
  // The lines stand after the empty line; those of log keys are no cosignatures.
  const lines = checkpoint.slice(checkpoint.lastIndexOf('\n\n') + 2).split(/(?<=\n)/)
  for (const line of lines) {
    if (line.startsWith(`\u2014 ${origin}/`)) takeCosignature(core, { size, root, line })
  }
}

/** True if this node's newest head is published. */
export function isPublished(core: CoreState): boolean {
  return core.published !== undefined && isSameHead(core.published, core.head())
}
