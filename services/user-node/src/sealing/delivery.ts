/** From sealed block to ledger: two storage receipts first, then the IoT transaction, in order of the stream. */
import { encodeBody, type IotRecord, signTransaction, transactionId } from '@healthblock/chain/transaction'
import { payloadKinds } from '@healthblock/crypto/payload'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import type { Logger } from '@healthblock/runtime/logger'
import type { Outbox, OutboxEntry } from '@healthblock/runtime/outbox'
import { type PauseLimits, Pauses } from '@healthblock/runtime/pauses'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import type { LedgerView } from '../ledger-view.ts'
import type { OpStanding } from '../people/op-standing.ts'
import type { Person, PersonStore } from '../store/person.ts'
import type { Posting, PostingState, Postings } from '../store/postings.ts'
import type { Losses } from './losses.ts'

interface Dependencies {
  readonly database: Database
  readonly people: PersonStore
  readonly postings: Postings
  readonly outbox: Outbox
  /** The storage network as this person: a block is put by its writer. */
  readonly storageOf: (account: Uint8Array) => StorageClient
  readonly ledger: LedgerView
  readonly losses: Losses
  readonly standing: Pick<OpStanding, 'isOut' | 'refused' | 'taken'>
  readonly logger: Logger
  readonly nowMs: () => number
  /** A transaction of this node is final. */
  readonly onFinal: (posting: { tx: Uint8Array; what: string; account: Uint8Array }, entry: OutboxEntry) => void
}

/** Of one person. */
const uploadsAtOnce = 4
const peopleAtOnce = 4
const recordsPerTransaction = 64
/** Between attempts while the storage network is out of reach. */
const uploadPauses: PauseLimits = { minMs: 250, maxMs: 15_000 }
/** Between attempts with a stream of which the ledger refused a record. */
const refusedPauses: PauseLimits = { minMs: 2_000, maxMs: 300_000 }

/** Records of nothing, and a registration, are the same transaction however often they are signed. */
function isRenewable(what: unknown): boolean {
  return what === 'iot' || what === 'register'
}

/** What an outbox says of something whose predecessor was refused: one whose file was lost since would wait for that for ever. */
function refusedWithIt({ tx }: Posting, addedMs: number): OutboxEntry {
  return { id: toHex(tx), chain: 'userchain', status: 'refused', addedMs, attempts: 0, rule: 'outbox.dependency' }
}

/** Moves batches and postings along. `step` may be called at any time, by anyone; it never runs twice at once. */
export class Delivery {
  readonly #deps: Dependencies
  #running: Promise<void> | undefined
  /** By person: what storage refuses one of them, a full quota for instance, must not hold up the others. */
  readonly #pauses: Pauses
  /** By person, Unix ms: since when her blocks cannot be stored. */
  readonly #unstoredSince = new Map<string, number>()
  /** True while the outbox has finished something that could not be written down here: a full disk. */
  #isBehind = false
  readonly #refusals: Pauses
  /** True once records may be posted. */
  #isOpen = false

  constructor(deps: Dependencies) {
    this.#deps = deps
    this.#pauses = new Pauses(uploadPauses, deps.nowMs)
    this.#refusals = new Pauses(refusedPauses, deps.nowMs)
  }

