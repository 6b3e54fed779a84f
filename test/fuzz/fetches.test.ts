/** Evidence of fetches, damaged at random, as an auditor gets it: a typed error, and never a page that no store signed. */
import { sha256 } from '@healthblock/crypto/hash'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { encodeUtf8, toHex } from '@healthblock/encoding/bytes'
import { isRuntimeError } from '@healthblock/runtime/errors'
import {
  encodeFetchEvidence,
  fetchPageMessage,
  parseFetchAnswer,
  parseFetchEvidence,
  readFetchEvidence,
} from '@healthblock/runtime/fetch-page'
import { expect, test } from 'vitest'
import { type FuzzTarget, fuzz } from '../support/fuzz.ts'

const [ledgerId, account, store] = ['ledger', 'patient', 'store'].map((name) => sha256(encodeUtf8(name))) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
]
const key = generateSigningKey()
const line = { at: '2026-01-02T03:04:05.678Z', account: toHex(account), cid: 'bafk', digest: toHex(store) }
const answer = encodeUtf8(JSON.stringify({ store: toHex(store), fetches: [line, line], next: '5.100', isEnd: true }))
const signature = key.sign(fetchPageMessage({ ledgerId, account, after: '5.0', answer }))
const evidence = { account, after: '5.0', answer, signature }
const place = { ledgerId, storeKeysOf: () => [key.publicKey] }
const truth = readFetchEvidence(evidence, place)

const targets: FuzzTarget[] = [
  {
    name: 'evidence of fetches',
    corpus: [encodeFetchEvidence(evidence)],
    parse: (bytes) => expect(readFetchEvidence(parseFetchEvidence(bytes), place)).toEqual(truth),
  },
  { name: 'page of fetches', corpus: [answer], parse: parseFetchAnswer },
]

test.each(targets.map((target) => [target.name, target] as const))('%s', { timeout: 3_600_000 }, async (_, target) => {
  const isTyped = (error: unknown): boolean => isRuntimeError(error, 'ERR_EVIDENCE_INVALID')
  expect(await fuzz(target, isTyped)).toBeGreaterThan(0)
})
