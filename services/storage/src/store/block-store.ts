/**
 * The blocks of this node, encrypted at rest, with references, pins, quotas, tombstones, the hand-off queue and the
 * incidents beside them in one SQLite file. A block is served only if its bytes hash to its address; one that does not
 * is set aside, counts as absent from then on, and is reported once.
 *
 * Durability: a promise of a change resolves once its commit is synced; reads may see it before ({@link BlockStore.settled}).
 * Atomicity: each change is whole or absent, whatever the moment of a crash. Concurrency: any number of calls at once; they
 * are applied in the order in which they were made.
 */
import { hash } from 'node:crypto'
import { dirname } from 'node:path'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { byteText, toHex } from '@healthblock/encoding/bytes'
import { StorageError } from '../errors.ts'
import { release } from '../memory.ts'
import { openAtRest } from './at-rest.ts'
import { type BelowList, belowQuery, toBelowEntry } from './below-list.ts'
import { hashBlock } from './block-id.ts'
import { bytesFreeAt, DiskRoom } from './disk-room.ts'
import type { BlockStat, ChangedPin, HandoffEntry, Incident, PinEntry, PinsListed, PutRequest } from './entries.ts'
import { GroupCommit } from './group-commit.ts'
import type {
  BelowEntry,
  ErasedRange,
  HandoffRequest,
  IncidentEntry,
  IncidentKind,
  Operation,
  Outcome,
  PinStamps,
  Reference,
  Retraction,
  TombstoneEntry,
  WordEntry,
} from './operations.ts'
import type { BlockStoreOptions } from './options.ts'
import { markBytes } from './pack-place.ts'
import { readPacked } from './pack-reader.ts'
import { keptSince, type PinColumns, pinColumns, stampsIn, stampsOf, timesIn } from './pin-stamps.ts'
import { pinnedAs, refusalOf } from './refusal.ts'
import { leftBytes, longestReferenceOf, numberOfBlock, openReader } from './schema.ts'
import { Statements } from './statements.ts'
import { type AccountUse, quotaLeftOf, rememberedMaxOf } from './tallies.ts'

/** What the tables say of bytes left, and of what is gone, as of one group. */
interface Counted {
  group: number
  total: { bytes: number; blocks: number }
  /** True if there is any block that accounts keep and that is not here. */
  isAnyGone: boolean
  byAccount: Map<string, AccountUse>
}

/** Longest time for which an entry of the hand-off queue is put back. */
export const handoffPauseMsMax = 300_000

/** How long reads share a transaction at most. */
const heldMsMax = 100

const longestReference = longestReferenceOf('block.id')
const numberOfAccount = '(SELECT id FROM account WHERE account = ?2)'
const smallBlock = `SELECT sealed, owner, CASE WHEN owner IS NULL THEN (${longestReference}) END AS longest,
  (SELECT remove_at FROM tombstone WHERE digest = ?1) AS removeAt FROM block WHERE digest = ?1`

/** The stores in the hand-off queue, found one after the other: it may have a million entries for one of them. */
const eachTarget = `WITH RECURSIVE each (target) AS (SELECT min(target) FROM handoff UNION ALL
  SELECT (SELECT min(target) FROM handoff WHERE handoff.target > each.target) FROM each WHERE each.target IS NOT NULL)`

/** One node's store. */
export class BlockStore {
  readonly #options: BlockStoreOptions
  readonly #commit: GroupCommit
  readonly #room: DiskRoom
  #reader: DatabaseSync | undefined
  /** Of the reader. */
  #statements: Statements | undefined
  /** True while the reader keeps a transaction open. */
  #isHeld = false
  /** When the next read begins another one, by `performance.now`. */
  #heldUntilMs = 0
  /** Asked for at each put, and the same until the next group is applied. */
  #counted: Counted | undefined

  constructor(options: BlockStoreOptions) {
    this.#options = options
    this.#room = new DiskRoom(options.bytesFree ?? (() => bytesFreeAt(dirname(options.path))))
    const data = { path: options.path, key: options.key }
    this.#commit = new GroupCommit(data, { fatal: options.onFatal, begin: () => this.#letGo() })
  }

  /** Opens the file. Nothing else may be called before. */
  async open(): Promise<void> {
    await this.#commit.ready()
    this.#reader = openReader(this.#options.path)
    this.#statements = new Statements(this.#reader)
  }

