/** One accounting node of the simulation: the real cores and gateways of both chains, on simulated ports, from start to crash. */

import type { ChainName } from '@healthblock/chain/chains'
import { MemoryChainStore } from '@healthblock/chain/store'
import { createLogger } from '@healthblock/runtime/logger'
import { Registry } from 'prom-client'
import type { NodeCores, openCores as OpenCores } from '../../services/accounting-node/src/core/open-cores.ts'
import type { Clock, CoreEvent } from '../../services/accounting-node/src/core/ports.ts'
import type { Gateway as GatewayClass } from '../../services/accounting-node/src/gateway/gateway.ts'
import type { GatewayLedger as GatewayLedgerClass } from '../../services/accounting-node/src/gateway/ledger-view.ts'
import type { Outbox } from '../../services/accounting-node/src/gateway/outbox.ts'
import type { AnswerSigner as AnswerSignerClass } from '../../services/accounting-node/src/gateway/statements.ts'
import { createGatewayMetrics } from '../../services/accounting-node/src/metrics.ts'
import type { SampleNodeKeys } from '../support/sample-ledger.ts'
import { SimulatedDisk } from './disk.ts'
import type { Fixture } from './fixture.ts'
import type { SimulatedNetwork } from './network.ts'
import { SimulatedOutbox } from './outbox.ts'
import type { SimulatedQueue } from './queue.ts'
import type { SimulatedRegister } from './register.ts'
import { Life } from './scheduler.ts'
import { startMs } from './scribe.ts'
import { chainNames, type World } from './world.ts'

const metrics = createGatewayMetrics(new Registry())
const logger = createLogger({ name: 'simulated', level: 'silent' })

/** The accounting node's code in one of its builds. */
export interface Build {
  readonly openCores: typeof OpenCores
  readonly Gateway: typeof GatewayClass
  readonly GatewayLedger: typeof GatewayLedgerClass
  readonly AnswerSigner: typeof AnswerSignerClass
}

/** Loads a build; without a variant, the code as it stands. */
export async function loadBuild(variant?: string): Promise<Build> {
  const load = async <T>(path: string): Promise<T> => {
    const url = new URL(`../../services/accounting-node/src/${path}`, import.meta.url)
    if (variant !== undefined) url.searchParams.set('variant', variant)
    return (await import(url.href)) as T
  }
  const { openCores } = await load<{ openCores: typeof OpenCores }>('core/open-cores.ts')
  const { Gateway } = await load<{ Gateway: typeof GatewayClass }>('gateway/gateway.ts')
  const { GatewayLedger } = await load<{ GatewayLedger: typeof GatewayLedgerClass }>('gateway/ledger-view.ts')
  const { AnswerSigner } = await load<{ AnswerSigner: typeof AnswerSignerClass }>('gateway/statements.ts')
  return { openCores, Gateway, GatewayLedger, AnswerSigner }
}

/** What a node is made in. */
export interface NodeOptions {
  readonly world: World
  readonly fixture: Fixture
  readonly rank: number
  readonly build: Build
  readonly network: SimulatedNetwork
  readonly register: SimulatedRegister
  readonly queues: Readonly<Record<ChainName, SimulatedQueue>>
  /** The keys that it is started with now. */
  readonly keys: () => SampleNodeKeys
  /** As leader it leaves these accounts out. */
  readonly censored?: ReadonlySet<string>
  /** Told of what a core says. */
  readonly observe: (node: SimulatedNode, event: CoreEvent) => void
  /** Told when the parts are there, before they start. */
  readonly onOpened: (node: SimulatedNode, running: Running) => void
  /** Told of a start that failed. */
  readonly onFailed: (node: SimulatedNode, error: unknown) => void
}

/** The parts of a node that runs. */
export interface Running {
  readonly life: Life
  readonly cores: NodeCores
  readonly gateways: Readonly<Record<ChainName, GatewayClass>>
  /** True once it answers peers and people. */
  isServing: boolean
}

/** One node: its disks outlive its processes. */
export class SimulatedNode {
  readonly rank: number
  readonly disks: Readonly<Record<ChainName, SimulatedDisk>>
  readonly outboxes: Readonly<Record<ChainName, SimulatedOutbox>>
  /** What its clock shows beyond the world's time. */
  skewMs = 0
  running: Running | undefined
  readonly #options: NodeOptions
  #stores: Partial<Record<ChainName, MemoryChainStore>> = {}

