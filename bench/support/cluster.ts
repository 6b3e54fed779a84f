/** Accounting nodes in processes of their own, with a private Redis, in a temporary folder that is taken away. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nodeAccess } from '../../cli/src/cluster/client.ts'
import { type ClusterSize, createCluster } from '../../cli/src/cluster/create.ts'
import { type ClusterFile, writeCluster } from '../../cli/src/cluster/layout.ts'
import { type ExtraEnvironment, startCluster, stopCluster } from '../../cli/src/cluster/start.ts'
import { createProcessIo } from '../../cli/src/io.ts'

/** A running cluster. */
export interface BenchCluster {
  readonly dir: string
  readonly cluster: ClusterFile
  /** Base URLs of the accounting nodes, by rank. */
  readonly urls: readonly string[]
}

const sizeDefault: ClusterSize = { accounting: 1, storage: 1, replicas: 1, doctors: 0, patients: [], periodMs: 10_000 }

/**
 * Starts a new cluster, gives it to `work`, stops it and removes its folder, whatever happens; also on SIGINT and SIGTERM.
 *
 * @param options - `roles`: which of the planned processes run, by default all. `extra`: environment of a node.
 */
export async function withCluster<T>(
  options: { size: Partial<ClusterSize>; roles?: readonly string[]; extra?: ExtraEnvironment },
  work: (cluster: BenchCluster) => Promise<T>,
): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'healthblock-bench-'))
  const planned = await createCluster(dir, { ...sizeDefault, ...options.size }, Date.now())
  const nodes = planned.nodes.filter(({ role }) => options.roles?.includes(role) ?? true)
  const cluster = { ...planned, nodes }
  await writeCluster(dir, cluster)
  const begun = startCluster(dir, cluster, createProcessIo(), { extra: options.extra })
  const stop = async (): Promise<void> => {
    // What is being started cannot be stopped before it is there.
    await begun.catch(() => undefined)
    await stopCluster(dir, cluster)
    if (process.env.HEALTHBLOCK_BENCH_KEEP === undefined) rmSync(dir, { recursive: true, force: true })
  }
  let stopped: Promise<void> | undefined
  const end = (): Promise<void> => {
    stopped ??= stop()
    return stopped
  }
  const interrupted = (): void => {
    void end().finally(() => process.exit(1))
  }
  process.on('SIGINT', interrupted)
  process.on('SIGTERM', interrupted)
  try {
    await begun
    const urls = nodes.filter(({ role }) => role === 'accounting').map(({ name }) => nodeAccess(dir, cluster, name).url)
    return await work({ dir, cluster, urls })
  } finally {
    await end()
    process.off('SIGINT', interrupted)
    process.off('SIGTERM', interrupted)
  }
}
