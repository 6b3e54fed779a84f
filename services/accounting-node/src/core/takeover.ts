/**
 * Taking a term, and what a new leader owes to blocks that may have been decided before it: it asks q nodes what they promised,
 * attested and staged, follows the highest of them, and re-proposes byte for byte what a decided block's acks would show.
 */

import { parseSealLeaf } from '@healthblock/chain/seal'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import { catchUp, execute } from './catch-up.ts'
import type { CoreState } from './core-state.ts'
import { readRegister, termsAheadMax } from './head-register.ts'
import { type Leadership, type Proposal, StepDown, setRegister } from './proposal.ts'
import { collect, liesAhead } from './stager.ts'
import {
  type Ack,
  encodeHeadValue,
  encodeMessage,
  type Fields,
  type HeadValue,
  isSameHead,
  parseAcks,
  parseBlock,
  parseMessage,
} from './wire.ts'

/** Pause between rounds of asking while fewer than q nodes answer. */
const roundPauseMs = 300
/** How often a new leader asks again to catch up with the highest attested block before it gives the term up. */
const catchUpTriesMax = 20
/** And with one that the register does not name, before it does without the nodes that say to have it. */
const unprovedTriesMax = 6
/** How long it does without them. */
const unprovedMs = 10_000

/** A block that a collected node staged. */
interface StagedReport {
  readonly height: number
  readonly size: number
  readonly root: Uint8Array
  readonly blockBytes: Uint8Array
  readonly ack: Ack
}

/** What one node told a new leader. */
interface Report {
  readonly rank: number
  readonly height: number
  readonly staged: StagedReport | undefined
}

async function parseStaged(core: CoreState, rank: number, fields: Fields): Promise<StagedReport | undefined> {
  const [ack] = parseAcks(fields.list('acks'))
  const subject = { height: fields.uint('height'), size: fields.uint('size'), root: fields.bytes('root', 32) }
  if (ack === undefined || ack.rank !== rank || ack.term !== fields.uint('term')) return undefined
  if (!core.memberships.at(subject.height).isAck(subject, ack)) return undefined
  return { ...subject, blockBytes: fields.bytes('block'), ack }
}

async function askOne(core: CoreState, rank: number, term: number): Promise<Report> {
  const body = encodeMessage({ term })
  const bytes =
    rank === core.rank ? await collect(core, { term, leader: core.rank }) : await core.call(rank, 'collect', body)
  const answer = parseMessage(bytes)
  if (answer.has('error'))
    throw new StepDown(`rank ${rank} promised term ${answer.uint('promised')}`, answer.uint('promised'))
  const [height] = answer.list('attested')
  if (answer.uint('promised') !== term || typeof height !== 'number') throw new StepDown('a malformed answer', 0)
  const staged = answer.has('staged') ? await parseStaged(core, rank, answer.map('staged')) : undefined
  return { rank, height, staged }
}

/** Asks all nodes once; gives the answers as soon as there are q, or whatever came after 4 s. */
async function askAll(core: CoreState, term: number): Promise<{ reports: Report[]; promised: number }> {
  const reports: Report[] = []
  let promised = 0
  const asked = [core.rank, ...core.members.others(core.rank).filter((rank) => !core.isUnproved(rank))]
  const asking = asked.map(async (rank) => {
    try {
      reports.push(await askOne(core, rank, term))
    } catch (error) {
      if (error instanceof StepDown) promised = Math.max(promised, Math.min(error.promised, term + termsAheadMax))
    }
    core.changed.notify()
  })
  const all = Promise.allSettled(asking).then(() => true)
  const enough = core.changed.until(() => reports.length >= core.members.quorum, core.clock, 4_000, core.signal)
  await Promise.race([all, enough])
  return { reports: [...reports], promised }
}

