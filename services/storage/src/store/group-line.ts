/**
 * Groups between their arrival at the writer's thread and their commit. Their large blocks are sealed and written at once, and
 * the disk syncs those of the next transaction while this one is committed: by itself each step waits for the disk or for the
 * processor, and the other is idle. What arrives while a sync is under way shares the next transaction. Where all of it is in
 * packs, their sync makes it durable, and the commit waits for no other. Any other commit after which nothing is overwritten goes to
 * the log, and is answered once the log is synced (src/store/log-sync.ts): the next groups are applied meanwhile. Groups are
 * committed in the order in which they arrive, and each as a whole with all that it shares a transaction with.
 */
import type { DatabaseSync } from 'node:sqlite'
import type { Applier } from './applier.ts'
import { atRestOverheadBytes, sealInPieces } from './at-rest.ts'
import { isDiskFull } from './disk-room.ts'
import { isPacked } from './group-message.ts'
import type { LogSync } from './log-sync.ts'
import { type Operation, type Outcome, type PutOperation, removesNothing } from './operations.ts'
import { packedBytesMin } from './pack-place.ts'
import type { Packs } from './packs.ts'
import { Statements } from './statements.ts'

/** What {@link GroupLine} works with. All of it belongs to the writer's thread. */
export interface GroupLineOptions {
  database: DatabaseSync
  /** 32-byte key for blocks at rest. */
  key: Uint8Array
  packs: Packs
  applier: Applier
  log: LogSync
  /** Called in the order of the operations, with the outcomes of the next ones, or why they all failed. */
  answer: (operations: readonly Operation[], outcomes: Outcome[] | Error) => void
}

/** Operations of one transaction, and where their blocks are. */
interface Batch {
  readonly operations: Operation[]
  readonly staged: Map<Operation, Uint8Array>
  /** For whose blocks the disk has no room. */
  readonly roomless: Map<Operation, Error>
  /** The last failure of a sync from before its first block was written. */
  readonly failureBefore: Error | undefined
  /** Behind their blocks, if all of them are in one. */
  journal?: Uint8Array | undefined
  /** Done when their blocks are durable; undefined without any. */
  flushed?: Promise<Error | undefined>
}

/** The line before the applier. */
export class GroupLine {
  readonly #options: GroupLineOptions
  readonly #statements: Statements
  #waiting: Batch | undefined
  #isRunning = false

  constructor(options: GroupLineOptions) {
    this.#options = options
    this.#statements = new Statements(options.database)
  }

  /**
   * Takes a group. It may only have puts if another one has large blocks and has not been answered yet.
   *
   * @param isAhead - more of it follows: its blocks are written, and no sync begins for them by themselves until {@link complete}.
   */
  add(operations: readonly Operation[], isAhead = false): void {
    const failureBefore = this.#options.packs.syncFailure
    this.#waiting ??= { operations: [], staged: new Map(), roomless: new Map(), failureBefore }
    this.#waiting.operations.push(...operations)
    this.#stage(operations, this.#waiting)
    if (!isAhead) this.complete()
  }

  /** All of a group is here. */
  complete(): void {
    if (!this.#isRunning) void this.#run()
  }

  /** What is here already, or cannot be written, is left to the transaction. */
  #stage(operations: readonly Operation[], { staged, roomless }: Batch): void {
    const { key, packs } = this.#options
    for (const operation of operations) {
      if (operation.kind !== 'put' || operation.isExternal) continue
      const { digest, bytes } = operation
      const length = bytes.length + atRestOverheadBytes
      if (length < packedBytesMin) continue
      if (this.#statements.prepare('SELECT 1 FROM block WHERE digest = ?').get(digest)) continue
      try {
        staged.set(operation, packs.stage(digest, length, sealInPieces(key, digest, bytes)))
      } catch (error) {
        // The transaction says so.
        if (isDiskFull(error as Error)) roomless.set(operation, error as Error)
      }
    }
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    for (let batch = this.#take(); batch !== undefined; ) {
      // Nothing is waited for without large blocks.
      const error = batch.flushed && (await batch.flushed)
      const next = this.#take()
      // A commit that is synced by itself says nothing of those before whose sync is still under way, and may have failed.
      const isSyncedLater = batch.operations.every(removesNothing)
      if (!isSyncedLater && !this.#options.log.isSettled) await this.#options.log.settled()
      this.#commit(batch, isSyncedLater, error)
      batch = next ?? this.#take()
    }
    this.#isRunning = false
  }

  /** What waits, whose blocks begin to be synced. */
  #take(): Batch | undefined {
    const batch = this.#waiting
    this.#waiting = undefined
    if (batch !== undefined && batch.staged.size > 0) {
      batch.journal = this.#journal(batch)
      batch.flushed = this.#flush(batch)
    }
    return batch
  }

  /** Why the blocks are not durable, or may not be: also by a sync that failed for others when some of them were written already. */
  async #flush({ failureBefore }: Batch): Promise<Error | undefined> {
    const { packs } = this.#options
    await packs.flush().catch(() => {})
    return packs.syncFailure === failureBefore ? undefined : packs.syncFailure
  }

  /** Writes down puts that are all of blocks in packs: the sync of these is enough for them then. */
  #journal({ operations, staged }: Batch): Uint8Array | undefined {
    if (staged.size < operations.length || !operations.every(isPacked)) return undefined
    try {
      return this.#options.packs.stageJournal(staged as Map<PutOperation, Uint8Array>)
    } catch {
      return undefined
    }
  }

  #commit({ operations, staged, roomless, journal }: Batch, isSyncedLater: boolean, error: Error | undefined): void {
    const { packs, applier, log, answer } = this.#options
    if (error !== undefined) {
      packs.drop([...staged.values(), ...(journal ? [journal] : [])])
      log.add(true, () => answer(operations, error))
      return
    }
    try {
      if (log.failure !== undefined) throw log.failure
      const outcomes = applier.applyGroup(operations, { staged, roomless, journal, isSyncedLater })
      const isDurable = journal !== undefined || !isSyncedLater
      log.add(isDurable, (failure) => answer(operations, failure ?? outcomes))
    } catch (failure) {
      log.add(true, () => answer(operations, failure as Error))
    }
  }
}
