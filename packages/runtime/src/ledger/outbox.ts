/**
 * A durable outbox of transactions. What `add` returned for is on disk, and will be committed or refused whatever
 * happens to this process, its network or a gateway: entries are sent in the order in which they were added, resubmitted
 * (to another gateway) when a promise's deadline has passed or its gateway is away, and finished only by a verified receipt or by signed refusals: one
 * gateway may lie, so what it refuses goes to another once more, whose refusal counts. That of the same one does only if there is no other, or none
 * that answers for ten minutes.
 *
 * Sending twice is harmless: an id is committed at most once. Entries that a gateway deferred wait with a capped
 * back-off, and so do later ones of the same stream. A finished entry's leaf is erased; its receipt is a file.
 */
import { type ChainName, chainNames } from '@healthblock/chain/chains'
import { parseTransactionLeaf } from '@healthblock/chain/transaction'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import { isRuntimeError, RuntimeError } from '../errors.ts'
import { Bell } from '../process/bell.ts'
import type { Logger } from '../process/logger.ts'
import { isYetToCome } from '../process/pauses.ts'
import type { PassedPromise } from './kept-promises.ts'
import type { Answer } from './ledger-answers.ts'
import { type LedgerClient, promiseMsMax } from './ledger-client.ts'
import {
  OutboxEntries,
  type OutboxEntry,
  type OutboxItem,
  type PromisedEntry,
  type SendableEntry,
} from './outbox-entries.ts'

export type { OutboxEntry, OutboxItem } from './outbox-entries.ts'

/** How to open an {@link Outbox}. */
export interface OutboxOptions {
  /** Data folder: `outbox.db` and `receipts/` are made in it. */
  readonly dir: string
  /** 32 bytes. */
  readonly ledgerId: Uint8Array
  readonly client: Pick<LedgerClient, 'submit' | 'answers' | 'receipt' | 'urls'>
  readonly logger: Logger
  /** Told of each entry that is finished; what it throws is logged. */
  readonly onFinished?: (entry: OutboxEntry) => void
  /** Most unfinished entries, default 100,000. */
  readonly entriesMax?: number
  /** First and longest time between attempts, default 250 and 30,000. */
  readonly retryMs?: { readonly min: number; readonly max: number }
  /** Longest wait of one question for answers, default 1,000; the gateway holds it until then. */
  readonly answerWaitMs?: number
  readonly now?: () => number
}

const batchCountMax = 256
/** Most transactions of one submission: a promise about them is evidence as it is (at most 4,096 bytes, chain SPEC §6). */
const submissionMax = { count: 100, sizeBytes: 1_000_000 }
const receiptsAtOnce = 8
/** How long a loop with nothing to do sleeps, unless its bell rings. */
const idleMs = 60_000
/** A gateway that cannot be reached for so long is passed by before its promise's deadline: it may be gone for good. */
const awayMsMax = 5_000

/** How long a gateway that let a promise pass is asked last. */
const leftMs = 600_000

/** True if every gateway said that somebody has more under way than his share. */
function isTurnedAway(error: RuntimeError): boolean {
  return isRuntimeError(error, 'ERR_SOURCE_REFUSED') && error.detail.status === 429
}

/** Parts of a batch that are sent apart at most: those who turn it away have enough to do. */
const partsMax = 8

/** Entries by who signed them first, each sender's in order; of many senders the last share a part. */
function bySender(entries: readonly SendableEntry[]): SendableEntry[][] {
  const parts = new Map<string, SendableEntry[]>()
  for (const entry of entries) {
    const [signature] = parseTransactionLeaf(entry.leaf).signatures
    const own = toHex(signature?.account ?? entry.id)
    const sender = parts.has(own) || parts.size < partsMax - 1 ? own : 'others'
    const part = parts.get(sender)
    if (part === undefined) parts.set(sender, [entry])
    else part.push(entry)
  }
  return [...parts.values()]
}

