import { accountingNodes } from '../cluster/ask-nodes.ts'
import { callNode, nodeAccess } from '../cluster/client.ts'
import { writeComposeFiles } from '../cluster/compose.ts'
import { createCluster } from '../cluster/create.ts'
import { readerToken } from '../cluster/enrol.ts'
import { clusterFolder, clusterPaths, readCluster } from '../cluster/layout.ts'
import { type ExitCode, type Io, UsageError } from '../io.ts'
import { parseCount, parseOptions, takePositionals, tellHelp } from '../options.ts'
import { listIncidents } from './incidents.ts'
import { runOffline } from './offline.ts'
import { runReceipt, runRenewReceipt } from './receipt.ts'
import { runApprove, runSuccessor } from './successor.ts'
import { runWitness } from './witness.ts'

const help = `Usage: ./healthblock ledger ACTION …

  init [--accounting 4] [--storage 3] [--doctors 2]   make the keys and the genesis of a new ledger; nothing is started
       [--hosts compose]                              and the files with which deploy/compose.yaml starts it
  token                                               a reader's bearer token for entries, blocks and state (24 h)
  receipt ID --out FILE [--witnessed]                 a transaction's receipt as it can be made now: witnesses sign a moment after the
                                                      quorum, so a later one may carry them; --witnessed waits for one
  receipt renew FILE [--out FILE] [--witnessed]       a receipt that you hold, made anew: with the parts and the witnesses that exist by now
  incidents [--node NAME]                             what accounting nodes found wrong in their own files and in other nodes
  acknowledge NODE N                                  acknowledge incident N of an accounting node
  witness add URL VKEY [--node NAME]                  ask this witness (C2SP tlog-witness, such as litewitness) to cosign what is published;
                                                      prints the logs that its operator has to enter. It never holds anything up
  witness list [--node NAME]                          what each witness cosigned last, and why it does not
  witness remove NAME|VKEY [--node NAME]              ask it no more (without --node: at every accounting node)
  fsck [--node NAME|FOLDER]                           check stopped nodes' whole folders offline: logs executed again, every other
                                                      file compared; of a backup too. Exit code 1 names what is wrong
  backup --node NAME --out FOLDER [--with-secrets]    back an accounting node up while it runs; its keys only if asked for
  restore --node NAME --from FOLDER                   check a backup and put it in the place of a stopped node's files, which are set aside
  successor --out FOLDER [--key ROOTKEYFILE]…         a new ledger that carries on the one of --dir, whose quorum is lost for good, from the last
       [--accounting N] [--storage 3] [--doctors 2]   heads that it attested. The same organisations, new nodes; people register again
       [--force]                                      although a quorum cosigned within the last 150 s
  approve FOLDER --key ROOTKEYFILE [--yes]            an organisation of the old ledger approves the successor; two thirds must, and then
                                                      the old ledger's survivors are told, and end it

Options: --dir DIR, --json
`

interface InitValues {
  readonly accounting?: string | undefined
  readonly storage?: string | undefined
  readonly doctors?: string | undefined
  readonly hosts?: string | undefined
}

/** Makes the keys and the genesis of a new ledger. */
async function init(
  dir: string,
  values: InitValues,
  print: (value: Record<string, unknown>, words: string) => void,
): Promise<ExitCode> {
  if (values.hosts !== undefined && values.hosts !== 'compose')
    throw new UsageError(`--hosts takes compose, not "${values.hosts}"`)
  const storage = parseCount(values.storage, 'storage', { least: 1, most: 16, preset: 3 })
  const cluster = await createCluster(
    dir,
    {
      accounting: parseCount(values.accounting, 'accounting', { least: 1, most: 16, preset: 4 }),
      storage,
      replicas: Math.min(3, storage),
      doctors: parseCount(values.doctors, 'doctors', { least: 0, most: 26, preset: 2 }),
      patients: ['patient-1'],
      periodMs: 10_000,
    },
    Date.now(),
  )
  if (values.hosts === 'compose') await writeComposeFiles(dir, cluster)
  print({ dir, ledgerId: cluster.ledgerId, genesis: clusterPaths.genesis(dir) }, `ledger ${cluster.ledgerId} in ${dir}`)
  return 0
}

/** `./healthblock ledger …`. */
export async function runLedger(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {
    accounting: { type: 'string' },
    storage: { type: 'string' },
    doctors: { type: 'string' },
    hosts: { type: 'string' },
    node: { type: 'string' },
    out: { type: 'string' },
    witnessed: { type: 'boolean' },
    from: { type: 'string' },
    'with-secrets': { type: 'boolean' },
    key: { type: 'string', multiple: true },
    force: { type: 'boolean' },
    yes: { type: 'boolean' },
  })
  const [action, ...rest] = positionals
  if (values.help === true || action === undefined) return tellHelp(help, values.help === true, io)
  const dir = clusterFolder(values.dir)
  const print = (value: Record<string, unknown>, words: string): void =>
    io.stdout(values.json === true ? `${JSON.stringify(value)}\n` : `${words}\n`)
  switch (action) {
    case 'init':
      takePositionals(rest, [])
      return init(dir, values, print)
    case 'token': {
      takePositionals(rest, [])
      const token = readerToken(dir, 'auditor', 'ledger')
      print({ token }, token)
      return 0
    }
    case 'incidents':
      takePositionals(rest, [])
      return listIncidents(dir, values, io)
    case 'acknowledge': {
      const [node, number] = takePositionals(rest, ['NODE', 'N'] as const)
      if (!/^(0|[1-9]\d{0,9})$/.test(number))
        throw new UsageError(`N is a number of "ledger incidents", not "${number}"`)
      const cluster = readCluster(dir)
      accountingNodes(cluster, node)
      await callNode(nodeAccess(dir, cluster, node), 'POST', `/v1/incidents/${number}/acknowledge`, {})
      print({ node, acknowledged: Number(number) }, `incident ${number} of ${node} is acknowledged`)
      return 0
    }
    case 'successor':
      takePositionals(rest, [])
      return runSuccessor(dir, values, io, print)
    case 'approve': {
      const [folder] = takePositionals(rest, ['FOLDER'])
      return runApprove(folder, values, io, print)
    }
    case 'receipt': {
      if (rest[0] === 'renew') {
        const [, file] = takePositionals(rest, ['renew', 'FILE'] as const)
        return runRenewReceipt(file, { ...values, dir }, print)
      }
      const [id] = takePositionals(rest, ['ID'] as const)
      return runReceipt(id, { ...values, dir }, print)
    }
    case 'witness':
      return runWitness(rest, dir, values, io)
    case 'fsck':
    case 'backup':
    case 'restore':
      takePositionals(rest, [])
      return runOffline(action, dir, values, io)
    default:
      throw new UsageError(`there is no action "${action}"`)
  }
}
