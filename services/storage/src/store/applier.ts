/**
 * Carries out changes to a node's tables. Operations of one group share one transaction; a group of which one cannot be
 * applied is undone and applied again, each operation in its own savepoint, so that it leaves the others alone.
 */
import type { DatabaseSync } from 'node:sqlite'
import { atRestOverheadBytes, sealAtRest, sealInPieces } from './at-rest.ts'
import { BlockRows, markColumn } from './block-rows.ts'
import { isDiskFull } from './disk-room.ts'
import { ErasureRows } from './erasure-rows.ts'
import { HandoffRows } from './handoff-rows.ts'
import type { IncidentEntry, Operation, Outcome, PutOperation, Reference } from './operations.ts'
import { packedBytesMin } from './pack-place.ts'
import type { Packs } from './packs.ts'
import { PinRows } from './pin-rows.ts'
import { keptSince, withoutPinsOf } from './pin-stamps.ts'
import { Statements } from './statements.ts'
import { blockRowBytes, quotaLeftOf, Tallies } from './tallies.ts'

const unchanged: Outcome = { ok: true, changed: false, deleted: 0 }
const changed: Outcome = { ok: true, changed: true, deleted: 0 }
const failed: Outcome = { ok: false, code: 'ERR_STORE_FAILED' }
const full: Outcome = { ok: false, code: 'ERR_STORE_FULL' }
const released: Outcome = { ok: false, code: 'ERR_BLOCK_RELEASED' }
/** Most blocks kept aside for inspection; the oldest go first. */
const quarantineRowsMax = 1000
/** Asked for where a put has no reference: nobody has it. */
const noAccount = new Uint8Array(32)
const noBytes = new Uint8Array(0)

const knownOfPut = `SELECT (SELECT 1 FROM tombstone WHERE digest = ?1) AS erased,
  (SELECT id FROM block WHERE digest = ?1) AS block, (SELECT block FROM gone WHERE digest = ?1) AS gone,
  (SELECT at FROM release WHERE digest = ?1 AND account = ?2) AS releasedAt`

/** What is known of a block, and of an account's part in it; null for nothing. */
interface KnownOfPut {
  erased: number | null
  /** Its number if it is here, and if it is not but accounts keep it. */
  block: number | null
  gone: number | null
  releasedAt: number | null
}

/** An account's claim on a block. */
interface Claim {
  digest: Uint8Array
  /** Of the block. */
  number: number
  codec: number
  size: number
  reference: Reference
}

/** Where the blocks of puts lie that were written ahead of their transaction. */
export type StagedBlocks = ReadonlyMap<Operation, Uint8Array>

/** What a group has in packs before it is applied. */
export interface WrittenAhead {
  readonly staged: StagedBlocks
  /** Puts for whose blocks the disk had no room, with what it said. */
  readonly roomless?: ReadonlyMap<Operation, Error>
  readonly journal?: Uint8Array | undefined
  /** True if the log is synced before anybody is answered: then the commit does not wait for the disk either. */
  readonly isSyncedLater?: boolean
}

/** Applies operations to the tables. Owned by the writer's thread. */
export class Applier {
  readonly #database: DatabaseSync
  readonly #key: Uint8Array
  readonly #packs: Packs
  readonly #tallies: Tallies
  /** True while each operation is in a savepoint of its own. */
  #isGuarded = false
  /** Number of the newest block; undefined until it is asked for. */
  #lastNumber: number | undefined
  /** Of the group that is applied: where its blocks lie, and all that it has in packs, in that order. */
  #staged: StagedBlocks = new Map()
  #roomless: ReadonlyMap<Operation, Error> = new Map()
  #ahead: readonly Uint8Array[] = []
  /** As `openWriter` leaves it. */
  #isSynced = true
  readonly #statements: Statements
  readonly #rows: BlockRows
  readonly #pins: PinRows
  readonly #handoffs: HandoffRows
  readonly #erasures: ErasureRows

