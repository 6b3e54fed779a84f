import { sha256 } from '@healthblock/crypto/hash'
import { generateSigningKey, type SigningKey } from '@healthblock/crypto/signature'
import { concatBytes, encodeUtf8, toBase64Url, toHex } from '@healthblock/encoding/bytes'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import fastify from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { codeOf } from '../errors.ts'
import type { QuarantineEvent } from '../http/sources.ts'
import { cidOf, StorageClient, type StorageClientOptions } from './storage-client.ts'

const ledgerId = sha256(encodeUtf8('test ledger'))
const stores = [generateSigningKey(), generateSigningKey(), generateSigningKey()].map((key) => ({
  key,
  account: sha256(key.publicKey),
}))

function receipt(key: SigningKey, account: Uint8Array, digest: Uint8Array, size: number): [object, Uint8Array] {
  const statement = { v: 1, cid: digest, size, ms: 1_700_000_000_000, store: account }
  const label = concatBytes(encodeUtf8('healthblock/1 storage'), Uint8Array.of(0), ledgerId)
  return [statement, key.sign(concatBytes(label, encodeCbor(statement)))]
}

interface Behaviour {
  copies?: number
  forgeReceipt?: boolean
  wrongBytes?: boolean
  wrongKey?: boolean
  status?: number
  words?: string
  /** Takes requests and never answers. */
  silent?: boolean
}

const open: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const server of open.splice(0)) await server.close()
})

