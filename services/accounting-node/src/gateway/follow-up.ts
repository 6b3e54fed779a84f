/**
 * What happens to a promise after it was given: resubmission of what no block holds, refusals from this node's own state,
 * the answer at the deadline. Looked at four times a second.
 *
 * A rule that fails now may hold later if an earlier transaction of the same account is still under way (a grant on a
 * device that is being added), or if this node is a moment behind. So a refusal is given only for the oldest open
 * transaction of its account, and only once it is `refusalAfterMs` old.
 */
import type { Transaction } from '@healthblock/chain/transaction'
import type { ChainCore } from '../core/chain-core.ts'
import { inTurns } from '../core/fair-queue.ts'
import type { Owner } from '../core/owners.ts'
import type { Clock } from '../core/ports.ts'
import { answered, backgroundFailed, resubmitted } from '../events.ts'
import type { Logger } from '../logger.ts'
import type { GatewayMetrics } from '../metrics.ts'
import { type Admission, crowd } from './admission.ts'
import type { GatewayLedger } from './ledger-view.ts'
import { type AnswerKind, answerKinds, type Outbox, type Signed } from './outbox.ts'
import type { PendingEntry, PendingTable } from './pending.ts'
import type { AnswerSigner } from './statements.ts'

/** What no block holds after this long is handed over again. */
export const resubmitAfterMs = 5_000
/** No refusal before this age, unless the transaction cannot become valid at all. */
export const refusalAfterMs = 400
/** The core, and through it the peers, learn of a transaction that was handed over so long ago: younger ones are about to be committed. */
export const noteAfterMs = 1_500
/** Of how many in one look, in turns: one that is left out shows a leader's fault as well as all. */
const notedMax = 64
/** With more than this many, a leader needs several blocks to read them. */
const busyJobsMax = 16
const resubmitBusyAfterMs = 15_000
/** Most transactions whose rules are tried in one look. */
export const judgedMax = 256
const judgeAgainAfterMs = 400
/** What has waited long is tried the more seldom: again after this part of its age. */
const judgeAgainPart = 0.5
const lookPeriodMs = 250
/** Most transactions handed over again in one look. */
const resubmittedMax = 2_048
/** A fault that stays (a full disk) is told again after this long. */
const faultEveryMs = 30_000

/** What the follow-up needs. */
export interface FollowUpOptions {
  readonly core: ChainCore
  readonly ledger: GatewayLedger
  readonly outbox: Outbox
  readonly signer: AnswerSigner
  readonly pending: PendingTable
  readonly admission: Admission
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: GatewayMetrics
  /** Hands entries to the intake queue again, in order. */
  readonly send: (entries: readonly PendingEntry[]) => void
  /** A transaction got an answer without a block. */
  readonly ended: (entry: PendingEntry) => void
  /** Takes what is published out of the outbox. */
  readonly finish: () => void
  /** Tells those who wait that a transaction has its answer. */
  readonly settle: (key: string) => void
}

interface Decision {
  readonly entry: PendingEntry
  readonly kind: AnswerKind
  readonly rule: string
  readonly signed: Signed
}

/** What a look may do with an entry whose rules it tries. */
interface Turn {
  /** True: a refusal would be its answer; an older one of its account is not open. */
  readonly mayRefuse: boolean
}

/**
 * Those whose rules are tried in this look: the oldest open one of each account, and what is deferred and not behind an earlier one of its
 * line. If there are many, they take turns: what one sponsor has waiting holds up no answer to another's.
 */
