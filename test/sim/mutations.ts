/**
 * Deliberate faults that the simulator must find: each in all nodes, each within a stated number of seeds of one profile. Some that one
 * might expect here change nothing that anybody could see, since a second rule holds: a compare-and-set that succeeds too often, or
 * whose unknown outcome counts as done, decides nothing that q acks of one term did not decide; a torn record that stays is cut off as
 * a damaged one at the next start; a term taken in spite of the register is promised by nobody.
 */
import type { Course } from './governors.ts'
import type { BadNode, Profile } from './plan.ts'
import type { SourceChange, Variant } from './source-change.ts'

/** A variant that must be found. */
export interface Mutation extends Variant {
  /** What somebody might have written, in words. */
  readonly what: string
  /** The profile whose faults show it. */
  readonly profile: Profile
  /** Within how many seeds of that profile it is found. */
  readonly seedsMax: number
  /** What the bad node of the profile does. */
  readonly badKind?: BadNode
  /** Which way the organisations go. */
  readonly course?: Course
}

const core = (file: string, from: string, to: string): SourceChange => ({
  file: `accounting-node/core/${file}`,
  from,
  to,
})
const gateway = (file: string, from: string, to: string): SourceChange => ({
  file: `accounting-node/gateway/${file}`,
  from,
  to,
})
const chain = (file: string, from: string, to: string): SourceChange => ({ file: `chain/${file}`, from, to })

function mutation(
  name: string,
  what: string,
  found: { profile: Profile; seedsMax: number; badKind?: BadNode; course?: Course },
  ...changes: readonly SourceChange[]
): Mutation {
  return { name, what, ...found, changes }
}

const staging: readonly Mutation[] = [
  mutation(
    'ack-before-sync',
    'an ack leaves before its block is on the disk',
    { profile: 'register', seedsMax: 60 },
    core(
      'stager.ts',
      'await core.durably(core.staged.put(staged))',
      'core.durably(core.staged.put(staged)).catch(() => {})',
    ),
  ),
  mutation(
    'staged-forgotten',
    'a restarted node does not know what it staged',
    { profile: 'register', seedsMax: 60 },
    core('staged.ts', 'store.#newest = parseStaged(payload)', 'parseStaged(payload)'),
  ),
  mutation(
    'promise-forgotten',
    'a restarted node does not know which term it promised',
    { profile: 'register', seedsMax: 400 },
    core('promise.ts', "term: fields.uint('term'),", "term: fields.uint('term') * 0,"),
  ),
  mutation(
    'two-blocks-a-term',
    'a node stages another block in a term in which it staged one',
    { profile: 'bad-node', badKind: 'equivocates', seedsMax: 60 },
    core('stager.ts', "throw new Refused('promised')\n  }\n  const { size, root }", '}\n  const { size, root }'),
  ),
  mutation(
    'term-not-checked',
    'a node stages for a leader of an older term',
    { profile: 'register', seedsMax: 400 },
    core(
      'stager.ts',
      "  const promised = core.promise.current\n  if (term < promised.term || (term === promised.term && leader !== promised.leader)) throw new Refused('term')\n  if (!isSameHead",
      '  const promised = core.promise.current\n  if (!isSameHead',
    ),
    core(
      'stager.ts',
      "  if (term < promised.term || (term === promised.term && leader !== promised.leader)) throw new Refused('term')\n  // Its word",
      '  if (term <= promised.term) return\n  // Its word',
    ),
    core(
      'stager.ts',
      'before.height === height && before.term >= term',
      'before.height === height && before.term === term',
    ),
  ),
  mutation(
    'clock-not-checked',
    'a node stages a block of any time',
    { profile: 'crash', seedsMax: 60 },
    core('stager.ts', 'Math.abs(ms - core.nowMs()) > clockDifferenceMsMax', 'Math.abs(ms - core.nowMs()) < 0'),
  ),
]

const governing: readonly Mutation[] = [
  mutation(
    'switch-not-awaited',
    'a block is staged after a change of the policy before its checkpoint is out',
    { profile: 'governed', course: 'shrinks', seedsMax: 60 },
    core('core-state.ts', 'return this.options.trail.newest(this.chain) >= this.members.k', 'return true'),
  ),
  mutation(
    'policy-of-before',
    'a node counts acks and cosignatures under the policy of one block earlier',
    { profile: 'governed', course: 'shrinks', seedsMax: 60 },
    core(
      'members.ts',
      'this.#ledger.policyOf(this.#chain, known)',
      'this.#ledger.policyOf(this.#chain, Math.max(1, known - 1))',
    ),
  ),
  mutation(
    'rules-too-early',
    'a version of the rules begins one block before the height that was voted',
    { profile: 'governed', course: 'shrinks', seedsMax: 10 },
    chain(
      'block/block.ts',
      "rulesAt(this.state('userchain'), size, height)?",
      "rulesAt(this.state('userchain'), size, height + 1)?",
    ),
  ),
]

