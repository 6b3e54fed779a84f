/** Everybody who gave this doctor access, now or before. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { call } from '../frame/api.ts'
import { ConfirmDialog } from '../frame/dialog.tsx'
import { Shown } from '../frame/notice.tsx'
import { useNow } from '../frame/now.ts'
import type { Resource } from '../frame/resource.ts'
import { hrefOf } from '../frame/router.ts'
import { Table, type TableRow } from '../frame/table.tsx'
import { t } from '../frame/texts.ts'
import { formatAgo } from '../frame/time.ts'
import type { PatientSummary } from './model.ts'
import { kindName, PatientName, patientText, shortCode } from './words.tsx'

/** Unix ms of a patient's newest reading. */
export function newestOf(patient: PatientSummary): number | undefined {
  const times = patient.streams.flatMap(({ lastAt }) => (lastAt === undefined ? [] : [Date.parse(lastAt)]))
  return times.length === 0 ? undefined : Math.max(...times)
}

/** Gives a patient a name of one's own. */
export function PetnameDialog(props: {
  patient: string
  petname: string | undefined
  onDone: () => void
  onClose: () => void
}): JSX.Element {
  const [name, setName] = useState(props.petname ?? '')
  return (
    <ConfirmDialog
      title={t('doctor.petname.title')}
      action={t('doctor.petname.save')}
      onClose={props.onClose}
      onConfirm={async () => {
        await call(`/v1/patients/${props.patient}/petname`, { method: 'PUT', body: { petname: name } })
        props.onDone()
      }}
    >
      <p>{t('doctor.petname.body', { code: shortCode(props.patient) })}</p>
      <label>
        {t('doctor.petname.label')}
        <input
          value={name}
          maxLength={64}
          dir="auto"
          onInput={(event) => setName((event.currentTarget as HTMLInputElement).value)}
        />
      </label>
    </ConfirmDialog>
  )
}

/** When the newest reading was measured; who has ended her access shows nothing of it. */
function newestWords(patient: PatientSummary, nowMs: number): string {
  const newestMs = newestOf(patient)
  if (newestMs !== undefined) return formatAgo(newestMs, nowMs)
  return patient.state === 'live' ? t('doctor.nothing-read') : '–'
}

function rowOf(patient: PatientSummary, nowMs: number): TableRow {
  const { state, streams, openAlarms, unsigned } = patient
  return {
    key: patient.patient,
    head: (
      <a href={hrefOf(['patients', patient.patient])}>
        <PatientName patient={patient.patient} petname={patient.petname} />
      </a>
    ),
    cells: [
      <span key="access" class={state === 'live' ? 'tag' : 'tag late'}>
        {t(`doctor.access.${state}`)}
      </span>,
      streams.map(({ kind }) => kindName(kind)).join(', '),
      newestWords(patient, nowMs),
      openAlarms > 0 && (
        <span key="alarms" class="count">
          {openAlarms}
        </span>
      ),
      unsigned > 0 && unsigned,
    ],
  }
}

/** The list of patients; a name filters it. */
export function Patients(props: { patients: Resource<readonly PatientSummary[]> }): JSX.Element {
  const nowMs = useNow()
  const [filter, setFilter] = useState('')
  const isMatch = ({ patient, petname }: PatientSummary): boolean =>
    patientText(patient, petname).toLocaleLowerCase().includes(filter.trim().toLocaleLowerCase())
  const order = ['live', 'suspended', 'expired', 'ended']
  return (
    <>
      <h1>{t('doctor.patients')}</h1>
      <Shown
        resource={props.patients}
        isEmpty={(value) => value.length === 0}
        empty={<p>{t('doctor.quiet.nobody')}</p>}
      >
        {(patients) => (
          <>
            <label class="filter">
              {t('doctor.filter')}
              <input
                type="search"
                value={filter}
                onInput={(event) => setFilter((event.currentTarget as HTMLInputElement).value)}
              />
            </label>
            <Table
              headings={(['patient', 'access', 'streams', 'newest', 'alarms', 'unsigned'] as const).map((column) =>
                t(`doctor.column.${column}`),
              )}
              rows={patients
                .filter(isMatch)
                .toSorted((a, b) => order.indexOf(a.state) - order.indexOf(b.state) || b.openAlarms - a.openAlarms)
                .map((patient) => rowOf(patient, nowMs))}
            />
          </>
        )}
      </Shown>
    </>
  )
}
