import { readerToken } from '../cluster/enrol.ts'
import { clusterFolder, readCluster } from '../cluster/layout.ts'
import { clusterStatus } from '../cluster/status.ts'
import { type ExitCode, type Io, UsageError } from '../io.ts'
import { parseOptions, takePositionals } from '../options.ts'
import { formatTable } from '../table.ts'

const help = `Usage: ./healthblock storage ACTION

  token     a test tenant's bearer token for every storage node (24 h): put, get, pin, list, remove its own blocks
  status    every storage node with what it keeps

Options: --dir DIR, --json
`

async function repoStat(url: string, token: string): Promise<Record<string, unknown>> {
  try {
    const response = await fetch(new URL('/api/v0/repo/stat', url), {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(5_000),
    })
    return response.ok ? ((await response.json()) as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

/** `./healthblock storage …`. */
export async function runStorage(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {})
  const [action, ...rest] = positionals
  if (values.help === true || action === undefined) {
    io.stdout(help)
    return values.help === true ? 0 : 2
  }
  takePositionals(rest, [])
  const dir = clusterFolder(values.dir)
  const token = readerToken(dir, 'tenant', 'storage')
  switch (action) {
    case 'token':
      io.stdout(values.json === true ? `${JSON.stringify({ token })}\n` : `${token}\n`)
      return 0
    case 'status': {
      const { nodes } = await clusterStatus(dir, readCluster(dir))
      const stores = nodes.filter(({ role }) => role === 'storage')
      const stats = await Promise.all(
        stores.map(async (node) => ({ ...node, ...(node.url === null ? {} : await repoStat(node.url, token)) })),
      )
      const rows = stats as unknown as Record<string, unknown>[]
      io.stdout(
        values.json === true
          ? `${JSON.stringify(stats)}\n`
          : formatTable([
              ['node', 'state', 'blocks', 'bytes', 'address'],
              ...rows.map((row) =>
                ['name', 'state', 'NumObjects', 'RepoSize', 'url'].map((key) => String(row[key] ?? '-')),
              ),
            ]),
      )
      return stores.every(({ state }) => state === 'ready') ? 0 : 1
    }
    default:
      throw new UsageError(`there is no action "${action}"`)
  }
}
