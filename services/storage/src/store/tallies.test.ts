import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openWriter } from './schema.ts'
import { Tallies } from './tallies.ts'

const [alice, bob] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]
let folder: string
let database: DatabaseSync

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'storage-tallies-'))
  database = openWriter(join(folder, 'blocks.db'), new Uint8Array(32))
})
afterEach(() => {
  database.close()
  rmSync(folder, { recursive: true })
})

/** What the tables say, for whoever opens them. */
function written(): unknown[] {
  const other = new Tallies(database)
  return [other.total, other.of(alice), other.of(bob)].map(({ bytes, blocks }) => [bytes, blocks])
}

test('what is counted is written once, and what is undone or not committed is not', () => {
  const tallies = new Tallies(database)
  tallies.mark()
  tallies.addBlock(10, 1)
  tallies.addReference(alice, 10, 1)
  expect(tallies.total).toMatchObject({ bytes: 10, blocks: 1 })
  expect(written()).toEqual([
    [0, 0],
    [0, 0],
    [0, 0],
  ])
  database.exec('BEGIN; SAVEPOINT one')
  tallies.mark()
  tallies.addReference(alice, 5, 1)
  tallies.addReference(bob, 7, 1)
  tallies.addBlock(-10, -1)
  database.exec('ROLLBACK TO one')
  tallies.rollBack()
  tallies.write()
  database.exec('COMMIT')
  expect(written()).toEqual([
    [10, 1],
    [10, 1],
    [0, 0],
  ])
  database.exec('BEGIN')
  tallies.addReference(bob, 7, 1)
  database.exec('ROLLBACK')
  tallies.forget()
  expect(tallies.of(bob)).toMatchObject({ bytes: 0, blocks: 0 })
  tallies.addReference(alice, -10, -1)
  tallies.write()
  expect(written()).toEqual([
    [10, 1],
    [0, 0],
    [0, 0],
  ])
})
