/**
 * The faults of one run, drawn from its seed. A run has a profile: which faults may meet in it. The design promises safety against
 * all of crash, loss, delay and a lost register together; against one disk that went back, or one bad node, as long as the register
 * keeps its values; so the profiles keep these apart. Everything ends at `endMs`; from then on L1 runs.
 */
import type { ChainName } from '@healthblock/chain/chains'
import { type PeerMethod, peerMethods } from '../../services/accounting-node/src/core/ports.ts'
import { nodeCount } from './fixture.ts'
import { type Course, courses, governedRanks } from './governors.ts'
import type { SimulatedNode } from './node.ts'
import type { SimulatedQueue } from './queue.ts'
import type { Random } from './random.ts'
import type { SimulatedRegister } from './register.ts'
import { chainNames, type Fate, type World } from './world.ts'

/** The profiles. */
export const profiles = ['crash', 'register', 'disk', 'bad-node', 'governed', 'silent'] as const
/** Which faults may meet in a run. */
export type Profile = (typeof profiles)[number]

/** The frame of a run. */
export interface Plan {
  readonly profile: Profile
  /** When the last fault ends. */
  readonly endMs: number
  /** The bad node: its rank, and what it does. */
  readonly bad?: { readonly rank: number; readonly kind: BadNode }
  /** One node takes such calls and never answers them, from first to last; else it is as the others. */
  readonly silent?: { readonly rank: number; readonly methods: readonly PeerMethod[] }
  /** Mean time between two sendings of each of the people. */
  readonly pauseMs: number
  /** Which way the organisations go, if they govern. */
  readonly course?: Course
}

/** What a bad node does. */
export type BadNode = 'censors' | 'freezes-anchor' | 'equivocates' | 'decides-alone'

/** What faults act on. */
export interface Theatre {
  readonly world: World
  readonly nodes: readonly SimulatedNode[]
  readonly register: SimulatedRegister
  readonly queues: Readonly<Record<string, SimulatedQueue>>
  /** Told that a node's disk goes back, with or without its outbox. */
  readonly onRolledBack: (rank: number) => void
}

type Kind =
  | 'crash'
  | 'crash-all'
  | 'pause'
  | 'isolate'
  | 'split'
  | 'one-way'
  | 'lossy'
  | 'slow'
  | 'duplicates'
  | 'disk-fails'
  | 'outbox-fails'
  | 'register-away'
  | 'register-unsure'
  | 'register-lost'
  | 'register-back'
  | 'queue-away'
  | 'queue-wiped'
  | 'queue-unsure'
  | 'clock'
  | 'answer-then-crash'
  | 'decision-lost'
  | 'old-leader'
  | 'disk-back'
  | 'disk-damaged'

const common: Partial<Record<Kind, number>> = {
  crash: 8,
  'crash-all': 1.5,
  pause: 4,
  isolate: 3,
  split: 2,
  'one-way': 2,
  lossy: 3,
  slow: 3,
  duplicates: 2,
  'disk-fails': 4,
  'outbox-fails': 2,
  'register-away': 2,
  'register-unsure': 4,
  'queue-away': 1.5,
  'queue-wiped': 2,
  'queue-unsure': 3,
  clock: 2,
  'answer-then-crash': 3,
}

const weights: Readonly<Record<Profile, Partial<Record<Kind, number>>>> = {
  crash: common,
  register: { ...common, 'register-lost': 5, 'register-back': 5, 'decision-lost': 10, 'old-leader': 5 },
  disk: { ...common, 'disk-back': 10, 'disk-damaged': 5 },
  'bad-node': common,
  // The last two are drawn by name alone, so that a seed without a profile stays the run that it was.
  governed: common,
  silent: common,
}

/** What is wanted of a run, instead of what its seed gives. */
export interface Wanted {
  readonly profile?: Profile
  /** What the bad node does, if the profile has one. */
  readonly badKind?: BadNode
  /** Which way the organisations go, if they govern. */
  readonly course?: Course
}

/** Nobody waits for an answer to a hint. */
const answered = peerMethods.filter((method) => method !== 'decided' && method !== 'published' && method !== 'gossip')

function drawSilence(random: Random): Plan['silent'] {
  const rank = random.below(nodeCount)
  const methods = answered.filter(() => random.chance(0.4))
  return { rank, methods: methods.length === 0 ? answered : methods }
}

