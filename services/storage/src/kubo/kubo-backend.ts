/**
 * Blocks in a Kubo daemon: one that this node starts and watches over, or one that runs already. Whose a block is, pins,
 * quotas and tombstones stay in the node's own tables; the daemon holds the bytes and speaks Bitswap. A put is durable
 * in the daemon before the tables say that the block is here; a removal is in the tables before the daemon is told, and
 * is told again after a crash. The daemon's collector of garbage is never used.
 */
import type { BackendIdentity, BlockBackend, ExchangeCounters, PeerConnection } from '../backend.ts'
import { type EmbeddedOptions, StoreBackend } from '../backend.ts'
import { isStorageError, notInSwarm, StorageError } from '../errors.ts'
import { type BlockId, codecRaw, encodeBlockId, hashBlock } from '../store/block-id.ts'
import type { PutRequest } from '../store/entries.ts'
import type { Retraction } from '../store/operations.ts'
import type { SwarmPeer } from '../swarm/swarm.ts'
import { KuboClient } from './kubo-client.ts'
import { KuboDaemon } from './kubo-daemon.ts'

const pollMs = 500
const removalsAtOnce = 128

/** Settings of {@link KuboBackend}; one of `binary` and `url` is given. */
export interface KuboOptions extends EmbeddedOptions {
  /** Folder of a supervised daemon. */
  readonly dir: string
  readonly binary: string | undefined
  /** RPC of a daemon that runs already, and its bearer token. */
  readonly url: string | undefined
  readonly token: string | undefined
}

interface PeersAnswer {
  Peers: { Addr: string; Peer: string; Direction: number }[] | null
}

/** A Kubo daemon behind the interface of all backends. */
export class KuboBackend extends StoreBackend implements BlockBackend {
  readonly #options: KuboOptions
  readonly #daemon: KuboDaemon | undefined
  readonly #external: KuboClient | undefined
  #identity: BackendIdentity | undefined
  #peers: readonly SwarmPeer[] = []
  #connections: PeerConnection[] = []
  #timer: NodeJS.Timeout | undefined
  #polling: Promise<void> = Promise.resolve()
  /** Work on one digest at a time, by hex: a put and a removal must not cross. */
  readonly #busy = new Map<string, Promise<unknown>>()
  #removing: Promise<void> | undefined
  #stopped = false

  constructor(options: KuboOptions) {
    super(options.store)
    this.#options = options
    if (options.url !== undefined) this.#external = new KuboClient(options.url, options.token)
    else {
      const { binary = 'ipfs', dir, swarm } = options
      this.#daemon = new KuboDaemon({ ...swarm, binary, dir, onRestart: () => this.#onRestart() })
    }
  }

  /** Speaks to the daemon. @throws {StorageError} `ERR_KUBO_FAILED` while none runs. */
  get client(): KuboClient {
    return this.#external ?? (this.#daemon as KuboDaemon).client
  }

  /** The supervised daemon's process. */
  get pid(): number | undefined {
    return this.#daemon?.pid
  }

  async start(): Promise<void> {
    await this.#daemon?.start(this.#peers)
    await this.#readIdentity()
    this.#schedule()
    this.#removeSoon()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await this.#polling
    await this.#removing
    await this.#daemon?.stop()
    this.#external?.close()
  }

