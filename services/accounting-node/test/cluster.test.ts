import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { chainOrigin, cosignCheckpoint } from '@healthblock/chain/checkpoint'
import { genesisAccounts, parseGenesis } from '@healthblock/chain/genesis'
import { verifyStatement } from '@healthblock/chain/statement'
import { createToken } from '@healthblock/chain/token'
import type { Transaction } from '@healthblock/chain/transaction'
import { encodeUtf8, fromBase64, toHex } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { eventually, storyMs } from '../../../test/support/cluster.ts'
import { redisInstalled } from '../../../test/support/redis.ts'
import { algorithmTransaction } from '../../../test/support/sample-ledger.ts'
import { Client, People, readSequence } from './client.ts'
import { adminSecret, type NodeProcess, ProcessCluster } from './processes.ts'

const describeNodes = redisInstalled ? describe : describe.skip
const nodeCount = 4

/**
 * Flips one bit in the middle of `needle` in every file below a folder, answers the files. Not in an outbox: what is promised is nowhere
 * else, and a log of SQLite ends for its reader at the first damaged frame.
 */
function flipInFiles(folder: string, needle: Uint8Array): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => {
      if (!statSync(path).isFile() || path.includes('outbox.db')) return false
      const bytes = readFileSync(path)
      const at = bytes.indexOf(needle)
      if (at === -1) return false
      const middle = at + Math.floor(needle.length / 2)
      bytes[middle] = (bytes[middle] as number) ^ 1
      writeFileSync(path, bytes)
      return true
    })
}

/** Flips one bit of the byte at a place of a file, from its end if that is negative. */
function flipAt(path: string, place: number): void {
  const bytes = readFileSync(path)
  const at = place < 0 ? bytes.length + place : place
  bytes[at] = (bytes[at] as number) ^ 1
  writeFileSync(path, bytes)
}

interface IncidentJson {
  readonly number: number
  readonly code: string
  readonly chain: string
  readonly height: number
  readonly index: number
  readonly healed: boolean
  readonly acknowledged: number | null
  readonly statement: string
  readonly signature: string
}

vi.setConfig({ testTimeout: storyMs, hookTimeout: storyMs })