export function judgingTurns(entries: Iterable<PendingEntry>, nowMs: number): Map<PendingEntry, Turn> {
  const found: { owner: Owner; entry: PendingEntry; mayRefuse: boolean }[] = []
  const accountsSeen = new Set<string>()
  const linesSeen = new Set<string>()
  for (const entry of entries) {
    if (entry.appliedIndex !== undefined) continue
    const mayRefuse = !accountsSeen.has(entry.account) && nowMs - (entry.handedMs ?? nowMs) >= refusalAfterMs
    // A leader keeps what is deferred as long as that, and what waits for an earlier one waits with it.
    const isFirst = entry.isDeferred && !linesSeen.has(entry.line)
    const mayHaveCome = isFirst && nowMs - entry.sentMs >= resubmitAfterMs
    if (!entry.isDeferred) accountsSeen.add(entry.account)
    linesSeen.add(entry.line)
    const oldMs = entry.isDeferred ? 0 : judgeAgainPart * (nowMs - entry.sinceMs)
    const isTime = nowMs - entry.judgedMs >= Math.max(judgeAgainAfterMs, oldMs)
    if (isTime && (mayRefuse || mayHaveCome)) found.push({ owner: entry, entry, mayRefuse })
  }
  // Of an account's, who was tried longest ago comes first: else the same few of many have all its turns.
  const chosen =
    found.length > judgedMax
      ? inTurns(
          found.sort((a, b) => a.entry.judgedMs - b.entry.judgedMs),
          judgedMax,
        )
      : found
  return new Map(chosen.map(({ entry, mayRefuse }) => [entry, { mayRefuse }]))
}

/** Looks after everything that one gateway has promised. */
export class FollowUp {
  readonly #options: FollowUpOptions
  readonly #stopping = new AbortController()
  #running: Promise<void> | undefined
  #prunedMs = Number.NEGATIVE_INFINITY

  constructor(options: FollowUpOptions) {
    this.#options = options
  }

  /** Begins to look. */
  start(): void {
    this.#running ??= this.#run()
  }

  /** Ends after the look under way. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { clock, logger, core } = this.#options
    let toldMs = Number.NEGATIVE_INFINITY
    while (!this.#stopping.signal.aborted) {
      await clock.wait(lookPeriodMs, this.#stopping.signal)
      if (this.#stopping.signal.aborted) return
      try {
        this.look()
        this.#options.finish()
        toldMs = Number.NEGATIVE_INFINITY
      } catch (error) {
        if (clock.elapsedMs() - toldMs < faultEveryMs) continue
        toldMs = clock.elapsedMs()
        backgroundFailed(logger, `gateway of ${core.chain}`, error)
      }
    }
  }

  /** One look at everything pending, oldest first. */
  look(): void {
    const { clock, pending, outbox, core } = this.#options
    const nowMs = clock.elapsedMs()
    const again: PendingEntry[] = []
    const decisions: Decision[] = []
    const unnoted: PendingEntry[] = []
    // What an account sent of one type goes in order: true if the earlier ones are sent again in this look.
    const lines = new Map<string, boolean>()
    // While the leader has many jobs left to read, sending again only makes it later.
    const isBusy = core.status().queueDepth > busyJobsMax
    const turns = judgingTurns(pending.values(), nowMs)
    let waiting = 0
    let crowdWaitedMs = 0
    for (const entry of pending.values()) {
      if (entry.appliedIndex !== undefined) continue
      const ageMs = nowMs - entry.sinceMs
      if (!entry.isDeferred && ++waiting === crowd) crowdWaitedMs = ageMs
      const turn = turns.get(entry)
      const isDue = nowMs >= entry.dueMs
      if (isDue || turn !== undefined) {
        const decision = this.#judge(entry, { nowMs, isDue, mayRefuse: isDue || turn?.mayRefuse === true })
        if (decision !== undefined) {
          decisions.push(decision)
          continue
        }
      }
      const earlier = lines.get(entry.line)
      // What waits here for its turn nobody else leaves out.
      const handedAgoMs = nowMs - (entry.handedMs ?? nowMs)
      if (!entry.isNoted && handedAgoMs >= noteAfterMs) unnoted.push(entry)
      const isSent =
        again.length < resubmittedMax && this.#isToSend(entry, { nowMs, isBusy, withEarlier: earlier === true })
      if (isSent) again.push(entry)
      if (earlier !== true) lines.set(entry.line, isSent)
    }
    this.#options.admission.look(nowMs, crowdWaitedMs, pending.count)
    this.#answer(decisions)
    const noted = again.filter(({ isNoted }) => isNoted)
    this.#note(unnoted, nowMs)
    // Told while nobody could hear it, a peer would never know that something waits, and never take over.
    this.#note(noted, nowMs, { again: true })
    if (again.length > 0) this.#resubmit(again)
    if (nowMs - this.#prunedMs > 3_600_000) {
      this.#prunedMs = nowMs
      // A clock that is ahead forgets nothing early: the ledger's time bounds it.
      outbox.prune(Math.min(clock.nowMs(), core.head().ms))
    }
  }

