/** One patient: how she is now, her ECG, what was found, what was measured. */
import type { JSX } from 'preact'
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { Live } from '../frame/live.ts'
import { Shown } from '../frame/notice.tsx'
import { useNow } from '../frame/now.ts'
import { usePaged } from '../frame/paged.ts'
import { type Resource, useResource } from '../frame/resource.ts'
import { go, hrefOf, usePlace } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatAgo } from '../frame/time.ts'
import { type AlarmAct, type AlarmActs, useAlarmActs } from './alarm-acts.tsx'
import { type AskedAct, ByHandDialog } from './diagnosis-acts.tsx'
import { EcgPanel, type Jump } from './ecg-panel.tsx'
import { Findings, isUnsigned, newestFirst } from './findings.tsx'
import { useKeys } from './keys.ts'
import { KeysLine } from './keys-line.tsx'
import type { Alarm, Diagnosis, PatientSummary, Trends } from './model.ts'
import { News2Chart, news2Words } from './news2.tsx'
import { inOrder } from './order.ts'
import { PatientAlarms } from './patient-alarms.tsx'
import { newestOf, PetnameDialog } from './patients.tsx'
import { TrendsPanel } from './trends-panel.tsx'
import { alarmName, findingName, kindsOf, NotADevice, PatientName, patientText } from './words.tsx'

const hourMs = 3_600_000
const ranges = [1, 6, 24] as const
/** Data older than this is said to be old. */
const oldMs = 5 * 60_000
/** An alarm that came to the top less long ago was not read yet. */
const justCameMs = 1_000
/** A jump shows this much before the moment. */
const leadInMs = 2_000

/** Diagnoses whose findings last: what the patient has now, as the machine sees it. */
function lastingOf(diagnoses: readonly Diagnosis[]): string[] {
  const newest = diagnoses.filter(({ findings, status }) => findings.length > 0 && status !== 'withdrawn').at(-1)
  return (newest?.findings ?? [])
    .filter(({ open, code }) => open && code.startsWith('ecg.'))
    .map(({ code }) => findingName(code))
}

/** How loud a risk is said: three points in one sign call for a look, five in all for haste. */
const riskClass = { low: '', 'low-medium': 'late', medium: 'bad', high: 'bad' } as const

/** The one line: early-warning score, rhythm, age of the data. */
function StateLine(props: {
  summary: PatientSummary
  trends: Trends | undefined
  /** Undefined until they are here: nobody knows then what lasts. */
  diagnoses: readonly Diagnosis[] | undefined
}): JSX.Element {
  const { summary, trends, diagnoses } = props
  const nowMs = useNow()
  const newestMs = newestOf(summary)
  // Of a patient whom he may not read nobody knows what lasts.
  const isLive = summary.state === 'live'
  const lasting = isLive ? lastingOf(diagnoses ?? []) : []
  const nothing = !isLive ? '–' : t(diagnoses === undefined ? 'doctor.rhythm.unknown' : 'doctor.rhythm.nothing')
  const news2 = trends?.news2.at(-1)
  const rate = trends?.heartRate.at(-1)
  const isOld = newestMs !== undefined && nowMs - newestMs > oldMs
  return (
    <dl class="state-line">
      <div class={riskClass[news2?.risk ?? 'low']}>
        <dt>NEWS2</dt>
        <dd>{news2Words(news2)}</dd>
      </div>
      <div class={lasting.length > 0 ? 'bad' : ''}>
        <dt>{t('doctor.rhythm')}</dt>
        <dd>
          {lasting.length > 0 ? lasting.join(', ') : nothing}
          {rate !== undefined && ` · ${rate[1]}/min`}
        </dd>
      </div>
      <div class={isOld ? 'late' : ''}>
        <dt>{t('doctor.column.newest')}</dt>
        <dd>
          {newestMs !== undefined
            ? formatAgo(Math.min(newestMs, nowMs), nowMs)
            : isLive
              ? t('doctor.nothing-read')
              : '–'}
        </dd>
      </div>
      <div class={isLive ? '' : 'late'}>
        <dt>{t('doctor.column.access')}</dt>
        <dd>{t(`doctor.access.${summary.state}`)}</dd>
      </div>
    </dl>
  )
}

/** The place in the address, and the way to another one. */
function useJump(patient: string): [Jump, (wantedMs: number) => void] {
  const { query } = usePlace()
  const [turn, setTurn] = useState(0)
  const parsed = Date.parse(query.at ?? '')
  const atMs = Number.isNaN(parsed) ? undefined : parsed - leadInMs
  const jump = useCallback(
    (wantedMs: number) => {
      go(['patients', patient], { at: new Date(wantedMs + leadInMs).toISOString() }, true)
      setTurn((count) => count + 1)
    },
    [patient],
  )
  return [{ atMs, turn }, jump]
}