  /** Does what can be done now: uploads, IoT transactions, handing over. Faults of the network are left for the next step. */
  step(): Promise<void> {
    this.#running ??= this.#step().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** The node has caught up with the ledger since it started: until then its folder may be an older copy, and what it has sealed not to be posted. */
  open(): void {
    this.#isOpen = true
  }

  async #step(): Promise<void> {
    if (this.#isBehind) this.reconcile()
    this.handOver()
    await this.#upload()
    if (!this.#isOpen) return
    for (const person of this.#deps.people.all()) {
      if (person.state !== 'live' || this.#isChangingOp(person) || this.#deps.standing.isOut(person)) continue
      for (const { stream } of person.streams) while (this.#postNext(person, stream)) this.handOver()
    }
  }

  /** Since when the storage network does not take a person's sealed blocks, Unix ms; undefined if it does, or she has none. */
  unstoredSinceMs(account: Uint8Array): number | undefined {
    return this.#unstoredSince.get(toHex(account))
  }

  /** Number of batches that are not on the ledger yet, and of transactions without a final answer. */
  pending(): number {
    const batches = this.#deps.database.get(
      "SELECT count(*) AS n FROM batch WHERE state NOT IN ('committed', 'uploading')",
    )
    return Number(batches?.n ?? 0) + this.#deps.outbox.pending() + this.#deps.postings.unhanded().length
  }

  async #upload(): Promise<void> {
    const rows = this.#deps.database.all("SELECT DISTINCT account FROM batch WHERE state = 'sealed'")
    const waiting = rows.map(({ account }) => account as Uint8Array)
    const names = new Set(waiting.map(toHex))
    // What could not be stored may also have been given up.
    for (const name of this.#unstoredSince.keys()) if (!names.has(name)) this.#unstoredSince.delete(name)
    const worker = async (): Promise<void> => {
      for (let account = waiting.shift(); account !== undefined; account = waiting.shift())
        await this.#uploadOf(account)
    }
    await Promise.all(Array.from({ length: peopleAtOnce }, worker))
  }

  async #uploadOf(account: Uint8Array): Promise<void> {
    const { database, logger, nowMs } = this.#deps
    const name = toHex(account)
    if (this.#pauses.isPausing(name)) return
    for (;;) {
      const rows = database.all(
        "SELECT account, stream, sequence, block, size, cid FROM batch WHERE state = 'sealed' AND account = ? ORDER BY stream, sequence LIMIT ?",
        ...[account, uploadsAtOnce],
      )
      if (rows.length === 0) return
      if (this.#giveUpBroken(rows)) continue
      const results = await Promise.allSettled(rows.map((row) => this.#uploadOne(row)))
      const failed = results.find((result) => result.status === 'rejected')
      if (failed !== undefined) {
        logger.warn({ err: failed.reason, againInMs: this.#pauses.failed(name) }, 'a block is not stored yet')
        if (!this.#unstoredSince.has(name)) this.#unstoredSince.set(name, nowMs())
        return
      }
      this.#pauses.succeeded(name)
      this.#unstoredSince.delete(name)
    }
  }

  /** A block that is not what was sealed will never be: its number is closed. True if there was one. */
  #giveUpBroken(rows: readonly SqlRow[]): boolean {
    const { losses, people } = this.#deps
    const broken = rows.filter((row) => !losses.isWhole(row))
    for (const row of broken) {
      const person = people.byAccount(row.account as Uint8Array)
      if (person !== undefined) losses.giveUp(person, row.stream as Uint8Array, Number(row.sequence))
    }
    return broken.length > 0
  }

  async #uploadOne(row: SqlRow): Promise<void> {
    const { database, storageOf } = this.#deps
    const stored = await storageOf(row.account as Uint8Array).put(row.block as Uint8Array)
    const receipts = encodeCbor(stored.receipts.map(({ bytes }) => bytes))
    database.run(
      "UPDATE batch SET state = 'stored', receipts = ? WHERE account = ? AND stream = ? AND sequence = ? AND state = 'sealed'",
      ...[receipts, row.account as Uint8Array, row.stream as Uint8Array, Number(row.sequence)],
    )
  }

  /** True while root replaces the person's op key: what is signed with the old one now would be refused. */
  #isChangingOp(person: Person): boolean {
    const { people, postings } = this.#deps
    const tx = person.nextOp === undefined ? undefined : people.nextOpBy(person)
    return tx !== undefined && postings.find(person.account, tx)?.state !== 'refused'
  }

  /** Posts the next stored batches of a stream, as long as none before them is missing. */
  #postNext(person: Person, stream: Uint8Array): boolean {
    const { database, postings, ledger, losses, nowMs } = this.#deps
    if (this.#refusals.isPausing(toHex(stream))) return false
    const rows = database.all(
      `SELECT sequence, generation, epoch, kind, size, cid, state FROM batch
       WHERE account = ? AND stream = ? AND state IN ('uploading', 'sealed', 'stored') ORDER BY sequence LIMIT ?`,
      ...[person.account, stream, recordsPerTransaction],
    )
    const ready: SqlRow[] = []
    const unfit = new Map<number, boolean>()
    for (const row of rows) {
      const before = ready.at(-1)
      const generation = Number(row.generation)
      if (!unfit.has(generation)) unfit.set(generation, losses.isUnfit(person, generation))
      // It is sealed anew first.
      if (Number(row.kind) !== payloadKinds.gap && unfit.get(generation) === true) break
      // Numbers between that are still to be closed come first: a transaction with a hole in it would wait, and hold up what closes the hole.
      if (row.state !== 'stored' || (before !== undefined && Number(row.sequence) !== Number(before.sequence) + 1))
        break
      ready.push(row)
    }
    if (ready.length === 0) return false
    const records = ready.map((row): IotRecord => {
      const numbers = ['sequence', 'generation', 'epoch', 'kind', 'size'].map((name) => Number(row[name]))
      const [sequence, of, epoch, kind, size] = numbers as [number, number, number, number, number]
      return [stream, sequence, of, epoch, kind, size, row.cid as Uint8Array]
    })
    const body = { v: 1, t: 'iot', a: person.account, r: records } as const
    const tx = transactionId({ ledgerId: ledger.ledgerId, chain: 'userchain', bodyBytes: encodeBody(body) })
    // Gaps that were refused, under an op key that was being replaced, do not change: they are the same transaction, signed again.
    const isRefused = postings.find(person.account, tx)?.state === 'refused'
    const signers = [{ account: person.account, key: 1, signingKey: person.opKey }]
    const transaction = signTransaction({ ledgerId: ledger.ledgerId, chain: 'userchain', body, signers })
    database.transaction(() => {
      if (isRefused) postings.renew({ tx, leaf: transaction.leaf }, nowMs())
      else
        postings.add({ tx, account: person.account, what: 'iot', leaf: transaction.leaf, requires: undefined }, nowMs())
      for (const [, sequence] of records) {
        database.run(
          "UPDATE batch SET state = 'posted', tx = ? WHERE account = ? AND stream = ? AND sequence = ?",
          tx,
          person.account,
          stream,
          sequence,
        )
      }
    })
    return true
  }

  /** Hands signed transactions to the outbox. */
  handOver(): void {
    const { postings, outbox, nowMs } = this.#deps
    for (;;) {
      const waiting = postings.unhanded()
      if (waiting.length === 0) return
      for (const posting of waiting) {
        const before = this.#stateBefore(posting)
        if (before === 'refused') {
          this.settle(refusedWithIt(posting, nowMs()))
          continue
        }
        // What is on record is not waited for: an outbox whose file was lost does not know it any more.
        const dependsOn = before === 'committed' ? undefined : posting.requires
        const { leaf } = posting
        const item = { chain: 'userchain', leaf, isAnew: isRenewable(posting.what) } as const
        outbox.add([dependsOn === undefined ? item : { ...item, dependsOn }])
        postings.markHanded(posting.tx)
      }
    }
  }

  /** What became of that which must be on record first. */
  #stateBefore({ account, requires }: Posting): PostingState | undefined {
    return requires === undefined ? undefined : this.#deps.postings.find(account, requires)?.state
  }

  /** The outbox's final word about a transaction. What cannot be written down is taken up again by a later step. */
  settle(entry: OutboxEntry): void {
    try {
      this.#settle(entry)
    } catch (error) {
      this.#isBehind = true
      throw error
    }
  }

  #settle(entry: OutboxEntry): void {
    const { database, postings, onFinal, people, standing } = this.#deps
    const tx = fromHex(entry.id)
    const row = database.get('SELECT account, what, leaf FROM posting WHERE tx = ?', tx)
    if (row === undefined) return
    const person = people.byAccount(row.account as Uint8Array)
    const isCommitted = entry.status === 'committed'
    database.transaction(() => {
      postings.markFinal(tx, isCommitted ? 'committed' : 'refused')
      if (isCommitted) this.#isTaken(tx)
      // The block is on two stores and on the ledger: this node need not keep it.
      if (isCommitted) database.run("UPDATE batch SET state = 'committed', block = NULL WHERE tx = ?", tx)
      else this.#takeBack(person, tx)
      if (person !== undefined && isCommitted && row.what === 'iot') standing.taken(person)
      if (person !== undefined && !isCommitted)
        standing.refused(person, { leaf: row.leaf as Uint8Array, rule: entry.rule })
    })
    if (!isCommitted) this.#deps.logger.error({ transaction: toHex(tx), rule: entry.rule }, 'a transaction was refused')
    onFinal({ tx, what: row.what as string, account: row.account as Uint8Array }, entry)
  }

  /** Streams of which the ledger took records wait for nothing any more. */
  #isTaken(tx: Uint8Array): void {
    for (const { stream } of this.#deps.database.all('SELECT DISTINCT stream FROM batch WHERE tx = ? LIMIT 64', tx))
      this.#refusals.succeeded(toHex(stream as Uint8Array))
  }

  /** Records that the ledger refused are sealed anew; their streams wait a while, longer each time. */
  #takeBack(person: Person | undefined, tx: Uint8Array): void {
    const { database, losses } = this.#deps
    const rows = database.all('SELECT DISTINCT stream FROM batch WHERE tx = ? LIMIT 64', tx)
    if (person === undefined || rows.length === 0) return
    for (const { stream } of rows) {
      // What was under way together is refused together: that is one failure.
      const name = toHex(stream as Uint8Array)
      if (!this.#refusals.isPausing(name)) this.#refusals.failed(name)
    }
    losses.takeBack(person, tx)
  }

  /**
   * What the outbox finished while this process was not there to hear it, or had no room to write it down. What it does not know any more
   * (its file was lost) is handed over again.
   */
  reconcile(): void {
    this.#isBehind = false
    const { database, outbox } = this.#deps
    const rows = database.all("SELECT tx, what, handed FROM posting WHERE state = 'pending'")
    for (const row of rows) {
      const tx = row.tx as Uint8Array
      const entry = outbox.find(tx)
      if (entry === undefined) database.run('UPDATE posting SET handed = 0 WHERE tx = ?', tx)
      // Of what is sent again the word is about the one before, until it is handed over.
      else if (entry.status === 'refused' && (row.handed === 1 || !isRenewable(row.what))) this.settle(entry)
      // Also if this node was killed twice: before it noted that the outbox has it, and before it heard the end.
      else if (entry.status === 'committed') this.settle(entry)
    }
  }
}
