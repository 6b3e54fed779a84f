/**
 * Words, tombstones and erased ranges, and what goes by them (SPEC.md §3a). Whether a word is to be believed was decided
 * before. Owned by the writer's thread.
 */
import type { BlockRows } from './block-rows.ts'
import type { HandoffRows } from './handoff-rows.ts'
import {
  type BelowEntry,
  type ErasedRange,
  handoffKinds,
  type Operation,
  type Outcome,
  type PutOperation,
  type TombstoneEntry,
  type WordEntry,
} from './operations.ts'
import { longestReferenceOf, numberOfBlock } from './schema.ts'
import type { Statements } from './statements.ts'
import type { Tallies } from './tallies.ts'

/** By whose erasure a tombstone is laid, and when its block goes. */
type Laying = Omit<TombstoneEntry, 'digest' | 'root'>

/** The rows of erasures. */
export class ErasureRows {
  readonly #statements: Statements
  readonly #rows: BlockRows
  readonly #handoffs: HandoffRows
  readonly #tallies: Tallies

  constructor(statements: Statements, parts: { rows: BlockRows; handoffs: HandoffRows; tallies: Tallies }) {
    this.#statements = statements
    this.#rows = parts.rows
    this.#handoffs = parts.handoffs
    this.#tallies = parts.tallies
  }

  /** By its owner's word from before it came, or as one of the records that its owner erased. */
  isErasedRecord(operation: PutOperation): boolean {
    const { digest, owner, stream, sequence } = operation
    if (owner === undefined) return false
    if (this.#statements.get('SELECT 1 FROM word WHERE digest = ? AND account = ?', digest, owner)) return true
    if (stream === undefined || sequence === undefined) return false
    const range = 'owner = ? AND stream = ? AND first <= ? AND last >= ?'
    return (
      this.#statements.get(`SELECT 1 FROM erasure WHERE ${range} LIMIT 1`, owner, stream, sequence, sequence) !==
      undefined
    )
  }

  /** Keeps a word, and who is still to be told of it. */
  word({ word, targets, now }: { word: WordEntry; targets: Uint8Array[]; now: number }): Outcome {
    const { digest, account, at, bytes } = word
    // A later word of the account takes more references along.
    const known = this.#statements.get('SELECT at FROM word WHERE digest = ? AND account = ?', digest, account)
    if (known && (known.at as number) >= at) return { ok: true, changed: false, deleted: 0 }
    this.#statements.run(
      'INSERT OR REPLACE INTO word (digest, account, at, bytes) VALUES (?, ?, ?, ?)',
      digest,
      account,
      at,
      bytes,
    )
    for (const target of targets) {
      this.#handoffs.add({ handoffKind: handoffKinds.word, digest, target, account, at, now })
    }
    return { ok: true, changed: true, deleted: 0 }
  }

  /** New tombstones, and the word by which they are laid. */
  tombstones(operation: { entries: TombstoneEntry[]; word?: WordEntry; targets: Uint8Array[]; now: number }): Outcome {
    const { entries, word, targets, now } = operation
    if (word) this.word({ word, targets, now })
    let added = 0
    for (const entry of entries) if (this.#lay(entry)) added++
    return { ok: true, changed: added > 0, deleted: 0 }
  }

  /** Lays a tombstone; false where there is one, or where the block below a root is another's. */
  #lay(entry: TombstoneEntry): boolean {
    if (this.#isErased(entry.digest)) return false
    const isHere = this.#rows.numberOf(entry.digest) > 0
    if (entry.root !== undefined && !this.#isOfFile(entry)) {
      if (!isHere) this.#note(entry, entry.root)
      return false
    }
    this.#insert(entry)
    return true
  }

  /** Below a root, what is not kept here: a store that keeps it may not be able to walk the file any more. */
  #note({ digest, owner, writer = owner }: TombstoneEntry, root: Uint8Array): void {
    const note = 'INSERT OR IGNORE INTO below (digest, root, owner, writer) VALUES (?, ?, ?, ?)'
    if (this.#statements.prepare(note).run(digest, root, owner, writer).changes === 1) this.#tallies.remember(owner, 1)
  }

  #isErased(digest: Uint8Array): boolean {
    return this.#statements.get('SELECT 1 FROM tombstone WHERE digest = ?', digest) !== undefined
  }

