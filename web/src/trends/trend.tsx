/** A trend: a chart that is loaded when it is looked at, and the same in words and numbers. */
import './trends.css'
import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { messageFor } from '../frame/notice.tsx'
import { formatValue } from '../frame/number.ts'
import { onPrint } from '../frame/printing.ts'
import { t } from '../frame/texts.ts'
import { onColours } from '../frame/theme.ts'
import { formatMoment, locale } from '../frame/time.ts'
import type { TrendChart, TrendPlot, TrendSeries } from './plot.ts'
import { summariseSeries } from './summary.ts'

export type { TrendChart, TrendSeries } from './plot.ts'

/** Values in words; of a chart with one line, whose name stands above it, without a name. */
function wordsOf(series: TrendSeries, chart: Pick<TrendChart, 'timesMs' | 'unit' | 'series'>): string {
  const summary = summariseSeries(chart.timesMs, series.values)
  if (summary === undefined) return t('trend.none', { what: series.label })
  const [last, min, max] = [formatValue(summary.last), formatValue(summary.min), formatValue(summary.max)]
  const values = { unit: chart.unit, when: formatMoment(summary.lastMs), last, min, max }
  const words = t(min === max ? 'trend.words.same' : 'trend.words', values)
  return chart.series.length === 1 ? words : `${series.label}: ${words}`
}

/** A chart with its summary in words, which is read instead of the picture. */
export function Trend(
  props: { title: string } & Omit<TrendChart, 'language' | 'heightPx'> & { heightPx?: number },
): JSX.Element {
  const { title, timesMs, series, unit, range, fromMs, toMs, onPick, heightPx = 180 } = props
  const box = useRef<HTMLDivElement>(null)
  const [error, setError] = useState<string>()
  const language = locale()
  const [low, high] = range ?? []
  useEffect(() => {
    const element = box.current
    if (element === null) return undefined
    let isOver = false
    let plotter: typeof import('./plot.ts') | undefined
    let plot: TrendPlot | undefined
    const draw = (isPrinted = false): void => {
      if (isOver || plotter === undefined) return
      plot?.stop()
      const chart = {
        ...{ timesMs, series, unit, heightPx, language },
        ...(low === undefined || high === undefined ? {} : { range: [low, high] as const }),
        ...(fromMs === undefined || toMs === undefined ? {} : { fromMs, toMs }),
        ...(onPick === undefined ? {} : { onPick }),
      }
      plot = plotter.plotTrend(element, chart, isPrinted)
    }
    import('./plot.ts').then(
      (loaded) => {
        plotter = loaded
        draw()
      },
      (cause: unknown) => setError(messageFor(cause)),
    )
    const observer = new ResizeObserver(() => plot?.resize())
    observer.observe(element)
    const stopColours = onColours(() => draw())
    const stopPrint = onPrint(draw)
    return () => {
      isOver = true
      observer.disconnect()
      stopColours()
      stopPrint()
      plot?.stop()
    }
  }, [timesMs, series, unit, low, high, fromMs, toMs, onPick, heightPx, language])
  return (
    <figure class="trend">
      <figcaption>
        <h3>{title}</h3>
        <p class="soft">{series.map((one) => wordsOf(one, { timesMs, unit, series })).join(' ')}</p>
      </figcaption>
      {error !== undefined && <p class="notice bad">{error}</p>}
      <div ref={box} class={`trend-box${series.length === 1 ? ' single' : ''}`} aria-hidden="true" />
    </figure>
  )
}
