/** Stores that say they have a block which they do not have: what the others do about it. */
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { signingKeyFromSeed } from '@healthblock/crypto/signature'
import { toHex } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { afterEach, expect, test } from 'vitest'
import { Cluster, type Place } from '../cluster.fixture.ts'
import { readConfig } from '../config.ts'
import { codecRaw, hashBlock } from '../store/block-id.ts'
import { rankMembers } from './placement.ts'
import { isProof, newNonce, proofOf } from './possession.ts'
import { answerMessage, answerSignatureHeader } from './receipt.ts'

const cluster = new Cluster()
let imposter: Server | undefined

afterEach(async () => {
  imposter?.closeAllConnections()
  imposter?.close()
  await cluster.end()
})

async function bodyOf(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/** Stands in the place of a store with its key: has every block if asked, takes every copy, and keeps none. */
async function standIn(place: Place, prove: (nonce: Uint8Array, digest: Uint8Array) => CborValue): Promise<void> {
  const { ledgerId } = cluster
  const key = signingKeyFromSeed(readConfig(place.environment).secrets.storeSeed)
  const answerTo = (path: string, question: CborValue): CborValue => {
    if (path === '/v1/replicas/prove') {
      const [nonce, digests] = question as [Uint8Array, Uint8Array[]]
      return digests.map((digest) => prove(nonce, digest))
    }
    return (question as CborValue[]).map(() => 1)
  }
  imposter = createServer((request, response) => {
    bodyOf(request).then((body) => {
      const answer = encodeCbor(answerTo(request.url ?? '', decodeCbor(body)))
      const signature = key.sign(answerMessage({ ledgerId, request: body, answer }))
      response.setHeader(answerSignatureHeader, Buffer.from(signature).toString('base64url')).end(answer)
    }, request.destroy.bind(request))
  })
  await new Promise<void>((resolve) => imposter?.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(imposter.address() as AddressInfo).port}`
  writeFileSync(join(place.environment.STORAGE_DIR as string, 'address.json'), JSON.stringify({ url, addresses: [] }))
  cluster.writeMembers()
}

/** A block that `keeper` and `other` shall hold, in any order, and the third store if one of them does not. */
function blockFor(keeper: Place, other: Place): Uint8Array {
  for (;;) {
    const block = new Uint8Array(randomBytes(1024))
    const [first, second] = rankMembers(hashBlock(block), keeper.members?.list() ?? []).map(({ peerId }) => peerId)
    if ([first, second].sort().join() === [keeper.peerId, other.peerId].sort().join()) return block
  }
}

test('a store that says it has a block must prove it, or the next one gets a copy and the store is named', async () => {
  await cluster.prepare(3, { STORAGE_REPLICAS: '2' })
  await cluster.startAll()
  const [keeper, liar, spare] = cluster.places as [Place, Place, Place]
  const { ledgerId } = cluster
  const truth = (nonce: Uint8Array, block: Uint8Array): Uint8Array =>
    proofOf({ ledgerId, store: liar.account, nonce, block })
  const lies: [string, (nonce: Uint8Array, block: Uint8Array) => CborValue, boolean][] = [
    ['nothing', () => 0, false],
    ['something made up', () => new Uint8Array(randomBytes(32)), false],
    ["another store's proof", (nonce, block) => proofOf({ ledgerId, store: keeper.account, nonce, block }), false],
    ['an older proof', (_, block) => proofOf({ ledgerId, store: liar.account, nonce: newNonce(), block }), false],
    ['the proof', truth, true],
  ]
  const blocks = lies.map(() => blockFor(keeper, liar))
  for (const block of blocks) await cluster.client(keeper).block.put(block)
  await cluster.stop(liar)
  await keeper.node?.repair.run()
  for (const [index, [name, prove, isBelieved]] of lies.entries()) {
    const block = blocks[index] as Uint8Array
    const digest = hashBlock(block)
    // Of the other blocks it is in good faith.
    await standIn(liar, (nonce, asked) => {
      const other = blocks.find((one) => toHex(hashBlock(one)) === toHex(asked)) as Uint8Array
      return other === block ? prove(nonce, block) : truth(nonce, other)
    })
    const before = keeper.node?.store.incidents(0, 1000).length ?? 0
    expect(spare.node?.store.has(digest)).toBe(false)
    await keeper.node?.repair.run({ target: liar.account })
    const reported = keeper.node?.store.incidents(0, 1000).slice(before) ?? []
    const isNamed = reported.some((one) => toHex(one.digest) === toHex(digest))
    expect([name, isNamed, spare.node?.store.has(digest)]).toEqual([name, !isBelieved, !isBelieved])
    for (const one of reported) expect([one.kind, toHex(one.node)]).toEqual(['copy-not-proved', toHex(liar.account)])
    imposter?.closeAllConnections()
    imposter?.close()
  }
})

test('a proof is of one store, one nonce, one block and one ledger', () => {
  const bytes = (value: number): Uint8Array => new Uint8Array(32).fill(value)
  const possession = { ledgerId: bytes(1), store: bytes(2), nonce: bytes(3), block: new Uint8Array([4]) }
  const proof = proofOf(possession)
  expect(isProof(proof, possession)).toBe(true)
  for (const field of ['ledgerId', 'store', 'nonce', 'block'] as const) {
    expect(isProof(proof, { ...possession, [field]: bytes(9) })).toBe(false)
  }
  for (const answer of [0, 1, undefined, proof.subarray(1), codecRaw]) expect(isProof(answer, possession)).toBe(false)
})
