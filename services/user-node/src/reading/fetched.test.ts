import { openDatabase } from '@healthblock/runtime/sqlite'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { markFetched } from './fetched.ts'

const schema = `CREATE TABLE fetched (
  account BLOB NOT NULL, reader BLOB NOT NULL, stream BLOB NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY (account, reader, stream, first)
) STRICT, WITHOUT ROWID;`
const whose = { account: new Uint8Array(32), reader: new Uint8Array(32).fill(1), stream: new Uint8Array(8) }

test('whatever order records are fetched in, the ranges hold exactly them, and none touches the next', () => {
  const sequences = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 60 })
  fc.assert(
    fc.property(sequences, (fetched) => {
      const database = openDatabase({ path: ':memory:', synchronous: 'normal', migrations: [schema] })
      for (const sequence of fetched) markFetched(database, { ...whose, sequence })
      const ranges = database
        .all('SELECT first, last FROM fetched ORDER BY first')
        .map(({ first, last }) => [Number(first), Number(last)] as const)
      database.close()
      const held = ranges.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first + i))
      expect(held).toEqual([...new Set(fetched)].sort((a, b) => a - b))
      for (const [i, [first]] of ranges.entries()) expect(first).toBeGreaterThan((ranges[i - 1]?.[1] ?? -1) + 1)
    }),
    { numRuns: 60 },
  )
})
