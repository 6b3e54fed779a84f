/** uPlot, loaded when a trend is first looked at: one chart in a box, with the page's colours. */
import 'uplot/dist/uPlot.min.css'
import uPlot from 'uplot'
import { formatValue } from '../frame/number.ts'
import { sheetWidthPx } from '../frame/printing.ts'
import { t } from '../frame/texts.ts'
import { coloursOf } from '../frame/theme.ts'
import { axisRange } from './ranges.ts'

/** One line of a chart. */
export interface TrendSeries {
  readonly label: string
  /** One for each time; null where nothing was measured. */
  readonly values: readonly (number | null)[]
  /** A CSS variable of the theme, for example `--accent`. */
  readonly ink: string
  /** Dots alone, no line between them. */
  readonly isDots?: boolean
}

/** What a chart shows. */
export interface TrendChart {
  /** Unix ms, ascending. */
  readonly timesMs: readonly number[]
  readonly series: readonly TrendSeries[]
  readonly unit: string
  readonly heightPx: number
  /** What the axis shows in any case. */
  readonly range?: readonly [number, number]
  /** The stretch of time that is shown; all if absent. */
  readonly fromMs?: number
  readonly toMs?: number
  readonly language: string
  /** Somebody pressed at a moment. */
  readonly onPick?: (atMs: number) => void
}

/** Below so many times each is a dot as well: a single one would be no line. */
const fewTimes = 60

function axesOf(chart: TrendChart, ink: (name: string) => string): uPlot.Axis[] {
  const look = {
    stroke: ink('--ink-soft'),
    grid: { stroke: ink('--line'), width: 1 },
    ticks: { stroke: ink('--line') },
  }
  const hour: Intl.DateTimeFormatOptions = { hour: '2-digit', minute: '2-digit' }
  const day: Intl.DateTimeFormatOptions = { day: 'numeric', month: 'short' }
  const values: uPlot.Axis.DynamicValues = (_plot, ticks, _axis, _space, step) => {
    const format = new Intl.DateTimeFormat(
      chart.language,
      step >= 86_400 ? day : step < 60 ? { ...hour, second: '2-digit' } : hour,
    )
    return ticks.map((seconds) => format.format(seconds * 1000))
  }
  return [
    { ...look, values, space: 80 },
    {
      ...look,
      label: chart.unit,
      labelSize: 18,
      size: 48,
      values: (_plot, ticks) => ticks.map((value) => formatValue(value)),
    },
  ]
}

/** On paper a chart is no wider than a sheet. */
function widthPxOf(box: HTMLElement, isPrinted: boolean): number {
  return Math.max(120, Math.min(box.clientWidth, isPrinted ? sheetWidthPx : Number.POSITIVE_INFINITY))
}

function optionsOf(box: HTMLElement, chart: TrendChart, isPrinted: boolean): uPlot.Options {
  const names = ['--ink-soft', '--line', ...chart.series.map((series) => series.ink)]
  const inks = coloursOf(names, isPrinted ? 'light' : undefined)
  const ink = (name: string): string => inks[name] ?? ''
  return {
    width: widthPxOf(box, isPrinted),
    height: chart.heightPx,
    cursor: { y: false, drag: { x: true, y: false }, points: { show: true } },
    legend: { live: true },
    scales: {
      x: {
        time: true,
        ...(chart.fromMs === undefined || chart.toMs === undefined
          ? {}
          : { range: [chart.fromMs / 1000, chart.toMs / 1000] }),
      },
      y: {
        range: (_plot, min: number | null, max: number | null) => axisRange(min, max, chart.range),
      },
    },
    series: [
      {
        label: t('trend.time'),
        value: (_plot, seconds: number | null) =>
          seconds === null
            ? '–'
            : new Intl.DateTimeFormat(chart.language, { dateStyle: 'medium', timeStyle: 'short' }).format(
                seconds * 1000,
              ),
      },
      ...chart.series.map((series) => ({
        label: series.label,
        stroke: ink(series.ink),
        width: 1.5,
        spanGaps: false,
        ...(series.isDots === true
          ? { paths: () => null, points: { show: true, size: 5 } }
          : { points: { show: chart.timesMs.length < fewTimes, size: 5 } }),
        value: (_plot: uPlot, value: number | null) => (value === null ? '–' : `${formatValue(value)} ${chart.unit}`),
      })),
    ],
    axes: axesOf(chart, ink),
  }
}

/** A chart that is drawn. */
export interface TrendPlot {
  /** Removes it. */
  readonly stop: () => void
  /** Makes it as wide as its box. */
  readonly resize: () => void
}

/** Draws a chart into a box. `isPrinted`: in the colours and the width of paper. */
export function plotTrend(box: HTMLElement, chart: TrendChart, isPrinted = false): TrendPlot {
  const data = [
    chart.timesMs.map((ms) => ms / 1000),
    ...chart.series.map(({ values }) => [...values]),
  ] as uPlot.AlignedData
  const plot = new uPlot(optionsOf(box, chart, isPrinted), data, box)
  const onClick = (): void => {
    const { left } = plot.cursor
    if (left !== undefined && left >= 0) chart.onPick?.(plot.posToVal(left, 'x') * 1000)
  }
  plot.over.addEventListener('click', onClick)
  return {
    stop: () => plot.destroy(),
    resize: () => plot.setSize({ width: widthPxOf(box, isPrinted), height: chart.heightPx }),
  }
}
