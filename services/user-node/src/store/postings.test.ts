import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { sha256 } from '@healthblock/crypto/hash'
import { encodeUtf8, toHex } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openNodeDatabase } from './node-db.ts'
import { Postings } from './postings.ts'

let dir: string
let database: Database
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-postings-'))
  database = openNodeDatabase(join(dir, 'node.db'))
})
afterEach(() => {
  database.close()
  rmSync(dir, { recursive: true })
})

const account = new Uint8Array(32).fill(1)
const idOf = (i: number): Uint8Array => sha256(encodeUtf8(String(i)))
const hexOf = (count: number): string[] => Array.from({ length: count }, (_, i) => toHex(idOf(i)))
const names = (of: readonly { tx: Uint8Array }[]): string[] => of.map(({ tx }) => toHex(tx))

/** Consent in the order of its counters. `msOf`: what the clock says of each. */
function addKeys(postings: Postings, count: number, msOf: (i: number) => number): void {
  for (let i = 0; i < count; i++)
    postings.add({ tx: idOf(i), account, what: 'key', leaf: new Uint8Array(1), requires: undefined }, msOf(i))
}

test.each([
  ['in one millisecond', (): number => 5],
  ['while the clock is set back', (i: number): number => (i < 8 ? 9_000_000 + i : i)],
] as const)('what is posted %s is handed over in the order in which it was signed', (_when, msOf) => {
  const postings = new Postings(database)
  addKeys(postings, 16, msOf)
  expect(names(postings.unhanded())).toEqual(hexOf(16))
  expect(names(postings.of(account))).toEqual(hexOf(16))
})

test('of more than a thousand the newest are given', () => {
  const postings = new Postings(database)
  database.transaction(() => addKeys(postings, 1_003, (i) => i))
  expect(names(postings.of(account))).toEqual(hexOf(1_003).slice(3))
})

test('a file from before postings had numbers keeps what is on its way, and its order', () => {
  database.close()
  const old = new DatabaseSync(join(dir, 'node.db'))
  old.exec(`ALTER TABLE grants DROP COLUMN told;
    DROP TABLE posting;
    CREATE TABLE posting (
      tx BLOB PRIMARY KEY, account BLOB NOT NULL, what TEXT NOT NULL, leaf BLOB NOT NULL, requires BLOB, handed INTEGER NOT NULL,
      state TEXT NOT NULL, ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX posting_unhanded ON posting (handed) WHERE handed = 0;
    PRAGMA user_version = 15`)
  const insert = old.prepare("INSERT INTO posting VALUES (?, ?, ?, x'07', ?, ?, ?, ?)")
  insert.run(idOf(3), account, 'envelope', idOf(2), 0, 'pending', 7)
  insert.run(idOf(2), account, 'key', null, 0, 'pending', 7)
  insert.run(idOf(1), account, 'key', null, 0, 'pending', 6)
  insert.run(idOf(0), account, 'register', null, 1, 'committed', 5)
  old.close()
  database = openNodeDatabase(join(dir, 'node.db'))
  const postings = new Postings(database)
  expect(names(postings.of(account))).toEqual(hexOf(4))
  const waiting = postings.unhanded()
  expect(names(waiting)).toEqual(hexOf(4).slice(1))
  expect(waiting.at(-1)).toMatchObject({ what: 'envelope', requires: idOf(2), leaf: Uint8Array.of(7) })
  expect(postings.find(account, idOf(0))).toMatchObject({ state: 'committed' })
})