/** Findings with n and p, alarms as on the worklist, S for the signature. */
function usePatientKeys(options: {
  diagnoses: readonly Diagnosis[]
  atMs: number | undefined
  jump: (atMs: number) => void
  alarms: readonly Alarm[]
  acts: AlarmActs
  onSign: (diagnosis: Diagnosis) => void
}): void {
  const { diagnoses, atMs, jump, alarms, acts, onSign } = options
  const moments = useMemo(
    () =>
      [
        ...new Set(diagnoses.flatMap(({ findings }) => findings.map(({ from }) => Date.parse(from) - leadInMs))),
      ].toSorted((a, b) => a - b),
    [diagnoses],
  )
  const goTo = (moment: number | undefined): void => {
    if (moment !== undefined) jump(moment)
  }
  // The alarm that the page was opened for, else the most urgent one that waits.
  const opened = alarms.find(({ from }) => atMs !== undefined && Date.parse(from) - leadInMs === atMs)
  const alarm = opened ?? alarms.find(({ acknowledgedAt }) => acknowledgedAt === null)
  // A key is meant for what was seen when it was pressed: an alarm that only just came to the top, and not by going to it, was not.
  const top = useRef({ id: alarm?.id, atMs, sinceMs: Number.NEGATIVE_INFINITY })
  if (top.current.id !== alarm?.id || top.current.atMs !== atMs) {
    const sinceMs = top.current.atMs === atMs ? performance.now() : Number.NEGATIVE_INFINITY
    top.current = { id: alarm?.id, atMs, sinceMs }
  }
  const act = (what: AlarmAct): void => {
    if (alarm !== undefined && performance.now() - top.current.sinceMs < justCameMs) acts.hold()
    else acts.begin(alarm, what)
  }
  useKeys({
    n: () => goTo(moments.find((moment) => moment > (atMs ?? Number.NEGATIVE_INFINITY))),
    p: () => goTo(moments.findLast((moment) => moment < (atMs ?? Number.POSITIVE_INFINITY))),
    w: () => go([]),
    a: () => act('acknowledge'),
    e: () => act('escalate'),
    s: () => act('snooze'),
    u: acts.undo,
    S: () => {
      const unsigned = newestFirst(diagnoses).find(isUnsigned)
      if (unsigned !== undefined) onSign(unsigned)
    },
  })
}

/** Early-warning chart and trends, over the same stretch of time. */
function Measured(props: {
  trends: Resource<Trends>
  hours: number
  onHours: (hours: number) => void
  onJump: (atMs: number) => void
}): JSX.Element {
  const { trends, hours, onHours, onJump } = props
  return (
    <div>
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
              onChange={(event) => onHours(Number((event.currentTarget as HTMLSelectElement).value))}
            >
              {ranges.map((range) => (
                <option key={range} value={range}>
                  {t('doctor.hours', { count: range })}
                </option>
              ))}
            </select>
          </label>
        </div>
        <Shown resource={trends}>{(value) => <TrendsPanel trends={value} onPick={onJump} />}</Shown>
      </section>
    </div>
  )
}

/** Name, and the ways to another name and back. */
function Head(props: { summary: PatientSummary; onName: () => void }): JSX.Element {
  const { patient, petname } = props.summary
  return (
    <div class="row screen-head">
      <h1>
        <PatientName patient={patient} petname={petname} />
      </h1>
      <div class="row">
        <button type="button" onClick={props.onName}>
          {t(petname === undefined ? 'doctor.petname.give' : 'doctor.petname.change')}
        </button>
        <a class="no-print" href={hrefOf([])}>
          {t('doctor.back')}
        </a>
      </div>
    </div>
  )
}

/** The patient's trends over so many hours before her newest reading. */
function useTrends(summary: PatientSummary, hours: number): Resource<Trends> | undefined {
  const newestMs = newestOf(summary)
  const toMs = newestMs === undefined ? undefined : Math.ceil(newestMs / 60_000) * 60_000
  const path =
    toMs === undefined ? undefined : `/v1/patients/${summary.patient}/trends?from=${toMs - hours * hourMs}&to=${toMs}`
  const trends = useResource<Trends>(path, { isKept: true })
  return path === undefined ? undefined : trends
}

/** A diagnosis by hand is about what was seen when it was begun, even if access ends while it is written. */
interface Writing {
  readonly stream: string
  readonly sequences: readonly number[]
}

type Asked = 'name' | Writing | AskedAct

/** Her name, and a diagnosis by hand. */
function PatientDialogs(props: {
  asked: Asked | undefined
  summary: PatientSummary
  doctor: string
  onClose: () => void
  onRenamed: () => void
  onWritten: () => void
}): JSX.Element | null {
  const { asked, summary, doctor, onClose } = props
  const { patient, petname } = summary
  const after = (what: () => void) => () => {
    onClose()
    what()
  }
  if (asked === 'name') return <PetnameDialog {...{ patient, petname, onClose }} onDone={after(props.onRenamed)} />
  if (asked !== undefined && 'stream' in asked)
    return <ByHandDialog {...{ patient, ...asked, doctor, onClose }} onDone={after(props.onWritten)} />
  return null
}

