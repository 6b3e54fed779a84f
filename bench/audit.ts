/** A chain replayed from its leaves, every signature checked and every rule executed, against what the cores can verify. */

import { execFile } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Ledger } from '@healthblock/chain/block'
import { type PreparationWorkers, type PreparedBundle, prepareBundle, sameThread } from '@healthblock/chain/preparation'
import { Replay } from '@healthblock/chain/replay'
import { type ChainStore, MemoryChainStore } from '@healthblock/chain/store'
import { encodeEntryBundle, tileWidth } from '@healthblock/chain/tile'
import { randomBytes } from '@healthblock/crypto/random'
import { BatchedChainStore } from '@healthblock/runtime/batched-store'
import { openChainStore } from '@healthblock/runtime/ledger-stores'
import { PreparationPool } from '@healthblock/runtime/preparation-pool'
import { type Draft, type Party, World } from '../packages/chain/src/testkit.ts'
import type { AuditRun } from './support/audit-run.ts'
import { betweenBounds, type Ed25519Bound } from './support/ed25519-bound.ts'
import { temporaryFolder } from './support/folder.ts'
import { benchOptions, percentile, type Result, report, tell } from './support/report.ts'
import { servedToken, withServedLedger } from './support/served-ledger.ts'

const options = benchOptions({ million: { type: 'boolean' } })
const patientsCount = 128
const blockTransactions = 256
/** Blocks that only enrol the patients: replayed before the clock starts. */
const enrolmentBlocks = 3
const blocks = options.quick ? 8 : 80
/** Bundles whose signatures are verified ahead of the one that is executed. */
const aheadBundles = 8

/** Blocks of a chain as an auditor gets them: leaves, the SEAL last. Block 0 is the ledger's own. */
function makeChain(records: number): { genesis: Uint8Array; blocks: Uint8Array[][] } {
  const world = new World({ quota: 10_000 })
  const made: Uint8Array[][] = []
  const post = (drafts: readonly Draft[]): void => {
    world.nowMs += 1000
    const candidates = drafts.map((draft) => world.sign(draft))
    const { pending } = world.ledger.buildBlock({ chain: 'userchain', candidates, nowMs: world.nowMs })
    if (pending === undefined || pending.transactions.length !== drafts.length) throw new Error('the load is not valid')
    world.ledger.commit(pending)
    made.push([...pending.leaves])
  }
  const registrations = Array.from({ length: patientsCount }, () => world.registration(1))
  post(registrations.map(({ draft }) => draft))
  const patients = registrations.map(({ party }): Party => party())
  const streams = patients.map(() => randomBytes(8))
  post(patients.map((patient, i) => world.device(patient, [streams[i] as Uint8Array])))
  post(patients.map((patient) => world.key(patient, { gen: 1 })))
  const sequences = patients.map(() => 0)
  for (let block = 0; block < blocks; block++) {
    post(
      Array.from({ length: blockTransactions }, (_, n) => {
        const i = n % patientsCount
        const r = Array.from({ length: records }, () => {
          const sequence = (sequences[i] ?? 0) + 1
          sequences[i] = sequence
          return world.record(streams[i] as Uint8Array, sequence)
        })
        return world.iot(patients[i] as Party, r)
      }),
    )
  }
  return { genesis: world.genesis, blocks: made }
}

/** Replays everything as an auditor does: bundles of leaves are hashed, named and verified ahead of the block that is executed. */
async function replay(
  chain: ReturnType<typeof makeChain>,
  userchain: ChainStore,
  workers: PreparationWorkers,
): Promise<Replayed> {
  const stores = { userchain, docchain: new MemoryChainStore() }
  const ledger = Ledger.open({ genesis: chain.genesis, stores })
  const reader = new Replay(ledger, 'userchain', ledger.head('userchain').size)
  for (const leaf of chain.blocks.slice(0, enrolmentBlocks).flat()) reader.push(leaf)
  const bundles = bundlesOf(chain.blocks.slice(enrolmentBlocks).flat())
  const order = { workers, ledger, chain: 'userchain' } as const
  const prepare = (bundle: Uint8Array, number: number): Promise<PreparedBundle> =>
    prepareBundle(order, bundle, Math.min(tileWidth, blocks * (blockTransactions + 1) - number * tileWidth))
  // The threads have started before the clock does.
  await Promise.all(cpus().map(() => prepare(bundles[0] as Uint8Array, 0)))
  const bundleMs: number[] = []
  const cpu = process.cpuUsage()
  const begun = performance.now()
  const ahead: Promise<PreparedBundle>[] = []
  for (const number of bundles.keys()) {
    while (ahead.length <= Math.min(number + aheadBundles, bundles.length - 1))
      ahead.push(prepare(bundles[ahead.length] as Uint8Array, ahead.length))
    const { leaves } = await (ahead[number] as Promise<PreparedBundle>)
    const from = performance.now()
    for (const one of leaves) reader.push(one.leaf, one)
    bundleMs.push(performance.now() - from)
  }
  if (userchain instanceof BatchedChainStore) userchain.flush()
  return { seconds: (performance.now() - begun) / 1000, cpuSeconds: cpuSecondsSince(cpu), bundleMs }
}

