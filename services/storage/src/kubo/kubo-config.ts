/**
 * The settings of a supervised Kubo daemon: private, silent, durable. Everything that would look outside or announce
 * itself is off; blocks are flushed before a put is answered; only listed peers get a connection.
 */
import { privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import type { SwarmPeer } from '../swarm/swarm.ts'

/** What the daemon is set up from. */
export interface KuboSettings {
  readonly key: Ed25519PrivateKey
  readonly host: string
  readonly port: number
  /** Bearer token of its RPC. */
  readonly token: string
  readonly peers: readonly SwarmPeer[]
}

const flatfs = {
  mounts: [
    {
      mountpoint: '/blocks',
      path: 'blocks',
      prefix: 'flatfs.datastore',
      shardFunc: '/repo/flatfs/shard/v1/next-to-last/2',
      // Kubo's default answers a put before the file is on the disk.
      sync: true,
      type: 'flatfs',
    },
    { compression: 'none', mountpoint: '/', path: 'datastore', prefix: 'leveldb.datastore', type: 'levelds' },
  ],
  type: 'mount',
} as const

/** The file `config` of its repository. */
export function kuboConfig(settings: KuboSettings): Record<string, unknown> {
  const { key, host, port, token, peers } = settings
  const family = host.includes(':') ? 'ip6' : 'ip4'
  const off = { Enabled: false }
  return {
    Identity: {
      PeerID: key.publicKey.toString(),
      PrivKey: Buffer.from(privateKeyToProtobuf(key)).toString('base64'),
    },
    Datastore: {
      StorageMax: '10TB',
      StorageGCWatermark: 100,
      GCPeriod: '876000h',
      Spec: flatfs,
      HashOnRead: false,
      BloomFilterSize: 0,
    },
    Addresses: {
      Swarm: [`/${family}/${host}/tcp/${port}`],
      Announce: [],
      AppendAnnounce: [],
      NoAnnounce: [],
      API: '/ip4/127.0.0.1/tcp/0',
      Gateway: null,
    },
    API: { Authorizations: { storage: { AuthSecret: `bearer:${token}`, AllowedPaths: ['/api/v0'] } } },
    AutoConf: off,
    AutoNAT: { ServiceMode: 'disabled' },
    AutoTLS: off,
    Bootstrap: [],
    DNS: { Resolvers: {} },
    Discovery: { MDNS: off },
    Experimental: {},
    Gateway: { NoFetch: true, PublicGateways: {}, ExposeRoutingAPI: false },
    HTTPRetrieval: off,
    Internal: { Bitswap: { WantHaveReplaceSize: 2 * 1024 * 1024 } },
    Ipns: { RepublishPeriod: '', RecordLifetime: '', ResolveCacheSize: 128, DelegatedPublishers: [] },
    Migration: {},
    Mounts: { IPFS: '/ipfs', IPNS: '/ipns', MFS: '/mfs', FuseAllowOther: false },
    Peering: { Peers: peers.map(({ id, addresses }) => ({ ID: id, Addrs: addresses })) },
    Pinning: { RemoteServices: {} },
    Plugins: { Plugins: { telemetry: { Config: { Mode: 'off' } } } },
    Provide: { ...off, DHT: {} },
    Pubsub: off,
    Routing: { Type: 'none', DelegatedRouters: [] },
    Swarm: {
      AddrFilters: null,
      DisableBandwidthMetrics: true,
      DisableNatPortMap: true,
      EnableHolePunching: false,
      RelayClient: off,
      RelayService: off,
      ConnMgr: { Type: 'none' },
      ResourceMgr: { Enabled: true, Allowlist: allowList(peers) },
      Transports: {
        Network: { QUIC: false, TCP: true, Websocket: false, WebTransport: false, WebRTCDirect: false, Relay: false },
        Security: {},
        Multiplexers: {},
      },
    },
    Version: { SwarmCheckEnabled: false },
  }
}

function allowList(peers: readonly SwarmPeer[]): string[] {
  return peers.flatMap(({ id }) => [`/ip4/0.0.0.0/ipcidr/0/p2p/${id}`, `/ip6/::/ipcidr/0/p2p/${id}`])
}

/**
 * The file `libp2p-resource-limit-overrides.json`: nobody may connect, and the allow-list of {@link kuboConfig} says who
 * may all the same.
 */
export const kuboLimits = {
  System: { Conns: 'blockAll', ConnsInbound: 'blockAll', ConnsOutbound: 'blockAll' },
} as const