/** Diagnoses of one page. */
const pageSize = 200

/** The newest diagnoses and the older ones that were asked for, oldest first. */
function useDiagnoses(patient: string, live: Live) {
  const path = `/v1/diagnoses?patient=${patient}&limit=${pageSize}`
  const paged = usePaged<readonly Diagnosis[]>(path, { live, on: ['diagnosis', 'refused'] }, (page) =>
    page.length < pageSize ? undefined : `before=${page[0]?.transactionId}`,
  )
  const { newest, older, isMore, more } = paged
  const found = useMemo(() => {
    // What came meanwhile may stand on two pages.
    const inOrder = [...older.toReversed(), newest.value ?? []].flat()
    return [...new Map(inOrder.map((one) => [one.transactionId, one])).values()]
  }, [newest.value, older])
  return { diagnoses: newest, found, isMore, more }
}

/** What is shown of a patient, once she is known. */
function PatientBody(props: {
  summary: PatientSummary
  doctor: string
  live: Live
  alarms: Resource<readonly Alarm[]>
  onRenamed: () => void
}): JSX.Element {
  const { summary, doctor, live, onRenamed } = props
  const { patient, petname } = summary
  const nowMs = useNow()
  const [asked, setAsked] = useState<Asked>()
  const [hours, setHours] = useState<number>(6)
  const [sequences, setSequences] = useState<readonly number[]>([])
  const [jump, onJump] = useJump(patient)
  const pages = useDiagnoses(patient, live)
  const { diagnoses, found } = pages
  const trends = useTrends(summary, hours)
  const ecg = summary.streams.find(({ kind, lastAt }) => kind === 'ecg' && lastAt !== undefined)
  const alarms = inOrder(
    (props.alarms.value ?? []).filter((alarm) => alarm.patient === patient),
    nowMs,
  )
  const kinds = kindsOf([summary])
  const acts = useAlarmActs(doctor, props.alarms, (alarm) => ({
    what: alarmName(alarm, kinds),
    name: patientText(patient, petname),
  }))
  const onAct = useCallback((diagnosis: Diagnosis, act: AskedAct['act']) => setAsked({ diagnosis, act }), [])
  usePatientKeys({
    ...{ diagnoses: found, atMs: jump.atMs, jump: onJump, alarms, acts },
    onSign: (diagnosis) => onAct(diagnosis, 'sign'),
  })
  const close = (): void => setAsked(undefined)
  return (
    <>
      <Head summary={summary} onName={() => setAsked('name')} />
      <StateLine summary={summary} trends={trends?.value} diagnoses={diagnoses.value && found} />
      {summary.state !== 'live' && <p class="notice late">{t('doctor.access.note')}</p>}
      <PatientAlarms {...{ alarms, kinds, acts, nowMs }} />
      {ecg !== undefined && (
        <section class="card" aria-labelledby="ecg-title">
          <h2 id="ecg-title">{t('doctor.kind.ecg')}</h2>
          <EcgPanel {...{ patient, live, jump }} stream={ecg} diagnoses={found} onSeen={setSequences}>
            <button
              type="button"
              disabled={sequences.length === 0}
              onClick={() => setAsked({ stream: ecg.stream, sequences })}
            >
              {t('doctor.byhand')}
            </button>
          </EcgPanel>
        </section>
      )}
      <div class="patient-columns">
        <section class="card" aria-labelledby="findings-title">
          <h2 id="findings-title">{t('doctor.findings')}</h2>
          <NotADevice />
          <Shown resource={diagnoses}>
            {() => (
              <Findings
                {...{ diagnoses: found, older: pages, doctor, onAct, onJump: ecg === undefined ? undefined : onJump }}
                asked={typeof asked === 'object' && 'act' in asked ? asked : undefined}
                onClose={close}
                onChange={() => void diagnoses.reload()}
              />
            )}
          </Shown>
        </section>
        {trends !== undefined && <Measured {...{ trends, hours, onHours: setHours, onJump }} />}
      </div>
      <KeysLine words="doctor.keys.patient" />
      <PatientDialogs
        {...{ asked, summary, doctor, onClose: close, onRenamed }}
        onWritten={() => void diagnoses.reload()}
      />
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
  alarms: Resource<readonly Alarm[]>
  patients: Resource<readonly PatientSummary[]>
}): JSX.Element {
  const { patient, doctor, live, alarms, patients } = props
  useReadings(patient, live, patients.reload)
  return (
    <Shown resource={patients}>
      {(list) => {
        const summary = list.find((one) => one.patient === patient)
        if (summary === undefined) return <p class="empty">{t('doctor.patient.unknown')}</p>
        return (
          <PatientBody key={patient} {...{ summary, doctor, live, alarms }} onRenamed={() => void patients.reload()} />
        )
      }}
    </Shown>
  )
}