/** Draws the frame of a run, but for what is wanted. */
export function drawPlan(random: Random, wanted: Wanted): Plan {
  const drawn = random.weighted<Profile>({ crash: 5, register: 2, disk: 2, 'bad-node': 2 })
  const profile = wanted.profile ?? drawn
  const endMs = random.between(3_500, 10_000)
  const pauseMs = random.between(80, 500)
  if (profile === 'governed') return { profile, endMs, pauseMs, course: wanted.course ?? random.pick(courses) }
  if (profile === 'silent') return { profile, endMs, pauseMs, silent: drawSilence(random) }
  if (profile !== 'bad-node') return { profile, endMs, pauseMs }
  const kind =
    wanted.badKind ?? random.weighted<BadNode>({ censors: 1, 'freezes-anchor': 1, equivocates: 2, 'decides-alone': 1 })
  return { profile, endMs, pauseMs, bad: { rank: random.below(nodeCount), kind } }
}

/** Carries a plan out. */
export class FaultDirector {
  readonly #theatre: Theatre
  readonly #plan: Plan
  readonly #snapshots = new Map<number, ReturnType<SimulatedNode['disks']['userchain']['snapshot']>[]>()
  /** The one node whose disk may go back. */
  readonly #frail: number
  /** Nodes that are kept down. */
  readonly #down = new Map<number, number>()
  /** Counts the faults of each kind that run at this moment, so that the last one to end clears it. */
  readonly #running = new Map<string, number>()
  /** Armed faults: they strike when a node answers `stage` or `collect`, or when the register decides a block. */
  #answersAwaited = 0
  #decisionsAwaited = 0
  isOver = false

  constructor(theatre: Theatre, plan: Plan) {
    this.#theatre = theatre
    this.#plan = plan
    this.#frail = theatre.world.random.below(nodeCount)
  }

