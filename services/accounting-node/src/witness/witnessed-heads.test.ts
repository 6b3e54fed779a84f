import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { genesisLeaf } from '@healthblock/chain/genesis'
import { PolicyTrail } from '@healthblock/chain/policy-trail'
import { parseWitnessKey, verifyWitnessAnswer } from '@healthblock/chain/witness'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SampleLog, sampleGenesis, sampleWitness } from '../../../../packages/chain/src/sample.test-support.ts'
import type { PublishedHead } from '../core/chain-core.ts'
import { WitnessedHeads } from './witnessed-heads.ts'

const genesis = sampleGenesis()
const [first, second] = [sampleWitness('witness.example/a'), sampleWitness('witness.example/b')]
const keys = [first, second].map(({ vkey }) => parseWitnessKey(vkey))
const trail = new PolicyTrail(genesis)

let dir: string
let log: SampleLog
let roots: Map<number, Uint8Array>
let faults: unknown[]
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-witnessed-'))
  log = new SampleLog(genesis, 'userchain')
  roots = new Map()
  faults = []
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const file = (): string => join(dir, 'witnessed')

/** The next published head. */
function grow(): PublishedHead {
  const size = log.add(genesisLeaf(genesis))
  roots.set(size, log.root)
  return { height: size - 1, size, root: log.root, checkpoint: log.checkpoint() }
}

function cosign(heads: WitnessedHeads, head: PublishedHead, witness: typeof first): void {
  const key = parseWitnessKey(witness.vkey)
  const over = { origin: log.origin, size: head.size, root: head.root }
  heads.add(key.name, head, verifyWitnessAnswer({ answer: witness.line(over, 1_750_000_200_000), head: over, key }))
}

function open(among = keys): WitnessedHeads {
  const heads = new WitnessedHeads(file(), (error) => void faults.push(error))
  heads.open({
    keys: among,
    rootAt: (size) => roots.get(size),
    verify: (checkpoint) => void trail.receiptForm('userchain', checkpoint),
  })
  return heads
}

describe('the heads that witnesses cosigned', () => {
  test('are there again after a restart, with the lines of the witnesses that are still asked', () => {
    const heads = open()
    const [older, newer] = [grow(), grow()]
    for (const witness of [first, second]) cosign(heads, older, witness)
    cosign(heads, newer, first)
    for (const one of [heads, open()]) {
      expect(one.newestOf('witness.example/a')?.size).toBe(2)
      expect(one.newestOf('witness.example/b')?.size).toBe(1)
      // Most witnesses first, beyond the entry.
      expect([one.best(0)?.size, one.best(1)?.size, one.best(2)]).toEqual([1, 2, undefined])
      expect(one.newest()?.checkpoint).toBe(one.noteOf(newer))
      expect(one.noteOf(older).match(/\u2014 witness/g)).toHaveLength(2)
    }
    const fewer = open(keys.slice(1))
    expect(fewer.newest()?.size).toBe(1)
    expect(fewer.newest()?.checkpoint).not.toContain('witness.example/a')
    heads.remove('witness.example/a')
    expect(open().newestOf('witness.example/a')).toBeUndefined()
    expect(faults).toEqual([])
  })

  test('are the newest eight, and of several with as many lines the newest counts', () => {
    const heads = open()
    for (let i = 0; i < 12; i++) cosign(heads, grow(), first)
    expect(heads.best(0)?.size).toBe(12)
    expect((JSON.parse(readFileSync(file(), 'utf8')) as unknown[]).length).toBe(8)
  })

  test('serve a renewed note of the nodes with the same lines', () => {
    const heads = open()
    const head = grow()
    cosign(heads, head, first)
    const renewed = { ...head, checkpoint: log.checkpoint([1, 2, 3], 1_750_000_300_000) }
    expect(heads.noteOf(renewed).startsWith(renewed.checkpoint)).toBe(true)
    expect(heads.noteOf(renewed)).toContain('witness.example/a')
    expect(heads.noteOf({ ...head, root: new Uint8Array(32) })).toBe(head.checkpoint)
  })

  /** The first signature line that begins so, with one character of its signature changed. */
  const changed = (name: string) => (head: { checkpoint: string }) => ({
    ...head,
    checkpoint: head.checkpoint.replace(
      new RegExp(`(\u2014 ${name} .{40})(.)`),
      (_, begin, at) => begin + (at === 'A' ? 'B' : 'A'),
    ),
  })
  test.each<[string, (head: { checkpoint: string }) => unknown]>([
    ['another root', (head) => ({ ...head, root: '0'.repeat(64) })],
    ['another size', (head) => ({ ...head, size: 1 })],
    ['a wrong line of the witness', changed('witness.example/a')],
    ['a wrong line of a node', changed('healthblock/[0-9a-f]+/userchain/1')],
    ['a wrong line of the log', changed('healthblock/[0-9a-f]+/userchain')],
    ['no checkpoint', (head) => ({ ...head, checkpoint: 'x' })],
    ['another shape', () => ({ root: 7 })],
    ['null', () => null],
  ])('that the file gives with %s are left out', (_, forge) => {
    const heads = open()
    grow()
    cosign(heads, grow(), first)
    const before = JSON.parse(readFileSync(file(), 'utf8')) as { checkpoint: string }[]
    const forged = before.map(forge)
    expect(forged).not.toEqual(before)
    writeFileSync(file(), JSON.stringify(forged))
    expect(open().newest()).toBeUndefined()
    writeFileSync(file(), JSON.stringify(before))
    expect(open().newest()?.size).toBe(2)
  })

  test('are none if the file is none, and a file that cannot be written is told', () => {
    writeFileSync(file(), 'nonsense')
    expect(open().newest()).toBeUndefined()
    expect(faults).toHaveLength(1)
    const heads = open()
    rmSync(dir, { recursive: true })
    cosign(heads, grow(), first)
    expect(heads.newest()?.size).toBe(1)
    expect(faults).toHaveLength(3)
  })
})
