import { readFileSync } from 'node:fs'
import { parseVerifyingKey, verifySignature } from '@healthblock/crypto/signature'
import { concatBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import { type CborMap, type CborValue, encodeCbor } from '@healthblock/encoding/cbor'
import * as dagCbor from '@ipld/dag-cbor'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ChainError } from '../errors.ts'
import { encodeSealLeaf, parseSealLeaf } from '../log/seal.ts'
import { genesisLeaf } from '../policy/genesis.ts'
import {
  b8,
  b16,
  b32,
  bytesOf,
  flipBit,
  keyOf,
  sampleBodies,
  sampleGenesis,
  sampleSeal,
} from '../sample.test-support.ts'
import {
  encodeBody,
  encodeTransactionLeaf,
  leafKind,
  parseTransactionLeaf,
  signingMessage,
  signTransaction,
  type TransactionBody,
  transactionId,
  typeChains,
} from './transaction.ts'

const bodies = sampleBodies
const seal = sampleSeal
const doctor = b32('doctor')
const range = [b8('ecg'), 1, 20] as const
const genesis = sampleGenesis()
const { ledgerId } = genesis
const all: Record<string, TransactionBody> = { genesis: genesis.body, ...bodies }

function sign(body: TransactionBody) {
  const chain = typeChains[body.t] === 'docchain' ? 'docchain' : 'userchain'
  return signTransaction({
    ledgerId,
    chain,
    body,
    signers: [{ account: b32('account'), key: 1, signingKey: keyOf('op') }],
  })
}

function refusal(field: string, rule?: string) {
  const detail = { code: 'ERR_TRANSACTION_FORMAT', field, ...(rule === undefined ? {} : { rule }) }
  return expect.objectContaining({ name: 'ChainError', detail: expect.objectContaining(detail) })
}

describe('every type', () => {
  test.each(Object.entries(all))('%s reads back, and is what its signature and id are of', (_type, body) => {
    const chain = typeChains[body.t] === 'docchain' ? 'docchain' : 'userchain'
    const transaction = sign(body)
    const again = parseTransactionLeaf(transaction.leaf)
    expect(leafKind(again.leaf)).toBe('transaction')
    expect(encodeBody(again.body)).toEqual(Uint8Array.from(again.bodyBytes))
    expect(toHex(encodeTransactionLeaf(again))).toBe(toHex(transaction.leaf))
    const place = { ledgerId, chain, bodyBytes: again.bodyBytes } as const
    const signature = again.signatures[0]?.signature as Uint8Array
    verifySignature({ signature, message: signingMessage(place), key: parseVerifyingKey(keyOf('op').publicKey) })
    const ids = (['userchain', 'docchain'] as const).map((c) => toHex(transactionId({ ...place, chain: c })))
    expect(new Set(ids).size).toBe(2)
  })

  test.each(Object.entries(all))('%s with a field missing, added, or of another kind is refused', (type, body) => {
    const prefix = { diagnosis: 'D', amend: 'A' }[type] ?? type
    const optional = ['op', 'root', 'kem', 'suite', 'sid', 'carry', 'pair', 'esc']
    const leafOf = (fields: CborMap) => encodeTransactionLeaf({ bodyBytes: encodeCbor(fields), signatures: [] })
    const fields = body as unknown as CborMap
    for (const name of Object.keys(fields).filter((key) => key !== 't')) {
      const { [name]: _gone, ...rest } = fields
      const mayMiss = optional.includes(name) && (type !== 'register' || name === 'sid')
      if (mayMiss) parseTransactionLeaf(leafOf(rest))
      else expect(() => parseTransactionLeaf(leafOf(rest))).toThrow(refusal(name, `${prefix}.format`))
      const wrong: CborValue = fields[name] instanceof Uint8Array ? (fields[name] as Uint8Array).slice(1) : 'x'
      const accepted = ['id', 'version', 'arg'].includes(name)
      const bad = leafOf({ ...fields, [name]: accepted ? 1 : wrong })
      expect(() => parseTransactionLeaf(bad)).toThrow(refusal(name, `${prefix}.format`))
    }
    for (const extra of ['zz', '__proto__', 'constructor', 'tostring']) {
      const bad = { ...fields, [extra]: 1 }
      if (extra === '__proto__') Object.defineProperty(bad, extra, { value: 1, enumerable: true })
      expect(() => parseTransactionLeaf(leafOf(bad))).toThrow(refusal(extra, `${prefix}.format`))
    }
  })
})

test.each(['vote', 'stay', 'seal', 'constructor', 'hasownproperty', 'd'])('the type %s is unknown', (t) => {
  const bodyBytes = encodeCbor({ v: 1, t, a: b32('a') })
  expect(() => parseTransactionLeaf(encodeTransactionLeaf({ bodyBytes, signatures: [] }))).toThrow(
    refusal('t', 'transaction.format'),
  )
})

