import { chainOrigin, parseCheckpoint, verifyNoteSignature } from '@healthblock/chain/checkpoint'
import { parseAddCheckpoint } from '@healthblock/chain/proof'
import { verifyReceipt } from '@healthblock/chain/receipt'
import { toHex } from '@healthblock/encoding/bytes'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { sampleWitness } from '../../../packages/chain/src/sample.test-support.ts'
import { eventually, storyMs } from '../../../test/support/cluster.ts'
import { redisInstalled } from '../../../test/support/redis.ts'
import { algorithmTransaction } from '../../../test/support/sample-ledger.ts'
import { type Misbehaviour, TestWitness } from '../../../test/support/witness.ts'
import { Client, headOf, People } from './client.ts'
import { adminSecret, type NodeProcess, ProcessCluster } from './processes.ts'

const describeNodes = redisInstalled ? describe : describe.skip
const admin = { authorization: `Bearer ${adminSecret}` }

interface Progress {
  readonly size: number | null
  readonly ms: number | null
  readonly fault: string | null
}

interface Entry {
  readonly name: string
  readonly vkey: string
  readonly userchain: Progress
  readonly docchain: Progress
}

describeNodes('witnesses of a node', { timeout: storyMs }, () => {
  let cluster: ProcessCluster
  let client: Client
  let count = 0
  const running: TestWitness[] = []

  beforeAll(async () => {
    cluster = await ProcessCluster.start({ n: 1, q: 1 })
    client = new Client((cluster.nodes[0] as NodeProcess).url, cluster.ledger)
    const people = new People(cluster.ledger)
    const { transaction, person } = people.register(7)
    await client.commit(transaction)
    client.token = people.token(person)
  })
  afterAll(() => cluster?.stop())
  afterEach(async () => {
    for (const witness of running.splice(0)) {
      await call('/v1/witnesses/remove', { name: witness.key.name })
      await witness.close()
    }
  })

  function call(path: string, body: unknown): Promise<Response> {
    return client.post(path, 'application/json', JSON.stringify(body), admin)
  }

  async function add(misbehaviour?: Misbehaviour): Promise<TestWitness> {
    const witness = await TestWitness.start(`witness.example/${count++}`)
    witness.misbehaviour = misbehaviour
    running.push(witness)
    expect((await call('/v1/witnesses', { url: `${witness.url}/`, vkey: witness.vkey })).status).toBe(200)
    return witness
  }

  async function statusOf(witness: TestWitness): Promise<Entry> {
    const list = (await (await client.get('/v1/witnesses', admin)).json()) as Entry[]
    return list.find(({ name }) => name === witness.key.name) as Entry
  }

  function until(witness: TestWitness, is: (entry: Entry) => boolean): Promise<Entry> {
    return eventually(`witness ${witness.key.name}`, async () => {
      const entry = await statusOf(witness)
      return is(entry) ? entry : undefined
    })
  }

  async function commit(): Promise<Uint8Array> {
    const transaction = algorithmTransaction(cluster.ledger, `w${count++}`)
    await client.commit(transaction)
    return client.idOf(transaction)
  }

  async function receiptOf(id: Uint8Array) {
    const response = await client.get(`/v1/userchain/transactions/${toHex(id)}/receipt`)
    return verifyReceipt({ bytes: new Uint8Array(await response.arrayBuffer()), ledgerId: cluster.ledger.ledgerId })
  }

  test('cosign both chains; the checkpoint and receipts carry their lines', async () => {
    expect((await client.get('/userchain/witnessed')).status).toBe(404)
    const before = await receiptOf(await commit())
    expect(before.witnesses).toEqual([])
    const [first, second] = [await add(), await add()]
    const id = await commit()
    const [size] = await headOf(client)
    for (const witness of [first, second]) {
      await until(witness, ({ userchain, docchain }) => (userchain.size ?? 0) >= size && docchain.size !== null)
    }
    const { witnesses } = await eventually('a receipt with both', async () => {
      const receipt = await receiptOf(id)
      return receipt.witnesses.length === 2 ? receipt : undefined
    })
    expect(witnesses.map(({ vkey }) => vkey)).toEqual([first.vkey, second.vkey].sort())
    for (const path of ['/userchain/checkpoint', '/userchain/witnessed', '/docchain/checkpoint']) {
      const note = parseCheckpoint(await (await client.get(path)).text())
      for (const { key } of [first, second]) {
        const signature = note.signatures.find(({ name }) => name === key.name)
        expect(signature).toBeDefined()
        verifyNoteSignature({ text: note.text, key, signature: signature as NonNullable<typeof signature> })
      }
    }
    // What a witness signed is what it saw: the log grew, and it was given the proof.
    const origin = chainOrigin({ ledgerId: cluster.ledger.ledgerId, chain: 'userchain' })
    expect(first.held.get(origin)?.size).toBeGreaterThanOrEqual(size)
  })

  test('are sent one line, and a proof from what they hold, also after they lost it', async () => {
    const bodies: string[] = []
    const witness = await add(({ body }) => {
      bodies.push(body)
      return false
    })
    await until(witness, ({ userchain }) => userchain.size !== null)
    const origin = chainOrigin({ ledgerId: cluster.ledger.ledgerId, chain: 'userchain' })
    const early = witness.held.get(origin) as { size: number; root: Uint8Array }
    await commit()
    await until(witness, ({ userchain }) => (userchain.size ?? 0) > early.size)
    // Set back to an earlier head: 409, then a proof from there.
    witness.held.set(origin, early)
    const [size] = await headOf(client)
    await commit()
    await until(witness, ({ userchain }) => (userchain.size ?? 0) > size)
    const requests = bodies
      .map(parseAddCheckpoint)
      .filter(({ checkpoint }) => parseCheckpoint(checkpoint).origin === origin)
    for (const { checkpoint } of requests) expect(parseCheckpoint(checkpoint).signatures).toHaveLength(1)
    expect(requests[0]).toMatchObject({ oldSize: 0, proof: [] })
    expect(requests.filter(({ oldSize }) => oldSize === early.size).length).toBeGreaterThanOrEqual(2)
  })

  type Misdeed = (...request: [...Parameters<Misbehaviour>, TestWitness]) => boolean
  const misdeeds: [string, string, Misdeed][] = [
    ['refuses', 'failed', (_, response) => Boolean(response.writeHead(500).end('no'))],
    ['does not know the log', 'unknown-log', (_, response) => Boolean(response.writeHead(404).end())],
    ['does not know the key', 'untrusted', (_, response) => Boolean(response.writeHead(403).end())],
    ['holds another history', 'inconsistent', (_, response) => Boolean(response.writeHead(422).end())],
    ['answers with a page', 'invalid', (_, response) => Boolean(response.writeHead(200).end('<html></html>'))],
    [
      'answers without end',
      'invalid',
      (_, response) => {
        const flood = (): void =>
          void (response.destroyed || response.write('x'.repeat(65_536), () => setImmediate(flood)))
        response.writeHead(200)
        flood()
        return true
      },
    ],
    ['says nothing', 'unreachable', () => true],
    ['breaks off', 'unreachable', (_, response) => Boolean(response.destroy())],
    [
      'sends elsewhere',
      'failed',
      (_, response) => Boolean(response.writeHead(307, { location: 'http://127.0.0.1:1/' }).end()),
    ],
    [
      'signs another root',
      'invalid',
      ({ checkpoint }, response, witness) =>
        Boolean(response.writeHead(200).end(witness.line({ ...checkpoint, root: new Uint8Array(32) }))),
    ],
    ['holds more than there is', 'ahead', (_, response) => Boolean(response.writeHead(409).end('9007199254740991\n'))],
    ['holds no size', 'invalid', (_, response) => Boolean(response.writeHead(409).end('many\n'))],
    [
      'holds another size each time',
      'invalid',
      ({ body }, response) => {
        const { oldSize } = parseAddCheckpoint(body)
        return Boolean(response.writeHead(409).end(`${oldSize === 1 ? 2 : 1}\n`))
      },
    ],
  ]
  test('whatever they do wrong is told of, and delays nothing', async () => {
    const all: { fault: string; what: string; witness: TestWitness }[] = []
    for (const [what, fault, misbehaviour] of misdeeds) {
      const own: { witness?: TestWitness } = {}
      own.witness = await add((request, response) => misbehaviour(request, response, own.witness as TestWitness))
      all.push({ what, fault, witness: own.witness })
    }
    const good = await add()
    // Publication goes on while they are asked, again and again.
    const done = new AbortController()
    const told = Promise.all(
      all.map(async ({ what, fault, witness }) => {
        const { userchain } = await until(witness, (entry) => entry.userchain.fault === fault)
        expect({ what, ...userchain }).toEqual({ what, fault, size: null, ms: null })
      }),
    ).finally(() => done.abort())
    let id: Uint8Array
    do {
      id = await commit()
      for (const { vkey } of (await receiptOf(id)).witnesses) expect(vkey).toBe(good.vkey)
    } while (!done.signal.aborted)
    await told
    expect((await client.get('/readyz')).status).toBe(200)
    // The good one signs beside them.
    const [size] = await headOf(client)
    await until(good, ({ userchain }) => (userchain.size ?? 0) >= size)
    expect((await receiptOf(id)).witnesses.map(({ vkey }) => vkey)).toEqual([good.vkey])
    const note = parseCheckpoint(await (await client.get('/userchain/checkpoint')).text())
    const metrics = await (await client.get('/metrics')).text()
    for (const { fault, witness } of all) {
      const { name } = witness.key
      expect(note.signatures.some((signature) => signature.name === name)).toBe(false)
      const refusals = `accounting_witness_refusals_total{chain="userchain",witness="${name}",reason="${fault}"} `
      expect(metrics).toMatch(new RegExp(`${refusals}[1-9]`))
      expect(metrics).toMatch(new RegExp(`accounting_witness_lag_leaves{chain="userchain",witness="${name}"} [1-9]`))
    }
    expect(metrics).toMatch(new RegExp(`accounting_witness_lag_leaves{chain="userchain",witness="${good.key.name}"} 0`))
    expect(await call('/v1/witnesses', { url: good.url, vkey: sampleWitness('witness.example/a').vkey })).toMatchObject(
      {
        status: 200,
      },
    )
    await call('/v1/witnesses', { url: good.url, vkey: sampleWitness('witness.example/b').vkey })
    expect((await call('/v1/witnesses', { url: good.url, vkey: sampleWitness('witness.example/c').vkey })).status).toBe(
      422,
    )
    for (const letter of 'ab') await call('/v1/witnesses/remove', { name: `witness.example/${letter}` })
  })

  test('one that comes to its senses is asked again, and the fault is gone', async () => {
    let isBroken = true
    const witness = await add((_, response) => isBroken && Boolean(response.writeHead(503).end()))
    await until(witness, ({ userchain }) => userchain.fault === 'failed')
    isBroken = false
    const { userchain } = await until(witness, ({ userchain: { size } }) => size !== null)
    expect(userchain.fault).toBeNull()
  })

  test('survive a restart with what they cosigned, and are forgotten with it when they are removed', async () => {
    const witness = await add()
    const id = await commit()
    const [size] = await headOf(client)
    await until(witness, ({ userchain }) => (userchain.size ?? 0) >= size)
    const signed = witness.requests
    // From here on it is dead: what it signed stays.
    witness.misbehaviour = (_, response) => Boolean(response.destroy())
    await cluster.end(0, 'SIGKILL')
    cluster.launch(0)
    await cluster.ready(0)
    expect((await receiptOf(id)).witnesses.map(({ vkey }) => vkey)).toEqual([witness.vkey])
    expect(await statusOf(witness)).toMatchObject({ userchain: { size } })
    await until(witness, () => witness.requests > signed)
    const removed = (await (await call('/v1/witnesses/remove', { name: witness.key.name })).json()) as Entry
    expect(removed).toMatchObject({ name: witness.key.name, vkey: witness.vkey })
    expect((await receiptOf(id)).witnesses).toEqual([])
    expect((await client.get('/userchain/witnessed')).status).toBe(404)
    expect((await call('/v1/witnesses/remove', { name: witness.key.name })).status).toBe(404)
  })

  test('are the business of administrators, and have keys and addresses', async () => {
    const witness = await TestWitness.start('witness.example/form')
    await witness.close()
    const { vkey } = witness
    const entries = [
      { url: 'ftp://127.0.0.1', vkey },
      { url: 'nonsense', vkey },
      { url: 'http://user:secret@127.0.0.1', vkey },
      { url: 'http://127.0.0.1/?x=1', vkey },
      { url: 'http://127.0.0.1', vkey: 'nonsense' },
      { url: 'http://127.0.0.1', vkey: `${vkey}A` },
    ]
    for (const entry of entries) expect([entry, (await call('/v1/witnesses', entry)).status]).toEqual([entry, 422])
    expect((await call('/v1/witnesses', { url: 'http://127.0.0.1' })).status).toBe(400)
    const member = { authorization: `Bearer ${client.token}` }
    const body = JSON.stringify({ url: 'http://127.0.0.1:1', vkey })
    for (const path of ['/v1/witnesses', '/v1/witnesses/remove']) {
      expect((await client.post(path, 'application/json', body, member)).status).toBe(403)
      expect((await client.post(path, 'application/json', body)).status).toBe(401)
    }
    expect((await client.get('/v1/witnesses')).status).toBe(200)
    expect((await new Client(client.url, cluster.ledger).get('/v1/witnesses')).status).toBe(401)
  })
})
