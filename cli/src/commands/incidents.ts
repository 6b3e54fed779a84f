/** `ledger incidents`: what accounting nodes found wrong, and whether it is healed and acknowledged. */
import { accountingNodes, askNodes, tellSilent } from '../cluster/ask-nodes.ts'
import { callNode, nodeAccess } from '../cluster/client.ts'
import { readCluster } from '../cluster/layout.ts'
import type { ExitCode, Io } from '../io.ts'
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
  const answers = await askNodes(accountingNodes(cluster, values.node), (node) =>
    callNode<Incident[]>(nodeAccess(dir, cluster, node), 'GET', '/v1/incidents'),
  )
  const incidents = answers.flatMap((answer) =>
    'value' in answer ? answer.value.map((row) => ({ node: answer.node, ...row })) : [],
  )
  const exit = tellSilent(answers, 'ledger incidents', io)
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
