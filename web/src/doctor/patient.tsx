/** One patient: how she is now, her ECG, what was found, what was measured. */
import type { JSX } from 'preact'
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { Live } from '../frame/live.ts'
import { Shown } from '../frame/notice.tsx'
import { type Resource, useResource } from '../frame/resource.ts'
import { go, hrefOf, usePlace } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatAgo } from '../frame/time.ts'
import { EcgPanel } from './ecg-panel.tsx'
import { ByHandDialog, Findings } from './findings.tsx'
import { useKeys } from './keys.ts'
import type { Diagnosis, PatientSummary, Trends } from './model.ts'
import { News2Chart, news2Words } from './news2.tsx'
import { useNow } from './now.ts'
import { newestOf, PetnameDialog } from './patients.tsx'
import { TrendsPanel } from './trends-panel.tsx'
import { findingName, NotADevice, PatientName } from './words.tsx'

const hourMs = 3_600_000
const ranges = [1, 6, 24] as const
/** Data older than this is said to be old. */
const oldMs = 5 * 60_000
/** A jump shows this much before the moment. */
const leadInMs = 2_000

/** Diagnoses whose findings last: what the patient has now, as the machine sees it. */
function lastingOf(diagnoses: readonly Diagnosis[]): string[] {
  const newest = diagnoses.filter(({ findings, status }) => findings.length > 0 && status !== 'withdrawn').at(-1)
  return (newest?.findings ?? [])
    .filter(({ open, code }) => open && code.startsWith('ecg.'))
    .map(({ code }) => findingName(code))
}

/** The one line: early-warning score, rhythm, age of the data. */
function StateLine(props: {
  summary: PatientSummary
  trends: Resource<Trends>
  diagnoses: readonly Diagnosis[]
}): JSX.Element {
  const { summary, trends, diagnoses } = props
  const nowMs = useNow()
  const newestMs = newestOf(summary)
  const lasting = lastingOf(diagnoses)
  const news2 = trends.value?.news2.at(-1)
  const rate = trends.value?.heartRate.at(-1)
  const isOld = newestMs !== undefined && nowMs - newestMs > oldMs
  return (
    <dl class="state-line">
      <div class={news2?.risk === 'high' || news2?.risk === 'medium' ? 'bad' : ''}>
        <dt>NEWS2</dt>
        <dd>{news2Words(news2)}</dd>
      </div>
      <div class={lasting.length > 0 ? 'bad' : ''}>
        <dt>{t('doctor.rhythm')}</dt>
        <dd>
          {lasting.length > 0 ? lasting.join(', ') : t('doctor.rhythm.nothing')}
          {rate !== undefined && ` · ${rate[1]}/min`}
        </dd>
      </div>
      <div class={isOld ? 'late' : ''}>
        <dt>{t('doctor.column.newest')}</dt>
        <dd>
          {newestMs !== undefined
            ? formatAgo(Math.min(newestMs, nowMs), nowMs)
            : summary.state === 'live'
              ? t('doctor.nothing-read')
              : '–'}
        </dd>
      </div>
      <div class={summary.state === 'live' ? '' : 'late'}>
        <dt>{t('doctor.column.access')}</dt>
        <dd>{t(`doctor.access.${summary.state}`)}</dd>
      </div>
    </dl>
  )
}

/** Goes from one finding of the ECG to the next with n and p. */
function useJumps(diagnoses: readonly Diagnosis[], atMs: number | undefined, jump: (atMs: number) => void): void {
  const moments = useMemo(
    () =>
      [
        ...new Set(diagnoses.flatMap(({ findings }) => findings.map(({ from }) => Date.parse(from) - leadInMs))),
      ].toSorted((a, b) => a - b),
    [diagnoses],
  )
  useKeys({
    n: () => {
      const next = moments.find((moment) => moment > (atMs ?? Number.NEGATIVE_INFINITY))
      if (next !== undefined) jump(next)
    },
    p: () => {
      const before = moments.findLast((moment) => moment < (atMs ?? Number.POSITIVE_INFINITY))
      if (before !== undefined) jump(before)
    },
    w: () => go([]),
  })
}

