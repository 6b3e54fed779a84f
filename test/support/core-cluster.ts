/**
 * Several nodes' commit paths in one process: real folders, a real SQLite register, a network and (by default) a queue in memory, a
 * clock that runs faster than the wall's. A node can die at any action on the world, before it is done or after, and come back.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { genesisBlocks } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import { MemoryChainStore } from '@healthblock/chain/store'
import { openFileDisk } from '../../services/accounting-node/src/adapters/file-disk.ts'
import { openSqliteRegister } from '../../services/accounting-node/src/adapters/sqlite-register.ts'
import type { ChainCore } from '../../services/accounting-node/src/core/chain-core.ts'
import { type NodeCores, openCores } from '../../services/accounting-node/src/core/open-cores.ts'
import type {
  Clock,
  CoreEvent,
  Disk,
  HeadRegister,
  IntakeQueue,
  PeerNetwork,
} from '../../services/accounting-node/src/core/ports.ts'
import { encodeHeadValue, parseHeadValue } from '../../services/accounting-node/src/core/wire.ts'
import { MemoryNetwork } from './memory-network.ts'
import { MemoryQueue } from './memory-queue.ts'
import { type SampleLedger, type SampleNodeKeys, sampleLedger } from './sample-ledger.ts'

/** A clock that runs `speed` times as fast as the wall's, from `startMs`. `skewMs` is added to what it shows. */
export function fastClock(startMs: number, speed: number, skew: { ms: number } = { ms: 0 }): Clock {
  const begunMs = performance.now()
  return {
    nowMs: () => Math.floor(startMs + (performance.now() - begunMs) * speed) + skew.ms,
    elapsedMs: () => (performance.now() - begunMs) * speed,
    wait(ms, signal) {
      return new Promise((resolve) => {
        if (signal.aborted) return resolve()
        const end = (): void => {
          clearTimeout(timer)
          signal.removeEventListener('abort', end)
          resolve()
        }
        const timer = setTimeout(end, ms / speed)
        signal.addEventListener('abort', end)
      })
    },
  }
}

/**
 * Where a node dies: at its `at`-th action (from 1) on disk, register or network, or, with `decision`, at the compare-and-set that
 * decides Userchain's block `at`; `done` if the action still happens.
 */
export interface CrashPlan {
  readonly at: number
  readonly done: boolean
  readonly decision?: boolean
}

class Died extends Error {
  override readonly name = 'Died'
}

/** Counts a node's actions on the world, and ends it at one of them. */
class Life {
  actions = 0
  isDead = false
  plan: CrashPlan | undefined
  onDeath: (() => void) | undefined

  async act<T>(work: () => Promise<T>, decides?: number): Promise<T> {
    if (this.isDead) throw new Died('dead')
    this.actions++
    const step = this.plan?.decision === true ? decides : this.actions
    if (this.plan !== undefined && step === this.plan.at) {
      this.isDead = true
      if (this.plan.done) await work().catch(() => {})
      this.onDeath?.()
      throw new Died('dies here')
    }
    const result = await work()
    if (this.isDead) throw new Died('dead')
    return result
  }
}

function mortalDisk(disk: Disk, life: Life): Disk {
  return {
    async open(name) {
      const file = await disk.open(name)
      return {
        size: () => file.size(),
        read: (offset, length) => file.read(offset, length),
        append: (bytes) => life.act(() => file.append(bytes)),
        replace: (bytes) => life.act(() => file.replace(bytes)),
        truncate: (size) => life.act(() => file.truncate(size)),
        close: () => file.close(),
      }
    },
    read: (name) => disk.read(name),
    write: (name, bytes, options) => life.act(() => disk.write(name, bytes, options)),
    list: (folder) => disk.list(folder),
    remove: (name) => life.act(() => disk.remove(name)),
  }
}

function mortalRegister(register: HeadRegister, life: Life): HeadRegister {
  return {
    read: (chain) => (life.isDead ? Promise.reject(new Died('dead')) : register.read(chain)),
    cas: (chain, expected, next) =>
      life.act(
        () => register.cas(chain, expected, next),
        chain === 'userchain' ? parseHeadValue(next).height : undefined,
      ),
  }
}

function mortalNetwork(network: PeerNetwork, life: Life): PeerNetwork {
  return {
    call: (rank, chain, method, body, options) => {
      const send = (): Promise<Uint8Array> => network.call(rank, chain, method, body, options)
      if (method === 'head' || method === 'block') return life.isDead ? Promise.reject(new Died('dead')) : send()
      return life.act(send)
    },
  }
}

