/**
 * Everything of the node that is not a key in the clear: one SQLite file, full sync. What has to become true together
 * (a batch and its sequence number, a rotation and its hot store) is written in one transaction.
 */
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Database, openDatabase } from '@healthblock/runtime/sqlite'
import { UserNodeError } from '../errors.ts'

const schema = `
CREATE TABLE person (
  account BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, state TEXT NOT NULL, sponsor BLOB NOT NULL,
  register BLOB NOT NULL, rootsig BLOB NOT NULL, opsig BLOB NOT NULL,
  device BLOB NOT NULL, credential BLOB NOT NULL, counter INTEGER NOT NULL, hot BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE stream (
  account BLOB NOT NULL, stream BLOB NOT NULL, kind TEXT NOT NULL, sequence INTEGER NOT NULL, epoch INTEGER NOT NULL,
  class INTEGER NOT NULL, classgen INTEGER NOT NULL,
  PRIMARY KEY (account, stream)
) STRICT, WITHOUT ROWID;
CREATE TABLE sample (
  id INTEGER PRIMARY KEY, account BLOB NOT NULL, stream BLOB NOT NULL, start INTEGER NOT NULL, until INTEGER NOT NULL,
  arrived INTEGER NOT NULL, content BLOB NOT NULL, UNIQUE (account, stream, start)
) STRICT;
CREATE TABLE batch (
  account BLOB NOT NULL, stream BLOB NOT NULL, sequence INTEGER NOT NULL, generation INTEGER NOT NULL,
  epoch INTEGER NOT NULL, kind INTEGER NOT NULL, size INTEGER NOT NULL, cid BLOB NOT NULL, start INTEGER NOT NULL,
  until INTEGER NOT NULL, state TEXT NOT NULL, block BLOB, receipts BLOB, tx BLOB,
  PRIMARY KEY (account, stream, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX batch_state ON batch (state, account, stream, sequence) WHERE state <> 'committed';
CREATE INDEX batch_tx ON batch (tx) WHERE tx IS NOT NULL;
CREATE TABLE posting (
  tx BLOB PRIMARY KEY, account BLOB NOT NULL, what TEXT NOT NULL, leaf BLOB NOT NULL, requires BLOB, handed INTEGER NOT NULL,
  state TEXT NOT NULL, ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX posting_unhanded ON posting (handed) WHERE handed = 0;
CREATE TABLE consent (
  tx BLOB PRIMARY KEY, account BLOB NOT NULL, generation INTEGER NOT NULL, opens INTEGER NOT NULL,
  closes INTEGER NOT NULL, body BLOB NOT NULL,
  state TEXT NOT NULL, changed INTEGER NOT NULL, recorded INTEGER, everywhere INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX consent_account ON consent (account, generation);
CREATE TABLE cut (
  account BLOB NOT NULL, stream BLOB NOT NULL, generation INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY (account, stream, generation)
) STRICT, WITHOUT ROWID;
CREATE TABLE grants (
  account BLOB NOT NULL, gid BLOB NOT NULL, doctor BLOB NOT NULL, streams TEXT NOT NULL, starts INTEGER NOT NULL,
  until INTEGER NOT NULL, rights INTEGER NOT NULL, purpose INTEGER NOT NULL, opened INTEGER NOT NULL, closed INTEGER,
  closegen INTEGER, tx BLOB NOT NULL, PRIMARY KEY (account, gid)
) STRICT, WITHOUT ROWID;
CREATE TABLE diagnosis (
  tx BLOB PRIMARY KEY, account BLOB NOT NULL, doctor BLOB NOT NULL, position INTEGER NOT NULL, at INTEGER NOT NULL,
  generation INTEGER NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, stream BLOB NOT NULL,
  algorithm BLOB NOT NULL, inputs BLOB NOT NULL, cid BLOB NOT NULL, kind INTEGER NOT NULL, amends BLOB, status TEXT NOT NULL,
  block BLOB, severity TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX diagnosis_account ON diagnosis (account, position);
CREATE TABLE alarm (
  id INTEGER PRIMARY KEY, account BLOB NOT NULL, ms INTEGER NOT NULL, code TEXT NOT NULL, severity TEXT NOT NULL,
  about BLOB, acknowledged INTEGER, UNIQUE (account, code, about)
) STRICT;
CREATE TABLE cursor (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
`

