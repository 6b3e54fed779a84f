/** What was found, in words, with the stretch of ECG that it rests on; and the alarms that nobody has seen yet. */
import type { ComponentChildren, JSX } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import { EcgStrip } from '../ecg/strip.tsx'
import { FindingSentence } from '../finding/sentence.tsx'
import { Failure, useAct } from '../frame/act.tsx'
import { call } from '../frame/api.ts'
import { Shown } from '../frame/notice.tsx'
import { useResource } from '../frame/resource.ts'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatAgo, formatDuration, formatMoment } from '../frame/time.ts'
import { Proof } from '../proof/proof.tsx'
import { type Episode, episodesOf } from './episodes.ts'
import { RecordedEcg } from './heart.tsx'
import { useEcg } from './measured.ts'
import { type Alarm, type Diagnosis, receiptSource, usePatient } from './node.ts'
import { findingName, severityName } from './words.ts'

const pageSize = 30
/** Paper of A4 is wide enough for so much. */
const stripMs = 7_000

function SeverityTag(props: { severity: string }): JSX.Element {
  return <span class={`tag severity ${props.severity}`}>{severityName(props.severity)}</span>
}

function AlarmRow(props: { alarm: Alarm; onSeen: () => Promise<void> }): JSX.Element {
  const { base } = usePatient()
  const { alarm, onSeen } = props
  const { isBusy, error, act } = useAct(async () => {
    await call(`${base}/alarms/${alarm.id}/acknowledge`, { method: 'POST', body: {} })
    await onSeen()
  })
  const name = findingName(alarm.code)
  return (
    <li class="row alarm">
      <div>
        <SeverityTag severity={alarm.severity} /> <strong>{name}</strong>
        <p class="soft">
          {formatMoment(alarm.at)} ({formatAgo(alarm.at)}){alarm.endedAt !== null && ` · ${t('patient.alarm.over')}`}
        </p>
        <Failure error={error} />
      </div>
      <button type="button" onClick={() => void act()} aria-disabled={isBusy}>
        {t('patient.alarm.seen')}
        <span class="hidden">: {name}</span>
      </button>
    </li>
  )
}

function OpenAlarms(): JSX.Element | null {
  const { base, live } = usePatient()
  const alarms = useResource<readonly Alarm[]>(`${base}/alarms`, { live, on: ['alarm'], everyMs: 30_000 })
  const open = alarms.value?.filter(({ acknowledged }) => !acknowledged) ?? []
  if (open.length === 0) return null
  return (
    <section class="card alarms" aria-live="polite">
      <h2>{t('patient.alarms', { count: open.length })}</h2>
      <ul class="plain">
        {open
          .toReversed()
          .slice(0, pageSize)
          .map((alarm) => (
            <AlarmRow key={alarm.id} alarm={alarm} onSeen={alarms.reload} />
          ))}
      </ul>
    </section>
  )
}

function Evidence(props: { episode: Episode }): JSX.Element | null {
  const { finding } = props.episode
  if (finding === undefined || !finding.code.startsWith('ecg.')) return null
  const [fromMs, toMs] = [Date.parse(finding.from), Date.parse(finding.to)]
  return (
    <RecordedEcg
      extent={{ fromMs: fromMs - 60_000, toMs: toMs + 60_000 }}
      atMs={fromMs - 1_000}
      finding={{ fromMs, toMs, label: findingName(finding.code) }}
    />
  )
}

function EpisodeHead(props: { episode: Episode; children?: ComponentChildren }): JSX.Element {
  const { nameOf } = usePatient()
  const { diagnosis, finding } = props.episode
  const lastsMs = finding === undefined ? 0 : Date.parse(finding.to) - Date.parse(finding.from)
  return (
    <>
      <div class="row">
        <h2>
          {finding === undefined ? t('patient.finding.byHand') : findingName(finding.code)}{' '}
          {finding !== undefined && <SeverityTag severity={finding.severity} />}
        </h2>
        <span class={diagnosis.status === 'signed' ? 'tag good' : 'tag'}>
          {t(`patient.status.${diagnosis.status}`)}
        </span>
      </div>
      <p class="soft">
        {formatMoment(finding?.from ?? diagnosis.at)}
        {lastsMs >= 1000 && ` · ${t('patient.finding.lasted', { time: formatDuration(lastsMs) })}`}
        {finding?.open === true && ` · ${t('patient.finding.open')}`} · <bdi>{nameOf(diagnosis.doctor)}</bdi>
      </p>
      {finding !== undefined && <FindingSentence code={finding.code} sentence={finding.sentence} />}
      {diagnosis.text !== undefined && <blockquote dir="auto">{diagnosis.text}</blockquote>}
      <p class="soft small">
        {t(diagnosis.algorithm === 'by hand' ? 'patient.finding.person' : `patient.statusWords.${diagnosis.status}`)}
      </p>
      {props.children}
    </>
  )
}

