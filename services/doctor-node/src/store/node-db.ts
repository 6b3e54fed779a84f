/**
 * `node.db`: what the node knows, without a key or a reading in the clear: one SQLite file, full sync. Envelopes, blocks
 * and diagnoses lie in it as they lie on the ledger and in the private IPFS, sealed; the keys file opens them.
 */
import { isRuntimeError, RuntimeError } from '@healthblock/runtime/errors'
import { type Database, openDatabase } from '@healthblock/runtime/sqlite'

const schema = `
CREATE TABLE grants (
  patient BLOB NOT NULL, gid BLOB NOT NULL, streams BLOB NOT NULL, starts INTEGER NOT NULL, until INTEGER NOT NULL,
  rights INTEGER NOT NULL, opened INTEGER NOT NULL, openedms INTEGER NOT NULL, closed INTEGER, closedms INTEGER,
  PRIMARY KEY (patient, gid)
) STRICT, WITHOUT ROWID;
CREATE TABLE envelope (
  patient BLOB NOT NULL, gid BLOB NOT NULL, generation INTEGER NOT NULL, bytes BLOB NOT NULL, position INTEGER NOT NULL,
  PRIMARY KEY (patient, gid, generation)
) STRICT, WITHOUT ROWID;
CREATE TABLE record (
  patient BLOB NOT NULL, stream BLOB NOT NULL, sequence INTEGER NOT NULL, generation INTEGER NOT NULL,
  epoch INTEGER NOT NULL, kind INTEGER NOT NULL, size INTEGER NOT NULL, cid BLOB NOT NULL, tx BLOB NOT NULL,
  position INTEGER NOT NULL, ms INTEGER NOT NULL, state TEXT NOT NULL, due INTEGER NOT NULL DEFAULT 0,
  failed INTEGER, code INTEGER, streamkind INTEGER, start INTEGER, until INTEGER, block BLOB, diagnosis BLOB, reported BLOB,
  PRIMARY KEY (patient, stream, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX record_waiting ON record (patient, stream, sequence) WHERE state = 'waiting';
CREATE INDEX record_open ON record (patient, stream, sequence) WHERE state = 'open' AND diagnosis IS NULL;
CREATE INDEX record_unreadable ON record (patient) WHERE state = 'unreadable' AND reported IS NULL;
CREATE INDEX record_diagnosis ON record (diagnosis) WHERE diagnosis IS NOT NULL;
CREATE INDEX record_position ON record (patient, position);
CREATE TABLE posting (
  tx BLOB PRIMARY KEY, what TEXT NOT NULL, patient BLOB NOT NULL, gid BLOB NOT NULL, generation INTEGER NOT NULL,
  epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, at INTEGER NOT NULL, byhand INTEGER NOT NULL, algorithm BLOB NOT NULL,
  inputs BLOB NOT NULL, amends BLOB, act INTEGER, block BLOB, cid BLOB, leaf BLOB NOT NULL, state TEXT NOT NULL,
  status TEXT NOT NULL, finalms INTEGER, rule TEXT, refusal BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX posting_open ON posting (patient, at) WHERE state IN ('sealed', 'stored', 'posted');
CREATE INDEX posting_patient ON posting (patient, sequence);
CREATE INDEX posting_amends ON posting (amends) WHERE amends IS NOT NULL;
CREATE TABLE alarm (
  id INTEGER PRIMARY KEY, patient BLOB NOT NULL, code TEXT NOT NULL, about TEXT NOT NULL, severity TEXT NOT NULL,
  started INTEGER NOT NULL, told INTEGER NOT NULL, ended INTEGER, acknowledged INTEGER, UNIQUE (patient, code, about)
) STRICT;
CREATE TABLE quarantine (
  id INTEGER PRIMARY KEY, what TEXT NOT NULL, reference TEXT NOT NULL, reason TEXT NOT NULL, ms INTEGER NOT NULL,
  UNIQUE (what, reference)
) STRICT;
CREATE TABLE cursor (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
`

/** What the doctor's portal needs: an alarm's state, names for patients, records by time. */
const portalSchema = `
ALTER TABLE alarm ADD COLUMN acknowledgedby TEXT;
ALTER TABLE alarm ADD COLUMN escalated INTEGER;
ALTER TABLE alarm ADD COLUMN escalatedby TEXT;
ALTER TABLE alarm ADD COLUMN snoozed INTEGER;
ALTER TABLE alarm ADD COLUMN snoozedby TEXT;
CREATE TABLE petname (patient BLOB PRIMARY KEY, name TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX record_time ON record (patient, stream, start) WHERE state = 'open' AND kind = 0;
`

/** The newest diagnoses of all patients, and of one, without reading the others. */
const pagesSchema = `
CREATE INDEX posting_said ON posting (at, tx) WHERE what = 'diagnosis';
CREATE INDEX posting_saidof ON posting (patient, at, tx) WHERE what = 'diagnosis';
`

/** Own entries that were taken from the ledger and whose blocks are to be fetched. */
const recordedSchema = `
CREATE INDEX posting_blockless ON posting (patient, sequence) WHERE block IS NULL AND cid IS NOT NULL;
`

/** What did not open, by whose it is: the account that a reference begins with. */
const quarantineSchema = `
CREATE INDEX quarantine_owner ON quarantine (substr(reference, 1, 64), id);
`

const advice = `, or move it away: the node makes it anew from the ledgers, but for petnames and for what was done about alarms`

/**
 * Opens `node.db`, making it if absent, and looks through the whole of it.
 *
 * @throws {RuntimeError} as `openDatabase`; `ERR_DATABASE_CORRUPT` says that it can be made anew.
 */
export function openNodeDatabase(path: string): Database {
  const migrations = [schema, portalSchema, pagesSchema, recordedSchema, quarantineSchema]
  try {
    return openDatabase({ path, synchronous: 'full', migrations, isLookedThrough: true })
  } catch (error) {
    if (!isRuntimeError(error, 'ERR_DATABASE_CORRUPT')) throw error
    throw new RuntimeError(`${error.message}${advice}`, { code: 'ERR_DATABASE_CORRUPT', path }, { cause: error })
  }
}