  /** Tells the core of some of them, in turns. */
  #note(entries: readonly PendingEntry[], nowMs: number, options: { again?: boolean } = {}): void {
    const transactions: Transaction[] = []
    let ageMs = 0
    const owned = entries.map((entry) => ({ owner: entry, entry }))
    for (const { entry } of inTurns(owned, notedMax)) {
      const leaf = this.#options.outbox.leaf(entry.row.number)
      if (leaf === undefined) continue
      entry.isNoted = true
      ageMs = Math.max(ageMs, nowMs - (entry.handedMs ?? nowMs))
      transactions.push(this.#options.ledger.parse(leaf))
    }
    if (transactions.length > 0) this.#options.core.noteAccepted(transactions, { ageMs, ...options })
  }

  #isToSend(entry: PendingEntry, now: { nowMs: number; isBusy: boolean; withEarlier: boolean }): boolean {
    const { nowMs, isBusy, withEarlier } = now
    if (entry.isQueued || (entry.isDeferred && !withEarlier)) return false
    return nowMs - entry.sentMs >= (isBusy ? resubmitBusyAfterMs : resubmitAfterMs)
  }

  #resubmit(entries: readonly PendingEntry[]): void {
    const { core, logger, metrics } = this.#options
    metrics.resubmitted.inc({ chain: core.chain }, entries.length)
    resubmitted(logger, core.chain, entries.length)
    this.#options.send(entries)
  }

  /** Tries the rules; gives the answer that is due, if one is. */
  #judge(entry: PendingEntry, now: { nowMs: number; isDue: boolean; mayRefuse: boolean }): Decision | undefined {
    const { ledger, outbox, signer } = this.#options
    const leaf = outbox.leaf(entry.row.number)
    if (leaf === undefined) {
      // An earlier look failed after its answer was stored: that is the answer.
      this.#options.pending.remove(entry)
      this.#options.settle(entry.key)
      return undefined
    }
    const { id } = entry.row
    entry.judgedMs = now.nowMs
    const verdict = ledger.judge(ledger.parse(leaf))
    entry.isDeferred = verdict.verdict === 'deferred'
    if (verdict.verdict === 'refused') {
      if (!now.mayRefuse || verdict.rule.endsWith('.duplicate')) return undefined
      return { entry, kind: answerKinds.refused, rule: verdict.rule, signed: signer.refusal(id, verdict.rule) }
    }
    if (!now.isDue) return undefined
    // Valid, and yet no block holds it: the nodes did not reach a quorum in time.
    const missing = verdict.verdict === 'deferred' ? verdict.missing : 'quorum'
    const rule = verdict.verdict === 'deferred' ? verdict.rule : 'quorum'
    return { entry, kind: answerKinds.deferred, rule, signed: signer.deferral(id, missing) }
  }

  #answer(decisions: readonly Decision[]): void {
    if (decisions.length === 0) return
    const { outbox, pending, settle, ended, core, logger, metrics, clock } = this.#options
    outbox.answer(
      decisions.map(({ entry, kind, signed }) => ({ row: entry.row, kind, signed })),
      // A clock that is behind does not make an answer older than it is.
      Math.max(clock.nowMs(), core.head().ms),
    )
    for (const { entry, kind, rule } of decisions) {
      pending.remove(entry)
      ended(entry)
      const word = kind === answerKinds.refused ? 'refused' : 'deferred'
      metrics.answered.inc({ chain: core.chain, answer: word })
      if (kind === answerKinds.refused) metrics.refused.inc({ chain: core.chain, rule })
      answered(logger, core.chain, word, rule)
      settle(entry.key)
    }
  }
}