/** One node of the cluster, while it runs. */
export interface RunningNode {
  readonly cores: NodeCores
  readonly life: Life
}

/** How to make a cluster. */
export interface ClusterOptions {
  readonly n?: number
  readonly q?: number
  readonly seed?: number
  /** How much faster than the wall its clocks run; default 20. */
  readonly speed?: number
  /** Another queue than the one in memory. */
  readonly queue?: (chain: ChainName, rank: number) => IntakeQueue
  /** Another network than the one in memory. */
  readonly peers?: (rank: number) => PeerNetwork
}

/** How a node is started. */
export interface StartOptions {
  readonly crash?: CrashPlan
  readonly censor?: readonly string[]
  /** Other keys than those of genesis; with `account` a node that genesis does not list. */
  readonly keys?: SampleNodeKeys
  readonly account?: Uint8Array
}

/** A ledger and its nodes. */
export class CoreCluster {
  readonly dir = mkdtempSync(join(tmpdir(), 'healthblock-cores-'))
  readonly ledger: SampleLedger
  readonly network: MemoryNetwork
  readonly queues = { userchain: new MemoryQueue(), docchain: new MemoryQueue() }
  readonly clock: Clock
  readonly events: { rank: number; event: CoreEvent }[] = []
  readonly nodes = new Map<number, RunningNode>()
  readonly skews: { ms: number }[]
  readonly #options: ClusterOptions
  readonly #startMs: number
  readonly #registers: { close(): void }[] = []
  #wake = Promise.withResolvers<void>()

