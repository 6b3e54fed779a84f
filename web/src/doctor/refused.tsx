/** What the ledger did not take, and what could not be read: each with its reason. */
import type { JSX } from 'preact'
import type { Live } from '../frame/live.ts'
import { Shown } from '../frame/notice.tsx'
import { type Resource, useResource } from '../frame/resource.ts'
import { hrefOf } from '../frame/router.ts'
import { Table } from '../frame/table.tsx'
import { t } from '../frame/texts.ts'
import { formatMoment } from '../frame/time.ts'
import { noteWords } from './findings.tsx'
import type { Diagnosis, PatientSummary, Quarantined, Unread } from './model.ts'
import { findingName, kindName, PatientName, petnamesOf, reasonName } from './words.tsx'

/** Diagnoses that are not on record. */
export function RefusedScreen(props: { live: Live; patients: Resource<readonly PatientSummary[]> }): JSX.Element {
  const diagnoses = useResource<readonly Diagnosis[]>('/v1/diagnoses?refused=true', {
    live: props.live,
    on: ['refused'],
  })
  const names = petnamesOf(props.patients.value)
  const refused = (list: readonly Diagnosis[]): Diagnosis[] =>
    list.toSorted((a, b) => Date.parse(b.at) - Date.parse(a.at))
  return (
    <>
      <h1>{t('doctor.refused')}</h1>
      <p class="soft">{t('doctor.refused.body')}</p>
      <Shown
        resource={diagnoses}
        isEmpty={(list) => refused(list).length === 0}
        empty={<p>{t('doctor.refused.none')}</p>}
      >
        {(list) => (
          <ul class="plain">
            {refused(list).map((diagnosis) => (
              <li key={diagnosis.transactionId} class="card">
                <div class="row">
                  <a href={hrefOf(['patients', diagnosis.patient])}>
                    <PatientName patient={diagnosis.patient} petname={names.get(diagnosis.patient)} />
                  </a>
                  <time>{formatMoment(diagnosis.at)}</time>
                </div>
                <p class="notice bad">{noteWords(diagnosis)}</p>
                <p>{diagnosis.text ?? diagnosis.findings.map(({ code }) => findingName(code)).join(', ')}</p>
                {diagnosis.refused !== undefined && (
                  <details>
                    <summary>{t('details')}</summary>
                    <p class="soft details">
                      {t('doctor.refused.details', { rule: diagnosis.refused.rule, height: diagnosis.refused.height })}{' '}
                      <code>{diagnosis.transactionId}</code>
                    </p>
                  </details>
                )}
              </li>
            ))}
          </ul>
        )}
      </Shown>
    </>
  )
}

function UnreadTable(props: { list: readonly Unread[]; patients: readonly PatientSummary[] | undefined }): JSX.Element {
  const names = petnamesOf(props.patients)
  const kindOf = (stream: string): string => {
    const kind = props.patients?.flatMap(({ streams }) => streams).find((one) => one.stream === stream)?.kind
    return kind === undefined ? t('doctor.kind.other') : kindName(kind)
  }
  return (
    <Table
      headings={(['patient', 'streams', 'when', 'records', 'why'] as const).map((column) =>
        t(`doctor.column.${column}`),
      )}
      rows={props.list.map((one) => ({
        key: `${one.stream} ${one.from}`,
        head: (
          <a href={hrefOf(['patients', one.patient])}>
            <PatientName patient={one.patient} petname={names.get(one.patient)} />
          </a>
        ),
        cells: [
          kindOf(one.stream),
          one.lastAt === one.firstAt
            ? formatMoment(one.firstAt)
            : `${formatMoment(one.firstAt)} – ${formatMoment(one.lastAt)}`,
          one.to - one.from + 1,
          one.state === 'unreadable' ? reasonName(one.reason ?? '') : t(`doctor.unread.${one.state}`),
        ],
      }))}
    />
  )
}

/** What was granted and did not open. */
export function UnreadScreen(props: { live: Live; patients: Resource<readonly PatientSummary[]> }): JSX.Element {
  const { live, patients } = props
  const unread = useResource<readonly Unread[]>('/v1/unread', { live, on: ['unreadable', 'grant'] })
  const quarantine = useResource<readonly Quarantined[]>('/v1/quarantine', { live, on: ['grant'] })
  return (
    <>
      <h1>{t('doctor.unread')}</h1>
      <p class="soft">{t('doctor.unread.body')}</p>
      <Shown resource={unread} isEmpty={(list) => list.length === 0} empty={<p>{t('doctor.unread.none')}</p>}>
        {(list) => <UnreadTable list={list} patients={patients.value} />}
      </Shown>
      <h2>{t('doctor.quarantine')}</h2>
      <Shown resource={quarantine} isEmpty={(list) => list.length === 0} empty={<p>{t('doctor.quarantine.none')}</p>}>
        {(list) => (
          <ul class="plain">
            {list.map(({ what, reference, reason, at }) => (
              <li key={`${what} ${reference}`} class="card">
                {formatMoment(at)} · {reason}
                <details>
                  <summary>{t('details')}</summary>
                  <p class="soft details">
                    {what} <code>{reference}</code>
                  </p>
                </details>
              </li>
            ))}
          </ul>
        )}
      </Shown>
    </>
  )
}
