import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { EmbeddedBackend } from '../backend.ts'
import { codecRaw, hashBlock } from '../store/block-id.ts'
import { BlockStore } from '../store/block-store.ts'
import { Scrubber } from './scrub.ts'

const weekMs = 7 * 24 * 3_600_000
/** More than it writes down at once, and no whole number of that. */
const blocks = 700
let folder: string
let store: BlockStore
let nowMs: number

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'storage-scrub-'))
  nowMs = Date.now()
  store = new BlockStore({
    ...{ path: join(folder, 'blocks.db'), key: new Uint8Array(32), node: new Uint8Array(32) },
    ...{ bytesMax: 1e9, accountBytesMax: 1e9, now: Date.now },
    onCorrupt: () => {},
    onFatal: () => {},
  })
  await store.open()
  const references = [{ account: new Uint8Array(32), at: 1, pin: 0 }]
  const put = async (): Promise<void> => {
    const bytes = new Uint8Array(randomBytes(16))
    await store.put({ digest: hashBlock(bytes), codec: codecRaw, bytes, references, enforceQuota: true })
  }
  await Promise.all(Array.from({ length: blocks }, put))
})

afterEach(async () => {
  await store.close()
  rmSync(folder, { recursive: true })
})

/** As a node has one from its start to its end. */
function started(): Scrubber {
  const swarm = { identitySeed: randomBytes(32), swarmKey: randomBytes(32), host: '127.0.0.1', port: 0 }
  const backend = new EmbeddedBackend({ store, swarm: { ...swarm, onConnect: () => {} }, onMisbehaviour: () => {} })
  return new Scrubber({ backend, store, now: () => nowMs })
}

test('a scrub goes on where it was broken off, also in another process, and is due again a week after its end', async () => {
  const first = started()
  expect(first.isDue(weekMs)).toBe(true)
  const seen = new Set<string>()
  for await (const { cid, checked } of first.run(1e12)) {
    seen.add(cid)
    expect(first.isDue(weekMs)).toBe(false)
    if (checked === 600) break
  }
  nowMs += 1000
  const second = started()
  expect(second.state).toMatchObject({ checked: 512, damaged: 0, total: blocks })
  expect([second.state?.endedAt, second.isDue(weekMs)]).toEqual([undefined, true])
  let steps = 0
  for await (const { cid } of second.run(1e12)) {
    seen.add(cid)
    steps++
  }
  expect([seen.size, steps]).toEqual([blocks, blocks - 512])
  const third = started()
  expect(third.state).toEqual({ startedAt: nowMs - 1000, endedAt: nowMs, checked: blocks, damaged: 0, total: blocks })
  expect(third.isDue(weekMs)).toBe(false)
  nowMs += weekMs
  expect(third.isDue(weekMs)).toBe(true)
})

test('the weekly scrub makes way for one that somebody asks for', async () => {
  const scrubber = started()
  let [weekly, asked] = [0, 0]
  const all = async (): Promise<void> => {
    for await (const { checked } of scrubber.run()) asked = checked
  }
  let running: Promise<void> | undefined
  // At its pace it would take minutes.
  for await (const _ of scrubber.run(100)) {
    if (weekly++ === 0) running = all()
  }
  await running
  expect([weekly, asked, scrubber.isDue(weekMs)]).toEqual([1, blocks, false])
})

test('a scrub that somebody asks for begins anew, and one at a time', async () => {
  for await (const { checked } of started().run(1e12)) if (checked === 300) break
  const scrubber = started()
  let steps = 0
  for await (const _ of scrubber.run()) {
    if (steps++ > 0) continue
    await expect(scrubber.run().next()).rejects.toMatchObject({ detail: { code: 'ERR_STORE_BUSY' } })
  }
  expect(steps).toBe(blocks)
})
