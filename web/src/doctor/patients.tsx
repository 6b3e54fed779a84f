/** Everybody who gave this doctor access, now or before. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { call } from '../frame/api.ts'
import { ConfirmDialog } from '../frame/dialog.tsx'
import { Shown } from '../frame/notice.tsx'
import type { Resource } from '../frame/resource.ts'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatAgo } from '../frame/time.ts'
import type { PatientSummary } from './model.ts'
import { useNow } from './now.ts'
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

function Row(props: { patient: PatientSummary; nowMs: number }): JSX.Element {
  const { patient, nowMs } = props
  const newestMs = newestOf(patient)
  return (
    <tr>
      <th scope="row">
        <a href={hrefOf(['patients', patient.patient])}>
          <PatientName patient={patient.patient} petname={patient.petname} />
        </a>
      </th>
      <td>
        <span class={patient.state === 'live' ? 'tag' : 'tag late'}>{t(`doctor.access.${patient.state}`)}</span>
      </td>
      <td>{patient.streams.map(({ kind }) => kindName(kind)).join(', ')}</td>
      <td>{newestMs === undefined ? t('doctor.nothing-read') : formatAgo(newestMs, nowMs)}</td>
      <td>{patient.openAlarms > 0 && <span class="count">{patient.openAlarms}</span>}</td>
      <td>{patient.unsigned > 0 && patient.unsigned}</td>
    </tr>
  )
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
            <div class="card scroll">
              <table>
                <thead>
                  <tr>
                    <th scope="col">{t('doctor.column.patient')}</th>
                    <th scope="col">{t('doctor.column.access')}</th>
                    <th scope="col">{t('doctor.column.streams')}</th>
                    <th scope="col">{t('doctor.column.newest')}</th>
                    <th scope="col">{t('doctor.column.alarms')}</th>
                    <th scope="col">{t('doctor.column.unsigned')}</th>
                  </tr>
                </thead>
                <tbody>
                  {patients
                    .filter(isMatch)
                    .toSorted((a, b) => order.indexOf(a.state) - order.indexOf(b.state) || b.openAlarms - a.openAlarms)
                    .map((patient) => (
                      <Row key={patient.patient} patient={patient} nowMs={nowMs} />
                    ))}
                </tbody>
              </table>
            </div>
          </>
        )}
      </Shown>
    </>
  )
}
