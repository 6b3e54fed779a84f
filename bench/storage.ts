/**
 * Durable puts and gets of the storage service, against a real Kubo with the same durability in the same run. Bars are
 * ratios: both take turns, so that a busy machine slows them alike.
 */

import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { findFreePort } from '@healthblock/runtime/ports'
import { kuboBinary } from '../services/storage/src/kubo/kubo.fixture.ts'
import { KuboDaemon, kuboVersionOf } from '../services/storage/src/kubo/kubo-daemon.ts'
import { BlockClient, cidOf, newBlocks } from './support/block-client.ts'
import { temporaryFolder } from './support/folder.ts'
import { benchOptions, percentile, type Result, report, tell } from './support/report.ts'
import { startStandalone } from './support/standalone.ts'

const options = benchOptions()
const inFlight = 32
const idleAfterMs = 1_500
/** Longer than a node waits before it gives back what a burst has used. */
const restMs = 20_000
const rounds = options.quick ? 2 : 5
const puts: Readonly<Record<number, number>> = options.quick
  ? { 1024: 600, 65536: 150, 1048576: 16 }
  : { 1024: 3_000, 65536: 600, 1048576: 64 }
const folder = temporaryFolder('storage-')

/** A network under measurement. */
interface Network {
  readonly name: string
  readonly clients: readonly BlockClient[]
  readonly pids: readonly number[]
  readonly startMs: number
  readonly end: () => Promise<void>
}

async function startEmbedded(name: string, nodes: number, replicas: number): Promise<Network> {
  const dir = join(folder, name)
  // Keys are made once, before a node's first start, by a process of its own.
  await (await startStandalone({ dir, nodes, replicas })).end()
  const startedAt = performance.now()
  const { urls, pids, token, end } = await startStandalone({ dir, nodes, replicas })
  const startMs = performance.now() - startedAt
  return { name, clients: urls.map((url) => new BlockClient(url, token)), pids, startMs, end }
}

async function startKubo(nodes: number): Promise<Network> {
  const swarmKey = new Uint8Array(randomBytes(32))
  const daemons: KuboDaemon[] = []
  const peers: { id: string; addresses: string[] }[] = []
  const startedAt = performance.now()
  for (let index = 0; index < nodes; index++) {
    const daemon = new KuboDaemon({
      binary: kuboBinary as string,
      dir: join(folder, `kubo-${index}`),
      identitySeed: new Uint8Array(randomBytes(32)),
      swarmKey,
      host: '127.0.0.1',
      port: await findFreePort(),
      onRestart: () => {},
    })
    daemons.push(daemon)
    await daemon.start([])
    const { ID, Addresses } = await daemon.client.json<{ ID: string; Addresses: string[] }>('id')
    peers.push({ id: ID, addresses: Addresses.map((address) => address.replace(/\/p2p\/.*/, '')) })
  }
  const startMs = (performance.now() - startedAt) / nodes
  for (const daemon of daemons) await daemon.restart(peers)
  for (const daemon of daemons) {
    for (const { id, addresses } of peers) {
      await daemon.client.call(`swarm/connect?arg=${addresses[0]}/p2p/${id}`).catch(() => {})
    }
  }
  const clients = daemons.map((daemon) => new BlockClient(daemon.client.url, daemon.client.token ?? ''))
  const end = async (): Promise<void> => {
    for (const daemon of daemons) await daemon.stop()
  }
  return { name: 'kubo', clients, pids: daemons.map(({ pid }) => pid as number), startMs, end }
}

interface Timing {
  readonly perSecond: number
  /** Processor time of the nodes per operation, user and system, ms: what a machine that is busy with other work changes least. */
  readonly cpuMs: number
  /** The same of the load generator, which has one of the machine's cores at most. */
  readonly clientCpuMs: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** Processor time that the threads of processes have used so far, ms. */
function cpuMsOf(pids: readonly number[]): number {
  let ns = 0
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      try {
        ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0])
      } catch {
        // The thread has ended meanwhile.
      }
    }
  }
  return ns / 1e6
}

/** Runs `work` on every item, `width` at a time, against the nodes of a network. */
async function drive<T>(
  network: Network,
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<unknown>,
): Promise<Timing> {
  const cpuBefore = cpuMsOf(network.pids)
  const ownBefore = process.cpuUsage()
  const times: number[] = []
  let next = 0
  const startedAt = performance.now()
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (next < items.length) {
        const item = items[next++] as T
        const at = performance.now()
        await work(item)
        times.push(performance.now() - at)
      }
    }),
  )
  const seconds = (performance.now() - startedAt) / 1000
  const cpuMs = (cpuMsOf(network.pids) - cpuBefore) / items.length
  const own = process.cpuUsage(ownBefore)
  const clientCpuMs = (own.user + own.system) / 1000 / items.length
  return {
    perSecond: items.length / seconds,
    cpuMs,
    clientCpuMs,
    p50Ms: percentile(times, 0.5),
    p99Ms: percentile(times, 0.99),
  }
}

