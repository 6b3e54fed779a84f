/** ECG on paper that is scrolled: stored records, with beats, rhythm, findings and calipers. */
import './ecg.css'
import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { localFigures } from '../frame/number.ts'
import { usePrinted } from '../frame/printing.ts'
import { type TextKey, t } from '../frame/texts.ts'
import { onColours } from '../frame/theme.ts'
import { formatClock, formatMoment, formatTime } from '../frame/time.ts'
import { type EcgControls, useEcgControls } from './controls.ts'
import { presentInks, sharpen } from './inks.ts'
import { type BeatSummary, readCalipers, summariseBeats } from './measure.ts'
import { type EcgPicture, paintPicture, pictureHeightPx } from './paint.ts'
import { paperGains, paperSpeeds } from './paper.ts'
import { EcgPrinted } from './printed.tsx'
import type { EcgBeat, EcgLead, EcgSpan, TimeRange } from './signal.ts'

/** What the viewer shows, and whom it tells when the reader goes elsewhere. */
export interface EcgViewerProps {
  readonly leads: readonly EcgLead[]
  /** All there is to scroll through, Unix ms. */
  readonly extent: TimeRange
  /** Unix ms at the left edge. */
  readonly viewMs: number
  /** The reader wants to be there, and sees so much: the place changes when `viewMs` does. A stable function. */
  readonly onView: (view: TimeRange) => void
  readonly beats?: readonly EcgBeat[]
  readonly spans?: readonly EcgSpan[]
  /** True while samples of the view are on their way. */
  readonly isBusy?: boolean
  /** Set while samples or beats of the view are not here: on their way, or they could not be had. What is counted then would not be true. */
  readonly missing?: 'coming' | 'failed' | undefined
  /** More buttons in the row of the viewer's own. */
  readonly children?: ComponentChildren
}

const noBeats: readonly EcgBeat[] = []
const noSpans: readonly EcgSpan[] = []

/** Width of an element in CSS pixels, as it changes. */
function useWidth(element: { current: HTMLElement | null }): number {
  const [width, setWidth] = useState(0)
  useLayoutEffect(() => {
    const { current } = element
    if (current === null) return undefined
    const observer = new ResizeObserver(() => setWidth(current.clientWidth))
    observer.observe(current)
    setWidth(current.clientWidth)
    return () => observer.disconnect()
  }, [element])
  return width
}

/** Draws the picture at the next frame after it changed. */
function usePicture(canvas: { current: HTMLCanvasElement | null }, picture: EcgPicture): void {
  const { leads, beats, spans, fromMs, widthPx, speed, gain, calipers, timeText } = picture
  const [inks, setInks] = useState(presentInks)
  useEffect(() => onColours(() => setInks(presentInks())), [])
  useLayoutEffect(() => {
    const element = canvas.current
    if (element === null || widthPx === 0) return undefined
    const frame = requestAnimationFrame(() => {
      const { context, ratio } = sharpen(element, { widthPx, heightPx: pictureHeightPx(leads.length) })
      const now = { leads, beats, spans, fromMs, widthPx, speed, gain, calipers, timeText }
      paintPicture(context, now, inks, ratio)
    })
    return () => cancelAnimationFrame(frame)
  }, [canvas, leads, beats, spans, fromMs, widthPx, speed, gain, calipers, timeText, inks])
}

/** Words for beats: "12 beats; 72/min; V: 2". */
function wordsOf(summary: BeatSummary): string {
  const others = [...summary.others].map(([label, count]) => `${label}: ${count}`).join(', ')
  return [
    t('ecg.beats', { count: summary.count }),
    ...(summary.perMinute === undefined ? [] : [`${summary.perMinute}/min`]),
    ...(others === '' ? [] : [others]),
  ].join('; ')
}

/** Why there is nothing, or not all; undefined where all of the view is here. */
function missingWords(missing: EcgViewerProps['missing']): string | undefined {
  return missing === undefined ? undefined : t(missing === 'coming' ? 'ecg.coming' : 'ecg.missing')
}

/** What the picture says, for somebody who does not see it. */
function describe(props: EcgViewerProps, view: TimeRange): string {
  const seen = (props.spans ?? []).filter(({ fromMs, toMs }) => toMs > view.fromMs && fromMs < view.toMs)
  const names = [...new Set(seen.map(({ label }) => label))].join(', ')
  const leads = props.leads.map(({ name }) => name).join(', ')
  const time = { from: formatTime(view.fromMs), to: formatTime(view.toMs) }
  const missing = missingWords(props.missing)
  return [
    leads === '' ? t('ecg.of.none', time) : t('ecg.of', { leads, ...time }),
    ...(missing === undefined ? [] : [missing]),
    ...(missing !== undefined || props.beats === undefined ? [] : [wordsOf(summariseBeats(props.beats, view))]),
    ...(names === '' ? [] : [names]),
  ].join('. ')
}

