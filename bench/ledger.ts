/**
 * Transactions committed under a quorum's signatures per second, through the accounting nodes' own HTTP interface: processes of their own,
 * a Redis of their own, their files synced as always. The load is signed before; who sends it shares the cores.
 */

import { join } from 'node:path'
import { clusterPaths } from '../cli/src/cluster/layout.ts'
import { readProcess } from '../cli/src/cluster/processes.ts'
import { batches, fetchReceipt, type Item, newestCheckpoint, submit } from './support/client.ts'
import { type BenchCluster, withCluster } from './support/cluster.ts'
import { profiledTo } from './support/cpu-profile.ts'
import { betweenBounds } from './support/ed25519-bound.ts'
import { Load, type LoadPatient } from './support/load.ts'
import { benchOptions, percentile, type Result, report, tell } from './support/report.ts'
import { type ThreadTimes, threadTimes, timesBetween } from './support/thread-times.ts'

const options = benchOptions()
const boundMs = options.quick ? 300 : 1500
const patientsCount = options.quick ? 64 : 256

interface Plan {
  readonly senders: number
  readonly batch: number
  readonly records: number
  /** Submissions of each sender. */
  readonly rounds: number
}

/** Seconds at half load: those in which the nodes still compile what small submissions take, and those that count. */
const halfSeconds = options.quick ? { first: 1, counted: 1 } : { first: 18, counted: 9 }

/** Before anything is measured. */
const warmUp: Plan = { senders: 8, batch: 256, records: 1, rounds: 2 }
const quickPlans: readonly Plan[] = [
  { senders: 1, batch: 1, records: 1, rounds: 20 },
  { senders: 64, batch: 1, records: 1, rounds: 8 },
  { senders: 1, batch: 256, records: 1, rounds: 3 },
  { senders: 8, batch: 256, records: 1, rounds: 1 },
  { senders: 4, batch: 64, records: 64, rounds: 1 },
]
const fullPlans: readonly Plan[] = [
  { senders: 1, batch: 1, records: 1, rounds: 200 },
  { senders: 4, batch: 1, records: 1, rounds: 150 },
  { senders: 16, batch: 1, records: 1, rounds: 100 },
  { senders: 64, batch: 1, records: 1, rounds: 60 },
  { senders: 256, batch: 1, records: 1, rounds: 30 },
  { senders: 1, batch: 256, records: 1, rounds: 24 },
  { senders: 4, batch: 256, records: 1, rounds: 12 },
  { senders: 16, batch: 256, records: 1, rounds: 4 },
  { senders: 64, batch: 256, records: 1, rounds: 1 },
  { senders: 16, batch: 64, records: 64, rounds: 2 },
]

/** What each sender submits: its own patients in turn, so that no two senders continue one stream. */
function sign(load: Load, patients: readonly LoadPatient[], { senders, batch, records, rounds }: Plan): Item[][][] {
  return Array.from({ length: senders }, (_, sender) => {
    const own = patients.filter((_patient, i) => i % Math.min(senders, patients.length) === sender)
    return Array.from({ length: rounds }, () => {
      const items = Array.from({ length: batch }, (_item, i) => load.iot(own[i % own.length] as LoadPatient, records))
      const [first = [], ...rest] = batches(items, batch)
      if (rest.length > 0) throw new Error('a batch of the load exceeds one submission')
      return first
    })
  })
}

/** Every sender has one submission under way at a time. */
async function saturate(
  urls: readonly string[],
  load: readonly Item[][][],
): Promise<{ seconds: number; latencies: number[] }> {
  const latencies: number[] = []
  const begun = performance.now()
  await Promise.all(
    load.map(async (submissions, sender) => {
      const url = urls[sender % urls.length] as string
      for (const items of submissions) {
        const from = performance.now()
        await submit(url, items)
        latencies.push(performance.now() - from)
      }
    }),
  )
  return { seconds: (performance.now() - begun) / 1000, latencies }
}

/**
 * Submits on time, whatever became of what was submitted before, but for a patient's next transaction, which waits for hers before: what the
 * node pushes back would else come in another order, and keep those behind it waiting. Latencies count from when it was due.
 *
 * @param patients - How many there are; they take turns.
 */
async function pace(
  urls: readonly string[],
  items: readonly Item[],
  { perSecond, patients }: { perSecond: number; patients: number },
): Promise<number[]> {
  const tickMs = 20
  const each = Math.max(1, Math.round((perSecond * tickMs) / 1000))
  const latencies: number[] = []
  const under: Promise<void>[] = []
  const begun = performance.now()
  for (let i = 0, tick = 0; i < items.length; i += each, tick++) {
    const due = begun + tick * ((each * 1000) / perSecond)
    const wait = due - performance.now()
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
    const send = async (): Promise<void> => {
      const mine = items.slice(i, i + each)
      for (const one of [i, i + mine.length - 1]) await under[Math.floor((one - patients) / each)]
      await submit(urls[tick % urls.length] as string, mine)
      await fetchReceipt(urls[tick % urls.length] as string, (mine.at(-1) as Item).id)
      latencies.push(performance.now() - due)
    }
    under.push(send())
  }
  await Promise.all(under)
  return latencies
}

/** Processor time of the nodes by their threads, as a system counts it that has `/proc`; absent on others. */
function nodeTimes({ dir, cluster }: BenchCluster): ThreadTimes[] {
  const pids = cluster.nodes.map(({ name }) => readProcess(clusterPaths.node(dir, name)).pid ?? 0)
  return pids.flatMap((pid) => threadTimes(pid) ?? [])
}

