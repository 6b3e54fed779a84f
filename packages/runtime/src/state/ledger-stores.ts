/**
 * The storage that a `Ledger` needs (`packages/chain/src/state/store.ts`), in one SQLite file a chain. One block is one
 * transaction, so leaves, log index and head are of one height after any crash. Nothing grows in memory with the ledger
 * but SQLite's page cache; reads are prepared statements over primary keys.
 *
 * The file is derived: whoever loses it replays the log. So it syncs as WAL does under `synchronous = NORMAL`: after a
 * loss of power the newest blocks may be missing, never a part of one, never one before another.
 */
import type { StatementSync } from 'node:sqlite'
import type { Boundary, LogIndex, RecordEntry } from '@healthblock/chain/log-index'
import { RecentMap } from '@healthblock/chain/recent-map'
import type { LeafStore, StateLeaf } from '@healthblock/chain/state-tree'
import type { ChainChanges, ChainStore } from '@healthblock/chain/store'
import { byteText } from '@healthblock/encoding/bytes'
import type { CheckpointThread } from '../disk/checkpoint-thread.ts'
import { type Database, openDatabase } from '../disk/sqlite.ts'
import { IdFilter } from './id-filter.ts'
import type { Place, PlacedRecord, WaitingIndex } from './waiting-index.ts'

const schema = `
CREATE TABLE leaf (
  path BLOB PRIMARY KEY,
  key BLOB NOT NULL,
  value BLOB NOT NULL,
  hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE place (
  id BLOB PRIMARY KEY,
  position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE record (
  patient BLOB NOT NULL,
  stream BLOB NOT NULL,
  sequence INTEGER NOT NULL,
  position INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  PRIMARY KEY (patient, stream, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE boundary (
  height INTEGER PRIMARY KEY,
  size INTEGER NOT NULL UNIQUE,
  root BLOB NOT NULL,
  ms INTEGER NOT NULL,
  wakes INTEGER NOT NULL,
  anchor INTEGER
) STRICT;
CREATE INDEX boundary_wakes ON boundary (size) WHERE wakes = 1;
CREATE INDEX boundary_anchor ON boundary (anchor, height) WHERE anchor IS NOT NULL;
CREATE TABLE head (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  bytes BLOB NOT NULL
) STRICT;
`

/** Leaves read at one time: a bucket fits, and what a scan leaves behind dies young. */
const pageLeaves = 128
/**
 * Pages of write-ahead log (4 KiB each) before they are moved into the file. Blocks change pages at random, many of them the same ones
 * again: moving them seldom saves syncs. A node that was killed reads as much at its next start.
 */
const walPagesMax = 4_000
/** Where a thread moves them, the owner's connection does it only once so many are there: the thread is gone, or does not keep up. */
const walPagesMaxBesideThread = 4 * walPagesMax

class SqliteLeafStore implements LeafStore {
  readonly #get: StatementSync
  readonly #page: StatementSync
  readonly #next: StatementSync
  readonly #insert: StatementSync
  readonly #update: StatementSync
  #count: number

  constructor(database: Database) {
    const columns = 'path, key, value, hash'
    const tail = `AND path <= ? ORDER BY path LIMIT ${pageLeaves}`
    this.#get = database.statement('SELECT key, value, hash FROM leaf WHERE path = ?')
    // Most of what a read costs is making its row: an array is made faster than an object.
    this.#get.setReturnArrays(true)
    this.#page = database.statement(`SELECT ${columns} FROM leaf WHERE path >= ? ${tail}`)
    this.#next = database.statement(`SELECT ${columns} FROM leaf WHERE path > ? ${tail}`)
    this.#insert = database.statement('INSERT INTO leaf (path, key, value, hash) VALUES (?, ?, ?, ?)')
    this.#update = database.statement('UPDATE leaf SET key = ?, value = ?, hash = ? WHERE path = ?')
    this.#count = Number(database.get('SELECT count(*) AS n FROM leaf')?.n)
  }