describeNodes('four nodes as processes', () => {
  let cluster: ProcessCluster
  let clients: Client[]
  const clientOf = (rank: number): Client => clients[rank] as Client

  beforeAll(async () => {
    cluster = await ProcessCluster.start({ n: nodeCount, q: 3 })
    clients = cluster.nodes.map(({ url }) => new Client(url, cluster.ledger))
    const people = new People(cluster.ledger)
    const { transaction, person } = people.register(7)
    await clientOf(0).commit(transaction)
    for (const client of clients) client.token = people.token(person)
  })
  afterAll(() => cluster?.stop())

  async function incidentsOf(rank: number): Promise<IncidentJson[]> {
    return (await (await clientOf(rank).get('/v1/incidents')).json()) as IncidentJson[]
  }

  async function leafAt(rank: number, index: number): Promise<Uint8Array | undefined> {
    const response = await clientOf(rank).get(`/v1/userchain/blocks?from=${index}&limit=1`)
    if (!response.ok) return undefined
    const [frame] = readSequence(new Uint8Array(await response.arrayBuffer())) as [[number, number, Uint8Array[]]?]
    return frame?.[2][index - frame[1]]
  }

  test('a node that signs another head is convicted by what the others hold, on record and for everybody to read', async () => {
    const { ledger } = cluster
    const { ledgerId, nodes } = ledger
    const [own, liar] = genesisAccounts(parseGenesis(ledger.genesis)).nodes.filter((_, i) => i === 1 || i === 3) as [
      Uint8Array,
      Uint8Array,
    ]
    const keys = nodes[3] as (typeof nodes)[number]
    const origin = chainOrigin({ ledgerId, chain: 'userchain' })
    // No block ends at this size, so whoever signs it signed no head of this log.
    const head = { origin, size: 1, root: new Uint8Array(32).fill(7) }
    const line = cosignCheckpoint(head, { rank: 3, signer: keys.userchain.cosigner, nowMs: Date.now() })
    const statement = { account: liar, audience: own, scope: 'ledger', until: Date.now() + 60_000 } as const
    const token = createToken({ ledgerId, statement, key: 2, signingKey: keys.node })
    const { size, root } = head
    const body = encodeCbor({ size, root, line: encodeUtf8(line) })
    const headers = { authorization: `Bearer ${token}` }
    expect((await clientOf(1).post('/peer/userchain/cosignature', 'application/cbor', body, headers)).status).toBe(200)
    for (let attempt = 0; ; attempt++) {
      const list = (await (await clientOf(0).get('/v1/evidence')).json()) as Record<string, unknown>[]
      if (list.length === 0 && attempt < 1_000) {
        await delay(200)
        continue
      }
      expect(list).toHaveLength(1)
      expect(list[0]).toMatchObject({
        chain: 'userchain',
        kind: 'conflict',
        node: toHex(liar),
        rank: 3,
        size: 1,
        settled: false,
        notes: null,
      })
      break
    }
    // The same lie again is on record once.
    await clientOf(2).post('/peer/userchain/cosignature', 'application/cbor', body, headers)
    expect((await (await clientOf(0).get('/v1/evidence')).json()) as unknown[]).toHaveLength(1)
  })

  test('an altered byte is noticed when it is read, reported with its place, healed, and acknowledged', async () => {
    const transaction = algorithmTransaction(cluster.ledger, 'altered')
    const [index] = (await clientOf(2).commit(transaction)) as [number]
    const folder = join((cluster.nodes[2] as NodeProcess).dir, 'userchain')
    expect(flipInFiles(folder, transaction.leaf)).toContain(join(folder, 'log/blocks'))
    expect(toHex((await leafAt(2, index)) as Uint8Array)).toBe(toHex(transaction.leaf))
    const [incident] = await incidentsOf(2)
    expect(incident).toMatchObject({
      code: 'entry-damaged',
      chain: 'userchain',
      index,
      healed: true,
      acknowledged: null,
    })
    const { publicKey } = (cluster.ledger.nodes[2] as (typeof cluster.ledger.nodes)[number]).node
    const signed = {
      statement: fromBase64((incident as IncidentJson).statement),
      signature: fromBase64((incident as IncidentJson).signature),
    }
    const said = verifyStatement({ name: 'incident', signed, ledgerId: cluster.ledger.ledgerId, publicKey })
    expect(said).toMatchObject({ index, healed: 1 })
    expect(readFileSync(join(folder, 'log/blocks')).includes(transaction.leaf)).toBe(true)
    const headers = { authorization: `Bearer ${adminSecret}` }
    await clientOf(2).post('/v1/incidents/0/acknowledge', 'application/json', '{}', headers)
    expect((await incidentsOf(2))[0]?.acknowledged).toBeGreaterThan(0)
  })

  test('altered bytes are noticed at a start: in the log, and in the derived state', async () => {
    const transaction = algorithmTransaction(cluster.ledger, 'altered-away')
    const [index] = (await clientOf(3).commit(transaction)) as [number]
    await clientOf(3).commit(algorithmTransaction(cluster.ledger, 'after-it'))
    expect(await cluster.end(3, 'SIGTERM')).toBe(0)
    const folder = join((cluster.nodes[3] as NodeProcess).dir, 'userchain')
    flipInFiles(folder, transaction.leaf)
    // The algorithm's hash is the id part of its key in the state.
    const { hash } = transaction.body as Extract<Transaction['body'], { t: 'algorithm' }>
    flipInFiles(folder, hash)
    cluster.launch(3)
    await cluster.ready(3)
    expect(toHex((await leafAt(3, index)) as Uint8Array)).toBe(toHex(transaction.leaf))
    const found = await incidentsOf(3)
    expect(new Set(found.map(({ code }) => code))).toEqual(
      new Set(['entry-damaged', 'staged-damaged', 'state-damaged']),
    )
    // Its place is that of the block, although the state that knew it was emptied.
    const response = await clientOf(2).get(`/v1/userchain/blocks?from=${index}&limit=1`)
    const [frame] = readSequence(new Uint8Array(await response.arrayBuffer())) as [[number, number]]
    expect(found.find(({ code }) => code === 'entry-damaged')).toMatchObject({ height: frame[0], index })
    expect(found.every(({ healed }) => healed)).toBe(true)
    await clientOf(3).commit(algorithmTransaction(cluster.ledger, 'takes-part-again'))
  })

  test('a node that lost its word, or the list of its faults, says so, and takes part again', async () => {
    expect(await cluster.end(3, 'SIGTERM')).toBe(0)
    const { dir } = cluster.nodes[3] as NodeProcess
    rmSync(join(dir, 'incidents.log'))
    rmSync(join(dir, 'docchain', 'promise'), { force: true })
    flipAt(join(dir, 'userchain', 'promise'), 14)
    cluster.launch(3)
    await cluster.ready(3)
    const found = await incidentsOf(3)
    const codes = new Set(found.map(({ code }) => code))
    expect(codes).toEqual(new Set(['incidents-missing', 'promise-damaged']))
    expect(found.every(({ healed }) => healed)).toBe(true)
    await clientOf(3).commit(algorithmTransaction(cluster.ledger, 'with-a-new-word'))
  })

  test('the newest record of each journal is no torn write when it is altered', async () => {
    const transaction = algorithmTransaction(cluster.ledger, 'the-newest')
    const [index] = (await clientOf(3).commit(transaction)) as [number]
    const known = (await incidentsOf(3)).length
    expect(await cluster.end(3, 'SIGTERM')).toBe(0)
    const folder = join((cluster.nodes[3] as NodeProcess).dir, 'userchain')
    for (const file of ['log/blocks', 'staged/blocks', 'promise']) flipAt(join(folder, file), -1)
    cluster.launch(3)
    await cluster.ready(3)
    const found = (await incidentsOf(3)).slice(known)
    const codes = ['entry-damaged', 'promise-damaged', 'staged-damaged', 'state-damaged']
    expect(
      found
        .filter(({ chain }) => chain === 'userchain')
        .map(({ code }) => code)
        .sort(),
    ).toEqual(codes)
    expect(found.every(({ healed }) => healed)).toBe(true)
    expect(found.find(({ code }) => code === 'entry-damaged')).toMatchObject({ chain: 'userchain', index })
    expect(toHex((await leafAt(3, index)) as Uint8Array)).toBe(toHex(transaction.leaf))
    await clientOf(3).commit(algorithmTransaction(cluster.ledger, 'staged-anew'))
  })

  test('a log cut in the middle of its last record is no torn write where the state has that block', async () => {
    const [index] = (await clientOf(3).commit(algorithmTransaction(cluster.ledger, 'cut-off'))) as [number]
    const known = (await incidentsOf(3)).length
    expect(await cluster.end(3, 'SIGTERM')).toBe(0)
    const log = join((cluster.nodes[3] as NodeProcess).dir, 'userchain', 'log/blocks')
    truncateSync(log, statSync(log).size - 1)
    cluster.launch(3)
    await cluster.ready(3)
    const found = (await incidentsOf(3)).slice(known)
    expect(found.find(({ code }) => code === 'entry-damaged')).toMatchObject({
      chain: 'userchain',
      index,
      healed: true,
    })
    await clientOf(3).commit(algorithmTransaction(cluster.ledger, 'after-the-cut'))
  })

  test('whatever is killed at whatever moment, every promised transaction is committed, and its receipt verifies', async () => {
    const promised: { id: Uint8Array; rank: number }[] = []
    let isRunning = true
    let batch = 0
    const submitting = clients.map(async (client, rank) => {
      while (isRunning) {
        const transactions = Array.from({ length: 8 }, () => algorithmTransaction(cluster.ledger, `load-${batch++}`))
        try {
          const { status } = await client.submit(...transactions)
          if (status === 202) for (const one of transactions) promised.push({ id: client.idOf(one), rank })
        } catch {
          // The node is away: nothing was promised.
        }
        await delay(100)
      }
    })
    const head = async (rank: number): Promise<{ leader: number }> =>
      (await (await clientOf(rank).get('/v1/userchain/head')).json()) as { leader: number }
    const { leader } = await head(0)
    for (const victim of [(leader + 1) % nodeCount, leader, (leader + 2) % nodeCount]) {
      await delay(300 + Math.random() * 700)
      await cluster.end(victim, 'SIGKILL')
      await delay(200 + Math.random() * 400)
      cluster.launch(victim)
      await cluster.ready(victim)
    }
    isRunning = false
    await Promise.all(submitting)
    expect(promised.length).toBeGreaterThan(50)
    const indices = new Set<number>()
    for (const [rank, client] of clients.entries()) {
      const ids = promised.filter((one) => one.rank === rank).map(({ id }) => id)
      for (let from = 0; from < ids.length; from += 256) {
        const answers = await client.answers(ids.slice(from, from + 256), 30_000)
        expect(answers.filter(([kind]) => kind !== 2)).toEqual([])
        for (const [, index] of answers) indices.add(index as number)
      }
      for (const id of ids.slice(0, 5)) {
        const other = clientOf((rank + 1) % nodeCount)
        // Another node may be a publication behind.
        const receipt = await eventually('a receipt of another node', () => other.receipt(id))
        expect(indices.has(receipt.index)).toBe(true)
      }
    }
    expect(indices.size).toBe(promised.length)
  })
})
