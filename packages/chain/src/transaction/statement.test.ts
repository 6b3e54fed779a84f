import { concatBytes, encodeUtf8, toHex } from '@healthblock/encoding/bytes'
import { type CborValue, encodeCbor } from '@healthblock/encoding/cbor'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ChainError } from '../errors.ts'
import { b32, flipBit, keyOf } from '../sample.test-support.ts'
import {
  encodeStatement,
  parseStatement,
  ruleOfText,
  ruleText,
  type StatementName,
  type Statements,
  signStatement,
  statementMessage,
  verifyStatement,
} from './statement.ts'

const ledgerId = b32('ledger')
const samples: Statements = {
  accepted: {
    v: 1,
    chain: 1,
    gateway: b32('node'),
    txs: [b32('tx 1'), b32('tx 2')],
    height: 7,
    deadline: 1_750_000_030_000,
  },
  refused: {
    v: 1,
    chain: 2,
    gateway: b32('node'),
    tx: b32('tx'),
    rule: ruleText('D.live'),
    height: 7,
    st: b32('st'),
    anchor: [9, b32('root')],
  },
  deferred: { v: 1, chain: 1, gateway: b32('node'), tx: b32('tx'), missing: 'generation', height: 7 },
  incident: {
    v: 1,
    node: b32('node'),
    code: 'tile',
    chain: 1,
    height: 7,
    index: 9,
    file: 'log.bin',
    found: 1,
    healed: 0,
  },
  storage: { v: 1, cid: b32('cid'), size: 4096, ms: 1_750_000_000_000, store: b32('store') },
  erasure: { v: 1, a: b32('patient'), cid: b32('cid'), codec: 0x55, ms: 1_750_000_000_000 },
  'stage-ack': [1, 7, 1, 9, b32('root')],
  successor: [b32('successor')],
}
const names = Object.keys(samples) as StatementName[]
const publicKey = keyOf('node').publicKey
const sign = <N extends StatementName>(name: N) =>
  signStatement({ name, statement: samples[name], ledgerId, signingKey: keyOf('node') })

test.each(names)('%s is signed, verified, and reads back', (name) => {
  const signed = sign(name)
  const said = verifyStatement({ name, signed, ledgerId, publicKey })
  expect(toHex(encodeStatement(name, said as never))).toBe(toHex(signed.statement))
  expect(toHex(statementMessage({ label: name, ledgerId, statement: signed.statement }))).toBe(
    toHex(concatBytes(encodeUtf8(`healthblock/1 ${name}\0`), ledgerId, signed.statement)),
  )
})

test.each(names)('%s does not verify elsewhere, or with any bit flipped', (name) => {
  const signed = sign(name)
  const refused = expect.objectContaining({ detail: { code: 'ERR_STATEMENT_SIGNATURE', statement: name } })
  expect(() => verifyStatement({ name, signed, ledgerId: b32('other'), publicKey })).toThrow(refused)
  expect(() => verifyStatement({ name, signed, ledgerId, publicKey: keyOf('other').publicKey })).toThrow(refused)
  expect(() => verifyStatement({ name, signed, ledgerId, publicKey: new Uint8Array(32) })).toThrow(refused)
  for (let bit = 0; bit < signed.statement.length * 8; bit++) {
    const flipped = { ...signed, statement: flipBit(signed.statement, bit) }
    expect(() => verifyStatement({ name, signed: flipped, ledgerId, publicKey })).toThrow(ChainError)
  }
  for (let bit = 0; bit < 512; bit += 5) {
    const flipped = { ...signed, signature: flipBit(signed.signature, bit) }
    expect(() => verifyStatement({ name, signed: flipped, ledgerId, publicKey })).toThrow(refused)
  }
})

test('one statement does not pass as another', () => {
  for (const name of names) {
    for (const other of names.filter((candidate) => candidate !== name)) {
      expect(() => parseStatement(other, encodeStatement(name, samples[name]))).toThrow(
        expect.objectContaining({ detail: { code: 'ERR_STATEMENT_FORMAT', statement: other, field: 'fields' } }),
      )
    }
  }
})

test.each([
  ['accepted', { ...samples.accepted, txs: [] }],
  ['accepted', { ...samples.accepted, txs: Array.from({ length: 257 }, () => b32('tx')) }],
  ['accepted', { ...samples.accepted, chain: 3 }],
  ['accepted', { ...samples.accepted, v: 2 }],
  ['refused', { ...samples.refused, anchor: [9] }],
  ['refused', { ...samples.refused, more: 1 }],
  ['incident', { ...samples.incident, healed: 2 }],
  ['stage-ack', [1, 7, 1, 9]],
  ['storage', { ...samples.storage, cid: new Uint8Array(31) }],
  ['storage', 7],
] as const)('refuses a wrong %s', (name, value) => {
  expect(() => parseStatement(name, encodeCbor(value as unknown as CborValue))).toThrow(
    expect.objectContaining({ name: 'ChainError', detail: expect.objectContaining({ code: 'ERR_STATEMENT_FORMAT' }) }),
  )
})

test('a rule in upper case is not written unless it is turned into text', () => {
  expect(() => encodeStatement('refused', { ...samples.refused, rule: 'D.live' })).toThrow(
    expect.objectContaining({ detail: { code: 'ERR_STATEMENT_FORMAT', statement: 'refused', field: 'bytes' } }),
  )
  for (const rule of ['D.live', 'A.of', 'iot.sequence', 'device.act', 'algorithm.hash']) {
    expect(ruleOfText(ruleText(rule))).toBe(rule)
  }
})

test('any bytes are a statement or a typed error', () => {
  fc.assert(
    fc.property(fc.constantFrom(...names), fc.uint8Array({ maxLength: 60 }), (name, bytes) => {
      try {
        parseStatement(name, bytes)
      } catch (error) {
        expect(error).toBeInstanceOf(ChainError)
      }
    }),
    { numRuns: 1000 },
  )
})
