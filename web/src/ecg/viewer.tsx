/** ECG on paper that is scrolled: stored records, with beats, rhythm, findings and calipers. */
import './ecg.css'
import type { JSX } from 'preact'
import { useCallback, useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { type TextKey, t } from '../frame/texts.ts'
import { formatTime } from '../frame/time.ts'
import { inksOf, onInks, sharpen } from './inks.ts'
import { type BeatSummary, readCalipers, summariseBeats } from './measure.ts'
import { gutterPx, momentAt, paintPicture, pictureHeightPx } from './paint.ts'
import { nextStep, type PaperGain, type PaperSpeed, paperGains, paperSpeeds, usualPaper, widthMs } from './paper.ts'
import type { EcgBeat, EcgLead, EcgSpan, TimeRange } from './signal.ts'

/** What the viewer shows, and whom it tells when the reader goes elsewhere. */
export interface EcgViewerProps {
  readonly leads: readonly EcgLead[]
  /** All there is to scroll through, Unix ms. */
  readonly extent: TimeRange
  /** Unix ms at the left edge. */
  readonly viewMs: number
  /** The reader wants to be there, and sees so much: the place changes when `viewMs` does. */
  readonly onView: (view: TimeRange) => void
  readonly beats?: readonly EcgBeat[]
  readonly spans?: readonly EcgSpan[]
  /** True while samples of the view are on their way. */
  readonly isBusy?: boolean
  /** More buttons in the row of the viewer's own. */
  readonly children?: preact.ComponentChildren
}

const arrowMs = 1_000
const caliperStepMs = 10

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

/** Words for beats: "12 beats, 72/min; V: 2". */
function wordsOf(summary: BeatSummary): string {
  const others = [...summary.others].map(([label, count]) => `${label}: ${count}`).join(', ')
  return [
    t('ecg.beats', { count: summary.count }),
    ...(summary.perMinute === undefined ? [] : [`${summary.perMinute}/min`]),
    ...(others === '' ? [] : [others]),
  ].join('; ')
}

/** What the picture says, for somebody who does not see it. */
function describe(props: EcgViewerProps, view: TimeRange): string {
  const seen = (props.spans ?? []).filter(({ fromMs, toMs }) => toMs > view.fromMs && fromMs < view.toMs)
  const names = [...new Set(seen.map(({ label }) => label))].join(', ')
  return [
    t('ecg.of', {
      leads: props.leads.map(({ name }) => name).join(', '),
      from: formatTime(view.fromMs),
      to: formatTime(view.toMs),
    }),
    ...(props.beats === undefined ? [] : [wordsOf(summariseBeats(props.beats, view))]),
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

/** Where on the picture a pointer or a touch is. */
function placeOf(event: PointerEvent): number {
  return event.clientX - (event.currentTarget as HTMLElement).getBoundingClientRect().left
}

/** The viewer. The canvas takes the keyboard: arrows, Page, Home, End, plus, minus, c; `ecg.keys` says so to the reader. */
export function EcgViewer(props: EcgViewerProps): JSX.Element {
  const { leads, extent, viewMs, onView, beats = [], spans = [] } = props
  const box = useRef<HTMLDivElement>(null)
  const canvas = useRef<HTMLCanvasElement>(null)
  const helpId = useId()
  const widthPx = useWidth(box)
  const [speed, setSpeed] = useState<PaperSpeed>(usualPaper.speed)
  const [gain, setGain] = useState<PaperGain>(usualPaper.gain)
  const [isMeasuring, setMeasuring] = useState(false)
  const [calipers, setCalipers] = useState<TimeRange>()
  const [inkTurn, setInkTurn] = useState(0)
  const drag = useRef<{ atPx: number; viewMs: number }>(undefined)
  const lengthMs = Math.max(1, widthMs(Math.max(1, widthPx - gutterPx), speed))
  const view = { fromMs: viewMs, toMs: viewMs + lengthMs }

  const goTo = useCallback(
    (wantedMs: number, newLengthMs = lengthMs): void => {
      const latest = Math.max(extent.fromMs, extent.toMs - newLengthMs)
      const fromMs = Math.min(latest, Math.max(extent.fromMs, wantedMs))
      onView({ fromMs, toMs: fromMs + newLengthMs })
    },
    [extent.fromMs, extent.toMs, lengthMs, onView],
  )
  useEffect(() => onInks(() => setInkTurn((turn) => turn + 1)), [])
  // Whoever loads the samples learns how much is seen.
  useEffect(() => {
    if (widthPx > 0) onView({ fromMs: viewMs, toMs: viewMs + lengthMs })
  }, [widthPx, lengthMs, viewMs, onView])
  useLayoutEffect(() => {
    const element = canvas.current
    if (element === null || widthPx === 0) return undefined
    const frame = requestAnimationFrame(() => {
      const { context, ratio } = sharpen(element, { widthPx, heightPx: pictureHeightPx(leads.length) })
      const picture = { leads, beats, spans, fromMs: viewMs, widthPx, speed, gain, calipers, timeText: formatTime }
      paintPicture(context, picture, inksOf(element), ratio)
    })
    return () => cancelAnimationFrame(frame)
  }, [leads, beats, spans, viewMs, widthPx, speed, gain, calipers, inkTurn])

  const changeSpeed = (wanted: PaperSpeed): void => {
    const newLength = widthMs(Math.max(1, widthPx - gutterPx), wanted)
    const middleMs = viewMs + lengthMs / 2
    setSpeed(wanted)
    goTo(middleMs - newLength / 2, newLength)
  }
  const measure = (isOn: boolean): void => {
    setMeasuring(isOn)
    const middleMs = viewMs + lengthMs / 2
    setCalipers(isOn ? { fromMs: middleMs - 400, toMs: middleMs + 400 } : undefined)
  }
  useEffect(() => {
    const element = canvas.current
    if (element === null) return undefined
    const onWheel = (event: WheelEvent): void => {
      const along = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.shiftKey ? event.deltaY : 0
      if (along === 0) return
      event.preventDefault()
      goTo(viewMs + (along * lengthMs) / Math.max(1, widthPx))
    }
    element.addEventListener('wheel', onWheel, { passive: false })
    return () => element.removeEventListener('wheel', onWheel)
  }, [goTo, viewMs, lengthMs, widthPx])

  const keys: Readonly<Record<string, (event: KeyboardEvent) => void>> = {
    ArrowLeft: (event) => onArrow(event, -1),
    ArrowRight: (event) => onArrow(event, 1),
    ArrowUp: () => setGain(nextStep(paperGains, gain, 1)),
    ArrowDown: () => setGain(nextStep(paperGains, gain, -1)),
    PageUp: () => goTo(viewMs - lengthMs * 0.9),
    PageDown: () => goTo(viewMs + lengthMs * 0.9),
    Home: () => goTo(extent.fromMs),
    End: () => goTo(extent.toMs),
    '+': () => changeSpeed(nextStep(paperSpeeds, speed, 1)),
    '-': () => changeSpeed(nextStep(paperSpeeds, speed, -1)),
    c: () => measure(!isMeasuring),
    Escape: () => measure(false),
  }
  const onArrow = (event: KeyboardEvent, direction: 1 | -1): void => {
    if (calipers === undefined) {
      goTo(viewMs + direction * arrowMs)
      return
    }
    const step = direction * caliperStepMs
    const { fromMs, toMs } = calipers
    if (event.shiftKey) setCalipers({ fromMs: fromMs + step, toMs: toMs + step })
    else setCalipers({ fromMs, toMs: toMs + step })
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const act = keys[event.key]
    if (act === undefined || (event.key === 'Escape' && !isMeasuring)) return
    event.preventDefault()
    event.stopPropagation()
    act(event)
  }
  const onPointerDown = (event: PointerEvent): void => {
    if (event.button !== 0) return
    ;(event.currentTarget as HTMLElement).setPointerCapture(event.pointerId)
    const atPx = placeOf(event)
    drag.current = { atPx, viewMs }
    if (isMeasuring) {
      const atMs = momentAt({ fromMs: viewMs, speed }, atPx)
      setCalipers({ fromMs: atMs, toMs: atMs })
    }
  }
  const onPointerMove = (event: PointerEvent): void => {
    const begun = drag.current
    if (begun === undefined) return
    if (isMeasuring && calipers !== undefined) {
      setCalipers({ fromMs: calipers.fromMs, toMs: momentAt({ fromMs: viewMs, speed }, placeOf(event)) })
    } else goTo(begun.viewMs - ((placeOf(event) - begun.atPx) * lengthMs) / (widthPx - gutterPx))
  }
  const endDrag = (): void => {
    drag.current = undefined
  }
  const reading = calipers === undefined ? undefined : readCalipers(leads[0], calipers)
  return (
    <figure class="ecg">
      <div class="ecg-tools">
        <Choice label="ecg.speed" unit="mm/s" value={speed} steps={paperSpeeds} onChange={changeSpeed} />
        <Choice label="ecg.gain" unit="mm/mV" value={gain} steps={paperGains} onChange={setGain} />
        <button type="button" aria-pressed={isMeasuring} onClick={() => measure(!isMeasuring)}>
          {t('ecg.calipers')}
        </button>
        {props.children}
        <output class="ecg-reading" aria-live="polite">
          {reading !== undefined &&
            [
              `${reading.ms} ms`,
              ...(reading.perMinute === undefined ? [] : [`${reading.perMinute}/min`]),
              ...(reading.millivolts === undefined ? [] : [`${reading.millivolts.toFixed(2)} mV`]),
            ].join(' · ')}
          {props.isBusy === true && <span class="soft">{t('loading')}</span>}
        </output>
      </div>
      <div class="ecg-box" ref={box}>
        <canvas
          ref={canvas}
          class={isMeasuring ? 'measuring' : ''}
          tabIndex={0}
          role="img"
          aria-label={describe(props, view)}
          aria-describedby={helpId}
          onKeyDown={onKeyDown}
          onPointerDown={onPointerDown}
          onPointerMove={onPointerMove}
          onPointerUp={endDrag}
          onPointerCancel={endDrag}
        />
      </div>
      <label class="ecg-place">
        <span class="hidden">{t('ecg.place')}</span>
        <input
          type="range"
          min={0}
          max={Math.max(1, Math.round((extent.toMs - extent.fromMs - lengthMs) / 1000))}
          value={Math.max(0, Math.round((viewMs - extent.fromMs) / 1000))}
          aria-valuetext={formatTime(viewMs)}
          onInput={(event) => goTo(extent.fromMs + Number((event.currentTarget as HTMLInputElement).value) * 1000)}
        />
      </label>
      <figcaption id={helpId} class="soft ecg-keys">
        {t('ecg.keys')}
      </figcaption>
    </figure>
  )
}