const many = <T>(value: T, count: number): T[] => Array.from({ length: count }, () => value)
const record = [b8('ecg'), 1, 1, 486_111, 0, 4096, b32('cid')] as const
const grant = [b16('grant'), doctor, [b8('ecg')], 1, 2, 3, 1] as const
test.each([
  ['iot', 'r', many(record, 64), many(record, 65)],
  ['iot', 'r', many(record, 1), []],
  ['iot', 'r', [record], [record.slice(0, 6)]],
  ['iot', 'r', [record], [[...record, 1]]],
  ['register', 'role', 8, 9],
  ['register', 'role', 1, 0],
  ['update', 'why', 255, 256],
  ['licence', 'state', 3, 4],
  ['device', 'streams', many(b8('s'), 16), many(b8('s'), 17)],
  ['device', 'act', 3, 0],
  ['key', 'cut', many([b8('s'), 1, 1], 256), many([b8('s'), 1, 1], 257)],
  ['key', 'close', many(b16('g'), 256), many(b16('g'), 257)],
  ['key', 'open', many(grant, 32), many(grant, 33)],
  ['key', 'open', [grant], [grant.with(2, [] as never)]],
  ['key', 'open', [grant], [grant.with(2, many(b8('s'), 17) as never)]],
  ['key', 'env', many([b16('g'), 1, b8('e')], 24), many([b16('g'), 1, b8('e')], 25)],
  ['key', 'env', [[b16('g'), 1, bytesOf('e', 16_384)]], [[b16('g'), 1, bytesOf('e', 16_385)]]],
  ['key', 'why', 6, 7],
  ['envelope', 'env', [[b16('g'), 1, b8('e')]], []],
  ['algorithm', 'act', 2, 3],
  ['diagnosis', 'in', many(range, 16), many(range, 17)],
  ['diagnosis', 'in', [range], []],
  ['diagnosis', 'basis', [1, b32('r')], [b32('r'), 1]],
  ['amend', 'act', 1, 4],
  ['unreadable', 'code', 1, 6],
] as const)('%s.%s: the limit holds, one beyond does not', (type, field, within, beyond) => {
  const bodyOf = (value: unknown) => ({ ...bodies[type], [field]: value }) as unknown as TransactionBody
  expect(parseTransactionLeaf(sign(bodyOf(within)).leaf).body.t).toBe(type)
  expect(() => encodeBody(bodyOf(beyond))).toThrow(refusal(field))
})

describe('leaves', () => {
  const good = sign(bodies.iot)
  const signature = (name: string, key: number) => ({ account: b32(name), key, signature: bytesOf('s', 64) })
  const raw = (sigs: CborValue) => concatBytes(Uint8Array.of(0x83, 1), good.bodyBytes, encodeCbor(sigs))

  test('signatures are sorted when written, and must be when read', () => {
    const three = [signature('b', 2), signature('a', 1), signature('b', 0)]
    const leaf = encodeTransactionLeaf({ bodyBytes: good.bodyBytes, signatures: three })
    const order = parseTransactionLeaf(leaf).signatures.map(({ account, key }) => [toHex(account).slice(0, 2), key])
    expect(order).toEqual([...order].sort())
    const sorted = parseTransactionLeaf(leaf).signatures.map(({ account, key, signature: s }) => [account, key, s])
    expect(() => parseTransactionLeaf(raw([...sorted].reverse()))).toThrow(refusal('sigs', 'iot.format'))
    expect(() => parseTransactionLeaf(raw([sorted[0] as CborValue, sorted[0] as CborValue]))).toThrow(refusal('sigs'))
    expect(() =>
      encodeTransactionLeaf({ bodyBytes: good.bodyBytes, signatures: [signature('a', 1), signature('a', 1)] }),
    ).toThrow(refusal('sigs'))
    for (const bad of [
      [[b32('a'), 3, bytesOf('s', 64)]],
      [[b32('a'), 1, bytesOf('s', 63)]],
      [[b16('a'), 1, bytesOf('s', 64)]],
      1,
    ]) {
      expect(() => parseTransactionLeaf(raw(bad as CborValue))).toThrow(refusal('sigs'))
    }
  })

  test('a registering account is the transaction itself', () => {
    const signers = [
      { key: 0, signingKey: keyOf('root') },
      { key: 1, signingKey: keyOf('op') },
      { account: b32('sponsor'), key: 1, signingKey: keyOf('sponsor') },
    ]
    const { bodyBytes, signatures } = signTransaction({ ledgerId, chain: 'userchain', body: bodies.register, signers })
    const id = toHex(transactionId({ ledgerId, chain: 'userchain', bodyBytes }))
    expect(signatures.map(({ account }) => toHex(account)).filter((account) => account === id).length).toBe(2)
  })

  test('too much of anything is refused', () => {
    const env = many([b16('g'), 1, bytesOf('e', 16_384)] as const, 4)
    expect(() => encodeBody({ ...bodies.envelope, env } as TransactionBody)).toThrow(refusal('body', 'envelope.format'))
    expect(() => parseTransactionLeaf(new Uint8Array(65_536))).toThrow(refusal('leaf'))
    expect(() => parseTransactionLeaf(concatBytes(good.leaf, Uint8Array.of(0)))).toThrow(refusal('leaf'))
    expect(() => parseTransactionLeaf(good.leaf.slice(0, -1))).toThrow(refusal('sigs'))
    expect(() => parseTransactionLeaf(encodeSealLeaf(seal))).toThrow(refusal('leaf'))
    expect(() => leafKind(Uint8Array.of(0x83, 0x02))).toThrow(ChainError)
    expect(() => leafKind(new Uint8Array())).toThrow(ChainError)
  })
})

