import { createHash } from 'node:crypto'
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { encodeFetchCursor, type FetchCursor, type FetchEntry, FetchLog, parseFetchCursor } from './fetch-log.ts'

const hourMs = 3_600_000
const at = 500_000 * hourMs
const keptMs = 48 * hourMs
const [alice, bob, doctor] = [1, 2, 3].map((byte) => new Uint8Array(32).fill(byte)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
]
let folder: string
let log: FetchLog

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fetch-log-'))
  log = new FetchLog(folder, { keptMs })
})
afterEach(() => {
  log.close()
  rmSync(folder, { recursive: true, force: true })
})

function add(owner: Uint8Array | undefined, cid: string, ms = at): void {
  log.add({ at: ms, account: doctor, cid, owner })
}

/** Everything from a cursor on, page by page. */
async function readAll(owner: Uint8Array, limit = 3): Promise<{ cids: string[]; pages: number }> {
  const cids: string[] = []
  let after: FetchCursor | undefined
  for (let pages = 1; ; pages++) {
    const page = await log.read(owner, { after, limit })
    expect(page.fetches.length).toBeLessThanOrEqual(limit)
    cids.push(...page.fetches.map(({ cid }) => cid))
    if (page.isEnd) return { cids, pages }
    after = parseFetchCursor(encodeFetchCursor(page.next))
  }
}

describe('FetchLog', () => {
  test('gives each owner its own lines in order, once each, over files and pages, and what comes later', async () => {
    const mine: string[] = []
    for (let index = 0; index < 20; index++) {
      const ms = at + Math.floor(index / 7) * hourMs
      add(alice, `a${index}`, ms)
      mine.push(`a${index}`)
      add(bob, `b${index}`, ms)
      add(undefined, `none${index}`, ms)
    }
    expect((await readAll(alice)).cids).toEqual(mine)
    expect((await readAll(bob, 1)).cids).toHaveLength(20)
    // The one who fetched owns nothing of it.
    expect(await log.read(doctor, { limit: 10 })).toMatchObject({ fetches: [], isEnd: true })
    const { next } = await log.read(alice, { limit: 100 })
    add(alice, 'later', at + 2 * hourMs)
    const page = await log.read(alice, { after: next, limit: 100 })
    expect(page.fetches).toEqual([{ at: at + 2 * hourMs, account: doctor, cid: 'later' } satisfies FetchEntry])
    const since = await log.read(alice, { after: { hour: 500_002, offset: 0 }, limit: 100 })
    expect(since.fetches.map(({ cid }) => cid)).toEqual([...mine.slice(14), 'later'])
  })

  test('one answer looks through a bounded part, and says so', async () => {
    const line = `${at} ${'33'.repeat(32)} ${'c'.repeat(100)} -\n`
    appendFileSync(join(folder, '500000.log'), line.repeat(Math.ceil((9 * 1024 * 1024) / line.length)))
    add(alice, 'last')
    const first = await log.read(alice, { limit: 10 })
    expect(first).toMatchObject({ fetches: [], isEnd: false })
    const { cids, pages } = await readAll(alice)
    expect([cids, pages]).toEqual([['last'], 3])
  })

  test('a clock that is set back writes into the newest file, also after a start', async () => {
    add(alice, 'new', at)
    const { next } = await log.read(alice, { limit: 10 })
    add(alice, 'back', at - 5 * hourMs)
    log.close()
    log = new FetchLog(folder, { keptMs })
    add(alice, 'restarted', at - 5 * hourMs)
    expect(readdirSync(folder)).toEqual(['500000.log'])
    const { fetches } = await log.read(alice, { after: next, limit: 10 })
    expect(fetches.map(({ cid }) => cid)).toEqual(['back', 'restarted'])
  })

  test('a line that was cut off hides none that follow', async () => {
    add(alice, 'one')
    log.close()
    appendFileSync(join(folder, '500000.log'), `${at} 0303`)
    log = new FetchLog(folder, { keptMs })
    add(alice, 'two')
    expect((await readAll(alice)).cids).toEqual(['one', 'two'])
    expect(readFileSync(join(folder, '500000.log'), 'utf8').split('\n')).toHaveLength(4)
  })

  test('a cursor that nobody gave shows nothing of others', async () => {
    add(bob, 'b1')
    add(alice, 'a1')
    add(bob, 'b2')
    const size = readFileSync(join(folder, '500000.log')).length
    for (let offset = 0; offset <= size + 5; offset++) {
      const { fetches } = await log.read(alice, { after: { hour: 500_000, offset }, limit: 10 })
      expect(fetches.filter(({ cid, account }) => cid !== 'a1' || account[0] !== 3)).toEqual([])
    }
    for (const text of ['', '1', '1.', '.1', '-1.0', '1.0x', '9999999999.0']) {
      expect(() => parseFetchCursor(text)).toThrow(/after/)
    }
  })

  test('many readers at once each get all of theirs', async () => {
    for (let index = 0; index < 50; index++) add(index % 2 === 0 ? alice : bob, `c${index}`)
    const all = await Promise.all([alice, bob, alice, bob].map((owner) => readAll(owner, 7)))
    expect(all.map(({ cids }) => cids.length)).toEqual([25, 25, 25, 25])
  })
})

describe('after its time', () => {
  const pathOf = (hour: number): string => join(folder, `${hour}.log`)

  test('a file goes, its hash stays, and the log says from when on it is whole', async () => {
    for (let hour = 0; hour < 5; hour++) add(alice, `cid${hour}`, at + hour * hourMs)
    const hashes = [0, 1].map((hour) => {
      const bytes = readFileSync(pathOf(500_000 + hour))
      return `${500_000 + hour} ${bytes.length} ${createHash('sha256').update(bytes).digest('hex')}\n`
    })
    expect([await log.thin(at + keptMs), log.since]).toEqual([0, undefined])
    expect(await log.thin(at + keptMs + 2 * hourMs + 1)).toBe(2)
    expect(log.since).toBe(at + 2 * hourMs)
    expect((await readAll(alice)).cids).toEqual(['cid2', 'cid3', 'cid4'])
    const after = { hour: 500_001, offset: 10 }
    expect((await log.read(alice, { after, limit: 1 })).fetches.map(({ cid }) => cid)).toEqual(['cid2'])
    expect(readFileSync(join(folder, 'removed.log'), 'latin1')).toBe(hashes.join(''))
    log.close()
    log = new FetchLog(folder, { keptMs })
    expect(log.since).toBe(at + 2 * hourMs)
    add(alice, 'cid5', at + 4 * hourMs)
    expect((await readAll(alice)).cids.at(-1)).toBe('cid5')
  })

  test('a clock that is wrong by years removes little at once, and never the file that is written to', async () => {
    for (let hour = 0; hour < 40; hour++) add(alice, `cid${hour}`, at + hour * hourMs)
    const wrong = at + 10 * 365 * 24 * hourMs
    expect([await log.thin(wrong), await log.thin(wrong), await log.thin(wrong)]).toEqual([30, 9, 0])
    add(alice, 'last', at + 39 * hourMs)
    expect((await readAll(alice)).cids).toEqual(['cid39', 'last'])
  })
})