interface Replayed {
  readonly seconds: number
  /** User and system time of all threads. */
  readonly cpuSeconds: number
  /** Time on the one thread that executes, by bundle. */
  readonly bundleMs: readonly number[]
}

function cpuSecondsSince(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start)
  return (user + system) / 1e6
}

function bundlesOf(leaves: readonly Uint8Array[]): Uint8Array[] {
  return Array.from({ length: Math.ceil(leaves.length / tileWidth) }, (_, i) =>
    encodeEntryBundle(leaves.slice(i * tileWidth, (i + 1) * tileWidth)),
  )
}

async function measure(records: number): Promise<Result[]> {
  tell(`audit: making ${blocks * blockTransactions} transactions of ${records} records`)
  const chain = makeChain(records)
  const rows: Result[] = []
  for (const [store, threads] of [
    ['memory', 'one'],
    ['memory', 'all'],
    ['sqlite', 'all'],
  ] as const) {
    const dir = temporaryFolder()
    const file = store === 'sqlite' ? openChainStore({ path: join(dir, 'userchain.db') }) : undefined
    const pool = threads === 'all' ? new PreparationPool() : undefined
    try {
      const { value, bound } = await betweenBounds(options.quick ? 300 : 1500, () =>
        replay(chain, file === undefined ? new MemoryChainStore() : new BatchedChainStore(file), pool ?? sameThread),
      )
      rows.push({ what: 'replay', store, threads, records, ...rowOf(value, bound) })
    } finally {
      await pool?.close()
      file?.close()
      rmSync(dir, { recursive: true, force: true })
    }
  }
  return rows
}

function rowOf({ seconds, cpuSeconds, bundleMs }: Replayed, bound: Ed25519Bound): Result {
  const transactions = blocks * blockTransactions
  const rate = transactions / seconds
  const cpuUs = (1e6 * cpuSeconds) / transactions
  return {
    transactions,
    transactionsPerSecond: rate,
    p50Ms: percentile(bundleMs, 0.5),
    p99Ms: percentile(bundleMs, 0.99),
    ed25519VerifyPerSecond: bound.perSecond,
    partOfBoundPercent: (100 * rate) / bound.perSecond,
    cpuUsPerTransaction: cpuUs,
    cpuUsPerVerify: bound.cpuUs,
    cpuPartOfBoundPercent: (100 * bound.cpuUs) / cpuUs,
  }
}

/** `healthblock audit` as a process, over HTTP, from nothing but genesis and URLs: everything counts, its start too. */
async function measureCommand(sizes: readonly number[]): Promise<Result[]> {
  const largest = Math.max(...sizes)
  tell(`audit: serving ${largest} transactions`)
  const dir = temporaryFolder()
  const genesis = join(dir, 'genesis.cbor')
  try {
    return await withServedLedger({ transactions: largest, nodes: 4 }, async (ledger) => {
      writeFileSync(genesis, ledger.genesis)
      const rows: Result[] = []
      for (const entries of sizes) {
        await ledger.tell({ size: ledger.sizeOf(entries) })
        for (const nodes of [1, 4]) {
          const urls = ledger.urls.slice(0, nodes).flatMap((url) => ['--url', url])
          const { value, bound } = await betweenBounds(options.quick ? 300 : 1500, () =>
            runAudit([...urls, '--genesis', genesis, '--token', servedToken]),
          )
          rows.push({ what: 'command', nodes, ...commandRow(value, bound) })
        }
      }
      return rows
    })
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

function commandRow(
  { report: { transactions, seconds, findings }, cpuSeconds, maxRssMb }: AuditRun,
  bound: Ed25519Bound,
): Result {
  if (findings.length > 0) throw new Error('an honest ledger has findings')
  const cpuUs = (1e6 * cpuSeconds) / transactions
  return {
    transactions,
    transactionsPerSecond: transactions / seconds,
    ed25519VerifyPerSecond: bound.perSecond,
    partOfBoundPercent: (100 * transactions) / seconds / bound.perSecond,
    cpuUsPerTransaction: cpuUs,
    cpuUsPerVerify: bound.cpuUs,
    cpuPartOfBoundPercent: (100 * bound.cpuUs) / cpuUs,
    maxRssMb,
  }
}

async function runAudit(args: readonly string[]): Promise<AuditRun> {
  const path = fileURLToPath(new URL('./support/audit-run.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [path, ...args], { maxBuffer: 16 * 1024 * 1024 })
  return JSON.parse(stdout) as AuditRun
}

const results: Result[] = []
for (const records of options.quick ? [1] : [1, 64]) results.push(...(await measure(records)))
const sizes = options.quick ? [2000] : [10_000, 100_000, ...(options.million ? [1_000_000] : [])]
results.push(...(await measureCommand(sizes)))
report('audit', results, options)
