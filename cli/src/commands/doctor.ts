import { readFile } from 'node:fs/promises'
import { callNode, type NodeAccess, NodeError, nodeAccess } from '../cluster/client.ts'
import { type ClusterFile, clusterFolder, readCluster, resolvePerson } from '../cluster/layout.ts'
import { CommandError, type ExitCode, type Io, UsageError } from '../io.ts'
import { parseOptions, takePositionals } from '../options.ts'
import { formatTable, shortId } from '../table.ts'

const help = `Usage: ./healthblock doctor ACTION …

  list                                              the doctors of this cluster
  readings DOCTOR PATIENT                           what this doctor's keys open
  diagnoses DOCTOR                                  what this doctor's node found
  post DOCTOR PATIENT --in STREAM:FROM-TO --text F  a diagnosis by hand (several --in are allowed)
  limits DOCTOR PATIENT [--set NAME=NUMBER]         by what the machine judges this patient (several --set are allowed;
                                                    NAME=default takes a limit back; temperatures in tenths of °C)

STREAM is 16 hexadecimal characters, as "doctor readings" prints it. Options: --dir DIR, --json
A refusal ends with exit code 1 and, with --json, {"refused":{"rule","height","stateRoot","signature"}}.
`

interface Context {
  readonly dir: string
  readonly cluster: ClusterFile
  readonly io: Io
  readonly json: boolean
  readonly inputs: readonly string[]
  readonly textFile: string | undefined
  readonly changes: readonly string[]
}

function doctorAccess(context: Context, name: string): NodeAccess {
  const doctor = resolvePerson(context.cluster.doctors, name, 'doctor')
  if (doctor.node === '') throw new CommandError(`${name} has no node in this cluster`)
  return nodeAccess(context.dir, context.cluster, doctor.node)
}

function print(context: Context, value: unknown, words: () => string): ExitCode {
  context.io.stdout(context.json ? `${JSON.stringify(value)}\n` : words())
  return 0
}

async function catchUp(access: NodeAccess): Promise<void> {
  await callNode(access, 'POST', '/v1/catch-up', { timeoutMs: 55_000 }, 60_000)
}

async function list(context: Context, positionals: string[]): Promise<ExitCode> {
  takePositionals(positionals, [])
  const doctors = []
  for (const { name, node } of context.cluster.doctors) {
    const identity = await callNode<Record<string, unknown>>(
      nodeAccess(context.dir, context.cluster, node),
      'GET',
      '/v1/identity',
    )
    doctors.push({ ...identity, name })
  }
  const rows = doctors as Record<string, string>[]
  return print(context, doctors, () =>
    formatTable([
      ['name', 'account', 'state'],
      ...rows.map((row) => [row.name ?? '', shortId(row.account ?? ''), row.state ?? '']),
    ]),
  )
}

async function readings(context: Context, positionals: string[]): Promise<ExitCode> {
  const [doctor, patientName] = takePositionals(positionals, ['DOCTOR', 'PATIENT'] as const)
  const patient = resolvePerson(context.cluster.patients, patientName, 'patient').account
  const access = doctorAccess(context, doctor)
  await catchUp(access)
  const rows = await callNode<Record<string, unknown>[]>(access, 'GET', `/v1/readings?patient=${patient}`)
  const columns = ['stream', 'kind', 'sequence', 'from', 'to', 'transactionId']
  return print(context, rows, () =>
    formatTable([columns, ...rows.map((row) => columns.map((c) => shortId(String(row[c] ?? ''))))]),
  )
}

async function diagnoses(context: Context, positionals: string[]): Promise<ExitCode> {
  const [doctor] = takePositionals(positionals, ['DOCTOR'] as const)
  const access = doctorAccess(context, doctor)
  await catchUp(access)
  const rows = await callNode<Record<string, unknown>[]>(access, 'GET', '/v1/diagnoses')
  const findings = (row: Record<string, unknown>): string =>
    (row.findings as { sentence?: string; code?: string }[]).map((f) => f.sentence ?? f.code ?? '').join(' ')
  return print(context, rows, () =>
    formatTable([
      ['at', 'patient', 'status', 'findings'],
      ...rows.map((row) => [String(row.at), shortId(String(row.patient)), String(row.status), findings(row)]),
    ]),
  )
}

