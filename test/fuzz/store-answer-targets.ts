/**
 * The header of receipts in a store's answer, damaged at random, as clients read it: no receipt is believed that a store has
 * not signed for this block, and what is wrong is a typed error.
 */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { verifyStatement } from '@healthblock/chain/statement'
import { sha256 } from '@healthblock/crypto/hash'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { encodeUtf8, equalBytes } from '@healthblock/encoding/bytes'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { cidOf, receiptsHeader, StorageClient } from '@healthblock/runtime/storage-client'
import { encodeReceipts, signReceipt } from '../../services/storage/src/replication/receipt.ts'
import { type FuzzTarget, latin1, texts } from '../support/fuzz.ts'

const ledgerId = sha256(encodeUtf8('a ledger'))
const block = encodeUtf8('a block')
const digest = sha256(block)
const stores = [1, 2, 3].map((byte) => ({ account: new Uint8Array(32).fill(byte), key: generateSigningKey() }))
const signed = stores.map(({ account, key }) =>
  signReceipt(key, ledgerId, { digest, size: block.length, ms: 1_700_000_000_000, store: account }),
)

/** The header of the next answer. */
let header = ''
const liar = createServer((request, response) => {
  request.resume()
  request.on('end', () => {
    response.writeHead(200, { 'content-type': 'application/json', [receiptsHeader]: header })
    response.end(JSON.stringify({ Key: cidOf(digest), Size: block.length }))
  })
})

function keyOf(account: Uint8Array): Uint8Array | undefined {
  return stores.find((store) => equalBytes(store.account, account))?.key.publicKey
}

/** A client that has not left the server alone yet. */
function freshClient(): StorageClient {
  const urls = [`http://127.0.0.1:${(liar.address() as AddressInfo).port}`]
  return new StorageClient({ urls, ledgerId, token: () => 'test-token', storeKeyOf: keyOf, timeoutMs: 5_000 })
}

/** Only what a header may hold gets to a client at all. */
function textOf(damaged: Uint8Array): string {
  return latin1(damaged).replaceAll(/[^\t\x20-\x7e\x80-\xff]/g, ' ')
}

async function putWith(damaged: Uint8Array): Promise<void> {
  header = textOf(damaged)
  const { receipts } = await freshClient().put(block)
  const accounts = new Set(receipts.map(({ store }) => Buffer.from(store).toString('hex')))
  assert.ok(accounts.size >= 2 && accounts.size === receipts.length, 'of different stores')
  for (const { bytes, store } of receipts) {
    const [statement, signature] = decodeCbor(bytes) as [{ cid: Uint8Array; size: number }, Uint8Array]
    assert.deepEqual([Buffer.from(statement.cid), statement.size], [Buffer.from(digest), block.length])
    const proved = { signed: { statement: encodeCbor(statement), signature }, ledgerId }
    verifyStatement({ name: 'storage', ...proved, publicKey: keyOf(store) as Uint8Array })
  }
}

/** What a client believes of a lying store. */
export async function storeAnswerTargets(): Promise<{ targets: FuzzTarget[]; close: () => Promise<void> }> {
  await new Promise<void>((resolve) => liar.listen(0, '127.0.0.1', resolve))
  const corpus = texts(encodeReceipts(signed), encodeReceipts(signed.slice(1)))
  const targets = [
    { name: 'receipts in the answer to a put', corpus, parse: putWith },
    {
      name: 'receipts that a store gathers',
      corpus,
      async parse(damaged: Uint8Array) {
        header = textOf(damaged)
        // Whoever judges a bundle verifies them; here they need only have a form.
        for (const { signature } of await freshClient().statements(digest)) assert.ok(signature instanceof Uint8Array)
      },
    },
  ]
  const close = async (): Promise<void> => {
    liar.closeAllConnections()
    liar.close()
  }
  return { targets, close }
}
