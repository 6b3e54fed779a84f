import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { expect, test } from 'vitest'
import { TestLedger } from '../../../../test/support/ledger.ts'
import { openNodeDatabase } from '../store/node-db.ts'
import { Grants, grantsMax } from './grants.ts'

test('of one patient’s grants 64 count, those before their end first, and none of them costs another patient hers', () => {
  const dir = mkdtempSync(join(tmpdir(), 'hb-grants-'))
  const database = openNodeDatabase(join(dir, 'node.db'))
  const world = new TestLedger(1_800_000_000_000)
  const grants = new Grants({ database, ledger: world.ledger, nowMs: () => world.nowMs })
  const [many, one] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]
  const streams = encodeCbor([new Uint8Array(8)])
  const add = (patient: Uint8Array, opened: number, end: { until?: number; closed?: number }): void => {
    const gid = new Uint8Array(16)
    new DataView(gid.buffer).setUint32(0, opened)
    database.run(
      `INSERT INTO grants (patient, gid, streams, starts, until, rights, opened, openedms, closed, closedms)
       VALUES (?, ?, ?, 0, ?, 3, ?, 1, ?, ?)`,
      ...[patient, gid, streams, end.until ?? Number.MAX_SAFE_INTEGER, opened, end.closed ?? null, end.closed ?? null],
    )
  }
  add(many, 1, {})
  add(one, 2, { closed: 3 })
  for (let opened = 10; opened < 110; opened++) {
    add(many, opened, { closed: 200 })
    add(many, opened + 1_000, { until: world.nowMs - 1 })
  }
  const openedOf = (list: readonly { gid: Uint8Array }[]): number[] =>
    list.map(({ gid }) => new DataView(gid.buffer, gid.byteOffset).getUint32(0))
  const newest = Array.from({ length: grantsMax - 1 }, (_, i) => 1_110 - (grantsMax - 1) + i)
  expect(openedOf(grants.all(many))).toEqual([1, ...newest])
  expect(openedOf(grants.open(many))).toEqual([1, ...newest])
  expect(openedOf(grants.all(one))).toEqual([2])
  expect(openedOf(grants.all())).toEqual([1, 2, ...newest])
  database.close()
  rmSync(dir, { recursive: true })
})
