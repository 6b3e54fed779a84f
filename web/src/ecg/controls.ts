/** Where the reader of an ECG is and what she measures: scrolling, speed, height, calipers, by keyboard, pointer and wheel. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { gutterPx, momentAt } from './paint.ts'
import { nextStep, type PaperGain, type PaperSpeed, paperGains, paperSpeeds, usualPaper, widthMs } from './paper.ts'
import type { TimeRange } from './signal.ts'

/** What the controls say and do. */
export interface EcgControls {
  readonly speed: PaperSpeed
  readonly gain: PaperGain
  /** The stretch that is seen. */
  readonly view: TimeRange
  /** The legs of the calipers, while they are taken. */
  readonly calipers: TimeRange | undefined
  readonly setGain: (gain: PaperGain) => void
  /** The middle of the picture stays where it is. */
  readonly setSpeed: (speed: PaperSpeed) => void
  readonly setMeasuring: (isOn: boolean) => void
  /** Goes to a moment, as far as there is anything. */
  readonly goTo: (atMs: number) => void
  readonly onKeyDown: (event: KeyboardEvent) => void
  readonly onPointerDown: (event: PointerEvent) => void
  readonly onPointerMove: (event: PointerEvent) => void
  readonly onPointerEnd: () => void
}

const arrowMs = 1_000
const caliperStepMs = 10
/** Legs are put so far from the middle first. */
const caliperHalfMs = 400

/** The begin of a view that was asked for, moved into what there is. */
export function clampView(wantedMs: number, lengthMs: number, extent: TimeRange): TimeRange {
  const latestMs = Math.max(extent.fromMs, extent.toMs - lengthMs)
  const fromMs = Math.min(latestMs, Math.max(extent.fromMs, wantedMs))
  return { fromMs, toMs: fromMs + lengthMs }
}

/** Where on the picture a pointer is, CSS pixels. */
function placeOf(event: PointerEvent): number {
  return event.clientX - (event.currentTarget as HTMLElement).getBoundingClientRect().left
}

/** Scrolls with the wheel sideways, or with Shift; the page keeps its own scrolling. */
function useWheel(canvas: { current: HTMLElement | null }, onMove: (sharePx: number) => void): void {
  const move = useRef(onMove)
  move.current = onMove
  useEffect(() => {
    const element = canvas.current
    if (element === null) return undefined
    const onWheel = (event: WheelEvent): void => {
      const isSideways = Math.abs(event.deltaX) > Math.abs(event.deltaY)
      const alongPx = isSideways ? event.deltaX : event.shiftKey ? event.deltaY : 0
      if (alongPx === 0) return
      event.preventDefault()
      move.current(alongPx)
    }
    element.addEventListener('wheel', onWheel, { passive: false })
    return () => element.removeEventListener('wheel', onWheel)
  }, [canvas])
}

/** Drags the paper, or a leg of the calipers. */
function useDrag(options: {
  viewMs: number
  speed: PaperSpeed
  isMeasuring: boolean
  calipers: TimeRange | undefined
  setCalipers: (calipers: TimeRange) => void
  goTo: (atMs: number) => void
}): Pick<EcgControls, 'onPointerDown' | 'onPointerMove' | 'onPointerEnd'> {
  const { viewMs, speed, isMeasuring, calipers, setCalipers, goTo } = options
  const begun = useRef<{ atMs: number } | undefined>(undefined)
  const under = (event: PointerEvent): number => momentAt({ fromMs: viewMs, speed }, placeOf(event))
  return {
    onPointerDown: (event) => {
      if (event.button !== 0) return
      ;(event.currentTarget as HTMLElement).setPointerCapture(event.pointerId)
      const atMs = under(event)
      begun.current = { atMs }
      if (isMeasuring) setCalipers({ fromMs: atMs, toMs: atMs })
    },
    onPointerMove: (event) => {
      if (begun.current === undefined) return
      // The moment that was taken hold of stays under the pointer.
      if (!isMeasuring) goTo(viewMs + begun.current.atMs - under(event))
      else if (calipers !== undefined) setCalipers({ fromMs: calipers.fromMs, toMs: under(event) })
    },
    onPointerEnd: () => {
      begun.current = undefined
    },
  }
}