  /** Resolves when all that can be seen here now is durable: somebody may still wait for that. Throws as {@link put}. */
  settled(): Promise<void> {
    return this.#commit.settled()
  }

  /** Has the writer's thread look for garbage once. */
  collect(): void {
    this.#commit.collect()
  }

  /** Gives back the memory that is of use only while much is asked for. */
  giveBack(): void {
    this.#reader?.exec('PRAGMA shrink_memory')
    this.#commit.giveBack()
  }

  /** Finishes what was begun and closes the file. */
  async close(): Promise<void> {
    await this.#commit.close()
    this.#statements = undefined
    this.#reader?.close()
  }

  /**
   * Stores a block durably, or adds references to the one that is there.
   *
   * @returns true if it was not here before.
   * @throws {StorageError} `ERR_BLOCK_ERASED`, `ERR_QUOTA_EXCEEDED`, `ERR_STORE_FULL`, `ERR_STORE_BUSY`, `ERR_STORE_FAILED`.
   */
  async put(request: PutRequest): Promise<boolean> {
    const { enforceQuota, handoff, handoffDelayMs, bytes, ...rest } = request
    const { accountBytesMax, isExternal = false, now } = this.#options
    const outcome = await this.#change({
      kind: 'put',
      ...rest,
      bytes: isExternal ? new Uint8Array(0) : bytes,
      size: bytes.length,
      isExternal,
      handoff: handoff ?? [],
      handoffDelayMs: handoffDelayMs ?? 0,
      bytesMax: this.#bytesMaxNow(),
      now: now(),
      ...(enforceQuota ? { accountBytesMax } : {}),
    })
    return outcome.changed
  }

  /** A block's bytes, verified; undefined if it is absent, erased, or was found damaged just now. */
  async get(digest: Uint8Array): Promise<Uint8Array | undefined> {
    let row: { sealed: Uint8Array; removeAt: number | null } | undefined
    try {
      row = this.#get(
        'SELECT sealed, (SELECT remove_at FROM tombstone WHERE digest = ?1) AS removeAt FROM block WHERE digest = ?1',
        digest,
      ) as typeof row
    } catch {
      // SQLite itself found the page damaged.
      await this.setAside(digest)
      return undefined
    }
    if (!row || (row.removeAt !== null && row.removeAt <= this.#options.now())) return undefined
    const isPacked = row.sealed.length === markBytes
    const sealed = isPacked ? await readPacked(this.#options.path, row.sealed) : row.sealed
    const bytes = sealed && openAtRest(this.#options.key, digest, sealed)
    if (sealed && isPacked) release(sealed)
    if (bytes && Buffer.compare(hashBlock(bytes), digest) === 0) return bytes
    // Its place is overwritten as soon as the row has another: then the block was removed, moved, or put again.
    if (isPacked && !this.#isAt(digest, row.sealed)) return await this.get(digest)
    await this.setAside(digest)
    return undefined
  }

  /**
   * As {@link get}, at once, with whose the block is as {@link ownerOf} says, for a small block of which nothing is wrong;
   * undefined for any other.
   */
  getSmall(digest: Uint8Array): { bytes: Buffer; owner: Uint8Array | undefined } | undefined {
    let row: Record<string, unknown> | undefined
    try {
      row = this.#get(smallBlock, digest)
    } catch {
      return undefined
    }
    if (row === undefined || (row.removeAt !== null && (row.removeAt as number) <= this.#options.now()))
      return undefined
    const sealed = row.sealed as Uint8Array
    const bytes = sealed.length === markBytes ? undefined : openAtRest(this.#options.key, digest, sealed)
    if (!bytes || hash('sha256', bytes, 'latin1') !== byteText(digest)) return undefined
    return { bytes, owner: (row.owner ?? row.longest ?? undefined) as Uint8Array | undefined }
  }

  #isAt(digest: Uint8Array, mark: Uint8Array): boolean {
    return this.#get('SELECT 1 FROM block WHERE digest = ? AND sealed = ?', digest, mark) !== undefined
  }

  /** Takes a block that was found damaged out of use, and reports it. */
  async setAside(digest: Uint8Array): Promise<void> {
    const { now, node } = this.#options
    const incident = { at: now(), kind: 'block-corrupt', digest, node } as const
    const outcome = await this.#change({ kind: 'quarantine', digest, incident })
    if (outcome.deleted > 0) this.#options.onCorrupt(digest)
  }

  /** Size, codec and header of a block that is here, without reading or verifying it. */
  stat(digest: Uint8Array): BlockStat | undefined {
    const row = this.#get('SELECT size, codec, owner, writer, stream, sequence FROM block WHERE digest = ?', digest)
    if (!row || this.isErased(digest)) return undefined
    const { size, codec, owner, writer, stream, sequence } = row as unknown as BlockStat & { owner: Uint8Array | null }
    if (!owner || !writer) return { size, codec }
    const record = stream && sequence !== undefined ? { stream, sequence } : {}
    return { size, codec, owner, writer, ...record }
  }

  /** Whose a block is: its header's owner, or of a block without one whoever has kept it for longest. */
  ownerOf(digest: Uint8Array): Uint8Array | undefined {
    const row = this.#get(`SELECT owner, (${longestReference}) AS longest FROM block WHERE digest = ?1`, digest)
    return (row?.owner ?? row?.longest ?? undefined) as Uint8Array | undefined
  }

  /** True if the block is here and not erased. */
  has(digest: Uint8Array): boolean {
    const here = 'SELECT (SELECT remove_at FROM tombstone WHERE digest = ?1) AS removeAt FROM block WHERE digest = ?1'
    const row = this.#get(here, digest) as { removeAt: number | null } | undefined
    return row !== undefined && (row.removeAt === null || row.removeAt > this.#options.now())
  }

  /** True if its owner erased the block and the time for its removal has come. */
  isErased(digest: Uint8Array): boolean {
    const row = this.#get('SELECT remove_at FROM tombstone WHERE digest = ?', digest)
    return row !== undefined && (row.remove_at as number) <= this.#options.now()
  }

  /** The tombstone on a block, if there is one. */
  tombstone(digest: Uint8Array): TombstoneEntry | undefined {
    const tombstone = 'SELECT digest, owner, at, remove_at AS removeAt FROM tombstone WHERE digest = ?'
    return this.#get(tombstone, digest) as unknown as TombstoneEntry | undefined
  }

  /** What lies below erased roots, after number `after` in the order in which it came here, with its numbers. */
  below(list: BelowList, after: number, limit: number): (BelowEntry & { id: number })[] {
    return this.#all(belowQuery(list), after, limit).map(toBelowEntry)
  }

  /** Words after number `after` in the order in which they came here, with their numbers. */
  words(after: number, limit: number): { id: number; bytes: Uint8Array }[] {
    const words = 'SELECT id, bytes FROM word WHERE id > ? ORDER BY id LIMIT ?'
    return this.#all(words, after, limit) as unknown as { id: number; bytes: Uint8Array }[]
  }

  /** An account's word on a block. */
  word(digest: Uint8Array, account: Uint8Array): { at: number; bytes: Uint8Array } | undefined {
    const word = this.#get('SELECT at, bytes FROM word WHERE digest = ? AND account = ?', digest, account)
    return word as { at: number; bytes: Uint8Array } | undefined
  }

  /** When a record was erased by Userchain, as this store has read it. */
  erasedRecord(owner: Uint8Array, stream: Uint8Array, sequence: number): { at: number; removeAt: number } | undefined {
    const range = 'owner = ?1 AND stream = ?2 AND first <= ?3 AND last >= ?3'
    const erased = `SELECT at, remove_at AS removeAt FROM erasure WHERE ${range} ORDER BY at LIMIT 1`
    const row = this.#get(erased, owner, stream, sequence)
    return row as { at: number; removeAt: number } | undefined
  }

  /** True if this store has read in Userchain that records of an owner were erased at a time. */
  hasErased(owner: Uint8Array, at: number): boolean {
    return this.#get('SELECT 1 FROM erasure WHERE owner = ? AND at = ? LIMIT 1', owner, at) !== undefined
  }

  /** True if bytes of a block are still to be removed, whether or not it is served. */
  isLeft(digest: Uint8Array): boolean {
    return this.#get(leftBytes, digest)?.isLeft === 1
  }

  /** How many tombstones there are. */
  tombstoneCount(): number {
    return this.#get('SELECT count(*) AS count FROM tombstone')?.count as number
  }

  /** Blocks of an owner's records in a range, whatever their codec. */
  recordsOf(range: ErasedRange): { digest: Uint8Array; codec: number }[] {
    const { owner, stream, first, last } = range
    const records = 'SELECT digest, codec FROM block WHERE owner = ? AND stream = ? AND sequence BETWEEN ? AND ?'
    return this.#all(records, owner, stream, first, last) as unknown as { digest: Uint8Array; codec: number }[]
  }

  /** True if accounts keep a block here that is gone or damaged. */
  isGone(digest: Uint8Array): boolean {
    // Nearly always there is none at all, which is asked once a group.
    return this.#counts().isAnyGone && this.#get('SELECT 1 FROM gone WHERE digest = ?', digest) !== undefined
  }

  /** Who keeps the block. */
  references(digest: Uint8Array): Reference[] {
    const keepers = `SELECT a.account, ${pinColumns} FROM reference r JOIN account a ON a.id = r.account`
    const rows = this.#all(`${keepers} WHERE r.block = ${numberOfBlock}`, digest)
    return (rows as unknown as (PinColumns & { account: Uint8Array })[]).map((row) => {
      return { account: row.account, ...timesIn(row) }
    })
  }

  /** When an account has given a block up, if it has lately (SPEC.md §2), Unix ms. */
  releasedAt(digest: Uint8Array, account: Uint8Array): number | undefined {
    const release = this.#get('SELECT at FROM release WHERE digest = ? AND account = ?', digest, account)
    return release?.at as number | undefined
  }

  /** When an account has last said that it keeps a block, Unix ms; undefined if it does not. */
  keptSince(digest: Uint8Array, account: Uint8Array): number | undefined {
    const row = this.#pinColumnsOf(digest, account)
    return row && keptSince(timesIn(row))
  }

  /** Blocks that an account gave up as of a time: digests after `after` in their order, at most `limit`. */
  released(account: Uint8Array, at: number, after: Uint8Array, limit: number): Uint8Array[] {
    const released = 'SELECT digest FROM release WHERE account = ? AND at = ? AND digest > ? ORDER BY digest LIMIT ?'
    return this.#all(released, account, at, after, limit).map((row) => row.digest as Uint8Array)
  }

  /** Since when an account keeps a block, Unix ms; undefined if it does not. */
  referencedAt(digest: Uint8Array, account: Uint8Array): number | undefined {
    const reference = `SELECT at FROM reference WHERE block = ${numberOfBlock} AND account = ${numberOfAccount}`
    return this.#get(reference, digest, account)?.at as number | undefined
  }

  /**
   * Gives up an account's reference; the block goes with the last one.
   *
   * @param options.at - references made at or before this time do not come back with a slower node's copy.
   * @returns whether there was one, and how many blocks went.
   * @throws {StorageError} `ERR_BLOCK_SEALED` for a sealed payload, `ERR_BLOCK_PINNED` unless `force`.
   */
  async release(
    digest: Uint8Array,
    account: Uint8Array,
    options: { at: number; force: boolean },
  ): Promise<{ changed: boolean; deleted: number }> {
    const outcome = await this.#commit.apply({ kind: 'release', digest, account, ...options })
    if (outcome.ok) return outcome
    if (outcome.code !== 'ERR_BLOCK_PINNED') throw refusalOf(outcome.code, digest, this.#options)
    throw pinnedAs(this.pinOf(digest, account) === 1 ? 'direct' : 'recursive', digest)
  }

  /**
   * Takes back a reference that a request made at that very time, if nothing else has confirmed it since: what the account kept
   * before stays, and what comes later is not refused.
   */
  async retract(digest: Uint8Array, made: Retraction): Promise<boolean> {
    return (await this.#change({ kind: 'retract', digest, ...made, now: this.#options.now() })).changed
  }

  /**
   * Pins a block that is here; a pin is a reference too. One that was taken away at the same time or later stays away.
   *
   * @param enforceQuota - false where another store tells of it.
   * @throws {StorageError} `ERR_BLOCK_NOT_FOUND`, `ERR_BLOCK_ERASED`, `ERR_QUOTA_EXCEEDED`; `ERR_BLOCK_RELEASED` if the
   *   account has given the block up at that time or later.
   */
  async pin(id: { digest: Uint8Array; codec: number }, reference: Reference, enforceQuota = true): Promise<void> {
    const { accountBytesMax } = this.#options
    await this.#change({ kind: 'pin', ...id, reference, ...(enforceQuota ? { accountBytesMax } : {}) })
  }

  /**
   * Removes a pin that was set before a time; the reference stays.
   *
   * @returns false if there was none, or a later one.
   * @throws {StorageError} `ERR_NOT_PINNED` if the account does not keep the block.
   */
  async unpin(digest: Uint8Array, account: Uint8Array, at: number): Promise<boolean> {
    return (await this.#change({ kind: 'unpin', digest, account, at })).changed
  }

  /** An account's pins after `after` in the order of digests, at most `limit`; all of them, or those of one kind. */
  pins(account: Uint8Array, after: Uint8Array, limit: number, kind: PinsListed = 'all'): PinEntry[] {
    const pinned = `SELECT pinned AS digest, codec, pin FROM reference WHERE account = ${numberOfAccount} AND pinned > ?1
      ${kind === 'recursive' ? 'AND pin = 2' : ''} ORDER BY pinned LIMIT ?3`
    return this.#all(pinned, after, account, limit) as unknown as PinEntry[]
  }

  /** Pins that were set or taken away after their references were made, of blocks that are here, after a place; at most `limit`. */
  changedPins(after: ChangedPin['place'], limit: number): ChangedPin[] {
    const changed = `SELECT b.digest, r.block, r.account AS number, a.account, r.codec, ${pinColumns} FROM reference r
      JOIN block b ON b.id = r.block JOIN account a ON a.id = r.account
      WHERE r.removed_at IS NOT NULL AND (r.block, r.account) > (?, ?) ORDER BY r.block, r.account LIMIT ?`
    type Row = PinColumns & { digest: Uint8Array; block: number; number: number; account: Uint8Array; codec: number }
    return (this.#all(changed, after.block, after.account, limit) as unknown as Row[]).map((row) => {
      const { digest, codec, block, number, account } = row
      return { id: { digest, codec }, reference: { account, ...timesIn(row) }, place: { block, account: number } }
    })
  }

  /** When an account's pins of one block were set and taken away; undefined if it does not keep the block. */
  pinStampsOf(digest: Uint8Array, account: Uint8Array): PinStamps | undefined {
    const row = this.#pinColumnsOf(digest, account)
    return row && (stampsIn(row) ?? stampsOf(row))
  }

  #pinColumnsOf(digest: Uint8Array, account: Uint8Array): PinColumns | undefined {
    const reference = `SELECT ${pinColumns} FROM reference WHERE block = ${numberOfBlock} AND account = ${numberOfAccount}`
    return this.#get(reference, digest, account) as unknown as PinColumns | undefined
  }

  /** An account's pin of one block: 0 none, 1 direct, 2 recursive. */
  pinOf(digest: Uint8Array, account: Uint8Array): number {
    const reference = `SELECT pin FROM reference WHERE block = ${numberOfBlock} AND account = ${numberOfAccount}`
    return (this.#get(reference, digest, account)?.pin as number | undefined) ?? 0
  }

  /**
   * Erases: no new copy is taken from now on, and the bytes go at `removeAt`, whoever references them.
   *
   * @param told.word - by which they are laid. @param told.targets - stores that are still to be told of it, by the
   *   hand-off queue.
   * @returns true if one of them was new.
   */
  async addTombstones(
    entries: TombstoneEntry[],
    told: { word?: WordEntry; targets: Uint8Array[] } = { targets: [] },
  ): Promise<boolean> {
    return (await this.#change({ kind: 'tombstones', entries, ...told, now: this.#options.now() })).changed
  }

  /** Keeps a word that lays no tombstone here, and has the hand-off queue tell it. */
  async addWord(word: WordEntry, targets: Uint8Array[]): Promise<void> {
    await this.#change({ kind: 'word', word, targets, now: this.#options.now() })
  }

  /**
   * Another store's list of what lies below roots that are erased here: believed once `storesNeeded` say the same.
   *
   * @param by.delayMs - between an erasure and the removal.
   */
  async vouch(store: Uint8Array, entries: BelowEntry[], by: { storesNeeded: number; delayMs: number }): Promise<void> {
    await this.#change({ kind: 'vouch', store, entries, ...by })
  }

  /** Erases the records of a range that are here now, and those that come later. */
  async eraseRange(range: ErasedRange): Promise<void> {
    await this.#change({ kind: 'erase-range', range })
  }

  /**
   * Removes what is due at `now`, out of every file of the store.
   *
   * @param releasesBefore - releases, and words that laid no tombstone, from before this time are forgotten; 0 for none.
   * @param unheardMax - how many stores need not have heard of a tombstone's word.
   * @returns how many blocks went.
   */
  async sweep(now: number, releasesBefore: number, unheardMax: number): Promise<number> {
    const { deleted } = await this.#change({ kind: 'sweep', now, releasesBefore, unheardMax })
    if (deleted > 0) await this.#change({ kind: 'checkpoint' })
    return deleted
  }

  /** Blocks whose bytes are still to be removed where they are kept. */
  removals(limit: number): Uint8Array[] {
    return this.#all('SELECT digest FROM removal LIMIT ?', limit).map((row) => row.digest as Uint8Array)
  }

  /** They are removed. */
  async finishRemovals(digests: Uint8Array[]): Promise<void> {
    await this.#change({ kind: 'removed', digests })
  }

  /** A place in something that is followed, as it was last written. */
  cursor(name: string): Uint8Array | undefined {
    return this.#get('SELECT value FROM cursor WHERE name = ?', name)?.value as Uint8Array | undefined
  }

  /** Writes a cursor. */
  async setCursor(name: string, value: Uint8Array): Promise<void> {
    await this.#change({ kind: 'cursor', name, value })
  }

  /** Bytes that an account has left on its quota here, and that this node may still hold. */
  bytesLeft(account: Uint8Array): { ofAccount: number; ofNode: number } {
    return {
      ofAccount: quotaLeftOf(this.#useOf(account), this.#options.accountBytesMax),
      ofNode: Math.max(0, this.#bytesMaxNow() - this.#counts().total.bytes),
    }
  }

  /** How many more removals of an account may be remembered here, beyond those of what it keeps. */
  removalsLeft(account: Uint8Array): number {
    return Math.max(0, rememberedMaxOf(this.#options.accountBytesMax) - this.#useOf(account).remembered)
  }

  #useOf(account: Uint8Array): AccountUse {
    const { byAccount } = this.#counts()
    const name = toHex(account)
    let use = byAccount.get(name)
    if (use === undefined) {
      const row = this.#get('SELECT bytes, blocks, remembered FROM account WHERE account = ?', account)
      use = (row as AccountUse | undefined) ?? { bytes: 0, blocks: 0, remembered: 0 }
      byAccount.set(name, use)
    }
    return use
  }

  /** What this node may hold, or less where its disk has less room. */
  #bytesMaxNow(): number {
    const bytesMax = this.#room.bytesMax(() => this.#counts().total.bytes)
    return Math.min(this.#options.bytesMax, bytesMax)
  }

  /** What is here in all. */
  totals(): { bytes: number; blocks: number } {
    return { ...this.#counts().total }
  }

  #counts(): Counted {
    const { groups } = this.#commit
    if (this.#counted?.group !== groups) {
      const row = this.#get('SELECT bytes, blocks, EXISTS (SELECT 1 FROM gone) AS isAnyGone FROM total')
      const { isAnyGone, ...total } = row as { bytes: number; blocks: number; isAnyGone: number }
      this.#counted = { group: groups, total, isAnyGone: isAnyGone === 1, byAccount: new Map() }
    }
    return this.#counted
  }

  /** Digests after `after`, in their order, at most `limit`: for repair and scrubbing. */
  digests(after: Uint8Array, limit: number): Uint8Array[] {
    const digests = 'SELECT digest FROM block WHERE digest > ? ORDER BY digest LIMIT ?'
    return this.#all(digests, after, limit).map((row) => row.digest as Uint8Array)
  }

  /** Adds to the incidents. */
  async recordIncident(incident: IncidentEntry): Promise<void> {
    await this.#change({ kind: 'incident', incident })
  }

  /** Incidents after `after`, oldest first. */
  incidents(after: number, limit: number): Incident[] {
    const rows = this.#all('SELECT * FROM incident WHERE id > ? ORDER BY id LIMIT ?', after, limit)
    return rows.map((row) => ({
      id: row.id as number,
      at: row.at as number,
      kind: row.kind as IncidentKind,
      digest: row.digest as Uint8Array,
      node: row.node as Uint8Array,
      ...(row.served_by ? { servedBy: row.served_by as Uint8Array } : {}),
    }))
  }

  /** Adds to the hand-off queue. */
  async enqueueHandoff(entry: Omit<HandoffRequest, 'now'>): Promise<void> {
    await this.#change({ kind: 'handoff', ...entry, now: this.#options.now() })
  }

  /** Stores for which something is due in the hand-off queue. What was put back for longer than is done is due: the clock was set back. */
  handoffTargets(now: number): Uint8Array[] {
    const due = 'EXISTS (SELECT 1 FROM handoff WHERE handoff.target = each.target AND next_at'
    const isDue = `(${due} <= ?) OR ${due} > ?))`
    const targets = `${eachTarget} SELECT target FROM each WHERE target IS NOT NULL AND ${isDue}`
    return this.#all(targets, now, now + handoffPauseMsMax).map((row) => row.target as Uint8Array)
  }

  /** What is due of it for one of them, oldest first. */
  handoffsDue(now: number, limit: number, target: Uint8Array): HandoffEntry[] {
    const due = (is: string): string =>
      `SELECT * FROM handoff WHERE next_at ${is} ? AND target = ? ORDER BY next_at, id LIMIT ?`
    const entries = this.#all(due('<='), now, target, limit)
    const late = entries.length > 0 ? entries : this.#all(due('>'), now + handoffPauseMsMax, target, limit)
    return late as unknown as HandoffEntry[]
  }

  /** How many entries wait. */
  handoffCount(): number {
    return this.#get('SELECT count(*) AS count FROM handoff')?.count as number
  }

  /** Takes finished entries off the queue; what was asked for anew since they were read is still to be done. */
  async finishHandoffs(entries: readonly Pick<HandoffEntry, 'id' | 'at'>[]): Promise<void> {
    await this.#change({ kind: 'handoff-done', entries: entries.map(({ id, at }) => ({ id, at })) })
  }

  /** Takes the entries of copies off the queue, or makes them due at a time. */
  async settleCopies(copies: { digest: Uint8Array; target: Uint8Array }[], dueAt?: number): Promise<void> {
    const entries = copies.map(({ digest, target }) => ({ digest, target }))
    await this.#change({ kind: 'copies-settled', copies: entries, ...(dueAt === undefined ? {} : { dueAt }) })
  }

  /** When the first entry falls due that is not due at `now`, Unix ms. */
  nextHandoffAt(now: number): number | undefined {
    const ofTarget = '(SELECT min(next_at) FROM handoff WHERE handoff.target = each.target AND next_at > ?)'
    const next = this.#get(`${eachTarget} SELECT min(${ofTarget}) AS at FROM each WHERE target IS NOT NULL`, now)?.at
    return (next ?? undefined) as number | undefined
  }

  /** Puts an entry back until `nextAt`. */
  async retryHandoff(id: number, nextAt: number): Promise<void> {
    await this.#change({ kind: 'handoff-retry', id, nextAt })
  }

  /** Makes every entry for a store due now: it has come back. */
  async wakeHandoffs(target: Uint8Array): Promise<void> {
    await this.#change({ kind: 'handoff-wake', target, now: this.#options.now() })
  }

  async #change(operation: Operation): Promise<Extract<Outcome, { ok: true }>> {
    const outcome = await this.#commit.apply(operation)
    if (outcome.ok) return outcome
    throw refusalOf(outcome.code, 'digest' in operation ? operation.digest : undefined, this.#options)
  }

  #prepare(sql: string): StatementSync {
    if (!this.#statements) throw new StorageError('the store is not open', { code: 'ERR_STORE_FAILED' })
    return this.#statements.prepare(sql)
  }

  /**
   * Reads between two groups share one transaction: to open one for each takes locks, which costs a third of a read. It
   * ends before the writer begins, so that the log can be written back to the file whole; and soon, so that what somebody else changed in
   * the tables is noticed also where nothing is written.
   */
  #hold(): void {
    if (this.#isHeld && performance.now() > this.#heldUntilMs) this.#letGo()
    if (this.#isHeld || !this.#commit.isQuiet) return
    this.#prepare('BEGIN').run()
    this.#isHeld = true
    this.#heldUntilMs = performance.now() + heldMsMax
  }

  #letGo(): void {
    if (!this.#isHeld) return
    this.#isHeld = false
    this.#prepare('COMMIT').run()
  }

  #get(sql: string, ...values: (Uint8Array | number | string)[]): Record<string, unknown> | undefined {
    const statement = this.#prepare(sql)
    this.#hold()
    return statement.get(...values)
  }

  #all(sql: string, ...values: (Uint8Array | number)[]): Record<string, unknown>[] {
    const statement = this.#prepare(sql)
    this.#hold()
    return statement.all(...values)
  }
}
