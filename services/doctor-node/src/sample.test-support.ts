/**
 * For this service's tests: a small network in this process. The ledger is chain's own behind runtime's test server, the
 * store a table behind the RPC that clients speak, the patient a few keys that sign and seal as the user node does.
 */
import { createServer, request as sendRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { diagnosisStreamId } from '@healthblock/chain/diagnosis-stream'
import { signStatement } from '@healthblock/chain/statement'
import type { DiagnosisBody, GrantOpening, IotRecord, TransactionBody } from '@healthblock/chain/transaction'
import { composeEnvelope, generateKemKeyPair, kemSuiteDefault, sealEnvelope } from '@healthblock/crypto/envelope'
import { sha256 } from '@healthblock/crypto/hash'
import { epochKeyFrom, newStreamRoot, type TreeNode } from '@healthblock/crypto/key-tree'
import { openPayload, type PayloadFields, payloadKinds, sealPayload } from '@healthblock/crypto/payload'
import { randomBytes } from '@healthblock/crypto/random'
import { generateSigningKey, type SigningKey } from '@healthblock/crypto/signature'
import { algorithmHashHex } from '@healthblock/diagnosis/algorithm'
import { encodeBatch, parseBatch } from '@healthblock/diagnosis/batch'
import type { DiagnosisRecord } from '@healthblock/diagnosis/diagnose'
import { type DiagnosisDocument, parseDiagnosis } from '@healthblock/diagnosis/document'
import { generateEcg } from '@healthblock/diagnosis/generator'
import { encodeUtf8, equalBytes, fromHex, toBase64Url, toHex } from '@healthblock/encoding/bytes'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { cidOf } from '@healthblock/runtime/storage-client'
import fastify from 'fastify'
import {
  createConsortium,
  hourMs,
  startTestNode,
  TestLedger,
  type TestNode,
} from '../../../packages/runtime/src/testkit.ts'

/** Size class of the patient's batches. */
const batchSizeBytes = 16_384
const noEnd = Number.MAX_SAFE_INTEGER
const usualForm = { rateHz: 250, secondsPerBatch: 10 }

/** The network that a doctor's node talks to. */
export interface TestNetwork {
  readonly history: TestLedger
  readonly accounting: TestNode
  readonly accountingUrl: string
  readonly storageUrl: string
  /** Blocks by CID text; a test may take one away or put another in its place. */
  readonly blocks: Map<string, Uint8Array>
  /** While true the store takes no block. */
  isFull: boolean
  /** While true the store answers no question with a block. */
  isAway: boolean
  /** While set, the store leaves each question for a block unanswered, and this is told of it. */
  onUnanswered: (() => void) | undefined
  close(): Promise<void>
}

/** A doctor's registered keys, as far as a patient needs them. */
export interface Recipient {
  readonly account: Uint8Array
  readonly kemKey: Uint8Array
}

/** The test server knows one token: this passes requests on with it, whoever asks. */
async function startTokenProxy(target: string): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer((incoming, outgoing) => {
    const headers = { ...incoming.headers, authorization: 'Bearer test-token' }
    const passed = sendRequest(
      new URL(incoming.url as string, target),
      { method: incoming.method, headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode as number, answer.headers)
        answer.pipe(outgoing)
        outgoing.once('close', () => answer.destroy())
      },
    )
    passed.once('error', () => outgoing.destroy())
    incoming.pipe(passed)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const close = async (): Promise<void> => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close }
}

