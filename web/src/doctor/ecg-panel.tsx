/** The ECG of a patient: stored records to scroll through, or live. */
import type { ComponentChildren, JSX } from 'preact'
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { type EcgFeed, EcgLive } from '../ecg/live.tsx'
import type { EcgSpan, TimeRange } from '../ecg/signal.ts'
import { EcgViewer, type EcgViewerProps } from '../ecg/viewer.tsx'
import type { Live } from '../frame/live.ts'
import { Failed, messageFor } from '../frame/notice.tsx'
import { t } from '../frame/texts.ts'
import { type Diagnosis, type StreamSummary, severities } from './model.ts'
import { EcgStretches, fetchPieces, type OpenedPiece, type Stretch } from './stretches.ts'
import { findingName } from './words.tsx'

const emptyStretch: Stretch = { leads: [], beats: [], spans: [], records: [], isUnreachable: false }
/** How much of the past a live view begins with. */
const liveStartMs = 20_000
const settleMs = 120

/** Findings of the ECG as stretches behind the trace. */
function findingSpans(diagnoses: readonly Diagnosis[]): EcgSpan[] {
  const spans = new Map<string, EcgSpan>()
  for (const { findings, status } of diagnoses) {
    if (status === 'withdrawn') continue
    for (const { code, from, to, severity } of findings) {
      // What is low lasts for hours: the marks of the beats show it.
      if (!code.startsWith('ecg.') || severities.indexOf(severity) < severities.indexOf('medium')) continue
      const [fromMs, toMs] = [Date.parse(from), Date.parse(to)]
      spans.set(`${code} ${from}`, {
        fromMs,
        toMs: Math.max(toMs, fromMs + 1_000),
        label: findingName(code),
        kind: 'finding',
      })
    }
  }
  return [...spans.values()]
}

/** Gives a live view the records as they come. */
function createFeed(live: Live, stream: { patient: string; stream: string; path: string; lastMs: number }): EcgFeed {
  return {
    listen: (take) => {
      let isOver = false
      let newestMs = stream.lastMs - liveStartMs
      let isRunning = false
      const give = (pieces: readonly OpenedPiece[]): void => {
        for (const piece of pieces) {
          if (piece.toMs <= newestMs) continue
          for (const [name, segment] of piece.segments) take(name, segment)
          newestMs = piece.toMs
        }
      }
      const ask = async (): Promise<void> => {
        if (isRunning) return
        isRunning = true
        try {
          const { pieces } = await fetchPieces(stream.path, { fromMs: newestMs, toMs: newestMs + 86_400_000 })
          if (!isOver) give(pieces)
        } catch {
          // The banner says that the line is down; the next reading asks again.
        } finally {
          isRunning = false
        }
      }
      void ask()
      const stop = live.listen((event) => {
        if (event === undefined || (event.type === 'reading' && event.stream === stream.stream)) void ask()
      })
      return () => {
        isOver = true
        stop()
      }
    },
  }
}

/** What of a stream is here, and what is on its way. */
function useStretch(
  path: string,
  view: TimeRange | undefined,
  newestMs: number,
): {
  stretch: Stretch
  isBusy: boolean
  missing: EcgViewerProps['missing']
  error: string | undefined
  retry: () => void
} {
  const stretches = useMemo(() => new EcgStretches(path), [path])
  const [turn, setTurn] = useState(0)
  const [attempt, setAttempt] = useState(0)
  const [isBusy, setBusy] = useState(false)
  const [error, setError] = useState<string>()
  const [fromMs, toMs] = [view?.fromMs, view?.toMs]
  useEffect(() => {
    if (fromMs === undefined || toMs === undefined || !stretches.isMissing({ fromMs, toMs }, newestMs)) return undefined
    // While somebody scrolls, what is passed is not asked for.
    const timer = setTimeout(() => {
      setBusy(true)
      stretches.load({ fromMs, toMs }, newestMs).then(
        () => {
          setError(undefined)
          setBusy(false)
          setTurn((count) => count + 1)
        },
        (cause: unknown) => {
          setError(messageFor(cause))
          setBusy(false)
        },
      )
    }, settleMs)
    return () => clearTimeout(timer)
  }, [stretches, fromMs, toMs, newestMs, attempt])
  const minutes =
    fromMs === undefined || toMs === undefined ? '' : `${Math.floor(fromMs / 60_000)} ${Math.floor(toMs / 60_000)}`
  // The picture's parts change only when what is loaded, or the minutes that are seen, do.
  const { stretch, isHere } = useMemo(() => {
    if (fromMs === undefined || toMs === undefined) return { stretch: emptyStretch, isHere: false }
    return { stretch: stretches.of({ fromMs, toMs }), isHere: stretches.isHere({ fromMs, toMs }) }
  }, [stretches, minutes, turn])
  const missing = isHere ? undefined : error === undefined || isBusy ? 'coming' : 'failed'
  return { stretch, isBusy, missing, error, retry: () => setAttempt((count) => count + 1) }
}

