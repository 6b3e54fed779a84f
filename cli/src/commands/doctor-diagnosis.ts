/** `doctor post|sign|correct|withdraw|judge|fhir|export`: diagnoses by hand, and what the doctor says of those on record. */

import { callNode, type NodeAccess } from '../cluster/client.ts'
import { resolvePerson } from '../cluster/layout.ts'
import { readFileText } from '../input-file.ts'
import { CommandError, type ExitCode, UsageError } from '../io.ts'
import { parseTime, takePositionals } from '../options.ts'
import { print } from './actions.ts'
import { saveBundle } from './bundle-file.ts'
import { allDiagnoses, catchUp, type DoctorContext, doctorAccess, postAndPrint } from './doctor-session.ts'

/** Records that a diagnosis rests on. */
interface InputRange {
  readonly stream: string
  readonly from: number
  readonly to: number
}

function readText(file: string): string {
  const text = readFileText(file)
  if (text.trim() === '') throw new CommandError(`${file} is empty: write the finding into it`)
  return text
}

/** `STREAM:FROM-TO`; a kind of stream, such as ecg, means the newest one of that kind that this doctor has read from. */
async function parseInputs(texts: readonly string[], access: NodeAccess, patient: string): Promise<InputRange[]> {
  type Row = { stream: string; kind: string }
  let rows: Row[] | undefined
  const inputs: InputRange[] = []
  for (const text of texts) {
    const [, name, first, last] = /^([0-9a-f]{16}|[a-z]{2,15}):(\d{1,15})(?:-(\d{1,15}))?$/.exec(text) ?? []
    if (name === undefined) throw new UsageError(`--in takes STREAM:FROM-TO, not "${text}"`)
    let stream: string | undefined = name
    if (!/^[0-9a-f]{16}$/.test(name)) {
      rows ??= await callNode<Row[]>(access, 'GET', `/v1/readings?patient=${patient}`)
      stream = rows.findLast(({ kind }) => kind === name)?.stream
      if (stream === undefined)
        throw new CommandError(`this doctor has read no stream of the kind "${name}": give its id`)
    }
    inputs.push({ stream, from: Number(first), to: Number(last ?? first) })
  }
  return inputs
}

/** The whole id of one of the doctor's diagnoses; at least eight characters of it are enough where they name one. */
async function diagnosisId(given: string, access: NodeAccess): Promise<string> {
  const text = given.replace(/…$/, '')
  if (/^[0-9a-f]{64}$/.test(text)) return text
  if (!/^[0-9a-f]{8,63}$/.test(text))
    throw new UsageError(`DIAGNOSIS is an id of "doctor diagnoses", or at least its first 8 characters, not "${text}"`)
  const rows = await allDiagnoses(access)
  const found = rows.map(({ transactionId }) => transactionId).filter((id) => id.startsWith(text))
  const [id] = found
  if (id === undefined || found.length > 1)
    throw new CommandError(
      `${found.length === 0 ? 'no diagnosis begins' : `${found.length} diagnoses begin`} with ${text}`,
    )
  return id
}

/** Posts a diagnosis by hand. */
export async function post(context: DoctorContext, positionals: string[]): Promise<ExitCode> {
  const [doctor, patientName] = takePositionals(positionals, ['DOCTOR', 'PATIENT'] as const)
  const { options } = context
  if (options.in === undefined) throw new UsageError('post needs --in STREAM:FROM-TO')
  if (options.text === undefined) throw new UsageError('post needs --text FILE')
  const text = readText(options.text)
  const patient = resolvePerson(context.cluster.patients, patientName, 'patient').account
  const access = doctorAccess(context, doctor)
  const inputs = await parseInputs(options.in, access, patient)
  return postAndPrint(context, access, { path: '/v1/diagnoses', body: { patient, in: inputs, text }, done: 'posted' })
}

/** Signs, corrects or withdraws a diagnosis on record. */
export function amending(act: 'sign' | 'correct' | 'withdraw', done: string) {
  return async (context: DoctorContext, positionals: string[]): Promise<ExitCode> => {
    const [doctor, name] = takePositionals(positionals, ['DOCTOR', 'DIAGNOSIS'] as const)
    const { text: file } = context.options
    if (act !== 'sign' && file === undefined) throw new UsageError(`${act} needs --text FILE: why`)
    const text = file === undefined ? '' : readText(file)
    const access = doctorAccess(context, doctor)
    const id = await diagnosisId(name, access)
    return postAndPrint(context, access, { path: `/v1/diagnoses/${id}/amend`, body: { act, text }, done })
  }
}

/** Has the machine judge what arrived since it last judged, without waiting for its period. */
export async function judge(context: DoctorContext, positionals: string[]): Promise<ExitCode> {
  const [doctor, patientName] = takePositionals(positionals, ['DOCTOR', 'PATIENT'] as const)
  const patient = resolvePerson(context.cluster.patients, patientName, 'patient').account
  const answer = await callNode(doctorAccess(context, doctor), 'POST', '/v1/diagnoses/request', { patient })
  return print(context, answer, () => `asked: see "doctor diagnoses ${doctor}"\n`)
}

/** A diagnosis as a FHIR R4 bundle; it is JSON with and without `--json`. */
export async function fhir(context: DoctorContext, positionals: string[]): Promise<ExitCode> {
  const [doctor, name] = takePositionals(positionals, ['DOCTOR', 'DIAGNOSIS'] as const)
  const access = doctorAccess(context, doctor)
  const bundle = await callNode(access, 'GET', `/v1/diagnoses/${await diagnosisId(name, access)}/fhir`)
  return print(context, bundle, () => `${JSON.stringify(bundle, null, 2)}\n`)
}

/** Writes a period of a patient as a FHIR R4 Bundle; the file is there whole, or not at all. */
export async function exportPeriod(context: DoctorContext, positionals: string[]): Promise<ExitCode> {
  const [doctor, patientName] = takePositionals(positionals, ['DOCTOR', 'PATIENT'] as const)
  const { out, from, until } = context.options
  if (out === undefined) throw new UsageError('export needs --out FILE')
  const patient = resolvePerson(context.cluster.patients, patientName, 'patient').account
  const query = new URLSearchParams()
  const [fromMs, toMs] = [parseTime(from, 'from'), parseTime(until, 'until')]
  if (fromMs !== undefined) query.set('from', String(fromMs))
  if (toMs !== undefined) query.set('to', String(toMs))
  const access = doctorAccess(context, doctor)
  await catchUp(access)
  const saved = await saveBundle(access, `/v1/patients/${patient}/fhir?${query}`, out)
  return print(context, saved, () => `${saved.file}, ${saved.resources} resources\n`)
}