  async #readIdentity(): Promise<void> {
    const { ID, PublicKey, Addresses, Protocols } = await this.client.json<{
      ID: string
      PublicKey: string
      Addresses: string[] | null
      Protocols: string[] | null
    }>('id')
    const addresses = (Addresses ?? []).map((address) => address.replace(/\/p2p\/[^/]+$/, ''))
    const port = Number(/\/tcp\/(\d+)$/.exec(addresses[0] ?? '')?.[1] ?? 0)
    if (port > 0) this.#daemon?.keepPort(port)
    this.#identity = { peerId: ID, publicKey: PublicKey, addresses, protocols: Protocols ?? [] }
  }

  #onRestart(): void {
    this.#readIdentity().catch(() => {})
    this.#removeSoon()
  }

  identity(): BackendIdentity {
    if (!this.#identity) throw notInSwarm()
    return this.#identity
  }

  async put(request: PutRequest): Promise<boolean> {
    return await this.#alone(request.digest, async () => {
      // What was erased is refused without the daemon.
      if (!this.store.has(request.digest) && this.store.tombstone(request.digest) === undefined) {
        // A supervised daemon flushes each file; another one may collect what is not pinned.
        await this.client.call('block/put?cid-codec=raw&mhtype=sha2-256&allow-big-block=true', { file: request.bytes })
        if (this.#external) await this.client.call(`pin/add?recursive=false&arg=${cidOf(request.digest)}`)
      }
      try {
        return await this.store.put(request)
      } catch (error) {
        // What was refused may be kept by others, or be served until its time has come.
        if (!this.store.has(request.digest)) await this.#forget(request.digest)
        throw error
      }
    })
  }

  async get(digest: Uint8Array): Promise<Uint8Array | undefined> {
    if (!this.store.has(digest)) return undefined
    const bytes = await this.#read(digest)
    if (bytes && Buffer.compare(hashBlock(bytes), digest) === 0) return bytes
    if (this.store.has(digest)) await this.store.setAside(digest)
    return undefined
  }

  /** What the daemon has; undefined if it says that it has none. */
  async #read(digest: Uint8Array): Promise<Uint8Array | undefined> {
    try {
      return await this.client.call(`block/get?offline=true&arg=${cidOf(digest)}`)
    } catch (error) {
      if (isNotFound(error)) return undefined
      throw error
    }
  }

  async verify(digest: Uint8Array): Promise<boolean> {
    return (await this.get(digest)) !== undefined
  }

  override async release(
    digest: Uint8Array,
    account: Uint8Array,
    options: { at: number; force: boolean },
  ): Promise<{ changed: boolean; deleted: number }> {
    const outcome = await super.release(digest, account, options)
    if (outcome.deleted > 0) await this.#remove()
    return outcome
  }

  override async retract(digest: Uint8Array, made: Retraction): Promise<boolean> {
    // A put that the daemon has not answered yet is recorded before: nothing of a retraction is remembered.
    const isDone = await this.#alone(digest, () => super.retract(digest, made))
    if (isDone) await this.#remove()
    return isDone
  }

  override async sweep(now: number, releasesBefore: number, unheardMax: number): Promise<number> {
    const deleted = await super.sweep(now, releasesBefore, unheardMax)
    if (deleted > 0) await this.#remove()
    return deleted
  }

  /** A daemon asks all of its peers at once; which of them answers it does not say. */
  async fetch(_peer: string, id: BlockId, signal: AbortSignal): Promise<Uint8Array | undefined> {
    try {
      const bytes = await this.client.call(`block/get?timeout=20s&arg=${encodeBlockId(id)}`, { signal })
      // The daemon keeps what it fetches; here it is kept by whoever puts it.
      await this.#alone(id.digest, async () => {
        if (!this.store.has(id.digest)) await this.#forget(id.digest)
      })
      return bytes
    } catch (error) {
      if (isNotFound(error) || isStorageError(error, 'ERR_KUBO_FAILED')) return undefined
      throw error
    }
  }

  async setPeers(peers: readonly SwarmPeer[]): Promise<void> {
    const self = this.identity().peerId
    const others = peers.filter(({ id, addresses }) => id !== self && addresses.length > 0)
    const isSame = JSON.stringify(others) === JSON.stringify(this.#peers)
    if (isSame) return
    this.#peers = others
    // Who may connect is part of what a daemon starts with.
    if (this.#daemon) {
      await this.#daemon.restart(others)
      await this.#readIdentity()
      return
    }
    for (const { id, addresses } of others) {
      for (const address of addresses)
        await this.client.call(`swarm/peering/add?arg=${address}/p2p/${id}`).catch(() => {})
    }
  }

  connections(): PeerConnection[] {
    return this.#connections
  }

  isConnected(peer: string): boolean {
    return this.#connections.some((connection) => connection.peer === peer)
  }

  async connect(address: string): Promise<void> {
    try {
      await this.client.call(`swarm/connect?arg=${encodeURIComponent(address)}`)
    } catch (cause) {
      const peer = address.split('/p2p/')[1] ?? ''
      throw new StorageError(`connect ${peer} failure`, { code: 'ERR_PEER_UNREACHABLE', peer }, { cause })
    }
  }

  async exchanged(): Promise<ExchangeCounters> {
    const stat = await this.client.json<Record<string, number>>('bitswap/stat')
    return {
      blocksSent: stat.BlocksSent ?? 0,
      bytesSent: stat.DataSent ?? 0,
      blocksReceived: stat.BlocksReceived ?? 0,
      bytesReceived: stat.DataReceived ?? 0,
    }
  }

  async #alone<T>(digest: Uint8Array, work: () => Promise<T>): Promise<T> {
    const key = Buffer.from(digest).toString('hex')
    const before = this.#busy.get(key)
    const own = (before ?? Promise.resolve()).then(work, work)
    const settled = own.then(
      () => {},
      () => {},
    )
    this.#busy.set(key, settled)
    try {
      return await own
    } finally {
      if (this.#busy.get(key) === settled) this.#busy.delete(key)
    }
  }

  /** Removes a block from the daemon. */
  async #forget(digest: Uint8Array): Promise<void> {
    const arg = cidOf(digest)
    if (this.#external) await this.client.call(`pin/rm?recursive=false&arg=${arg}`).catch(() => {})
    await this.client.call(`block/rm?force=true&arg=${arg}`)
  }

  #removeSoon(): void {
    this.#removing = this.#remove().catch(() => {})
  }

  /** Works off the removals that the tables hold; what fails is tried again with the next one, or at the next start. */
  async #remove(): Promise<void> {
    for (;;) {
      const digests = this.store.removals(removalsAtOnce)
      if (digests.length === 0) return
      await Promise.all(
        digests.map((digest) =>
          this.#alone(digest, async () => {
            // It may have come back meanwhile: then the tables have it, and no removal.
            if (this.store.has(digest)) return
            await this.#forget(digest)
            // Before it can be put again: what is given up after that is another removal.
            await this.store.finishRemovals([digest])
          }),
        ),
      )
    }
  }

  #schedule(): void {
    if (this.#stopped) return
    this.#timer = setTimeout(() => {
      this.#polling = this.#poll().finally(() => this.#schedule())
    }, pollMs)
    this.#timer.unref()
  }

  /** The daemon does not tell of its peers: it is asked. Whoever is not on the list is sent away. */
  async #poll(): Promise<void> {
    let peers: PeersAnswer['Peers']
    try {
      peers = (await this.client.json<PeersAnswer>('swarm/peers')).Peers
    } catch {
      this.#connections = []
      return
    }
    const before = new Set(this.#connections.map(({ peer }) => peer))
    const listed = new Set(this.#peers.map(({ id }) => id))
    const connections: PeerConnection[] = []
    for (const { Addr, Peer, Direction } of peers ?? []) {
      if (!listed.has(Peer)) {
        await this.client.call(`swarm/disconnect?arg=${encodeURIComponent(`/p2p/${Peer}`)}`).catch(() => {})
        continue
      }
      connections.push({ peer: Peer, address: Addr, direction: Direction === 1 ? 'inbound' : 'outbound' })
    }
    this.#connections = connections
    for (const { peer } of connections) if (!before.has(peer)) this.#options.swarm.onConnect(peer)
  }
}

function cidOf(digest: Uint8Array): string {
  return encodeBlockId({ digest, codec: codecRaw })
}

function isNotFound(error: unknown): boolean {
  return isStorageError(error, 'ERR_KUBO_FAILED') && /could not find|not found/.test(error.message)
}
