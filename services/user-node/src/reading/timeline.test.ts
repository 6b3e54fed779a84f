/** The timeline of a device that falls silent: what many empty records say is one line, on every page. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Database } from '@healthblock/runtime/sqlite'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { TestHome } from '../../../../test/support/home.ts'
import { TestLedger } from '../../../../test/support/ledger.ts'
import { parseTimelineCursor, readTimeline, type TimelineEntry, type TimelinePage } from './timeline.ts'

let dir: string
let world: TestLedger
let home: TestHome

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'timeline-'))
  world = new TestLedger(1_800_000_000_000, 3_600_000)
  home = new TestHome(world, dir)
  const vault = await home.enrol()
  vault.close()
})
beforeEach(() => home.database.run('DELETE FROM batch'))
afterAll(() => {
  home.database.close()
  rmSync(dir, { recursive: true })
})

/** The device of a stream is silent for so many periods of a second. */
function silence(kind: 'ecg' | 'vitals', count: number): void {
  for (let at = 0; at < count; at++) {
    world.nowMs += 1_000
    home.sealer.sealEmpty(home.person(), home.stream(kind), { firstSizeBytes: 1024 })
  }
}

function page(limit: number, after?: string): TimelinePage {
  const place = after === undefined ? undefined : parseTimelineCursor(after)
  return readTimeline(home.database, home.person(), { after: place, limit, kinds: ['reading'] })
}

function leaf(limit: number): TimelineEntry[] {
  let { entries, next } = page(limit)
  while (next !== null) {
    const more = page(limit, next)
    entries = [...entries, ...more.entries]
    next = more.next
  }
  return [...entries]
}

const told = (entries: readonly TimelineEntry[]): unknown[] =>
  entries.map(({ what, stream, from, at }) => [what, stream, (Date.parse(at) - Date.parse(from ?? at)) / 1000])

test('a silence is one entry from its beginning to its end, and so is each of several', () => {
  home.seal()
  silence('ecg', 40)
  home.seal()
  silence('ecg', 3)
  expect(told(page(100).entries)).toEqual([
    ['empty', 'ecg', 3],
    ['ecg', 'ecg', 1],
    ['empty', 'ecg', 40],
    ['ecg', 'ecg', 1],
  ])
})

test('pages of any size tell the same, though another device speaks in the middle of the silence', () => {
  for (let at = 0; at < 6; at++) {
    silence('vitals', 7)
    home.seal()
  }
  silence('vitals', 2)
  const whole = page(100).entries
  expect(told(whole)).toEqual([['empty', 'vitals', 50], ...Array.from({ length: 6 }, () => ['ecg', 'ecg', 1])])
  for (const limit of [1, 2, 3, 6, 7, 8]) expect(leaf(limit), `pages of ${limit}`).toEqual(whole)
})

test('a silence that goes on while somebody leafs is not told a second time', () => {
  home.seal()
  silence('ecg', 5)
  home.seal()
  silence('ecg', 5)
  const first = page(1)
  silence('ecg', 5)
  const rest = page(10, first.next as string)
  expect(told([...first.entries, ...rest.entries])).toEqual([
    ['empty', 'ecg', 5],
    ['ecg', 'ecg', 1],
    ['empty', 'ecg', 5],
    ['ecg', 'ecg', 1],
  ])
})

test('a silence is not read through, however long it is, and is on record as far as it is', () => {
  home.seal()
  silence('ecg', 300)
  home.database.run("UPDATE batch SET state = 'committed', tx = ?", new Uint8Array(32).fill(7))
  silence('ecg', 20)
  let rows = 0
  const all: Database['all'] = (sql, ...values) => {
    const found = home.database.all(sql, ...values)
    rows += found.length
    return found
  }
  const get: Database['get'] = (sql, ...values) => home.database.get(sql, ...values)
  const counting = { all, get } as Database
  const { entries } = readTimeline(counting, home.person(), { after: undefined, limit: 3, kinds: ['reading'] })
  expect(told(entries)).toEqual([
    ['empty', 'ecg', 320],
    ['ecg', 'ecg', 1],
  ])
  expect(entries[0]).toMatchObject({ state: 'recorded', transactionId: '07'.repeat(32) })
  expect(rows).toBeLessThan(30)
})

test('a silence is on record as far as it is, while its newest record is on its way', () => {
  silence('ecg', 3)
  home.database.run("UPDATE batch SET state = 'committed', tx = ?", new Uint8Array(32).fill(7))
  silence('ecg', 2)
  expect(page(10).entries).toMatchObject([{ state: 'recorded', transactionId: '07'.repeat(32) }])
})
