import { callNode, nodeAccess } from '../cluster/client.ts'
import { resolvePerson } from '../cluster/layout.ts'
import { type ExitCode, type Io, UsageError } from '../io.ts'
import { takePositionals } from '../options.ts'
import { formatTable, shortId } from '../table.ts'
import { print, runAction } from './actions.ts'
import { alarms, answering, quarantine, unread } from './doctor-alarms.ts'
import { amending, exportPeriod, fhir, judge, post } from './doctor-diagnosis.ts'
import { allDiagnoses, catchUp, type DoctorContext, doctorAccess } from './doctor-session.ts'

const help = `Usage: ./healthblock doctor ACTION …

  list                                              the doctors of this cluster
  readings DOCTOR PATIENT                           what this doctor's keys open
  unread DOCTOR [PATIENT]                           records that could not be read, and why
  quarantine DOCTOR [PATIENT]                       keys that patients sent and that do not open
  diagnoses DOCTOR                                  what this doctor's node found
  judge DOCTOR PATIENT                              have the machine judge now what arrived since it last did
  post DOCTOR PATIENT --in STREAM:FROM-TO --text F  a diagnosis by hand (several --in are allowed)
  sign DOCTOR DIAGNOSIS                             what was preliminary is the doctor's own word
  correct DOCTOR DIAGNOSIS --text F                 puts this text in its place; both stay on record
  withdraw DOCTOR DIAGNOSIS --text F                takes it back, and says why
  fhir DOCTOR DIAGNOSIS                             a diagnosis as a FHIR R4 bundle
  export DOCTOR PATIENT --out FILE                  what this doctor has of a patient as FHIR R4: [--from ISO] [--until ISO]
  alarms DOCTOR [--open]                            the worklist; --open: what lasts or nobody has acknowledged
  acknowledge|escalate|reopen DOCTOR ALARM          somebody takes care of it; more help is needed; takes either back
  snooze DOCTOR ALARM [--minutes 15]                puts it off (a critical one for 15 minutes at most)
  limits DOCTOR PATIENT [--set NAME=NUMBER]         by what the machine judges this patient (several --set are allowed;
                                                    NAME=default takes a limit back; temperatures in tenths of °C)

STREAM is 16 hexadecimal characters, as "doctor readings" prints it, or a kind such as ecg: the newest stream of it that was read.
DIAGNOSIS is an id, or its first characters. Options: --dir DIR, --json
A refusal ends with exit code 1 and, with --json, {"refused":{"rule","height","stateRoot","signature"},"transactionId","statement"}:
the statement (base64 of CBOR, packages/chain/SPEC.md section 1, "refused") is what the accounting node signed.
`

async function list(context: DoctorContext, positionals: string[]): Promise<ExitCode> {
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

async function readings(context: DoctorContext, positionals: string[]): Promise<ExitCode> {
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

async function diagnoses(context: DoctorContext, positionals: string[]): Promise<ExitCode> {
  const [doctor] = takePositionals(positionals, ['DOCTOR'] as const)
  const access = doctorAccess(context, doctor)
  await catchUp(access)
  const rows = await allDiagnoses<{ transactionId: string } & Record<string, unknown>>(access)
  const findings = (row: Record<string, unknown>): string =>
    (row.findings as { sentence?: string; code?: string }[]).map((f) => f.sentence ?? f.code ?? '').join(' ') ||
    String(row.text ?? '').trim() ||
    'nothing to report'
  return print(context, rows, () =>
    formatTable([
      ['diagnosis', 'at', 'patient', 'status', 'findings'],
      ...rows.map((row) => [
        ...[shortId(String(row.transactionId)), String(row.at), shortId(String(row.patient)), String(row.status)],
        findings(row),
      ]),
    ]),
  )
}

/** `glucoseLow=80`, `glucoseLow=default`. */
function parseChange(text: string): [string, number | null] {
  const match = /^([A-Za-z0-9]{1,32})=(default|-?\d{1,9})$/.exec(text)
  if (match === null) throw new UsageError(`--set takes NAME=NUMBER or NAME=default, not "${text}"`)
  return [match[1] as string, match[2] === 'default' ? null : Number(match[2])]
}

async function limits(context: DoctorContext, positionals: string[]): Promise<ExitCode> {
  const [doctor, patientName] = takePositionals(positionals, ['DOCTOR', 'PATIENT'] as const)
  const changes = (context.options.set ?? []).map(parseChange)
  const patient = resolvePerson(context.cluster.patients, patientName, 'patient').account
  const access = doctorAccess(context, doctor)
  const path = `/v1/patients/${patient}/limits`
  type Answer = { limits: Record<string, number>; defaults: Record<string, number> }
  let answer = await callNode<Answer>(access, 'GET', path)
  const known = Object.keys(answer.defaults)
  const unknown = changes.map(([name]) => name).find((name) => !known.includes(name))
  if (unknown !== undefined) throw new UsageError(`there is no limit "${unknown}" (${known.join(', ')})`)
  if (changes.length > 0) answer = await callNode<Answer>(access, 'PUT', path, Object.fromEntries(changes))
  const rows = Object.entries(answer.limits).map(([name, value]) => [name, `${value}`, `${answer.defaults[name]}`])
  return print(context, answer, () => formatTable([['limit', 'value', 'default'], ...rows]))
}

const actions: Record<string, (context: DoctorContext, positionals: string[]) => Promise<ExitCode>> = {
  list,
  readings,
  diagnoses,
  unread,
  quarantine,
  post,
  sign: amending('sign', 'signed'),
  correct: amending('correct', 'corrected'),
  withdraw: amending('withdraw', 'withdrawn'),
  judge,
  fhir,
  export: exportPeriod,
  alarms,
  acknowledge: answering('acknowledge'),
  escalate: answering('escalate'),
  snooze: answering('snooze'),
  reopen: answering('reopen'),
  limits,
}

const options = {
  in: { type: 'string', multiple: true },
  text: { type: 'string' },
  set: { type: 'string', multiple: true },
  open: { type: 'boolean' },
  minutes: { type: 'string' },
  out: { type: 'string' },
  from: { type: 'string' },
  until: { type: 'string' },
} as const

/** `./healthblock doctor …`. */
export async function runDoctor(args: string[], io: Io): Promise<ExitCode> {
  return runAction(args, io, { help, options, actions })
}
