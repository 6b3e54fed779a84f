/** Live ECG: a sweep with the age of its newest sample. */
import './ecg.css'
import type { JSX } from 'preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { nodeNowMs } from '../frame/api.ts'
import { t } from '../frame/texts.ts'
import { onColours } from '../frame/theme.ts'
import { formatDuration } from '../frame/time.ts'
import { type PaperGain, type PaperSpeed, usualPaper } from './paper.ts'
import { Playhead } from './playhead.ts'
import type { EcgSegment } from './signal.ts'
import { SweepPainter, SweepSamples, sweepHeightPx } from './sweep.ts'

/** Hands on samples as they come; `listen` is called once the view stands, and returns the function that ends it. */
export interface EcgFeed {
  listen(take: (lead: string, segment: EcgSegment) => void): () => void
}

/**
 * Samples are drawn this often, as far ahead as a turn and a hurried moment need. Each turn costs the browser a new motion of the curtain and
 * several rounds of its main thread: at four a second that was a third of everything; what is drawn ahead makes the curtain wider.
 */
const everyMs = 500
const aheadMs = everyMs + 350
/** Where motion is not wanted, the picture moves once a second. */
const stillMs = 1_000
const keepMs = 90_000

/** Runs the sweep until the returned function is called. */
function runSweep(
  box: HTMLElement,
  options: {
    leads: readonly string[]
    widthPx: number
    speed: number
    gain: number
    samples: SweepSamples
    playhead: Playhead
  },
): () => void {
  const { leads, widthPx, speed, gain, samples, playhead } = options
  const isStill = matchMedia('(prefers-reduced-motion: reduce)').matches
  const painter = new SweepPainter(box, { leadNames: leads, widthPx, speed, gain, aheadMs: isStill ? 0 : aheadMs })
  let lastMs = performance.now()
  let drawnMs: number | undefined
  const step = (): void => {
    const nowMs = performance.now()
    playhead.arrive(samples.newestMs, samples.bunchMs)
    const hasJumped = playhead.advance(nowMs - lastMs)
    lastMs = nowMs
    const { atMs } = playhead
    const ahead = playhead.within(isStill ? 0 : aheadMs)
    if (atMs === undefined || ahead === undefined) return
    if (hasJumped || drawnMs === undefined || atMs - drawnMs > painter.spanMs) {
      painter.clear()
      painter.draw(samples.leads, atMs - painter.spanMs, ahead.atMs)
    } else painter.draw(samples.leads, drawnMs, ahead.atMs)
    drawnMs = Math.max(drawnMs ?? ahead.atMs, ahead.atMs)
    painter.uncover(atMs, ahead.atMs, { sinceMs: nowMs, lengthMs: ahead.movesMs })
  }
  step()
  const timer = setInterval(step, isStill ? stillMs : everyMs)
  return () => {
    clearInterval(timer)
    painter.stop()
  }
}

/** Without a stated limit, samples are late after three bunches, and not before this. */
const lateMsMin = 5_000

/**
 * How far the picture is behind, and how often something new comes: both told once a second, for a picture that moves evenly looks as if
 * it were now. What is late is said to be late.
 */
function DataAge(props: { samples: SweepSamples; playhead: Playhead; lateMs: number | undefined }): JSX.Element {
  const { samples, playhead } = props
  const [nowMs, setNow] = useState(nodeNowMs())
  useEffect(() => {
    const timer = setInterval(() => setNow(nodeNowMs()), 1_000)
    return () => clearInterval(timer)
  }, [])
  const { newestMs, bunchMs } = samples
  if (!Number.isFinite(newestMs)) return <span class="ecg-age">{t('ecg.waiting')}</span>
  const ageOf = (ms: number): string => formatDuration(Math.max(0, nowMs - ms))
  const lateMs = props.lateMs ?? Math.max(lateMsMin, 3 * bunchMs)
  if (nowMs - newestMs > lateMs)
    return <span class="ecg-age notice late">{t('ecg.late', { age: ageOf(newestMs) })}</span>
  const words = t('ecg.age', { age: ageOf(playhead.atMs ?? newestMs), every: formatDuration(bunchMs) })
  return <span class="ecg-age">{words}</span>
}

/** The live view of some leads. */
export function EcgLive(props: {
  leads: readonly string[]
  feed: EcgFeed
  /** Samples older than this are late; three times the length of what comes at once, if absent. */
  lateMs?: number
  speed?: PaperSpeed
  gain?: PaperGain
}): JSX.Element {
  const { leads, feed, lateMs, speed = usualPaper.speed, gain = usualPaper.gain } = props
  const box = useRef<HTMLDivElement>(null)
  const names = leads.join('\n')
  const [samples, setSamples] = useState(() => new SweepSamples(leads, keepMs))
  const playhead = useRef(new Playhead())
  useEffect(() => {
    const fresh = new SweepSamples(names.split('\n'), keepMs)
    playhead.current = new Playhead()
    setSamples(fresh)
    return feed.listen((lead, segment) => fresh.push(lead, segment))
  }, [feed, names])
  useLayoutEffect(() => {
    const element = box.current
    if (element === null) return undefined
    let stop: (() => void) | undefined
    const restart = (): void => {
      stop?.()
      const widthPx = Math.max(1, element.clientWidth)
      stop = runSweep(element, {
        ...{ leads: names.split('\n'), widthPx, speed, gain },
        ...{ samples, playhead: playhead.current },
      })
    }
    const observer = new ResizeObserver(restart)
    observer.observe(element)
    const stopColours = onColours(restart)
    return () => {
      observer.disconnect()
      stopColours()
      stop?.()
    }
  }, [names, samples, speed, gain])
  return (
    <figure class="ecg">
      <div
        class="ecg-box ecg-sweep"
        ref={box}
        role="img"
        aria-label={t('ecg.live', { leads: leads.join(', ') })}
        style={{ height: `${sweepHeightPx(leads.length)}px` }}
      />
      <p class="ecg-live-paper">{t('ecg.live.paper')}</p>
      <figcaption>
        <DataAge samples={samples} playhead={playhead.current} lateMs={lateMs} />
      </figcaption>
    </figure>
  )
}
