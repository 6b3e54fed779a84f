/** Evidence of fetches, damaged at random, as an auditor gets it: a typed error, and never a page that no store signed. */
import assert from 'node:assert/strict'
import { sha256 } from '@healthblock/crypto/hash'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { encodeUtf8, toHex } from '@healthblock/encoding/bytes'
import {
  encodeFetchEvidence,
  fetchPageMessage,
  parseFetchAnswer,
  parseFetchEvidence,
  readFetchEvidence,
} from '@healthblock/runtime/fetch-page'
import type { FuzzTarget } from '../support/fuzz.ts'

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

/** Parsers of what stores tell of fetches. */
export function fetchTargets(): FuzzTarget[] {
  return [
    {
      name: 'evidence of fetches',
      corpus: [encodeFetchEvidence(evidence)],
      parse: (bytes) => assert.deepEqual(readFetchEvidence(parseFetchEvidence(bytes), place), truth),
    },
    { name: 'page of fetches', corpus: [answer], parse: parseFetchAnswer },
  ]
}