  constructor(options: NodeOptions) {
    this.#options = options
    this.rank = options.rank
    const { world } = options
    const each = <T>(make: (chain: ChainName) => T): Record<ChainName, T> => ({
      userchain: make('userchain'),
      docchain: make('docchain'),
    })
    this.disks = each((chain) => new SimulatedDisk(world, chain))
    this.outboxes = each((chain) => new SimulatedOutbox(world, chain))
  }

  #clock(life: Life): Clock {
    const { scheduler } = this.#options.world
    const bornMs = scheduler.nowMs
    return {
      nowMs: () => Math.floor(startMs + scheduler.nowMs + this.skewMs),
      elapsedMs: () => scheduler.nowMs - bornMs,
      wait: (ms, signal) =>
        new Promise((resolve) => {
          if (signal.aborted) return resolve()
          const end = (): void => {
            scheduler.cancel(timer)
            signal.removeEventListener('abort', end)
            resolve()
          }
          // As Node's timers: whole milliseconds, at least one.
          const timer = scheduler.after(Math.max(1, Math.trunc(ms)), life, end)
          signal.addEventListener('abort', end)
        }),
    }
  }

  /** Starts a process on what the disks hold. Derived state is kept from the last one, or not. */
  start(): void {
    if (this.#isRetired) return
    const life = new Life(this.rank)
    const { world } = this.#options
    if (world.random.chance(0.5)) this.#stores = {}
    world.scheduler.after(0, life, () => {
      this.#boot(life).catch((error) => {
        if (!life.isDead) this.#options.onFailed(this, error)
      })
    })
    this.#life = life
  }

  #life: Life | undefined
  #isRetired = false

  /** Ends the process for good: the node's credentials are withdrawn. */
  retire(): void {
    this.#isRetired = true
    this.crash()
  }

  /** The process, while there is one. */
  get life(): Life | undefined {
    return this.#life?.isDead === true ? undefined : this.#life
  }

  async #boot(life: Life): Promise<void> {
    const { world, fixture, rank, build, network, register, queues, censored } = this.#options
    const keys = this.#options.keys()
    const account = fixture.accounts[rank] as Uint8Array
    const clock = this.#clock(life)
    const each = <T>(make: (chain: ChainName) => T): Record<ChainName, T> => ({
      userchain: make('userchain'),
      docchain: make('docchain'),
    })
    const cores = await build.openCores({
      genesis: fixture.genesis,
      account,
      nodeKey: keys.node,
      chainKeys: { userchain: keys.userchain, docchain: keys.docchain },
      clock,
      disks: each((chain) => this.disks[chain].port(life)),
      queues: each((chain) => queues[chain].port(life)),
      register: register.port(life),
      network: network.port(life),
      observe: (event) => {
        if (!life.isDead) this.#options.observe(this, event)
      },
      openStore: (chain, { fresh }) => this.#store(chain, fresh),
      ...(censored === undefined ? {} : { faultCensor: censored }),
    })
    const anchor = () => cores.userchain.published()
    const gateways = each((chain) => {
      const core = cores[chain]
      const onDocchain = chain === 'docchain' ? { anchor } : {}
      const { ledgerId } = fixture
      const ledger = new build.GatewayLedger({ ledger: cores.ledger, chain, nowMs: clock.nowMs, ...onDocchain })
      const signer = new build.AnswerSigner({ core, ledgerId, account, nodeKey: keys.node, ...onDocchain })
      const outbox = this.outboxes[chain].port(life) as Outbox
      return new build.Gateway({ core, ledger, outbox, signer, ledgerId, clock, logger, metrics })
    })
    const running: Running = { life, cores, gateways, isServing: false }
    this.#options.onOpened(this, running)
    await cores.start()
    for (const chain of chainNames) gateways[chain].start()
    network.attach(life, (from, chain, method, body) => cores[chain].handlePeer(from, method, body))
    running.isServing = true
    this.running = running
    world.trace.step('serves', rank, undefined)
  }

  #store(chain: ChainName, fresh: boolean): MemoryChainStore {
    const kept = this.#stores[chain]
    if (kept !== undefined && !fresh) return kept
    const store = new MemoryChainStore()
    this.#stores[chain] = store
    return store
  }

  /** Ends the process at once. */
  crash(): void {
    const life = this.life
    if (life === undefined) return
    life.isDead = true
    this.running = undefined
    for (const chain of chainNames) this.disks[chain].crash()
    this.#options.world.trace.step('dies', this.rank, undefined)
  }

  /** Frees what the node holds. */
  end(): void {
    for (const chain of chainNames) this.outboxes[chain].end()
  }
}
