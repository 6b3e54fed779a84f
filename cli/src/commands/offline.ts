/** `ledger fsck`, `backup` and `restore`: work on a node's folder, done by the service that owns its files. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { findingsText } from '../audit-work.ts'
import { type ClusterFile, clusterPaths, readCluster } from '../cluster/layout.ts'
import { readProcess } from '../cluster/processes.ts'
import { projectRoot } from '../cluster/root.ts'
import { CommandError, type ExitCode, type Io, UsageError } from '../io.ts'

interface Values {
  readonly node?: string | undefined
  readonly out?: string | undefined
  readonly from?: string | undefined
  readonly 'with-secrets'?: boolean | undefined
  readonly json?: boolean | undefined
}

interface NodeReport {
  readonly ok: boolean
  readonly dir: string
  readonly chains: Record<string, { height: number; size: number }>
  readonly findings: readonly { code: string; file: string; message: string }[]
  readonly notes: readonly string[]
  readonly notChecked: readonly string[]
}

/** Runs the service's own command; its answer is one JSON object. */
function call<T>(args: readonly string[]): Promise<{ code: number; value: T }> {
  const script = join(projectRoot, 'services/accounting-node/src/offline.ts')
  return new Promise((done, reject) => {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [output, errors] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text
    })
    child.once('error', reject)
    child.once('close', (code) => {
      if (output === '') reject(new CommandError(errors.trim() || `ended with ${code}`))
      else done({ code: code ?? 1, value: JSON.parse(output) as T })
    })
  })
}

function accountingNodes(cluster: ClusterFile): string[] {
  return cluster.nodes.filter(({ role }) => role === 'accounting').map(({ name }) => name)
}

function nodeFolder(dir: string, name: string | undefined): string {
  if (name === undefined) throw new UsageError('name the accounting node with --node NAME')
  const names = accountingNodes(readCluster(dir))
  if (!names.includes(name)) throw new CommandError(`there is no accounting node "${name}" here (${names.join(', ')})`)
  return clusterPaths.node(dir, name)
}

/** The folders to check: a named node's, any folder of a node or backup, or those of all accounting nodes. */
function foldersToCheck(dir: string, node: string | undefined): string[] {
  if (node === undefined) return accountingNodes(readCluster(dir)).map((name) => clusterPaths.node(dir, name))
  const folder = resolve(node)
  // A folder without a genesis is said to be none by the check.
  return [existsSync(folder) ? folder : nodeFolder(dir, node)]
}

/** Undefined for a folder that could not be checked, once that was said: the next one may be. */
async function reportOf(folder: string, isOneOfMany: boolean, values: Values, io: Io): Promise<NodeReport | undefined> {
  try {
    return (await call<NodeReport>(['fsck', folder])).value
  } catch (error) {
    if (!(error instanceof CommandError) || !isOneOfMany) throw error
    const { message } = error
    if (values.json === true) io.stdout(`${JSON.stringify({ ok: false, dir: folder, error: { message } })}\n`)
    io.stderr(`healthblock ledger: ${basename(folder)} was not checked: ${message}\n`)
    return undefined
  }
}

async function check(dir: string, values: Values, io: Io): Promise<ExitCode> {
  let isOk = true
  const folders = foldersToCheck(dir, values.node)
  for (const folder of folders) {
    const value = await reportOf(folder, folders.length > 1, values, io)
    isOk = isOk && value?.ok === true
    if (value === undefined) continue
    if (values.json === true) {
      io.stdout(`${JSON.stringify(value)}\n`)
      continue
    }
    const heads = Object.entries(value.chains).map(
      ([chain, { height, size }]) => `${chain} height ${height}, ${size} entries`,
    )
    io.stdout(`${folder}: ${value.ok ? 'whole' : findingsText(value.findings.length)} (${heads.join('; ')})\n`)
    for (const { code, file, message } of value.findings) io.stdout(`FINDING ${code}  ${file}\n        ${message}\n`)
    for (const words of value.notes) io.stdout(`note: ${words}\n`)
    for (const words of value.notChecked) io.stdout(`not checked: ${words}\n`)
  }
  return isOk ? 0 : 1
}

/** Runs one of the three actions. */
export async function runOffline(
  action: 'fsck' | 'backup' | 'restore',
  dir: string,
  values: Values,
  io: Io,
): Promise<ExitCode> {
  const print = (value: unknown, words: string): void =>
    io.stdout(values.json === true ? `${JSON.stringify(value)}\n` : `${words}\n`)
  if (action === 'fsck') return check(dir, values, io)
  const folder = nodeFolder(dir, values.node)
  if (action === 'backup') {
    if (values.out === undefined) throw new UsageError('name the folder of the backup with --out FOLDER')
    const to = resolve(values.out)
    const { value } = await call<{ sizeBytes: number }>([
      ...['backup', folder, to],
      ...(values['with-secrets'] === true ? ['--with-secrets'] : []),
    ])
    print(
      { node: values.node, out: to, ...value },
      `${values.node} is backed up in ${to} (${value.sizeBytes} bytes of log)`,
    )
    return 0
  }
  if (values.from === undefined) throw new UsageError('name the backup with --from FOLDER')
  if (readProcess(folder).pid !== undefined)
    throw new CommandError(`${values.node} runs: stop it first (./healthblock down --node ${values.node})`)
  const { value } = await call<{ aside: string | null }>(['restore', resolve(values.from), folder])
  const aside = value.aside === null ? '' : `; what was there is in ${value.aside}`
  print({ node: values.node, ...value }, `${values.node} is restored${aside}. Start it: it catches up before it signs`)
  return 0
}