  get(path: Uint8Array): StateLeaf | undefined {
    const row = this.#get.get(path) as unknown as [key: Uint8Array, value: Uint8Array, hash: Uint8Array] | undefined
    return row === undefined ? undefined : { path, key: row[0], value: row[1], hash: row[2] }
  }

  *range(first: Uint8Array, last: Uint8Array): Iterable<StateLeaf> {
    let page = this.#page.all(first, last) as unknown as StateLeaf[]
    for (;;) {
      yield* page
      const end = page.at(-1)
      if (page.length < pageLeaves || end === undefined) return
      page = this.#next.all(end.path, last) as unknown as StateLeaf[]
    }
  }

  count(): number {
    return this.#count
  }

  /** Inside the block's transaction; true if the leaf was new. */
  write({ path, key, value, hash }: StateLeaf): boolean {
    if (this.#update.run(key, value, hash, path).changes !== 0) return false
    this.#insert.run(path, key, value, hash)
    return true
  }

  /** After the commit. */
  grew(added: number): void {
    this.#count += added
  }
}

/** Most places kept: every transaction is asked for when it arrives, when it is ordered and when it is answered. */
const placesMax = 32_768

/** Rows written in one step: some tenths of a millisecond. */
const rowsPerStep = 32

/** Boundaries of the newest blocks kept in memory. */
const recentBoundariesMax = 256

class SqliteLogIndex implements LogIndex {
  /** Places asked for last or just committed, by transaction id; whoever replays asks for none again. */
  readonly #places: RecentMap<string, number> | undefined
  /** All ids on record: most questions are about new ones. */
  readonly #ids = new IdFilter()
  /** The newest boundaries, ascending, without a hole. */
  readonly #recent: Boundary[] = []
  readonly #find: StatementSync
  readonly #record: StatementSync
  readonly #bySize: StatementSync
  readonly #after: StatementSync
  readonly #byHeight: StatementSync
  readonly #newestWake: StatementSync
  readonly #anchored: StatementSync
  readonly #insertPlace: StatementSync
  readonly #insertRecord: StatementSync
  readonly #insertBoundary: StatementSync