/** The median of several rounds, by rate. */
function median(timings: readonly Timing[]): Timing {
  return [...timings].sort((a, b) => a.perSecond - b.perSecond)[Math.floor(timings.length / 2)] as Timing
}

/** Measures the same at several networks in turns. */
async function compare(
  what: string,
  sides: Readonly<Record<string, () => Promise<Timing>>>,
): Promise<Record<string, Timing>> {
  tell(`storage: ${what}`)
  const found: Record<string, Timing[]> = {}
  for (let round = 0; round < rounds; round++) {
    for (const [name, measure] of Object.entries(sides)) found[name] = [...(found[name] ?? []), await measure()]
  }
  return Object.fromEntries(Object.entries(found).map(([name, timings]) => [name, median(timings)]))
}

function residentMb(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024
  } catch {
    return 0
  }
}

const results: Result[] = []
const bars: Result[] = []

function row(what: string, side: string, timing: Timing): void {
  const { perSecond, p50Ms, p99Ms, cpuMs, clientCpuMs } = timing
  results.push({ what, side, perSecond, p50Ms, p99Ms, cpuMs, clientCpuMs })
}

function bar(what: string, value: number, bound: number, isAtLeast: boolean): void {
  const met = isAtLeast ? value >= bound : value <= bound
  bars.push({ bar: what, value, wanted: `${isAtLeast ? '>=' : '<='} ${bound}`, met: met ? 'yes' : 'NO' })
}

/** Resident memory of both after the same load: at the same moment right after it, and when both have rested. */
async function measureMemory(embedded: Network, kubo: Network | undefined): Promise<void> {
  for (const [when, waitMs] of [
    ['right after the load', 0],
    [`${restMs / 1000} s after the load`, restMs],
  ] as const) {
    await delay(waitMs)
    const loadedMb = residentMb(embedded.pids[0] as number)
    const kuboLoadedMb = kubo && residentMb(kubo.pids[0] as number)
    const what = `resident memory ${when}, the same puts and gets, MiB`
    results.push({ what, side: 'embedded', loadedMb, ...(kuboLoadedMb && { kuboLoadedMb }) })
    if (kuboLoadedMb) bar(`memory ${when}, part of Kubo’s`, loadedMb / kuboLoadedMb, 1, false)
  }
}

async function measurePuts(embedded: Network, kubo: Network | undefined): Promise<void> {
  const wanted: Readonly<Record<number, number>> = { 1024: 2, 65536: 1.5, 1048576: 1 }
  for (const [size, count] of Object.entries(puts)) {
    const put = (network: Network) => () => {
      const client = network.clients[0] as BlockClient
      return drive(network, newBlocks(count, Number(size)), inFlight, (block) => client.put(block))
    }
    const what = `durable put of ${Number(size) / 1024} KiB, ${inFlight} in flight, one node`
    const found = await compare(what, { embedded: put(embedded), ...(kubo && { kubo: put(kubo) }) })
    for (const [side, timing] of Object.entries(found)) row(what, side, timing)
    if (!found.kubo || !found.embedded) continue
    bar(`${what}: times Kubo`, found.embedded.perSecond / found.kubo.perSecond, wanted[Number(size)] as number, true)
  }
}

async function measureGets(embedded: Network, kubo: Network | undefined): Promise<void> {
  const count = puts[1024] as number
  const get = async (network: Network): Promise<() => Promise<Timing>> => {
    const client = network.clients[0] as BlockClient
    const blocks = newBlocks(count, 1024)
    await drive(network, blocks, inFlight, (block) => client.put(block))
    const cids = blocks.map(cidOf)
    return () => drive(network, cids, inFlight, (cid) => client.get(cid))
  }
  const what = `get of 1 KiB, local, ${inFlight} in flight`
  const found = await compare(what, { embedded: await get(embedded), ...(kubo && { kubo: await get(kubo) }) })
  for (const [side, timing] of Object.entries(found)) row(what, side, timing)
  if (found.kubo && found.embedded) bar(`${what}: times Kubo`, found.embedded.perSecond / found.kubo.perSecond, 1, true)
}

