/** One run: a world from a seed, faults, and the judgement. */
import { toHex } from '@healthblock/encoding/bytes'
import type { CoreEvent } from '../../services/accounting-node/src/core/ports.ts'
import type { SampleNodeKeys } from '../support/sample-ledger.ts'
import { Clients } from './clients.ts'
import { createFixture, type Fixture, nodeCount } from './fixture.ts'
import { governedRanks } from './governors.ts'
import { Invariants, isInjected, textOf, type Violation } from './invariants.ts'
import { SimulatedNetwork } from './network.ts'
import { type Build, loadBuild, SimulatedNode } from './node.ts'
import { type BadNode, drawPlan, FaultDirector, type Plan, type Wanted } from './plan.ts'
import { SimulatedQueue } from './queue.ts'
import { Random } from './random.ts'
import { SimulatedRegister } from './register.ts'
import { Life, Scheduler } from './scheduler.ts'
import { startMs } from './scribe.ts'
import { Trace } from './trace.ts'
import { withTraps } from './traps.ts'
import { chainNames, type Fate, Faults, type IoCall, type World } from './world.ts'

/** L1: everything is answered within this long after the last fault. */
const settleMsMax = 60_000
/** And with a node that answers nothing, if no promise ended without a block: it costs a moment, not the time that a call may take, again and again. */
const silentMsMax = 20_000
/** A run that makes more events than this does something over and over. */
const eventsMax = 400_000

/** What a run came to. */
export interface Outcome {
  readonly seed: number
  readonly violation: Violation | undefined
  /** Hash of everything that happened. */
  readonly trace: string
  readonly plan: Plan
  readonly virtualMs: number
  readonly events: number
  /** How long after the last fault all was settled. */
  readonly settledMs: number
  readonly heights: Readonly<Record<string, number>>
  readonly counts: Readonly<Record<string, number>>
}

/** How to run. */
export interface RunOptions extends Wanted {
  readonly seed: number
  /** Build of all nodes, for a mutation. */
  readonly build?: Build
  /** A run without chance's faults: what becomes of each action instead, with fewer people. */
  readonly script?: Script
  /** Gets each step as a line. */
  readonly print?: (line: string) => void
}

/** Decides the fate of each action on the world, in the order in which they are made. */
export type Script = (call: IoCall) => Fate | undefined

/** The frame of a scripted run. */
const scripted: Plan = { profile: 'crash', endMs: 1_500, pauseMs: 40 }
/** Its people: an organisation, a patient, a doctor. */
const scriptedLanes: readonly string[] = ['organisation', 'ann', 'doctor-0']
/** A node whose action failed dies so soon after it. */
const restartMs = 5

let fixture: Fixture | undefined
let standard: Build | undefined
const badBuilds = new Map<string, Build>()

/** The build of a bad node; a censor runs the standard one. */
const buildOfBad: Readonly<Record<BadNode, string | undefined>> = {
  censors: undefined,
  'freezes-anchor': 'bad-anchor',
  equivocates: 'bad-equivocation',
  'decides-alone': 'bad-decision',
}

/** Bad nodes that are found out, and lose their credentials when the faults end; the design lets them stop a ledger until then. */
const isDismissed = (kind: BadNode): boolean => kind === 'equivocates' || kind === 'decides-alone'

/** Loads what runs need, before the first. */
export async function prepare(): Promise<void> {
  fixture ??= createFixture()
  standard ??= await loadBuild()
  for (const variant of Object.values(buildOfBad)) {
    if (variant !== undefined && !badBuilds.has(variant)) badBuilds.set(variant, await loadBuild(variant))
  }
}

/** One run. */
class Simulation {
  readonly #fixture: Fixture
  readonly #world: World
  readonly #plan: Plan
  readonly #invariants: Invariants
  readonly #nodes: SimulatedNode[]
  readonly #clients: Clients
  readonly #director: FaultDirector
  readonly #seed: number
  readonly #script: Script | undefined
  #hasInstalled = false

