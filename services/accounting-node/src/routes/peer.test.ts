import { genesisAccounts, parseGenesis } from '@healthblock/chain/genesis'
import { createToken } from '@healthblock/chain/token'
import { toHex } from '@healthblock/encoding/bytes'
import { createHttpApp, type HttpApp } from '@healthblock/runtime/http-app'
import { createLogger } from '@healthblock/runtime/logger'
import { afterEach, describe, expect, it } from 'vitest'
import { CoreCluster } from '../../../../test/support/core-cluster.ts'
import { redisInstalled, startTestRedis, type TestRedis } from '../../../../test/support/redis.ts'
import { algorithmTransaction, type SampleLedger } from '../../../../test/support/sample-ledger.ts'
import { type BullQueue, openBullQueue } from '../adapters/bullmq-queue.ts'
import { type HttpPeers, openHttpPeers } from '../adapters/http-peers.ts'
import { createSystemClock } from '../adapters/system-clock.ts'
import { encodeMessage, parseMessage } from '../core/wire.ts'
import { statusOfCode } from '../errors.ts'
import { PeerPulse } from '../peer-pulse.ts'
import { createPeerGuard, registerPeerRoutes } from './peer.ts'

let cluster: CoreCluster
let redis: TestRedis | undefined
let apps: HttpApp[] = []
let peers: HttpPeers[] = []
let queues: BullQueue[] = []
/** How far the clock that never steps has been turned on. */
let aheadMs = 0
afterEach(async () => {
  await cluster.end()
  for (const network of peers) network.close()
  await Promise.all(apps.map((app) => app.stop()))
  await Promise.all(queues.map((queue) => queue.close()))
  await redis?.stop()
  redis = undefined
  apps = []
  peers = []
  queues = []
  aheadMs = 0
})

function accountsOf(ledger: SampleLedger): readonly Uint8Array[] {
  return genesisAccounts(parseGenesis(ledger.genesis)).nodes
}

/** Nodes that speak HTTP; with Redis their queue is real too. */
async function serve(n: number): Promise<string[]> {
  const urls: string[] = []
  const redisUrl = redis?.url
  cluster = new CoreCluster({
    n,
    peers: (rank) => {
      const { ledgerId, nodes } = cluster.ledger
      const nodeKey = (nodes[rank] as (typeof nodes)[number]).node
      const network = openHttpPeers({
        nowMs: Date.now,
        elapsedMs: () => performance.now() + aheadMs,
        ledgerId,
        account: accountsOf(cluster.ledger)[rank] as Uint8Array,
        accountOf: (to) => accountsOf(cluster.ledger)[to],
        nodeKey,
        urlOf: (to) => urls[to],
      })
      peers.push(network)
      return network
    },
    ...(redisUrl === undefined
      ? {}
      : {
          queue: (chain) => {
            const queue = openBullQueue({ chain, redisUrl, prefix: 'peers', onFault: () => {} })
            queues.push(queue)
            return queue
          },
        }),
  })
  for (let rank = 0; rank < n; rank++) {
    const { cores } = await cluster.start(rank)
    const app = await createHttpApp({
      name: 'node',
      version: '0',
      logger: createLogger({ name: 'test', level: 'silent' }),
      statusOfCode,
    })
    apps.push(app)
    const { ledgerId } = cluster.ledger
    const guard = createPeerGuard({
      ledgerId,
      account: accountsOf(cluster.ledger)[rank] as Uint8Array,
      peer: cores.peer,
      nowMs: () => Date.now(),
    })
    registerPeerRoutes(app.fastify, cores, guard)
    urls[rank] = (await app.listen({ port: 0 })).url
  }
  return urls
}

describe.skipIf(!redisInstalled)('four nodes over HTTP and Redis (needs redis-server)', () => {
  it('publish what each of them submits', async () => {
    redis = await startTestRedis()
    await serve(4)
    await cluster.until('a leader', () => [0, 1, 2, 3].some((rank) => cluster.core(rank).status().leads))
    const transactions = Array.from({ length: 40 }, (_, i) => algorithmTransaction(cluster.ledger, `t${i}`))
    for (const rank of [0, 1, 2, 3]) {
      const part = transactions.slice(rank * 10, rank * 10 + 10)
      cluster.core(rank).noteAccepted(part)
      await cluster.core(rank).submit(part)
    }
    const isThere = (rank: number): boolean => {
      const { ledger } = cluster.core(rank)
      const size = cluster.core(rank).published()?.size ?? 0
      return transactions.every((each) => {
        const index = ledger.index('userchain').find(ledger.transactionId('userchain', each))
        return index !== undefined && index < size
      })
    }
    await cluster.until('published everywhere', () => [0, 1, 2, 3].every(isThere))
    const leaves = cluster.core(0).entries(0, cluster.core(0).head().size).map(toHex)
    expect(cluster.core(3).entries(0, leaves.length).map(toHex)).toEqual(leaves)
  })
})

