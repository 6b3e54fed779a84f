import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeGenesis, genesisAccount, ledgerIdOf } from '@healthblock/chain/genesis'
import { generateKemKeyPair, kemSuiteDefault } from '@healthblock/crypto/envelope'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { concatBytes, toBase58, toHex } from '@healthblock/encoding/bytes'
import { LedgerFollower } from '@healthblock/runtime/follower'
import { createLogger } from '@healthblock/runtime/logger'
import { createTokenSource } from '@healthblock/runtime/token-guard'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { isStorageError } from '../errors.ts'
import { LedgerAuthorizer, LedgerMembers } from './ledger.ts'
import { FileMembers } from './members.ts'

const store = generateSigningKey()
const organisation = generateSigningKey()
const peerId = concatBytes(Uint8Array.of(0, 0x24, 8, 1, 0x12, 0x20), generateSigningKey().publicKey)
const keys = Array.from({ length: 5 }, () => generateSigningKey().publicKey) as [Uint8Array, ...Uint8Array[]]
const genesis = encodeGenesis({
  v: 1,
  t: 'genesis',
  start: 1_700_000_000_000,
  params: { epochms: 3_600_000, seals: 1 },
  q: 1,
  orgs: [[generateSigningKey().publicKey, organisation.publicKey, generateKemKeyPair().publicKey, kemSuiteDefault, 10]],
  nodes: [[0, keys[0], keys[1] as Uint8Array, keys[2] as Uint8Array, keys[3] as Uint8Array, keys[4] as Uint8Array]],
  stores: [[0, store.publicKey, peerId]],
})
const ledgerId = ledgerIdOf(genesis)
const account = genesisAccount(ledgerId, store.publicKey)
const self = new Uint8Array(randomBytes(32))

let folder: string
let follower: LedgerFollower

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'storage-ledger-'))
  // It asks nobody before it is started: genesis is all that it knows.
  follower = LedgerFollower.open({
    dir: join(folder, 'ledger'),
    genesis,
    urls: ['http://127.0.0.1:1'],
    docchain: false,
    logger: createLogger({ name: 'test', level: 'silent' }),
    token: () => '',
  })
})

afterEach(async () => {
  await follower.close()
  rmSync(folder, { recursive: true })
})

function outcome(authorizer: LedgerAuthorizer, token: string): string {
  try {
    return authorizer.authorize(token).role
  } catch (error) {
    if (isStorageError(error, 'ERR_TOKEN_INVALID')) return 'refused'
    throw error
  }
}

test('a store of the policy is a store, and a token is for this node, for storage, under the live key', async () => {
  const authorizer = new LedgerAuthorizer({ follower, self, now: Date.now })
  const good = { ledgerId, account, keyNumber: 2, signingKey: store, scope: 'storage' } as const
  expect(outcome(authorizer, createTokenSource({ ...good, audience: self })())).toBe('store')
  // What every node takes, one of them could use at the others in this store's name.
  expect(outcome(authorizer, createTokenSource(good)())).toBe('tenant')
  const stranger = generateSigningKey()
  for (const bad of [
    { ...good, scope: 'ledger' } as const,
    { ...good, audience: new Uint8Array(32) },
    { ...good, signingKey: stranger },
    { ...good, account: self },
    { ...good, keyNumber: 1 } as const,
    { ...good, now: () => Date.now() - 2 * 3_600_000 },
  ]) {
    expect(outcome(authorizer, createTokenSource(bad)())).toBe('refused')
  }
  expect(outcome(authorizer, 'nonsense')).toBe('refused')
})

test('what anybody erases must be signed, under a key that Userchain had in force at that time', () => {
  const authorizer = new LedgerAuthorizer({ follower, self, now: Date.now })
  expect(authorizer.signsErasures()).toBe(true)
  const start = follower.genesis.body.start
  expect(authorizer.erasureKeys({ account, key: 2 }, start)).toEqual([store.publicKey])
  expect(authorizer.erasureKeys({ account, key: 2 }, start - 3_600_000)).toEqual([])
  expect(authorizer.erasureKeys({ account, key: 1 }, start)).toBeUndefined()
  expect(authorizer.erasureKeys({ account: self, key: 2 }, start)).toBeUndefined()
})

test('a token that every node takes gives up the references of its account, one for this node does not', () => {
  const authorizer = new LedgerAuthorizer({ follower, self, now: Date.now })
  const good = { ledgerId, account, keyNumber: 2, signingKey: store, scope: 'storage' } as const
  expect(authorizer.releaserOf(createTokenSource(good)())).toEqual(account)
  expect(authorizer.releaserOf(createTokenSource({ ...good, audience: self })())).toBeUndefined()
  for (const bad of [{ ...good, signingKey: generateSigningKey() }, { ...good, scope: 'ledger' } as const]) {
    expect(() => authorizer.releaserOf(createTokenSource(bad)())).toThrow('not valid')
  }
})

test('only members that the ledger confirms count: account, key and peer id', () => {
  const path = join(folder, 'members.json')
  const line = { account: toHex(account), storeKey: toHex(store.publicKey), peerId: toBase58(peerId) }
  const write = (member: typeof line): void =>
    writeFileSync(path, JSON.stringify({ ledgerId: toHex(ledgerId), members: [member] }))
  write(line)
  const located = new FileMembers(path, (error) => {
    throw error
  })
  const members = new LedgerMembers({ located, follower })
  expect(members.list()).toHaveLength(1)
  expect(members.list()).toBe(members.list())
  expect(members.find(account)?.peerId).toBe(line.peerId)
  let changes = 0
  const end = members.onChange(() => changes++)
  located.reload()
  expect(changes).toBe(0)
  const strange = [
    { ...line, account: toHex(self) },
    { ...line, storeKey: toHex(self) },
    { ...line, peerId: `${line.peerId}1` },
  ]
  for (const wrong of strange) {
    write(wrong)
    located.reload()
    expect(members.list()).toEqual([])
    expect(members.findPeer(wrong.peerId)).toBeUndefined()
  }
  expect(changes).toBe(strange.length)
  end()
  write(line)
  located.reload()
  expect(changes).toBe(strange.length)
  located.close()
})
