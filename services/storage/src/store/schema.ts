/**
 * The tables of one node. One SQLite file holds blocks, references, pins, counters, tombstones, the hand-off queue and
 * the incidents, so that one transaction changes them together. Two connections use it: one writer (in a worker
 * thread) and one reader; WAL lets them run side by side.
 */
import { DatabaseSync } from 'node:sqlite'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { StorageError } from '../errors.ts'
import { openAtRest } from './at-rest.ts'
import { codecRaw } from './block-id.ts'

/** Version of the tables, and of the packs beside them, kept in `user_version`. Version 6 has the tables of version 5, and journals in its packs; version 7 the times of pins, version 8 when a block was put again, and how much is remembered of an account's removals. */
export const schemaVersion = 8

/**
 * References name their block and their account by number: they come in the order in which the blocks do, so that a put
 * changes one page at a random place, that of the digest's index, and not two. `gone` has the numbers of blocks that accounts keep and
 * that are not here, as a damaged one until it is healed. A pinned reference has its digest once more, for the list of pins;
 * one that was pinned, unpinned or put again after it was made, the times of that (`src/store/pin-stamps.ts`).
 */
const tables = `
CREATE TABLE IF NOT EXISTS block (
  id INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE,
  codec INTEGER NOT NULL,
  size INTEGER NOT NULL,
  stored_at INTEGER NOT NULL,
  owner BLOB,
  writer BLOB,
  sealed BLOB NOT NULL,
  stream BLOB,
  sequence INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS block_record ON block (owner, stream, sequence) WHERE owner IS NOT NULL;
CREATE TABLE IF NOT EXISTS gone (
  block INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE
) STRICT;
CREATE TABLE IF NOT EXISTS reference (
  block INTEGER NOT NULL,
  account INTEGER NOT NULL,
  size INTEGER NOT NULL,
  at INTEGER NOT NULL,
  pin INTEGER NOT NULL,
  codec INTEGER NOT NULL,
  pinned BLOB,
  direct_at INTEGER,
  recursive_at INTEGER,
  removed_at INTEGER,
  again_at INTEGER,
  PRIMARY KEY (block, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reference_pinned ON reference (account, pinned) WHERE pinned IS NOT NULL;
CREATE INDEX IF NOT EXISTS reference_recursive ON reference (account, pinned) WHERE pin = 2;
CREATE TABLE IF NOT EXISTS release (
  digest BLOB NOT NULL,
  account BLOB NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (digest, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS release_of ON release (account, at, digest);
CREATE TABLE IF NOT EXISTS account (
  id INTEGER PRIMARY KEY,
  account BLOB NOT NULL UNIQUE,
  bytes INTEGER NOT NULL,
  blocks INTEGER NOT NULL,
  remembered INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS total (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  bytes INTEGER NOT NULL,
  blocks INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO total VALUES (1, 0, 0);
CREATE TABLE IF NOT EXISTS tombstone (
  id INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE,
  owner BLOB NOT NULL,
  at INTEGER NOT NULL,
  remove_at INTEGER NOT NULL,
  root BLOB
) STRICT;
CREATE INDEX IF NOT EXISTS tombstone_at ON tombstone (at);
CREATE TABLE IF NOT EXISTS word (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  digest BLOB NOT NULL,
  account BLOB NOT NULL,
  at INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  UNIQUE (digest, account)
) STRICT;
CREATE TABLE IF NOT EXISTS vouch (
  digest BLOB NOT NULL,
  store BLOB NOT NULL,
  root BLOB NOT NULL,
  owner BLOB,
  writer BLOB,
  at INTEGER,
  PRIMARY KEY (digest, store)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS below (
  id INTEGER PRIMARY KEY,
  digest BLOB NOT NULL,
  root BLOB NOT NULL,
  owner BLOB NOT NULL,
  writer BLOB NOT NULL,
  UNIQUE (digest, root)
) STRICT;
CREATE TABLE IF NOT EXISTS erasure (
  owner BLOB NOT NULL,
  stream BLOB NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  at INTEGER NOT NULL,
  remove_at INTEGER NOT NULL,
  PRIMARY KEY (owner, stream, first, last)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS erasure_at ON erasure (owner, at);
CREATE TABLE IF NOT EXISTS removal (digest BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pack (
  number INTEGER PRIMARY KEY,
  bytes INTEGER NOT NULL,
  live INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS wipe (
  pack INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  length INTEGER NOT NULL,
  PRIMARY KEY (pack, offset)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cursor (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quarantine (
  id INTEGER PRIMARY KEY,
  digest BLOB NOT NULL,
  at INTEGER NOT NULL,
  sealed BLOB
) STRICT;
CREATE TABLE IF NOT EXISTS handoff (
  id INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,
  digest BLOB NOT NULL,
  target BLOB NOT NULL,
  account BLOB NOT NULL,
  at INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  codec INTEGER,
  UNIQUE (kind, digest, target, account)
) STRICT;
CREATE INDEX IF NOT EXISTS handoff_due ON handoff (target, next_at);
CREATE TABLE IF NOT EXISTS incident (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  digest BLOB NOT NULL,
  node BLOB NOT NULL,
  served_by BLOB
) STRICT;
CREATE TRIGGER IF NOT EXISTS incident_is_append_only_1 BEFORE UPDATE ON incident
  BEGIN SELECT RAISE(ABORT, 'incidents are append-only'); END;
CREATE TRIGGER IF NOT EXISTS incident_is_append_only_2 BEFORE DELETE ON incident
  BEGIN SELECT RAISE(ABORT, 'incidents are append-only'); END;
`