/** Where the ECG was asked to be; the same place asked for again is another `turn`. */
export interface Jump {
  readonly atMs: number | undefined
  /** 0 = by the address the page was opened with. */
  readonly turn: number
}

/** The panel; `jump` is where to begin, and changes when somebody asks for another place. */
export function EcgPanel(props: {
  patient: string
  stream: StreamSummary
  diagnoses: readonly Diagnosis[]
  live: Live
  jump: Jump
  /** Tells which records are seen. */
  onSeen: (sequences: readonly number[]) => void
  children?: ComponentChildren
}): JSX.Element {
  const { patient, stream, diagnoses, live, jump, onSeen } = props
  const { atMs } = jump
  const box = useRef<HTMLDivElement>(null)
  const path = `/v1/patients/${patient}/streams/${stream.stream}`
  const extent = useMemo(
    () => ({ fromMs: Date.parse(stream.firstAt ?? ''), toMs: Date.parse(stream.lastAt ?? '') }),
    [stream.firstAt, stream.lastAt],
  )
  const [viewMs, setViewMs] = useState(() => Math.max(extent.fromMs, atMs ?? extent.toMs - 10_000))
  const [view, setView] = useState<TimeRange>()
  const [isLive, setLive] = useState(false)
  useEffect(() => {
    if (atMs === undefined) return
    setLive(false)
    setViewMs(Math.min(Math.max(extent.fromMs, atMs), Math.max(extent.fromMs, extent.toMs - 2_000)))
    if (jump.turn === 0) return
    // Who asks for a place from further down the page is brought there, and goes on with the keys of the ECG.
    box.current?.scrollIntoView({ block: 'nearest' })
    requestAnimationFrame(() => box.current?.querySelector('canvas')?.focus({ preventScroll: true }))
  }, [atMs, jump.turn])
  const onView = useCallback((next: TimeRange) => {
    setViewMs(next.fromMs)
    setView((before) => (before?.fromMs === next.fromMs && before.toMs === next.toMs ? before : next))
  }, [])
  const { stretch, isBusy, missing, error, retry } = useStretch(path, view, extent.toMs)
  const fault = error ?? (stretch.isUnreachable && !isBusy ? t('doctor.ecg.unreachable') : undefined)
  const found = useMemo(() => findingSpans(diagnoses), [diagnoses])
  const spans = useMemo(() => [...stretch.spans, ...found], [stretch.spans, found])
  const seen = stretch.records
    .filter((record) => view !== undefined && record.toMs > view.fromMs && record.fromMs < view.toMs)
    .map(({ sequence }) => sequence)
  useEffect(() => onSeen(seen), [seen.join(' '), onSeen])
  const lastLeads = useRef<readonly string[]>([])
  if (stretch.leads.length > 0) lastLeads.current = stretch.leads.map(({ name }) => name)
  const feed = useMemo(
    () => createFeed(live, { patient, stream: stream.stream, path, lastMs: extent.toMs }),
    [isLive, live, patient, path],
  )
  const isToggled = useRef(false)
  useEffect(() => {
    // The button is another one then, in the same place: it keeps the focus of the one that was pressed.
    if (isToggled.current) box.current?.querySelector<HTMLElement>('.ecg-live-toggle')?.focus()
    isToggled.current = false
  }, [isLive])
  const liveButton = (
    <button
      type="button"
      class="ecg-live-toggle"
      aria-pressed={isLive}
      disabled={!isLive && stretch.leads.length === 0}
      onClick={() => {
        isToggled.current = true
        setLive(!isLive)
      }}
    >
      {t('doctor.live')}
    </button>
  )
  return (
    <div ref={box} class="ecg-panel">
      {fault !== undefined && <Failed words={fault} onRetry={retry} />}
      {isLive ? (
        <>
          <div class="ecg-tools">{liveButton}</div>
          <EcgLive leads={lastLeads.current} feed={feed} />
          <p class="soft keys">{t('doctor.live.note')}</p>
        </>
      ) : (
        <EcgViewer leads={stretch.leads} beats={stretch.beats} {...{ extent, viewMs, onView, spans, isBusy, missing }}>
          <button type="button" onClick={() => setViewMs(Math.max(extent.fromMs, extent.toMs - 10_000))}>
            {t('doctor.newest')}
          </button>
          {liveButton}
          {props.children}
        </EcgViewer>
      )}
    </div>
  )
}
