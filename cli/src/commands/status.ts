import { clusterFolder, readCluster } from '../cluster/layout.ts'
import { formatDoors, portalDoors } from '../cluster/portal-doors.ts'
import { type ClusterStatus, clusterStatus } from '../cluster/status.ts'
import type { ExitCode, Io } from '../io.ts'
import { parseOptions, takePositionals } from '../options.ts'
import { formatTable } from '../table.ts'

/** What `status` and `up` print for people. */
export function formatStatus(status: ClusterStatus): string {
  const rows = status.nodes.map((node) => [node.name, node.role, node.state, node.url ?? '-', String(node.pid ?? '-')])
  const chains = Object.entries(status.chains).map(([name, { height, size, root, quorum }]) => {
    const head =
      root === null
        ? 'not known: no accounting node answers'
        : `height ${height}, size ${size}, root ${root.slice(0, 16)}…, quorum ${quorum}`
    return `${name.padEnd(10)} ${head}\n`
  })
  const doors = formatDoors(status.dir, portalDoors(status.dir, readCluster(status.dir)))
  const nodes = formatTable([['node', 'role', 'state', 'address', 'pid'], ...rows])
  return [nodes, chains.join(''), doors, `folder ${status.dir}\n`].filter((part) => part !== '').join('\n')
}

/** `./healthblock status`. */
export async function runStatus(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {})
  if (values.help === true) {
    io.stdout(
      'Usage: ./healthblock status [--dir DIR] [--json]\n\nShows every process and both chains. Exit code 1 unless all are ready.\n',
    )
    return 0
  }
  takePositionals(positionals, [])
  const dir = clusterFolder(values.dir)
  const status = await clusterStatus(dir, readCluster(dir))
  io.stdout(values.json === true ? `${JSON.stringify(status)}\n` : formatStatus(status))
  return status.nodes.every(({ state }) => state === 'ready') ? 0 : 1
}
