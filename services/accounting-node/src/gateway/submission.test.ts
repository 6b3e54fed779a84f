import { type Transaction, transactionId } from '@healthblock/chain/transaction'
import { concatBytes, toHex } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { describe, expect, it } from 'vitest'
import { algorithmTransaction, sampleLedger } from '../../../../test/support/sample-ledger.ts'
import { parseSubmission } from './submission.ts'

const ledger = sampleLedger({ n: 1, q: 1, startMs: 0 })
const { ledgerId } = ledger
const place = { ledgerId, chain: 'userchain' } as const
const good: Transaction = algorithmTransaction(ledger, 'a')
const { bodyBytes, signatures, leaf } = good
const nobody = { ownerOf: () => ({ account: '', sponsor: '' }), onRead: () => {} }
const idOf = (bytes: Uint8Array) => toHex(transactionId({ ...place, bodyBytes: bytes }))
/** An array with these items, each encoded already. */
const arrayOf = (...items: Uint8Array[]) => concatBytes(Uint8Array.of(0x80 + items.length), ...items)
const one = encodeCbor(1)
const [signature] = signatures
const signatureOf = (length: number) => encodeCbor([[signature?.account as Uint8Array, 1, new Uint8Array(length)]])

describe('a submission', () => {
  it.each([
    ['another kind of leaf', arrayOf(encodeCbor(7), bodyBytes, encodeCbor([]))],
    ['no signatures', arrayOf(one, bodyBytes)],
    ['something behind the signatures', arrayOf(one, bodyBytes, signatureOf(64), one)],
    ['a short signature', arrayOf(one, bodyBytes, signatureOf(63))],
    [
      'a signature twice',
      arrayOf(one, bodyBytes, encodeCbor([0, 0].map(() => [new Uint8Array(32), 1, new Uint8Array(64)]))),
    ],
    [
      'too many signatures',
      arrayOf(
        one,
        bodyBytes,
        encodeCbor(Array.from({ length: 900 }, () => [new Uint8Array(32), 1, new Uint8Array(64)])),
      ),
    ],
  ])('with %s around a good body: the refusal is of the item, and convicts nobody', (_what, item) => {
    const { transactions, malformed } = parseSubmission(concatBytes(item, leaf), place, nobody)
    expect(transactions.map(({ key }) => key)).toEqual([idOf(bodyBytes)])
    expect(malformed.map(({ id }) => toHex(id))).toEqual([idOf(item)])
    expect(malformed[0]?.rule).toMatch(/\.format$/)
  })

  it('with a body that is wrong: the refusal is of the body', () => {
    const wrong = encodeCbor({ v: 1, t: 'algorithm', act: 9 })
    const { malformed } = parseSubmission(arrayOf(one, wrong, encodeCbor([])), place, nobody)
    expect(malformed).toEqual([{ id: transactionId({ ...place, bodyBytes: wrong }), rule: 'algorithm.format' }])
  })

  it('with no body at all: the refusal is of the item', () => {
    const { malformed } = parseSubmission(one, place, nobody)
    expect(malformed).toEqual([{ id: transactionId({ ...place, bodyBytes: one }), rule: 'transaction.format' }])
  })
})