/** On columns that tables of earlier versions get first. */
const indexes = `
CREATE INDEX IF NOT EXISTS reference_changed ON reference (block, account) WHERE removed_at IS NOT NULL;
`

/** Streams and sequences of sealed payloads get columns, read from the blocks themselves; tombstones get an order. */
function fillFrom1(database: DatabaseSync, key: Uint8Array): void {
  database.exec(
    `INSERT INTO tombstone (digest, owner, at, remove_at) SELECT digest, owner, at, remove_at FROM tombstone_1; DROP TABLE tombstone_1`,
  )
  const update = database.prepare('UPDATE block SET stream = ?, sequence = ? WHERE id = ?')
  const rows = database.prepare('SELECT id FROM block WHERE owner IS NOT NULL').all()
  const read = database.prepare('SELECT digest, sealed FROM block WHERE id = ?')
  for (const { id } of rows) {
    const row = read.get(id as number)
    const bytes = openAtRest(key, row?.digest as Uint8Array, row?.sealed as Uint8Array)
    // Offsets of a sealed payload's header: packages/crypto/SPEC.md §4.
    if (bytes)
      update.run(
        bytes.subarray(104, 112),
        Number(new DataView(bytes.buffer, bytes.byteOffset + 128).getBigUint64(0)),
        id as number,
      )
  }
}

/**
 * Tombstones below a file's root name it. Those that are there have no word with them: they hold here, and are not told on,
 * but for those that some store has yet to hear of, as this store's own word.
 */
function fillFrom3(database: DatabaseSync): void {
  const waiting = `SELECT DISTINCT t.digest, t.owner, t.at, ifnull(b.codec, ${codecRaw}) AS codec FROM handoff h
    JOIN tombstone t ON t.digest = h.digest LEFT JOIN block b ON b.digest = h.digest WHERE h.kind = 3`
  const add = database.prepare('INSERT INTO word (digest, account, at, bytes) VALUES (?, ?, ?, ?)')
  for (const row of database.prepare(waiting).all()) {
    const { digest, owner, at, codec } = row as { digest: Uint8Array; owner: Uint8Array; at: number; codec: number }
    // SPEC.md §3a, form 2.
    add.run(digest, owner, at, encodeCbor([2, owner, digest, codec, at]))
  }
}

/** References and accounts get numbers, block after block, so that nothing has to be sorted. */
function fillFrom4(database: DatabaseSync): void {
  database.exec(`INSERT INTO account (account, bytes, blocks) SELECT account, bytes, blocks FROM account_4;
    INSERT INTO gone (block, digest) SELECT row_number() OVER () + (SELECT ifnull(max(id), 0) FROM block), digest
      FROM (SELECT DISTINCT digest FROM reference_4) WHERE digest NOT IN (SELECT digest FROM block);
    ${['SELECT id, digest FROM block ORDER BY id', 'SELECT block AS id, digest FROM gone ORDER BY block']
      .map(
        (
          numbered,
        ) => `INSERT INTO reference (block, account, size, at, pin, codec, pinned) SELECT n.id, a.id, r.size, r.at, r.pin, r.codec, CASE WHEN r.pin > 0 THEN r.digest END
          FROM (${numbered}) n CROSS JOIN reference_4 r ON r.digest = n.digest CROSS JOIN account a ON a.account = r.account;`,
      )
      .join('\n')}
    DROP TABLE reference_4; DROP TABLE account_4`)
}

/** Times of references, the codec of a pin that is to be told, and whose a file is, get columns where the tables are there without them. */
function addColumns(database: DatabaseSync): void {
  const added = [
    ['reference', 'direct_at INTEGER'],
    ['reference', 'recursive_at INTEGER'],
    ['reference', 'removed_at INTEGER'],
    ['reference', 'again_at INTEGER'],
    ['account', 'remembered INTEGER NOT NULL DEFAULT 0'],
    ['handoff', 'codec INTEGER'],
    ['vouch', 'owner BLOB'],
    ['vouch', 'writer BLOB'],
    ['vouch', 'at INTEGER'],
  ] as const
  for (const [table, column] of added) {
    const columns = database.prepare(`PRAGMA table_info(${table})`).all()
    if (columns.some(({ name }) => column.startsWith(`${name} `))) continue
    database.exec(`ALTER TABLE ${table} ADD COLUMN ${column}`)
  }
}

