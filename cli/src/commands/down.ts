import { clusterFolder, clusterPaths, readCluster } from '../cluster/layout.ts'
import { readProcess, stopProcess } from '../cluster/processes.ts'
import { stopCluster } from '../cluster/start.ts'
import { CommandError, type ExitCode, type Io } from '../io.ts'
import { parseOptions, takePositionals } from '../options.ts'

/** `./healthblock down`. */
export async function runDown(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, { node: { type: 'string' } })
  if (values.help === true) {
    io.stdout(
      `Usage: ./healthblock down [--node NAME] [--dir DIR] [--json]

Stops the cluster, or one node of it (the others go on); the data stays. Start it again with ./healthblock up.
`,
    )
    return 0
  }
  takePositionals(positionals, [])
  const dir = clusterFolder(values.dir)
  const cluster = readCluster(dir)
  const { node } = values
  const names = cluster.nodes.map(({ name }) => name)
  if (node !== undefined && !names.includes(node))
    throw new CommandError(`there is no node "${node}" here (${names.join(', ')})`)
  const running = (node === undefined ? names : [node]).filter(
    (name) => readProcess(clusterPaths.node(dir, name)).pid !== undefined,
  )
  if (node === undefined) await stopCluster(dir, cluster)
  else await stopProcess(clusterPaths.node(dir, node))
  io.stdout(
    values.json === true
      ? `${JSON.stringify({ dir, stopped: running.length })}\n`
      : `${running.length === 0 ? 'nothing ran' : 'stopped'}; the data stays in ${dir}\n`,
  )
  return 0
}
