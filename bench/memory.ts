/**
 * Resident memory of an accounting node as its ledger grows: n = 4, each node a process of its own, batches to all gateways. The figure
 * is what the system says the process holds (`VmRSS`), a while after the last transaction, so that what a collection frees is not counted.
 */
import { readFileSync } from 'node:fs'
import { clusterPaths } from '../cli/src/cluster/layout.ts'
import { batches, newestCheckpoint, submit } from './support/client.ts'
import { type BenchCluster, withCluster } from './support/cluster.ts'
import { Load, type LoadPatient } from './support/load.ts'
import { benchOptions, type Result, report, tell } from './support/report.ts'

const options = benchOptions()
const steps = options.quick ? [1_000, 5_000] : [1_000, 10_000, 50_000, 100_000]
const patientsCount = 256
const sendersCount = 8
const batchMax = 256
const restMs = 5_000

interface Sizes {
  readonly residentMb: number
  readonly peakMb: number
}

function sizesOf(pid: number): Sizes {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1024
  return { residentMb: of('VmRSS'), peakMb: of('VmHWM') }
}

/** The largest of all accounting nodes. */
function largest({ dir, cluster }: BenchCluster): Sizes {
  const sizes = cluster.nodes.map(({ name }) =>
    sizesOf(Number(readFileSync(`${clusterPaths.node(dir, name)}/pid`, 'utf8'))),
  )
  return {
    residentMb: Math.max(...sizes.map(({ residentMb }) => residentMb)),
    peakMb: Math.max(...sizes.map(({ peakMb }) => peakMb)),
  }
}

/** Commits `count` transactions: each sender has patients of its own, and one submission under way. */
async function grow(
  urls: readonly string[],
  load: Load,
  patients: readonly LoadPatient[],
  count: number,
): Promise<void> {
  const each = Math.ceil(count / sendersCount)
  const send = async (sender: number): Promise<void> => {
    const own = patients.filter((_, i) => i % sendersCount === sender)
    for (let done = 0; done < each; done += batchMax) {
      const items = Array.from({ length: Math.min(batchMax, each - done) }, (_, i) =>
        load.iot(own[i % own.length] as LoadPatient, 1),
      )
      for (const batch of batches(items, batchMax)) await submit(urls[sender % urls.length] as string, batch)
    }
  }
  await Promise.all(Array.from({ length: sendersCount }, (_, sender) => send(sender)))
}

const results = await withCluster({ size: { accounting: 4 }, roles: ['accounting'] }, async (cluster) => {
  const rows: Result[] = []
  const measure = async (transactions: number): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, restMs))
    const row = { nodes: 4, transactions, ...largest(cluster) }
    tell(`memory: ${transactions} transactions: ${row.residentMb.toFixed(0)} MB, at most ${row.peakMb.toFixed(0)} MB`)
    rows.push(row)
  }
  await measure(0)
  const load = new Load(cluster)
  const patients = await load.enrol(cluster.urls, patientsCount)
  const [url] = cluster.urls as [string]
  await load.begin(url, patients, await newestCheckpoint(url))
  let done = 0
  for (const step of steps) {
    await grow(cluster.urls, load, patients, step - done)
    done = step
    await measure(step)
  }
  return rows
})
report('memory', results, options)
process.exit(0)
