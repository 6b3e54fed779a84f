/**
 * The ledger's rate, cost, memory and disk as it grows. After each step the same sample is committed; what it costs is CPU time of the
 * nodes, which other work on the machine does not change, so that steps can be compared whatever else runs.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { clusterPaths } from '../cli/src/cluster/layout.ts'
import { batches, newestCheckpoint, submit } from './support/client.ts'
import { type BenchCluster, withCluster } from './support/cluster.ts'
import { Load, type LoadPatient } from './support/load.ts'
import { benchOptions, percentile, type Result, report, tell } from './support/report.ts'

const options = benchOptions({ nodes: { type: 'string' }, steps: { type: 'string' } })
const steps = options.steps ?? (options.quick ? [1_000, 10_000] : [1_000, 100_000, 1_000_000])
const nodes = Number(options.nodes ?? (options.quick ? 1 : 4))
const patientsCount = 256
const sendersCount = 8
const batchMax = 256
const sampleCount = options.quick ? 2_048 : 8_192
/** Linux counts the time of processes in hundredths of a second. */
const ticksPerSecond = 100

/** CPU time of all nodes so far, ms. */
function cpuMs({ dir, cluster }: BenchCluster): number {
  return cluster.nodes.reduce((sum, { name }) => {
    const pid = readFileSync(join(clusterPaths.node(dir, name), 'pid'), 'utf8').trim()
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return sum + ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond
  }, 0)
}

function residentMb({ dir, cluster }: BenchCluster): number {
  const sizes = cluster.nodes.map(({ name }) => {
    const pid = readFileSync(join(clusterPaths.node(dir, name), 'pid'), 'utf8').trim()
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
  })
  return Math.max(...sizes)
}

/** Bytes of the files of one node that grow with the ledger: the write-ahead log of the state does not. */
function diskOf({ dir }: BenchCluster): { log: number; state: number; tiles: number } {
  const folder = join(clusterPaths.node(dir, 'accounting-0'), 'userchain')
  const sizeOf = (path: string): number => {
    const found = statSync(path, { throwIfNoEntry: false })
    if (found === undefined) return 0
    if (found.isFile()) return found.size
    return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0)
  }
  const at = (name: string): number => sizeOf(join(folder, name))
  return { log: at('log'), state: at('state.db'), tiles: at('tiles') }
}

/** Commits `count` transactions: each sender has patients of its own, and one submission under way. Answers the latencies, ms. */
async function commit(cluster: BenchCluster, load: Load, patients: readonly LoadPatient[], count: number) {
  const each = Math.ceil(count / sendersCount)
  const latencies: number[] = []
  const work = async (sender: number): Promise<void> => {
    const own = patients.filter((_, i) => i % sendersCount === sender)
    for (let done = 0; done < each; done += batchMax) {
      const wanted = Math.min(batchMax, each - done)
      const items = Array.from({ length: wanted }, (_, i) => load.iot(own[i % own.length] as LoadPatient, 1))
      for (const batch of batches(items, batchMax)) {
        const begunMs = performance.now()
        await submit(cluster.urls[sender % cluster.urls.length] as string, batch)
        latencies.push(performance.now() - begunMs)
      }
    }
  }
  await Promise.all(Array.from({ length: sendersCount }, (_, sender) => work(sender)))
  return latencies
}

const results = await withCluster({ size: { accounting: nodes }, roles: ['accounting'] }, async (cluster) => {
  const load = new Load(cluster)
  const patients = await load.enrol(cluster.urls, patientsCount)
  const [url] = cluster.urls as [string]
  await load.begin(url, patients, await newestCheckpoint(url))
  const rows: Record<string, number>[] = []
  let done = 0
  for (const step of steps) {
    const begunMs = performance.now()
    await commit(cluster, load, patients, step - done)
    tell(`growth: ${step} transactions after ${((performance.now() - begunMs) / 1000).toFixed(0)} s`)
    const [cpuBefore, fromMs] = [cpuMs(cluster), performance.now()]
    const latencies = await commit(cluster, load, patients, sampleCount)
    const seconds = (performance.now() - fromMs) / 1000
    const cpu = (cpuMs(cluster) - cpuBefore) / sampleCount
    done = step + sampleCount
    tell(`growth: then ${(1000 * cpu).toFixed(0)} µs of the nodes a transaction, ${residentMb(cluster).toFixed(0)} MB`)
    const { log, state, tiles } = diskOf(cluster)
    rows.push({
      ...{ nodes, transactions: step, sample: sampleCount, transactionsPerSecond: sampleCount / seconds },
      ...{ p50Ms: percentile(latencies, 0.5), p99Ms: percentile(latencies, 0.99), cpuMsPerTransaction: cpu },
      costOfFirst: cpu / (rows[0]?.cpuMsPerTransaction ?? cpu),
      residentMb: residentMb(cluster),
      ...{
        logBytesPerTransaction: log / done,
        stateBytesPerTransaction: state / done,
        tileBytesPerTransaction: tiles / done,
      },
    })
  }
  return rows satisfies Result[]
})
report('growth', results, options)
process.exit(0)