  constructor(options: RunOptions, shared: { fixture: Fixture; build: Build }) {
    const scheduler = new Scheduler()
    const random = new Random(options.seed)
    const faults = new Faults()
    const script = (call: IoCall): Fate | undefined => this.#scripted(call)
    const world: World = {
      ...{ scheduler, random, faults, trace: new Trace(scheduler, options.print) },
      ...(options.script === undefined ? {} : { script }),
    }
    this.#script = options.script
    this.#seed = options.seed
    this.#world = world
    this.#fixture = shared.fixture
    this.#plan = options.script === undefined ? drawPlan(random, options) : scripted
    const { bad, silent } = this.#plan
    for (const method of silent?.methods ?? []) faults.silence.add(`${silent?.rank} ${method}`)
    const isHonest = (rank: number): boolean => bad?.rank !== rank || bad.kind === 'censors'
    this.#invariants = new Invariants(world, shared.fixture, isHonest, {
      unixMs: (rank) => startMs + scheduler.nowMs + (this.#nodes[rank]?.skewMs ?? 0),
      isOnDisk: (rank, chain, file, bytes) => this.#nodes[rank]?.disks[chain].holds(file, bytes) === true,
    })
    const network = new SimulatedNetwork(world, {
      called: (call) => this.#invariants.called(call),
      received: (call) => this.#invariants.received(call),
      answered: (call, answer, received) => {
        this.#invariants.answered(call, answer, received)
        if (call.method === 'stage' || call.method === 'collect') this.#director.answered(call.to)
      },
    })
    const register = new SimulatedRegister(world, (chain, value, rank) => {
      if (this.#invariants.registered(chain, value)) this.#director.decided(chain, rank)
    })
    const queues = {
      userchain: new SimulatedQueue(world, 'userchain'),
      docchain: new SimulatedQueue(world, 'docchain'),
    }
    const count = this.#plan.course === 'grows' ? shared.fixture.nodes.length : nodeCount
    this.#nodes = Array.from({ length: count }, (_, rank) => {
      const variant = bad?.rank === rank ? buildOfBad[bad.kind] : undefined
      return new SimulatedNode({
        ...{ world, fixture: shared.fixture, rank, network, register, queues },
        build: variant === undefined ? shared.build : (badBuilds.get(variant) as Build),
        ...(bad?.rank === rank && bad.kind === 'censors' ? { censored: this.#censored() } : {}),
        keys: () => this.#keysOf(rank),
        observe: (node, event) => this.#observe(node, event),
        onOpened: (node, running) => this.#invariants.attach(node.rank, running),
        onFailed: (node, error) => this.#startFailed(node, error),
      })
    })
    this.#clients = new Clients(world, {
      nodes: this.#nodes,
      invariants: this.#invariants,
      lanes: [
        ...shared.fixture.lanes.filter(({ name }) => options.script === undefined || scriptedLanes.includes(name)),
        ...(this.#plan.course === undefined ? [] : [shared.fixture.governors[this.#plan.course]]),
      ],
      isHonest: (rank) => bad?.rank !== rank,
      pauseMs: this.#plan.pauseMs,
      onCommitted: () => this.#installKeys(),
    })
    const onRolledBack = (rank: number): void => void this.#invariants.rolledBack.add(rank)
    this.#director = new FaultDirector({ world, nodes: this.#nodes, register, queues, onRolledBack }, this.#plan)
  }

  /** A node is started with the keys that the newest policy on record has for it, or with those that it begins with. */
  #keysOf(rank: number): SampleNodeKeys {
    const { nodes, replacing } = this.#fixture
    const isReplaced = this.#invariants.hasNodeKey(replacing.node.publicKey)
    return isReplaced && rank === governedRanks.replaced ? replacing : (nodes[rank] as SampleNodeKeys)
  }

  /** The administrator hears that his node's keys were replaced, and starts it with the new ones. */
  #installKeys(): void {
    const { replacing } = this.#fixture
    if (this.#hasInstalled || !this.#invariants.hasNodeKey(replacing.node.publicKey)) return
    this.#hasInstalled = true
    this.#world.trace.step('new keys', governedRanks.replaced, undefined)
    this.#director.ended(this.#nodes[governedRanks.replaced] as SimulatedNode)
  }

  /** What fails by the script takes its node down a moment later. */
  #scripted(call: IoCall): Fate {
    const fate = this.#script?.(call) ?? 'done'
    if (fate === 'done') return fate
    this.#world.scheduler.after(restartMs, undefined, () => {
      this.#director.ended(this.#nodes[call.rank] as SimulatedNode)
    })
    return fate
  }

  /** A censoring leader leaves out the first patient. */
  #censored(): ReadonlySet<string> {
    const lane = this.#fixture.lanes.find(({ name }) => name === 'ann')
    return new Set([lane?.items[0]?.key as string])
  }

  #observe(node: SimulatedNode, event: CoreEvent): void {
    this.#world.trace.step(`core ${event.kind} ${event.chain}`, node.rank, undefined, () => {
      const { error, ...fields } = event as CoreEvent & { error?: unknown }
      return `${JSON.stringify(fields)} ${error === undefined ? '' : textOf(error)}`
    })
    this.#invariants.said(node.rank, event)
    if (event.kind !== 'halted') return
    const { life } = node
    // The process ends, as the service's does, once what runs now has run.
    this.#world.scheduler.after(0, life, () => {
      if (life !== undefined && node.life === life) this.#director.ended(node)
    })
  }

  #startFailed(node: SimulatedNode, error: unknown): void {
    this.#world.trace.step('start failed', node.rank, undefined, () => textOf(error))
    if (!isInjected(error)) this.#invariants.fail('start', `rank ${node.rank} cannot start: ${textOf(error)}`)
    this.#director.ended(node)
  }

  /** An error that nobody catches ends the process it happened in. */
  #uncaught(error: unknown): void {
    const { current } = this.#world.scheduler
    this.#world.trace.step('uncaught', current?.rank ?? -1, undefined, () => textOf(error))
    if (current === undefined || !isInjected(error)) {
      this.#invariants.fail('fault', `uncaught at rank ${current?.rank}: ${textOf(error)}`)
      return
    }
    const node = this.#nodes[current.rank] as SimulatedNode
    if (node.life === current) this.#director.ended(node)
  }

  async run(): Promise<Outcome> {
    const { scheduler } = this.#world
    try {
      await withTraps(
        scheduler,
        (error) => this.#uncaught(error),
        () => this.#act(),
      )
    } catch (error) {
      this.#invariants.fail('simulation', textOf(error))
    } finally {
      for (const node of this.#nodes) node.end()
    }
    const heights = Object.fromEntries(chainNames.map((chain) => [chain, this.#invariants.heightOf(chain)]))
    return {
      seed: this.#seed,
      violation: this.#invariants.violation,
      trace: this.#world.trace.hash(),
      plan: this.#plan,
      virtualMs: scheduler.nowMs,
      events: scheduler.count,
      settledMs: scheduler.nowMs - this.#plan.endMs,
      heights,
      counts: this.#clients.counts(),
    }
  }

  async #act(): Promise<void> {
    const { scheduler, trace } = this.#world
    for (const node of this.#nodes) if (node.rank < nodeCount) node.start()
    if (this.#nodes.length > nodeCount) this.#director.startJoining()
    this.#clients.start()
    if (this.#script === undefined) this.#director.start()
    this.#remember()
    await scheduler.run(() => this.#settled() && scheduler.nowMs < this.#plan.endMs)
    if (this.#invariants.violation !== undefined) return
    trace.step('the last fault ends', -1, undefined)
    this.#director.end()
    this.#clients.healedMs = scheduler.nowMs
    this.#dismissBadNode()
    let lookMs = scheduler.nowMs
    let isDone = false
    await scheduler.run(() => {
      if (!this.#settled()) return false
      if (scheduler.nowMs >= lookMs) {
        lookMs = scheduler.nowMs + 100
        isDone = this.#isQuiet()
        if (scheduler.nowMs > this.#plan.endMs + settleMsMax && !isDone) this.#late()
      }
      return !isDone
    })
    if (this.#invariants.violation !== undefined) return
    this.#judgeSilence()
    this.#invariants.finished(this.#serving())
    for (const { rank, cores } of this.#serving()) {
      for (const chain of chainNames) trace.step(`ends ${chain}`, rank, toHex(cores[chain].head().root))
    }
  }

  #judgeSilence(): void {
    const settledMs = this.#world.scheduler.nowMs - this.#plan.endMs
    if (this.#plan.silent === undefined || settledMs <= silentMsMax || this.#clients.counts().deferred !== undefined)
      return
    this.#invariants.fail('L1', `one silent node held the others up for ${Math.round(settledMs / 1000)} s`)
  }

  #isGone(rank: number): boolean {
    const { bad } = this.#plan
    return bad?.rank === rank && isDismissed(bad.kind)
  }

  #dismissBadNode(): void {
    for (const node of this.#nodes) if (this.#isGone(node.rank)) node.retire()
  }

  #remember(): void {
    this.#world.scheduler.after(700, undefined, () => {
      this.#director.remember()
      this.#remember()
    })
  }

  /** After each event: what the process that acted has become. Answers false at the first violation. */
  #settled(): boolean {
    const { scheduler } = this.#world
    const { current } = scheduler
    if (current instanceof Life && !current.isDead) {
      const running = this.#nodes[current.rank]?.running
      if (running?.life === current) this.#invariants.settled(current.rank, running)
    }
    if (scheduler.count > eventsMax) this.#invariants.fail('simulation', 'too many events')
    return this.#invariants.violation === undefined
  }

  #serving() {
    return this.#nodes.flatMap((node) => {
      return node.running === undefined || this.#isGone(node.rank)
        ? []
        : [{ rank: node.rank, cores: node.running.cores }]
    })
  }

  /** True when everybody was answered, and every node has published all there is. */
  #isQuiet(): boolean {
    this.#clients.ask()
    if (this.#clients.unfinished().length > 0) return false
    return this.#behind().length === 0
  }

  #behind(): string[] {
    const behind: string[] = []
    for (const node of this.#nodes) {
      if (this.#isGone(node.rank)) continue
      if (node.running === undefined) {
        behind.push(`rank ${node.rank} does not run`)
        continue
      }
      for (const chain of chainNames) {
        const core = node.running.cores[chain]
        const { size, height } = core.head()
        const published = core.published()?.size
        const isDue = chain === 'docchain' && core.ledger.isDocchainBlockDue()
        if (size === this.#invariants.sizeOf(chain) && published === size && !isDue) continue
        behind.push(`rank ${node.rank} ${chain}: applied ${height} (${size}), published ${published}`)
      }
    }
    return behind
  }

  #late(): void {
    const left = [...this.#clients.unfinished(), ...this.#behind()]
    this.#invariants.fail('L1', `not within ${settleMsMax / 1000} s: ${left.slice(0, 8).join('; ')}`)
  }
}

/** Runs one seed. `prepare` has resolved. */
export function runSeed(options: RunOptions): Promise<Outcome> {
  if (fixture === undefined || standard === undefined) throw new Error('prepare comes first')
  return new Simulation(options, { fixture, build: options.build ?? standard }).run()
}
