/**
 * The gateway of one chain: it checks what is submitted, promises durably, hands over, and answers from this node's own
 * state alone.
 *
 * Order of an acceptance: form and signatures are checked; promise and leaves go to the outbox in one synced
 * transaction (from here on the promise is given, whatever crashes); the 202 is answered; the leaves go to the intake
 * queue. A transaction leaves the outbox when the block that holds it is published, or with a signed refusal or
 * deferral. Nothing else of the node knows what was promised.
 */
import type { Transaction } from '@healthblock/chain/transaction'
import { toHex } from '@healthblock/encoding/bytes'
import type { AppliedBlock, ChainCore } from '../core/chain-core.ts'
import type { Owner } from '../core/owners.ts'
import type { Clock } from '../core/ports.ts'
import { AccountingError } from '../errors.ts'
import { intakeFailed, outboxOpened } from '../events.ts'
import type { Logger } from '../logger.ts'
import type { GatewayMetrics } from '../metrics.ts'
import { Admission } from './admission.ts'
import { type Answer, isFinal } from './answer.ts'
import { FollowUp, resubmitAfterMs } from './follow-up.ts'
import { IntakeBatcher } from './intake.ts'
import type { GatewayLedger } from './ledger-view.ts'
import type { Acceptance, Outbox, PendingRow, Signed } from './outbox.ts'
import { type PendingEntry, PendingTable, pendingEntry, pendingTransactionsMax, promiseMs } from './pending.ts'
import { type IngressLimit, overLimitMax, turnedAway } from './shares.ts'
import type { AnswerSigner } from './statements.ts'
import { parseSubmission, type WellFormed } from './submission.ts'
import { VerificationGroups } from './verification-groups.ts'
import { VerificationTurns } from './verification-turns.ts'
import { Waiters } from './waiters.ts'

/** Most submissions that are checked at one time. */
export const submissionsMax = 128
/** Most bytes of submissions that are checked at one time. */
export const submissionsSizeBytesMax = 32 * 1024 * 1024
/** A wrong signature is tried again after the next block, or after this long: this node may be a block behind. */
const secondLookMs = 300
/** Most submissions that wait for it at one time: anybody can send what no key has signed, and it costs nothing. */
export const secondLooksMax = 32
/** What a full gateway tells its callers. */
const retryAfterMs = 1_000

/** What the gateway needs. */
export interface GatewayOptions {
  readonly core: ChainCore
  readonly ledger: GatewayLedger
  readonly outbox: Outbox
  readonly signer: AnswerSigner
  readonly ledgerId: Uint8Array
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: GatewayMetrics
}

/** What a submission is answered with. */
export interface SubmissionAnswer {
  /** Names every accepted id; absent if none was. */
  readonly promise?: Signed
  readonly refused: readonly Signed[]
}

/** A leaf on its way to the intake queue. */
interface Outgoing {
  readonly leaf: Uint8Array
  readonly transaction: Transaction
  readonly owner: PendingEntry
}

/** A checked submission that waits for the next synced transaction of the outbox. */
interface Storing {
  readonly fresh: readonly (WellFormed & { isDeferred: boolean })[]
  readonly known: readonly Uint8Array[]
  readonly resolve: (promise: Signed) => void
  readonly reject: (error: unknown) => void
}

/** Under which promise a submission goes. */
interface Plan {
  readonly one: Storing
  readonly promise: Signed
  /** What is promised for the first time. */
  readonly items: Storing['fresh']
  /** Absent if nothing is. */
  readonly acceptance: Acceptance | undefined
}

/** What is known of a submission's transactions that need no promise of their own. */
interface Looked {
  readonly known: Uint8Array[]
  readonly refused: Signed[]
  /** By which each was refused. */
  readonly rules: string[]
}

/** Accepts, promises, hands over, answers. One per chain and process. */
export class Gateway {
  readonly #options: GatewayOptions
  readonly #pending = new PendingTable()
  readonly #admission = new Admission()
  /** Verified transactions that are being stored: they count as pending, so that many submissions at once get no more in than one by one. */
  #reservedCount = 0
  readonly #turns = new VerificationTurns()
  readonly #verifications: VerificationGroups<Transaction>
  readonly #waiters = new Waiters()
  readonly #intake: IntakeBatcher<Outgoing>
  readonly #followUp: FollowUp
  readonly #unsubscribe: (() => void)[] = []
  readonly #stopping = new AbortController()
  #storing: Storing[] = []
  #flushing: Promise<void> | undefined
  #checkingCount = 0
  #checkingBytes = 0
  #secondLooks = 0
  /** Applied here, not yet published: oldest first. */
  #unpublished: { end: number; keys: { key: string; entry: PendingEntry | undefined }[] }[] = []
  /** Published, and still in the outbox: they go with the next promises, or soon. */
  #finished: PendingRow[] = []
  #nextBlock = Promise.withResolvers<void>()

