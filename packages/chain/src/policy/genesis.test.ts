import { sha256 } from '@healthblock/crypto/hash'
import { concatBytes, encodeUtf8, toHex } from '@healthblock/encoding/bytes'
import { type CborMap, encodeCbor } from '@healthblock/encoding/cbor'
import { expect, test } from 'vitest'
import { ChainError } from '../errors.ts'
import { bytesOf, flipBit, keyOf, sampleGenesis } from '../sample.test-support.ts'
import { parseTransactionLeaf } from '../transaction/transaction.ts'
import { encodeGenesis, genesisAccounts, genesisLeaf, ledgerIdOf, parseGenesis, rulesVersionNewest } from './genesis.ts'

const genesis = sampleGenesis()
const { body, bytes } = genesis

test('the file reads back, names the ledger, and is the body of the leaf', () => {
  expect(toHex(encodeGenesis(body))).toBe(toHex(bytes))
  expect(toHex(ledgerIdOf(bytes))).toBe(toHex(sha256(bytes)))
  expect(toHex(parseTransactionLeaf(genesisLeaf(genesis)).bodyBytes)).toBe(toHex(bytes))
})

test('accounts follow from the first keys', () => {
  const account = (name: string) =>
    toHex(sha256(concatBytes(encodeUtf8('healthblock/1 account\0'), genesis.ledgerId, keyOf(name).publicKey)))
  const { organisations, nodes, stores } = genesisAccounts(genesis)
  expect(organisations.map(toHex)).toEqual([0, 1, 2, 3].map((i) => account(`root ${i}`)))
  expect(nodes.map(toHex)).toEqual([0, 1, 2, 3].map((i) => account(`node ${i}`)))
  expect(stores.map(toHex)).toEqual([0, 1, 2, 3].map((i) => account(`store ${i}`)))
})

const [firstOrg, ...orgs] = body.orgs as [(typeof body.orgs)[0], ...typeof body.orgs]
const [firstNode, ...nodes] = body.nodes as [(typeof body.nodes)[0], ...typeof body.nodes]
const [firstStore, ...stores] = body.stores as [(typeof body.stores)[0], ...typeof body.stores]
/** A point of order 8: it decodes, and is not of prime order. */
const torsion = Uint8Array.from(
  ('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a'.match(/../g) as string[]).map((pair) =>
    Number.parseInt(pair, 16),
  ),
)

test.each([
  ['q', { ...body, q: 2 }],
  ['q', { ...body, q: 5 }],
  ['q', { ...body, q: 0 }],
  ['nodes', { ...body, nodes: [] }],
  ['orgs', { ...body, orgs: [] }],
  ['orgs', { ...body, orgs: [firstOrg, firstOrg, ...orgs] }],
  ['orgs', { ...body, orgs: [firstOrg.with(0, firstOrg[1]), ...orgs] }],
  ['orgs', { ...body, orgs: [firstOrg.with(3, 2), ...orgs] }],
  ['orgs', { ...body, orgs: [firstOrg.with(0, torsion), ...orgs] }],
  ['orgs', { ...body, orgs: [firstOrg.with(0, new Uint8Array(32)), ...orgs] }],
  ['orgs', { ...body, orgs: [firstOrg.with(2, bytesOf('kem', 1215)), ...orgs] }],
  ['orgs', { ...body, orgs: [firstOrg.with(2, (body.orgs[1] as typeof firstOrg)[2]), ...orgs] }],
  ['nodes', { ...body, nodes: [firstNode.with(0, 4), ...nodes] }],
  ['nodes', { ...body, nodes: [firstNode.with(4, firstNode[2]), ...nodes] }],
  ['nodes', { ...body, nodes: [firstNode.with(5, firstOrg[0]), ...nodes] }],
  ['nodes', { ...body, nodes: [firstNode.with(3, torsion), ...nodes] }],
  ['stores', { ...body, stores: [firstStore.with(0, 4), ...stores] }],
  ['stores', { ...body, stores: [firstStore.with(1, firstNode[1]), ...stores] }],
  ['stores', { ...body, stores: [firstStore.with(2, new Uint8Array(65)), ...stores] }],
  ['params', { ...body, params: { epochms: 0, seals: 1 } }],
  ['params', { ...body, params: { epochms: 1, seals: rulesVersionNewest + 1 } }],
  ['params', { ...body, params: { epochms: 1, seals: 1, more: 1 } }],
  ['start', { ...body, start: 'x' }],
  ['a', { ...body, t: 'govern' }],
  ['t', { v: 1, t: 'algorithm', a: bytesOf('a'), id: 'x', version: '1', hash: bytesOf('h'), act: 1 }],
  ['name', { ...body, name: 'x' }],
])('refuses a file with another %s', (field, changed) => {
  const file = encodeCbor(changed as unknown as CborMap)
  expect(() => parseGenesis(file)).toThrow(
    expect.objectContaining({ name: 'ChainError', detail: { code: 'ERR_GENESIS_INVALID', field } }),
  )
})

test('bytes before, behind, missing or flipped never give the same ledger', () => {
  for (const bad of [concatBytes(bytes, Uint8Array.of(0)), bytes.slice(0, -1), bytes.slice(1), new Uint8Array()]) {
    expect(() => parseGenesis(bad)).toThrow(ChainError)
  }
  for (let bit = 0; bit < bytes.length * 8; bit += 61) {
    const flipped = flipBit(bytes, bit)
    try {
      expect(toHex(parseGenesis(flipped).ledgerId)).not.toBe(toHex(genesis.ledgerId))
    } catch (error) {
      if (!(error instanceof ChainError)) throw error
    }
  }
})

test('a file that is read again is what it was, whatever became of the bytes that it was first read from', () => {
  const fresh = encodeGenesis({ ...body, start: body.start + 1 })
  const again = fresh.slice()
  const first = parseGenesis(fresh)
  fresh.fill(0)
  const second = parseGenesis(again)
  expect(encodeGenesis(second.body)).toEqual(again)
  expect(second.bytes).toBe(again)
  expect(second.ledgerId).toEqual(sha256(again))
  // What was checked once is not taken apart again.
  expect(second.body).toBe(first.body)
  expect(() => parseGenesis(fresh)).toThrow(ChainError)
})