describe('SEALs', () => {
  test('read back, with and without an anchor', () => {
    const anchored = { ...seal, anchor: [[2, b32('root')]] as const }
    for (const value of [seal, anchored]) {
      const leaf = encodeSealLeaf(value)
      expect(leafKind(leaf)).toBe('seal')
      expect({ ...parseSealLeaf(leaf) }).toEqual(value)
      expect(toHex(encodeSealLeaf(parseSealLeaf(leaf)))).toBe(toHex(leaf))
    }
  })

  test.each([
    ['k', { ...seal, k: 4097 }],
    ['st', { ...seal, st: b16('st') }],
    ['anchor', { ...seal, anchor: [] }],
    [
      'anchor',
      {
        ...seal,
        anchor: [
          [1, b32('r')],
          [2, b32('r')],
        ],
      },
    ],
    ['term', { ...seal, term: 1 }],
    ['ms', { ...seal, ms: undefined }],
  ])('with another %s it is refused', (field, value) => {
    const leaf = encodeCbor([2, value as unknown as CborMap])
    expect(() => parseSealLeaf(leaf)).toThrow(
      expect.objectContaining({ name: 'ChainError', detail: { code: 'ERR_LEAF_FORMAT', field } }),
    )
  })
})

/** Golden bytes of our own formats: whoever changes them makes another ledger. */
interface Golden {
  ledgerId: string
  genesisLeaf: string
  transactions: { type: string; chain: 'userchain' | 'docchain'; leaf: string; id: string }[]
  seal: string
}

describe('golden bytes', () => {
  const golden: Golden = JSON.parse(readFileSync(new URL('../../vectors/leaves.json', import.meta.url), 'utf8'))
  test('the ledger id and the genesis leaf', () => {
    expect(toHex(ledgerId)).toBe(golden.ledgerId)
    expect(toHex(genesisLeaf(genesis))).toBe(golden.genesisLeaf)
  })
  test('one transaction of each type', () => {
    expect(golden.transactions.map(({ type }) => type)).toEqual(Object.keys(bodies))
    for (const { type, chain, leaf, id } of golden.transactions) {
      const transaction = sign(all[type] as TransactionBody)
      expect(toHex(transaction.leaf)).toBe(leaf)
      // A general implementation of dag-cbor agrees that these are the canonical bytes.
      expect(toHex(dagCbor.encode(dagCbor.decode(fromHex(leaf))))).toBe(leaf)
      const { bodyBytes } = parseTransactionLeaf(fromHex(leaf))
      expect(toHex(transactionId({ ledgerId, chain, bodyBytes }))).toBe(id)
    }
  })
  test('a SEAL', () => {
    expect(toHex(encodeSealLeaf(seal))).toBe(golden.seal)
  })
})

test('a flipped bit in a leaf makes another transaction or none, never the same bytes twice', () => {
  for (const { leaf } of [sign(bodies.iot), sign(bodies.amend)]) {
    for (let bit = 0; bit < leaf.length * 8; bit++) {
      const flipped = flipBit(leaf, bit)
      try {
        const parsed = parseTransactionLeaf(flipped)
        expect(
          toHex(encodeTransactionLeaf({ bodyBytes: encodeBody(parsed.body), signatures: parsed.signatures })),
        ).toBe(toHex(flipped))
      } catch (error) {
        expect(error).toBeInstanceOf(ChainError)
      }
    }
  }
})

test('any bytes are a leaf or a typed error', () => {
  const seeds = Object.values(bodies).map((body) => sign(body).leaf)
  fc.assert(
    fc.property(
      fc.oneof(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(...seeds, encodeSealLeaf(seal))),
      fc.nat(),
      fc.nat(3),
      fc.uint8Array({ maxLength: 3 }),
      (base, at, cut, insert) => {
        const position = at % (base.length + 1)
        const bytes = concatBytes(base.slice(0, position), insert, base.slice(position + cut))
        for (const read of [parseTransactionLeaf, parseSealLeaf, leafKind]) {
          try {
            read(bytes)
          } catch (error) {
            expect(error).toBeInstanceOf(ChainError)
          }
        }
      },
    ),
    { numRuns: 3000 },
  )
})

test('whatever decodes as CBOR but is no transaction is refused with a typed error', () => {
  for (const value of [
    0,
    'x',
    [],
    {},
    [1],
    [1, {}],
    [1, {}, []],
    [1, [], []],
    [2, { t: 'iot' }],
    [1, { t: 'iot' }, []],
  ]) {
    const leaf = encodeCbor(value as CborValue)
    expect(() => parseTransactionLeaf(leaf)).toThrow(
      refusal((value as CborValue[])[1] === undefined ? 'leaf' : expect.any(String)),
    )
    expect(() => parseSealLeaf(leaf)).toThrow(ChainError)
  }
})
