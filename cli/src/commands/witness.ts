/** `ledger witness`: which witnesses the accounting nodes ask for their cosignatures. */
import { chainNames } from '@healthblock/chain/chains'
import { type Answered, accountingNodes, askNodes, tellSilent } from '../cluster/ask-nodes.ts'
import { callNode, nodeAccess } from '../cluster/client.ts'
import { readCluster } from '../cluster/layout.ts'
import { type ExitCode, type Io, UsageError } from '../io.ts'
import { takePositionals } from '../options.ts'
import { formatTable } from '../table.ts'
import { checkWitnessKey, checkWitnessUrl } from '../witness-key.ts'

/** What a witness did on one chain, as a node says. */
interface Progress {
  readonly size: number | null
  readonly ms: number | null
  readonly fault: string | null
}

/** A witness, as a node says. */
export interface WitnessEntry {
  readonly name: string
  readonly vkey: string
  readonly url: string
  readonly userchain: Progress
  readonly docchain: Progress
}

/** The logs as a witness's operator has to enter them: each origin with the log keys of all nodes that answer. */
async function logsOf(
  call: (node: string, path: string) => Promise<unknown>,
  nodes: readonly string[],
): Promise<{ origin: string; keys: string[] }[]> {
  return Promise.all(
    chainNames.map(async (chain) => {
      const heads = await askNodes(
        nodes,
        async (node) => (await call(node, `/v1/${chain}/head`)) as Record<string, string>,
      )
      const values = heads.flatMap((head) => ('value' in head ? [head.value] : []))
      return { origin: values[0]?.origin ?? '', keys: values.map(({ logKey }) => logKey as string) }
    }),
  )
}

/** The witnesses that a cluster's running nodes ask, each once. */
export async function clusterWitnesses(dir: string): Promise<{ url: string; vkey: string }[]> {
  const cluster = readCluster(dir)
  const answers = await askNodes(accountingNodes(cluster, undefined), (node) =>
    callNode<WitnessEntry[]>(nodeAccess(dir, cluster, node), 'GET', '/v1/witnesses', undefined, 5_000),
  )
  const entries = answers.flatMap((answer) => ('value' in answer ? answer.value : []))
  return [...new Map(entries.map(({ url, vkey }) => [vkey, { url, vkey }])).values()]
}

function progressWords({ size, fault }: Progress): string {
  return `${size ?? 'nothing'}${fault === null ? '' : ` (${fault})`}`
}

function printList(io: Io, answers: readonly Answered<WitnessEntry[]>[]): void {
  const rows = answers.flatMap((answer) =>
    'value' in answer
      ? answer.value.map(({ name, url, userchain, docchain }) => [
          answer.node,
          name,
          progressWords(userchain),
          progressWords(docchain),
          url,
        ])
      : [],
  )
  if (rows.length === 0) io.stdout('no witnesses\n')
  else io.stdout(formatTable([['node', 'witness', 'userchain', 'docchain', 'address'], ...rows]))
}

/** Runs `ledger witness add|list|remove`: at every accounting node of the cluster, or at the one that is named. */
export async function runWitness(
  args: readonly string[],
  dir: string,
  values: { readonly node?: string | undefined; readonly json?: boolean | undefined },
  io: Io,
): Promise<ExitCode> {
  const [action, ...rest] = args
  const cluster = readCluster(dir)
  const nodes = accountingNodes(cluster, values.node)
  const call = <T>(node: string, method: 'GET' | 'POST', path: string, body?: unknown): Promise<T> =>
    callNode<T>(nodeAccess(dir, cluster, node), method, path, body)
  const finish = (answers: readonly Answered<unknown>[], more: Record<string, unknown>): ExitCode => {
    if (values.json === true) io.stdout(`${JSON.stringify({ nodes: answers, ...more })}\n`)
    return tellSilent(answers, 'ledger witness', io)
  }
  if (action === 'list') {
    takePositionals(rest, [])
    const answers = await askNodes(nodes, (node) => call<WitnessEntry[]>(node, 'GET', '/v1/witnesses'))
    if (values.json !== true) printList(io, answers)
    return finish(answers, {})
  }
  if (action === 'add') {
    const [url, vkey] = takePositionals(rest, ['URL', 'VKEY'] as const)
    checkWitnessUrl(url, 'URL')
    checkWitnessKey(vkey, 'VKEY')
    const answers = await askNodes(nodes, (node) => call<WitnessEntry>(node, 'POST', '/v1/witnesses', { url, vkey }))
    const logs = await logsOf((node, path) => call(node, 'GET', path), nodes)
    if (values.json !== true && answers.some((answer) => 'value' in answer)) {
      const of = answers.filter((answer) => 'value' in answer).map(({ node }) => node)
      io.stdout(
        `${of.join(', ')} ask${of.length === 1 ? 's' : ''} ${vkey.split('+')[0]}. Its operator has to know these logs:\n`,
      )
      for (const { origin, keys } of logs) {
        io.stdout(`  origin ${origin}\n${keys.map((key) => `    key  ${key}\n`).join('')}`)
      }
    }
    return finish(answers, { logs })
  }
  if (action === 'remove') {
    const [witness] = takePositionals(rest, ['NAME|VKEY'] as const)
    const [name] = witness.split('+')
    const answers = await askNodes(nodes, (node) => call<WitnessEntry>(node, 'POST', '/v1/witnesses/remove', { name }))
    if (values.json !== true) {
      for (const answer of answers) if ('value' in answer) io.stdout(`${answer.node} asks ${name} no more\n`)
    }
    return finish(answers, {})
  }
  throw new UsageError('witness takes add URL VKEY, list, or remove NAME')
}
