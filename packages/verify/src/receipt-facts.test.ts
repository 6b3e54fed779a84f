import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ledgerIdOf } from '@healthblock/chain/genesis'
import { describe, expect, it } from 'vitest'
import { receiptFacts } from './receipt-facts.ts'

const folder = fileURLToPath(new URL('../../../test/compat/1/', import.meta.url))
const read = (name: string): Uint8Array => new Uint8Array(readFileSync(`${folder}${name}`))
const ledgerId = ledgerIdOf(read('genesis.cbor'))

describe('the figures of a receipt', () => {
  it('of a revocation are where it lies, what is closed, and from which block on it is refused', () => {
    const facts = receiptFacts(read('revocation.json'), ledgerId)
    expect(facts).toMatchObject({
      kind: 'revocation',
      type: 'key',
      transaction: { chain: 'userchain', index: 12, size: 14, signedBy: 3 },
      seal: { block: 5, closed: 1 },
      anchor: { chain: 'docchain', block: 2 },
    })
    expect(facts.transaction.nodes).toBeGreaterThanOrEqual(facts.transaction.signedBy)
    expect(facts.transaction.checkpoint).toMatch(/^healthblock\/[0-9a-f]{64}\/userchain\n14\n/)
  })

  it('of a reading are where it lies', () => {
    const facts = receiptFacts(read('reading.json'))
    expect(facts).toMatchObject({ kind: 'transaction', type: 'iot', transaction: { index: 10, size: 14 } })
    expect(facts.seal).toBeUndefined()
  })

  it('are none where a byte, or the ledger, is another', () => {
    const text = new TextDecoder().decode(read('revocation.json'))
    const forged = new TextEncoder().encode(text.replace(/(index )(\d)/, (_, word, digit) => `${word}${9 - digit}`))
    expect(() => receiptFacts(forged, ledgerId)).toThrow()
    expect(() => receiptFacts(read('revocation.json'), new Uint8Array(32))).toThrow('another ledger')
  })
})
