/** What was found, in words, with the stretch of ECG that it rests on; and the alarms that nobody has seen yet. */
import type { ComponentChildren, JSX } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import { EcgStrip } from '../ecg/strip.tsx'
import { FindingSentence } from '../finding/sentence.tsx'
import { Failure } from '../frame/act.tsx'
import { NoSuchPlace, Shown } from '../frame/notice.tsx'
import { usePaged } from '../frame/paged.ts'
import { useResource } from '../frame/resource.ts'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatDuration, formatMoment } from '../frame/time.ts'
import { Proof } from '../proof/proof.tsx'
import { AlarmRow, SeverityTag } from './alarm.tsx'
import { type Episode, episodesOf } from './episodes.ts'
import { RecordedEcg } from './heart.tsx'
import { useEcg } from './measured.ts'
import type { Diagnosis } from './model.ts'
import { receiptSource, usePatient } from './node.ts'
import { findingName } from './words.ts'

const pageSize = 30
/** Paper of A4 is wide enough for so much. */
const stripMs = 7_000

function OpenAlarms(): JSX.Element | null {
  const { alarms } = usePatient()
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

/** What the doctor wrote since, the newest last: it is what counts. */
function Amended(props: { diagnosis: Diagnosis }): JSX.Element {
  const { nameOf } = usePatient()
  const { doctor, amendments } = props.diagnosis
  return (
    <>
      {amendments.map(({ transactionId, act, at, text }) =>
        act === 'sign' || text === undefined ? null : (
          <div key={transactionId}>
            <p class="soft small">{t(`patient.amended.${act}`, { who: nameOf(doctor), when: formatMoment(at) })}</p>
            <blockquote dir="auto">{text}</blockquote>
          </div>
        ),
      )}
    </>
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
      <Amended diagnosis={diagnosis} />
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
          <a href={hrefOf(['finding', transactionId], { key: episode.key })}>{t('patient.finding.print')}</a>
        </div>
      </EpisodeHead>
    </li>
  )
}

interface Page {
  readonly diagnoses: readonly Diagnosis[]
  readonly next: string | null
}

/** The newest diagnoses and the older ones that were asked for, as episodes. */
function useDiagnoses() {
  const { base, live } = usePatient()
  const pages = usePaged<Page>(`${base}/diagnoses`, { live, on: ['diagnosis', 'alarm'] }, ({ next }) =>
    next === null ? undefined : `before=${next}`,
  )
  const { newest, older } = pages
  const all = useMemo(() => {
    const inOrder = [...older.toReversed(), ...(newest.value === undefined ? [] : [newest.value])]
    // What came meanwhile may stand on two pages.
    const known = new Map(inOrder.flatMap(({ diagnoses }) => diagnoses).map((one) => [one.transactionId, one]))
    return episodesOf([...known.values()])
  }, [newest.value, older])
  return { ...pages, all }
}

/** What was found. */
export function FindingsScreen(): JSX.Element {
  const { newest, all, more, ...pages } = useDiagnoses()
  const [count, setCount] = useState(pageSize)
  const isMore = all.found.length > count || pages.isMore
  return (
    <div class="narrow">
      <h1>{t('patient.findings')}</h1>
      <OpenAlarms />
      <Shown
        resource={newest}
        isEmpty={({ diagnoses }) => diagnoses.length === 0}
        empty={<p>{t('patient.findings.empty')}</p>}
      >
        {() => (
          <>
            <ul class="plain">
              {all.found.slice(0, count).map((episode) => (
                <EpisodeCard key={episode.key} episode={episode} />
              ))}
            </ul>
            {isMore && (
              <button
                type="button"
                aria-disabled={more.isBusy}
                onClick={() => {
                  if (all.found.length < count + pageSize) void more.act()
                  setCount(count + pageSize)
                }}
              >
                {more.isBusy ? t('working') : t('patient.more')}
              </button>
            )}
            <Failure error={more.error} />
            {all.clear > 0 && <p class="soft">{t('patient.findings.clear', { count: all.clear })}</p>}
            {all.sealed > 0 && <p class="soft">{t('patient.findings.sealed', { count: all.sealed })}</p>}
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
export function FindingPaper(props: { transactionId: string; episodeKey: string }): JSX.Element {
  const { base, session } = usePatient()
  const diagnosis = useResource<Diagnosis>(`${base}/diagnoses/${encodeURIComponent(props.transactionId)}`)
  return (
    <>
      <p class="screen-only">
        <a href={hrefOf(['findings'])}>← {t('patient.back')}</a>
      </p>
      <Shown resource={diagnosis}>
        {(one) => {
          const episode = episodesOf([one]).found.find(({ key }) => key === props.episodeKey)
          if (episode === undefined) return <NoSuchPlace />
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