const devices = `
CREATE TABLE switched (
  account BLOB NOT NULL, stream BLOB NOT NULL, since INTEGER NOT NULL, every INTEGER NOT NULL, heard INTEGER NOT NULL,
  due INTEGER NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (account, stream)
) STRICT, WITHOUT ROWID;
ALTER TABLE alarm ADD COLUMN ended INTEGER;
`

const erasures = `
CREATE TABLE erasure (tx BLOB PRIMARY KEY, account BLOB NOT NULL, body BLOB NOT NULL, asked INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`

const files = `
CREATE TABLE file (
  account BLOB NOT NULL, stream BLOB NOT NULL, sequence INTEGER NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL,
  size INTEGER NOT NULL, header BLOB NOT NULL, taken INTEGER NOT NULL, chunk INTEGER NOT NULL, pending BLOB NOT NULL,
  tail BLOB NOT NULL, heard INTEGER NOT NULL, PRIMARY KEY (account, stream, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE leaf (
  account BLOB NOT NULL, stream BLOB NOT NULL, sequence INTEGER NOT NULL, number INTEGER NOT NULL, digest BLOB NOT NULL,
  size INTEGER NOT NULL, block BLOB, PRIMARY KEY (account, stream, sequence, number)
) STRICT;
CREATE INDEX leaf_waiting ON leaf (account, stream, sequence, number) WHERE block IS NOT NULL;
`

const portal = `
CREATE TABLE contact (
  owner BLOB NOT NULL, account BLOB NOT NULL, name TEXT NOT NULL, compared INTEGER, key BLOB, PRIMARY KEY (owner, account)
) STRICT, WITHOUT ROWID;
CREATE TABLE factor (account BLOB PRIMARY KEY, step INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE rehearsal (account BLOB PRIMARY KEY, ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX batch_time ON batch (account, stream, until);
CREATE INDEX alarm_time ON alarm (account, ms);
CREATE INDEX diagnosis_time ON diagnosis (account, at);
`

/** Pieces of one start may differ (two devices, one clock); what was accepted is remembered beyond its sealing. */
const accepted = `
CREATE TABLE waiting (
  id INTEGER PRIMARY KEY, account BLOB NOT NULL, stream BLOB NOT NULL, start INTEGER NOT NULL, until INTEGER NOT NULL,
  arrived INTEGER NOT NULL, content BLOB NOT NULL
) STRICT;
INSERT INTO waiting SELECT id, account, stream, start, until, arrived, content FROM sample;
DROP TABLE sample;
ALTER TABLE waiting RENAME TO sample;
CREATE INDEX sample_start ON sample (account, stream, start);
CREATE TABLE accepted (
  account BLOB NOT NULL, stream BLOB NOT NULL, start INTEGER NOT NULL, digest BLOB NOT NULL, arrived INTEGER NOT NULL,
  PRIMARY KEY (account, stream, start, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX accepted_arrived ON accepted (arrived);
`

const keys = `
CREATE TABLE securitykey (
  account BLOB NOT NULL, id BLOB NOT NULL, counter INTEGER NOT NULL, PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;
`

const looks = `
CREATE TABLE look (
  id INTEGER PRIMARY KEY, account BLOB NOT NULL, reader BLOB NOT NULL, kind TEXT NOT NULL, standing TEXT NOT NULL,
  hour INTEGER NOT NULL, count INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, start INTEGER, until INTEGER,
  UNIQUE (account, reader, hour, kind, standing)
) STRICT;
CREATE INDEX look_hour ON look (account, hour, id);
CREATE TABLE looker (
  account BLOB NOT NULL, reader BLOB NOT NULL, kind TEXT NOT NULL, standing TEXT NOT NULL, count INTEGER NOT NULL,
  last INTEGER NOT NULL, PRIMARY KEY (account, reader)
) STRICT, WITHOUT ROWID;
CREATE TABLE fetched (
  account BLOB NOT NULL, reader BLOB NOT NULL, stream BLOB NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY (account, reader, stream, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE lookcursor (
  account BLOB NOT NULL, store TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (account, store)
) STRICT, WITHOUT ROWID;
CREATE INDEX batch_cid ON batch (cid);
CREATE INDEX leaf_digest ON leaf (digest);
CREATE INDEX diagnosis_cid ON diagnosis (cid);
`

