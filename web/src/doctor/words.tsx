/** Names of patients, findings, severities, rhythms: what the node says in codes, in words. */
import type { JSX } from 'preact'
import english from '../../texts/en.json' with { type: 'json' }
import { type TextKey, t } from '../frame/texts.ts'
import type { Alarm, PatientSummary, Severity } from './model.ts'

/** Words of a code under a prefix; a code that is not known is shown as it is. */
function named(prefix: string, code: string): string {
  const key = `${prefix}.${code}`
  return Object.hasOwn(english, key) ? t(key as TextKey) : code
}

/** A finding's name. */
export const findingName = (code: string): string => named('doctor.code', code)

/** A rhythm's name; N, AFIB and others are those of WFDB. */
export const rhythmName = (rhythm: string): string => named('doctor.rhythm', rhythm)

/** A status of a diagnosis. */
export const statusName = (status: string): string => named('doctor.status', status)

/** A kind of stream. */
export const kindName = (kind: string): string => named('doctor.kind', kind)

/** Why something cannot be read. */
export const reasonName = (reason: string): string => named('doctor.reason', reason)

/** The code by which a patient without a name is told from others. */
export function shortCode(patient: string): string {
  return `${patient.slice(0, 4)} ${patient.slice(4, 8)}`.toUpperCase()
}

/** A patient by the doctor's own name for her, else by her code. `bdi`: a name of any script disturbs nothing around it. */
export function PatientName(props: { patient: string; petname: string | undefined }): JSX.Element {
  const { patient, petname } = props
  if (petname === undefined) return <span class="patient">{t('doctor.patient', { code: shortCode(patient) })}</span>
  return <bdi class="patient">{petname}</bdi>
}

/** The same for an attribute or a title. */
export function patientText(patient: string, petname: string | undefined): string {
  return petname ?? t('doctor.patient', { code: shortCode(patient) })
}

/** What an alarm is about: a finding's name; of which stream, where it is one of several that can be silent. */
export function alarmName({ code, stream }: Alarm, kinds: ReadonlyMap<string, string>): string {
  const kind = stream === null ? undefined : kinds.get(stream)
  return kind === undefined ? findingName(code) : `${findingName(code)}: ${kindName(kind)}`
}

/** Kinds of the patients' streams, by stream. */
export function kindsOf(patients: readonly PatientSummary[]): ReadonlyMap<string, string> {
  return new Map(patients.flatMap(({ streams }) => streams.map(({ stream, kind }) => [stream, kind] as const)))
}

/** Petnames by account. */
export function petnamesOf(patients: readonly PatientSummary[] | undefined): ReadonlyMap<string, string> {
  const names = (patients ?? []).flatMap(({ patient, petname }) =>
    petname === undefined ? [] : [[patient, petname] as const],
  )
  return new Map(names)
}

const marks: Readonly<Record<Severity, string>> = { info: '·', low: '○', medium: '◆', high: '▲', critical: '⬣' }

/** A severity as a word with a shape: colour is never the only sign. */
export function SeverityTag(props: { severity: Severity }): JSX.Element {
  const { severity } = props
  return (
    <span class={`severity ${severity}`}>
      <span aria-hidden="true">{marks[severity] ?? '·'}</span> {named('doctor.severity', severity)}
    </span>
  )
}

/** What every reader of a preliminary finding is told. */
export function NotADevice(): JSX.Element {
  return <p class="soft disclaimer">{t('doctor.disclaimer')}</p>
}
