/** `doctor alarms|acknowledge|escalate|snooze|reopen|unread|quarantine`: the worklist, and what could not be read. */
import { callNode } from '../cluster/client.ts'
import { resolvePerson } from '../cluster/layout.ts'
import { type ExitCode, UsageError } from '../io.ts'
import { parseCount, takePositionals } from '../options.ts'
import { formatTable, shortId } from '../table.ts'
import { print } from './actions.ts'
import { type DoctorContext, doctorAccess } from './doctor-session.ts'

interface Alarm {
  readonly id: number
  readonly patient: string
  readonly code: string
  readonly severity: string
  readonly from: string
  readonly endedAt: string | null
  readonly acknowledgedAt: string | null
  readonly acknowledgedBy: string | null
  readonly escalatedAt: string | null
  readonly snoozedUntil: string | null
}

function standing({ acknowledgedAt, acknowledgedBy, escalatedAt, snoozedUntil, endedAt }: Alarm): string {
  if (acknowledgedAt !== null) return `acknowledged by ${acknowledgedBy} ${acknowledgedAt}`
  if (snoozedUntil !== null && Date.parse(snoozedUntil) > Date.now()) return `asleep until ${snoozedUntil}`
  const state = endedAt === null ? 'lasts' : `ended ${endedAt}`
  return escalatedAt === null ? state : `${state}, escalated ${escalatedAt}`
}

function nameOf(context: DoctorContext, account: string): string {
  return context.cluster.patients.find((patient) => patient.account === account)?.name ?? shortId(account)
}

/** The worklist, oldest first. */
export async function alarms(context: DoctorContext, positionals: string[]): Promise<ExitCode> {
  const [doctor] = takePositionals(positionals, ['DOCTOR'] as const)
  const path = `/v1/alarms${context.options.open === true ? '?open=true' : ''}`
  const rows = (await callNode<Alarm[]>(doctorAccess(context, doctor), 'GET', path)).toReversed()
  return print(context, rows, () =>
    formatTable([
      ['alarm', 'patient', 'severity', 'code', 'from', 'standing'],
      ...rows.map((row) => [
        ...[String(row.id), nameOf(context, row.patient), row.severity, row.code, row.from, standing(row)],
      ]),
    ]),
  )
}

function alarmNumber(text: string): number {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new UsageError(`ALARM is a number of "doctor alarms", not "${text}"`)
  return Number(text)
}

/** What a doctor does about an alarm: each is noted with who and when, and can be taken back with `reopen`. */
export function answering(act: 'acknowledge' | 'escalate' | 'snooze' | 'reopen') {
  return async (context: DoctorContext, positionals: string[]): Promise<ExitCode> => {
    const [doctor, number] = takePositionals(positionals, ['DOCTOR', 'ALARM'] as const)
    const path = `/v1/alarms/${alarmNumber(number)}/${act}`
    const minutes = parseCount(context.options.minutes, 'minutes', { least: 1, most: 240, preset: 15 })
    const body = act === 'snooze' ? { minutes } : {}
    const alarm = await callNode<Alarm>(doctorAccess(context, doctor), 'POST', path, body)
    return print(context, alarm, () => `alarm ${number}: ${standing(alarm)}\n`)
  }
}

/** Prints rows that a node answered, as a table of these columns. */
function printRows(context: DoctorContext, rows: Record<string, unknown>[], columns: string[], none: string): ExitCode {
  const cell = (value: unknown): string => shortId(String(value ?? ''))
  return print(context, rows, () =>
    rows.length === 0 ? `${none}\n` : formatTable([columns, ...rows.map((row) => columns.map((c) => cell(row[c])))]),
  )
}

/** Asks a doctor's node for a list about one patient, or all. */
async function listAbout(
  context: DoctorContext,
  positionals: string[],
  path: string,
): Promise<Record<string, unknown>[]> {
  const [doctor, patientName, ...more] = positionals
  if (doctor === undefined || more.length > 0) throw new UsageError('needs DOCTOR [PATIENT]')
  const { patients } = context.cluster
  const query = patientName === undefined ? '' : `?patient=${resolvePerson(patients, patientName, 'patient').account}`
  return callNode<Record<string, unknown>[]>(doctorAccess(context, doctor), 'GET', `${path}${query}`)
}

/** Records that are on the ledger and could not be read, with the reason. */
export async function unread(context: DoctorContext, positionals: string[]): Promise<ExitCode> {
  const rows = await listAbout(context, positionals, '/v1/unread')
  const columns = ['patient', 'stream', 'from', 'to', 'state', 'reason', 'firstAt', 'lastAt']
  return printRows(context, rows, columns, 'every record on the ledger was read')
}

/** Keys that patients sent and that do not open, oldest first. */
export async function quarantine(context: DoctorContext, positionals: string[]): Promise<ExitCode> {
  const rows = await listAbout(context, positionals, '/v1/quarantine')
  return printRows(context, rows.toReversed(), ['at', 'what', 'reference', 'reason'], 'nothing is in quarantine')
}