async function leaderOf(url: string): Promise<number> {
  return ((await (await fetch(new URL('/v1/userchain/head', url))).json()) as { leader: number }).leader
}

/** µs of processor time a transaction: of the leader, of the mean of the others, and of this process, which is the load. */
function costRow(times: readonly ThreadTimes[], leader: number, ownUs: number, count: number): Result[] {
  const own = times[leader]
  if (own === undefined) return []
  const others = times.filter((_, rank) => rank !== leader)
  const mean = (one: (times: ThreadTimes) => number): number =>
    others.reduce((sum, each) => sum + one(each), 0) / Math.max(1, others.length) / count
  const rest = ({ helpers, pool }: ThreadTimes): number => helpers + pool
  const all = times.reduce((sum, { main, workers, helpers, pool }) => sum + main + workers + helpers + pool, ownUs)
  return [
    {
      ...{
        processorUs: 'half',
        nodes: times.length,
        leaderMain: own.main / count,
        leaderVerifies: own.workers / count,
      },
      ...{ leaderRest: rest(own) / count, otherMain: mean(({ main }) => main) },
      ...{ otherVerifies: mean(({ workers }) => workers), otherRest: mean(rest), load: ownUs / count },
      ...{ together: all / count },
    },
  ]
}

async function measure(cluster: BenchCluster, load: Load, patients: readonly LoadPatient[]): Promise<Result[]> {
  const { urls } = cluster
  const results: Result[] = []
  let best = 0
  // What a node compiles in its first second is not what an ordered transaction costs.
  await saturate(urls, sign(load, patients, warmUp))
  for (const plan of options.quick ? quickPlans : fullPlans) {
    const submissions = sign(load, patients, plan)
    const count = plan.senders * plan.rounds * plan.batch
    const { seconds, latencies } = await saturate(urls, submissions)
    const rate = count / seconds
    if (plan.records === 1) best = Math.max(best, rate)
    tell(`ledger: n = ${urls.length}, ${plan.senders} senders x ${plan.batch} x ${plan.records}: ${rate.toFixed(0)}/s`)
    results.push({
      ...{ load: 'full', nodes: urls.length, senders: plan.senders, batch: plan.batch, records: plan.records },
      ...{ transactions: count, transactionsPerSecond: rate, readingsPerSecond: rate * plan.records },
      ...{ p50Ms: percentile(latencies, 0.5), p99Ms: percentile(latencies, 0.99) },
    })
  }
  const half = best / 2
  // Each transaction of another patient than those shortly before: gateways may take them in any order.
  const own = await load.enrol(urls, Math.min(Math.round(half), options.quick ? 128 : 1000))
  await load.begin(urls[0] as string, own, await newestCheckpoint(urls[0] as string))
  let made = 0
  const itemsOf = (seconds: number): Item[] =>
    Array.from({ length: Math.round(half * seconds) }, () => load.iot(own[made++ % own.length] as LoadPatient, 1))
  const parts = { first: itemsOf(halfSeconds.first), counted: itemsOf(halfSeconds.counted) }
  const halfRow = (name: string, items: readonly Item[], latencies: number[]): Result => ({
    ...{ load: name, nodes: urls.length, senders: 0, batch: Math.max(1, Math.round(half / 50)), records: 1 },
    ...{ transactions: items.length, transactionsPerSecond: half, readingsPerSecond: half },
    ...{ p50Ms: percentile(latencies, 0.5), p99Ms: percentile(latencies, 0.99) },
  })
  const paced = { perSecond: half, patients: own.length }
  tell(`ledger: n = ${urls.length}, half load: ${half.toFixed(0)}/s`)
  results.push(halfRow('half, first seconds', parts.first, await pace(urls.slice(0, 1), parts.first, paced)))
  const before = nodeTimes(cluster)
  const ownBefore = process.cpuUsage()
  results.push(halfRow('half', parts.counted, await pace(urls.slice(0, 1), parts.counted, paced)))
  const { user, system } = process.cpuUsage(ownBefore)
  const times = nodeTimes(cluster).map((after, i) => timesBetween(before[i] ?? after, after))
  return [...results, ...costRow(times, await leaderOf(urls[0] as string), user + system, parts.counted.length)]
}

/** Where the nodes' profiles are written, if they are wanted. */
const profileDir = process.env.HEALTHBLOCK_BENCH_PROFILE
const results: Result[] = []
for (const nodes of [1, 4]) {
  tell(`ledger: starting ${nodes} accounting node${nodes > 1 ? 's' : ''}`)
  const extra = (): Record<string, string> =>
    profileDir === undefined ? {} : profiledTo(join(profileDir, String(nodes)))
  const rows = await withCluster({ size: { accounting: nodes }, roles: ['accounting'], extra }, async (cluster) => {
    const load = new Load(cluster)
    const patients = await load.enrol(cluster.urls, patientsCount)
    const [url] = cluster.urls as [string]
    await load.begin(url, patients, await newestCheckpoint(url))
    const { value, bound } = await betweenBounds(boundMs, () => measure(cluster, load, patients))
    return value.map((row): Result => {
      if (row.transactionsPerSecond === undefined) return row
      const rate = row.transactionsPerSecond as number
      return {
        ...row,
        ed25519VerifyPerSecond: bound.perSecond,
        partOfBoundPercent: (100 * rate * nodes) / bound.perSecond,
      }
    })
  })
  results.push(...rows)
}
report('ledger', results, options)
process.exit(0)
