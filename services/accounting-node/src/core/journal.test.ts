import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openFileDisk } from '../adapters/file-disk.ts'
import { openJournal } from './journal.ts'
import type { Disk } from './ports.ts'
import { PromiseStore } from './promise.ts'

const headSizeBytes = 12
const payloads = [100, 200, 300].map((length, i) => new Uint8Array(length).fill(i + 1))
/** Where each record begins, and where the last one ends. */
const starts = [0, 112, 324, 636]

let dir: string
let disk: Disk
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'journal-'))
  disk = openFileDisk(dir)
  const { journal } = await openJournal(disk, 'log', () => {})
  for (const payload of payloads) await journal.append(payload)
  await journal.close()
})
afterEach(() => rmSync(dir, { recursive: true }))

/** Opens it: how it ended, and how many records hold; the same again, as nothing must be left of what was cut off. */
async function reopen(): Promise<{ end: string; records: number }> {
  const opened = async () => {
    let records = 0
    const { journal, end } = await openJournal(disk, 'log', () => records++)
    await journal.close()
    return { end, records }
  }
  const found = await opened()
  expect(await opened()).toEqual({ end: 'clean', records: found.records })
  return found
}

function alter(change: (bytes: Buffer) => void): void {
  const path = join(dir, 'log')
  const bytes = readFileSync(path)
  change(bytes)
  writeFileSync(path, bytes)
}

describe('a journal', () => {
  test('that was closed whole is clean', async () => {
    expect(await reopen()).toEqual({ end: 'clean', records: 3 })
  })

  test('whose last write ended at any byte is torn, and loses that record alone', async () => {
    for (const size of [325, 330, 335, 336, 337, 500, 635]) {
      alter((bytes) => bytes)
      truncateSync(join(dir, 'log'), size)
      expect(await reopen(), `${size}`).toEqual({ end: 'torn', records: 2 })
      const { journal } = await openJournal(disk, 'log', () => {})
      await journal.append(payloads[2] as Uint8Array)
      await journal.close()
    }
  })

  test('whose last write has its length, but zeros from some byte on, is torn', async () => {
    for (const from of [324, 326, 330, 340, 620]) {
      alter((bytes) => bytes.fill(0, from))
      expect(await reopen(), `${from}`).toEqual({ end: 'torn', records: 2 })
      const { journal } = await openJournal(disk, 'log', () => {})
      await journal.append(payloads[2] as Uint8Array)
      await journal.close()
    }
  })

  test.each([0, 1, 2])('with an altered byte in record %i is damaged from there on', async (record) => {
    alter((bytes) => {
      const at = (starts[record] as number) + headSizeBytes + 5
      bytes[at] = (bytes[at] as number) ^ 1
    })
    expect(await reopen()).toEqual({ end: 'damaged', records: record })
  })

  test('with a length that no record has is damaged, also in its last record', async () => {
    alter((bytes) => bytes.writeUInt32BE(2 ** 31, starts[2] as number))
    expect(await reopen()).toEqual({ end: 'damaged', records: 2 })
    alter((bytes) => bytes.writeUInt32BE(0, starts[1] as number))
    expect(await reopen()).toEqual({ end: 'damaged', records: 1 })
  })

  test('of short records is damaged where a rest is longer than a torn one can be', async () => {
    alter((bytes) => bytes.writeUInt32BE(5000, starts[0] as number))
    let records = 0
    const options = { recordSizeBytesMax: 4096 }
    const { journal, end } = await openJournal(disk, 'log', () => records++, options)
    await journal.close()
    expect([end, records]).toEqual(['damaged', 0])
  })
})

describe('the promise of a node', () => {
  const path = () => join(dir, 'promise')
  const open = async () => {
    const store = await PromiseStore.open(disk)
    await store.close()
    return store
  }

  beforeEach(async () => {
    const store = await PromiseStore.open(disk)
    for (const term of [1, 2]) await store.bind({ term, leader: 0 })
    await store.close()
  })

  test('whose newest record was altered is lost, also at the start after the next, and set aside', async () => {
    const before = readFileSync(path())
    before[before.length - 1] = (before.at(-1) as number) ^ 1
    writeFileSync(path(), before)
    for (const isDamaged of [true, false]) expect(await open()).toMatchObject({ isDamaged, isLost: true })
    expect(readFileSync(`${path()}.damaged`)).toEqual(before)
  })

  test('of which a crash tore the newest record holds what was promised before', async () => {
    truncateSync(path(), readFileSync(path()).length - 1)
    expect(await open()).toMatchObject({ isDamaged: false, isLost: false, current: { term: 1 } })
  })
})