describe('the pulse of the peers', () => {
  /** The first node's; a look of its own is made 5 s after whatever was before. */
  function pulseOf(): { look(): Promise<string | undefined>; wait(ms: number): string | undefined } {
    const clock = { ...createSystemClock(), elapsedMs: () => performance.now() + aheadMs }
    const cores = { userchain: cluster.core(0), docchain: cluster.core(0, 'docchain') }
    const account = accountsOf(cluster.ledger)[0] as Uint8Array
    const pulse = new PeerPulse({ network: peers[0] as HttpPeers, clock, cores, account })
    return {
      async look() {
        aheadMs += 5_000
        await pulse.look()
        expect(pulse.fault('docchain')).toBe(pulse.fault('userchain'))
        return pulse.fault('userchain')
      },
      wait(ms) {
        aheadMs += ms
        return pulse.fault('userchain')
      },
    }
  }

  it('says after two looks that too few listen, on a ledger on which nothing happens', async () => {
    await serve(4)
    const pulse = pulseOf()
    expect(await pulse.look()).toBeUndefined()
    await apps[3]?.stop()
    expect(await pulse.look()).toBeUndefined()
    await apps[2]?.stop()
    // The first may meet a connection that was open before.
    await pulse.look()
    expect(await pulse.look()).toBe('only 2 of 4 nodes answer, q = 3 are needed')
  })

  it('counts no answer for longer than 13 s, and counts whoever answers again', async () => {
    await serve(4)
    const pulse = pulseOf()
    expect(await pulse.look()).toBeUndefined()
    expect(pulse.wait(15_000)).toBe('only 1 of 4 nodes answer, q = 3 are needed')
    expect(await pulse.look()).toBeUndefined()
  })
})

describe('the peer routes', () => {
  async function ask(
    url: string,
    token: string | undefined,
    body: Uint8Array = encodeMessage({}),
  ): Promise<{ status: number; bytes: Uint8Array }> {
    const response = await fetch(`${url}/peer/userchain/head`, {
      method: 'POST',
      headers: {
        'content-type': 'application/cbor',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      body: new Uint8Array(body),
    })
    return { status: response.status, bytes: new Uint8Array(await response.arrayBuffer()) }
  }

  it('answer node accounts only, by a token for this very node', async () => {
    const [url] = (await serve(2)) as [string]
    const { ledgerId, nodes, organisation } = cluster.ledger
    const [own, other] = accountsOf(cluster.ledger) as [Uint8Array, Uint8Array]
    const until = Date.now() + 60_000
    const token = (
      account: Uint8Array,
      audience: Uint8Array,
      key: number,
      signer: { sign(message: Uint8Array): Uint8Array },
    ): string =>
      createToken({ ledgerId, statement: { account, audience, scope: 'ledger', until }, key, signingKey: signer })
    const [node0, node1] = nodes as [(typeof nodes)[number], (typeof nodes)[number]]
    const good = await ask(url, token(other, own, 2, node1.node))
    expect(good.status).toBe(200)
    expect(parseMessage(good.bytes).uint('size')).toBe(2)
    expect((await ask(url, undefined)).status).toBe(401)
    expect((await ask(url, 'nonsense')).status).toBe(401)
    expect((await ask(url, token(other, other, 2, node1.node))).status).toBe(401)
    expect((await ask(url, token(other, ledgerId, 2, node1.node))).status).toBe(401)
    expect((await ask(url, token(other, own, 2, node0.node))).status).toBe(401)
    expect((await ask(url, token(organisation.account, own, 1, organisation.op))).status).toBe(403)
    expect((await ask(url, token(other, own, 2, node1.node), new Uint8Array([0xff]))).status).toBe(400)
  })

  it('read nothing of what a stranger sends', async () => {
    await serve(2)
    // What is still being written when a node ends would be its fault.
    await cluster.until('all is published', () =>
      [0, 1].every((rank) =>
        (['userchain', 'docchain'] as const).every((chain) => cluster.core(rank, chain).published()?.size === 2),
      ),
    )
    const [app] = apps as [HttpApp]
    // Too large even for a node: whoever looks at the body first answers 413.
    const headers = { 'content-type': 'application/cbor', 'content-length': '17000000' }
    const request = { method: 'POST', url: '/peer/userchain/head', headers } as const
    expect((await app.fastify.inject(request)).statusCode).toBe(401)
    const authorization = 'Bearer nonsense'
    expect((await app.fastify.inject({ ...request, headers: { ...headers, authorization } })).statusCode).toBe(401)
  })
})