/** Asks until q nodes promised the term. */
async function collectQuorum(core: CoreState, leadership: Leadership): Promise<Report[]> {
  const { term } = leadership
  while (!core.signal.aborted) {
    checkPart(core)
    const { reports, promised } = await askAll(core, term)
    if (reports.length >= core.members.quorum) return reports
    if (promised > term) throw new StepDown(`term ${promised} was promised`, promised)
    const { bytes } = await readRegister(core)
    if (bytes === undefined || !equalBytes(bytes, leadership.bytes)) throw new StepDown('the term was taken', 0)
    await core.wait(roundPauseMs)
  }
  throw new StepDown('stopping', 0)
}

/**
 * The block to propose again, by the rule of takeover: one that q nodes staged in one term; else the one of the highest term that at
 * least 2q - n of the collected nodes staged; fewer cannot have been decided.
 */
export function chooseStaged(
  reports: readonly { staged: StagedReport | undefined }[],
  rule: { height: number; quorum: number; votesMin: number },
): { blockBytes: Uint8Array; acks: Ack[] } | undefined {
  const groups = new Map<string, { blockBytes: Uint8Array; acks: Ack[] }>()
  for (const { staged } of reports) {
    if (staged?.height !== rule.height) continue
    const name = `${staged.size}/${toHex(staged.root)}`
    const group = groups.get(name) ?? { blockBytes: staged.blockBytes, acks: [] }
    group.acks.push(staged.ack)
    groups.set(name, group)
  }
  const termOf = (acks: readonly Ack[]): number => Math.max(...acks.map(({ term }) => term))
  const byTerm = [...groups.values()].sort((a, b) => termOf(b.acks) - termOf(a.acks))
  const decided = byTerm.find(({ acks }) => acks.filter(({ term }) => term === termOf(acks)).length >= rule.quorum)
  return decided ?? byTerm.find(({ acks }) => acks.length >= Math.max(1, rule.votesMin))
}

/** Tries to get to a height; answers false if nobody helps on. */
async function reach(core: CoreState, leadership: Leadership, height: number): Promise<boolean> {
  const { value } = leadership
  const triesMax = height <= value.height ? catchUpTriesMax : unprovedTriesMax
  for (let attempt = 0; core.head().height < height; attempt++) {
    if (attempt >= triesMax || core.signal.aborted) return false
    if (attempt > 0) await core.wait(roundPauseMs)
    await catchUp(core, value.height === height ? value : { height })
  }
  return true
}

function doWithout(core: CoreState, rank: number, height: number): void {
  core.unproved.set(rank, core.elapsedMs() + unprovedMs)
  core.options.observe({ kind: 'claim-unproved', chain: core.chain, peer: rank, height })
}

function isAhead(core: CoreState, { blockBytes }: StagedReport): boolean {
  try {
    return liesAhead(core, parseSealLeaf(parseBlock(blockBytes).at(-1) as Uint8Array))
  } catch {
    // It is no block: that it is not taken up is found where it is executed.
    return false
  }
}

/**
 * Of a staged block whose time lies ahead, and that fewer nodes show than others believe: does without those for a while. If it was decided,
 * another node staged it, which judged it by its clock and is collected in their place; by then its time may be due.
 *
 * @returns True if there are any, so that others must be collected.
 */
function leaveAhead(core: CoreState, reports: readonly Report[]): boolean {
  const { votesMin, aheadVotesMin } = core.members
  if (aheadVotesMin === Math.max(1, votesMin)) return false
  const height = core.head().height + 1
  const shown = reports.flatMap(({ rank, staged }) => (staged?.height === height ? [{ rank, staged }] : []))
  const alone = shown.filter(({ rank, staged }) => {
    const votes = shown.filter((other) => isSameHead(other.staged, staged)).length
    return rank !== core.rank && votes < aheadVotesMin && isAhead(core, staged)
  })
  for (const { rank } of alone) doWithout(core, rank, height)
  return alone.length > 0
}

/**
 * Follows the highest block that a collected node attested, so that what is built next extends it. Who attested a block that the register does
 * not name hands it out with its acks, or counts as not collected for a while.
 *
 * @returns False if others must be collected.
 */
