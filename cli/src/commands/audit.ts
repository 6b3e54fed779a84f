import { setTimeout as delay } from 'node:timers/promises'
import { type AuditProgress, type AuditRequest, audit, followAudit, type PriorNodes } from '@healthblock/audit/audit'
import type { AuditReport, Finding } from '@healthblock/audit/report'
import { parseGenesis } from '@healthblock/chain/genesis'
import { type Disclosure, parseDisclosure } from '@healthblock/crypto/disclosure'
import { CryptoError } from '@healthblock/crypto/errors'
import { equalBytes, fromBase64 } from '@healthblock/encoding/bytes'
import { decodeCborAt, encodeCbor } from '@healthblock/encoding/cbor'
import { isRuntimeError } from '@healthblock/runtime/errors'
import type { KeptStatement } from '@healthblock/runtime/statement-routes'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import { auditWitnesses, witnessHelp } from '../audit-witnesses.ts'
import { findingsText, findingText, guideText, lookTeller, progressTeller, withWork } from '../audit-work.ts'
import { callNode, nodeAccess } from '../cluster/client.ts'
import { clusterFolder, clusterPaths, readCluster } from '../cluster/layout.ts'
import { readProcess } from '../cluster/processes.ts'
import { readFileBytes } from '../input-file.ts'
import { CommandError, type ExitCode, type Io, UsageError } from '../io.ts'
import { ledgerSubject, type SubjectValues, storageProbe, subjectHelp, subjectOptions } from '../ledger-subject.ts'
import { parseOptions, takePositionals } from '../options.ts'

const help = `Usage: ./healthblock audit [--dir DIR | --url URL… --genesis FILE] [--follow] [--disclose KEYFILE]

Replays both ledgers from nothing but the genesis file, compares what every node serves, and reports every finding.

${subjectHelp}  --work DIR      keep the replayed state here: an audit that was interrupted, or a later one, goes on from there
  --disclose FILE keys that a patient disclosed (patient disclose): her diagnoses of that window are judged again, byte for byte
${witnessHelp}  --state         also compare records of the replayed state with what every node proves
  --promises FILE promises and refusals of gateways that a client kept (a CBOR sequence): broken and false ones are findings (with --dir:
                  those that the cluster's user and doctor nodes hold, too)
  --fetches FILE  who fetched a patient's blocks, as storage nodes signed it for her (patient fetches --out FILE): reads without a grant
  --prior DIR     of a successor: the folder of the ledger that it carries on, whose surviving nodes are asked as well (with --dir: known);
                  or --prior-url URL… and --prior-genesis FILE
  --follow        go on for ever: each new finding is told when it appears (with --json one object a line); stops on a signal
  --json          print the report as JSON

Exit code 0 without findings, 1 with findings (of a watch: at any time), and what each kind means. What was not checked is listed.
`

function printReport(report: AuditReport, io: Io): void {
  for (const [chain, { height, size, root, stateRoot }] of Object.entries(report.chains)) {
    io.stdout(`${chain.padEnd(10)} height ${height}  entries ${size}  root ${root}  state ${stateRoot}\n`)
  }
  io.stdout(`replayed   ${report.transactions} transactions in ${report.seconds} s\n`)
  for (const words of report.notChecked) io.stdout(`not checked: ${words}\n`)
  for (const finding of report.findings) io.stdout(findingText(finding))
  io.stdout(guideText(report.findings))
  io.stdout(`${findingsText(report.findings.length)}\n`)
}

/** The items of a CBOR sequence, each in its bytes. */
function readSequence(path: string): Uint8Array[] {
  const bytes = readFileBytes(path)
  const items: Uint8Array[] = []
  try {
    for (let offset = 0; offset < bytes.length; ) {
      const { value, end } = decodeCborAt(bytes, offset)
      items.push(encodeCbor(value))
      offset = end
    }
  } catch (cause) {
    throw new CommandError(`${path} is not a CBOR sequence: ${(cause as Error).message}`, undefined, { cause })
  }
  return items
}

/** What the user and doctor nodes of a local cluster that run hold against gateways. */
async function heldStatements(dir: string): Promise<Uint8Array[]> {
  const cluster = readCluster(dir)
  const held: Uint8Array[] = []
  for (const { name, role } of cluster.nodes) {
    if (role !== 'user' && role !== 'doctor') continue
    if (readProcess(clusterPaths.node(dir, name)).url === undefined) continue
    try {
      const list = await callNode<KeptStatement[]>(nodeAccess(dir, cluster, name), 'GET', '/v1/statements')
      held.push(...list.map(({ statement }) => fromBase64(statement)))
    } catch (error) {
      // One that is just going down holds what it holds until the next audit.
      if (!(error instanceof CommandError)) throw error
    }
  }
  return held
}

