/** Tables as earlier versions had them. */

/** Makes the references of a file those of version 4: each with digest and account in full. */
export const references4 = `
CREATE TABLE reference_4 (
  digest BLOB NOT NULL, account BLOB NOT NULL, size INTEGER NOT NULL, at INTEGER NOT NULL, pin INTEGER NOT NULL, codec INTEGER NOT NULL,
  PRIMARY KEY (digest, account)
) STRICT, WITHOUT ROWID;
INSERT INTO reference_4 SELECT ifnull(b.digest, g.digest), a.account, r.size, r.at, r.pin, r.codec FROM reference r
  LEFT JOIN block b ON b.id = r.block LEFT JOIN gone g ON g.block = r.block JOIN account a ON a.id = r.account;
CREATE TABLE account_4 (account BLOB PRIMARY KEY, bytes INTEGER NOT NULL, blocks INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO account_4 SELECT account, bytes, blocks FROM account;
DROP TABLE reference; DROP TABLE account; DROP TABLE gone;
ALTER TABLE reference_4 RENAME TO reference; ALTER TABLE account_4 RENAME TO account;
CREATE INDEX reference_pin ON reference (account, digest) WHERE pin > 0;
`