const amendments = `
CREATE INDEX diagnosis_amends ON diagnosis (amends, position) WHERE amends IS NOT NULL;
CREATE INDEX diagnosis_unjudged ON diagnosis (position) WHERE severity IS NULL;
`

const reclaims = `
CREATE TABLE reclaim (
  account BLOB NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (account, digest)
) STRICT, WITHOUT ROWID;
`

/** When the stores had done it for the first time. */
const reclaimsAgain = 'ALTER TABLE reclaim ADD COLUMN asked INTEGER;'

/** When what a finding's alarm is about began and was last found: further diagnoses of the same are no new alarm. */
const episodes = `
ALTER TABLE alarm ADD COLUMN started INTEGER;
ALTER TABLE alarm ADD COLUMN until INTEGER;
CREATE INDEX alarm_episode ON alarm (account, code, until) WHERE until IS NOT NULL;
`

/** Op keys that root signed for and the ledger does not have yet: a hot store that holds nothing else. */
const rekeys = `
CREATE TABLE rekey (account BLOB PRIMARY KEY, tx BLOB NOT NULL, hot BLOB NOT NULL) STRICT, WITHOUT ROWID;
`

/** Up to which consent on the ledger it was looked for grants that this node does not know. */
const looked = `
ALTER TABLE person ADD COLUMN looked INTEGER NOT NULL DEFAULT 0;
`

/** What is no silence: where one begins is found without reading through it. */
const spoken = 'CREATE INDEX batch_spoken ON batch (account, stream, until, sequence) WHERE kind <> 1;'

/** Postings in the order in which they were signed, whatever the clock says: their counters are in that order. */
const numbered = `
CREATE TABLE numbered (
  number INTEGER PRIMARY KEY, tx BLOB NOT NULL UNIQUE, account BLOB NOT NULL, what TEXT NOT NULL, leaf BLOB NOT NULL,
  requires BLOB, handed INTEGER NOT NULL, state TEXT NOT NULL, ms INTEGER NOT NULL
) STRICT;
INSERT INTO numbered (tx, account, what, leaf, requires, handed, state, ms)
  SELECT tx, account, what, leaf, requires, handed, state, ms FROM posting ORDER BY ms, what DESC;
DROP TABLE posting;
ALTER TABLE numbered RENAME TO posting;
CREATE INDEX posting_unhanded ON posting (handed) WHERE handed = 0;
`

/** The generation whose `key` ends a grant on the ledger, where that is a later one than the first whose keys the grant does not get (`closegen`). */
const told = 'ALTER TABLE grants ADD COLUMN told INTEGER;'

/**
 * Opens `node.db`, making it if absent, and looks through the whole of it: nothing else holds what is in it.
 *
 * @throws {UserNodeError} `ERR_NODE_DB_MISSING` if it is absent although people live here: an empty one would take their place.
 */
export function openNodeDatabase(path: string): Database {
  const people = join(dirname(path), 'people')
  if (!existsSync(path) && existsSync(people) && readdirSync(people).length > 0) {
    const message = `${path} is missing, and ${people} holds vaults: restore it from a backup of this folder`
    throw new UserNodeError(message, { code: 'ERR_NODE_DB_MISSING' })
  }
  return openDatabase({
    path,
    synchronous: 'full',
    migrations: [
      ...[schema, devices, erasures, files, portal, accepted, keys, looks, amendments, reclaims, episodes],
      ...[reclaimsAgain, rekeys, looked, spoken, numbered, told],
    ],
    isLookedThrough: true,
  })
}