async function measurePeers(embedded: Network, kubo: Network | undefined): Promise<void> {
  const count = options.quick ? 30 : 200
  for (const size of [1024, 65_536]) {
    const fetch = (network: Network) => async () => {
      const [from, to] = network.clients as [BlockClient, BlockClient]
      const blocks = newBlocks(count, size)
      await drive(network, blocks, inFlight, (block) => from.put(block))
      return await drive(network, blocks.map(cidOf), 1, (cid) => to.get(cid))
    }
    const what = `get of ${size / 1024} KiB from another node over the swarm, one at a time`
    const found = await compare(what, { embedded: fetch(embedded), ...(kubo && { kubo: fetch(kubo) }) })
    for (const [side, timing] of Object.entries(found)) row(what, side, timing)
    if (found.kubo && found.embedded) {
      bar(`${what}: p50, part of Kubo's`, found.embedded.p50Ms / found.kubo.p50Ms, 0.25, false)
    }
  }
}

async function measureReplicas(one: Network, three: Network, kubo: Network | undefined): Promise<void> {
  const count = puts[1024] as number
  const single = (network: Network) => () => {
    const client = network.clients[0] as BlockClient
    return drive(network, newBlocks(count, 1024), inFlight, (block) => client.put(block))
  }
  const everywhere = (network: Network) => () =>
    drive(network, newBlocks(count, 1024), inFlight, (block) =>
      Promise.all(network.clients.map((client) => client.put(block))),
    )
  // The others have had as many puts by now: what a node compiles in its first seconds is not what a put costs.
  tell('storage: as many puts at the three stores as the others had')
  for (let round = 0; round < rounds; round++) await single(three)()
  const what = `three copies of 1 KiB, ${inFlight} in flight`
  const found = await compare(what, {
    'embedded, one put (W = 2, the third follows)': single(three),
    'embedded, one copy': single(one),
    ...(kubo && { 'kubo, three parallel puts': everywhere(kubo) }),
  })
  for (const [side, timing] of Object.entries(found)) row(what, side, timing)
  const [copies, copy, others] = Object.values(found)
  if (copies && others) bar(`${what}: times Kubo`, copies.perSecond / others.perSecond, 3, true)
  if (copies && copy) bar(`${what}: p99, times that of one copy`, copies.p99Ms / copy.p99Ms, 3, false)
}

/** Rate of puts in a store that has grown. */
async function measureGrowth(network: Network): Promise<void> {
  const client = network.clients[0] as BlockClient
  const sizes = options.quick ? [5_000] : [100_000]
  const count = puts[1024] as number
  const rate = async (): Promise<number> => {
    const found: Timing[] = []
    for (let round = 0; round < rounds; round++) {
      found.push(await drive(network, newBlocks(count, 1024), inFlight, (block) => client.put(block)))
    }
    return median(found).perSecond
  }
  const before = await rate()
  for (const size of sizes) {
    tell(`storage: growth to ${size} blocks more`)
    for (let at = 0; at < size; at += 5_000)
      await drive(network, newBlocks(5_000, 1024), inFlight, (block) => client.put(block))
    const after = await rate()
    results.push({
      what: `puts of 1 KiB with ${size} blocks more`,
      side: 'embedded',
      perSecond: after,
      p50Ms: 0,
      p99Ms: 0,
    })
    bar(`put rate with ${size} blocks more, part of the rate before`, after / before, 0.85, true)
  }
}

try {
  // Before anything else is started: a wrong binary is told at once.
  if (kuboBinary !== undefined) tell(`storage: Kubo ${await kuboVersionOf(kuboBinary)} at ${kuboBinary}`)
  else tell('storage: no Kubo (deploy/kubo/build.sh builds one): the embedded node alone')
  const one = await startEmbedded('one', 1, 1)
  // What only the start needed is given back right after it.
  await delay(idleAfterMs)
  const idleMb = residentMb(one.pids[0] as number)
  const pair = await startEmbedded('pair', 2, 1)
  const three = await startEmbedded('three', 3, 3)
  const kubo = kuboBinary === undefined ? undefined : await startKubo(3)
  const networks = [one, pair, three, ...(kubo ? [kubo] : [])]
  try {
    await measurePuts(one, kubo)
    await measureGets(one, kubo)
    await measureMemory(one, kubo)
    await measurePeers(pair, kubo)
    await measureReplicas(one, three, kubo)
    await measureGrowth(one)
    const grownMb = residentMb(one.pids[0] as number)
    results.push({ what: 'resident memory idle, and grown, MiB', side: 'embedded', idleMb, grownMb })
    bar('memory of an idle embedded node, MiB', idleMb, 100, false)
    bar('start to ready of one node, s', one.startMs / 1000, 1, false)
  } finally {
    for (const network of networks) {
      for (const client of network.clients) client.close()
      await network.end()
    }
  }
  report('storage', [...results, ...bars], options)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
