/** A diagnosis on paper: what was found, on which stretch of ECG, who answers for it, and where the record of it is. */
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { EcgLead } from '../ecg/signal.ts'
import { EcgStrip } from '../ecg/strip.tsx'
import { FindingSentence } from '../finding/sentence.tsx'
import { nodeNowMs } from '../frame/api.ts'
import { Shown } from '../frame/notice.tsx'
import { Qr } from '../frame/qr.tsx'
import { useResource } from '../frame/resource.ts'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatMoment } from '../frame/time.ts'
import { noteWords, standingOf } from './findings.tsx'
import type { Diagnosis, FindingView, PatientSummary } from './model.ts'
import { EcgStretches } from './stretches.ts'
import { findingName, NotADevice, PatientName, SeverityTag, shortCode, statusName } from './words.tsx'

/** As much as fits on A4 at 25 mm/s. */
const stripMs = 7_000
const leadInMs = 1_000

/** The stretch that the first finding of the ECG rests on. */
function Strip(props: { patient: string; stream: string; finding: FindingView }): JSX.Element {
  const { patient, stream, finding } = props
  const [leads, setLeads] = useState<readonly EcgLead[]>()
  const fromMs = Date.parse(finding.from) - leadInMs
  const range = { fromMs, toMs: fromMs + stripMs }
  useEffect(() => {
    const stretches = new EcgStretches(`/v1/patients/${patient}/streams/${stream}`)
    stretches.load({ fromMs, toMs: fromMs + stripMs }, 0).then(
      () => setLeads(stretches.of({ fromMs, toMs: fromMs + stripMs }).leads),
      () => setLeads([]),
    )
  }, [patient, stream, fromMs])
  if (leads === undefined) return <p class="waiting">{t('loading')}</p>
  if (leads.length === 0) return <p class="soft">{t('doctor.print.nostrip')}</p>
  return (
    <figure class="print-strip">
      <figcaption>
        {findingName(finding.code)} · {formatMoment(range.fromMs)} · 25 mm/s · 10 mm/mV
      </figcaption>
      <EcgStrip leads={leads} range={range} />
    </figure>
  )
}

function Sheet(props: { diagnosis: Diagnosis; summary: PatientSummary | undefined; doctor: string }): JSX.Element {
  const { diagnosis, summary, doctor } = props
  const { patient, transactionId, findings, amendments } = diagnosis
  const stream = summary?.streams.find(({ kind }) => kind === 'ecg')?.stream
  const shown = findings.find(({ code }) => code.startsWith('ecg.') && code !== 'ecg.unreadable')
  return (
    <article class="card sheet">
      <header class="row">
        <div>
          <h1>{t('doctor.print.title')}</h1>
          <p>
            <PatientName patient={patient} petname={summary?.petname} />
            {summary?.petname !== undefined && ` (${shortCode(patient)})`}
            <br />
            {formatMoment(diagnosis.at)} · <strong>{statusName(standingOf(diagnosis))}</strong> · {doctor}
          </p>
        </div>
        <Qr text={`healthblock:${transactionId}`} label={t('doctor.print.qr')} sizePx={112} />
      </header>
      {diagnosis.note !== undefined && <p>{noteWords(diagnosis)}</p>}
      {diagnosis.text !== undefined && <p class="written">{diagnosis.text}</p>}
      <ul class="findings">
        {findings.map((finding) => (
          <li key={`${finding.code} ${finding.from}`} class="finding">
            <SeverityTag severity={finding.severity} />
            <div>
              <strong>{findingName(finding.code)}</strong> · {formatMoment(finding.from)}
              <FindingSentence code={finding.code} sentence={finding.sentence} isPrinted />
            </div>
          </li>
        ))}
      </ul>
      {amendments.map(({ transactionId: id, act, at, text }) => (
        <p key={id}>
          {t(`doctor.amended.${act}`)} · {formatMoment(at)}
          {text !== undefined && <span class="written"> {text}</span>}
        </p>
      ))}
      {shown !== undefined && stream !== undefined && <Strip {...{ patient, stream }} finding={shown} />}
      {diagnosis.algorithm !== 'by hand' && <NotADevice />}
      <p class="soft details">
        {t('doctor.print.record')} <code>{transactionId}</code>
        <br />
        {t('doctor.print.at', { when: formatMoment(nodeNowMs()) })}
      </p>
    </article>
  )
}

/** The page that is printed. */
export function PrintScreen(props: {
  patient: string
  id: string
  doctor: string
  summary: PatientSummary | undefined
}): JSX.Element {
  const { patient, id, doctor, summary } = props
  const found = useResource<Diagnosis>(`/v1/diagnoses/${encodeURIComponent(id)}`)
  return (
    <Shown resource={found}>
      {(diagnosis) => (
        <>
          <div class="row no-print">
            <a href={hrefOf(['patients', patient])}>{t('doctor.print.back')}</a>
            <button type="button" class="primary" onClick={() => window.print()}>
              {t('doctor.print')}
            </button>
          </div>
          <Sheet {...{ diagnosis, summary, doctor }} />
        </>
      )}
    </Shown>
  )
}