async function followHighest(core: CoreState, leadership: Leadership, reports: readonly Report[]): Promise<boolean> {
  const height = Math.max(leadership.value.height, ...reports.map((report) => report.height))
  if (!(await reach(core, leadership, height))) {
    const unproved = reports.filter((report) => report.height > core.head().height && report.rank !== core.rank)
    if (core.signal.aborted || height <= leadership.value.height)
      throw new StepDown(`cannot catch up to block ${height}`, 0)
    for (const { rank, height: claimed } of unproved) doWithout(core, rank, claimed)
    return false
  }
  const head = core.head()
  if (leadership.value.height >= head.height) return true
  // The register was lost or rolled back after that block was decided: its acks say so.
  const { acks } = core.log.record(head.height)
  await setRegister(core, leadership, {
    ...leadership.value,
    height: head.height,
    size: head.size,
    root: head.root,
    acks,
  })
  return true
}

/**
 * A block that is followed while something is waited for may take this node, or the keys that it was started with, out of the policy: then it
 * has no rank to lead with.
 *
 * @throws {StepDown}
 */
export function checkPart(core: CoreState): void {
  if (!core.takesPart) throw new StepDown('this node is no member of the policy in force', 0)
}

/** The value with which this node takes `term`: the register's head, or its own if the register was lost or rolled back. */
function nextValue(core: CoreState, value: HeadValue | undefined, term: number): HeadValue {
  const head = core.head()
  if (value !== undefined && value.height >= head.height) return { ...value, term, leader: core.rank }
  const acks = head.height === 0 ? [] : core.log.record(head.height).acks
  const incarnation = Math.max(core.promise.current.incarnation, value?.incarnation ?? 0) + 1
  const { height, size, root } = head
  core.options.observe({ kind: 'register-rebuilt', chain: core.chain, height, incarnation })
  return { incarnation, term, leader: core.rank, height, size, root, acks }
}

/** Collects from q of those who decide the next block: if that changed while the highest block was followed, from q of those then. */
async function collectFromMembers(core: CoreState, leadership: Leadership): Promise<Report[]> {
  for (;;) {
    const { k } = core.members
    const reports = await collectQuorum(core, leadership)
    const isReached = await followHighest(core, leadership, reports)
    if (isReached && core.members.k === k && !leaveAhead(core, reports)) return reports
    checkPart(core)
  }
}

/**
 * Takes the next term and brings what may have been decided to an end.
 *
 * @param least - Least term to take, if a higher one was heard of.
 * @returns The hold on the chain, and the block to propose first, if there is one.
 * @throws {StepDown} if another node was faster, or this one cannot lead.
 */
export async function takeTerm(
  core: CoreState,
  least: number,
): Promise<{ leadership: Leadership; first: Proposal | undefined }> {
  const { bytes, value } = await readRegister(core)
  checkPart(core)
  const term = Math.max(value?.term ?? 0, core.promise.current.term, least - 1) + 1
  const next = nextValue(core, value, term)
  const nextBytes = encodeHeadValue(next)
  const done = await core.options.register.cas(core.chain, bytes, nextBytes)
  if (!done) throw new StepDown('another node took a term', 0)
  core.value = next
  const leadership: Leadership = { term, value: next, bytes: nextBytes }
  const reports = await collectFromMembers(core, leadership)
  const { quorum, votesMin } = core.members
  const height = core.head().height + 1
  const chosen = chooseStaged(reports, { height, quorum, votesMin })
  if (chosen === undefined) return { leadership, first: undefined }
  try {
    const pending = await execute(core, parseBlock(chosen.blockBytes))
    core.known = { pending, blockBytes: chosen.blockBytes }
    core.options.observe({ kind: 'reproposed', chain: core.chain, height, term, votes: chosen.acks.length })
    return { leadership, first: { pending, ...chosen } }
  } catch (error) {
    // q honest nodes would not have staged it, so it was not decided.
    core.report(`a staged block that does not execute: ${messageOf(error)}`, error)
    return { leadership, first: undefined }
  }
}
