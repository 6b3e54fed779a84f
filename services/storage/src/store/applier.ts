/**
 * Carries out changes to a node's tables. Operations of one group share one transaction; a group of which one cannot be
 * applied is undone and applied again, each operation in its own savepoint, so that it leaves the others alone.
 */
import type { DatabaseSync } from 'node:sqlite'
import { atRestOverheadBytes, sealAtRest, sealInPieces } from './at-rest.ts'
import {
  type ErasedRange,
  type HandoffRequest,
  handoffKinds,
  type IncidentEntry,
  type Operation,
  type Outcome,
  type PutOperation,
  type Reference,
  type TombstoneEntry,
  type WordEntry,
} from './operations.ts'
import { markBytes, packedBytesMin } from './pack-place.ts'
import type { Packs } from './packs.ts'
import { longestReferenceOf, numberOfBlock } from './schema.ts'
import { Statements } from './statements.ts'
import { Tallies } from './tallies.ts'

const unchanged: Outcome = { ok: true, changed: false, deleted: 0 }
const changed: Outcome = { ok: true, changed: true, deleted: 0 }
const failed: Outcome = { ok: false, code: 'ERR_STORE_FAILED' }
/** Most blocks kept aside for inspection; the oldest go first. */
const quarantineRowsMax = 1000
const noAccount = new Uint8Array(32)
const noBytes = new Uint8Array(0)
const keepersOf = 'SELECT a.account, r.size FROM reference r JOIN account a ON a.id = r.account WHERE r.block = ?'
const markColumn = `CASE WHEN length(sealed) = ${markBytes} THEN sealed END AS mark`

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
  /** Of the group that is applied. */
  #staged: StagedBlocks = new Map()
  readonly #statements: Statements

  /** @param key - 32-byte key for blocks at rest. */
  constructor(database: DatabaseSync, key: Uint8Array, packs: Packs) {
    this.#database = database
    this.#statements = new Statements(database)
    this.#key = key
    this.#packs = packs
    this.#tallies = new Tallies(database)
  }

  /**
   * Applies a group in one transaction. When it returns, all of it is durable: the commit is the commit point.
   *
   * @param staged - those of its blocks that are written already, and durable; in the order in which they were written.
   * @throws if SQLite refuses the transaction as a whole (disk full, input or output error); then nothing is changed.
   */
  applyGroup(operations: readonly Operation[], staged: StagedBlocks = new Map()): Outcome[] {
    this.#staged = staged
    try {
      return this.#applyGroup(operations, (operation) => this.#apply(operation))
    } catch {
      // One of them cannot be applied. All of it is undone: again, each by itself, so that it leaves the others alone.
      this.#isGuarded = true
      try {
        return this.#applyGroup(operations, (operation) => this.#guarded(operation))
      } catch (error) {
        this.#packs.drop([...staged.values()])
        throw error
      } finally {
        this.#isGuarded = false
      }
    }
  }

  #applyGroup(operations: readonly Operation[], apply: (operation: Operation) => Outcome): Outcome[] {
    const isCheckpoint = operations.some(({ kind }) => kind === 'checkpoint')
    try {
      this.#packs.begin([...this.#staged.values()])
      this.#database.exec('BEGIN IMMEDIATE')
      const outcomes = operations.map(apply)
      for (const [index, operation] of operations.entries()) this.#settleStaged(operation, outcomes[index] as Outcome)
      this.#tallies.write()
      this.#packs.sync()
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
    this.#run('SAVEPOINT one')
    const state = this.#packs.state()
    this.#tallies.mark()
    try {
      const outcome = this.#apply(operation)
      this.#run('RELEASE one')
      return outcome
    } catch (error) {
      // A full disk ends the whole transaction by itself; then the group fails, and says so.
      if (!this.#database.isTransaction) throw error
      this.#run('ROLLBACK TO one')
      this.#run('RELEASE one')
      this.#packs.rollBack(state)
      this.#tallies.rollBack()
      return failed
    }
  }

  #apply(operation: Operation): Outcome {
    switch (operation.kind) {
      case 'put':
        return this.#put(operation)
      case 'release':
        return this.#release(operation)
      case 'pin':
        return this.#pin(operation)
      case 'unpin':
        return this.#unpin(operation)
      case 'word':
        return this.#word(operation)
      case 'tombstones':
        return this.#tombstones(operation)
      case 'vouch':
        return this.#vouch(operation)
      case 'erase-range':
        return this.#eraseRange(operation.range)
      case 'removed':
        for (const digest of operation.digests) this.#run('DELETE FROM removal WHERE digest = ?', digest)
        return changed
      case 'cursor':
        this.#run('INSERT OR REPLACE INTO cursor VALUES (?, ?)', operation.name, operation.value)
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
        return this.#handoff(operation)
      case 'handoff-done':
        for (const id of operation.ids) this.#run('DELETE FROM handoff WHERE id = ?', id)
        return changed
      case 'copies-settled':
        for (const copy of operation.copies) this.#settleCopy(copy, operation.dueAt)
        return changed
      case 'handoff-wake':
        this.#run('UPDATE handoff SET next_at = ? WHERE target = ?', operation.now, operation.target)
        return changed
      case 'handoff-retry':
        this.#run(
          'UPDATE handoff SET attempts = attempts + 1, next_at = ? WHERE id = ?',
          operation.nextAt,
          operation.id,
        )
        return changed
    }
  }

  #put(operation: PutOperation): Outcome {
    const { digest, size, references, accountBytesMax } = operation
    // Nearly all have one reference: then one question asks all that there is to know.
    const known = this.#get(knownOfPut, digest, references[0]?.account ?? noAccount) as unknown as KnownOfPut
    const number = known.block ?? known.gone ?? this.#newNumber()
    if (known.erased || this.#isErasedRecord(operation)) return { ok: false, code: 'ERR_BLOCK_ERASED' }
    const present = known.block !== null
    if (!present && this.#tallies.total.bytes + size > operation.bytesMax) return { ok: false, code: 'ERR_STORE_FULL' }
    let isKept = present
    for (const [index, reference] of references.entries()) {
      const claim = { digest, number, codec: operation.codec, size, reference }
      const became = this.#refer(claim, accountBytesMax, index === 0 ? known.releasedAt : undefined)
      if (became === 'over-quota') return this.#quotaExceeded(index)
      isKept ||= became === 'kept'
    }
    if (!isKept && known.gone === null) {
      // A late copy of what every account has given up: nothing would ever remove it.
      return { ok: false, code: 'ERR_BLOCK_RELEASED' }
    }
    if (!present) this.#insert(operation, number)
    if (known.gone !== null) this.#run('DELETE FROM gone WHERE block = ?', known.gone)
    for (const target of operation.handoff) {
      const { now, handoffDelayMs } = operation
      const entry = { handoffKind: handoffKinds.place, digest, target, account: noAccount, at: now }
      this.#handoff({ ...entry, now: now + handoffDelayMs })
    }
    return present ? unchanged : changed
  }

  /** Of a block that is new; numbers grow, so that rows and references are added at the end. */
  #newNumber(): number {
    if (this.#lastNumber === undefined) {
      const last =
        'SELECT max((SELECT ifnull(max(id), 0) FROM block), (SELECT ifnull(max(block), 0) FROM gone)) AS last'
      this.#lastNumber = this.#get(last)?.last as number
    }
    this.#lastNumber++
    return this.#lastNumber
  }

  /** The block's number in references; 0 if nobody keeps it. */
  #numberOf(digest: Uint8Array): number {
    return (this.#get(`SELECT ${numberOfBlock} AS number`, digest)?.number as number | null) ?? 0
  }

  #insert(operation: PutOperation, number: number): void {
    const { digest, size, isExternal } = operation
    this.#run(
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
    if (isExternal) this.#run('DELETE FROM removal WHERE digest = ?', digest)
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
    const length = bytes.length + atRestOverheadBytes
    if (length < packedBytesMin) return sealAtRest(this.#key, digest, bytes)
    return this.#packs.write(digest, length, sealInPieces(this.#key, digest, bytes))
  }

  /** By its owner's word from before it came, or as one of the records that its owner erased. */
  #isErasedRecord(operation: PutOperation): boolean {
    const { digest, owner, stream, sequence } = operation
    if (owner === undefined) return false
    if (this.#get('SELECT 1 FROM word WHERE digest = ? AND account = ?', digest, owner)) return true
    if (stream === undefined || sequence === undefined) return false
    const range = 'owner = ? AND stream = ? AND first <= ? AND last >= ?'
    return this.#get(`SELECT 1 FROM erasure WHERE ${range} LIMIT 1`, owner, stream, sequence, sequence) !== undefined
  }

  /** @param added - references that this operation had already added, which go again. */
  #quotaExceeded(added = 0): Outcome {
    if (added > 0 && !this.#isGuarded) throw new RangeError('this operation has to be undone by itself')
    if (added > 0) {
      this.#run('ROLLBACK TO one')
      this.#tallies.rollBack()
    }
    return { ok: false, code: 'ERR_QUOTA_EXCEEDED' }
  }

  /** Adds a reference, unless the account has given it up since. `releasedAt`: what a put has asked for already. */
  #refer(
    { digest, number, size, codec, reference }: Claim,
    accountBytesMax: number | undefined,
    releasedAt = this.#releasedAt(digest, reference.account),
  ): 'kept' | 'given-up' | 'over-quota' {
    const { account, at, pin } = reference
    const known = this.#referenceOf(number, account)
    if (known !== undefined) {
      if (known.pin < pin && accountBytesMax !== undefined) this.#setPin({ number, digest, account, pin })
      return 'kept'
    }
    // A copy that a slower node still carries must not bring back what its account has given up.
    if (releasedAt !== null && releasedAt >= at) return 'given-up'
    if (accountBytesMax !== undefined && this.#tallies.of(account).bytes + size > accountBytesMax) return 'over-quota'
    const accountNumber = this.#tallies.addReference(account, size, 1)
    const values = [number, accountNumber, size, at, pin, codec, pin > 0 ? digest : null]
    this.#run('INSERT INTO reference VALUES (?, ?, ?, ?, ?, ?, ?)', ...values)
    return 'kept'
  }

  #releasedAt(digest: Uint8Array, account: Uint8Array): number | null {
    const row = this.#get('SELECT at FROM release WHERE digest = ? AND account = ?', digest, account)
    return (row?.at as number | undefined) ?? null
  }

  #referenceOf(number: number, account: Uint8Array): { pin: number; size: number; at: number } | undefined {
    const ofAccount = this.#tallies.numberOf(account)
    if (number === 0 || ofAccount === 0) return undefined
    const row = this.#get('SELECT pin, size, at FROM reference WHERE block = ? AND account = ?', number, ofAccount)
    return row as { pin: number; size: number; at: number } | undefined
  }

  #isReferenced(number: number): boolean {
    return this.#get('SELECT 1 FROM reference WHERE block = ? LIMIT 1', number) !== undefined
  }

  #setPin({
    number,
    digest,
    account,
    pin,
  }: {
    number: number
    digest: Uint8Array
    account: Uint8Array
    pin: number
  }): void {
    const values = [pin, pin > 0 ? digest : null, number, this.#tallies.numberOf(account)]
    this.#run('UPDATE reference SET pin = ?, pinned = ? WHERE block = ? AND account = ?', ...values)
  }

  #release(operation: { digest: Uint8Array; account: Uint8Array; at: number; force: boolean }): Outcome {
    const { digest, account, at } = operation
    const block = this.#get('SELECT owner FROM block WHERE digest = ?', digest)
    if (block && block.owner !== null) return { ok: false, code: 'ERR_BLOCK_SEALED' }
    const number = this.#numberOf(digest)
    const kept = this.#referenceOf(number, account)
    // A release that comes late does not take what was put after it.
    const had = kept && kept.at <= at ? kept : undefined
    if (had && had.pin > 0 && !operation.force) return { ok: false, code: 'ERR_BLOCK_PINNED' }
    this.#run(
      `INSERT INTO release VALUES (?, ?, ?)
       ON CONFLICT (digest, account) DO UPDATE SET at = max(at, excluded.at)`,
      digest,
      account,
      at,
    )
    if (!had) return unchanged
    this.#dropReference(number, account, had.size)
    return { ok: true, changed: true, deleted: this.#isReferenced(number) ? 0 : this.#deleteBlock(digest) }
  }

  #dropReference(number: number, account: Uint8Array, size: number): void {
    const ofAccount = this.#tallies.addReference(account, -size, -1)
    this.#run('DELETE FROM reference WHERE block = ? AND account = ?', number, ofAccount)
  }

  #deleteBlock(digest: Uint8Array): number {
    this.#run('DELETE FROM gone WHERE digest = ?', digest)
    const block = this.#get(`SELECT size, length(sealed) AS length, ${markColumn} FROM block WHERE digest = ?`, digest)
    if (!block) return 0
    if (block.mark !== null) this.#packs.remove(block.mark as Uint8Array)
    // Its bytes are kept elsewhere, and have to go there too.
    if (block.length === 0) this.#run('INSERT OR IGNORE INTO removal VALUES (?)', digest)
    this.#run('DELETE FROM block WHERE digest = ?', digest)
    this.#tallies.addBlock(-(block.size as number), -1)
    return 1
  }

  #pin(operation: { digest: Uint8Array; reference: Reference; codec: number; accountBytesMax: number }): Outcome {
    const { digest, codec, reference } = operation
    if (this.#get('SELECT 1 FROM tombstone WHERE digest = ?', digest)) return { ok: false, code: 'ERR_BLOCK_ERASED' }
    const block = this.#get('SELECT id, size FROM block WHERE digest = ?', digest)
    if (!block) return { ok: false, code: 'ERR_BLOCK_NOT_FOUND' }
    const claim = { digest, number: block.id as number, codec, size: block.size as number, reference }
    return this.#refer(claim, operation.accountBytesMax) === 'over-quota' ? this.#quotaExceeded() : changed
  }

  #unpin(operation: { digest: Uint8Array; account: Uint8Array }): Outcome {
    const { digest, account } = operation
    const number = this.#numberOf(digest)
    const had = this.#referenceOf(number, account)
    if (!had || had.pin === 0) return { ok: false, code: 'ERR_NOT_PINNED' }
    this.#setPin({ number, digest, account, pin: 0 })
    return changed
  }

  /** Keeps a word, and who is still to be told of it. */
  #word({ word, targets, now }: { word: WordEntry; targets: Uint8Array[]; now: number }): Outcome {
    const { digest, account, at, bytes } = word
    // A later word of the account takes more references along.
    const known = this.#get('SELECT at FROM word WHERE digest = ? AND account = ?', digest, account)
    if (known && (known.at as number) >= at) return unchanged
    this.#run(
      'INSERT OR REPLACE INTO word (digest, account, at, bytes) VALUES (?, ?, ?, ?)',
      digest,
      account,
      at,
      bytes,
    )
    for (const target of targets) {
      this.#handoff({ handoffKind: handoffKinds.word, digest, target, account, at, now })
    }
    return changed
  }

  /** New tombstones, and the word by which they are laid. */
  #tombstones(operation: { entries: TombstoneEntry[]; word?: WordEntry; targets: Uint8Array[]; now: number }): Outcome {
    const { entries, word, targets, now } = operation
    if (word) this.#word({ word, targets, now })
    let added = 0
    for (const entry of entries) if (this.#lay(entry)) added++
    return { ok: true, changed: added > 0, deleted: 0 }
  }

  /** Lays a tombstone; false where there is one, or where the block below a root is another's. */
  #lay(entry: TombstoneEntry): boolean {
    const { digest, owner, at, removeAt, root } = entry
    if (this.#get('SELECT 1 FROM tombstone WHERE digest = ?', digest)) return false
    if (root !== undefined && !this.#isOfFile(entry)) return false
    this.#run(
      'INSERT INTO tombstone (digest, owner, at, remove_at, root) VALUES (?, ?, ?, ?, ?)',
      ...[digest, owner, at, removeAt, root ?? null],
    )
    return true
  }

  /**
   * True if a block below a file's root belongs to the file: by its own header, or because the file's owner or writer has
   * kept it for longest. Anybody can link to another's block: then those two give it up, and it stays.
   */
  #isOfFile({ digest, owner, writer = owner, at }: TombstoneEntry): boolean {
    const block = this.#get('SELECT owner FROM block WHERE digest = ?', digest)
    const header = (block?.owner ?? undefined) as Uint8Array | undefined
    if (header) return Buffer.compare(header, owner) === 0
    const keeper = this.#get(longestReferenceOf(numberOfBlock), digest)?.account as Uint8Array | undefined
    if (keeper && [owner, writer].some((account) => Buffer.compare(keeper, account) === 0)) return true
    for (const account of [owner, writer]) this.#release({ digest, account, at, force: true })
    return false
  }

  /** What another store says lies below a root: it counts once enough of them say it, of what is kept here. */
  #vouch(operation: Extract<Operation, { kind: 'vouch' }>): Outcome {
    const { store, entries, storesNeeded } = operation
    let added = 0
    for (const { digest, root } of entries) {
      if (this.#get('SELECT 1 FROM tombstone WHERE digest = ?', digest)) continue
      const above = this.#get('SELECT owner, at, remove_at AS removeAt FROM tombstone WHERE digest = ?', root)
      if (!above || !this.#isReferenced(this.#numberOf(digest))) continue
      const header = this.#get('SELECT owner FROM block WHERE digest = ?', digest)?.owner as
        | Uint8Array
        | null
        | undefined
      if (header && Buffer.compare(header, above.owner as Uint8Array) !== 0) continue
      this.#run('INSERT OR REPLACE INTO vouch VALUES (?, ?, ?)', digest, store, root)
      const count = this.#get('SELECT count(*) AS count FROM vouch WHERE digest = ? AND root = ?', digest, root)
      if ((count?.count as number) < storesNeeded) continue
      const { owner, at, removeAt } = above as unknown as TombstoneEntry
      const values = [digest, owner, at, removeAt, root] as const
      this.#run('INSERT INTO tombstone (digest, owner, at, remove_at, root) VALUES (?, ?, ?, ?, ?)', ...values)
      this.#run('DELETE FROM vouch WHERE digest = ?', digest)
      added++
    }
    return { ok: true, changed: added > 0, deleted: 0 }
  }

  /** The records here get their tombstones; later copies of others are refused by the range. */
  #eraseRange(range: ErasedRange): Outcome {
    const { owner, stream, first, last, at, removeAt } = range
    this.#run('INSERT OR IGNORE INTO erasure VALUES (?, ?, ?, ?, ?, ?)', owner, stream, first, last, at, removeAt)
    this.#run(
      `INSERT OR IGNORE INTO tombstone (digest, owner, at, remove_at)
       SELECT digest, owner, ?, ? FROM block WHERE owner = ? AND stream = ? AND sequence BETWEEN ? AND ?`,
      at,
      removeAt,
      owner,
      stream,
      first,
      last,
    )
    return changed
  }

  /** Removes what is due: erased blocks with all their references, and releases that no node can still contradict. */
  #sweep(operation: { now: number; releasesBefore: number; unheardMax: number }): Outcome {
    // A tombstone that too few stores know of waits: a copy could come back from where it is not known.
    const due = this.#all(
      `SELECT t.digest FROM tombstone t WHERE t.remove_at <= ? AND (EXISTS (SELECT 1 FROM block b WHERE b.digest = t.digest) OR
       t.digest IN (SELECT digest FROM gone) OR t.digest IN (SELECT digest FROM quarantine)) AND (SELECT count(*) FROM handoff h WHERE h.kind = ${handoffKinds.word} AND h.digest = ifnull(t.root, t.digest)) <= ?
       LIMIT 1000`,
      operation.now,
      operation.unheardMax,
    )
    let deleted = 0
    for (const { digest } of due) {
      const number = this.#numberOf(digest as Uint8Array)
      for (const { account, size } of this.#all(keepersOf, number)) {
        this.#dropReference(number, account as Uint8Array, size as number)
      }
      const aside = this.#statements.prepare('DELETE FROM quarantine WHERE digest = ?').run(digest as Uint8Array)
      deleted += Math.max(this.#deleteBlock(digest as Uint8Array), Math.min(1, Number(aside.changes)))
    }
    this.#run('DELETE FROM release WHERE at < ?', operation.releasesBefore)
    // Of a word that laid no tombstone, no more is left than of a release.
    this.#run(
      'DELETE FROM word WHERE at < ? AND digest NOT IN (SELECT digest FROM tombstone)',
      operation.releasesBefore,
    )
    this.#packs.compact((digest, from, to) => this.#move(digest, from, to))
    return { ok: true, changed: deleted > 0, deleted }
  }

  /** Gives a block's row another place; false if it has not this one any more. */
  #move(digest: Uint8Array, from: Uint8Array, to: Uint8Array): boolean {
    const moving = this.#statements.prepare('UPDATE block SET sealed = ? WHERE digest = ? AND sealed = ?')
    return moving.run(to, digest, from).changes === 1
  }

  /** Sets a damaged block aside. Its references stay, so that a healed copy belongs to the same accounts. */
  #quarantine(operation: { digest: Uint8Array; incident: IncidentEntry }): Outcome {
    const { digest, incident } = operation
    const now = incident.at
    try {
      const mark = this.#get(`SELECT ${markColumn} FROM block WHERE digest = ?`, digest)?.mark as
        | Uint8Array
        | null
        | undefined
      const sealed = mark ? (this.#packs.read(mark) ?? noBytes) : null
      this.#run(
        'INSERT INTO quarantine (digest, at, sealed) SELECT digest, ?, ifnull(?, sealed) FROM block WHERE digest = ?',
        now,
        sealed,
        digest,
      )
    } catch {
      // The pages themselves cannot be read: only the fact is kept.
      this.#run('INSERT INTO quarantine (digest, at) VALUES (?, ?)', digest, now)
    }
    this.#run('DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?', quarantineRowsMax)
    const number = this.#numberOf(digest)
    const deleted = this.#deleteBlock(digest)
    if (number > 0 && this.#isReferenced(number)) this.#run('INSERT INTO gone VALUES (?, ?)', number, digest)
    // Several readers may meet the same damage at once: it is one incident.
    if (deleted > 0) this.#incident(incident)
    return { ok: true, changed: true, deleted }
  }

  #incident(incident: IncidentEntry): Outcome {
    this.#run(
      'INSERT INTO incident (at, kind, digest, node, served_by) VALUES (?, ?, ?, ?, ?)',
      incident.at,
      incident.kind,
      incident.digest,
      incident.node,
      incident.servedBy ?? null,
    )
    return changed
  }

  #handoff(entry: HandoffRequest): Outcome {
    this.#run(
      `INSERT INTO handoff (kind, digest, target, account, at, attempts, next_at) VALUES (?, ?, ?, ?, ?, 0, ?)
       ON CONFLICT (kind, digest, target, account) DO UPDATE SET at = max(at, excluded.at)`,
      entry.handoffKind,
      entry.digest,
      entry.target,
      entry.account,
      entry.at,
      entry.now,
    )
    return changed
  }

  /** A copy is where it should be, or the queue shall see to it. */
  #settleCopy(copy: { digest: Uint8Array; target: Uint8Array }, dueAt: number | undefined): void {
    const entry = 'kind = ? AND digest = ? AND target = ? AND account = ?'
    const key = [handoffKinds.place, copy.digest, copy.target, noAccount] as const
    if (dueAt === undefined) this.#run(`DELETE FROM handoff WHERE ${entry}`, ...key)
    else this.#run(`UPDATE handoff SET next_at = ? WHERE ${entry}`, dueAt, ...key)
  }

  #run(sql: string, ...values: (Uint8Array | number | string | null)[]): void {
    this.#statements.prepare(sql).run(...values)
  }

  #get(sql: string, ...values: (Uint8Array | number)[]): Record<string, unknown> | undefined {
    return this.#statements.prepare(sql).get(...values)
  }

  #all(sql: string, ...values: (Uint8Array | number)[]): Record<string, unknown>[] {
    return this.#statements.prepare(sql).all(...values)
  }
}