/** A storage node of one table, which speaks as much of the RPC as the client uses. */
async function startNode(behaviour: Behaviour = {}): Promise<{ url: string; calls: string[] }> {
  const app = fastify({ forceCloseConnections: true })
  const blocks = new Map<string, Uint8Array>()
  const receipts = new Map<string, string>()
  const calls: string[] = []
  app.addContentTypeParser('multipart/form-data', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.addHook('onRequest', async (request, reply) => {
    calls.push(request.url.split('?')[0] as string)
    if (request.headers.authorization !== 'Bearer test-token')
      return reply.code(401).send({ code: 'ERR_TOKEN_MISSING' })
    if (behaviour.silent === true) return reply.hijack()
    if (behaviour.status !== undefined)
      return reply.code(behaviour.status).send({ code: 'ERR_X', detail: behaviour.words ?? 'no' })
  })
  app.post('/api/v0/block/put', async (request, reply) => {
    const form = await new Response(request.body as Buffer<ArrayBuffer>, {
      headers: { 'content-type': request.headers['content-type'] as string },
    }).formData()
    const bytes = new Uint8Array(await (form.get('data') as File).arrayBuffer())
    const digest = sha256(bytes)
    blocks.set(cidOf(digest), bytes)
    const signed = stores
      .slice(0, behaviour.copies ?? 2)
      .map(({ key, account }) =>
        receipt(behaviour.forgeReceipt ? generateSigningKey() : key, account, digest, bytes.length),
      )
    const header = toBase64Url(encodeCbor(signed as never))
    receipts.set(cidOf(digest), header)
    reply.header('healthblock-receipts', header)
    return { Key: behaviour.wrongKey ? cidOf(sha256(digest)) : cidOf(digest), Size: bytes.length }
  })
  const find = (query: unknown): Uint8Array | undefined => blocks.get((query as { arg: string }).arg)
  app.post('/api/v0/block/get', async (request, reply) => {
    const bytes = find(request.query)
    if (bytes === undefined)
      return reply.code(500).send({ Message: 'block was not found locally (offline)', Code: 0, Type: 'error' })
    return reply
      .type('application/octet-stream')
      .send(Buffer.from(behaviour.wrongBytes ? bytes.map((byte) => byte ^ 1) : bytes))
  })
  app.post('/api/v0/block/stat', async (request, reply) => {
    const bytes = find(request.query)
    if (bytes === undefined) return reply.code(404).send({ code: 'ERR_BLOCK_NOT_FOUND' })
    return { Key: (request.query as { arg: string }).arg, Size: bytes.length }
  })
  app.post<{ Params: { cid: string } }>('/v1/receipts/:cid', async ({ params: { cid } }, reply) => {
    const header = receipts.get(cid)
    if (header === undefined) return reply.code(404).send({ code: 'ERR_BLOCK_NOT_FOUND' })
    reply.header('healthblock-receipts', header)
    return { cid }
  })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  open.push(app)
  return { url, calls }
}

function clientOf(
  urls: readonly string[],
  options: Partial<StorageClientOptions> = {},
): { client: StorageClient; events: QuarantineEvent[] } {
  const events: QuarantineEvent[] = []
  const client = new StorageClient({
    urls,
    ledgerId,
    token: () => 'test-token',
    storeKeyOf: (account) => stores.find((store) => toHex(store.account) === toHex(account))?.key.publicKey,
    onQuarantine: (event) => events.push(event),
    timeoutMs: 2_000,
    ...options,
  })
  return { client, events }
}

const block = encodeUtf8('ciphertext of a batch')
const caught = (promise: Promise<unknown>): Promise<unknown> => promise.then(() => 'no error', codeOf)

describe('StorageClient', () => {
  it('puts with verified receipts, gets and sizes', async () => {
    const { url } = await startNode()
    const { client } = clientOf([url])
    const stored = await client.put(block)
    expect(stored.digest).toEqual(sha256(block))
    expect(stored.receipts.map((one) => toHex(one.store))).toEqual(
      stores.slice(0, 2).map((store) => toHex(store.account)),
    )
    expect(await client.get(stored.digest)).toEqual(block)
    expect(await client.stat(stored.digest)).toEqual({ sizeBytes: block.length })
    expect(await client.stat(sha256(stored.digest))).toBeUndefined()
    expect(await caught(client.get(sha256(stored.digest)))).toBe('ERR_BLOCK_NOT_FOUND')
  })

  it('gives what stores sign of having a block, as it is; nothing of one that nobody has', async () => {
    const { url } = await startNode()
    const { client: storage } = clientOf([url])
    const bytes = encodeUtf8('a sealed batch')
    const { digest, receipts } = await storage.put(bytes)
    const words = await storage.statements(digest)
    const verified = receipts.map(({ bytes: one }) => decodeCbor(one))
    expect(words.map(({ statement, signature }) => [decodeCbor(statement), signature])).toEqual(verified)
    expect(words).toHaveLength(2)
    expect(await storage.statements(sha256(digest))).toEqual([])
  })

  it('goes on to another node when one is away, full, or has too few copies', async () => {
    const away = 'http://127.0.0.1:1'
    const full = await startNode({ status: 507 })
    const thin = await startNode({ copies: 1 })
    const good = await startNode({ copies: 3 })
    const { client, events } = clientOf([away, full.url, thin.url, good.url])
    expect((await client.put(block)).receipts).toHaveLength(3)
    expect(events).toEqual([])
    const alone = clientOf([thin.url]).client
    expect(await caught(alone.put(block))).toBe('ERR_RECEIPTS_MISSING')
  })

  it.each([
    ['receipts that nobody signed', { forgeReceipt: true }],
    ['another key', { wrongKey: true }],
  ])('leaves a node alone that answers with %s', async (_what, behaviour) => {
    const bad = await startNode(behaviour)
    const good = await startNode()
    const { client, events } = clientOf([bad.url, good.url])
    expect((await client.put(block)).receipts).toHaveLength(2)
    expect(events.map((event) => event.url)).toEqual([bad.url])
    await client.put(block)
    expect(bad.calls).toHaveLength(1)
  })

  it('does not wait for a node that takes requests and never answers, alone, and tries it last from then on', async () => {
    const silent = await startNode({ silent: true })
    const good = await startNode()
    const { client } = clientOf([silent.url, good.url], { timeoutMs: 600_000 })
    const { digest } = await client.put(block)
    expect(await client.get(digest)).toEqual(block)
    expect(await client.stat(digest)).toEqual({ sizeBytes: block.length })
    expect(silent.calls).toEqual(['/api/v0/block/put'])
  })

  it('never returns bytes that do not hash to the digest', async () => {
    const bad = await startNode({ wrongBytes: true })
    const good = await startNode()
    let now = 0
    const { client, events } = clientOf([bad.url, good.url], { now: () => now })
    await clientOf([bad.url]).client.put(block)
    await clientOf([good.url]).client.put(block)
    expect(await client.get(sha256(block))).toEqual(block)
    expect(events).toHaveLength(1)
    expect(client.sources.candidates()).toEqual([good.url])
    now = 600_001
    expect(client.sources.candidates()).toEqual([bad.url, good.url])
    expect(await caught(clientOf([bad.url]).client.get(sha256(block)))).toBe('ERR_NO_SOURCE')
  })

  it.each([
    ['says why not', { status: 500 }],
    ['does not know who asks', { status: 401, words: 'the account was not found' }],
  ])('takes a block for absent once each node says so, not if one of them %s', async (_what, behaviour) => {
    const [empty, failing] = [await startNode(), await startNode(behaviour)]
    const digest = sha256(block)
    for (const urls of [
      [empty.url, failing.url],
      [failing.url, empty.url],
    ]) {
      const { client } = clientOf(urls)
      for (const question of [client.get(digest), client.stat(digest), client.statements(digest)])
        expect(await caught(question)).toMatch(/^ERR_(NO_SOURCE|SOURCE_REFUSED)$/)
    }
    const { client } = clientOf([empty.url, (await startNode()).url])
    expect(await caught(client.get(digest))).toBe('ERR_BLOCK_NOT_FOUND')
    expect([await client.stat(digest), await client.statements(digest)]).toEqual([undefined, []])
  })

  it('believes that something is wrong with the request itself once each node that answers says so', async () => {
    const [first, second] = [await startNode({ status: 413 }), await startNode({ status: 413 })]
    const { client } = clientOf(['http://127.0.0.1:1', first.url, second.url])
    expect(await caught(client.put(block))).toBe('ERR_SOURCE_REFUSED')
    expect(second.calls).toHaveLength(1)
    expect(await caught(clientOf([second.url]).client.put(new Uint8Array(2 * 1024 * 1024 + 1)))).toBe(
      'ERR_LIMIT_EXCEEDED',
    )
  })
})
