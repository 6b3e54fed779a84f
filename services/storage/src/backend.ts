/**
 * What holds the blocks behind the RPC, and its two implementations' common part: whose a block is, pins, quotas and
 * tombstones are kept in the node's own tables whatever holds the bytes. The embedded backend is libp2p, Bitswap and
 * SQLite in this process; the other one drives a Kubo daemon (src/kubo).
 */
import { publicKeyToProtobuf } from '@libp2p/crypto/keys'
import type { PublicKey } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import type { BlockId } from './store/block-id.ts'
import type { BlockStore } from './store/block-store.ts'
import type { BlockStat, PinEntry, PinsListed, PutRequest } from './store/entries.ts'
import type { Reference, Retraction } from './store/operations.ts'
import { Bitswap, bitswapProtocol } from './swarm/bitswap.ts'
import { Swarm, type SwarmOptions, type SwarmPeer } from './swarm/swarm.ts'

/** A connected peer. */
export interface PeerConnection {
  peer: string
  address: string
  direction: 'inbound' | 'outbound'
}

/** Who this node is in the swarm. */
export interface BackendIdentity {
  peerId: string
  /** base64 of the public key's protobuf. */
  publicKey: string
  addresses: string[]
  protocols: string[]
}

/**
 * Holds blocks durably and exchanges them with peers.
 *
 * Durability: `put`, `release`, `pin`, `unpin` resolve when the change survives a crash. Atomicity: block, reference,
 * pin and quota change together or not at all. Concurrency: all calls may run at once.
 */
export interface BlockBackend {
  /** Joins the swarm. The node has opened its {@link BlockStore} before, and closes it after {@link stop}. */
  start(): Promise<void>
  stop(): Promise<void>
  identity(): BackendIdentity
  /** As {@link BlockStore.put}. */
  put(request: PutRequest): Promise<boolean>
  /** Verified bytes that are here, or undefined; asks no peer. */
  get(digest: Uint8Array): Promise<Uint8Array | undefined>
  has(digest: Uint8Array): boolean
  stat(digest: Uint8Array): BlockStat | undefined
  references(digest: Uint8Array): Reference[]
  release(
    digest: Uint8Array,
    account: Uint8Array,
    options: { at: number; force: boolean },
  ): Promise<{ changed: boolean; deleted: number }>
  /** As {@link BlockStore.retract}. */
  retract(digest: Uint8Array, made: Retraction): Promise<boolean>
  /** As {@link BlockStore.pin}. */
  pin(id: BlockId, reference: Reference, enforceQuota?: boolean): Promise<void>
  /** As {@link BlockStore.unpin}. */
  unpin(digest: Uint8Array, account: Uint8Array, at: number): Promise<boolean>
  pins(account: Uint8Array, after: Uint8Array, limit: number, kind?: PinsListed): PinEntry[]
  totals(): { bytes: number; blocks: number }
  /** True if the block here hashes to its address; what does not is set aside. */
  verify(digest: Uint8Array): Promise<boolean>
  /** As {@link BlockStore.sweep}. */
  sweep(now: number, releasesBefore: number, unheardMax: number): Promise<number>
  /** Asks one connected peer. As {@link Bitswap.fetch}. */
  fetch(peer: string, id: BlockId, signal: AbortSignal): Promise<Uint8Array | undefined>
  /** Replaces the peers to which this node connects and which may connect. */
  setPeers(peers: readonly SwarmPeer[]): Promise<void>
  connections(): PeerConnection[]
  isConnected(peer: string): boolean
  /**
   * Connects to a listed peer.
   *
   * @param address - multiaddr that ends with `/p2p/<peer id>`.
   * @throws {StorageError} `ERR_PEER_UNREACHABLE`.
   */
  connect(address: string): Promise<void>
  /** Blocks and bytes that went over Bitswap since the start. */
  exchanged(): Promise<ExchangeCounters>
}

/** What went over Bitswap. */
export interface ExchangeCounters {
  blocksSent: number
  bytesSent: number
  blocksReceived: number
  bytesReceived: number
}

/** What both backends have from the node's tables. */
export class StoreBackend {
  protected readonly store: BlockStore

  constructor(store: BlockStore) {
    this.store = store
  }