/** What a key file discloses, and where its sealed blocks come from. */
function disclosedBy(path: string, genesis: Uint8Array, storage: StorageClient | undefined) {
  if (storage === undefined) throw new UsageError('--disclose needs storage nodes: --storage URL --storage-token TOKEN')
  let disclosure: Disclosure
  try {
    disclosure = parseDisclosure(readFileBytes(path))
  } catch (cause) {
    if (!(cause instanceof CryptoError)) throw cause
    throw new CommandError(`${path} is not a key file of a disclosure`, undefined, { cause })
  }
  if (!equalBytes(disclosure.ledgerId, parseGenesis(genesis).ledgerId))
    throw new CommandError(`${path} discloses keys of another ledger`)
  const get = async (digest: Uint8Array): Promise<Uint8Array | undefined> => {
    try {
      return await storage.get(digest)
    } catch (error) {
      if (isRuntimeError(error, 'ERR_BLOCK_NOT_FOUND')) return undefined
      throw error
    }
  }
  return { disclosure, blocks: { get } }
}

/** Watches until a signal: tells each finding when it appears. True if there was none at any time. */
async function follow(request: AuditRequest, isJson: boolean, io: Io): Promise<boolean> {
  const stop = new AbortController()
  const end = (): void => stop.abort()
  process.on('SIGINT', end)
  process.on('SIGTERM', end)
  const codes = new Set<string>()
  const onFinding = (finding: Finding): void => {
    const guide = codes.has(finding.code) ? '' : guideText([finding])
    codes.add(finding.code)
    io.stdout(isJson ? `${JSON.stringify(finding)}\n` : `${findingText(finding)}${guide}`)
  }
  const wait = (ms: number): Promise<void> => delay(ms, undefined, { signal: stop.signal }).catch(() => undefined)
  const tell = lookTeller(io, Date.now)
  let looks = 0
  const onLook = (report: AuditReport): void => {
    looks++
    tell(report)
  }
  // Of what is added nobody needs to be told how far it is.
  const onProgress = (progress: AuditProgress): void => {
    if (looks === 0) request.onProgress?.(progress)
  }
  try {
    await followAudit({ ...request, wait, onFinding, onProgress }, { signal: stop.signal, onLook })
    return codes.size === 0
  } finally {
    process.off('SIGINT', end)
    process.off('SIGTERM', end)
  }
}

/** Nodes of the ledger that the audited one carries on, as far as they are named. */
function priorNodes(values: SubjectValues & PriorValues, bytes: Uint8Array): PriorNodes | undefined {
  const [expected] = parseGenesis(bytes).body.prior ?? []
  if (expected === undefined) return undefined
  const { prior, 'prior-url': url, 'prior-genesis': genesis } = values
  const known = values.url === undefined ? readCluster(clusterFolder(values.dir)).prior : undefined
  const dir = prior ?? known
  if (dir === undefined && url === undefined) return undefined
  const subject = ledgerSubject(url === undefined ? { dir } : { ...values, url, genesis, dir: undefined })
  if (!equalBytes(parseGenesis(subject.genesis).ledgerId, expected))
    throw new CommandError('what --prior names is not the ledger that this one carries on')
  return { nodes: subject.nodes, client: subject.client }
}

/** Options that name the ledger before. */
interface PriorValues {
  readonly prior?: string | undefined
  readonly 'prior-url'?: string[] | undefined
  readonly 'prior-genesis'?: string | undefined
}

/** `./healthblock audit`. */
export async function runAudit(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {
    ...subjectOptions,
    work: { type: 'string' },
    state: { type: 'boolean' },
    witness: { type: 'string', multiple: true },
    promises: { type: 'string' },
    fetches: { type: 'string' },
    follow: { type: 'boolean' },
    disclose: { type: 'string' },
    prior: { type: 'string' },
    'prior-url': { type: 'string', multiple: true },
    'prior-genesis': { type: 'string' },
  })
  if (values.help === true) {
    io.stdout(help)
    return 0
  }
  takePositionals(positionals, [])
  const { genesis, nodesNow, client, storage } = ledgerSubject(values)
  const probe = storageProbe(storage)
  const witnesses = await auditWitnesses(values)
  const disclosed = values.disclose === undefined ? undefined : disclosedBy(values.disclose, genesis, storage)
  const prior = priorNodes(values, genesis)
  const given = values.promises === undefined ? [] : readSequence(values.promises)
  // Asked again at each look: what a sender is left with while somebody watches counts, too.
  const promises = async (): Promise<Uint8Array[]> =>
    values.url === undefined ? [...given, ...(await heldStatements(clusterFolder(values.dir)))] : given
  return withWork(values.work, async (open) => {
    const request: AuditRequest = {
      ...open,
      genesis,
      nodes: nodesNow,
      client,
      now: Date.now,
      wait: (ms) => delay(ms),
      onProgress: progressTeller(io),
      onResume: ({ chain, height, size }) =>
        io.stderr(
          `${chain}: goes on from entry ${size}, after height ${height}; an earlier audit executed what lies before\n`,
        ),
      promises,
      ...(values.fetches === undefined ? {} : { fetches: readSequence(values.fetches) }),
      witnesses: values.follow === true ? () => auditWitnesses(values) : witnesses,
      ...(prior === undefined ? {} : { prior }),
      ...(probe === undefined ? {} : { storage: probe }),
      ...(disclosed === undefined ? {} : { disclosed }),
      ...(values.state === true ? { isStateCompared: true } : {}),
    }
    const isJson = values.json === true
    if (values.follow === true) return (await follow(request, isJson, io)) ? 0 : 1
    const report = await audit(request)
    if (isJson) io.stdout(`${JSON.stringify(report)}\n`)
    else printReport(report, io)
    return report.ok ? 0 : 1
  })
}