  constructor(options: GatewayOptions) {
    this.#options = options
    const { clock, core, ledger, logger } = options
    this.#verifications = new VerificationGroups((transactions) => ledger.preverify(transactions))
    this.#intake = new IntakeBatcher<Outgoing>({
      submit: (batch) => core.submit(batch.map(({ transaction }) => transaction)),
      onSent: (batch) => this.#handed(batch, clock.elapsedMs()),
      onFailed: (batch, error) => {
        this.#handed(batch, clock.elapsedMs() - resubmitAfterMs + retryAfterMs)
        options.metrics.intakeFailures.inc({ chain: core.chain })
        intakeFailed(logger, core.chain, batch.length, error)
      },
      nowMs: () => clock.elapsedMs(),
      wait: (ms, signal) => clock.wait(ms, signal),
    })
    this.#followUp = new FollowUp({
      ...options,
      pending: this.#pending,
      admission: this.#admission,
      send: (entries) => this.#send(entries),
      ended: (entry) => this.#intake.ended(entry),
      finish: () => this.#finish(),
      settle: (key) => this.#waiters.settle(key),
    })
  }

  /** Takes up the promises of earlier runs, and begins to follow blocks. The core has opened its state. */
  start(): void {
    const { core, outbox, logger } = this.#options
    const size = core.published()?.size ?? 0
    const finished: PendingRow[] = []
    const open: Outgoing[] = []
    for (const row of outbox.pending(pendingTransactionsMax * 2)) {
      const index = this.#options.ledger.find(row.id)
      if (index !== undefined && index < size) finished.push(row)
      else open.push(this.#reopen(row, index))
    }
    outbox.finish(finished)
    outboxOpened(logger, core.chain, open.length)
    this.#intake.add(open.filter(({ owner }) => owner.appliedIndex === undefined))
    this.#unsubscribe.push(
      core.onApplied((block) => this.#applied(block)),
      core.onPublished(({ size: published }) => this.#published(published)),
    )
    this.#followUp.start()
  }

  #reopen(row: PendingRow, index: number | undefined): Outgoing {
    const leaf = this.#options.outbox.leaf(row.number) as Uint8Array
    const transaction = this.#options.ledger.parse(leaf)
    const owner = this.#options.ledger.ownerOf(transaction, row.id)
    const entry = pendingEntry(row, { ...owner, type: transaction.body.t, sizeBytes: leaf.length }, this.#options.clock)
    this.#pending.add(entry)
    if (index === undefined) this.#markSent(entry)
    else {
      entry.appliedIndex = index
      this.#unpublished.push({ end: index + 1, keys: [{ key: entry.key, entry }] })
    }
    return { leaf, transaction, owner: entry }
  }

  /** Stops following; what is pending stays in the outbox for the next run. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
    await this.#followUp.stop()
    await this.#intake.stop()
    for (const { reject } of this.#storing.splice(0)) reject(stopped())
    await this.#flushing
    this.#options.outbox.close()
  }

  /** Transactions promised and not final. */
  get pendingCount(): number {
    return this.#pending.count
  }

  /** Most transactions promised and not final before submissions are turned away. */
  get pendingMax(): number {
    return this.#admission.limit
  }

  /**
   * Checks a submission and promises what passes.
   *
   * @param body - CBOR sequence of 1 to 256 leaves, at most 1 MiB.
   * @throws {AccountingError} `ERR_SEQUENCE_INVALID`, `ERR_SUBMISSION_TOO_LARGE`; `ERR_GATEWAY_FULL`, `ERR_SHARE_EXCEEDED`, `ERR_GATEWAY_STOPPED`: nothing was promised.
   */
  async submit(body: Uint8Array): Promise<SubmissionAnswer> {
    this.#admit(body.length)
    this.#checkingCount++
    this.#checkingBytes += body.length
    try {
      return await this.#check(body)
    } finally {
      this.#checkingCount--
      this.#checkingBytes -= body.length
    }
  }

  /** While a submission waits it takes no other's place. */
  async #aside(sizeBytes: number, work: () => Promise<void>): Promise<void> {
    this.#checkingCount--
    this.#checkingBytes -= sizeBytes
    try {
      await work()
    } finally {
      this.#checkingCount++
      this.#checkingBytes += sizeBytes
    }
  }

  #admit(sizeBytes: number): void {
    if (this.#stopping.signal.aborted) throw stopped()
    const isBusy = this.#checkingCount >= submissionsMax || this.#checkingBytes + sizeBytes > submissionsSizeBytesMax
    if (isBusy) this.#turnAway('submissions')
    const { pending, limit } = this.#room
    const isFull = this.#pending.isFullFor(1 + this.#reservedCount, sizeBytes) || pending >= limit * overLimitMax
    if (isFull) this.#turnAway('pending')
  }

  #turnAway(limit: IngressLimit): never {
    this.#options.metrics.turnedAway.inc({ chain: this.#options.core.chain })
    throw turnedAway(limit, retryAfterMs)
  }

  async #check(body: Uint8Array): Promise<SubmissionAnswer> {
    const { core, ledger, ledgerId, signer } = this.#options
    const place = { ledgerId, chain: core.chain }
    const claim = this.#pending.shares.claim(this.#room)
    const submission = parseSubmission(body, place, {
      ownerOf: (transaction, id) => ledger.ownerOf(transaction, id),
      onRead: ({ key, owner }) => {
        if (this.#pending.get(key) !== undefined) return
        // Whoever is over his share is turned away as soon as that shows: the others need not be read for it.
        const exceeded = claim.add(owner)
        if (exceeded !== undefined) this.#turnAway(exceeded)
      },
    })
    const refused = submission.malformed.map(({ id, rule }) => signer.refusal(id, rule))
    const rules = submission.malformed.map(({ rule }) => rule)
    const known: Uint8Array[] = []
    const unchecked: WellFormed[] = []
    for (const item of submission.transactions) {
      if (this.#pending.get(item.key) !== undefined) known.push(item.id)
      else unchecked.push(item)
    }
    const [first] = unchecked
    if (first === undefined) return this.#promise({ fresh: [], known, refused, rules })
    this.#assertShares(unchecked)
    await this.#verify(first.owner, unchecked)
    return this.#look(unchecked, { known, refused, rules }, body.length)
  }

  async #verify(owner: Owner, unchecked: readonly WellFormed[]): Promise<void> {
    await this.#turns.enter(owner, unchecked.length)
    try {
      // What was verified meanwhile counts.
      this.#assertShares(unchecked)
      await this.#verifications.verify(unchecked.map(({ transaction }) => transaction))
    } finally {
      this.#turns.leave(owner, unchecked.length)
    }
  }

  async #look(
    unchecked: readonly WellFormed[],
    { known, refused, rules }: Looked,
    sizeBytes: number,
  ): Promise<SubmissionAnswer> {
    const { ledger, signer } = this.#options
    let looked = ledger.look(unchecked)
    if (looked.some(({ mayBeBehind }) => mayBeBehind)) {
      await this.#aside(sizeBytes, () => this.#untilSecondLook())
      looked = ledger.look(unchecked)
    }
    const fresh: Storing['fresh'][number][] = []
    for (const { item, staticRule, isDeferred, isOnRecord } of looked) {
      if (isOnRecord) known.push(item.id)
      else if (staticRule === undefined) fresh.push({ ...item, isDeferred })
      else {
        rules.push(staticRule)
        refused.push(signer.refusal(item.id, staticRule))
      }
    }
    return this.#promise({ fresh, known, refused, rules })
  }

  async #promise({ fresh, known, refused, rules }: Looked & { fresh: Storing['fresh'] }): Promise<SubmissionAnswer> {
    const { core, metrics } = this.#options
    const release = this.#reserve(fresh)
    try {
      for (const rule of rules) metrics.refused.inc({ chain: core.chain, rule })
      metrics.submitted.inc({ chain: core.chain, verdict: 'refused' }, refused.length)
      metrics.submitted.inc({ chain: core.chain, verdict: 'accepted' }, fresh.length)
      if (fresh.length + known.length === 0) return { refused }
      return { promise: await this.#store(fresh, known), refused }
    } finally {
      release()
    }
  }

  /** Turns a submission away that exceeds somebody's share: before its signatures cost anything, and again when they are good. */
  #assertShares(items: readonly WellFormed[]): void {
    const exceeded = this.#pending.shares.exceeded(
      items.map(({ owner }) => owner),
      this.#room,
    )
    if (exceeded !== undefined) this.#turnAway(exceeded)
  }

  get #room(): { pending: number; limit: number } {
    const { limit } = this.#admission
    // What is reserved has its shares already.
    return { pending: this.#pending.shares.counted(limit), limit }
  }

  /** Counts what was verified as pending until it is. A forged signature counts for nobody, so nobody can use another's share up. */
  #reserve(items: readonly WellFormed[]): () => void {
    this.#assertShares(items)
    const { shares } = this.#pending
    for (const { owner } of items) shares.add(owner)
    this.#reservedCount += items.length
    return () => {
      for (const { owner } of items) shares.remove(owner)
      this.#reservedCount -= items.length
    }
  }

  /** Waits for the next block, but not long. */
  async #untilSecondLook(): Promise<void> {
    if (this.#secondLooks >= secondLooksMax) this.#turnAway('submissions')
    const waiting = new AbortController()
    const { clock } = this.#options
    this.#secondLooks++
    try {
      await Promise.race([this.#nextBlock.promise, clock.wait(secondLookMs, waiting.signal).catch(() => {})])
    } finally {
      this.#secondLooks--
      waiting.abort()
    }
  }

  #store(fresh: Storing['fresh'], known: readonly Uint8Array[]): Promise<Signed> {
    if (this.#stopping.signal.aborted) return Promise.reject(stopped())
    return new Promise((resolve, reject) => {
      this.#storing.push({ fresh, known, resolve, reject })
      this.#flushing ??= this.#flushAll()
    })
  }

  /** Submissions of the same turn of the event loop share one sync of the disk, and all that come while the disk syncs share the next. */
  async #flushAll(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve))
    while (this.#storing.length > 0) await this.#flush(this.#storing.splice(0))
    this.#flushing = undefined
  }

  async #flush(storing: readonly Storing[]): Promise<void> {
    const { outbox, clock } = this.#options
    const finished = this.#finished
    this.#finished = []
    const acceptedMs = clock.nowMs()
    const taken = new Map<string, Outgoing & { isDeferred: boolean }>()
    let plans: Plan[]
    let rows: PendingRow[]
    try {
      plans = storing.map((one) => this.#plan(one, acceptedMs, taken))
      rows = await outbox.accept(
        plans.flatMap(({ acceptance }) => acceptance ?? []),
        finished,
      )
    } catch (error) {
      this.#finished.push(...finished)
      for (const { reject } of storing) reject(error)
      return
    }
    const fresh = plans.flatMap(({ items }) => items)
    const outgoing = rows.map((row, position): Outgoing => {
      const { transaction, owner, isDeferred } = fresh[position] as Storing['fresh'][number]
      const { leaf, body } = transaction
      const entry = pendingEntry(row, { ...owner, type: body.t, sizeBytes: leaf.length }, clock)
      entry.isDeferred = isDeferred
      this.#pending.add(entry)
      return { leaf, transaction, owner: entry }
    })
    for (const { promise, one } of plans) one.resolve(promise)
    this.#handOver(outgoing)
  }

  /** Decides under which promise a submission goes; what was promised meanwhile is not promised twice. */
  #plan(one: Storing, acceptedMs: number, taken: Map<string, unknown>): Plan {
    const { signer, outbox } = this.#options
    const items = one.fresh.filter(({ key }) => this.#pending.get(key) === undefined && !taken.has(key))
    const isNew = new Set(items)
    const earlier = [...one.known, ...one.fresh.filter((item) => !isNew.has(item)).map(({ id }) => id)]
    if (items.length === 0) {
      const promises = new Set(earlier.map((id) => this.#pending.get(toHex(id))?.row.promise))
      const [number] = promises
      const same = promises.size === 1 && number !== undefined ? outbox.promise(number) : undefined
      if (same !== undefined) return { one, promise: same, items, acceptance: undefined }
    }
    for (const item of items) taken.set(item.key, item)
    const ids = [...items.map(({ id }) => id), ...earlier]
    const deadlineMs = acceptedMs + promiseMs
    const promise = signer.promise(ids, deadlineMs)
    if (items.length === 0) return { one, promise, items, acceptance: undefined }
    const transactions = items.map(({ id, transaction }) => ({ id, leaf: transaction.leaf }))
    const acceptance: Acceptance = { promise, acceptedMs, deadlineMs, transactions }
    return { one, promise, items, acceptance }
  }

  /** Sends everything, also what waits for something: that is often right behind it, and a leader waits for a while. */
  #handOver(outgoing: readonly Outgoing[]): void {
    for (const { owner } of outgoing) this.#markSent(owner)
    const takenCount = this.#intake.add(outgoing)
    for (const { owner } of outgoing.slice(takenCount)) owner.isQueued = false
  }

  #markSent(entry: PendingEntry): void {
    entry.sentMs = this.#options.clock.elapsedMs()
    entry.isQueued = true
  }

  /** The queue took a batch, or did not: from now on it is for others to bring it into a block. */
  #handed(batch: readonly Outgoing[], sentMs: number): void {
    const nowMs = this.#options.clock.elapsedMs()
    for (const { owner } of batch) {
      owner.isQueued = false
      owner.sentMs = sentMs
      owner.handedMs ??= nowMs
    }
  }

  /** Hands entries over again, in order. */
  #send(entries: readonly PendingEntry[]): void {
    const outgoing: Outgoing[] = []
    for (const entry of entries) {
      const leaf = this.#options.outbox.leaf(entry.row.number)
      if (leaf === undefined) continue
      outgoing.push({ leaf, transaction: this.#options.ledger.parse(leaf), owner: entry })
    }
    this.#handOver(outgoing)
  }

  #applied(block: AppliedBlock): void {
    const keys: { key: string; entry: PendingEntry | undefined }[] = []
    const landed: PendingEntry[] = []
    for (const { id, index } of block.transactions) {
      const key = toHex(id)
      const entry = this.#pending.get(key)
      if (entry !== undefined) {
        entry.appliedIndex = index
        landed.push(entry)
      }
      if (entry !== undefined || this.#waiters.has(key)) keys.push({ key, entry })
    }
    this.#unpublished.push({ end: block.size, keys })
    this.#intake.landed(landed)
    this.#nextBlock.resolve()
    this.#nextBlock = Promise.withResolvers()
  }

  #published(size: number): void {
    let count = 0
    const final: { key: string; entry: PendingEntry | undefined }[] = []
    for (const { end, keys } of this.#unpublished) {
      if (end > size) break
      final.push(...keys)
      count++
    }
    this.#unpublished.splice(0, count)
    const nowMs = this.#options.clock.elapsedMs()
    const pendingBefore = this.#pending.count
    let waitedMs = 0
    const rows: PendingRow[] = []
    for (const { entry } of final) {
      if (entry === undefined || this.#pending.get(entry.key) !== entry) continue
      this.#pending.remove(entry)
      rows.push(entry.row)
      waitedMs = Math.max(waitedMs, nowMs - entry.sinceMs)
      this.#options.metrics.commitSeconds.observe({ chain: this.#options.core.chain }, (nowMs - entry.sinceMs) / 1000)
    }
    this.#finished.push(...rows)
    if (rows.length > 0) this.#admission.committed(rows.length, waitedMs, pendingBefore)
    for (const { key } of final) this.#waiters.settle(key)
  }

  /** Takes what is published out of the outbox; whatever fails is tried again, and found finished at the next start. */
  #finish(): void {
    if (this.#finished.length === 0) return
    this.#options.outbox.finish(this.#finished)
    this.#finished = []
  }

  /** The answer to one transaction, from this node's own state. */
  answer(id: Uint8Array): Answer {
    const { core, ledger, outbox } = this.#options
    const index = ledger.find(id)
    if (index !== undefined) {
      const publishedSize = core.published()?.size ?? 0
      if (index >= publishedSize) return { status: 'pending' }
      const { height, size } = ledger.blockOf(index)
      return { status: 'committed', index, height, size }
    }
    if (this.#pending.get(toHex(id)) !== undefined) return { status: 'pending' }
    const stored = outbox.storedAnswer(id)
    // What was published is out of the outbox: while its block is missing here, nobody can say that there was no such transaction.
    if (stored === undefined) return { status: core.status().hasLostLeaves ? 'pending' : 'unknown' }
    return { status: stored.kind === 3 ? 'refused' : 'deferred', signed: stored }
  }

  /** The answers to several transactions, once all are final, or after `waitMs`, or when one of the signals is aborted. */
  async answers(ids: readonly Uint8Array[], waitMs: number, signals: readonly AbortSignal[]): Promise<Answer[]> {
    const found = ids.map((id) => this.answer(id))
    const open = ids.filter((_, position) => !isFinal(found[position] as Answer))
    if (open.length === 0) return found
    await this.#waiters.wait(open.map(toHex), waitMs, [...signals, this.#stopping.signal])
    return ids.map((id, position) =>
      isFinal(found[position] as Answer) ? (found[position] as Answer) : this.answer(id),
    )
  }
}

function stopped(): AccountingError {
  return new AccountingError('this node is stopping', { code: 'ERR_GATEWAY_STOPPED' })
}