  has(digest: Uint8Array): boolean {
    return this.store.has(digest)
  }

  stat(digest: Uint8Array): BlockStat | undefined {
    return this.store.stat(digest)
  }

  references(digest: Uint8Array): Reference[] {
    return this.store.references(digest)
  }

  release(
    digest: Uint8Array,
    account: Uint8Array,
    options: { at: number; force: boolean },
  ): Promise<{ changed: boolean; deleted: number }> {
    return this.store.release(digest, account, options)
  }

  retract(digest: Uint8Array, made: Retraction): Promise<boolean> {
    return this.store.retract(digest, made)
  }

  pin(id: BlockId, reference: Reference, enforceQuota?: boolean): Promise<void> {
    return this.store.pin(id, reference, enforceQuota)
  }

  unpin(digest: Uint8Array, account: Uint8Array, at: number): Promise<boolean> {
    return this.store.unpin(digest, account, at)
  }

  pins(account: Uint8Array, after: Uint8Array, limit: number, kind?: PinsListed): PinEntry[] {
    return this.store.pins(account, after, limit, kind)
  }

  totals(): { bytes: number; blocks: number } {
    return this.store.totals()
  }

  sweep(now: number, releasesBefore: number, unheardMax: number): Promise<number> {
    return this.store.sweep(now, releasesBefore, unheardMax)
  }
}

/** What {@link EmbeddedBackend} works with. */
export interface EmbeddedOptions {
  store: BlockStore
  swarm: SwarmOptions
  onMisbehaviour: (peer: string, digests: Uint8Array[]) => void
}

/** Libp2p, Bitswap and SQLite in this process. */
export class EmbeddedBackend extends StoreBackend implements BlockBackend {
  readonly #swarm: Swarm
  readonly #onMisbehaviour: (peer: string, digests: Uint8Array[]) => void
  #bitswap: Bitswap | undefined

  constructor(options: EmbeddedOptions) {
    super(options.store)
    this.#swarm = new Swarm(options.swarm)
    this.#onMisbehaviour = options.onMisbehaviour
  }

  async start(): Promise<void> {
    await this.#swarm.start()
    this.#bitswap = new Bitswap({ host: this.#swarm.host, blocks: this.store, onMisbehaviour: this.#onMisbehaviour })
    await this.#bitswap.start()
  }

  async stop(): Promise<void> {
    await this.#bitswap?.stop()
    await this.#swarm.stop()
  }

  identity(): BackendIdentity {
    const { peerId } = this.#swarm
    return {
      peerId,
      publicKey: Buffer.from(publicKeyToProtobuf(this.#swarm.host.peerId.publicKey as PublicKey)).toString('base64'),
      addresses: this.#swarm.addresses,
      protocols: [bitswapProtocol],
    }
  }

  async put(request: PutRequest): Promise<boolean> {
    const isNew = await this.store.put(request)
    if (isNew) this.#bitswap?.announce(request.digest)
    return isNew
  }

  get(digest: Uint8Array): Promise<Uint8Array | undefined> {
    return this.store.get(digest)
  }

  async verify(digest: Uint8Array): Promise<boolean> {
    return (await this.store.get(digest)) !== undefined
  }

  async fetch(peer: string, id: BlockId, signal: AbortSignal): Promise<Uint8Array | undefined> {
    return await this.#bitswap?.fetch(peerIdFromString(peer), id, signal)
  }

  setPeers(peers: readonly SwarmPeer[]): Promise<void> {
    return this.#swarm.setPeers(peers)
  }

  connections(): PeerConnection[] {
    return this.#swarm.connections().map((connection) => ({
      peer: connection.remotePeer.toString(),
      address: connection.remoteAddr.toString().replace(/\/p2p\/[^/]+$/, ''),
      direction: connection.direction,
    }))
  }

  isConnected(peer: string): boolean {
    return this.#swarm.isConnected(peer)
  }

  async connect(address: string): Promise<void> {
    await this.#swarm.connect(address)
  }

  async exchanged(): Promise<ExchangeCounters> {
    return { ...(this.#bitswap?.counters ?? { blocksSent: 0, bytesSent: 0, blocksReceived: 0, bytesReceived: 0 }) }
  }
}
