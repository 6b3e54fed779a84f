/**
 * Where the processor time of a transaction goes: of an ordered one at a node that is alone, at the leader and at the others of four; and of
 * a replayed one in an audit over HTTP. The time of each thread is Linux's, the parts of the main thread are shares of its profile.
 */

import { spawn } from 'node:child_process'
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { clusterPaths } from '../cli/src/cluster/layout.ts'
import { readProcess } from '../cli/src/cluster/processes.ts'
import { batches, type Item, newestCheckpoint, submit } from './support/client.ts'
import { type BenchCluster, withCluster } from './support/cluster.ts'
import {
  type ProgramPart,
  profileClockUs,
  profiledTo,
  readThreadProfile,
  restPart,
  type ThreadProfile,
} from './support/cpu-profile.ts'
import { betweenBounds } from './support/ed25519-bound.ts'
import { temporaryFolder } from './support/folder.ts'
import { Load, type LoadPatient } from './support/load.ts'
import { benchOptions, type Result, report, tell } from './support/report.ts'
import { servedToken, withServedLedger } from './support/served-ledger.ts'
import { type ThreadTimes, threadTimes, timesBetween } from './support/thread-times.ts'

const options = benchOptions()
const transactions = options.quick ? 4_096 : 32_768
const boundMs = options.quick ? 300 : 1500
const patientsCount = 256
const sendersCount = 8
const batchMax = 256
/** Functions of the main thread that are named beside its parts. */
const functionsMax = 10

