import { clusterFolder, clusterPaths, readCluster } from '../cluster/layout.ts'
import { readProcess } from '../cluster/processes.ts'
import { stopCluster } from '../cluster/start.ts'
import type { ExitCode, Io } from '../io.ts'
import { parseOptions, takePositionals } from '../options.ts'

/** `./healthblock down`. */
export async function runDown(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {})
  if (values.help === true) {
    io.stdout(
      'Usage: ./healthblock down [--dir DIR] [--json]\n\nStops the cluster; its data stays. Start it again with ./healthblock up.\n',
    )
    return 0
  }
  takePositionals(positionals, [])
  const dir = clusterFolder(values.dir)
  const cluster = readCluster(dir)
  const running = cluster.nodes.filter(({ name }) => readProcess(clusterPaths.node(dir, name)).pid !== undefined)
  await stopCluster(dir, cluster)
  io.stdout(
    values.json === true
      ? `${JSON.stringify({ dir, stopped: running.length })}\n`
      : `${running.length === 0 ? 'nothing ran' : 'stopped'}; the data stays in ${dir}\n`,
  )
  return 0
}