function Choice<T extends number>(props: {
  label: TextKey
  unit: string
  value: T
  steps: readonly T[]
  onChange: (value: T) => void
}): JSX.Element {
  return (
    <label class="ecg-choice">
      <span>{t(props.label)}</span>
      <select
        value={props.value}
        onChange={(event) => props.onChange(Number((event.currentTarget as HTMLSelectElement).value) as T)}
      >
        {props.steps.map((step) => (
          <option key={step} value={step}>
            {step} {props.unit}
          </option>
        ))}
      </select>
    </label>
  )
}

/** Speed, height, calipers and what they say. */
function Tools(props: { controls: EcgControls; lead: EcgLead | undefined; children: ComponentChildren }): JSX.Element {
  const { speed, gain, calipers, setSpeed, setGain, setMeasuring } = props.controls
  const reading = calipers === undefined ? undefined : readCalipers(props.lead, calipers)
  return (
    <div class="ecg-tools">
      <Choice label="ecg.speed" unit="mm/s" value={speed} steps={paperSpeeds} onChange={setSpeed} />
      <Choice label="ecg.gain" unit="mm/mV" value={gain} steps={paperGains} onChange={setGain} />
      <button type="button" aria-pressed={calipers !== undefined} onClick={() => setMeasuring(calipers === undefined)}>
        {t('ecg.calipers')}
      </button>
      {props.children}
      <output class="ecg-reading" aria-live="polite">
        {reading !== undefined &&
          [
            `${reading.ms} ms`,
            ...(reading.perMinute === undefined ? [] : [`${reading.perMinute}/min`]),
            ...(reading.millivolts === undefined ? [] : [localFigures(`${reading.millivolts.toFixed(2)} mV`)]),
          ].join(' · ')}
      </output>
    </div>
  )
}

/** A slider through all there is: for touch, and to see where one is. */
function Place(props: { view: TimeRange; extent: TimeRange; goTo: (atMs: number) => void }): JSX.Element {
  const { view, extent, goTo } = props
  const scrollMs = extent.toMs - extent.fromMs - (view.toMs - view.fromMs)
  return (
    <label class="ecg-place">
      <span class="hidden">{t('ecg.place')}</span>
      <input
        type="range"
        min={0}
        max={Math.max(1, Math.round(scrollMs / 1000))}
        value={Math.max(0, Math.round((view.fromMs - extent.fromMs) / 1000))}
        disabled={scrollMs <= 0}
        aria-valuetext={formatTime(view.fromMs)}
        onInput={(event) => goTo(extent.fromMs + Number((event.currentTarget as HTMLInputElement).value) * 1000)}
      />
    </label>
  )
}

/** The viewer. The canvas takes the keyboard; the line below it says how. */
export function EcgViewer(props: EcgViewerProps): JSX.Element {
  const { leads, extent, viewMs, onView, beats = noBeats, spans = noSpans } = props
  const box = useRef<HTMLDivElement>(null)
  const canvas = useRef<HTMLCanvasElement>(null)
  const helpId = useId()
  const widthPx = useWidth(box)
  const controls = useEcgControls({ canvas, widthPx, viewMs, extent, onView })
  const { speed, gain, calipers, view } = controls
  const picture = { leads, beats, spans, fromMs: viewMs, widthPx, speed, gain, calipers, timeText: formatClock }
  usePicture(canvas, picture)
  const isPrinted = usePrinted()
  return (
    <figure class="ecg">
      <Tools controls={controls} lead={leads[0]}>
        {props.children}
      </Tools>
      <div class="ecg-box" ref={box} aria-busy={props.isBusy === true}>
        <canvas
          ref={canvas}
          class={calipers === undefined ? '' : 'measuring'}
          tabIndex={0}
          role="img"
          aria-label={describe(props, view)}
          aria-describedby={helpId}
          onKeyDown={controls.onKeyDown}
          onPointerDown={controls.onPointerDown}
          onPointerMove={controls.onPointerMove}
          onPointerUp={controls.onPointerEnd}
          onPointerCancel={controls.onPointerEnd}
        />
        {props.isBusy === true && <span class="ecg-busy">{t('loading')}</span>}
      </div>
      {isPrinted && <EcgPrinted picture={picture} toMs={view.toMs} note={missingWords(props.missing)} />}
      <Place view={view} extent={extent} goTo={controls.goTo} />
      <figcaption class="row soft ecg-keys">
        <span id={helpId}>{t('ecg.keys')}</span>
        <time>{formatMoment(view.fromMs)}</time>
      </figcaption>
    </figure>
  )
}