function parseInput(text: string): { stream: string; from: number; to: number } {
  const match = /^([0-9a-f]{16}):(\d+)(?:-(\d+))?$/.exec(text)
  if (match === null) throw new UsageError(`--in takes STREAM:FROM-TO, not "${text}"`)
  const from = Number(match[2])
  return { stream: match[1] as string, from, to: match[3] === undefined ? from : Number(match[3]) }
}

async function post(context: Context, positionals: string[]): Promise<ExitCode> {
  const [doctor, patientName] = takePositionals(positionals, ['DOCTOR', 'PATIENT'] as const)
  if (context.inputs.length === 0) throw new UsageError('post needs --in STREAM:FROM-TO')
  if (context.textFile === undefined) throw new UsageError('post needs --text FILE')
  const text = await readFile(context.textFile, 'utf8').catch((cause: unknown) => {
    throw new CommandError(`${context.textFile} cannot be read`, undefined, { cause })
  })
  if (text.trim() === '') throw new CommandError(`${context.textFile} is empty: write the finding into it`)
  const patient = resolvePerson(context.cluster.patients, patientName, 'patient').account
  const access = doctorAccess(context, doctor)
  try {
    const posted = await callNode<{ transactionId: string; receipt: string }>(access, 'POST', '/v1/diagnoses', {
      patient,
      in: context.inputs.map(parseInput),
      text,
    })
    return print(context, posted, () => `posted: ${posted.transactionId}\nreceipt: ${posted.receipt}\n`)
  } catch (error) {
    if (error instanceof NodeError && error.body.refused !== undefined) {
      const refused = error.body.refused as Record<string, unknown>
      throw new CommandError(`refused by rule ${refused.rule} at height ${refused.height}`, { refused })
    }
    throw error
  }
}

/** `glucoseLow=80`, `glucoseLow=default`. */
function parseChange(text: string): [string, number | null] {
  const match = /^([A-Za-z0-9]{1,32})=(default|-?\d{1,9})$/.exec(text)
  if (match === null) throw new UsageError(`--set takes NAME=NUMBER or NAME=default, not "${text}"`)
  return [match[1] as string, match[2] === 'default' ? null : Number(match[2])]
}

async function limits(context: Context, positionals: string[]): Promise<ExitCode> {
  const [doctor, patientName] = takePositionals(positionals, ['DOCTOR', 'PATIENT'] as const)
  const changes = context.changes.map(parseChange)
  const patient = resolvePerson(context.cluster.patients, patientName, 'patient').account
  const access = doctorAccess(context, doctor)
  const path = `/v1/patients/${patient}/limits`
  type Answer = { limits: Record<string, number>; defaults: Record<string, number> }
  const answer =
    changes.length === 0
      ? await callNode<Answer>(access, 'GET', path)
      : await callNode<Answer>(access, 'PUT', path, Object.fromEntries(changes))
  const rows = Object.entries(answer.limits).map(([name, value]) => [name, `${value}`, `${answer.defaults[name]}`])
  return print(context, answer, () => formatTable([['limit', 'value', 'default'], ...rows]))
}

const actions: Record<string, (context: Context, positionals: string[]) => Promise<ExitCode>> = {
  list,
  readings,
  diagnoses,
  post,
  limits,
}

/** `./healthblock doctor …`. */
export async function runDoctor(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {
    in: { type: 'string', multiple: true },
    text: { type: 'string' },
    set: { type: 'string', multiple: true },
  })
  const [action, ...rest] = positionals
  if (values.help === true || action === undefined) {
    io.stdout(help)
    return values.help === true ? 0 : 2
  }
  const run = Object.hasOwn(actions, action) ? actions[action] : undefined
  if (run === undefined) throw new UsageError(`there is no action "${action}"`)
  const dir = clusterFolder(values.dir)
  const context: Context = {
    dir,
    cluster: readCluster(dir),
    io,
    json: values.json === true,
    inputs: values.in ?? [],
    textFile: values.text,
    changes: values.set ?? [],
  }
  return run(context, rest)
}
