/**
 * The node's place in the private swarm: a libp2p host over TCP, Noise and yamux behind the pre-shared key. Peers are
 * the ones on the list, with their addresses; others are refused in both directions. Nothing is discovered, looked up or
 * announced. Lost connections are made again, at growing intervals.
 */

import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { identify } from '@libp2p/identify'
import type { Connection, Libp2p, PeerId } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { notInSwarm, StorageError } from '../errors.ts'
import { RedialPace } from './redial.ts'
import { createProtector } from './swarm-key.ts'

const dialTimeoutMs = 5_000

/** Settings of {@link Swarm}. */
export interface SwarmOptions {
  /** 32-byte Ed25519 seed of the peer's identity. */
  identitySeed: Uint8Array
  /** 32-byte pre-shared key. */
  swarmKey: Uint8Array
  /** Address and port to listen on; port 0 takes a free one. */
  host: string
  port: number
  /** Called when a listed peer is connected. */
  onConnect: (peer: string) => void
}

/** A peer that may connect, and where it is. */
export interface SwarmPeer {
  /** Peer id as text (`12D3Koo…`). */
  id: string
  /** Multiaddrs, without the peer id. */
  addresses: string[]
}

interface Redial {
  readonly pace: RedialPace
  timer: NodeJS.Timeout | undefined
}

/** The peer id of a 32-byte Ed25519 seed, as text. */
export async function peerIdOfSeed(seed: Uint8Array): Promise<string> {
  const key = await generateKeyPairFromSeed('Ed25519', seed)
  return key.publicKey.toString()
}

/** One node's libp2p host. */
export class Swarm {
  readonly #options: SwarmOptions
  #host: Libp2p | undefined
  #peers = new Map<string, SwarmPeer>()
  readonly #redials = new Map<string, Redial>()
  /** Peer ids of those connected; kept by the host's events, because it is asked for at each put. */
  readonly #connected = new Set<string>()
  #stopped = false

  constructor(options: SwarmOptions) {
    this.#options = options
  }

  /** The host, once started. */
  get host(): Libp2p {
    if (!this.#host) throw notInSwarm()
    return this.#host
  }

  /** This node's peer id as text. */
  get peerId(): string {
    return this.host.peerId.toString()
  }

  /** Multiaddrs that it listens on, without the peer id. */
  get addresses(): string[] {
    return this.host.getMultiaddrs().map((address) => address.toString().replace(/\/p2p\/[^/]+$/, ''))
  }

  /** Listens. Peers come with {@link setPeers}. */
  async start(): Promise<void> {
    const { identitySeed, swarmKey, host, port } = this.#options
    const isRefused = (peer: PeerId): boolean => !this.#peers.has(peer.toString())
    const family = host.includes(':') ? 'ip6' : 'ip4'
    this.#host = await createLibp2p({
      privateKey: await generateKeyPairFromSeed('Ed25519', identitySeed),
      addresses: { listen: [`/${family}/${host}/tcp/${port}`] },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      connectionProtector: () => createProtector(swarmKey),
      connectionGater: {
        denyDialPeer: isRefused,
        denyInboundEncryptedConnection: isRefused,
        denyOutboundEncryptedConnection: isRefused,
      },
      connectionManager: { inboundConnectionThreshold: 100, dialTimeout: dialTimeoutMs, maxConnections: 256 },
      services: { identify: identify() },
    })
    this.#host.addEventListener('peer:connect', (event) => this.#onConnect(event.detail.toString()))
    this.#host.addEventListener('peer:disconnect', (event) => {
      const peer = event.detail.toString()
      this.#connected.delete(peer)
      this.#redials.get(peer)?.pace.lost(performance.now())
      this.#dialLater(peer)
    })
  }

  /** Leaves the swarm. */
  async stop(): Promise<void> {
    this.#stopped = true
    for (const redial of this.#redials.values()) clearTimeout(redial.timer)
    await this.#host?.stop()
  }

  /** Replaces the list of peers: closes connections to those who are gone, dials the new ones. */
  async setPeers(peers: readonly SwarmPeer[]): Promise<void> {
    const self = this.peerId
    this.#peers = new Map(peers.filter((peer) => peer.id !== self).map((peer) => [peer.id, peer]))
    for (const connection of this.host.getConnections()) {
      // At once: a stream that is under way is not waited for, nor what the peer has to say about it.
      if (!this.#peers.has(connection.remotePeer.toString())) connection.abort(new Error('no member any more'))
    }
    for (const [id, { timer }] of this.#redials) {
      if (this.#peers.has(id)) continue
      clearTimeout(timer)
      this.#redials.delete(id)
    }
    for (const id of this.#peers.keys()) this.#dialSoon(id)
  }

  /** Peer ids of those connected now. */
  connected(): PeerId[] {
    return this.host.getPeers()
  }

  /** Open connections. */
  connections(): Connection[] {
    return this.host.getConnections()
  }

  /**
   * Dials one address now.
   *
   * @throws {StorageError} `ERR_PEER_UNREACHABLE`, whatever the cause: a peer that is not listed is not told apart.
   */
  async connect(address: string): Promise<void> {
    try {
      await this.host.dial(multiaddr(address), { signal: AbortSignal.timeout(dialTimeoutMs) })
    } catch (cause) {
      const peer = address.split('/p2p/')[1] ?? ''
      throw new StorageError(`connect ${peer} failure`, { code: 'ERR_PEER_UNREACHABLE', peer }, { cause })
    }
  }

  #onConnect(peer: string): void {
    this.#connected.add(peer)
    if (!this.#peers.has(peer)) {
      // It was on the list when it was let in, and was taken off while the connection was made.
      for (const one of this.host.getConnections()) {
        if (one.remotePeer.toString() === peer) one.abort(new Error('no member any more'))
      }
      return
    }
    const redial = this.#redialOf(peer)
    clearTimeout(redial.timer)
    // It may be ended at once by a peer that has this one on its list no more.
    redial.pace.connected(performance.now())
    this.#options.onConnect(peer)
  }

  /** True while a connection to the peer is open. */
  isConnected(peer: string): boolean {
    return this.#connected.has(peer)
  }

  #dialSoon(peer: string): void {
    if (this.isConnected(peer)) return
    const redial = this.#redials.get(peer)
    clearTimeout(redial?.timer)
    this.#redials.delete(peer)
    // Of two peers that know each other one dials at once; the other waits, so that one connection is made, not two.
    if (this.peerId < peer) this.#dial(peer)
    else this.#dialLater(peer)
  }

  #redialOf(peer: string): Redial {
    const redial = this.#redials.get(peer) ?? { pace: new RedialPace(), timer: undefined }
    this.#redials.set(peer, redial)
    return redial
  }

  #dialLater(peer: string): void {
    if (this.#stopped || !this.#peers.has(peer) || this.isConnected(peer)) return
    const redial = this.#redialOf(peer)
    clearTimeout(redial.timer)
    redial.timer = setTimeout(() => this.#dial(peer), redial.pace.next(Math.random()))
    redial.timer.unref()
  }

  #dial(peer: string): void {
    const addresses = this.#peers.get(peer)?.addresses ?? []
    if (this.#stopped || addresses.length === 0 || this.isConnected(peer)) return
    const dialled = (async () => {
      const targets = addresses.map((address) => multiaddr(`${address}/p2p/${peer}`))
      await this.host.dial(targets, { signal: AbortSignal.timeout(dialTimeoutMs) })
    })()
    // An address that cannot be read is one where nobody is.
    dialled.catch(() => this.#dialLater(peer))
  }
}