  /** Plans all faults. */
  start(): void {
    const { random, scheduler } = this.#theatre.world
    const { endMs, profile } = this.#plan
    const count = 2 + random.below(8)
    for (let i = 0; i < count; i++) {
      const kind = random.weighted<Kind>(weights[profile])
      scheduler.after(random.between(0, endMs * 0.95), undefined, () => this.#begin(kind))
    }
  }

  /** The node that joins is started at some time. */
  startJoining(): void {
    const { world, nodes } = this.#theatre
    const joins = nodes[governedRanks.joins] as SimulatedNode
    this.#restart(joins, world.random.between(0, this.#plan.endMs))
  }

  #during(name: string, begin: () => void, end: () => void): void {
    const { random, scheduler, trace } = this.#theatre.world
    const leftMs = this.#plan.endMs - scheduler.nowMs
    const ms = Math.min(leftMs, random.chance(0.2) ? random.between(1_000, 8_000) : random.between(20, 2_000))
    this.#running.set(name, (this.#running.get(name) ?? 0) + 1)
    trace.step(`fault ${name}`, -1, Math.round(ms))
    begin()
    scheduler.after(ms, undefined, () => {
      const left = (this.#running.get(name) ?? 1) - 1
      this.#running.set(name, left)
      if (left === 0 && !this.isOver) end()
    })
  }

  #begin(kind: Kind): void {
    if (this.isOver) return
    const acts = { ...this.#onProcesses(), ...this.#onNetwork(), ...this.#onStores() }
    acts[kind](this.#theatre.world.random.below(this.#theatre.nodes.length))
  }

  #onProcesses() {
    const { random, faults } = this.#theatre.world
    return {
      crash: (rank: number) => this.#crash(rank, random.between(50, 3_000)),
      'crash-all': () => {
        for (const { rank } of this.#theatre.nodes) this.#crash(rank, random.between(50, 1_500))
      },
      pause: (rank: number) => this.#pause(rank),
      clock: (rank: number) => this.#clock(rank),
      'answer-then-crash': () => {
        this.#answersAwaited++
      },
      'decision-lost': () => {
        this.#decisionsAwaited++
      },
      'old-leader': () => this.#oldLeader(),
      'disk-fails': (rank: number) => this.#fail(faults.nextDisk, rank),
      'outbox-fails': (rank: number) => this.#fail(faults.nextOutbox, rank),
      'disk-back': () => this.#rollBack(random.chance(0.3)),
      'disk-damaged': () => this.#damage(),
    }
  }

  /** A node answered a leader: an armed fault ends its process before anything else of it happens. */
  answered(rank: number): void {
    if (this.isOver || this.#answersAwaited === 0) return
    this.#answersAwaited--
    const { random, trace } = this.#theatre.world
    trace.step('fault answer-then-crash', rank, undefined)
    this.#crash(rank, random.between(50, 1_500))
  }

  /** The register took a value of a new height: an armed fault takes it away before the others read it, and the leader a little later. */
  decided(chain: ChainName, rank: number): void {
    if (this.isOver || this.#decisionsAwaited === 0) return
    this.#decisionsAwaited--
    const { world, register } = this.#theatre
    const { random, trace, scheduler } = world
    trace.step('fault decision-lost', rank, chain)
    if (random.chance(0.5)) register.lose(chain)
    else register.rollBack(chain, 3)
    scheduler.after(random.between(0, 14), undefined, () => {
      if (!this.isOver) this.#crash(rank, random.between(1_000, 5_000))
    })
  }

  /** A leader sleeps until another one leads, and wakes up in a world that forgot the other one. */
  #oldLeader(): void {
    const { world, nodes, register } = this.#theatre
    const { random, scheduler } = world
    const chain = random.pick(chainNames)
    const leader = nodes.find(({ running }) => running?.cores[chain].status().leads === true)
    const life = leader?.life
    if (leader === undefined || life === undefined || life.isPaused) return
    world.trace.step('fault old-leader', leader.rank, chain)
    scheduler.pause(life)
    scheduler.after(Math.min(random.between(2_500, 4_500), this.#plan.endMs - scheduler.nowMs), undefined, () => {
      if (this.isOver || life.isDead) return
      for (const { rank } of nodes)
        if (rank !== leader.rank && random.chance(0.5)) this.#crash(rank, random.between(20, 200))
      register.rollBack(chain, 6)
      scheduler.resume(life)
    })
  }

  #onNetwork() {
    const { random, faults } = this.#theatre.world
    const { network } = faults
    return {
      isolate: (rank: number) => this.#cut('isolate', (from, to) => from === rank || to === rank),
      'one-way': (rank: number) => this.#cut('one-way', (from) => from === rank),
      split: (rank: number) => {
        const side = rank === 0 ? [0, 3] : [0, rank]
        this.#cut('split', (from, to) => side.includes(from) !== side.includes(to))
      },
      lossy: () => this.#set('lossy', network, { loss: random.between(0.02, 0.4) }),
      slow: () => {
        this.#set('slow', network, { slow: random.between(0.1, 1), slowMs: random.pick([50, 400, 4_000]) })
      },
      duplicates: () => this.#set('duplicates', network, { duplicates: random.between(0.05, 0.5) }),
    }
  }

  #onStores() {
    const { world, register, queues } = this.#theatre
    const { random, faults, trace } = world
    const some = (): number => random.between(0.05, 0.4)
    const onRegister = (name: string, act: (chain: ChainName) => void) => (): void => {
      const chain = random.pick(chainNames)
      trace.step(`fault ${name}`, -1, chain)
      act(chain)
    }
    return {
      'register-away': () => this.#set('register-away', faults.register, { away: true }),
      'register-unsure': () => {
        this.#set('register-unsure', faults.register, { lost: some(), unanswered: some(), late: some() / 2 })
      },
      'register-lost': onRegister('register-lost', (chain) => register.lose(chain)),
      'register-back': onRegister('register-back', (chain) => register.rollBack(chain)),
      'queue-away': () => this.#set('queue-away', faults.queue, { away: true }),
      'queue-unsure': () => {
        this.#set('queue-unsure', faults.queue, {
          lost: some(),
          repeated: some(),
          reordered: some(),
          unanswered: some(),
        })
      },
      'queue-wiped': () => {
        trace.step('fault queue-wiped', -1, undefined)
        for (const queue of Object.values(queues)) queue.wipe()
      },
    }
  }

  /** Sets shares of a fault for a while, and then back to none. */
  #set<T extends object>(name: string, faults: T, values: Partial<T>): void {
    const none = Object.entries(values).map(([key, value]) => [key, typeof value === 'boolean' ? false : 0])
    this.#during(
      name,
      () => Object.assign(faults, values),
      () => {
        Object.assign(faults, Object.fromEntries(none))
        for (const queue of Object.values(this.#theatre.queues)) queue.resume()
      },
    )
  }

  #cut(name: string, isCut: (from: number, to: number) => boolean): void {
    const { cut } = this.#theatre.world.faults.network
    const pairs: string[] = []
    const ranks = this.#theatre.nodes.map(({ rank }) => rank)
    for (const from of ranks) {
      for (const to of ranks) if (from !== to && isCut(from, to)) pairs.push(`${from}>${to}`)
    }
    // Cuts may overlap: the one that ends first heals what both cut, as a cable does.
    this.#during(
      name,
      () => {
        for (const pair of pairs) cut.add(pair)
      },
      () => {
        for (const pair of pairs) cut.delete(pair)
      },
    )
  }

  #fail(next: Map<number, Fate>, rank: number): void {
    const fate: Fate = this.#theatre.world.random.chance(0.5) ? 'fails' : 'fails-done'
    next.set(rank, fate)
  }

  /** Ends a node's process, and starts it again after `downMs`. */
  #crash(rank: number, downMs: number): void {
    const { world, nodes } = this.#theatre
    const node = nodes[rank] as SimulatedNode
    node.crash()
    this.#restart(node, Math.min(downMs, Math.max(0, this.#plan.endMs - world.scheduler.nowMs)))
  }

  #restart(node: SimulatedNode, downMs: number): void {
    const { scheduler } = this.#theatre.world
    this.#down.set(node.rank, scheduler.nowMs + downMs)
    scheduler.after(downMs, undefined, () => {
      if (scheduler.nowMs < (this.#down.get(node.rank) ?? 0) - 1e-6) return
      if (node.life === undefined) node.start()
    })
  }

  /** A core halted, or a start failed: the process ends, and its supervisor starts it again. */
  ended(node: SimulatedNode): void {
    node.crash()
    this.#restart(node, this.#theatre.world.random.between(100, 1_000))
  }

  #pause(rank: number): void {
    const { world, nodes } = this.#theatre
    const life = (nodes[rank] as SimulatedNode).life
    if (life === undefined || life.isPaused) return
    this.#during(
      `pause ${rank}`,
      () => world.scheduler.pause(life),
      () => {
        if (!life.isDead) world.scheduler.resume(life)
      },
    )
  }

  /** A wrong clock: small differences anywhere, a large one on one node alone. */
  #clock(rank: number): void {
    const { world, nodes } = this.#theatre
    const { random } = world
    const day = 86_400_000
    const isLarge = random.chance(0.5)
    const node = nodes[isLarge ? this.#frail : rank] as SimulatedNode
    const ms = Math.round(isLarge ? random.pick([8_000, -8_000, 365 * day, -365 * day]) : random.between(-900, 900))
    this.#during(
      `clock ${node.rank} ${ms}`,
      () => {
        node.skewMs = ms
      },
      () => {
        node.skewMs = 0
      },
    )
  }

  /** Remembers what the frail node's disks hold, to come back to it later. */
  remember(): void {
    if (this.#plan.profile !== 'disk') return
    const node = this.#theatre.nodes[this.#frail] as SimulatedNode
    if (node.life === undefined) return
    const kept = this.#snapshots.get(node.rank) ?? []
    kept.push(
      new Map(
        chainNames.flatMap((chain) =>
          [...node.disks[chain].snapshot()].map(([name, bytes]) => [`${chain}/${name}`, bytes] as const),
        ),
      ),
    )
    this.#snapshots.set(node.rank, kept.slice(-8))
  }

  #rollBack(withOutbox: boolean): void {
    const { world, nodes, onRolledBack } = this.#theatre
    const { random, trace } = world
    const node = nodes[this.#frail] as SimulatedNode
    node.crash()
    const kept = this.#snapshots.get(node.rank) ?? []
    const snapshot = random.chance(0.15) || kept.length === 0 ? new Map<string, Uint8Array>() : random.pick(kept)
    trace.step('fault disk-back', node.rank, snapshot.size)
    for (const chain of chainNames) {
      const own = [...snapshot].filter(([name]) => name.startsWith(`${chain}/`))
      node.disks[chain].restore(new Map(own.map(([name, bytes]) => [name.slice(chain.length + 1), bytes])))
      if (withOutbox) node.outboxes[chain].lose()
    }
    onRolledBack(node.rank)
    this.#restart(node, random.between(50, 1_500))
  }

  #damage(): void {
    const { world, nodes, onRolledBack } = this.#theatre
    const { random, trace } = world
    const node = nodes[this.#frail] as SimulatedNode
    node.crash()
    const file = random.pick(['log/blocks', 'log/blocks', 'staged/blocks', 'promise'])
    trace.step('fault disk-damaged', node.rank, file)
    node.disks[random.pick(chainNames)].damage(file)
    // A node whose log is cut still has its word: the promise keeps it from signing less.
    if (file !== 'log/blocks') onRolledBack(node.rank)
    this.#restart(node, random.between(50, 1_500))
  }

  /** Ends every fault: what is down starts, what is paused goes on, clocks are right. */
  end(): void {
    this.isOver = true
    const { world, nodes, queues } = this.#theatre
    world.faults.clear()
    for (const node of nodes) {
      node.skewMs = 0
      const { life } = node
      if (life === undefined) {
        this.#down.set(node.rank, 0)
        node.start()
      } else if (life.isPaused) world.scheduler.resume(life)
    }
    for (const queue of Object.values(queues)) queue.resume()
  }
}