function EpisodeCard(props: { episode: Episode }): JSX.Element {
  const { base } = usePatient()
  const { episode } = props
  const { transactionId } = episode.diagnosis
  const [isOpen, setOpen] = useState(false)
  const isEcg = episode.finding?.code.startsWith('ecg.') === true
  return (
    <li class="card finding">
      <EpisodeHead episode={episode}>
        {isEcg && (
          <details onToggle={(event) => setOpen(event.currentTarget.open)}>
            <summary>{t('patient.finding.evidence')}</summary>
            {isOpen && <Evidence episode={episode} />}
          </details>
        )}
        <div class="row">
          <Proof id={transactionId} source={receiptSource(base, transactionId)} />
          <a href={hrefOf(['finding'], { key: episode.key })}>{t('patient.finding.print')}</a>
        </div>
      </EpisodeHead>
    </li>
  )
}

/** What was found. */
export function FindingsScreen(): JSX.Element {
  const { base, live } = usePatient()
  const diagnoses = useResource<readonly Diagnosis[]>(`${base}/diagnoses`, { live, on: ['diagnosis', 'alarm'] })
  const [count, setCount] = useState(pageSize)
  const episodes = useMemo(() => episodesOf(diagnoses.value ?? []), [diagnoses.value])
  return (
    <div class="narrow">
      <h1>{t('patient.findings')}</h1>
      <OpenAlarms />
      <Shown resource={diagnoses} isEmpty={(all) => all.length === 0} empty={<p>{t('patient.findings.empty')}</p>}>
        {() => (
          <>
            <ul class="plain">
              {episodes.found.slice(0, count).map((episode) => (
                <EpisodeCard key={episode.key} episode={episode} />
              ))}
            </ul>
            {episodes.found.length > count && (
              <button type="button" onClick={() => setCount(count + pageSize)}>
                {t('patient.more')}
              </button>
            )}
            {episodes.clear > 0 && <p class="soft">{t('patient.findings.clear', { count: episodes.clear })}</p>}
            {episodes.sealed > 0 && <p class="soft">{t('patient.findings.sealed', { count: episodes.sealed })}</p>}
          </>
        )}
      </Shown>
    </div>
  )
}

function PaperStrip(props: { episode: Episode }): JSX.Element | null {
  const { base } = usePatient()
  const fromMs = Date.parse(props.episode.finding?.from ?? props.episode.diagnosis.at)
  const range = useMemo(() => ({ fromMs, toMs: fromMs + stripMs }), [fromMs])
  const ecg = useEcg(base, range)
  if (ecg.leads.length === 0) return ecg.isBusy ? <p class="waiting">{t('loading')}</p> : null
  return (
    <div class="scroll">
      <EcgStrip leads={ecg.leads} range={range} />
      <p class="soft small">25 mm/s · 10 mm/mV</p>
    </div>
  )
}

/** One finding, to be printed. */
export function FindingPaper(props: { episodeKey: string }): JSX.Element {
  const { base, session } = usePatient()
  const diagnoses = useResource<readonly Diagnosis[]>(`${base}/diagnoses`)
  return (
    <>
      <p class="screen-only">
        <a href={hrefOf(['findings'])}>← {t('patient.back')}</a>
      </p>
      <Shown resource={diagnoses}>
        {(all) => {
          const episode = episodesOf(all).found.find(({ key }) => key === props.episodeKey)
          if (episode === undefined) return <p class="empty">{t('place.unknown')}</p>
          const { transactionId, at, algorithm } = episode.diagnosis
          return (
            <article class="card paper">
              <h1>{t('patient.finding.paper')}</h1>
              <p>
                <bdi>{session.name}</bdi> · {formatMoment(at)}
              </p>
              <EpisodeHead episode={episode}>
                {episode.finding?.code.startsWith('ecg.') === true && <PaperStrip episode={episode} />}
              </EpisodeHead>
              <dl class="ids">
                <dt>{t('patient.finding.algorithm')}</dt>
                <dd>{algorithm}</dd>
                <dt>{t('patient.receipt.transaction')}</dt>
                <dd>{transactionId}</dd>
              </dl>
              <button type="button" class="primary" onClick={() => window.print()}>
                {t('patient.print')}
              </button>
            </article>
          )
        }}
      </Shown>
    </>
  )
}