  constructor(options: ClusterOptions = {}) {
    this.#options = options
    const n = options.n ?? 4
    this.#startMs = Date.now()
    this.ledger = sampleLedger({ n, q: options.q ?? Math.floor((2 * n) / 3) + 1, startMs: this.#startMs - 60_000 })
    this.network = new MemoryNetwork(options.seed)
    this.clock = fastClock(this.#startMs, options.speed ?? 20)
    this.skews = Array.from({ length: n }, () => ({ ms: 0 }))
  }

  get n(): number {
    return this.ledger.nodes.length
  }

  get registerPath(): string {
    return join(this.dir, 'register.db')
  }

  /** Folder of a node. */
  nodeDir(rank: number): string {
    return join(this.dir, `node-${rank}`)
  }

  #note(rank: number, event: CoreEvent): void {
    this.events.push({ rank, event })
    this.#stir()
  }

  #stir(): void {
    const woken = this.#wake
    this.#wake = Promise.withResolvers<void>()
    woken.resolve()
  }

  /** Starts a node on its folder, whatever is in it. */
  async start(rank: number, options: StartOptions = {}): Promise<RunningNode> {
    const keys = options.keys ?? this.ledger.nodes[rank]
    if (keys === undefined) throw new Error(`no node ${rank}`)
    const life = new Life()
    life.plan = options.crash
    const register = openSqliteRegister(this.registerPath)
    this.#registers.push(register)
    const disk = (chain: ChainName): Disk => mortalDisk(openFileDisk(join(this.nodeDir(rank), chain)), life)
    const queue = (chain: ChainName): IntakeQueue => this.#options.queue?.(chain, rank) ?? this.queues[chain].port()
    const skew = this.skews[rank] ?? { ms: 0 }
    const clock: Clock = {
      nowMs: () => this.clock.nowMs() + skew.ms,
      elapsedMs: () => this.clock.elapsedMs(),
      wait: (ms, signal) => this.clock.wait(ms, signal),
    }
    const cores = await openCores({
      genesis: this.ledger.genesis,
      ...(options.account === undefined ? { rank } : { account: options.account }),
      nodeKey: keys.node,
      chainKeys: { userchain: keys.userchain, docchain: keys.docchain },
      clock,
      disks: { userchain: disk('userchain'), docchain: disk('docchain') },
      queues: { userchain: queue('userchain'), docchain: queue('docchain') },
      register: mortalRegister(register, life),
      network: mortalNetwork(this.#options.peers?.(rank) ?? this.network.port(rank), life),
      observe: (event) => this.#note(rank, event),
      openStore: () => new MemoryChainStore(),
      ...(options.censor === undefined ? {} : { faultCensor: new Set(options.censor) }),
    })
    const node = { cores, life }
    this.nodes.set(rank, node)
    for (const core of [cores.userchain, cores.docchain]) {
      core.onApplied(() => this.#stir())
      core.onPublished(() => this.#stir())
    }
    try {
      await cores.start()
    } catch (error) {
      this.nodes.delete(rank)
      await cores.stop()
      throw error
    }
    this.network.attach(rank, (from, chain, method, body) => {
      if (life.isDead) return Promise.reject(new Died('dead'))
      return cores[chain].handlePeer(from, method, body)
    })
    life.onDeath = () => {
      this.network.attach(rank, undefined)
      this.#stir()
    }
    return node
  }

  /** The register of a Userchain that has not begun names who leads: on a busy machine anybody might be the first. */
  async letLead(leader: number): Promise<void> {
    const { height, size, root } = genesisBlocks(this.ledger.genesis).userchain.head
    const register = openSqliteRegister(this.registerPath)
    const value = { incarnation: 1, term: 1, leader, height, size, root, acks: [] }
    await register.cas('userchain', undefined, encodeHeadValue(value))
    register.close()
  }

  /** Starts all nodes. */
  async startAll(): Promise<void> {
    for (let rank = 0; rank < this.n; rank++) await this.start(rank)
  }

  /** Stops a node; what it had not finished is lost. */
  async stop(rank: number): Promise<void> {
    const node = this.nodes.get(rank)
    if (node === undefined) return
    this.nodes.delete(rank)
    this.network.attach(rank, undefined)
    node.life.isDead = true
    await node.cores.stop()
  }

  core(rank: number, chain: ChainName = 'userchain'): ChainCore {
    const node = this.nodes.get(rank)
    if (node === undefined) throw new Error(`node ${rank} does not run`)
    return node.cores[chain]
  }

  /** Waits until `holds`, looking whenever something happened and a few times a second; fails after `timeoutMs` of the wall's clock. */
  async until(what: string, holds: () => boolean, timeoutMs = 20_000): Promise<void> {
    const endMs = performance.now() + timeoutMs
    while (!holds()) {
      const leftMs = endMs - performance.now()
      if (leftMs <= 0) throw new Error(`not within ${timeoutMs} ms: ${what}\n${this.describe()}`)
      const timer = Promise.withResolvers<void>()
      const handle = setTimeout(() => timer.resolve(), Math.min(20, leftMs))
      await Promise.race([this.#wake.promise, timer.promise])
      clearTimeout(handle)
    }
  }

  /** Heads and the last events, for a failure's message. */
  describe(): string {
    const heads = [...this.nodes].map(([rank, { cores, life }]) => {
      const of = (core: ChainCore): string => {
        const { term, leader, leads, signs, halted } = core.status()
        return `${core.head().height}/${core.published()?.height ?? '-'} term ${term} of ${leader}${leads ? ' leads' : ''}${signs ? '' : ' silent'}${halted ?? ''}`
      }
      return `  ${rank}${life.isDead ? ' dead' : ''}: ${of(cores.userchain)} | ${of(cores.docchain)}`
    })
    const last = this.events.slice(-40).map(({ rank, event }) => {
      const { error, ...rest } = event as CoreEvent & { error?: unknown }
      return `  ${rank} ${JSON.stringify(rest)} ${error instanceof Error ? error.stack?.split('\n').slice(0, 3).join(' ') : ''}`
    })
    return [...heads, ...last].join('\n')
  }

  #register<T>(work: (database: DatabaseSync) => T): T {
    const database = new DatabaseSync(this.registerPath)
    try {
      return work(database)
    } finally {
      database.close()
    }
  }

  /** Loses the head register of both chains. */
  loseRegister(): void {
    this.#register((database) => database.exec('DELETE FROM head'))
  }

  readRegister(chain: ChainName): Uint8Array {
    const row = this.#register((database) => database.prepare('SELECT value FROM head WHERE chain = ?').get(chain))
    return row?.value as Uint8Array
  }

  /** Sets the register behind everybody's back. */
  writeRegister(chain: ChainName, value: Uint8Array): void {
    this.#register((database) => database.prepare('UPDATE head SET value = ? WHERE chain = ?').run(value, chain))
  }

  /** Stops everything and removes the folders. */
  async end(): Promise<void> {
    for (const rank of [...this.nodes.keys()]) await this.stop(rank)
    for (const register of this.#registers) register.close()
    rmSync(this.dir, { recursive: true, force: true })
  }
}
