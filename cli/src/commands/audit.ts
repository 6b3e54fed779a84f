import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type AuditNode, type AuditProgress, audit, type StorageProbe } from '@healthblock/audit/audit'
import type { AuditReport } from '@healthblock/audit/report'
import { type Genesis, parseGenesis } from '@healthblock/chain/genesis'
import { genesisTrust, LedgerClient } from '@healthblock/runtime/ledger-client'
import { type ReplayStores, withReplayStores } from '@healthblock/runtime/replay-stores'
import { StorageClient } from '@healthblock/runtime/storage-client'
import { readerToken } from '../cluster/enrol.ts'
import { type ClusterFile, clusterFolder, clusterPaths, readCluster } from '../cluster/layout.ts'
import { readProcess } from '../cluster/processes.ts'
import { CommandError, type ExitCode, type Io, UsageError } from '../io.ts'
import { parseOptions, takePositionals } from '../options.ts'

const help = `Usage: ./healthblock audit [--dir DIR | --url URL… --genesis FILE]

Replays both ledgers from nothing but the genesis file, compares what every node serves, and reports every finding.

  --url URL       an accounting node; repeat it for each node (with --dir: the cluster's own)
  --genesis FILE  the genesis file (with --dir: the cluster's own)
  --token TOKEN   a reader's token of scope ledger (with --dir: the auditor's of the cluster)
  --work DIR      keep the replayed state here: an audit that was interrupted, or a later one, goes on from there
  --state         also compare records of the replayed state with what every node proves
  --json          print the report as JSON

Exit code 0 without findings, 1 with findings. What was not checked is listed.
`

/** What is audited, and with which credential. */
interface Subject {
  readonly genesis: Uint8Array
  readonly nodes: readonly AuditNode[]
  readonly token: string | undefined
  readonly storage: StorageProbe | undefined
}

interface Values {
  readonly dir?: string | undefined
  readonly url?: string[] | undefined
  readonly genesis?: string | undefined
  readonly token?: string | undefined
}

function subjectOf(values: Values): Subject {
  if (values.url !== undefined) {
    if (values.dir !== undefined) throw new UsageError('takes --dir or --url, not both')
    if (values.genesis === undefined) throw new UsageError('--url needs --genesis FILE: it is what an audit trusts')
    for (const url of values.url) if (!URL.canParse(url)) throw new UsageError(`--url takes a URL, not "${url}"`)
    const nodes = values.url.map((url) => ({ name: url.replace(/\/$/, ''), url }))
    return { genesis: readBytes(values.genesis), nodes, token: values.token, storage: undefined }
  }
  const dir = clusterFolder(values.dir)
  const cluster = readCluster(dir)
  const genesis = readBytes(values.genesis ?? clusterPaths.genesis(dir))
  const nodes = namedNodes(dir, cluster, 'accounting')
  const token = values.token ?? readerToken(dir, 'auditor', 'ledger')
  return { genesis, nodes, token, storage: storageProbe(dir, cluster, parseGenesis(genesis)) }
}

function readBytes(path: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(path))
  } catch (cause) {
    throw new CommandError(`${path} cannot be read: ${(cause as Error).message}`, undefined, { cause })
  }
}

function namedNodes(dir: string, cluster: ClusterFile, role: 'accounting' | 'storage'): AuditNode[] {
  return cluster.nodes
    .filter((node) => node.role === role)
    .map(({ name }) => {
      const { url } = readProcess(clusterPaths.node(dir, name))
      return url === undefined ? { name } : { name, url }
    })
}

function storageProbe(dir: string, cluster: ClusterFile, genesis: Genesis): StorageProbe | undefined {
  const urls = namedNodes(dir, cluster, 'storage').flatMap(({ url }) => (url === undefined ? [] : [url]))
  if (urls.length === 0 || cluster.tenant === undefined) return undefined
  const client = new StorageClient({
    urls,
    ledgerId: genesis.ledgerId,
    token: () => readerToken(dir, 'tenant', 'storage'),
    storeKeyOf: () => undefined,
  })
  return { has: async ({ digest, codec }) => (await client.stat(digest, { codec })) !== undefined }
}

/** Tells of progress: one line that changes on a terminal, else a line every five seconds. */
function progressTeller(io: Io): (progress: AuditProgress) => void {
  const begunMs = Date.now()
  const periodMs = io.interactive ? 200 : 5_000
  let toldMs = io.interactive ? 0 : begunMs
  return ({ chain, done, total, transactions }) => {
    const nowMs = Date.now()
    if (nowMs - toldMs < periodMs && !(io.interactive && done === total)) return
    toldMs = nowMs
    const rate = transactions / Math.max(0.001, (nowMs - begunMs) / 1000)
    const remaining = Math.ceil((total - done) / Math.max(1, rate))
    const words = `${chain}: ${done} of ${total} entries, ${Math.round(rate)} transactions/s, ${remaining} s left`
    io.stderr(io.interactive ? `\r\x1b[K${words}${done === total ? '\n' : ''}` : `${words}\n`)
  }
}

function printReport(report: AuditReport, io: Io): void {
  for (const [chain, { height, size, root, stateRoot }] of Object.entries(report.chains)) {
    io.stdout(`${chain.padEnd(10)} height ${height}  entries ${size}  root ${root}  state ${stateRoot}\n`)
  }
  io.stdout(`replayed   ${report.transactions} transactions in ${report.seconds} s\n`)
  for (const words of report.notChecked) io.stdout(`not checked: ${words}\n`)
  for (const { code, chain, height, index, node, message } of report.findings) {
    const place = [chain, height === null ? null : `height ${height}`, index === null ? null : `index ${index}`, node]
    io.stdout(`FINDING ${code}  ${place.filter((part) => part !== null).join(', ')}\n        ${message}\n`)
  }
  io.stdout(report.ok ? 'no findings\n' : `${report.findings.length} findings\n`)
}

/** A folder that was named stays; another is thrown away. */
async function withWork<T>(work: string | undefined, use: (open: ReplayStores) => Promise<T>): Promise<T> {
  if (work !== undefined) return withReplayStores(resolve(work), use)
  const folder = mkdtempSync(join(tmpdir(), 'healthblock-audit-'))
  try {
    return await withReplayStores(folder, use)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** `./healthblock audit`. */
export async function runAudit(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {
    url: { type: 'string', multiple: true },
    genesis: { type: 'string' },
    token: { type: 'string' },
    work: { type: 'string' },
    state: { type: 'boolean' },
    disclose: { type: 'string' },
  })
  if (values.help === true) {
    io.stdout(help)
    return 0
  }
  takePositionals(positionals, [])
  if (values.disclose !== undefined) throw new UsageError('--disclose is not built yet')
  const { genesis, nodes, token, storage } = subjectOf(values)
  const urls = nodes.flatMap(({ url }) => (url === undefined ? [] : [url]))
  const client = new LedgerClient({
    urls,
    trust: genesisTrust(parseGenesis(genesis)),
    ...(token === undefined ? {} : { token: () => token }),
  })
  const report = await withWork(values.work, (open) =>
    audit({
      ...open,
      genesis,
      nodes,
      client,
      now: Date.now,
      wait: (ms) => delay(ms),
      onProgress: progressTeller(io),
      ...(storage === undefined ? {} : { storage }),
      ...(values.state === true ? { isStateCompared: true } : {}),
    }),
  )
  if (values.json === true) io.stdout(`${JSON.stringify(report)}\n`)
  else printReport(report, io)
  return report.ok ? 0 : 1
}
