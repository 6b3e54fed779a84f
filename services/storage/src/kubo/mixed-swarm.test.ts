/** Embedded nodes and Kubo daemons in one private swarm: blocks go both ways, and strangers get no connection. */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { Cluster, type Place } from '../cluster.fixture.ts'
import { readConfig } from '../config.ts'
import { isStorageError } from '../errors.ts'
import { Swarm, type SwarmPeer } from '../swarm/swarm.ts'
import { kuboBinary } from './kubo.fixture.ts'
import { kuboConfig } from './kubo-config.ts'
import { KuboDaemon } from './kubo-daemon.ts'

const waiting = { timeout: 60_000, interval: 100 }

describe.skipIf(kuboBinary === undefined)('a mixed swarm', () => {
  const cluster = new Cluster()
  let embedded: Place
  let kubo: Place
  const daemons: KuboDaemon[] = []
  const swarms: Swarm[] = []

  beforeAll(async () => {
    // Each block stays where it was put: what another node has of it came over Bitswap.
    await cluster.prepare(2, { STORAGE_REPLICAS: '1' })
    ;[embedded, kubo] = cluster.places as [Place, Place]
    Object.assign(kubo.environment, { STORAGE_BACKEND: 'kubo', KUBO_BINARY: kuboBinary as string })
    await cluster.startAll()
  })

  afterAll(async () => {
    for (const daemon of daemons) await daemon.stop()
    for (const swarm of swarms) await swarm.stop()
    await cluster.end()
  })

  function listing(place: Place): SwarmPeer {
    return { id: place.peerId, addresses: place.node?.address.addresses ?? [] }
  }

  function swarmKey(): Uint8Array {
    return readConfig(embedded.environment).secrets.swarmKey
  }

  /** A Kubo daemon of nobody's, which wants to connect to both. */
  async function strangeDaemon(key: Uint8Array): Promise<KuboDaemon> {
    const daemon = new KuboDaemon({
      binary: kuboBinary as string,
      dir: join(cluster.folder, `stranger-${daemons.length}`),
      identitySeed: new Uint8Array(randomBytes(32)),
      swarmKey: key,
      host: '127.0.0.1',
      port: 0,
      onRestart: () => {},
    })
    daemons.push(daemon)
    await daemon.start([listing(embedded), listing(kubo)])
    return daemon
  }

  async function peersOf(place: Place): Promise<string[]> {
    return (await cluster.client(place).swarm.peers()).map(({ peer }) => peer.toString())
  }

  test('blocks of all sizes and kinds are fetched from the other, both ways', async () => {
    for (const [from, to] of [
      [embedded, kubo],
      [kubo, embedded],
    ] as const) {
      for (const size of [1, 1024, 65_536, 1_000_000]) {
        const bytes = new Uint8Array(randomBytes(size))
        const cid = await cluster.client(from).block.put(bytes)
        expect(Buffer.compare(await cluster.client(to).block.get(cid), bytes)).toBe(0)
        await expect(cluster.client(to).block.get(cid, { offline: true } as never)).rejects.toThrow(/could not find/)
      }
      for (const cidVersion of [0, 1] as const) {
        const bytes = new Uint8Array(randomBytes(600_000))
        const { cid } = await cluster.client(from).add(bytes, { cidVersion })
        const parts: Uint8Array[] = []
        for await (const part of cluster.client(to).cat(cid)) parts.push(part)
        expect(Buffer.compare(Buffer.concat(parts), bytes)).toBe(0)
      }
    }
    const stat = await cluster.client(kubo).bitswap.stat()
    expect(stat.blocksSent).toBeGreaterThan(7n)
    expect(stat.blocksReceived).toBeGreaterThan(7n)
  })

  test('a daemon with another key, and one whose id is not on the list, get no connection', async () => {
    const before = [await peersOf(embedded), await peersOf(kubo)]
    for (const key of [new Uint8Array(randomBytes(32)), swarmKey()]) {
      const { client } = await strangeDaemon(key)
      for (const place of [embedded, kubo]) {
        const { id, addresses } = listing(place)
        const dial = client.call(`swarm/connect?arg=${addresses[0]}/p2p/${id}`)
        // A refusal, or a connection that ends before anything is said on it.
        await dial.catch((error: unknown) => expect(isStorageError(error, 'ERR_KUBO_FAILED')).toBe(true))
      }
      await vi.waitFor(async () => {
        const { Peers } = await client.json<{ Peers: object[] | null }>('swarm/peers')
        expect(Peers ?? []).toEqual([])
      }, waiting)
    }
    expect([await peersOf(embedded), await peersOf(kubo)]).toEqual(before)
  })

  test('an embedded node whose id is not on the list is refused by a daemon', async () => {
    const swarm = new Swarm({
      identitySeed: new Uint8Array(randomBytes(32)),
      swarmKey: swarmKey(),
      host: '127.0.0.1',
      port: 0,
      onConnect: () => {},
    })
    swarms.push(swarm)
    await swarm.start()
    await swarm.setPeers([listing(kubo)])
    const { id, addresses } = listing(kubo)
    await swarm.connect(`${addresses[0]}/p2p/${id}`).catch(() => {})
    await vi.waitFor(() => expect(swarm.connected()).toEqual([]), waiting)
    expect(await peersOf(kubo)).toEqual([embedded.peerId])
  })

  test('the two find each other again after either was away', async () => {
    for (const place of [embedded, kubo]) {
      await cluster.stop(place)
      await cluster.start(place)
      await vi.waitFor(async () => {
        expect(await peersOf(kubo)).toEqual([embedded.peerId])
        expect(await peersOf(embedded)).toEqual([kubo.peerId])
      }, waiting)
    }
  })
})

test('a supervised daemon announces nothing, looks up nothing, and listens where it was told to', async () => {
  const key = await generateKeyPairFromSeed('Ed25519', new Uint8Array(32).fill(1))
  const config = kuboConfig({ key, host: '10.0.0.1', port: 4001, token: 'secret', peers: [] }) as Record<string, never>
  const text = JSON.stringify(config)
  expect(text).not.toMatch(/bootstrap\.libp2p|ipfs\.io|"auto"|delegated-ipfs|0\.0\.0\.0(?!\/ipcidr)/)
  const off = [
    'AutoConf.Enabled',
    'AutoTLS.Enabled',
    'Discovery.MDNS.Enabled',
    'Provide.Enabled',
    'HTTPRetrieval.Enabled',
  ]
  const more = ['Swarm.RelayClient.Enabled', 'Swarm.RelayService.Enabled', 'Swarm.EnableHolePunching', 'Pubsub.Enabled']
  const transports = ['QUIC', 'Websocket', 'WebTransport', 'WebRTCDirect', 'Relay']
  const paths = [...off, ...more, ...transports.map((name) => `Swarm.Transports.Network.${name}`)]
  for (const path of paths) {
    const value = path.split('.').reduce<unknown>((at, name) => (at as Record<string, unknown>)[name], config)
    expect([path, value]).toEqual([path, false])
  }
  expect(config).toMatchObject({ Bootstrap: [], Routing: { Type: 'none', DelegatedRouters: [] } })
  expect(config).toMatchObject({ Addresses: { Swarm: ['/ip4/10.0.0.1/tcp/4001'], Gateway: null } })
  expect(config).toMatchObject({ AutoNAT: { ServiceMode: 'disabled' }, Swarm: { DisableNatPortMap: true } })
  const daemon = readFileSync(new URL('./kubo-daemon.ts', import.meta.url), 'utf8')
  expect(daemon).toContain("LIBP2P_FORCE_PNET: '1'")
})
