/** The heart and the vital signs: as they come, as they were, and how they went. */
import type { JSX } from 'preact'
import { useCallback, useEffect, useMemo, useState } from 'preact/hooks'
import { type EcgFeed, EcgLive } from '../ecg/live.tsx'
import type { SentSamples } from '../ecg/samples.ts'
import { endMsOf, type TimeRange } from '../ecg/signal.ts'
import { EcgViewer } from '../ecg/viewer.tsx'
import { nodeNowMs } from '../frame/api.ts'
import { Failed, messageFor, Shown } from '../frame/notice.tsx'
import { formatValue } from '../frame/number.ts'
import { useResource } from '../frame/resource.ts'
import { t } from '../frame/texts.ts'
import { formatAgo, formatMoment } from '../frame/time.ts'
import { usualRanges } from '../trends/ranges.ts'
import { Trend } from '../trends/trend.tsx'
import { type Extent, laterThan, leadsOf, loadMeasured, type Measured, useEcg, type VitalRow } from './measured.ts'
import { usePatient } from './node.ts'
import { known } from './words.ts'

interface VitalsPiece {
  readonly startMs: number
  readonly rows: readonly VitalRow[]
}

/** Newer than this is live. */
const liveMs = 120_000
const lateMs = 30_000
const pollMs = 1_000
/** Of what is live already, so much is shown from the beginning. */
const leadInMs = 8_000
const spans = {
  ...{ hour: 3_600_000, day: 86_400_000, week: 7 * 86_400_000, month: 30 * 86_400_000 },
} as const
type Span = keyof typeof spans
const trendRecords = 120
const units: Readonly<Record<string, string>> = {
  ...{ 'heart-rate': '/min', 'respiratory-rate': '/min', pulse: '/min', spo2: '%', temperature: '°C' },
  ...{ 'systolic-pressure': 'mmHg', 'diastolic-pressure': 'mmHg', glucose: 'mg/dL', 'supplemental-oxygen': 'l/min' },
}

/** The heart's rate first, each sign always in its place. */
function bySign(a: { readonly sign: string }, b: { readonly sign: string }): number {
  const places = Object.keys(units)
  return places.indexOf(a.sign) - places.indexOf(b.sign)
}

function signName(sign: string): string {
  return known(`patient.sign.${sign}`, 'patient.sign.other')
}

/** Hands on what is new since a moment, once a second, until nobody listens. */
function feedSince(base: string, sinceMs: number): EcgFeed {
  return {
    listen(take) {
      let isOver = false
      let timer: ReturnType<typeof setTimeout> | undefined
      const ends = new Map<string, number>()
      let fromMs = sinceMs
      const poll = async (): Promise<void> => {
        try {
          const measured = await loadMeasured<SentSamples>(base, 'ecg', {
            fromMs,
            toMs: nodeNowMs() + liveMs,
            most: 32,
          })
          if (isOver) return
          for (const { name, segments } of leadsOf(measured.pieces)) {
            for (const segment of segments) {
              const fresh = laterThan(segment, ends.get(name) ?? sinceMs)
              if (fresh === undefined) continue
              take(name, fresh)
              ends.set(name, endMsOf(fresh))
            }
          }
          if (ends.size > 0) fromMs = Math.floor(Math.min(...ends.values()))
        } catch {
          // The view says how old its newest sample is; the next question may be answered.
        }
        if (!isOver) timer = setTimeout(() => void poll(), pollMs)
      }
      void poll()
      return () => {
        isOver = true
        clearTimeout(timer)
      }
    },
  }
}

function LiveEcg(props: { lastMs: number }): JSX.Element {
  const { base } = usePatient()
  const [sinceMs] = useState(props.lastMs - leadInMs)
  const first = useEcg(
    base,
    useMemo(() => ({ fromMs: sinceMs, toMs: sinceMs + leadInMs }), [sinceMs]),
  )
  const feed = useMemo(() => feedSince(base, sinceMs), [base, sinceMs])
  const names = first.leads.map(({ name }) => name)
  if (first.error !== undefined) return <Failed words={first.error} onRetry={first.retry} />
  if (names.length === 0) return <p class="waiting">{t('loading')}</p>
  return <EcgLive leads={names} feed={feed} lateMs={lateMs} />
}

