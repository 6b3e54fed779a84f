import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isRuntimeError } from '../errors.ts'
import { openDatabase } from './sqlite.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-sqlite-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const first = 'CREATE TABLE item (id INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT'

describe('openDatabase', () => {
  it('migrates step by step and keeps what is there', () => {
    const path = join(dir, 'a.db')
    const old = openDatabase({ path, synchronous: 'full', migrations: [first] })
    old.run('INSERT INTO item VALUES (1, ?)', Uint8Array.of(7))
    old.close()
    const second = (database: { exec(sql: string): void }): void =>
      database.exec('ALTER TABLE item ADD COLUMN extra INTEGER')
    const next = openDatabase({ path, synchronous: 'normal', migrations: [first, second] })
    expect(next.all('SELECT * FROM item')).toEqual([{ id: 1, value: Uint8Array.of(7), extra: null }])
    expect(next.get('PRAGMA journal_mode')).toEqual({ journal_mode: 'wal' })
    expect(next.get('PRAGMA synchronous')).toEqual({ synchronous: 1 })
    expect(next.get('PRAGMA secure_delete')).toEqual({ secure_delete: 1 })
    next.close()
    next.close()
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(() => openDatabase({ path, synchronous: 'full', migrations: [first] })).toThrow('newer release')
  })

  it('leaves the old version when a step fails', () => {
    const path = join(dir, 'a.db')
    openDatabase({ path, synchronous: 'full', migrations: [first] }).close()
    const bad = 'CREATE TABLE other (id INTEGER) STRICT; NONSENSE'
    expect(() => openDatabase({ path, synchronous: 'full', migrations: [first, bad] })).toThrow()
    const again = openDatabase({ path, synchronous: 'full', migrations: [first] })
    expect(again.all("SELECT name FROM sqlite_schema WHERE type = 'table'")).toEqual([{ name: 'item' }])
    again.close()
  })

  it('may be called by several at one time: each step is done once', async () => {
    const path = join(dir, 'shared.db')
    const start = new Int32Array(new SharedArrayBuffer(4))
    const code = `
      import { parentPort, workerData } from 'node:worker_threads'
      import { openDatabase } from ${JSON.stringify(new URL('./sqlite.ts', import.meta.url).href)}
      const { path, start } = workerData
      parentPort.postMessage('ready')
      Atomics.wait(start, 0, 0)
      const database = openDatabase({ path, synchronous: 'full', migrations: ['CREATE TABLE t (a)', 'INSERT INTO t VALUES (1)'] })
      parentPort.postMessage(database.get('SELECT count(*) AS count FROM t').count)
      database.close()`
    const url = new URL(`data:text/javascript,${encodeURIComponent(code)}`)
    const workers = Array.from({ length: 6 }, () => new Worker(url, { workerData: { path, start } }))
    const next = (worker: Worker): Promise<unknown> =>
      new Promise((resolve, reject) => {
        worker.once('message', resolve)
        worker.once('error', reject)
      })
    await Promise.all(workers.map(next))
    const counts = Promise.all(workers.map(next))
    Atomics.store(start, 0, 1)
    Atomics.notify(start, 0)
    expect(await counts).toEqual([1, 1, 1, 1, 1, 1])
  })

  it('says that a file is damaged', () => {
    const path = join(dir, 'a.db')
    writeFileSync(path, 'this is no database, and it is long enough to be looked at as one'.repeat(20))
    try {
      openDatabase({ path, synchronous: 'full', migrations: [] })
      expect.unreachable()
    } catch (error) {
      expect(isRuntimeError(error, 'ERR_DATABASE_CORRUPT')).toBe(true)
    }
  })
})

it('looks through a file whose loss nothing makes good, and finds a damaged page before anybody reads it', () => {
  const path = join(dir, 'a.db')
  const options = { path, synchronous: 'full', migrations: [first], isLookedThrough: true } as const
  const database = openDatabase(options)
  for (let id = 1; id <= 200; id++) database.run('INSERT INTO item VALUES (?, ?)', id, new Uint8Array(500).fill(id))
  database.close()
  openDatabase(options).close()
  const bytes = readFileSync(path)
  bytes.fill(0xa5, 40_960, 45_056)
  writeFileSync(path, bytes)
  openDatabase({ ...options, isLookedThrough: false }).close()
  expect(() => openDatabase(options)).toThrow(
    expect.objectContaining({
      message: expect.stringContaining('restore it'),
      detail: { code: 'ERR_DATABASE_CORRUPT', path },
    }),
  )
})

describe('transaction', () => {
  it('does all or nothing, also nested', () => {
    const database = openDatabase({ path: join(dir, 'a.db'), synchronous: 'normal', migrations: [first] })
    const insert = (id: number): number => database.run("INSERT INTO item VALUES (?, x'00')", id)
    expect(() =>
      database.transaction(() => {
        insert(1)
        database.transaction(() => insert(2))
        throw new Error('no')
      }),
    ).toThrow('no')
    expect(database.get('SELECT count(*) AS n FROM item')).toEqual({ n: 0 })
    expect(database.transaction(() => insert(1) + insert(2))).toBe(2)
    expect(() => database.transaction(async () => insert(3))).toThrow('cannot wait')
    expect(() => insert(1)).toThrow('UNIQUE')
    expect(database.get('SELECT count(*) AS n FROM item')).toEqual({ n: 2 })
    database.close()
  })
})
