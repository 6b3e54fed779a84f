/** What an operator is told: metrics that agree with what happened, and a readiness that names the cause. */
import { renameSync } from 'node:fs'
import { encodeTransactionLeaf } from '@healthblock/chain/transaction'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { eventually, storyMs } from '../../../test/support/cluster.ts'
import { etcdInstalled, startTestEtcd, type TestEtcd } from '../../../test/support/etcd.ts'
import { redisInstalled } from '../../../test/support/redis.ts'
import { algorithmTransaction } from '../../../test/support/sample-ledger.ts'
import { Client } from './client.ts'
import { type NodeProcess, ProcessCluster } from './processes.ts'

/** One node's metrics: the value of a name with its labels in the order in which they are written. */
async function scrape(client: Client): Promise<Map<string, number>> {
  const response = await client.get('/metrics')
  expect(response.headers.get('content-type')).toContain('text/plain')
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ')
      return [line.slice(0, at), Number(line.slice(at + 1))]
    }),
  )
}

interface Head {
  readonly height: number
  readonly size: number
  readonly term: number
  readonly leader: number
}

vi.setConfig({ testTimeout: storyMs, hookTimeout: storyMs })

describe.skipIf(!redisInstalled)('what an operator is told (needs redis-server)', () => {
  let cluster: ProcessCluster
  let etcd: TestEtcd | undefined
  let clients: Client[]
  const clientOf = (rank: number): Client => clients[rank] as Client
  const commit = (name: string) => clientOf(0).commit(algorithmTransaction(cluster.ledger, name))

  beforeAll(async () => {
    etcd = etcdInstalled ? await startTestEtcd({ members: 1 }) : undefined
    const env = etcd === undefined ? {} : { ACCOUNTING_REGISTER: `etcd:${etcd.urls.join(',')}` }
    cluster = await ProcessCluster.start({ n: 4, q: 3, env })
    clients = cluster.nodes.map(({ url }) => new Client(url, cluster.ledger))
  })
  afterAll(async () => {
    await cluster?.stop()
    await etcd?.stop()
  })

  /** Names of the checks that fail at a node; none if it is ready. */
  async function failing(rank: number): Promise<string[]> {
    const response = await clientOf(rank).get('/readyz')
    const { status, checks } = (await response.json()) as {
      status: string
      checks: { name: string; ready: boolean; reason?: string }[]
    }
    const names = checks.filter(({ ready }) => !ready).map(({ name }) => name)
    expect([response.status, status]).toEqual(names.length === 0 ? [200, 'ready'] : [503, 'not ready'])
    expect(checks.every(({ ready, reason }) => ready || (reason ?? '').length > 8)).toBe(true)
    return names
  }

  const patience = { timeout: 240_000, interval: 100 }

  test('metrics are those of what happened', async () => {
    const transactions = Array.from({ length: 5 }, (_, i) => algorithmTransaction(cluster.ledger, `counted-${i}`))
    await clientOf(0).commit(...transactions)
    const [good, other] = ['good', 'other'].map((name) => algorithmTransaction(cluster.ledger, name)) as [
      ReturnType<typeof algorithmTransaction>,
      ReturnType<typeof algorithmTransaction>,
    ]
    const forged = encodeTransactionLeaf({ bodyBytes: other.bodyBytes, signatures: good.signatures })
    expect((await clientOf(0).submitBytes(forged)).status).toBe(422)
    const headNow = async (): Promise<Head> => (await (await clientOf(0).get('/v1/userchain/head')).json()) as Head
    // On a busy machine somebody else may lead at any moment: what is compared was told while nobody took over.
    const { head, all } = await eventually('figures of one term from all nodes', async () => {
      const { term } = await headNow()
      const told = await Promise.all(clients.map(scrape))
      const now = await headNow()
      const isSame = told.every(
        (metrics) => metrics.get('accounting_published_size_leaves{chain="userchain"}') === now.size,
      )
      return isSame && now.term === term ? { head: now, all: told } : undefined
    })
    const [first] = all as [Map<string, number>]
    const of = (name: string, labels = ''): number | undefined => first.get(`${name}{chain="userchain"${labels}}`)
    expect(of('accounting_applied_size_leaves')).toBe(head.size)
    expect(of('accounting_applied_height_blocks')).toBe(head.height)
    expect(of('accounting_term')).toBe(head.term)
    expect(all.map((metrics) => metrics.get('accounting_leads{chain="userchain"}'))).toEqual(
      clients.map((_, rank) => (rank === head.leader ? 1 : 0)),
    )
    expect(of('accounting_submitted_transactions_total', ',verdict="accepted"')).toBe(5)
    expect(of('accounting_submitted_transactions_total', ',verdict="refused"')).toBe(1)
    expect(of('accounting_refused_transactions_total', ',rule="algorithm.signature"')).toBe(1)
    expect(of('accounting_commit_seconds_count')).toBe(5)
    expect(of('accounting_outbox_transactions')).toBe(0)
    expect(of('accounting_outbox_limit_transactions')).toBeGreaterThanOrEqual(256)
    // Asked of the queue every now and then.
    await expect
      .poll(async () => (await scrape(clientOf(0))).get('accounting_intake_jobs{chain="userchain"}'), patience)
      .toBe(0)
    expect(of('accounting_behind_leaves')).toBe(0)
    expect(of('accounting_register_reachable')).toBe(1)
    expect(first.get('accounting_anchor_lag_seconds{chain="docchain"}')).toBeGreaterThanOrEqual(0)
    expect(first.get('accounting_open_incidents')).toBe(0)
    // Each block costs a synced entry and a synced promise, and is published once.
    expect(of('accounting_fsync_seconds_count')).toBeGreaterThanOrEqual(2 * head.height)
    expect(of('accounting_fsync_seconds_sum')).toBeGreaterThan(0)
    expect(of('accounting_cosignature_seconds_count')).toBeGreaterThanOrEqual(1)
    expect(of('accounting_cosignature_seconds_count')).toBeLessThanOrEqual(head.height)
    expect(of('accounting_cosigned_age_seconds')).toBeLessThan(150)
  })

  test('every metric of this service has a text, a unit in its name or is a count of 0 and 1', async () => {
    const text = await (await clientOf(1).get('/metrics')).text()
    const names = [...text.matchAll(/^# HELP (accounting_\w+) (.*)$/gm)].map(([, name, help]) => [name, help]) as [
      string,
      string,
    ][]
    expect(names.length).toBeGreaterThan(20)
    const unit = /_(total|seconds|leaves|blocks|transactions|jobs|incidents|term|leads|signs|reachable)$/
    expect(names.filter(([name, help]) => !unit.test(name) || help.length < 10)).toEqual([])
  })

  test('readiness names the queue', async () => {
    await expect.poll(() => failing(0), patience).toEqual([])
    await cluster.redis.kill()
    await expect.poll(() => failing(0), patience).toEqual(['queue'])
    await cluster.redis.restart()
    await expect.poll(() => failing(0), patience).toEqual([])
  })

  test('readiness names a folder that was taken from under the node', async () => {
    const { dir } = cluster.nodes[2] as NodeProcess
    renameSync(dir, `${dir}.away`)
    try {
      await expect.poll(() => failing(2), patience).toEqual(['folder'])
    } finally {
      renameSync(`${dir}.away`, dir)
    }
    await expect.poll(() => failing(2), patience).toEqual([])
  })

  test.skipIf(!etcdInstalled)('readiness names the register (needs etcd-server)', async () => {
    await etcd?.signal(0, 'SIGSTOP')
    await expect.poll(() => failing(1), patience).toEqual(['userchain register', 'docchain register'])
    expect((await scrape(clientOf(1))).get('accounting_register_reachable{chain="userchain"}')).toBe(0)
    await etcd?.signal(0, 'SIGCONT')
    await expect.poll(() => failing(1), patience).toEqual([])
    await commit('after-the-register')
  })

  test('readiness names a clock that is wrong, however wrong it is', async () => {
    for (const offMs of [-10_000, 365 * 86_400_000]) {
      await cluster.end(3, 'SIGTERM')
      cluster.launch(3, { ACCOUNTING_FAULT_CLOCK_MS: String(offMs) })
      await cluster.ready(3, '/healthz')
      await expect.poll(() => failing(3), patience).toContain('clock')
    }
    await cluster.end(3, 'SIGTERM')
    cluster.launch(3)
    await cluster.ready(3)
  })

  test('readiness names peers that do not answer, and a node that is behind', async () => {
    await cluster.end(3, 'SIGTERM')
    for (let i = 0; i < 4; i++) await commit(`while-away-${i}`)
    // Those who could tell it what it had signed, and what it missed, stand still.
    for (const rank of [0, 1, 2]) (cluster.nodes[rank] as NodeProcess).child?.kill('SIGSTOP')
    cluster.launch(3)
    await cluster.ready(3, '/healthz')
    await expect
      .poll(() => failing(3), patience)
      .toEqual(expect.arrayContaining(['userchain caught up', 'userchain peers', 'docchain peers']))
    expect((await scrape(clientOf(3))).get('accounting_behind_leaves{chain="userchain"}')).toBe(8)
    for (const rank of [0, 1, 2]) (cluster.nodes[rank] as NodeProcess).child?.kill('SIGCONT')
    await expect.poll(() => failing(3), patience).toEqual([])
  })
})