/** Whoever asks one gateway about what it promised. */
class Watcher {
  readonly bell = new Bell()
  /** Since when the gateway cannot be reached, Unix ms; undefined if it answered last time. */
  awaySinceMs: number | undefined
}

/** The outbox of one service. Open it, add to it, close it. */
export class Outbox {
  readonly #options: OutboxOptions
  readonly #entries: OutboxEntries
  readonly #now: () => number
  readonly #retry: { readonly min: number; readonly max: number }
  readonly #stop = new AbortController()
  readonly #senders = new Map<ChainName, Bell>()
  /** By chain and gateway, so that one that is away holds up nobody else's answers. */
  readonly #watchers = new Map<string, Watcher>()
  /** By chain: the gateway that let a promise pass last. */
  readonly #left = new Map<ChainName, { gateway: string; untilMs: number }>()
  readonly #loops: Promise<void>[] = []
  readonly #waiters = new Map<string, Set<(entry: OutboxEntry) => void>>()
  #isStarted = false

  constructor(options: OutboxOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#retry = options.retryMs ?? { min: 250, max: 30_000 }
    this.#entries = new OutboxEntries({
      dir: options.dir,
      ledgerId: options.ledgerId,
      entriesMax: options.entriesMax ?? 100_000,
      retryMs: this.#retry,
      hasOneGateway: options.client.urls.length === 1,
      now: this.#now,
    })
  }

  /** Begins to deliver: what a former process left, too. Without it, entries are only kept. */
  start(): void {
    if (this.#isStarted) return
    this.#isStarted = true
    for (const chain of chainNames) {
      const sender = new Bell()
      this.#senders.set(chain, sender)
      this.#loops.push(this.#loop(sender, () => this.#send(chain)))
      for (const gateway of this.#entries.gateways(chain)) this.#watchFor(chain, gateway)
    }
  }

  /**
   * Takes transactions over. They are durable when this returns, all or none; one that is there already is left as it is, unless it was refused
   * and `isAnew` says to try again.
   *
   * @returns Their ids, in the same order, 32 bytes each.
   * @throws {RuntimeError} `ERR_OUTBOX_FULL`, `ERR_DISK_FULL`; {ChainError} `ERR_TRANSACTION_FORMAT` for a leaf that is none.
   */
  add(items: readonly OutboxItem[]): Uint8Array[] {
    this.#stop.signal.throwIfAborted()
    const ids = this.#entries.add(items)
    this.#wakeSenders()
    return ids
  }

  /** Number of unfinished entries. */
  pending(): number {
    return this.#entries.pending()
  }

  /** The entry with this id, if it was ever added. */
  find(id: Uint8Array): OutboxEntry | undefined {
    return this.#entries.find(id)
  }

  /** Unfinished entries, oldest first, at most `limit` (default 1,000). */
  unfinished(limit = 1_000): OutboxEntry[] {
    return this.#entries.unfinished(limit)
  }

  /** Promises that a gateway left behind without an answer: evidence, once the ledger shows the same. */
  passedPromises(): PassedPromise[] {
    return this.#entries.passedPromises()
  }

  /** Signed refusals, newest first, at most `limit` (default 1,000): also those that another gateway has shown to be false. */
  refusals(limit = 1_000): { chain: ChainName; id: Uint8Array; refusal: Uint8Array }[] {
    return this.#entries.refusals(limit)
  }

  /** The receipt's bytes of a committed entry. */
  receipt(id: Uint8Array): Uint8Array | undefined {
    return this.#entries.receipt(id)
  }

  /**
   * Waits until the entry is committed or refused. A refusal is a result, not an error.
   *
   * @throws {RuntimeError} `ERR_NOT_FOUND` for an id that was never added; `ERR_CLOSED` if the outbox closes first; the signal's reason.
   */
  async wait(id: Uint8Array, options: { signal?: AbortSignal } = {}): Promise<OutboxEntry> {
    const found = this.find(id)
    if (found === undefined)
      throw new RuntimeError('no such entry in the outbox', { code: 'ERR_NOT_FOUND', what: 'transaction' })
    if (found.status === 'committed' || found.status === 'refused') return found
    const signals = [this.#stop.signal]
    if (options.signal !== undefined) signals.push(options.signal)
    const signal = AbortSignal.any(signals)
    signal.throwIfAborted()
    return new Promise<OutboxEntry>((resolve, reject) => {
      const waiters = this.#waiters.get(found.id) ?? new Set()
      this.#waiters.set(found.id, waiters)
      const abort = (): void => {
        waiters.delete(done)
        reject(signal.reason as Error)
      }
      const done = (entry: OutboxEntry): void => {
        signal.removeEventListener('abort', abort)
        resolve(entry)
      }
      waiters.add(done)
      signal.addEventListener('abort', abort, { once: true })
    })
  }

  /** Waits until nothing is unfinished, or the time is over; returns how many are left. */
  async drain(timeoutMs: number): Promise<number> {
    const signal = AbortSignal.timeout(timeoutMs)
    for (;;) {
      const [first] = this.unfinished(1)
      if (first === undefined) return 0
      try {
        await this.wait(fromHex(first.id), { signal })
      } catch (error) {
        if (signal.aborted) return this.pending()
        throw error
      }
    }
  }

  /** Tries everything that waits now: when the network is back. */
  retryNow(): void {
    this.#entries.hurry()
    this.#wakeSenders()
  }

  /** Stops delivering and closes the file. What is unfinished goes on at the next start. */
  async close(): Promise<void> {
    if (this.#stop.signal.aborted) return
    this.#stop.abort(new RuntimeError('the outbox is closed', { code: 'ERR_CLOSED', what: 'outbox' }))
    this.#wakeSenders()
    for (const { bell } of this.#watchers.values()) bell.ring()
    await Promise.all(this.#loops)
    this.#entries.close()
  }

  #wakeSenders(): void {
    for (const bell of this.#senders.values()) bell.ring()
  }

  /** Runs a step for ever; the step says when it wants to run again, unless the bell rings first. */
  async #loop(bell: Bell, step: () => Promise<number>): Promise<void> {
    while (!this.#stop.signal.aborted) {
      let pauseMs = this.#retry.min
      try {
        pauseMs = await step()
      } catch (error) {
        if (this.#stop.signal.aborted) return
        // Anything but the network (a full disk, say): the entries stay, and this is tried again.
        this.#options.logger.error({ err: error }, 'outbox step failed')
        pauseMs = this.#retry.max
      }
      if (!this.#stop.signal.aborted) await bell.wait(pauseMs)
    }
  }

  async #send(chain: ChainName): Promise<number> {
    this.#announce(this.#entries.refuseDependents())
    // One moment for both questions: what becomes due between two would be in neither answer.
    const nowMs = this.#now()
    const entries = this.#entries.sendable(chain, nowMs, submissionMax)
    if (entries.length === 0) {
      const dueMs = this.#entries.nextDueMs(chain, nowMs)
      return dueMs === undefined ? idleMs : Math.max(1, dueMs - this.#now())
    }
    const failure = await this.#trySubmitting(chain, entries)
    if (failure === undefined) return 0
    const parts = isTurnedAway(failure) ? bySender(entries) : [entries]
    let left = 0
    for (const part of parts) {
      // One sender of many has more under way than its share: the others do not wait with it.
      const error = parts.length === 1 ? failure : await this.#trySubmitting(chain, part)
      if (error === undefined) continue
      this.#options.logger.warn({ chain, count: part.length, code: error.detail.code }, 'submission failed')
      this.#entries.postpone(idsOf(part), part[0]?.avoid)
      left++
    }
    return left === 0 ? 0 : this.#retry.min
  }

  /** Hands entries to a gateway as one submission. Answers why that was not possible, if it was not. */
  async #trySubmitting(chain: ChainName, entries: readonly SendableEntry[]): Promise<RuntimeError | undefined> {
    try {
      await this.#submit(chain, entries)
      return undefined
    } catch (error) {
      this.#stop.signal.throwIfAborted()
      if (!(error instanceof RuntimeError)) throw error
      return error
    }
  }

  async #submit(chain: ChainName, entries: readonly SendableEntry[]): Promise<void> {
    const avoid = [entries[0]?.avoid, this.#leftBehind(chain)].filter((url) => url !== undefined)
    const submission = await this.#options.client.submit(chain, entries, {
      signal: this.#stop.signal,
      avoid,
    })
    this.#entries.submitted(chain, entries, submission)
    this.#announce(idsOf(entries))
    this.#watchFor(chain, submission.url)
  }

  /** Wakes whoever asks a gateway about what it promised: one for each gateway, for as long as the outbox is open. */
  #watchFor(chain: ChainName, gateway: string): void {
    const key = `${chain} ${gateway}`
    const known = this.#watchers.get(key)
    if (known === undefined) {
      const watcher = new Watcher()
      this.#watchers.set(key, watcher)
      this.#loops.push(this.#loop(watcher.bell, () => this.#watch(chain, gateway, watcher)))
      return
    }
    known.awaySinceMs = undefined
    known.bell.ring()
  }

  async #watch(chain: ChainName, gateway: string, watcher: Watcher): Promise<number> {
    const entries = this.#entries.promised(chain, gateway, batchCountMax)
    const [first] = entries
    if (first === undefined) return idleMs
    const askedMs = this.#now()
    const deadlineMs = Math.min(...entries.map((entry) => entry.deadlineMs))
    const waitMs = Math.max(0, Math.min(this.#options.answerWaitMs ?? 1_000, deadlineMs - askedMs))
    try {
      const options = { url: gateway, waitMs, signal: this.#stop.signal }
      const answers = await this.#options.client.answers(chain, idsOf(entries), options)
      watcher.awaySinceMs = undefined
      await this.#settleAll(chain, entries, answers)
    } catch (error) {
      this.#stop.signal.throwIfAborted()
      if (!(error instanceof RuntimeError)) throw error
      this.#options.logger.warn(
        { chain, count: entries.length, code: error.detail.code },
        'no answer about submitted transactions',
      )
      const lied = isRuntimeError(error, 'ERR_SOURCE_MISBEHAVED') || isRuntimeError(error, 'ERR_NO_SOURCE')
      const isGone = lied || this.#isAway(watcher, error, askedMs)
      if (!lied) await this.#seekElsewhere(chain, this.#entries.standing(entries))
      const left = this.#entries.standing(entries)
      // Before that it may come back.
      const late = left.filter((entry) => isGone || this.#isPast(entry))
      for (const entry of late) if (this.#isPast(entry)) this.#leave(chain, entry)
      this.#entries.postpone(idsOf(late), gateway)
      if (late.length < left.length) return this.#retry.min
    }
    this.#senders.get(chain)?.ring()
    return this.#entries.find(first.id)?.status === 'promised' ? this.#retry.min : 0
  }

  /** Notes whether a gateway could be reached when it was asked; true if it could not for some time. */
  #isAway(watcher: Watcher, error: RuntimeError, askedMs: number): boolean {
    watcher.awaySinceMs = isRuntimeError(error, 'ERR_SOURCE_UNREACHABLE') ? (watcher.awaySinceMs ?? askedMs) : undefined
    return watcher.awaySinceMs !== undefined && this.#now() - watcher.awaySinceMs >= awayMsMax
  }

  /** The gateway that promised is away, but may have handed over before: what is on record, any other can prove. */
  async #seekElsewhere(chain: ChainName, entries: readonly PromisedEntry[]): Promise<void> {
    if (entries.length === 0) return
    try {
      const options = { waitMs: 0, signal: this.#stop.signal }
      const answers = await this.#options.client.answers(chain, idsOf(entries), options)
      const isOnRecord = answers.map((answer) => answer.status === 'committed')
      await this.#settleAll(
        chain,
        entries.filter((_entry, i) => isOnRecord[i]),
        answers.filter((_answer, i) => isOnRecord[i]),
      )
    } catch (error) {
      this.#stop.signal.throwIfAborted()
      if (!(error instanceof RuntimeError)) throw error
    }
  }

  /** Finishes what these answers finish. Some may be finished although another's receipt was not to be had. */
  async #settleAll(chain: ChainName, entries: readonly PromisedEntry[], answers: readonly Answer[]): Promise<void> {
    try {
      for (let first = 0; first < entries.length; first += receiptsAtOnce) {
        const some = entries.slice(first, first + receiptsAtOnce)
        const settled = await Promise.allSettled(some.map((entry, i) => this.#settle(chain, entry, answers[first + i])))
        const failed = settled.find((result) => result.status === 'rejected')
        if (failed !== undefined) throw failed.reason
      }
    } finally {
      this.#announce(idsOf(entries))
    }
  }

  async #settle(chain: ChainName, entry: PromisedEntry, answer: Answer | undefined): Promise<void> {
    const { id, gateway } = entry
    if (answer?.status === 'committed') {
      // Verified by the client.
      const receipt = await this.#options.client.receipt(chain, id, { signal: this.#stop.signal })
      this.#entries.commit(id, { index: answer.index, height: answer.height, receipt })
      return
    }
    this.#entries.together(() => {
      if (answer?.status === 'refused') {
        this.#entries.answered(id)
        this.#entries.refused(id, answer, gateway)
      } else if (answer?.status === 'deferred') {
        // Another gateway may be further, or this one may lie.
        this.#entries.answered(id)
        this.#entries.postpone([id], gateway)
      } else if (this.#isPast(entry)) {
        this.#leave(chain, entry)
        this.#entries.postpone([id], gateway)
      }
    })
  }

  /** The deadline of a promise has passed: what comes next goes to others as well. */
  #leave(chain: ChainName, { id, gateway }: PromisedEntry): void {
    this.#entries.passed(id)
    this.#left.set(chain, { gateway, untilMs: this.#now() + leftMs })
  }

  /** The gateway of a chain that is to be asked last, since it let a promise pass not long ago. */
  #leftBehind(chain: ChainName): string | undefined {
    const left = this.#left.get(chain)
    if (left === undefined) return undefined
    return isYetToCome(left.untilMs, { nowMs: this.#now(), lengthMs: leftMs }) ? left.gateway : undefined
  }

  /** True if the deadline of the entry's promise is over. */
  #isPast({ deadlineMs }: PromisedEntry): boolean {
    return !isYetToCome(deadlineMs, { nowMs: this.#now(), lengthMs: promiseMsMax })
  }

  /** Tells waiters and the owner of entries that are finished now; wakes what depended on them. */
  #announce(ids: readonly Uint8Array[]): void {
    let finished = false
    for (const id of ids) {
      const entry = this.find(id)
      if (entry === undefined || (entry.status !== 'committed' && entry.status !== 'refused')) continue
      finished = true
      const waiters = this.#waiters.get(entry.id) ?? []
      this.#waiters.delete(entry.id)
      for (const waiter of waiters) waiter(entry)
      try {
        this.#options.onFinished?.(entry)
      } catch (error) {
        this.#options.logger.error({ err: error }, 'the listener of finished transactions failed')
      }
    }
    if (finished) for (const bell of this.#senders.values()) bell.ring()
  }
}

function idsOf(entries: readonly { readonly id: Uint8Array }[]): Uint8Array[] {
  return entries.map(({ id }) => id)
}
