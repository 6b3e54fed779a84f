import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { BlockStore } from './block-store.ts'

const cycles = 6

test('a writer killed at any moment has lost nothing that it acknowledged, and nothing is half there', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'storage-kill-'))
  const path = join(folder, 'node.sqlite')
  const key = randomBytes(32)
  const script = fileURLToPath(new URL('./writes.fixture.ts', import.meta.url))
  const env = { PATH: process.env.PATH, NODE_COMPILE_CACHE: join(folder, 'cache') }
  const acknowledged = new Set<string>()
  for (let cycle = 0; cycle < cycles; cycle++) {
    const child = spawn(process.execPath, [script, path, key.toString('hex')], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const killAfter = 1 + Math.floor(Math.random() * 200)
    const exited = once(child, 'exit')
    let count = 0
    for await (const line of createInterface(child.stdout)) {
      // A line that the kill cut short was not acknowledged to anybody.
      if (line.length === 64) acknowledged.add(line)
      if (++count === killAfter) child.kill('SIGKILL')
    }
    expect(await exited).toEqual([null, 'SIGKILL'])
  }
  const damaged: unknown[] = []
  const store = new BlockStore({
    path,
    key,
    bytesMax: 1e12,
    accountBytesMax: 1e12,
    node: new Uint8Array(32),
    now: Date.now,
    onCorrupt: (digest) => damaged.push(digest),
    onFatal: (error) => damaged.push(error),
  })
  await store.open()
  for (const digest of acknowledged) expect(await store.get(Buffer.from(digest, 'hex'))).toBeDefined()
  const { blocks, bytes } = store.totals()
  await store.close()
  expect(damaged).toEqual([])
  expect(acknowledged.size).toBeGreaterThan(cycles)
  expect(blocks).toBeGreaterThanOrEqual(acknowledged.size)
  // Block, reference, hand-off and counters of each put are there together or not at all.
  const database = new DatabaseSync(path)
  const count = (sql: string): unknown => Object.values(database.prepare(sql).get() as object)[0]
  expect(count('PRAGMA integrity_check')).toBe('ok')
  expect(count('SELECT count(*) FROM block')).toBe(blocks)
  expect(count('SELECT sum(size) FROM block')).toBe(bytes)
  expect(count('SELECT sum(bytes) FROM account')).toBe(bytes)
  expect(count('SELECT count(*) FROM block b JOIN reference r ON r.block = b.id AND r.pin = 1')).toBe(blocks)
  expect(count('SELECT count(*) FROM block b JOIN handoff h ON h.digest = b.digest')).toBe(blocks)
  database.close()
  rmSync(folder, { recursive: true })
})