/** Counts what is remembered of each account's removals: `release`, and `below` of its files. */
function fillFrom7(database: DatabaseSync): void {
  for (const [table, whose] of [
    ['release', 'account'],
    ['below', 'owner'],
  ]) {
    database.exec(`INSERT OR IGNORE INTO account (account, bytes, blocks) SELECT DISTINCT ${whose}, 0, 0 FROM ${table};
      UPDATE account SET remembered = remembered + n FROM (SELECT ${whose} AS whose, count(*) AS n FROM ${table} GROUP BY ${whose})
        WHERE account.account = whose`)
  }
}

/** Brings the tables of an earlier version up to date. The version changes with them: a crash leaves either. */
function migrate(database: DatabaseSync, version: number, key: Uint8Array): void {
  const names = new Set(
    database
      .prepare('SELECT name FROM sqlite_schema')
      .all()
      .map(({ name }) => name),
  )
  database.exec('BEGIN')
  if (version === 1) {
    database.exec(`ALTER TABLE block ADD COLUMN stream BLOB; ALTER TABLE block ADD COLUMN sequence INTEGER;
      ALTER TABLE tombstone RENAME TO tombstone_1`)
  } else if (version < 4) database.exec('ALTER TABLE tombstone ADD COLUMN root BLOB')
  database.exec('DROP INDEX IF EXISTS reference_pin; DROP INDEX IF EXISTS handoff_next')
  const renamed = version < 5 ? ['reference', 'account'].filter((name) => names.has(name)) : []
  for (const name of renamed) database.exec(`ALTER TABLE ${name} RENAME TO ${name}_4`)
  database.exec(tables)
  addColumns(database)
  database.exec(indexes)
  if (version === 1) fillFrom1(database, key)
  else if (version < 4) fillFrom3(database)
  if (renamed.includes('reference')) fillFrom4(database)
  fillFrom7(database)
  database.exec(`PRAGMA user_version=${schemaVersion}; COMMIT`)
}

/**
 * Opens the one connection that writes and creates the tables if they are missing.
 *
 * synchronous=FULL makes each commit durable before it is answered; secure_delete overwrites what is deleted. Each put
 * changes a page of an index at a random place: pages are small, since each is logged and written back whole. A file
 * keeps the size with which it was made.
 *
 * @throws {StorageError} `ERR_STORE_FAILED` if a newer version wrote the file.
 */
export function openWriter(path: string, key: Uint8Array): DatabaseSync {
  const database = new DatabaseSync(path)
  database.exec(`PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON; PRAGMA temp_store=MEMORY;
    PRAGMA busy_timeout=5000; PRAGMA wal_autocheckpoint=8000; PRAGMA cache_size=-8192`)
  const version = database.prepare('PRAGMA user_version').get()?.user_version as number
  if (version > schemaVersion) {
    database.close()
    // An older program would take places for blocks that are damaged, and cut off what only a journal knows of.
    throw new StorageError(`the tables are of version ${version}`, { code: 'ERR_STORE_FAILED' })
  }
  if (version > 0 && version < schemaVersion) migrate(database, version, key)
  database.exec(tables)
  // Of version 8, too: what earlier programs of it do not know they leave empty.
  addColumns(database)
  database.exec(indexes)
  // Tables that are as they should be are opened on a full disk too.
  if (version !== schemaVersion) database.exec(`PRAGMA user_version=${schemaVersion}`)
  return database
}

/** Number of the block with the digest `?1` in references, whether it is here or gone. */
export const numberOfBlock =
  'ifnull((SELECT id FROM block WHERE digest = ?1), (SELECT block FROM gone WHERE digest = ?1))'

/** Asks whether bytes of the block with the digest `?1` are still to be removed, from here or from where they are kept. */
export const leftBytes = `SELECT ${['block', 'quarantine', 'removal']
  .map((table) => `EXISTS (SELECT 1 FROM ${table} WHERE digest = ?1)`)
  .join(' OR ')} AS isLeft`

/** Asks for the account that has kept a block for longest. @param number - the block's number, as an expression. */
export function longestReferenceOf(number: string): string {
  return `SELECT a.account FROM reference r JOIN account a ON a.id = r.account WHERE r.block = ${number} ORDER BY r.at, a.account LIMIT 1`
}

/** Opens the connection that reads. It sees each commit as soon as the writer has answered it. */
export function openReader(path: string): DatabaseSync {
  const database = new DatabaseSync(path)
  database.exec('PRAGMA busy_timeout=5000; PRAGMA query_only=1; PRAGMA cache_size=-2048')
  return database
}