/** Starts the network. */
export async function startNetwork(): Promise<TestNetwork> {
  const consortium = createConsortium(1)
  const history = new TestLedger(consortium)
  const accounting = await startTestNode(history)
  const proxy = await startTokenProxy(accounting.url)
  const blocks = new Map<string, Uint8Array>()
  const app = fastify({ forceCloseConnections: true })
  const network: Pick<TestNetwork, 'isFull' | 'isAway' | 'onUnanswered'> = {
    ...{ isFull: false, isAway: false, onUnanswered: undefined },
  }
  app.addContentTypeParser('multipart/form-data', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.addHook('onRequest', async (request, reply) => {
    if (network.isFull && request.url.includes('block/put')) return reply.code(503).send({ code: 'ERR_BUSY' })
  })
  app.addHook('onRequest', async (request, reply) => {
    if (network.isAway && request.url.includes('block/get')) return reply.code(500).send({ code: 'ERR_UNKNOWN' })
  })
  app.addHook('onRequest', async (request, reply) => {
    if (network.onUnanswered === undefined || !request.url.includes('block/get')) return
    network.onUnanswered()
    return reply.hijack()
  })
  app.post('/api/v0/block/put', async (request, reply) => {
    const form = await new Response(request.body as Buffer<ArrayBuffer>, {
      headers: { 'content-type': request.headers['content-type'] as string },
    }).formData()
    const bytes = new Uint8Array(await (form.get('data') as File).arrayBuffer())
    const digest = sha256(bytes)
    blocks.set(cidOf(digest), bytes)
    const { account, key } = consortium.store
    const statement = { v: 1, cid: digest, size: bytes.length, ms: Date.now(), store: account } as const
    const signed = signStatement({
      name: 'storage',
      statement,
      ledgerId: history.ledger.ledgerId,
      signingKey: key,
    })
    reply.header('healthblock-receipts', toBase64Url(encodeCbor([[decodeCbor(signed.statement), signed.signature]])))
    return { Key: cidOf(digest), Size: bytes.length }
  })
  app.post('/api/v0/block/get', async (request, reply) => {
    const bytes = blocks.get((request.query as { arg: string }).arg)
    if (bytes === undefined) return reply.code(404).send({ code: 'ERR_BLOCK_NOT_FOUND' })
    return reply.type('application/octet-stream').send(Buffer.from(bytes))
  })
  const storageUrl = await app.listen({ host: '127.0.0.1', port: 0 })
  return Object.assign(network, {
    ...{ history, accounting, accountingUrl: proxy.url, storageUrl, blocks },
    async close() {
      await proxy.close()
      await accounting.close()
      await app.close()
    },
  })
}

/** Puts the algorithm of this release on record. */
export function registerAlgorithm(history: TestLedger): void {
  const { account, op } = history.consortium.organisation
  const body = { v: 1, t: 'algorithm', a: account, id: 'monitor', version: '1', act: 1 } as const
  const hash = fromHex(algorithmHashHex)
  history.block('userchain', [history.sign('userchain', { ...body, hash }, [{ account, key: 1, signingKey: op }])])
}

/** Licenses a registered doctor for an hour more than a day. */
export function license(history: TestLedger, doctor: Uint8Array): void {
  const { account, op } = history.consortium.organisation
  const range = { state: 1, from: history.nowMs - hourMs, to: history.nowMs + 25 * hourMs }
  const body = { v: 1, t: 'licence', a: account, doctor, ...range, n: Date.now(), x: history.nowMs + hourMs } as const
  history.block('userchain', [history.sign('userchain', body, [{ account, key: 1, signingKey: op }])])
}

/** A patient with one stream. */
export class TestPatient {
  readonly network: TestNetwork
  readonly account: Uint8Array
  readonly stream = randomBytes(8)
  readonly #kind: number
  readonly #op: SigningKey
  readonly #root: SigningKey
  readonly #roots = new Map<string, TreeNode>()
  readonly #posted: IotRecord[] = []
  #generation = 0
  #sequence = 0
  #counter = 0
  readonly #epoch: number
  #startMs: number

  /** @param kind - of the stream: 1 ECG, 2 vital signs. */
  constructor(network: TestNetwork, kind = 1) {
    this.network = network
    this.#kind = kind
    const { history } = network
    const { account: sponsor, op: sponsorKey } = history.consortium.organisation
    const [root, op] = [generateSigningKey(), generateSigningKey()]
    const keys = { root: root.publicKey, op: op.publicKey, kem: generateKemKeyPair().publicKey, suite: kemSuiteDefault }
    const registration = history.sign(
      'userchain',
      { v: 1, t: 'register', role: 1, ...keys, sponsor, salt: randomBytes(16) },
      [
        { key: 0, signingKey: root },
        { key: 1, signingKey: op },
        { account: sponsor, key: 1, signingKey: sponsorKey },
      ],
    )
    this.account = history.id(registration)
    this.#op = op
    this.#root = root
    this.#epoch = Math.floor(Date.now() / hourMs)
    this.#startMs = Date.now() - hourMs
    history.block('userchain', [registration])
    history.block('userchain', [history.device({ account: this.account, op }, [this.stream])])
    this.#counter = Date.now() + 1_000_000
  }

  /** Commits a transaction of the patient's, and says so if it was not valid. */
  #commit(body: TransactionBody): void {
    const { history } = this.network
    const signers = [{ account: this.account, key: 1, signingKey: this.#op }]
    if (body.t === 'key' && body.open.length > 0)
      signers.unshift({ account: this.account, key: 0, signingKey: this.#root })
    const transaction = history.sign('userchain', body, signers)
    history.block('userchain', [transaction])
    if (history.ledger.index('userchain').find(history.id(transaction)) === undefined) {
      const verdict = history.ledger.judge('userchain', transaction, { atMs: history.nowMs + 1 })
      throw new Error(`not committed: ${JSON.stringify(verdict)}`)
    }
  }

  /** Opens the next generation: cuts, closes, grants, envelopes; with `history` of the older generations too. */
  async rotate(
    options: {
      close?: Uint8Array[]
      open?: Recipient[]
      keep?: [Uint8Array, Recipient][]
      history?: boolean
      rights?: number
      fromEpoch?: number
    } = {},
  ): Promise<Uint8Array[]> {
    const { history } = this.network
    const { ledger } = history
    this.#generation++
    const opened = (options.open ?? []).map((recipient) => [randomBytes(16), recipient] as [Uint8Array, Recipient])
    const env: [Uint8Array, number, Uint8Array][] = []
    for (const [gid, recipient] of [...(options.keep ?? []), ...opened]) {
      const first = options.history === true ? 1 : this.#generation
      for (let generation = first; generation <= this.#generation; generation++)
        env.push([gid, generation, await this.#envelope(gid, recipient, generation)])
    }
    const { size, root } = ledger.head('userchain')
    const until = noEnd
    const { rights = 3, fromEpoch = this.#epoch } = options
    const open = opened.map(
      ([gid, { account }]): GrantOpening => [gid, account, [this.stream], fromEpoch, until, rights, 0],
    )
    this.#commit({
      ...{ v: 1, t: 'key', a: this.account, n: ++this.#counter, x: history.nowMs + hourMs },
      ...{
        gen: this.#generation,
        first: this.#epoch,
        close: options.close ?? [],
        open,
        env,
        why: 1,
        seen: [size, root],
      },
      cut: this.#generation === 1 ? [] : [[this.stream, this.#generation - 1, this.#sequence]],
    })
    return opened.map(([gid]) => gid)
  }

  #rootOf(stream: Uint8Array, generation = this.#generation): TreeNode {
    const name = `${generation}/${toHex(stream)}`
    const root = this.#roots.get(name) ?? newStreamRoot()
    this.#roots.set(name, root)
    return root
  }

  #envelope(grantId: Uint8Array, recipient: Recipient, generation: number): Promise<Uint8Array> {
    const { ledgerId } = this.network.history.ledger
    const diagnosis = diagnosisStreamId({ ledgerId, patient: this.account, doctor: recipient.account })
    const contents = composeEnvelope({
      range: { first: this.#epoch, from: this.#epoch },
      streams: [
        {
          stream: this.stream,
          kind: this.#kind,
          class: batchSizeBytes,
          nodes: [this.#rootOf(this.stream, generation)],
        },
      ],
      diagnosis: [{ stream: diagnosis, nodes: [this.#rootOf(diagnosis, generation)] }],
    })
    const place = { ledgerId, patient: this.account, grantId, generation }
    const context = { ...place, recipient: recipient.account, recipientKemKey: recipient.kemKey }
    return sealEnvelope({ suite: 1, context, contents })
  }

  /** What an auditor to whom the patient disclosed her keys sees: the document of a diagnosis, and the batches it names. */
  disclose(body: DiagnosisBody): { document: DiagnosisDocument; records: DiagnosisRecord[] } {
    const { history, blocks } = this.network
    const { ledgerId } = history.ledger
    const stream = diagnosisStreamId({ ledgerId, patient: this.account, doctor: body.a })
    const { gen: generation, epoch, seq: sequence } = body
    const key = (of: Uint8Array, place: { generation: number; epoch: number }): Uint8Array =>
      epochKeyFrom({ nodes: [this.#rootOf(of, place.generation)], first: this.#epoch, epoch: place.epoch })
    const open = (cid: Uint8Array, fields: PayloadFields): Uint8Array => {
      const block = blocks.get(cidOf(cid)) as Uint8Array
      return openPayload({ block, epochKey: key(fields.stream, fields), expected: fields })
    }
    const place = { ledgerId, owner: this.account, writer: body.a, stream, generation, epoch, sequence }
    const document = parseDiagnosis(open(body.cid, { kind: payloadKinds.diagnosis, ...place }))
    const records = this.#posted
      .filter(([of, seq]) => body.in.some(([s, from, to]) => equalBytes(s, of) && from <= seq && seq <= to))
      .map(([of, seq, gen, recordEpoch, , , cid]): DiagnosisRecord => {
        const own = { ledgerId, owner: this.account, writer: this.account, stream: of }
        const fields = { kind: payloadKinds.data, ...own, generation: gen, epoch: recordEpoch, sequence: seq }
        return { ...parseBatch(open(cid, fields)), stream: of, sequence: seq }
      })
    return { document, records }
  }

  /** Records batches of generated ECG, ten seconds each or as `form` says, in one transaction; `spoil` changes a block before it is stored. */
  record(
    count: number,
    options: {
      rhythm?: 'regular' | 'fast'
      spoil?: (block: Uint8Array) => Uint8Array | undefined
      text?: string | Uint8Array
      form?: { rateHz: number; secondsPerBatch: number }
      unit?: string
      startMs?: number
    } = {},
  ): Uint8Array[] {
    const { history, blocks } = this.network
    const { ledgerId } = history.ledger
    const { rateHz, secondsPerBatch } = options.form ?? usualForm
    const seconds = secondsPerBatch * count
    const samples = generateEcg({ seed: this.#sequence + 1, rateHz, seconds, rhythm: options.rhythm ?? 'regular' })
    const records: IotRecord[] = []
    const cids: Uint8Array[] = []
    for (let i = 0; i < count; i++) {
      const perBatch = secondsPerBatch * rateHz
      const part = Int16Array.from(samples.subarray(i * perBatch, (i + 1) * perBatch), (value) =>
        Math.round(value * 200),
      )
      const plaintext =
        options.text === undefined
          ? encodeBatch({
              ...{
                kind: 'ecg',
                startMs: options.startMs ?? this.#startMs,
                rateMilliHz: rateHz * 1000,
                leads: ['ii'],
                unit: options.unit ?? 'mv',
              },
              ...{ gainMilli: 200_000, baseline: 0, samples: part },
            })
          : typeof options.text === 'string'
            ? encodeUtf8(options.text)
            : options.text
      this.#startMs += secondsPerBatch * 1000
      const sequence = ++this.#sequence
      const place = { stream: this.stream, generation: this.#generation, epoch: this.#epoch, sequence }
      const epochKey = epochKeyFrom({ nodes: [this.#rootOf(this.stream)], first: this.#epoch, epoch: this.#epoch })
      const fields = { kind: payloadKinds.data, ledgerId, owner: this.account, writer: this.account, ...place }
      const sealed = sealPayload({ ...fields, epochKey, plaintext, sizeBytes: batchSizeBytes }).block
      const block = options.spoil === undefined ? sealed : options.spoil(sealed)
      const cid = sha256(block ?? sealed)
      if (block !== undefined) blocks.set(cidOf(cid), block)
      cids.push(cid)
      records.push([this.stream, sequence, this.#generation, this.#epoch, 0, batchSizeBytes, cid])
    }
    this.#posted.push(...records)
    this.#commit({ v: 1, t: 'iot', a: this.account, r: records })
    return cids
  }

  /** Records without readings, each ten seconds of them: empty ones of a device that is silent, gaps of lost readings. */
  pause(...kinds: ('empty' | 'gap')[]): void {
    const { history, blocks } = this.network
    const { ledgerId } = history.ledger
    const records = kinds.map((name): IotRecord => {
      this.#startMs += usualForm.secondsPerBatch * 1000
      const sequence = ++this.#sequence
      const kind = payloadKinds[name]
      const place = { stream: this.stream, generation: this.#generation, epoch: this.#epoch, sequence }
      if (name === 'gap') return [this.stream, sequence, this.#generation, this.#epoch, kind, 0, new Uint8Array(32)]
      const epochKey = epochKeyFrom({ nodes: [this.#rootOf(this.stream)], first: this.#epoch, epoch: this.#epoch })
      const fields = { kind, ledgerId, owner: this.account, writer: this.account, ...place }
      const plaintext = new Uint8Array(0)
      const { block } = sealPayload({ ...fields, epochKey, plaintext, sizeBytes: batchSizeBytes })
      const cid = sha256(block)
      blocks.set(cidOf(cid), block)
      return [this.stream, sequence, this.#generation, this.#epoch, kind, batchSizeBytes, cid]
    })
    this.#commit({ v: 1, t: 'iot', a: this.account, r: records })
  }
}