const joining: readonly Mutation[] = [
  mutation(
    'trail-not-fetched',
    'a node does not ask for the steps of the trail that it was not there to make',
    { profile: 'governed', course: 'grows', seedsMax: 20 },
    core('watch.ts', 'if (!core.mayFollowHead) await fetchTrail', 'if (core.elapsedMs() < 0) await fetchTrail'),
  ),
  mutation(
    'founders-alone',
    'what a node that joined cosigned does not count',
    { profile: 'governed', course: 'grows', seedsMax: 20 },
    core(
      'cosignatures.ts',
      'return expected !== undefined && equalBytes(expected, key)',
      'return rank < 4 && expected !== undefined && equalBytes(expected, key)',
    ),
  ),
  mutation(
    'old-keys-sign',
    'a node whose keys were replaced goes on signing with the old ones',
    { profile: 'governed', course: 'grows', seedsMax: 40 },
    core('members.ts', 'pairs.every(([key, signing]) => equalBytes(key, signing.publicKey))', 'pairs.length > 0'),
  ),
]

const waiting: readonly Mutation[] = [
  mutation(
    'silence-waited-out',
    'who asks his peers where they stand waits for the slowest',
    { profile: 'silent', seedsMax: 60 },
    core('core-state.ts', 'const peerPatienceMs = 1_000', 'const peerPatienceMs = 10_000'),
  ),
]

const deciding: readonly Mutation[] = [
  mutation(
    'stale-anchor-staged',
    'a node stages a Docchain block whose anchor it knows to be old',
    { profile: 'bad-node', badKind: 'freezes-anchor', seedsMax: 100 },
    core('stager.ts', 'anchor !== undefined && anchor.size < known', 'anchor !== undefined && anchor.size < 0'),
  ),
  mutation(
    'decides-below-quorum',
    'a leader decides with one ack less than q',
    { profile: 'crash', seedsMax: 20 },
    core(
      'proposal.ts',
      'this.#acks.size < this.#core.members.quorum',
      'this.#acks.size < this.#core.members.quorum - 1',
    ),
  ),
  mutation(
    'value-without-acks',
    'a value of the register counts although it does not stand on q acks',
    { profile: 'bad-node', badKind: 'decides-alone', seedsMax: 60 },
    core(
      'head-register.ts',
      'const value = isValid ? found : undefined',
      'const value = isValid || found !== undefined ? found : undefined',
    ),
  ),
  mutation(
    'builds-anew',
    'a new leader never proposes again what may have been decided',
    { profile: 'register', seedsMax: 60 },
    core(
      'takeover.ts',
      'if (chosen === undefined) return { leadership, first: undefined }',
      'if (chosen === undefined || height > 0) return { leadership, first: undefined }',
    ),
  ),
  mutation(
    'asks-nobody',
    'a new leader collects from itself alone',
    { profile: 'register', seedsMax: 60 },
    core(
      'takeover.ts',
      '() => reports.length >= core.members.quorum, core.clock',
      '() => reports.length >= 1, core.clock',
    ),
    core(
      'takeover.ts',
      'if (reports.length >= core.members.quorum) return reports',
      'if (reports.length >= 1) return reports',
    ),
  ),
  mutation(
    'register-never-rebuilt',
    'a lost register stays lost',
    { profile: 'register', seedsMax: 40 },
    core(
      'watch.ts',
      'return nowMs - this.#invalidSinceMs >= rebuildMs + this.#delayMs',
      'return nowMs - this.#invalidSinceMs < 0',
    ),
  ),
  mutation(
    'never-takes-over',
    'no node replaces a leader that is stuck',
    { profile: 'bad-node', badKind: 'equivocates', seedsMax: 60 },
    core('watch.ts', "if (verdict === 'valid') return true", "if (verdict === 'valid') return false"),
  ),
]