  #insert({ digest, owner, at, removeAt, root }: TombstoneEntry): void {
    this.#statements.run(
      'INSERT INTO tombstone (digest, owner, at, remove_at, root) VALUES (?, ?, ?, ?, ?)',
      ...[digest, owner, at, removeAt, root ?? null],
    )
  }

  /**
   * True if a block below a file's root belongs to the file: by its own header, or because the file's owner or writer has
   * kept it for longest. Anybody can link to another's block: then those two give it up, and it stays. Of one that is not
   * here nothing else is known: copies that bring their references alone are refused.
   */
  #isOfFile({ digest, owner, writer = owner, at }: TombstoneEntry): boolean {
    const block = this.#statements.get('SELECT owner FROM block WHERE digest = ?', digest)
    const header = (block?.owner ?? undefined) as Uint8Array | undefined
    if (header) return Buffer.compare(header, owner) === 0
    const keeper = this.#statements.get(longestReferenceOf(numberOfBlock), digest)?.account as Uint8Array | undefined
    if (keeper && [owner, writer].some((account) => Buffer.compare(keeper, account) === 0)) return true
    for (const account of [owner, writer]) this.#rows.release({ digest, account, at, force: true })
    return false
  }

  /**
   * What another store says lies below a root: it counts once enough of them say it, of what is kept here. A store that does
   * not keep the block has not seen whose it is: where its word is needed the references here decide that.
   */
  vouch({ store, entries, storesNeeded, delayMs }: Extract<Operation, { kind: 'vouch' }>): Outcome {
    let added = 0
    for (const entry of entries) {
      const { digest, root, writer } = entry
      if (this.#isErased(digest) || !this.#rows.isReferenced(this.#rows.numberOf(digest))) continue
      const above = this.#above(entry, delayMs)
      if (!above) continue
      const block = this.#statements.get('SELECT owner FROM block WHERE digest = ?', digest)
      const header = block?.owner as Uint8Array | null | undefined
      if (header && Buffer.compare(header, above.owner) !== 0) continue
      this.#statements.run(
        'INSERT OR REPLACE INTO vouch (digest, store, root, owner, writer, at) VALUES (?, ?, ?, ?, ?, ?)',
        ...[digest, store, root, above.owner, writer ?? null, above.at],
      )
      // Be it below another root of the owner's: two of its files may have the block in common.
      const by = 'SELECT writer, at FROM vouch WHERE digest = ? AND owner = ?'
      const vouched = this.#statements.all(by, digest, above.owner)
      const writers = vouched.map((row) => row.writer as Uint8Array | null)
      // The latest time that is named: one store that lies must not end the delay before its time.
      const at = Math.max(...vouched.map((row) => (row.at ?? 0) as number))
      const laid = { digest, root, ...above, ...(at > above.at ? { at, removeAt: at + delayMs } : {}) }
      if (!this.#isVouched(laid, writers, storesNeeded)) continue
      this.#insert(laid)
      this.#statements.run('DELETE FROM vouch WHERE digest = ?', digest)
      added++
    }
    return { ok: true, changed: added > 0, deleted: 0 }
  }

  /**
   * The erasure of a root: by its tombstone, or where nobody has the root any more to be read, by its owner's word, or by what
   * was read in Userchain: which record the root was nobody can say then, but that some of its owner's were erased at that time.
   */
  #above({ root, owner, at: told }: BelowEntry, delayMs: number): Laying | undefined {
    const tombstone = this.#statements.get(
      'SELECT owner, at, remove_at AS removeAt FROM tombstone WHERE digest = ?',
      root,
    )
    if (tombstone) return tombstone as unknown as Laying
    if (owner === undefined) return undefined
    const at = this.#statements.get('SELECT at FROM word WHERE digest = ? AND account = ?', root, owner)?.at
    if (typeof at === 'number') return { owner, at, removeAt: at + delayMs }
    if (told === undefined) return undefined
    const range = 'SELECT owner, at, remove_at AS removeAt FROM erasure WHERE owner = ? AND at = ? LIMIT 1'
    return this.#statements.get(range, owner, told) as Laying | undefined
  }

  /** @param writers - of each store that names the block the writer that it says, or null of one where it is erased. */
  #isVouched(laid: TombstoneEntry, writers: readonly (Uint8Array | null)[], storesNeeded: number): boolean {
    const named = writers.filter((one) => one !== null)
    const sure = writers.length - named.length
    if (sure >= storesNeeded) return true
    const agreed = named.find((writer) => {
      const same = named.filter((one) => Buffer.compare(one, writer) === 0)
      return sure + same.length >= storesNeeded
    })
    return agreed !== undefined && this.#isOfFile({ ...laid, writer: agreed })
  }

  /** The records here get their tombstones; later copies of others are refused by the range. */
  eraseRange(range: ErasedRange): void {
    const { owner, stream, first, last, at, removeAt } = range
    this.#statements.run(
      'INSERT OR IGNORE INTO erasure VALUES (?, ?, ?, ?, ?, ?)',
      owner,
      stream,
      first,
      last,
      at,
      removeAt,
    )
    this.#statements.run(
      `INSERT OR IGNORE INTO tombstone (digest, owner, at, remove_at)
       SELECT digest, owner, ?, ? FROM block WHERE owner = ? AND stream = ? AND sequence BETWEEN ? AND ?`,
      at,
      removeAt,
      owner,
      stream,
      first,
      last,
    )
  }

  /** Removes what is due: erased blocks with all their references, and releases that no node can still contradict. */
  sweep(operation: { now: number; releasesBefore: number; unheardMax: number }): Outcome {
    // A tombstone that too few stores know of waits: a copy could come back from where it is not known.
    const due = this.#statements.all(
      `SELECT t.digest FROM tombstone t WHERE t.remove_at <= ? AND (EXISTS (SELECT 1 FROM block b WHERE b.digest = t.digest) OR
       t.digest IN (SELECT digest FROM gone) OR t.digest IN (SELECT digest FROM quarantine)) AND (SELECT count(*) FROM handoff h WHERE h.kind = ${handoffKinds.word} AND h.digest = ifnull(t.root, t.digest)) <= ?
       LIMIT 1000`,
      operation.now,
      operation.unheardMax,
    )
    let deleted = 0
    for (const { digest } of due) {
      const number = this.#rows.numberOf(digest as Uint8Array)
      this.#rows.dropReferences(number)
      const aside = this.#statements.prepare('DELETE FROM quarantine WHERE digest = ?').run(digest as Uint8Array)
      deleted += Math.max(this.#rows.deleteBlock(digest as Uint8Array), Math.min(1, Number(aside.changes)))
    }
    if (operation.releasesBefore > 0) this.#forget(operation.releasesBefore)
    return { ok: true, changed: deleted > 0, deleted }
  }

  /**
   * Forgets releases and words from before a time, but for those that another store is still to be told by this one; and
   * what other stores said of blocks that nobody keeps here any more.
   */
  #forget(before: number): void {
    const isAway = (table: string): string => `NOT EXISTS (SELECT 1 FROM ${table} t WHERE t.digest = vouch.digest)`
    this.#statements.run(`DELETE FROM vouch WHERE ${isAway('block')} AND ${isAway('gone')}`)
    const isTold = (table: string, kind: number): string =>
      `NOT EXISTS (SELECT 1 FROM handoff h WHERE h.kind = ${kind} AND h.digest = ${table}.digest AND h.account = ${table}.account)`
    // What an erased file had below it that was not here is refused for as long as the file itself.
    const over = `at < ? AND NOT EXISTS (SELECT 1 FROM tombstone t WHERE t.at = release.at)
       AND ${isTold('release', handoffKinds.release)}`
    const counted = `SELECT account, count(*) AS count FROM release WHERE ${over} GROUP BY account`
    for (const { account, count } of this.#statements.all(counted, before)) {
      this.#tallies.remember(account as Uint8Array, -(count as number))
    }
    this.#statements.run(`DELETE FROM release WHERE ${over}`, before)
    // Of a word that laid no tombstone, no more is left than of a release.
    this.#statements.run(
      `DELETE FROM word WHERE at < ? AND digest NOT IN (SELECT digest FROM tombstone) AND ${isTold('word', handoffKinds.word)}`,
      before,
    )
  }
}
