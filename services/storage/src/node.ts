/** One storage node, put together from its parts: what starts before what, and what ends after what. */

import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { parseFileHeader } from '@healthblock/crypto/chunked-file'
import { CryptoError } from '@healthblock/crypto/errors'
import { parsePayloadHeader } from '@healthblock/crypto/payload'
import { type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { fetchPageMessage } from '@healthblock/runtime/fetch-page'
import { type FolderLock, lockFolder, writeFileDurably } from '@healthblock/runtime/files'
import { listenFailure } from '@healthblock/runtime/listen-failure'
import { processInstance } from '@healthblock/runtime/process-instance'
import type { FastifyInstance } from 'fastify'
import type { Authorizer } from './access/authorizer.ts'
import { findSelf, type Member, type Members } from './access/members.ts'
import { createApp } from './app.ts'
import { type BlockBackend, EmbeddedBackend, type EmbeddedOptions } from './backend.ts'
import type { Config, Secrets } from './config.ts'
import type { Events } from './events.ts'
import { Files } from './files.ts'
import { KuboBackend } from './kubo/kubo-backend.ts'
import type { KuboClient } from './kubo/kubo-client.ts'
import type { PayloadHeader } from './ownership.ts'
import { Erasure } from './replication/erasure.ts'
import { HandoffQueue } from './replication/handoff.ts'
import { directMs, HandoffLane } from './replication/handoff-lane.ts'
import { NodeClient } from './replication/node-client.ts'
import { Repair } from './replication/repair.ts'
import { Replicator } from './replication/replicator.ts'
import { Scrubber } from './replication/scrub.ts'
import { codecRaw } from './store/block-id.ts'
import { BlockStore } from './store/block-store.ts'
import { FetchLog } from './store/fetch-log.ts'

const sweepIntervalMs = 60_000
const hourMs = 3_600_000
const dayMs = 24 * hourMs
const sweepIntervalMsMin = 250
const fullRepairIntervalMs = dayMs
const scrubIntervalMs = 7 * dayMs
/** How often it is looked whether a scrub is due: most nodes are started again more often than once a week. */
const scrubLookMs = hourMs
const repairAgainMs = 5_000
/** How long a start waits for what others have erased; a store that does not answer is given up after 5 s. */
const erasuresAwaited = { standstillMs: 15_000, atMostMs: 600_000 }

/** What a node is made of. */
export interface StorageNodeOptions {
  config: Config
  secrets: Secrets
  members: Members
  /** Makes the authorizer once the node's own account is known. */
  createAuthorizer: (self: Uint8Array) => Authorizer
  events: Events
  now: () => number
  /** Called if the node can no longer keep its promises and must be started again. */
  onFatal: (error: Error) => void
}

/** Highest version with which a header of either form begins; two zero bytes follow the kind (packages/crypto/SPEC.md §4, §4a). */
const headerVersionMax = 2

/** Reads a sealed payload's header, if the block is one. */
export function readPayloadHeader(bytes: Uint8Array): PayloadHeader | undefined {
  // Most blocks are told by their first bytes: to be refused by name costs more than to be hashed.
  const [version = 0, , ...reserved] = bytes.subarray(0, 4)
  if (version === 0 || version > headerVersionMax || reserved.some((byte) => byte !== 0)) return undefined
  // A whole payload, or the first leaf of a file in chunks.
  for (const parse of [parsePayloadHeader, parseFileHeader]) {
    try {
      const { owner, writer, stream, sequence } = parse(bytes)
      return { owner: owner.slice(), writer: writer.slice(), stream: stream.slice(), sequence }
    } catch (error) {
      if (!(error instanceof CryptoError)) throw error
    }
  }
  return undefined
}

/** Where a node can be reached, as written to address.json. */
export interface NodeAddress {
  account: string
  storeKey: string
  peerId: string
  /** Base of the RPC. */
  url: string
  /** Multiaddrs of the swarm without the peer id. */
  addresses: string[]
  pid: number
  /** As `/healthz` and `/readyz` say it. */
  instance: string
}

/** A storage node. */
export class StorageNode {
  readonly #options: StorageNodeOptions
  readonly #self: Member
  readonly #key: SigningKey
  readonly #store: BlockStore
  readonly #backend: BlockBackend
  readonly #client: NodeClient
  readonly #replicator: Replicator
  readonly #handoff: HandoffQueue
  readonly #lane: HandoffLane
  readonly #repair: Repair
  readonly #scrubber: Scrubber
  readonly #erasure: Erasure
  readonly #fetchLog: FetchLog
  readonly #app: FastifyInstance
  readonly #timers: NodeJS.Timeout[] = []
  /** Stores for which a repair waits to start. */
  readonly #repairsWaiting = new Set<string>()
  #lackingTimer: NodeJS.Timeout | undefined
  #unlisten: () => void = () => {}
  readonly #lock: FolderLock
  #isReady = false
  #address: NodeAddress | undefined

  /**
   * @throws {StorageError} `ERR_MEMBERS_INVALID` if the node's own store key is not on the member list.
   * @throws {RuntimeError} `ERR_FOLDER_LOCKED` if another process has the folder.
   */
  constructor(options: StorageNodeOptions) {
    const { config, secrets, members, events, now } = options
    this.#options = options
    this.#key = signingKeyFromSeed(secrets.storeSeed)
    this.#self = findSelf(members, this.#key.publicKey)
    const { account } = this.#self
    // Two at once in one folder would each overwrite what the other has counted, and lose blocks; the store opens it at once.
    this.#lock = lockFolder(config.dir)
    this.#store = this.#createStore()
    const { swarmHost: host, swarmPort: port } = config
    const swarm = { identitySeed: secrets.peerSeed, swarmKey: secrets.swarmKey, host, port }
    this.#backend = createBackend(options, {
      store: this.#store,
      swarm: { ...swarm, onConnect: (peer) => this.#onConnect(peer) },
      onMisbehaviour: (peer, digests) => this.#onMisbehaviour(peer, digests),
    })
    this.#client = new NodeClient({ members, key: this.#key, account, now })
    const authorizer = options.createAuthorizer(account)
    const common = { backend: this.#backend, store: this.#store, members, client: this.#client, events, account, now }
    this.#handoff = new HandoffQueue(common)
    this.#lane = new HandoffLane({
      ...common,
      isUp: (member) => this.#backend.isConnected(member.peerId),
      onLeft: () => this.#handoff.kick(),
    })
    this.#replicator = new Replicator({
      ...common,
      key: this.#key,
      replicas: config.replicas,
      writeQuorum: config.writeQuorum,
      readHeader: readPayloadHeader,
      lane: this.#lane,
      authorizer,
      onHandoff: () => this.#handoff.expect(directMs),
    })
    const replicator = this.#replicator
    this.#repair = new Repair({ ...common, replicator, authorizer })
    this.#scrubber = new Scrubber(common)
    const files = new Files({ replicator, store: this.#store, readHeader: readPayloadHeader })
    this.#erasure = new Erasure({
      ...common,
      replicator,
      files,
      authorizer,
      delayMs: config.eraseDelaySeconds * 1000,
      writeQuorum: config.writeQuorum,
      replicas: config.replicas,
      onHandoff: () => this.#handoff.kick(),
    })
    this.#fetchLog = new FetchLog(join(config.dir, 'fetches'), { keptMs: config.fetchLogDays * dayMs })
    this.#app = createApp({
      ...common,
      replicator,
      files,
      scrubber: this.#scrubber,
      erasure: this.#erasure,
      repair: this.#repair,
      replicas: config.replicas,
      isMemberPeer: (peer) => members.findPeer(peer) !== undefined,
      authorizer,
      ledgerId: members.ledgerId,
      readHeader: readPayloadHeader,
      fetchLog: this.#fetchLog,
      signFetches: (page) => this.#key.sign(fetchPageMessage({ ledgerId: members.ledgerId, ...page })),
      bytesMax: config.bytesMax,
      isReady: () => this.#isReady,
    })
  }

  #createStore(): BlockStore {
    const { config, secrets, now } = this.#options
    return new BlockStore({
      path: join(config.dir, 'blocks.db'),
      key: secrets.restKey,
      bytesMax: config.bytesMax,
      accountBytesMax: config.tenantBytesMax,
      node: this.#self.account,
      isExternal: config.backend === 'kubo',
      now,
      onCorrupt: (digest) => this.#onCorrupt(digest),
      onFatal: (error) => this.#onFatal(error),
    })
  }

  /** Where the node is, once started. */
  get address(): NodeAddress {
    if (!this.#address) throw new TypeError('the node is not started')
    return this.#address
  }

  /** Erases by Userchain's word, for whoever follows it. */
  get erasure(): Erasure {
    return this.#erasure
  }

  /** Speaks to the Kubo daemon that this node watches over, if it does. */
  get kuboClient(): KuboClient | undefined {
    return this.#backend instanceof KuboBackend ? this.#backend.client : undefined
  }

  /** Process of the Kubo daemon that this node watches over, if it does. */
  get kuboPid(): number | undefined {
    return this.#backend instanceof KuboBackend ? this.#backend.pid : undefined
  }

  /** Where in Userchain the erasures were read up to. */
  get store(): BlockStore {
    return this.#store
  }

  /** Runs a repair now. */
  get repair(): Repair {
    return this.#repair
  }

  /**
   * Opens the store, listens, joins the swarm, and writes address.json when all of it stands.
   *
   * @throws {RuntimeError} `ERR_DISK_FULL`, `ERR_FILE_FAILED` if that cannot be written; `ERR_PORT_IN_USE`, `ERR_LISTEN_FAILED`.
   */
  async start(): Promise<void> {
    const { config, members, events } = this.#options
    await this.#store.open()
    // What was erased while this node was away is known to it before it serves anything.
    await this.#erasure.pullBeforeServing(erasuresAwaited)
    await this.#erasure.sweep()
    const at = { host: config.rpcHost, port: config.rpcPort }
    await this.#app.listen(at).catch((error: unknown) => {
      throw listenFailure(error, at)
    })
    await this.#backend.start()
    this.#addGauges()
    this.#unlisten = members.onChange(() => this.#onMembers())
    await this.#setPeers()
    this.#address = this.#writeAddress()
    this.#isReady = true
    this.#handoff.kick()
    this.#repairFirst()
    this.#every(config.repairSeconds * 1000, async () => {
      // What could not be judged when it was told: an account, or an erased range, that was not known yet.
      await this.#erasure.pull()
      await this.#repair.run({ sample: true })
      this.#repairLacking()
    })
    this.#every(fullRepairIntervalMs, async () => this.#repairSoon())
    const sweepMs = Math.max(sweepIntervalMsMin, Math.min(sweepIntervalMs, config.eraseDelaySeconds * 250))
    this.#every(sweepMs, () => this.#erasure.sweep())
    this.#every(scrubLookMs, async () => {
      if (this.#scrubber.isDue(scrubIntervalMs)) await this.#scrub()
    })
    this.#every(hourMs, async () => events.fetchesRemoved(await this.#fetchLog.thin(this.#options.now())))
    const { url: rpc, addresses: swarm, peerId } = this.#address
    events.started({ rpc, swarm, peerId, account: this.#self.account, members: members.list().length })
  }

  /** Takes no more requests, finishes those under way, flushes, leaves the swarm. */
  async stop(): Promise<void> {
    this.#options.events.stopping()
    this.#isReady = false
    this.#unlisten()
    for (const timer of this.#timers) clearInterval(timer)
    clearTimeout(this.#lackingTimer)
    await this.#app.close()
    await this.#lane.stop()
    await this.#handoff.stop()
    await this.#repair.stop()
    await this.#scrubber.stop()
    await this.#backend.stop()
    await this.#store.close()
    this.#client.close()
    this.#fetchLog.close()
    this.#lock.release()
  }

  #every(intervalMs: number, act: () => Promise<unknown>): void {
    const timer = setInterval(() => {
      act().catch((error: unknown) => this.#options.events.repairFailed(error))
    }, intervalMs)
    timer.unref()
    this.#timers.push(timer)
  }

  async #scrub(): Promise<void> {
    for await (const _ of this.#scrubber.run(this.#options.config.scrubBytesPerSecond)) void _
  }

  #addGauges(): void {
    const { events } = this.#options
    events.addGauge('storage_blocks', 'Blocks held', () => this.#store.totals().blocks)
    events.addGauge('storage_bytes', 'Bytes of the blocks held', () => this.#store.totals().bytes)
    events.addGauge('storage_handoffs_waiting', 'Hand-offs to do', () => this.#store.handoffCount())
    events.addGauge('storage_peers', 'Peers connected', () => this.#backend.connections().length)
    events.addGauge('storage_resident_bytes', 'Resident memory', () => process.memoryUsage.rss())
  }

  #writeAddress(): NodeAddress {
    const { config } = this.#options
    const { port } = this.#app.server.address() as AddressInfo
    const host = config.rpcHost.includes(':') ? `[${config.rpcHost}]` : config.rpcHost
    const { peerId, addresses } = this.#backend.identity()
    const address: NodeAddress = {
      account: toHex(this.#self.account),
      storeKey: toHex(this.#self.storeKey),
      peerId,
      url: `http://${host}:${port}`,
      addresses,
      pid: process.pid,
      instance: processInstance(),
    }
    writeFileDurably(join(config.dir, 'address.json'), `${JSON.stringify(address, null, 2)}\n`)
    return address
  }

  async #setPeers(): Promise<void> {
    const members = this.#options.members.list()
    await this.#backend.setPeers(members.map(({ peerId, addresses }) => ({ id: peerId, addresses })))
  }

  #onMembers(): void {
    const { members, events } = this.#options
    if (members.find(this.#self.account) === undefined) events.notAMember()
    this.#setPeers().catch((error: unknown) => events.membersInvalid(error))
    this.#handoff.kick()
    this.#repairSoon()
  }

  /** Stores that start together, as after a power cut, have not found each other yet: their blocks are not said to be lacking. */
  #repairFirst(): void {
    const others = this.#options.members.list().filter(({ account }) => !equalBytes(account, this.#self.account))
    if (others.every(({ peerId }) => this.#backend.isConnected(peerId))) this.#repairSoon()
    else this.#timers.push(setTimeout(() => this.#repairSoon(), repairAgainMs).unref())
  }

  /** At most one run per store waits behind the one that is under way. */
  #repairSoon(target?: Uint8Array): void {
    const name = target ? toHex(target) : 'all'
    if (this.#repairsWaiting.has(name)) return
    this.#repairsWaiting.add(name)
    setImmediate(() => {
      this.#repairsWaiting.delete(name)
      this.#repair.run(target ? { target } : {}).then(
        () => this.#repairLacking(),
        () => {},
      )
    })
  }

  /** Stores that are here and lack blocks are looked at again; those that are away, when they are back. */
  #repairLacking(): void {
    if (this.#lackingTimer !== undefined || this.#repair.below === 0) return
    this.#lackingTimer = setTimeout(() => {
      this.#lackingTimer = undefined
      if (!this.#isReady) return
      for (const target of this.#repair.lacking()) {
        const member = this.#options.members.find(target)
        if (member && this.#backend.isConnected(member.peerId)) this.#repairSoon(target)
      }
    }, repairAgainMs)
    this.#lackingTimer.unref()
  }

  #onConnect(peer: string): void {
    this.#options.events.peerConnected(peer)
    const member = this.#options.members.findPeer(peer)
    if (!member || !this.#isReady) return
    this.#handoff.wake(member.account).catch((error: unknown) => this.#options.events.repairFailed(error))
    // Its tombstones first: a repair must not carry there what it has erased.
    this.#erasure.pullFrom(member).then(
      () => this.#repairSoon(member.account),
      (error: unknown) => this.#options.events.repairFailed(error),
    )
  }

  #onCorrupt(digest: Uint8Array): void {
    this.#options.events.blockCorrupt(digest)
    this.#replicator
      .heal({ digest, codec: codecRaw })
      .catch((error: unknown) => this.#options.events.healFailed(digest, error))
  }

  #onMisbehaviour(peer: string, digests: readonly Uint8Array[]): void {
    const { events, members, now } = this.#options
    events.peerMisbehaved(peer, digests.length)
    const node = members.findPeer(peer)?.account
    if (!node) return
    for (const digest of digests) {
      this.#store
        .recordIncident({ at: now(), kind: 'peer-served-wrong-bytes', digest, node, servedBy: node })
        .catch((error: unknown) => events.requestFailed('incident', error))
    }
  }

  #onFatal(error: Error): void {
    this.#isReady = false
    this.#options.events.fatal(error)
    this.#options.onFatal(error)
  }
}

/** What holds the bytes: this process, or a Kubo daemon. */
function createBackend({ config, secrets }: StorageNodeOptions, parts: EmbeddedOptions): BlockBackend {
  if (config.backend === 'embedded') return new EmbeddedBackend(parts)
  return new KuboBackend({
    ...parts,
    dir: join(config.dir, 'kubo'),
    binary: config.kuboBinary,
    url: config.kuboUrl,
    token: secrets.kuboToken,
  })
}
