/**
 * What is done to a running cluster under load, one scenario after the other. Sizes: `short` is what the suite runs, `quick` a few
 * minutes, `full` the long run.
 */
import { cpSync, existsSync, rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { percentile } from '../../bench/support/report.ts'
import { Delivery, flood, pump, Senders, signBatches, signItems } from './senders.ts'
import { nodeCount, type Register, type World } from './world.ts'

/** How long a run is. */
export type Size = 'short' | 'quick' | 'full'

/** What a scenario has to tell beside its times. */
export interface Outcome {
  /** Facts for the table. */
  readonly facts: Readonly<Record<string, number | string>>
  /** What should not have happened, in words. */
  readonly wrong: readonly string[]
  /** When the last fault ended (`performance.now()`), if not at the end. */
  readonly endedMs?: number
}

/** A scenario. The nodes are whole when it begins, and may be in any state when it returns. */
export interface Scenario {
  readonly name: string
  readonly what: string
  /** The register that it is about; absent: either. */
  readonly register?: Register
  /** True: the scenario brings its own load. */
  readonly hasOwnLoad?: boolean
  run(world: World, size: Size): Promise<Outcome>
}

const yearMs = 365 * 86_400_000
/** A node that holds more than this after a flood does not bound its memory. */
const residentMbMax = 1_500

function pick<T>(size: Size, values: readonly [short: T, quick: T, full: T]): T {
  return values[size === 'short' ? 0 : size === 'quick' ? 1 : 2]
}

function randomMs(least: number, most: number): Promise<void> {
  return delay(least + Math.random() * (most - least))
}

/** The leader and the others in turn, in random order, the leader first. */
async function victims(world: World, count: number): Promise<number[]> {
  const ranks: number[] = []
  for (let turn = 0; turn < count; turn++)
    ranks.push(turn % 2 === 0 ? await world.leader() : Math.floor(Math.random() * nodeCount))
  return ranks
}

const kill: Scenario = {
  name: 'kill',
  what: 'SIGKILL of the leader and of others at random moments',
  async run(world, size) {
    const rounds = pick(size, [2, 8, 40])
    for (let round = 0; round < rounds; round++) {
      const [victim] = (await victims(world, 1)) as [number]
      const rank = round % 2 === 0 ? victim : (victim + 1 + (round % 3)) % nodeCount
      await randomMs(200, 1_200)
      await world.kill(rank)
      await randomMs(100, 800)
      await world.launch(rank)
    }
    return { facts: { kills: rounds }, wrong: [] }
  },
}

const killAll: Scenario = {
  name: 'kill-all',
  what: 'SIGKILL of all nodes at once',
  async run(world, size) {
    const rounds = pick(size, [1, 2, 10])
    for (let round = 0; round < rounds; round++) {
      await randomMs(300, 1_000)
      await Promise.all(world.urls.map((_, rank) => world.kill(rank)))
      await Promise.all(world.urls.map((_, rank) => world.launch(rank)))
    }
    return { facts: { kills: rounds * nodeCount }, wrong: [] }
  },
}

const pause: Scenario = {
  name: 'pause',
  what: 'SIGSTOP of the leader and of others for a while',
  async run(world, size) {
    const rounds = pick(size, [2, 6, 30])
    for (let round = 0; round < rounds; round++) {
      const leader = await world.leader()
      const rank = round % 2 === 0 ? leader : (leader + 1 + (round % 3)) % nodeCount
      world.signal(rank, 'SIGSTOP')
      await randomMs(500, pick(size, [2_500, 5_000, 5_000]))
      world.signal(rank, 'SIGCONT')
      await randomMs(200, 1_000)
    }
    return { facts: { pauses: rounds }, wrong: [] }
  },
}

const flushAll: Scenario = {
  name: 'flushall',
  what: 'Redis is emptied, again and again',
  async run(world, size) {
    const rounds = pick(size, [5, 20, 100])
    for (let round = 0; round < rounds; round++) {
      await randomMs(50, 400)
      world.redis.wipe()
    }
    return { facts: { wipes: rounds }, wrong: [] }
  },
}

const oldAppendOnly: Scenario = {
  name: 'old-append-only',
  what: 'Redis is killed and comes back with an append-only file of some time ago',
  async run(world, size) {
    const rounds = pick(size, [1, 2, 10])
    for (let round = 0; round < rounds; round++) {
      const old = `${world.redis.appendOnlyDir}.old`
      rmSync(old, { recursive: true, force: true })
      if (!existsSync(world.redis.appendOnlyDir)) throw new Error('Redis has no append-only file')
      cpSync(world.redis.appendOnlyDir, old, { recursive: true })
      await world.blocks(pick(size, [5, 20, 50]))
      await world.redis.kill()
      rmSync(world.redis.appendOnlyDir, { recursive: true })
      cpSync(old, world.redis.appendOnlyDir, { recursive: true })
      await world.redis.restart()
      await world.blocks(2)
    }
    return { facts: { restarts: rounds }, wrong: [] }
  },
}

const registerLost: Scenario = {
  name: 'register-lost',
  what: 'the head register is deleted between decide and attest',
  async run(world, size) {
    const rounds = pick(size, [1, 4, 20])
    for (let round = 0; round < rounds; round++) {
      await world.loseRegister()
      await world.blocks(3)
    }
    return { facts: { losses: rounds }, wrong: [] }
  },
}

const registerFile: Scenario = {
  name: 'register-file',
  what: "the register's file is removed under running nodes, with its logs or alone; some find another one at their start",
  register: 'sqlite',
  async run(world, size) {
    const rounds = pick(size, [4, 8, 40])
    for (let round = 0; round < rounds; round++) {
      const rank = round % nodeCount
      // Who starts meets what there is then: no file, or the one that another node has made since.
      if (round % 2 === 1) await world.kill(rank)
      world.removeRegisterFile({ logsToo: round % 4 < 2 })
      if (round % 2 === 1) await world.launch(rank)
      await world.blocks(3)
    }
    return { facts: { removals: rounds }, wrong: [] }
  },
}

const etcdMinority: Scenario = {
  name: 'etcd-minority',
  what: 'one of three members of etcd is killed or stands still',
  register: 'etcd',
  async run(world, size) {
    const rounds = pick(size, [2, 6, 18])
    for (let round = 0; round < rounds; round++) {
      const member = round % 3
      const isStopped = round % 2 === 1
      await world.signalEtcd(member, isStopped ? 'SIGSTOP' : 'SIGKILL')
      await world.blocks(3)
      if (isStopped) await world.signalEtcd(member, 'SIGCONT')
      else await world.launchEtcd(member)
      await randomMs(500, 1_500)
    }
    return { facts: { outages: rounds }, wrong: [] }
  },
}

/** Undefined once a node says that the register does not answer; else what it said last, after a while: on a busy machine an answer may be late. */
async function saysRegisterIsAway(world: World, rank: number): Promise<string | undefined> {
  let said = ''
  for (let tries = 0; tries < 30; tries++) {
    said = (await world.faultOf(rank)) ?? 'ready'
    if (said.includes('register')) return undefined
    await delay(1_000)
  }
  return said
}

const etcdMajority: Scenario = {
  name: 'etcd-majority',
  what: 'two of three members of etcd are down: nothing is decided, nothing is lost',
  register: 'etcd',
  async run(world, size) {
    await world.signalEtcd(0, 'SIGKILL')
    await world.signalEtcd(1, 'SIGKILL')
    // What was on its way is done once every node found the register away, or is not going to be.
    const said = await Promise.all(world.urls.map((_, rank) => saysRegisterIsAway(world, rank)))
    const before = await world.height()
    await delay(pick(size, [3_000, 8_000, 45_000]))
    const after = await world.height()
    await world.launchEtcd(0)
    await world.launchEtcd(1)
    const wrong = after > before ? [`${after - before} blocks were decided without a majority of etcd`] : []
    wrong.push(
      ...said.flatMap((words, rank) => (words === undefined ? [] : [`node ${rank} without a register: ${words}`])),
    )
    return { facts: {}, wrong }
  },
}

const diskRolledBack: Scenario = {
  name: 'disk-rolled-back',
  what: "a node's folder is replaced by an older copy of it",
  async run(world, size) {
    const rank = ((await world.leader()) + 1) % nodeCount
    const wrong: string[] = []
    const rounds = pick(size, [1, 2, 6])
    for (let round = 0; round < rounds; round++) {
      await world.kill(rank)
      const copy = world.copyFolder(rank)
      await world.launch(rank)
      await world.takesPart(rank)
      await world.blocks(pick(size, [10, 30, 100]))
      await world.kill(rank)
      world.restoreFolder(rank, copy)
      await world.launch(rank)
      await world.takesPart(rank)
      // It may have caught up by a leader's hint before its peers told it what it had signed.
      if (!/"msg":"(rolled-back|caught-up)"/.test(world.logOf(rank)))
        wrong.push(`node ${rank} did not notice that it was rolled back`)
    }
    return { facts: { rollbacks: rounds, node: rank }, wrong }
  },
}

const clockAhead: Scenario = {
  name: 'clock-ahead',
  what: 'the leader starts again with a clock a year ahead',
  async run(world, size) {
    const rank = await world.leader()
    await world.stop(rank)
    await world.launch(rank, { ACCOUNTING_FAULT_CLOCK_MS: String(yearMs) })
    await world.blocks(pick(size, [5, 20, 100]))
    const fault = await world.faultOf(rank)
    const leader = await world.leader()
    await world.stop(rank)
    await world.launch(rank)
    const wrong: string[] = []
    if (fault === undefined || !fault.includes('clock')) wrong.push(`node ${rank} does not blame its clock: ${fault}`)
    if (leader === rank) wrong.push(`node ${rank} still led with a wrong clock`)
    return { facts: { node: rank, leaderThen: leader }, wrong }
  },
}

const censor: Scenario = {
  name: 'censor',
  what: "the leader drops one account's transactions",
  async run(world, size) {
    const victim = world.senderOptions(1)
    const account = Buffer.from(victim.organisation.account).toString('hex')
    // Rank 0 is the first to take over: it leads as soon as the others' leader stands still.
    const rank = 0
    await world.stop(rank)
    await world.launch(rank, { ACCOUNTING_FAULT_CENSOR: account })
    await world.takesPart(rank)
    await world.lead(rank)
    const rounds = pick(size, [1, 3, 10])
    const begunMs = performance.now()
    for (let round = 0; round < rounds; round++) await new Delivery(victim, signItems(victim, 2), rank).run()
    const seconds = (performance.now() - begunMs) / 1000
    const leader = await world.leader()
    await world.stop(rank)
    await world.launch(rank)
    return {
      facts: { node: rank, leaderThen: leader, censoredSeconds: Math.round(seconds * 10) / 10 },
      wrong: leader === rank ? [`node ${rank} still led although it left transactions out`] : [],
    }
  },
}

const nodeAway: Scenario = {
  name: 'node-away',
  what: 'a node is away while the others go on for many transactions',
  hasOwnLoad: true,
  async run(world, size) {
    const count = pick(size, [500, 2_000, 100_000])
    const rank = ((await world.leader()) + 2) % nodeCount
    await world.stop(rank)
    const options = world.senderOptions()
    const urls = options.urls.filter((_, other) => other !== rank)
    await pump({ ...options, urls }, { count, batch: 128, parallel: 8 })
    const endedMs = performance.now()
    await world.launch(rank)
    await world.takesPart(rank)
    return { facts: { node: rank, transactionsAway: count }, wrong: [], endedMs }
  },
}

const floodScenario: Scenario = {
  name: 'flood',
  what: 'ten times what the nodes can order, beside honest senders',
  hasOwnLoad: true,
  async run(world, size) {
    const { tally } = world
    const batches = signBatches(world.senderOptions(), { count: pick(size, [4_000, 20_000, 100_000]), batch: 256 })
    const alone = await latencyOf(world, pick(size, [1_000, 3_000, 15_000]))
    const before = Math.max(...world.urls.map((_, rank) => world.residentMb(rank)))
    const senders = new Senders(world.senderOptions(2), { count: 4, batch: 1, pauseMs: 50 })
    const from = tally.latenciesMs.length
    const turnedAway = tally.turnedAway
    const { offered, seconds, promised } = await flood(world.senderOptions(), batches, 16)
    const beside = tally.latenciesMs.slice(from)
    const begunMs = performance.now()
    const committed = tally.committed
    await Promise.all(promised.map((delivery) => delivery.run()))
    const drainSeconds = (performance.now() - begunMs) / 1000
    const endedMs = performance.now()
    await senders.stop()
    const after = Math.max(...world.urls.map((_, rank) => world.residentMb(rank)))
    return {
      facts: {
        offeredPerSecond: Math.round(offered / seconds),
        orderedPerSecond: Math.round((tally.committed - committed) / drainSeconds),
        turnedAway: tally.turnedAway - turnedAway,
        aloneP99Ms: Math.round(alone),
        besideP99Ms: Math.round(percentile(beside, 0.99)),
        residentMbBefore: before,
        residentMbAfter: after,
      },
      wrong: after > residentMbMax ? [`a node holds ${after} MB`] : [],
      endedMs,
    }
  },
}

async function latencyOf(world: World, durationMs: number): Promise<number> {
  const from = world.tally.latenciesMs.length
  const senders = new Senders(world.senderOptions(2), { count: 4, batch: 1, pauseMs: 50 })
  await delay(durationMs)
  await senders.stop()
  return percentile(world.tally.latenciesMs.slice(from), 0.99)
}

/** All scenarios, in the order in which they are run. */
export const scenarios: readonly Scenario[] = [
  ...[kill, killAll, pause, flushAll, oldAppendOnly, registerLost, registerFile, etcdMinority, etcdMajority],
  ...[diskRolledBack, clockAhead, censor, nodeAway, floodScenario],
]

/** Which scenarios are run on which register: those that are about neither in particular on etcd, where it is installed. */
export function scenariosByRegister(
  chosen: readonly Scenario[],
  hasEtcd: boolean,
): { groups: (readonly [Register, readonly Scenario[]])[]; skipped: readonly Scenario[] } {
  const usual: Register = hasEtcd ? 'etcd' : 'sqlite'
  const on = (register: Register): Scenario[] => chosen.filter((scenario) => (scenario.register ?? usual) === register)
  const groups = (hasEtcd ? (['etcd', 'sqlite'] as const) : (['sqlite'] as const))
    .map((register) => [register, on(register)] as const)
    .filter(([, list]) => list.length > 0)
  return { groups, skipped: hasEtcd ? [] : on('etcd') }
}
