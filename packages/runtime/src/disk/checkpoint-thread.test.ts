import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stateLeaf } from '@healthblock/chain/state-tree'
import { compareBytes } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { BatchedChainStore } from '../state/batched-store.ts'
import { openChainStore } from '../state/ledger-stores.ts'
import { CheckpointThread } from './checkpoint-thread.ts'
import { type Database, openDatabase } from './sqlite.ts'

const pageSizeBytes = 4096

let dir: string
let path: string
const closing: (() => unknown)[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-checkpoints-'))
  path = join(dir, 'some.db')
})
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
  rmSync(dir, { recursive: true, force: true })
})

/** One that moves nothing into the file by itself. */
function openSome(): Database {
  const migrations = ['CREATE TABLE piece (n INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT']
  const database = openDatabase({ path, synchronous: 'normal', migrations })
  database.get('PRAGMA wal_autocheckpoint = 0')
  return database
}

function write(database: Database, n: number): void {
  database.run('INSERT INTO piece (n, bytes) VALUES (?, ?)', n, new Uint8Array(20 * pageSizeBytes).fill(n))
}

function threadOf(options: ConstructorParameters<typeof CheckpointThread>[1] = {}): CheckpointThread {
  const thread = new CheckpointThread(path, options)
  closing.push(() => thread.close())
  return thread
}

describe('CheckpointThread', () => {
  it('moves into the file what another connection has written, which then begins its log anew', async () => {
    const database = openSome()
    closing.push(() => database.close())
    const thread = threadOf()
    for (let n = 0; n < 4; n++) {
      write(database, n)
      await thread.request()
      expect(database.get('PRAGMA wal_checkpoint(NOOP)')).toMatchObject({ busy: 0, checkpointed: database.walPages() })
    }
    expect(database.walPages()).toBeLessThan(2 * 20)
  })

  it('leaves the file to its owner when it is closed, whatever it was about to do', async () => {
    for (let round = 0; round < 6; round++) {
      const database = openSome()
      const thread = new CheckpointThread(path)
      write(database, 0)
      // In every third round it has yet to start, in the others it is at work.
      if (round % 3 > 0) await thread.request()
      for (let n = 1; n < 60; n++) write(database, n)
      void thread.request()
      for (let n = 60; n < 60 + 3 * round; n++) write(database, n)
      const ended = thread.close()
      database.close()
      // Whoever closes last moves the log and removes it.
      expect(existsSync(`${path}-wal`)).toBe(false)
      rmSync(path)
      const next = openSome()
      write(next, round)
      await ended
      expect(existsSync(`${path}-wal`)).toBe(true)
      expect(next.all('SELECT n FROM piece')).toEqual([{ n: round }])
      next.close()
      rmSync(path)
    }
  })

  it('is gone some time after its last checkpoint, and there again for the next', async () => {
    const database = openSome()
    closing.push(() => database.close())
    const thread = threadOf({ restMs: 1 })
    expect(thread.isRunning).toBe(false)
    for (let n = 0; n < 2; n++) {
      write(database, n)
      const made = thread.request()
      expect(thread.isRunning).toBe(true)
      await made
      await vi.waitFor(() => expect(thread.isRunning).toBe(false))
    }
    expect(database.get('PRAGMA wal_checkpoint(NOOP)')).toMatchObject({ checkpointed: database.walPages() })
  })

  it('goes on after a checkpoint that failed', async () => {
    const thread = threadOf()
    path = join(dir, 'none', 'some.db')
    const lost = threadOf()
    await lost.request()
    await lost.request()
    expect(lost.isRunning).toBe(true)
    await thread.request()
    expect(thread.isRunning).toBe(true)
  })

  it('makes nobody wait once its thread has ended by itself, and starts no other', async () => {
    const thread = threadOf({ script: new URL('data:text/javascript,throw new Error("no thread")') })
    await thread.request()
    expect(thread.isRunning).toBe(false)
    await thread.request()
    expect(thread.isRunning).toBe(false)
  })
})

/** Blocks of `count` leaves of 64 KiB each. */
function writeBlocks(store: BatchedChainStore, heights: readonly number[], count: number): void {
  for (const height of heights) {
    const leaves = Array.from({ length: count }, (_, i) =>
      stateLeaf(encodeCbor(['some', height, i]), new Uint8Array(16 * pageSizeBytes).fill(height)),
    ).sort((a, b) => compareBytes(a.path, b.path))
    const boundary = { height, size: height + 1, root: new Uint8Array(32), ms: height, wakes: false }
    store.apply({ leaves, index: { transactions: [], records: [], boundary }, head: encodeCbor(height) })
    store.flush()
  }
}

describe('SqliteChainStore with a CheckpointThread', () => {
  it('has no thread before its log is long, and a short log with it', async () => {
    const checkpoints = threadOf()
    const file = openChainStore({ path, checkpoints })
    closing.push(() => file.close())
    const store = new BatchedChainStore(file, { nowMs: () => 0 })
    writeBlocks(store, [0], 50)
    expect(checkpoints.isRunning).toBe(false)
    for (let height = 1; height < 7; height++) {
      writeBlocks(store, [height], 250)
      expect(checkpoints.isRunning).toBe(true)
      await checkpoints.request()
    }
    expect(statSync(`${path}-wal`).size).toBeLessThan(2 * 4_500 * pageSizeBytes)
  })

  it('bounds its log by itself where the thread does nothing', async () => {
    const idle = new URL(
      'data:text/javascript,import { parentPort } from "node:worker_threads"; parentPort.on("message", (m) => m === "end" && parentPort.close())',
    )
    const checkpoints = threadOf({ script: idle })
    const file = openChainStore({ path, checkpoints })
    closing.push(() => file.close())
    const store = new BatchedChainStore(file, { nowMs: () => 0 })
    writeBlocks(store, [0, 1, 2, 3, 4, 5, 6, 7], 500)
    expect(checkpoints.isRunning).toBe(true)
    expect(statSync(`${path}-wal`).size).toBeLessThan(3 * 8_500 * pageSizeBytes)
  })
})
