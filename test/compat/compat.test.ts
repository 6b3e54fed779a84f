/** Ledgers and receipts of every released format, as `make-ledger.ts` and `make-governed.ts` made them then: they must replay and verify for ever. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ledger } from '@healthblock/chain/block'
import { ledgerIdOf, parseGenesis } from '@healthblock/chain/genesis'
import { PolicyTrail } from '@healthblock/chain/policy-trail'
import { parseTrail, verifyReceipt } from '@healthblock/chain/receipt'
import { replayLeaves } from '@healthblock/chain/replay'
import { MemoryChainStore } from '@healthblock/chain/store'
import { verifySuccession } from '@healthblock/chain/succession'
import { docTables, userTables } from '@healthblock/chain/tables'
import { toHex } from '@healthblock/encoding/bytes'
import { decodeCborAt } from '@healthblock/encoding/cbor'
import { describe, expect, test } from 'vitest'

const folder = fileURLToPath(new URL('./', import.meta.url))
const releases = readdirSync(folder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)

function read(release: string, name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(folder, release, name)))
}

function leavesOf(bytes: Uint8Array): Uint8Array[] {
  const leaves: Uint8Array[] = []
  for (let offset = 0; offset < bytes.length; ) {
    const { value, end } = decodeCborAt(bytes, offset)
    leaves.push(value as Uint8Array)
    offset = end
  }
  return leaves
}

test('the first release is kept, and what was governed under each version of the rules', () => {
  expect(releases).toEqual(expect.arrayContaining(['1', ...governed.map(({ release }) => release)]))
})

/** Governed ledgers: the heads on their trails, the versions of the rules that they were under, and what is on record against a node. */
const governed = [
  { release: '1-governed', trail: [9, 3, 15, 6], versions: [1, 2], evidence: 1, counted: undefined, cut: undefined },
  { release: '3-governed', trail: [9, 3, 21, 7], versions: [1, 2, 3], evidence: 2, counted: 2, cut: undefined },
  { release: '4-governed', trail: [9, 3, 31, 7], versions: [1, 2, 3, 4], evidence: 2, counted: 2, cut: 65_536 },
] as const

describe.each(releases)('release %s', (release) => {
  test('its ledger replays to the heads of then', () => {
    const ledger = Ledger.open({
      genesis: read(release, 'genesis.cbor'),
      stores: { userchain: new MemoryChainStore(), docchain: new MemoryChainStore() },
    })
    const heads = JSON.parse(new TextDecoder().decode(read(release, 'heads.json'))) as Record<string, object>
    for (const name of ['userchain', 'docchain'] as const) {
      const leaves = leavesOf(read(release, `${name}.cbor-seq`))
      let blocks = 0
      for (const _block of replayLeaves(ledger, { name, from: 0, leaves })) blocks++
      const { height, size, root, stateRoot } = ledger.head(name)
      expect({ height, size, root: toHex(root), stateRoot: toHex(stateRoot) }).toEqual(heads[name])
      expect(blocks).toBe(height)
    }
  })

  const receipts = readdirSync(join(folder, release)).filter(
    (name) => name.endsWith('.json') && !['heads.json', 'trail.json', 'succession.json'].includes(name),
  )
  test.each(receipts)('its receipt %s verifies', (name) => {
    const ledgerId = ledgerIdOf(read(release, 'genesis.cbor'))
    const bytes = read(release, name)
    expect(verifyReceipt({ bytes, ledgerId }).steps.length).toBeGreaterThan(2)
    // One byte more, or another ledger, and it is refused.
    expect(() => verifyReceipt({ bytes: Uint8Array.from([...bytes, 0x0a]), ledgerId })).toThrow()
    expect(() => verifyReceipt({ bytes, ledgerId: new Uint8Array(32) })).toThrow()
  })
})

describe.each(governed)('the ledger $release', ({ release, trail: sizes, versions, evidence, counted, cut }) => {
  const genesis = parseGenesis(read(release, 'genesis.cbor'))

  test('has its whole history of policies on a trail that holds', () => {
    const trail = PolicyTrail.of(genesis, parseTrail(read(release, 'trail.json')))
    const chains = ['userchain', 'docchain', 'userchain', 'docchain']
    expect(trail.heads.map(({ chain, size }) => [chain, size])).toEqual(sizes.map((size, i) => [chains[i], size]))
    expect(trail.newest('userchain').cosigners.map((key) => key !== undefined)).toEqual([false, true, true, true, true])
  })

  test('went through everything that organisations decide', () => {
    const ledger = Ledger.open({
      genesis: genesis.bytes,
      stores: { userchain: new MemoryChainStore(), docchain: new MemoryChainStore() },
    })
    const acts = new Set<number>()
    const devices: Uint8Array[][] = []
    const rules = new Set<number>()
    for (const name of ['userchain', 'docchain'] as const) {
      const leaves = leavesOf(read(release, `${name}.cbor-seq`))
      for (const { seal, transactions } of replayLeaves(ledger, { name, from: 0, leaves })) {
        rules.add(seal.rules)
        for (const { transaction } of transactions) {
          const { body } = transaction
          if (body.t === 'govern') acts.add(body.act)
          if (body.t === 'device') devices.push([body.a, body.dev, ...body.streams])
        }
      }
    }
    expect([...acts].sort()).toEqual([1, 2, 3, 4])
    expect([...rules].sort()).toEqual(versions)
    const records = [0, 1].map((k) => docTables.evidence.get(ledger.state('docchain'), k))
    expect(records.map((record) => record?.kind)).toEqual([1, evidence === 2 ? 1 : undefined])
    const node = records[0]?.node as Uint8Array
    expect(userTables.evidenceCount.get(ledger.state('docchain'), node, 1)?.[1]).toBe(counted)
    const state = ledger.state('userchain')
    expect(userTables.organisations.get(state)).toHaveLength(4)
    // Cut as far ahead as it may be, and closed by root.
    const [patient, dev, stream] = devices[0] ?? []
    expect(devices).toHaveLength(cut === undefined ? 0 : 2)
    if (patient === undefined || dev === undefined || stream === undefined) return
    expect(userTables.cut.get(state, patient, stream, 1)?.last).toBe(cut)
    expect(userTables.device.get(state, patient, dev)?.c).toBeDefined()
    expect(userTables.stream.get(state, patient, stream)?.c).toBeDefined()
  })

  test('ended, and its succession verifies', () => {
    const bytes = read(release, 'succession.json')
    const { approved, approvalsMin, successor } = verifySuccession({ bytes, prior: genesis.ledgerId })
    expect([approved.length, approvalsMin]).toEqual([4, 3])
    expect(successor.body.prior?.[0]).toEqual(genesis.ledgerId)
    expect(() => verifySuccession({ bytes: bytes.with(bytes.length - 200, 65) })).toThrow()
  })
})