/** The recorded ECG; `atMs`: what is looked at first. */
export function RecordedEcg(props: {
  extent: TimeRange
  atMs: number
  finding?: TimeRange & { label: string }
}): JSX.Element {
  const { base } = usePatient()
  const { extent, finding } = props
  const [viewMs, setViewMs] = useState(props.atMs)
  const [loaded, setLoaded] = useState<TimeRange>({ fromMs: props.atMs - 5_000, toMs: props.atMs + 15_000 })
  const onView = useCallback((view: TimeRange) => {
    setViewMs(view.fromMs)
    const spareMs = view.toMs - view.fromMs
    setLoaded((before) =>
      before.fromMs <= view.fromMs && before.toMs >= view.toMs
        ? before
        : { fromMs: view.fromMs - spareMs, toMs: view.toMs + spareMs },
    )
  }, [])
  const ecg = useEcg(base, loaded)
  const missing = ecg.measured?.unread ?? []
  const marks = [
    ...(finding === undefined ? [] : [{ ...finding, kind: 'finding' as const }]),
    ...missing.map(({ from, to, reason }) => ({
      ...{
        fromMs: Date.parse(from),
        toMs: Date.parse(to),
        label: t(`patient.unread.${reason}`),
        kind: 'missing' as const,
      },
    })),
  ]
  return (
    <>
      {ecg.error !== undefined && <Failed words={ecg.error} onRetry={ecg.retry} />}
      <EcgViewer
        {...{ leads: ecg.leads, extent, viewMs, onView, spans: marks, isBusy: ecg.isBusy }}
        missing={ecg.isBusy ? 'coming' : ecg.error === undefined ? undefined : 'failed'}
      />
    </>
  )
}

/** Newest value of each sign. */
function newestOf(rows: readonly VitalRow[]): VitalRow[] {
  const newest = new Map<string, VitalRow>()
  for (const row of rows) if (row.timeMs >= (newest.get(row.sign)?.timeMs ?? 0)) newest.set(row.sign, row)
  return [...newest.values()].filter(({ sign }) => units[sign] !== undefined).toSorted(bySign)
}

function VitalTiles(props: { lastMs: number }): JSX.Element {
  const { base } = usePatient()
  const [rows, setRows] = useState<readonly VitalRow[]>([])
  const { lastMs } = props
  useEffect(() => {
    let isWanted = true
    const isFirst = rows.length === 0
    const fromMs = isFirst ? lastMs - 600_000 : Math.max(...rows.map(({ timeMs }) => timeMs))
    loadMeasured<VitalsPiece>(base, 'vitals', { fromMs, toMs: lastMs + 1, most: 16 }).then(
      ({ pieces }) => isWanted && setRows(newestOf([...rows, ...pieces.flatMap((piece) => piece.rows)])),
      () => {
        // The tiles say how old they are.
      },
    )
    return () => {
      isWanted = false
    }
  }, [base, lastMs])
  return (
    <ul class="tiles">
      {rows.map(({ sign, value, timeMs }) => (
        <li key={sign} class="card">
          <span class="soft">{signName(sign)}</span>
          <strong>
            {formatValue(value)} <small>{units[sign]}</small>
          </strong>
          <span class={nodeNowMs() - timeMs > liveMs ? 'notice late' : 'soft'}>
            {formatAgo(Math.min(timeMs, nodeNowMs()))}
          </span>
        </li>
      ))}
    </ul>
  )
}

/** A chart for each sign. */
function chartsOf(pieces: readonly VitalsPiece[]) {
  const rowsOf = new Map<string, VitalRow[]>()
  for (const row of pieces.flatMap(({ rows }) => rows)) {
    if (units[row.sign] === undefined) continue
    const rows = rowsOf.get(row.sign)
    if (rows === undefined) rowsOf.set(row.sign, [row])
    else rows.push(row)
  }
  return [...rowsOf]
    .map(([sign, rows]) => ({ sign, rows }))
    .toSorted(bySign)
    .map(({ sign, rows }) => {
      const sorted = rows.sort((a, b) => a.timeMs - b.timeMs)
      const values = sorted.map(({ value }) => value)
      return {
        ...{ sign, timesMs: sorted.map(({ timeMs }) => timeMs) },
        series: [{ label: signName(sign), values, ink: '--accent' }],
      }
    })
}

/** What of a stretch is in no chart, and why. */
function NotShown(props: { measured: Measured<unknown> }): JSX.Element {
  const { records, opened, unread } = props.measured
  const count = (reason: string): number => unread.filter((one) => one.reason === reason).length
  const [erased, unreachable] = [count('erased'), count('unreachable')]
  return (
    <>
      {erased > 0 && <p class="soft">{t('patient.trends.erased', { count: erased })}</p>}
      {unreachable > 0 && <p class="notice late">{t('patient.trends.unreachable', { count: unreachable })}</p>}
      {records > opened + unread.length && (
        <p class="soft">{t('patient.trends.thinned', { opened: opened + unread.length, records })}</p>
      )}
    </>
  )
}