  constructor(database: Database, { isReplayed }: { readonly isReplayed: boolean }) {
    this.#places = isReplayed ? undefined : new RecentMap(placesMax)
    this.#find = database.statement('SELECT position FROM place WHERE id = ?')
    for (const { id } of database.statement('SELECT id FROM place').iterate()) this.#ids.add(id as Uint8Array)
    this.#record = database.statement(
      'SELECT position, generation, epoch, kind FROM record WHERE patient = ? AND stream = ? AND sequence = ?',
    )
    this.#bySize = database.statement('SELECT * FROM boundary WHERE size = ?')
    this.#after = database.statement('SELECT * FROM boundary WHERE size > ? ORDER BY size LIMIT 1')
    this.#byHeight = database.statement('SELECT * FROM boundary WHERE height = ?')
    this.#newestWake = database.statement('SELECT max(size) AS size FROM boundary WHERE wakes = 1 AND size <= ?')
    this.#anchored = database.statement('SELECT * FROM boundary WHERE anchor > ? ORDER BY anchor, height LIMIT 1')
    this.#insertPlace = database.statement('INSERT OR REPLACE INTO place (id, position) VALUES (?, ?)')
    this.#insertRecord = database.statement('INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?, ?)')
    this.#insertBoundary = database.statement(
      'INSERT INTO boundary (height, size, root, ms, wakes, anchor) VALUES (?, ?, ?, ?, ?, ?)',
    )
  }

  find(transactionId: Uint8Array): number | undefined {
    if (!this.#ids.mayHave(transactionId)) return undefined
    const text = byteText(transactionId)
    const known = this.#places?.get(text)
    if (known !== undefined) return known
    const found = (this.#find.get(transactionId) as { position: number } | undefined)?.position
    if (found !== undefined) this.#places?.set(text, found)
    return found
  }

  record(patient: Uint8Array, stream: Uint8Array, sequence: number): RecordEntry | undefined {
    const row = this.#record.get(patient, stream, sequence) as Record<string, number> | undefined
    if (row === undefined) return undefined
    const { position, generation, epoch, kind } = row as {
      position: number
      generation: number
      epoch: number
      kind: number
    }
    return { index: position, generation, epoch, kind }
  }

  boundary(size: number): Boundary | undefined {
    // Most questions are about blocks that were just committed.
    return this.#recent.findLast((boundary) => boundary.size === size) ?? boundaryOf(this.#bySize.get(size))
  }

  boundaryAfter(index: number): Boundary | undefined {
    // Most questions are about transactions that were just committed.
    const recent = this.#recent
    const first = recent[0]
    if (first === undefined || index < first.size) return boundaryOf(this.#after.get(index))
    let low = 0
    let high = recent.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((recent[middle] as Boundary).size > index) high = middle
      else low = middle + 1
    }
    return recent[low]
  }

  boundaryAt(height: number): Boundary | undefined {
    return this.#recent[height - (this.#recent[0]?.height ?? 0)] ?? boundaryOf(this.#byHeight.get(height))
  }

  newestWake(sizeMax: number): number | undefined {
    return (this.#newestWake.get(sizeMax) as { size: number | null }).size ?? undefined
  }

  firstAnchoredBeyond(userchainIndex: number): Boundary | undefined {
    return boundaryOf(this.#anchored.get(userchainIndex))
  }

  /** Inside a transaction. */
  writePlace({ id, index }: Place): void {
    this.#insertPlace.run(id, index)
    // Before the commit: one that is rolled back leaves a needless "perhaps".
    this.#ids.add(id)
  }

  /** Inside a transaction. */
  writeRecord({ patient, stream, sequence, entry }: PlacedRecord): void {
    this.#insertRecord.run(patient, stream, sequence, entry.index, entry.generation, entry.epoch, entry.kind)
  }

  /** Inside a transaction. */
  writeBoundary({ height, size, root, ms, wakes, anchorSize }: Boundary): void {
    this.#insertBoundary.run(height, size, root, ms, wakes ? 1 : 0, anchorSize ?? null)
  }

  /** After the commit. */
  committed(transactions: Iterable<Place>, boundaries: readonly Boundary[]): void {
    if (this.#places !== undefined) for (const { id, index } of transactions) this.#places.set(byteText(id), index)
    this.#recent.push(...boundaries)
    while (this.#recent.length > recentBoundariesMax) this.#recent.shift()
  }
}

function boundaryOf(found: unknown): Boundary | undefined {
  if (found === undefined) return undefined
  const row = found as {
    height: number
    size: number
    root: Uint8Array
    ms: number
    wakes: number
    anchor: number | null
  }
  const boundary = { size: row.size, height: row.height, root: row.root, ms: row.ms, wakes: row.wakes === 1 }
  return row.anchor === null ? boundary : { ...boundary, anchorSize: row.anchor }
}

/** What several blocks, the oldest first, change together. */
export interface GatheredChanges {
  readonly leaves: Iterable<StateLeaf>
  readonly index: WaitingIndex
  readonly head: Uint8Array
}

/** One chain's storage in a SQLite file. */
export class SqliteChainStore implements ChainStore {
  readonly leaves: LeafStore
  readonly index: LogIndex
  readonly #database: Database
  readonly #leaves: SqliteLeafStore
  readonly #index: SqliteLogIndex
  readonly #head: StatementSync
  readonly #setHead: StatementSync
  /** Absent where the owner's connection moves the write-ahead log. */
  readonly #checkpoints: CheckpointThread | undefined

  /** Called by `openChainStore` only. */
  constructor(
    database: Database,
    options: { readonly isReplayed: boolean; readonly checkpoints: CheckpointThread | undefined },
  ) {
    this.#database = database
    this.#checkpoints = options.checkpoints
    this.#leaves = new SqliteLeafStore(database)
    this.#index = new SqliteLogIndex(database, options)
    this.leaves = this.#leaves
    this.index = this.#index
    this.#head = database.statement('SELECT bytes FROM head')
    this.#setHead = database.statement('INSERT OR REPLACE INTO head (one, bytes) VALUES (1, ?)')
  }

  head(): Uint8Array | undefined {
    return (this.#head.get() as { bytes: Uint8Array } | undefined)?.bytes
  }

  apply({ leaves, index, head }: ChainChanges): void {
    let added = 0
    this.#database.transaction(() => {
      for (const leaf of leaves) if (this.#leaves.write(leaf)) added++
      for (const place of index.transactions) this.#index.writePlace(place)
      for (const record of index.records) this.#index.writeRecord(record)
      this.#index.writeBoundary(index.boundary)
      this.#setHead.run(head)
    })
    this.#leaves.grew(added)
    this.#index.committed(index.transactions, [index.boundary])
  }

  /**
   * As `apply` for several blocks in one transaction: each leaf is written once, in the order of the table, as are places and records. In steps of
   * some rows each; whoever reads between them may find what is written so far.
   *
   * @param gathered - `leaves`: ascending by K, each K once. `head`: the newest block's.
   * @throws as `apply`: what is stored is then unknown.
   */
  *applyAll(gathered: GatheredChanges): Generator<void, void> {
    const added = yield* this.#database.transactionInSteps(() => this.#writeAll(gathered))
    this.#leaves.grew(added)
    this.#index.committed(gathered.index.places(), gathered.index.boundaries)
    if (this.#checkpoints !== undefined && this.#database.walPages() >= walPagesMax) void this.#checkpoints.request()
  }

  /** Inside a transaction; returns how many leaves were new. */
  *#writeAll({ leaves, index, head }: GatheredChanges): Generator<void, number> {
    let rows = 0
    let added = 0
    for (const leaf of leaves) {
      if (this.#leaves.write(leaf)) added++
      if (++rows % rowsPerStep === 0) yield
    }
    for (const place of index.placesInOrder()) {
      this.#index.writePlace(place)
      if (++rows % rowsPerStep === 0) yield
    }
    for (const record of index.recordsInOrder()) {
      this.#index.writeRecord(record)
      if (++rows % rowsPerStep === 0) yield
    }
    for (const boundary of index.boundaries) this.#index.writeBoundary(boundary)
    this.#setHead.run(head)
    return added
  }

  /** Closes the file. */
  close(): void {
    void this.#checkpoints?.close()
    this.#database.close()
  }
}

/**
 * Opens a chain's storage, creating an empty one if the file is absent.
 *
 * @param options - `cacheSizeBytes`: SQLite's page cache, default 32 MiB. `isReplayed`: transactions are not asked for again soon after
 *   they came. `isThrownAway`: nobody opens the file again, so nothing in it needs to survive. `checkpoints`: the file's,
 *   which move what `applyAll` writes from the write-ahead log into the file.
 * @throws {RuntimeError} as `openDatabase`.
 */
export function openChainStore(options: {
  path: string
  cacheSizeBytes?: number
  isReplayed?: boolean
  isThrownAway?: boolean
  checkpoints?: CheckpointThread
}): SqliteChainStore {
  const database = openDatabase({
    path: options.path,
    synchronous: options.isThrownAway === true ? 'off' : 'normal',
    migrations: [schema],
    // A damaged page is found now, while the file can be emptied and filled again, not by whoever happens to read it.
    isLookedThrough: true,
    cacheSizeBytes: options.cacheSizeBytes ?? 32 * 1024 * 1024,
  })
  const { checkpoints } = options
  database.get(`PRAGMA wal_autocheckpoint = ${checkpoints === undefined ? walPagesMax : walPagesMaxBesideThread}`)
  return new SqliteChainStore(database, { isReplayed: options.isReplayed === true, checkpoints })
}
