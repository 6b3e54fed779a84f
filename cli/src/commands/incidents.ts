/** `ledger incidents`: what accounting nodes found wrong, and whether it is healed and acknowledged. */
import { callNode, nodeAccess } from '../cluster/client.ts'
import { readCluster } from '../cluster/layout.ts'
import { CommandError, type ExitCode, type Io } from '../io.ts'
import { formatTable } from '../table.ts'

interface Incident {
  readonly number: number
  readonly code: string
  readonly chain: string
  readonly height: number
  readonly index: number
  readonly file: string
  readonly found: number
  readonly healed: boolean
  readonly acknowledged: number | null
}

const iso = (ms: number): string => new Date(ms).toISOString()

/** Lists the incidents of every accounting node that answers, or of the one that is named; exit code 1 if a node does not answer. */
export async function listIncidents(
  dir: string,
  values: { readonly node?: string | undefined; readonly json?: boolean | undefined },
  io: Io,
): Promise<ExitCode> {
  const cluster = readCluster(dir)
  const names = cluster.nodes.filter(({ role }) => role === 'accounting').map(({ name }) => name)
  if (values.node !== undefined && !names.includes(values.node))
    throw new CommandError(`there is no accounting node "${values.node}" here (${names.join(', ')})`)
  const incidents: (Incident & { node: string })[] = []
  let exit: ExitCode = 0
  for (const node of values.node === undefined ? names : [values.node]) {
    try {
      const rows = await callNode<Incident[]>(nodeAccess(dir, cluster, node), 'GET', '/v1/incidents')
      incidents.push(...rows.map((row) => ({ node, ...row })))
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      io.stderr(`healthblock ledger incidents: ${error.message}\n`)
      exit = 1
    }
  }
  incidents.sort((a, b) => a.found - b.found)
  const words = (row: Incident): string =>
    `${row.healed ? 'healed' : 'not healed'}, ${row.acknowledged === null ? 'not acknowledged' : `acknowledged ${iso(row.acknowledged)}`}`
  const place = ({ chain, height, index, file }: Incident): string =>
    `${chain}, height ${height}, index ${index}, ${file}`
  if (values.json === true) io.stdout(`${JSON.stringify(incidents)}\n`)
  else if (incidents.length === 0) io.stdout('no incidents\n')
  else {
    const rows = incidents.map((row) => [row.node, `${row.number}`, iso(row.found), row.code, place(row), words(row)])
    io.stdout(formatTable([['node', 'number', 'found', 'code', 'where', 'standing'], ...rows]))
  }
  return exit
}