/** What each key does: `ecg.keys` says so to the reader. */
function createKeys(controls: {
  goTo: (atMs: number) => void
  setSpeed: (speed: PaperSpeed) => void
  setGain: (gain: PaperGain) => void
  setMeasuring: (isOn: boolean) => void
  setCalipers: (calipers: TimeRange) => void
  view: TimeRange
  extent: TimeRange
  speed: PaperSpeed
  gain: PaperGain
  calipers: TimeRange | undefined
}): (event: KeyboardEvent) => void {
  const { goTo, setSpeed, setGain, setMeasuring, setCalipers, view, extent, speed, gain, calipers } = controls
  const pageMs = (view.toMs - view.fromMs) * 0.9
  const along = (event: KeyboardEvent, direction: 1 | -1): void => {
    const stepMs = direction * caliperStepMs
    if (calipers === undefined) goTo(view.fromMs + direction * arrowMs)
    else if (event.shiftKey) setCalipers({ fromMs: calipers.fromMs + stepMs, toMs: calipers.toMs + stepMs })
    else setCalipers({ fromMs: calipers.fromMs, toMs: calipers.toMs + stepMs })
  }
  const acts: Readonly<Record<string, (event: KeyboardEvent) => void>> = {
    ArrowLeft: (event) => along(event, -1),
    ArrowRight: (event) => along(event, 1),
    ArrowUp: () => setGain(nextStep(paperGains, gain, 1)),
    ArrowDown: () => setGain(nextStep(paperGains, gain, -1)),
    PageUp: () => goTo(view.fromMs - pageMs),
    PageDown: () => goTo(view.fromMs + pageMs),
    Home: () => goTo(extent.fromMs),
    End: () => goTo(extent.toMs),
    '+': () => setSpeed(nextStep(paperSpeeds, speed, 1)),
    '-': () => setSpeed(nextStep(paperSpeeds, speed, -1)),
    c: () => setMeasuring(calipers === undefined),
    Escape: () => setMeasuring(false),
  }
  return (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const act = acts[event.key]
    if (act === undefined || (event.key === 'Escape' && calipers === undefined)) return
    event.preventDefault()
    event.stopPropagation()
    act(event)
  }
}

/** The controls of a viewer `widthPx` wide. `onView` learns of every place and length, also of the first. */
export function useEcgControls(options: {
  canvas: { current: HTMLElement | null }
  widthPx: number
  viewMs: number
  extent: TimeRange
  onView: (view: TimeRange) => void
}): EcgControls {
  const { canvas, widthPx, viewMs, extent, onView } = options
  const [speed, setPaperSpeed] = useState<PaperSpeed>(usualPaper.speed)
  const [gain, setGain] = useState<PaperGain>(usualPaper.gain)
  const [calipers, setCalipers] = useState<TimeRange>()
  const lengthOf = (paperSpeed: PaperSpeed): number => widthMs(Math.max(1, widthPx - gutterPx), paperSpeed)
  const lengthMs = lengthOf(speed)
  const view = { fromMs: viewMs, toMs: viewMs + lengthMs }
  const goTo = (atMs: number): void => onView(clampView(atMs, lengthMs, extent))
  const setSpeed = (wanted: PaperSpeed): void => {
    const newLengthMs = lengthOf(wanted)
    setPaperSpeed(wanted)
    onView(clampView(viewMs + (lengthMs - newLengthMs) / 2, newLengthMs, extent))
  }
  const setMeasuring = (isOn: boolean): void => {
    const middleMs = viewMs + lengthMs / 2
    setCalipers(isOn ? { fromMs: middleMs - caliperHalfMs, toMs: middleMs + caliperHalfMs } : undefined)
  }
  useEffect(() => {
    if (widthPx > 0) onView({ fromMs: viewMs, toMs: viewMs + lengthMs })
  }, [widthPx, lengthMs, viewMs, onView])
  useWheel(canvas, (alongPx) => goTo(viewMs + (alongPx * lengthMs) / Math.max(1, widthPx - gutterPx)))
  const drag = useDrag({ viewMs, speed, isMeasuring: calipers !== undefined, calipers, setCalipers, goTo })
  const onKeyDown = createKeys({
    ...{ goTo, setSpeed, setGain, setMeasuring, setCalipers },
    ...{ view, extent, speed, gain, calipers },
  })
  return { speed, gain, view, calipers, setGain, setSpeed, setMeasuring, goTo, onKeyDown, ...drag }
}