const garbage: ProgramPart = { name: 'garbage', fits: /^\(garbage collector\) / }
/** The innermost function that fits decides, so callers may stand in several. */
const orderParts: readonly ProgramPart[] = [
  garbage,
  {
    name: 'execute: rules, state root, Merkle root',
    fits: /^(buildBlock|checkBlock|judge|screen) .*\/chain\/src\/block\.ts/,
  },
  {
    name: 'keep: state, index, head',
    fits: / .*\/(batched-store|ledger-stores)\.ts|^commit .*\/chain\/src\/block\.ts/,
  },
  { name: 'signatures: pack for the threads', fits: / .*\/(preparation|preparation-pool|signature-cache)\.ts/ },
  { name: 'outbox', fits: / .*\/gateway\/outbox\.ts/ },
  { name: 'gateway: read, look, hand over, answer', fits: / .*\/(gateway|routes)\// },
  { name: 'jobs: Redis', fits: /bullmq|ioredis/ },
  {
    name: 'stage, log, register',
    fits: / .*\/(file-disk|journal|staged|stager|sqlite-register|head-register|log)\.ts/,
  },
  { name: 'order: turns, pool, takeover', fits: / .*\/accounting-node\/src\/core\// },
  { name: 'calls between nodes', fits: / .*\/(http-peers|routes\/peer|wire)\.ts/ },
  { name: 'HTTP', fits: /fastify|undici|node:(_?http|net|internal\/(streams|stream_base_commons))/ },
]
const hashing: ProgramPart = { name: 'hashes: SHA-256', fits: / .*\/crypto\/src\/(hash|provider\/native)\.ts/ }
const messaging: ProgramPart = {
  name: 'messages between threads',
  fits: / .*\/preparation-(pool|worker)\.ts|node:internal\/(worker|event_target|per_context\/messageport)/,
}
const loading: ProgramPart = {
  name: 'start: loading, compiling',
  fits: /node:internal\/(modules|bootstrap|deps\/amaro|process\/(pre_)?execution|main)|^(compile|link|evaluate)/,
}
const replayParts: readonly ProgramPart[] = [
  garbage,
  {
    name: 'signatures verified on this thread',
    fits: / .*\/(signature-cache|crypto\/src\/(inner\/)?(signature|prime-order))\.ts/,
  },
  hashing,
  { name: 'state root: tree', fits: / .*\/state-tree\.ts/ },
  { name: 'Merkle tree', fits: / .*\/(merkle|skeleton)\.ts/ },
  {
    name: 'keep: state, index, head (SQLite)',
    fits: / .*\/(batched-store|waiting-index|id-filter|ledger-stores|sqlite|replay-stores)\.ts/,
  },
  { name: 'read leaves: CBOR, shapes', fits: / .*\/(cbor|schema|tile)\.ts|^parseTransactionLeaf / },
  messaging,
  { name: 'pack bundles, foresee keys', fits: / .*\/(preparation|foresight)\.ts/ },
  { name: 'rules: contracts, reading the state', fits: / .*\/chain\/src\// },
  { name: "the auditor's rules, samples, comparison", fits: / .*\/audit\/src\// },
  {
    name: 'download: HTTP',
    fits: /undici|node:(_?http|net|internal\/(streams|stream_base_commons))|http-client|piece-reads/,
  },
  loading,
]
/** Of the threads that verify for an audit. */
const verifierParts: readonly ProgramPart[] = [
  garbage,
  { name: 'signatures', fits: /^verifyOneShot |^wasm-function|\/crypto\/src\/edwards\// },
  {
    name: 'signatures: around them',
    fits: / .*\/crypto\/src\/((inner\/)?signature|provider\/(native|verifier-native))\.ts$/,
  },
  hashing,
  messaging,
  { name: 'messages to be verified, bundles', fits: / .*\/(chain|encoding)\/src\// },
  loading,
]

/** A process between two moments. */
interface Measured {
  readonly times: ThreadTimes
  readonly profile: ThreadProfile
  /** Of the threads that verify; absent: they are one part. */
  readonly verifiers?: readonly ThreadProfile[]
}

type Column = ReadonlyMap<string, number>

function columnOf({ times, profile, verifiers = [] }: Measured, count: number): Column {
  const column = new Map<string, number>()
  if (verifiers.length === 0) column.set('threads: signatures, their messages', times.workers / count)
  for (const { parts } of verifiers) {
    for (const [name, share] of parts) {
      const row = `threads: ${name}`
      column.set(row, (column.get(row) ?? 0) + (times.workers * share) / count / verifiers.length)
    }
  }
  for (const [name, share] of profile.parts) column.set(name, (times.main * share) / count)
  column.set('helpers: compiling, collecting', times.helpers / count)
  column.set('thread pool: syncs', times.pool / count)
  column.set('together', (times.main + times.workers + times.helpers + times.pool) / count)
  return column
}

/** The mean of columns, part by part. */
function meanOf(columns: readonly Column[]): Column {
  const names = new Set(columns.flatMap((column) => [...column.keys()]))
  return new Map(
    [...names].map((name) => [name, columns.reduce((sum, one) => sum + (one.get(name) ?? 0), 0) / columns.length]),
  )
}

function rowsOf(table: string, columns: Readonly<Record<string, Column>>): Result[] {
  const order = (name: string): number => (name === 'together' ? 2 : name === restPart ? 1 : 0)
  const names = [...new Set(Object.values(columns).flatMap((column) => [...column.keys()]))]
  names.sort((a, b) => order(a) - order(b))
  return names.map((part) => ({
    [table]: part,
    ...Object.fromEntries(Object.entries(columns).map(([name, column]) => [`${name}Us`, column.get(part) ?? 0])),
  }))
}

function functionRows(who: string, { times, profile }: Measured, count: number): Result[] {
  const greatest = [...profile.functions].sort(([, a], [, b]) => b - a).slice(0, functionsMax)
  return greatest.map(([name, share]) => ({ greatest: who, function: name, us: (times.main * share) / count }))
}

/** Of the profiles in a folder those of a process's other threads. */
function verifierProfiles(dir: string, pid: number): string[] {
  const found = readdirSync(dir).filter((name) => name.includes(`.${pid}.`) && !name.includes(`.${pid}.0.`))
  return found.map((name) => join(dir, name))
}

/** Of the profiles in a folder that of a process's main thread. */
function mainProfile(dir: string, pid: number): string {
  const found = readdirSync(dir).find((name) => name.includes(`.${pid}.0.`))
  if (found === undefined) throw new Error(`process ${pid} wrote no profile`)
  return join(dir, found)
}

async function send(urls: readonly string[], load: readonly (readonly Item[])[][]): Promise<void> {
  await Promise.all(
    load.map(async (submissions, sender) => {
      for (const items of submissions) await submit(urls[sender % urls.length] as string, items)
    }),
  )
}

/** Every sender has patients of its own. */
function sign(load: Load, patients: readonly LoadPatient[], count: number): Item[][][] {
  return Array.from({ length: sendersCount }, (_, sender) => {
    const own = patients.filter((_patient, i) => i % sendersCount === sender)
    const items = Array.from({ length: count / sendersCount }, (_item, i) =>
      load.iot(own[i % own.length] as LoadPatient, 1),
    )
    return batches(items, batchMax)
  })
}

interface Ordered {
  readonly pids: readonly number[]
  readonly times: readonly ThreadTimes[]
  readonly leader: number
  readonly between: { readonly fromUs: number; readonly toUs: number }
}

async function order({ dir, cluster, urls }: BenchCluster): Promise<Ordered> {
  const pids = cluster.nodes.map(({ name }) => readProcess(clusterPaths.node(dir, name)).pid as number)
  const load = new Load({ dir, cluster, urls })
  const patients = await load.enrol(urls, patientsCount)
  await load.begin(urls[0] as string, patients, await newestCheckpoint(urls[0] as string))
  // What a node compiles in its first seconds is not what an ordered transaction costs.
  await send(urls, sign(load, patients, transactions / 2))
  const signed = sign(load, patients, transactions)
  const timesNow = (): ThreadTimes[] => pids.map((pid) => threadTimes(pid) as ThreadTimes)
  const before = timesNow()
  const fromUs = profileClockUs()
  await send(urls, signed)
  const between = { fromUs, toUs: profileClockUs() }
  const times = timesNow().map((after, i) => timesBetween(before[i] as ThreadTimes, after))
  const head = (await (await fetch(new URL('/v1/userchain/head', urls[0]))).json()) as { leader: number }
  return { pids, times, leader: head.leader, between }
}

/** The leader first. */
async function ordered(nodes: number, dir: string): Promise<Measured[]> {
  tell(`cost: ${nodes} accounting node${nodes > 1 ? 's' : ''}`)
  const extra = () => profiledTo(dir)
  const { pids, times, leader, between } = await withCluster(
    { size: { accounting: nodes }, roles: ['accounting'], extra },
    order,
  )
  const measured = pids.map((pid, i): Measured => {
    const profile = readThreadProfile(mainProfile(dir, pid), orderParts, between)
    return { times: times[i] as ThreadTimes, profile }
  })
  const [own] = measured.splice(leader, 1)
  return [own as Measured, ...measured]
}

/** An audit in a process of its own: its start counts. */
async function audited(args: readonly string[], dir: string): Promise<Measured> {
  const path = fileURLToPath(new URL('./support/audit-run.ts', import.meta.url))
  const fromUs = profileClockUs()
  const child = spawn(process.execPath, ['--cpu-prof', `--cpu-prof-dir=${dir}`, path, ...args], { stdio: 'ignore' })
  const pid = child.pid as number
  let times: ThreadTimes = { main: 0, workers: 0, helpers: 0, pool: 0 }
  // Threads that have ended are no longer counted, so the largest figure of each is the last one.
  const look = (): void => {
    const now = threadTimes(pid)
    if (now === undefined) return
    const most = (kind: keyof ThreadTimes): number => Math.max(times[kind], now[kind])
    times = { main: most('main'), workers: most('workers'), helpers: most('helpers'), pool: most('pool') }
  }
  const timer = setInterval(look, 20)
  await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', resolve)
  })
  clearInterval(timer)
  const between = { fromUs, toUs: profileClockUs() }
  return {
    times,
    profile: readThreadProfile(mainProfile(dir, pid), replayParts, between),
    verifiers: verifierProfiles(dir, pid).map((path) => readThreadProfile(path, verifierParts, between)),
  }
}

async function replayed(dir: string): Promise<{ measured: Measured; count: number }> {
  tell(`cost: an audit of ${transactions} transactions`)
  return withServedLedger({ transactions, nodes: 1 }, async (ledger) => {
    await ledger.tell({ size: ledger.sizeOf(transactions) })
    const genesis = join(dir, 'genesis.cbor')
    writeFileSync(genesis, ledger.genesis)
    const urls = ledger.urls.flatMap((url) => ['--url', url])
    return {
      measured: await audited([...urls, '--genesis', genesis, '--token', servedToken], dir),
      count: transactions,
    }
  })
}

const dir = temporaryFolder()
try {
  const { value, bound } = await betweenBounds(boundMs, async () => {
    const [alone] = (await ordered(1, dir)) as [Measured]
    const [leader, ...others] = (await ordered(4, dir)) as [Measured, ...Measured[]]
    return { alone, leader, others, replay: await replayed(dir) }
  })
  const { alone, leader, others, replay } = value
  const column = (measured: Measured): Column => columnOf(measured, transactions)
  const orderColumns = { alone: column(alone), leader: column(leader), other: meanOf(others.map(column)) }
  report(
    'cost',
    [
      { bound: 'one verification of Ed25519', cpuUs: bound.cpuUs },
      ...rowsOf('ordered', orderColumns),
      ...rowsOf('replayed', { audit: columnOf(replay.measured, replay.count) }),
      ...functionRows('alone', alone, transactions),
      ...functionRows('leader', leader, transactions),
      ...functionRows('other', others[0] as Measured, transactions),
      ...functionRows('audit', replay.measured, replay.count),
    ],
    options,
  )
} finally {
  rmSync(dir, { recursive: true, force: true })
}
process.exit(0)