  /** Applies first what only journals know of. @param key - 32-byte key for blocks at rest. */
  constructor(database: DatabaseSync, key: Uint8Array, packs: Packs) {
    this.#database = database
    this.#statements = new Statements(database)
    this.#key = key
    this.#packs = packs
    this.#tallies = new Tallies(database)
    this.#rows = new BlockRows(this.#statements, this.#tallies, packs)
    this.#pins = new PinRows(this.#statements, this.#rows, this.#tallies)
    this.#handoffs = new HandoffRows(this.#statements)
    this.#erasures = new ErasureRows(this.#statements, {
      rows: this.#rows,
      handoffs: this.#handoffs,
      tallies: this.#tallies,
    })
    for (const { staged, journal } of packs.takeUnheard()) this.applyGroup([...staged.keys()], { staged, journal })
  }

  /**
   * Applies a group in one transaction. When it returns, all of it is durable: the commit is the commit point, unless it is synced later.
   *
   * @param written.staged - those of its blocks that are written already, and durable; in the order in which they were written.
   * @param written.roomless - those of which there was no room for that: they are refused.
   * @param written.journal - behind them, if the whole group is in one and that is durable: then the commit need not be.
   * @param written.isSyncedLater - whoever calls syncs the log before he relies on it; only for what {@link removesNothing}.
   * @throws if SQLite refuses the transaction as a whole (disk full, input or output error); then nothing is changed.
   */
  applyGroup(operations: readonly Operation[], written: WrittenAhead = { staged: new Map() }): Outcome[] {
    const { staged, roomless = new Map(), journal, isSyncedLater = false } = written
    this.#staged = staged
    this.#roomless = roomless
    this.#ahead = [...staged.values(), ...(journal ? [journal] : [])]
    try {
      return this.#applyGroup(
        operations,
        (operation) => this.#apply(operation),
        journal === undefined && !isSyncedLater,
      )
    } catch {
      // One of them cannot be applied. All of it is undone: again, each by itself, so that it leaves the others alone.
      this.#isGuarded = true
      try {
        return this.#applyGroup(operations, (operation) => this.#guarded(operation))
      } catch (error) {
        this.#packs.drop(this.#ahead)
        throw error
      } finally {
        this.#isGuarded = false
      }
    }
  }

  #applyGroup(operations: readonly Operation[], apply: (operation: Operation) => Outcome, isSynced = true): Outcome[] {
    const isCheckpoint = operations.some(({ kind }) => kind === 'checkpoint')
    try {
      this.#syncCommits(isSynced)
      this.#packs.begin(this.#ahead)
      this.#database.exec('BEGIN IMMEDIATE')
      const outcomes = operations.map(apply)
      for (const [index, operation] of operations.entries()) this.#settleStaged(operation, outcomes[index] as Outcome)
      this.#tallies.write()
      this.#packs.sync()
      if (!isSynced && this.#packs.isRemoving) throw new RangeError('this commit has to be durable by itself')
      this.#database.exec('COMMIT')
      this.#packs.settle()
      if (isCheckpoint && !this.#checkpoint()) {
        return outcomes.map((outcome, at) => (operations[at]?.kind === 'checkpoint' ? failed : outcome))
      }
      return outcomes
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      this.#tallies.forget()
      this.#packs.abort()
      throw error
    }
  }

  /** Whether the next commits are durable by themselves. Those that are not become so with the next one that is. */
  #syncCommits(isSynced: boolean): void {
    if (this.#isSynced === isSynced) return
    this.#database.exec(`PRAGMA synchronous=${isSynced ? 'FULL' : 'NORMAL'}`)
    this.#isSynced = isSynced
  }

  /** A block that came twice at once, or was refused after it had been written. */
  #settleStaged(operation: Operation, outcome: Outcome): void {
    const mark = this.#staged.get(operation)
    if (mark !== undefined && !(outcome.ok && outcome.changed)) this.#packs.discard(mark)
  }

  /** What was overwritten in the file goes out of the write-ahead log too. False if it cannot: the group stays. */
  #checkpoint(): boolean {
    try {
      this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
      return true
    } catch {
      return false
    }
  }

  #guarded(operation: Operation): Outcome {
    this.#statements.run('SAVEPOINT one')
    const state = this.#packs.state()
    this.#tallies.mark()
    try {
      const outcome = this.#apply(operation)
      this.#statements.run('RELEASE one')
      return outcome
    } catch (error) {
      // A full disk ends the whole transaction by itself; then the group fails, and says so.
      if (!this.#database.isTransaction) throw error
      this.#statements.run('ROLLBACK TO one')
      this.#statements.run('RELEASE one')
      this.#packs.rollBack(state)
      this.#tallies.rollBack()
      return isDiskFull(error as Error) ? full : failed
    }
  }

  #apply(operation: Operation): Outcome {
    switch (operation.kind) {
      case 'put':
        return this.#put(operation)
      case 'release':
        return this.#rows.release(operation)
      case 'retract':
        this.#handoffs.removeReference(operation)
        return this.#rows.retract(operation)
      case 'pin':
        return this.#pin(operation)
      case 'unpin':
        return this.#pins.unpin(operation)
      case 'word':
        return this.#erasures.word(operation)
      case 'tombstones':
        return this.#erasures.tombstones(operation)
      case 'vouch':
        return this.#erasures.vouch(operation)
      case 'erase-range':
        this.#erasures.eraseRange(operation.range)
        return changed
      case 'removed':
        for (const digest of operation.digests) this.#statements.run('DELETE FROM removal WHERE digest = ?', digest)
        return changed
      case 'cursor':
        this.#statements.run('INSERT OR REPLACE INTO cursor VALUES (?, ?)', operation.name, operation.value)
        return changed
      case 'checkpoint':
        return unchanged
      case 'sweep':
        return this.#sweep(operation)
      case 'quarantine':
        return this.#quarantine(operation)
      case 'incident':
        return this.#incident(operation.incident)
      case 'handoff':
        this.#handoffs.add(operation)
        return changed
      case 'handoff-done':
        this.#handoffs.remove(operation.entries)
        return changed
      case 'copies-settled':
        for (const copy of operation.copies) this.#handoffs.settleCopy(copy, operation.dueAt)
        return changed
      case 'handoff-wake':
        this.#handoffs.wake(operation.target, operation.now)
        return changed
      case 'handoff-retry':
        this.#handoffs.retry(operation.id, operation.nextAt)
        return changed
    }
  }

  #put(operation: PutOperation): Outcome {
    const { digest, size, references, accountBytesMax } = operation
    // Nearly all have one reference: then one question asks all that there is to know.
    const known = this.#statements.get(knownOfPut, digest, references[0]?.account ?? noAccount) as unknown as KnownOfPut
    const number = known.block ?? known.gone ?? this.#newNumber()
    if (known.erased || this.#erasures.isErasedRecord(operation)) return { ok: false, code: 'ERR_BLOCK_ERASED' }
    const present = known.block !== null
    if (!present && this.#tallies.total.bytes + size > operation.bytesMax) return full
    let isKept = present
    for (const [index, reference] of references.entries()) {
      const claim = { digest, number, codec: operation.codec, size, reference }
      const quota = { accountBytesMax, putAt: accountBytesMax === undefined ? undefined : operation.now }
      const became = this.#refer(claim, quota, index === 0 ? known : undefined)
      if (became === 'over-quota') return this.#quotaExceeded(index)
      // Of the one that asks for it: that others keep the block is not what it is told.
      if (became === 'given-up' && accountBytesMax !== undefined && references.length === 1) return released
      isKept ||= became === 'kept'
    }
    if (!isKept && known.gone === null) {
      // A late copy of what every account has given up: nothing would ever remove it.
      return released
    }
    if (!present) this.#insert(operation, number)
    if (known.gone !== null) this.#statements.run('DELETE FROM gone WHERE block = ?', known.gone)
    for (const target of operation.handoff) {
      const { now, handoffDelayMs } = operation
      this.#handoffs.addCopy({ digest, target, at: now, now: now + handoffDelayMs })
    }
    return present ? unchanged : changed
  }

  /** Of a block that is new; numbers grow, so that rows and references are added at the end. */
  #newNumber(): number {
    if (this.#lastNumber === undefined) {
      const last =
        'SELECT max((SELECT ifnull(max(id), 0) FROM block), (SELECT ifnull(max(block), 0) FROM gone)) AS last'
      this.#lastNumber = this.#statements.get(last)?.last as number
    }
    this.#lastNumber++
    return this.#lastNumber
  }

  #insert(operation: PutOperation, number: number): void {
    const { digest, size, isExternal } = operation
    this.#statements.run(
      `INSERT INTO block (id, digest, codec, size, stored_at, owner, writer, stream, sequence, sealed)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      number,
      digest,
      operation.codec,
      size,
      operation.now,
      operation.owner ?? null,
      operation.writer ?? null,
      operation.stream ?? null,
      operation.sequence ?? null,
      isExternal ? noBytes : this.#seal(operation),
    )
    this.#tallies.addBlock(size, 1)
    if (isExternal) this.#statements.run('DELETE FROM removal WHERE digest = ?', digest)
    if (operation.incident) this.#incident(operation.incident)
  }

  /** What a block's row has: the sealed bytes, or where they are. */
  #seal(operation: PutOperation): Uint8Array {
    const { digest, bytes } = operation
    const staged = this.#staged.get(operation)
    if (staged !== undefined) {
      this.#packs.take(staged)
      return staged
    }
    // Not tried once more: others' records may lie ahead meanwhile.
    const failure = this.#roomless.get(operation)
    if (failure !== undefined) throw failure
    const length = bytes.length + atRestOverheadBytes
    if (length < packedBytesMin) return sealAtRest(this.#key, digest, bytes)
    return this.#packs.write(digest, length, sealInPieces(this.#key, digest, bytes))
  }

  /** @param added - references that this operation had already added, which go again. */
  #quotaExceeded(added = 0): Outcome {
    if (added > 0 && !this.#isGuarded) throw new RangeError('this operation has to be undone by itself')
    if (added > 0) {
      this.#statements.run('ROLLBACK TO one')
      this.#tallies.rollBack()
    }
    return { ok: false, code: 'ERR_QUOTA_EXCEEDED' }
  }

  /** Adds a reference, unless the account has given it up since. `asked`: what a put has asked for already. */
  #refer(
    { digest, number, size, codec, reference: brought }: Claim,
    { accountBytesMax, putAt }: { accountBytesMax: number | undefined; putAt: number | undefined },
    asked?: KnownOfPut,
  ): 'kept' | 'given-up' | 'over-quota' {
    const { account } = brought
    // The number of a block that is new is new.
    const isNew = asked !== undefined && asked.block === null && asked.gone === null
    const known = isNew ? undefined : this.#rows.referenceOf(number, account)
    const isPlain = known !== undefined && (putAt !== undefined || (brought.pin === 0 && brought.pins === undefined))
    const releasedAt = isPlain || asked !== undefined ? (asked?.releasedAt ?? null) : this.#releasedAt(digest, account)
    // A copy that a slower node still carries must not bring back what its account has given up, nor its pins.
    const reference = isPlain || releasedAt === null ? brought : withoutPinsOf(brought, releasedAt)
    if (known !== undefined) {
      this.#pins.add({ number, digest, codec, row: known }, reference, {
        putAt,
        isAsked: accountBytesMax !== undefined,
      })
      return 'kept'
    }
    const { at, pin, pins, again = at } = reference
    const since = releasedAt !== null && releasedAt >= at ? keptSince(reference) : at
    if (releasedAt !== null && releasedAt >= since) return 'given-up'
    const more = size + blockRowBytes
    if (accountBytesMax !== undefined && more > quotaLeftOf(this.#tallies.of(account), accountBytesMax)) {
      return 'over-quota'
    }
    const accountNumber = this.#tallies.addReference(account, size, 1)
    const values = [number, accountNumber, size, since, pin, codec, pin > 0 ? digest : null]
    const stamps = pins === undefined ? [null, null, null] : [pins.direct, pins.recursive, pins.removed]
    // Also of the same time: it is the word of more than one request then.
    const said = reference.again !== undefined && again >= since ? again : null
    this.#statements.run('INSERT INTO reference VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)', ...values, ...stamps, said)
    return 'kept'
  }

  #releasedAt(digest: Uint8Array, account: Uint8Array): number | null {
    const row = this.#statements.get('SELECT at FROM release WHERE digest = ? AND account = ?', digest, account)
    return (row?.at as number | undefined) ?? null
  }

  #pin(operation: Extract<Operation, { kind: 'pin' }>): Outcome {
    const { digest, codec, reference, accountBytesMax } = operation
    if (this.#statements.get('SELECT 1 FROM tombstone WHERE digest = ?', digest))
      return { ok: false, code: 'ERR_BLOCK_ERASED' }
    const block = this.#statements.get('SELECT id, size FROM block WHERE digest = ?', digest)
    if (!block) return { ok: false, code: 'ERR_BLOCK_NOT_FOUND' }
    const claim = { digest, number: block.id as number, codec, size: block.size as number, reference }
    const became = this.#refer(claim, { accountBytesMax, putAt: undefined })
    if (became === 'over-quota') return this.#quotaExceeded()
    return became === 'kept' ? changed : released
  }

  /** Sets a damaged block aside. Its references stay, so that a healed copy belongs to the same accounts. */
  #quarantine(operation: { digest: Uint8Array; incident: IncidentEntry }): Outcome {
    const { digest, incident } = operation
    const now = incident.at
    try {
      const mark = this.#statements.get(`SELECT ${markColumn} FROM block WHERE digest = ?`, digest)?.mark as
        | Uint8Array
        | null
        | undefined
      const sealed = mark ? (this.#packs.read(mark) ?? noBytes) : null
      this.#statements.run(
        'INSERT INTO quarantine (digest, at, sealed) SELECT digest, ?, ifnull(?, sealed) FROM block WHERE digest = ?',
        now,
        sealed,
        digest,
      )
    } catch {
      // The pages themselves cannot be read: only the fact is kept.
      this.#statements.run('INSERT INTO quarantine (digest, at) VALUES (?, ?)', digest, now)
    }
    this.#statements.run('DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?', quarantineRowsMax)
    const number = this.#rows.numberOf(digest)
    const deleted = this.#rows.deleteBlock(digest)
    if (number > 0 && this.#rows.isReferenced(number))
      this.#statements.run('INSERT INTO gone VALUES (?, ?)', number, digest)
    // Several readers may meet the same damage at once: it is one incident.
    if (deleted > 0) this.#incident(incident)
    return { ok: true, changed: true, deleted }
  }

  #incident(incident: IncidentEntry): Outcome {
    this.#statements.run(
      'INSERT INTO incident (at, kind, digest, node, served_by) VALUES (?, ?, ?, ?, ?)',
      incident.at,
      incident.kind,
      incident.digest,
      incident.node,
      incident.servedBy ?? null,
    )
    return changed
  }

  /** Removes what is due, and moves what is left of a pack of which half is gone. */
  #sweep(operation: Extract<Operation, { kind: 'sweep' }>): Outcome {
    const outcome = this.#erasures.sweep(operation)
    this.#packs.compact((digest, from, to) => this.#move(digest, from, to))
    return outcome
  }

  /** Gives a block's row another place; false if it has not this one any more. */
  #move(digest: Uint8Array, from: Uint8Array, to: Uint8Array): boolean {
    const moving = this.#statements.prepare('UPDATE block SET sealed = ? WHERE digest = ? AND sealed = ?')
    return moving.run(to, digest, from).changes === 1
  }
}
