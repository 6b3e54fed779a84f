/** Ledgers and receipts of every released format, as `make-ledger.ts` made them then: they must replay and verify for ever. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ledger } from '@healthblock/chain/block'
import { ledgerIdOf } from '@healthblock/chain/genesis'
import { verifyReceipt } from '@healthblock/chain/receipt'
import { replayLeaves } from '@healthblock/chain/replay'
import { MemoryChainStore } from '@healthblock/chain/store'
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

test('the first release is kept', () => {
  expect(releases).toContain('1')
})

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

  const receipts = readdirSync(join(folder, release)).filter((name) => name.endsWith('.json') && name !== 'heads.json')
  test.each(receipts)('its receipt %s verifies', (name) => {
    const ledgerId = ledgerIdOf(read(release, 'genesis.cbor'))
    const bytes = read(release, name)
    expect(verifyReceipt({ bytes, ledgerId }).steps.length).toBeGreaterThan(2)
    // One byte more, or another ledger, and it is refused.
    expect(() => verifyReceipt({ bytes: Uint8Array.from([...bytes, 0x0a]), ledgerId })).toThrow()
    expect(() => verifyReceipt({ bytes, ledgerId: new Uint8Array(32) })).toThrow()
  })
})