const attesting: readonly Mutation[] = [
  mutation(
    'two-roots',
    'a node cosigns two roots of one size',
    { profile: 'crash', seedsMax: 5 },
    core(
      'attester.ts',
      '  takeCosignature(core, line)\n  share',
      `  const root = line.root.map((byte) => byte ^ 1)
  const second = cosignCheckpoint({ ...line, root }, { rank: core.rank, signer: core.options.keys.cosigner, nowMs: core.nowMs() })
  core.tell('cosignature', encodeMessage({ size: line.size, root, line: encodeUtf8(second) }))
  takeCosignature(core, line)
  share`,
    ),
  ),
  mutation(
    'published-below-quorum',
    'a checkpoint is published with one cosignature less than q',
    { profile: 'crash', seedsMax: 5 },
    core('attester.ts', 'if (lines.length < one.quorum) continue', 'if (lines.length < one.quorum - 1) continue'),
    core(
      'attester.ts',
      'const oldestTime = times[members.quorum - 1] as number',
      'const oldestTime = times[members.quorum - 2] as number',
    ),
  ),
  mutation(
    'cosigns-while-behind',
    'a node cosigns before it has caught up with what it signed',
    { profile: 'disk', seedsMax: 200 },
    core(
      'core-state.ts',
      'return from !== undefined && size >= from.size && size >= this.promise.current.size',
      'return from !== undefined || size > 0',
    ),
  ),
  mutation(
    'log-not-awaited',
    'a block is applied and cosigned before it is on the disk',
    { profile: 'crash', seedsMax: 200 },
    core(
      'core-state.ts',
      'await this.durably(Promise.all(writes))',
      'this.durably(Promise.all(writes)).catch(() => {})',
    ),
  ),
  mutation(
    'applied-out-of-turn',
    'a node applies a decided block whose parent is not its head',
    { profile: 'crash', seedsMax: 40 },
    core(
      'core-state.ts',
      'if (this.signal.aborted || !isSameHead(this.head(), pending.base)) return false',
      'if (this.signal.aborted) return false',
    ),
  ),
  mutation(
    'peers-believed',
    'a node that catches up applies blocks without the acks that prove them',
    { profile: 'bad-node', badKind: 'decides-alone', seedsMax: 200 },
    core(
      'catch-up.ts',
      'if (!core.members.isDecided(head, block.acks)) return false\n  await core.apply',
      'await core.apply',
    ),
  ),
  mutation(
    'no-lock',
    'changes of one core run at the same time',
    { profile: 'crash', seedsMax: 100 },
    core('mutex.ts', 'const result = this.#last.then(work, work)', 'const result = Promise.resolve().then(work)'),
  ),
  mutation(
    'record-not-checked',
    'a record counts whatever its check sum says',
    { profile: 'crash', seedsMax: 200 },
    core(
      'journal.ts',
      'return intact ? { payload, end } : { end }',
      'return intact || length > 0 ? { payload, end } : { end }',
    ),
  ),
  mutation(
    'state-not-compared',
    "a stager does not compare the state root, and a leader's is wrong",
    { profile: 'crash', seedsMax: 5 },
    chain(
      'block/block.ts',
      "if (!equalBytes(executed.state.root, seal.st)) throw this.#invalid(chain, seal.i0 + seal.k, 'seal.state')",
      '',
    ),
    chain(
      'block/block.ts',
      'stateRoot: executed.state.root,\n',
      'stateRoot: executed.state.root.map((byte) => byte ^ 1),\n',
    ),
  ),
  mutation(
    'duplicates-kept',
    'a transaction that a block holds already is judged anew',
    { profile: 'crash', seedsMax: 40 },
    chain(
      'block/block-run.ts',
      'if (index === undefined) return undefined\n',
      "if (index === undefined || transaction.body.t === 'unreadable') return undefined\n",
    ),
  ),
]

const gateways: readonly Mutation[] = [
  mutation(
    'promised-before-stored',
    'a gateway promises although its outbox failed',
    { profile: 'crash', seedsMax: 100 },
    gateway(
      'gateway.ts',
      'for (const { reject } of storing) reject(error)\n      return',
      'for (const { promise, one } of plans) if (error) one.resolve(promise)\n      return',
    ),
  ),
  mutation(
    'answered-before-published',
    'a gateway answers committed as soon as its node applied the block',
    { profile: 'crash', seedsMax: 40 },
    gateway('gateway.ts', "if (index >= publishedSize) return { status: 'pending' }", ''),
  ),
  mutation(
    'never-sent-again',
    'what a queue lost is neither sent again nor told to the peers',
    { profile: 'crash', seedsMax: 100 },
    gateway(
      'follow-up.ts',
      'return nowMs - entry.sentMs >= (isBusy ? resubmitBusyAfterMs : resubmitAfterMs)',
      'return isBusy && nowMs < 0',
    ),
    gateway('follow-up.ts', 'if (!entry.isNoted && handedAgoMs >= noteAfterMs)', 'if (ageMs < 0)'),
  ),
  mutation(
    'outbox-not-read',
    'a restarted gateway does not take up what it promised',
    { profile: 'crash', seedsMax: 100 },
    gateway(
      'gateway.ts',
      'for (const row of outbox.pending(pendingTransactionsMax * 2)) {',
      'for (const row of outbox.pending(0)) {',
    ),
  ),
]

/** All of them. */
export const mutations: readonly Mutation[] = [
  ...staging,
  ...governing,
  ...waiting,
  ...joining,
  ...deciding,
  ...attesting,
  ...gateways,
]
