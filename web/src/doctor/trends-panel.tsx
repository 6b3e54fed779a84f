/** Heart rate and vital signs over time. */
import type { JSX } from 'preact'
import { useMemo } from 'preact/hooks'
import { memo } from '../frame/memo.ts'
import type { TextKey } from '../frame/texts.ts'
import { t } from '../frame/texts.ts'
import { usualRanges } from '../trends/ranges.ts'
import { Trend, type TrendSeries } from '../trends/trend.tsx'
import { alignSigns } from './align.ts'
import type { Trends } from './model.ts'

interface ChartPlan {
  readonly key: TextKey
  readonly unit: string
  readonly lines: readonly { readonly sign: string; readonly ink: string }[]
}

const plans: readonly ChartPlan[] = [
  {
    ...{ key: 'doctor.trend.heart', unit: '/min' },
    lines: [
      { sign: 'ecg', ink: '--accent' },
      { sign: 'heart-rate', ink: '--warn' },
      { sign: 'pulse', ink: '--good' },
    ],
  },
  { key: 'doctor.trend.spo2', unit: '%', lines: [{ sign: 'spo2', ink: '--accent' }] },
  { key: 'doctor.trend.respiration', unit: '/min', lines: [{ sign: 'respiratory-rate', ink: '--accent' }] },
  {
    ...{ key: 'doctor.trend.pressure', unit: 'mmHg' },
    lines: [
      { sign: 'systolic-pressure', ink: '--danger' },
      { sign: 'diastolic-pressure', ink: '--accent' },
    ],
  },
  { key: 'doctor.trend.temperature', unit: '°C', lines: [{ sign: 'temperature', ink: '--accent' }] },
  { key: 'doctor.trend.glucose', unit: 'mg/dL', lines: [{ sign: 'glucose', ink: '--accent' }] },
]

/** The shortest time that a chart shows. */
const shortestMs = 15 * 60_000

function Chart(props: { plan: ChartPlan; trends: Trends; onPick: (atMs: number) => void }): JSX.Element | null {
  const { plan, trends, onPick } = props
  const chart = useMemo(() => {
    const lines = plan.lines
      .map((line) => ({ line, sign: line.sign === 'ecg' ? trends.heartRate : (trends.signs[line.sign] ?? []) }))
      .filter(({ sign }) => sign.length > 0)
    const { timesMs, values } = alignSigns(lines.map(({ sign }) => sign))
    const series = lines.map(
      ({ line }, index): TrendSeries => ({
        ...{ label: t(`doctor.line.${line.sign}` as TextKey), ink: line.ink, values: values[index] ?? [] },
        isDots: timesMs.length < 3,
      }),
    )
    return { timesMs, series }
  }, [plan, trends])
  const lastMs = chart.timesMs.at(-1)
  if (chart.series.length === 0 || lastMs === undefined) return null
  // A single value stands in a quarter of an hour, not in a year.
  const fromMs = Math.min(chart.timesMs[0] ?? lastMs, lastMs - shortestMs)
  const times = { fromMs, toMs: lastMs + 30_000 }
  const range = usualRanges[plan.lines[0]?.sign ?? '']
  return (
    <Trend
      title={t(plan.key)}
      unit={plan.unit}
      {...(range === undefined ? {} : { range })}
      {...{ ...chart, ...times, onPick }}
    />
  )
}

/** All charts that have something to show. */
export const TrendsPanel = memo(function drawTrends(props: {
  trends: Trends
  onPick: (atMs: number) => void
}): JSX.Element {
  const { trends } = props
  const isEmpty = trends.heartRate.length === 0 && Object.keys(trends.signs).length === 0
  if (isEmpty) return <p class="soft">{t('doctor.trend.none')}</p>
  return (
    <>
      {trends.isPartial && <p class="notice late">{t('doctor.trend.partial')}</p>}
      <div class="charts">
        {plans.map((plan) => (
          <Chart key={plan.key} plan={plan} trends={trends} onPick={props.onPick} />
        ))}
      </div>
    </>
  )
})
