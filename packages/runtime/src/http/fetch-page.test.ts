import { sha256 } from '@healthblock/crypto/hash'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { encodeUtf8, toBase64Url, toHex } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { describe, expect, it } from 'vitest'
import { codeOf } from '../errors.ts'
import {
  encodeFetchEvidence,
  fetchCursorAt,
  fetchPageMessage,
  fetchPageSignatureHeader,
  parseFetchEvidence,
  parseFetchPage,
  readFetchEvidence,
} from './fetch-page.ts'

const [ledgerId, account, store, doctor] = ['ledger', 'patient', 'store', 'doctor'].map((name) =>
  sha256(encodeUtf8(name)),
) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
const key = generateSigningKey()
const url = 'http://127.0.0.1:1'
const asked = { url, ledgerId, account, after: '5.0', storeKeyOf: () => key.publicKey as Uint8Array | undefined }
const line = { at: '2026-01-02T03:04:05.678Z', account: toHex(doctor), cid: 'bafk', digest: toHex(store) }
const page = { store: toHex(store), fetches: [line], next: '5.100', isEnd: true }

function answerOf(value: unknown, signed: Partial<Parameters<typeof fetchPageMessage>[0]> = {}) {
  const bytes = encodeUtf8(JSON.stringify(value))
  const signature = key.sign(fetchPageMessage({ ledgerId, account, after: asked.after, answer: bytes, ...signed }))
  return { status: 200, bytes, headers: new Headers({ [fetchPageSignatureHeader]: toBase64Url(signature) }) }
}

describe('parseFetchPage', () => {
  it('reads what a store has signed', () => {
    expect(parseFetchPage(answerOf(page), asked)).toEqual({
      store,
      fetches: [{ ms: Date.UTC(2026, 0, 2, 3, 4, 5, 678), account: doctor, digest: store, cid: 'bafk' }],
      next: '5.100',
      isEnd: true,
      evidence: expect.objectContaining({ account, after: '5.0' }),
    })
    expect(fetchCursorAt(3_600_000 * 7 + 5)).toBe('7.0')
  })

  it('gives evidence that anybody can check who knows the store’s keys, the replaced ones too', () => {
    const { evidence } = parseFetchPage(answerOf(page), asked)
    const again = parseFetchEvidence(encodeFetchEvidence(evidence))
    expect(again).toEqual(evidence)
    const keys = [generateSigningKey().publicKey, key.publicKey]
    expect(readFetchEvidence(again, { ledgerId, storeKeysOf: () => keys }).fetches.length).toBe(1)
    for (const wrong of [[], keys.slice(0, 1)])
      expect(() => readFetchEvidence(again, { ledgerId, storeKeysOf: () => wrong })).toThrow()
    for (const bytes of [
      encodeCbor([]),
      encodeCbor([account, 7, evidence.answer, evidence.signature]),
      encodeCbor([account, new Uint8Array(0), evidence.answer, evidence.signature.subarray(1)]),
      Uint8Array.of(0x81),
    ])
      expect(() => parseFetchEvidence(bytes)).toThrow()
  })

  it.each([
    ['for another account', answerOf(page, { account: doctor })],
    ['for another place in the log', answerOf(page, { after: '6.0' })],
    ['for another ledger', answerOf(page, { ledgerId: doctor })],
    ['of another answer', answerOf(page, { answer: new Uint8Array(3) })],
    ['missing', { ...answerOf(page), headers: new Headers() }],
  ])('refuses a page whose signature is %s', (_what, answer) => {
    expect(codeOf(caught(() => parseFetchPage(answer, asked)))).toBe('ERR_SOURCE_MISBEHAVED')
  })

  it.each([
    ['no store', { ...page, store: '00' }],
    ['a fetch without a time', { ...page, fetches: [{ ...line, at: 'soon' }] }],
    ['a fetch without an account', { ...page, fetches: [{ ...line, account: 7 }] }],
    ['no list', { ...page, fetches: 'none' }],
    ['too many', { ...page, fetches: Array.from({ length: 1001 }, () => line) }],
    ['no next', { ...page, next: 1 }],
    ['no end', { ...page, isEnd: undefined }],
    ['nothing', null],
  ])('refuses %s', (_what, value) => {
    expect(codeOf(caught(() => parseFetchPage(answerOf(value), asked)))).toBe('ERR_SOURCE_MISBEHAVED')
  })

  it('refuses the word of who is no store', () => {
    const stranger = { ...asked, storeKeyOf: () => undefined }
    expect(codeOf(caught(() => parseFetchPage(answerOf(page), stranger)))).toBe('ERR_SOURCE_MISBEHAVED')
  })
})

function caught(act: () => unknown): unknown {
  try {
    return act()
  } catch (error) {
    return error
  }
}
