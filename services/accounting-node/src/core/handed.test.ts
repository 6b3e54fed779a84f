import { parseTransactionLeaf, signTransaction, type Transaction } from '@healthblock/chain/transaction'
import { randomBytes } from '@healthblock/crypto/random'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { describe, expect, it } from 'vitest'
import { Handed } from './handed.ts'

const account = randomBytes(32)
const signingKey = generateSigningKey()
const algorithm = (): Transaction =>
  signTransaction({
    ...{ ledgerId: randomBytes(32), chain: 'userchain', signers: [{ account, key: 1, signingKey }] },
    body: { v: 1, t: 'algorithm', a: account, id: 'ecg', version: '1', hash: randomBytes(32), act: 1 },
  })

describe('Handed', () => {
  it('gives back what was read from the same bytes, once', () => {
    const handed = new Handed()
    const transactions = [algorithm(), algorithm()]
    handed.add(transactions)
    for (const transaction of transactions) {
      const leaf = transaction.leaf.slice()
      expect(handed.take(leaf)).toBe(transaction)
      expect(handed.take(leaf)).toBeUndefined()
    }
  })

  it('does not give it for bytes that differ in one bit', () => {
    const transaction = algorithm()
    for (let at = 0; at < transaction.leaf.length; at++) {
      const handed = new Handed()
      handed.add([transaction])
      const leaf = transaction.leaf.slice()
      leaf[at] = (leaf[at] as number) ^ 1
      expect(handed.take(leaf)).toBeUndefined()
    }
  })

  it('is bounded, and forgets', () => {
    const handed = new Handed()
    const { leaf: _, ...rest } = algorithm()
    const many = Array.from({ length: 8_000 }, () => ({ ...rest, leaf: randomBytes(40) }))
    handed.add(many)
    const more = Array.from({ length: 256 }, () => parseTransactionLeaf(algorithm().leaf))
    handed.add(more)
    expect(many.some(({ leaf }) => handed.take(leaf) !== undefined)).toBe(false)
    expect(handed.take((more[0] as Transaction).leaf)).toBe(more[0])
    handed.clear()
    expect(handed.take((more[1] as Transaction).leaf)).toBeUndefined()
  })
})