/** What is shown of a patient, once she is known. */
function PatientBody(props: {
  summary: PatientSummary
  doctor: string
  live: Live
  onRenamed: () => void
}): JSX.Element {
  const { summary, doctor, live, onRenamed } = props
  const { patient, petname } = summary
  const { query } = usePlace()
  const [isNaming, setNaming] = useState(false)
  const [isWriting, setWriting] = useState(false)
  const [hours, setHours] = useState<number>(6)
  const [sequences, setSequences] = useState<readonly number[]>([])
  const diagnoses = useResource<readonly Diagnosis[]>(`/v1/diagnoses?patient=${patient}`, {
    live,
    on: ['diagnosis', 'refused'],
  })
  const newestMs = newestOf(summary)
  const minute = newestMs === undefined ? undefined : Math.ceil(newestMs / 60_000) * 60_000
  const trends = useResource<Trends>(
    minute === undefined ? undefined : `/v1/patients/${patient}/trends?from=${minute - hours * hourMs}&to=${minute}`,
  )
  const ecg = summary.streams.find(({ kind, lastAt }) => kind === 'ecg' && lastAt !== undefined)
  const parsed = Date.parse(query.at ?? '')
  const atMs = Number.isNaN(parsed) ? undefined : parsed - leadInMs
  const jump = useCallback(
    (wantedMs: number) => go(['patients', patient], { at: new Date(wantedMs + leadInMs).toISOString() }, true),
    [patient],
  )
  const found = diagnoses.value ?? []
  useJumps(found, atMs, jump)
  return (
    <>
      <div class="row screen-head">
        <h1>
          <PatientName patient={patient} petname={petname} />
        </h1>
        <div class="row">
          <button type="button" onClick={() => setNaming(true)}>
            {t(petname === undefined ? 'doctor.petname.give' : 'doctor.petname.change')}
          </button>
          <a href={hrefOf([])}>{t('doctor.back')}</a>
        </div>
      </div>
      <StateLine summary={summary} trends={trends} diagnoses={found} />
      {summary.state !== 'live' && <p class="notice late">{t('doctor.access.note')}</p>}
      {ecg !== undefined && (
        <section class="card" aria-labelledby="ecg-title">
          <h2 id="ecg-title">{t('doctor.kind.ecg')}</h2>
          <EcgPanel {...{ patient, live, atMs }} stream={ecg} diagnoses={found} onSeen={setSequences}>
            <button type="button" disabled={sequences.length === 0} onClick={() => setWriting(true)}>
              {t('doctor.byhand')}
            </button>
          </EcgPanel>
        </section>
      )}
      <section class="card" aria-labelledby="findings-title">
        <h2 id="findings-title">{t('doctor.findings')}</h2>
        <NotADevice />
        <Shown resource={diagnoses}>
          {(value) => (
            <Findings diagnoses={value} doctor={doctor} onJump={jump} onChange={() => void diagnoses.reload()} />
          )}
        </Shown>
      </section>
      {minute !== undefined && (
        <>
          <section class="card" aria-labelledby="news2-title">
            <h2 id="news2-title">{t('doctor.news2')}</h2>
            <Shown resource={trends}>{(value) => <News2Chart columns={value.news2} />}</Shown>
          </section>
          <section class="card" aria-labelledby="trends-title">
            <div class="row">
              <h2 id="trends-title">{t('doctor.trends')}</h2>
              <label class="ecg-choice">
                <span>{t('doctor.trends.range')}</span>
                <select
                  value={hours}
                  onChange={(event) => setHours(Number((event.currentTarget as HTMLSelectElement).value))}
                >
                  {ranges.map((range) => (
                    <option key={range} value={range}>
                      {t('doctor.hours', { count: range })}
                    </option>
                  ))}
                </select>
              </label>
            </div>
            <Shown resource={trends}>{(value) => <TrendsPanel trends={value} onPick={jump} />}</Shown>
          </section>
        </>
      )}
      <p class="soft keys">{t('doctor.keys.patient')}</p>
      {isNaming && (
        <PetnameDialog
          {...{ patient, petname }}
          onClose={() => setNaming(false)}
          onDone={() => {
            setNaming(false)
            onRenamed()
          }}
        />
      )}
      {isWriting && ecg !== undefined && (
        <ByHandDialog
          {...{ patient, sequences, doctor }}
          stream={ecg.stream}
          onClose={() => setWriting(false)}
          onDone={() => {
            setWriting(false)
            void diagnoses.reload()
          }}
        />
      )}
    </>
  )
}

/** While a patient is looked at, her newest readings are learnt of as they come, at most so often. */
const readingEveryMs = 2_000

function useReadings(patient: string, live: Live, reload: () => Promise<void>): void {
  const ask = useRef(reload)
  ask.current = reload
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    const stop = live.listen((event) => {
      if (timer !== undefined || event?.type !== 'reading' || event.patient !== patient) return
      timer = setTimeout(() => {
        timer = undefined
        void ask.current()
      }, readingEveryMs)
    })
    return () => {
      clearTimeout(timer)
      stop()
    }
  }, [patient, live])
}

/** The page of a patient. */
export function PatientScreen(props: {
  patient: string
  doctor: string
  live: Live
  patients: Resource<readonly PatientSummary[]>
}): JSX.Element {
  const { patient, doctor, live, patients } = props
  useReadings(patient, live, patients.reload)
  return (
    <Shown resource={patients}>
      {(list) => {
        const summary = list.find((one) => one.patient === patient)
        if (summary === undefined) return <p class="empty">{t('doctor.patient.unknown')}</p>
        return <PatientBody key={patient} {...{ summary, doctor, live }} onRenamed={() => void patients.reload()} />
      }}
    </Shown>
  )
}