function Trends(props: { lastMs: number }): JSX.Element {
  const { base } = usePatient()
  const [span, setSpan] = useState<Span>('hour')
  const [measured, setMeasured] = useState<Measured<VitalsPiece>>()
  const [error, setError] = useState<string>()
  const [attempt, setAttempt] = useState(0)
  const [endMs] = useState(props.lastMs)
  const fromMs = endMs - spans[span]
  useEffect(() => {
    let isWanted = true
    setMeasured(undefined)
    setError(undefined)
    loadMeasured<VitalsPiece>(base, 'vitals', { fromMs, toMs: endMs + 1, most: trendRecords }).then(
      (value) => isWanted && setMeasured(value),
      (cause: unknown) => isWanted && setError(messageFor(cause)),
    )
    return () => {
      isWanted = false
    }
  }, [base, fromMs, endMs, attempt])
  const charts = useMemo(() => chartsOf(measured?.pieces ?? []), [measured])
  const isNothing = measured !== undefined && charts.length === 0 && measured.unread.length === 0
  return (
    <section>
      <div class="row">
        <h2>{t('patient.trends')}</h2>
        <fieldset class="filters">
          <legend class="hidden">{t('patient.trends.span')}</legend>
          {(Object.keys(spans) as Span[]).map((one) => (
            <button key={one} type="button" aria-pressed={one === span} onClick={() => setSpan(one)}>
              {t(`patient.trends.${one}`)}
            </button>
          ))}
        </fieldset>
      </div>
      {error !== undefined && <Failed words={error} onRetry={() => setAttempt(attempt + 1)} />}
      {measured === undefined && error === undefined && <p class="waiting">{t('loading')}</p>}
      {isNothing && <p class="soft">{t('patient.trends.none')}</p>}
      <div class="columns">
        {charts.map(({ sign, timesMs, series }) => (
          <div key={sign} class="card">
            <Trend
              title={signName(sign)}
              timesMs={timesMs}
              series={series}
              unit={units[sign] ?? ''}
              {...(usualRanges[sign] === undefined ? {} : { range: usualRanges[sign] })}
              fromMs={fromMs}
              toMs={endMs}
            />
          </div>
        ))}
      </div>
      {measured !== undefined && <NotShown measured={measured} />}
    </section>
  )
}

const msOf = (at: string | null | undefined): number | undefined =>
  at === null || at === undefined ? undefined : Date.parse(at)

/** My heart. */
export function HeartScreen(): JSX.Element {
  const { base } = usePatient()
  const streams = useResource<readonly Extent[]>(`${base}/streams`, { everyMs: 3_000 })
  return (
    <>
      <h1>{t('patient.heart')}</h1>
      <Shown
        resource={streams}
        isEmpty={(extents) => extents.every(({ lastAt }) => lastAt === null)}
        empty={<p>{t('patient.heart.empty')}</p>}
      >
        {(extents) => {
          const of = (kind: string): Extent | undefined => extents.find((one) => one.kind === kind)
          const lastMs = msOf(of('ecg')?.lastAt)
          const vitalsMs = msOf(of('vitals')?.lastAt)
          const isLive = lastMs !== undefined && nodeNowMs() - lastMs < liveMs
          return (
            <>
              {lastMs !== undefined && (
                <section class="card">
                  <div class="row">
                    <h2>{t(isLive ? 'patient.heart.now' : 'patient.heart.last')}</h2>
                    {!isLive && (
                      <span class="notice late">
                        {t('patient.heart.lastAt', { at: formatMoment(lastMs), ago: formatAgo(lastMs) })}
                      </span>
                    )}
                  </div>
                  {isLive ? (
                    <LiveEcg lastMs={lastMs} />
                  ) : (
                    <RecordedEcg
                      extent={{ fromMs: msOf(of('ecg')?.firstAt) ?? lastMs, toMs: lastMs }}
                      atMs={lastMs - 10_000}
                    />
                  )}
                </section>
              )}
              {vitalsMs !== undefined && <VitalTiles lastMs={vitalsMs} />}
              {vitalsMs !== undefined && <Trends lastMs={vitalsMs} />}
            </>
          )
        }}
      </Shown>
    </>
  )
}
