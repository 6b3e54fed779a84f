/** Measurements as the node hands them on, and as the drawings take them. */
import { useEffect, useState } from 'preact/hooks'
import { type SentSamples, segmentsOf } from '../ecg/samples.ts'
import { type EcgLead, type EcgSegment, endMsOf } from '../ecg/signal.ts'
import { call } from '../frame/api.ts'
import { messageFor } from '../frame/notice.tsx'

/** A vital sign at a moment. */
export interface VitalRow {
  readonly timeMs: number
  readonly sign: string
  readonly value: number
}

/** What a stretch holds. */
export interface Measured<P> {
  readonly pieces: readonly P[]
  readonly records: number
  readonly opened: number
  readonly unread: readonly { readonly from: string; readonly to: string; readonly reason: 'erased' | 'unreachable' }[]
}

/** From when to when there is anything of a stream. */
export interface Extent {
  readonly kind: string
  readonly firstAt: string | null
  readonly lastAt: string | null
}

/** What of a segment comes after a moment; undefined if nothing does. */
export function laterThan(segment: EcgSegment, atMs: number): EcgSegment | undefined {
  if (segment.startMs >= atMs - 1) return segment
  if (endMsOf(segment) <= atMs + 1) return undefined
  const skipped = Math.ceil(((atMs - segment.startMs) * segment.rateHz) / 1000)
  const samples = segment.samples.subarray(skipped) as Int16Array
  return { ...segment, startMs: segment.startMs + (skipped * 1000) / segment.rateHz, samples }
}

/** Pieces as leads: none of a lead's segments over another. */
export function leadsOf(pieces: readonly SentSamples[]): EcgLead[] {
  const leads = new Map<string, EcgSegment[]>()
  for (const piece of pieces) {
    for (const [name, segment] of segmentsOf(piece)) {
      const known = leads.get(name) ?? []
      if (!leads.has(name)) leads.set(name, known)
      const last = known.at(-1)
      const fresh = last === undefined ? segment : laterThan(segment, endMsOf(last))
      if (fresh !== undefined) known.push(fresh)
    }
  }
  return [...leads].map(([name, segments]) => ({ name, segments }))
}

/** Asks for a stretch of a stream, Unix ms. */
export function loadMeasured<P>(
  base: string,
  kind: 'ecg' | 'vitals',
  window: { fromMs: number; toMs: number; most?: number },
): Promise<Measured<P>> {
  const query = new URLSearchParams({
    ...{ from: String(Math.max(0, Math.floor(window.fromMs))), until: String(Math.max(0, Math.ceil(window.toMs))) },
    ...{ most: String(window.most ?? 64) },
  })
  return call<Measured<P>>(`${base}/streams/${kind}/samples?${query}`, { isBackground: true })
}

/** A stretch of ECG as it comes. */
export interface LoadedEcg {
  readonly leads: readonly EcgLead[]
  readonly measured: Measured<SentSamples> | undefined
  readonly error: string | undefined
  readonly isBusy: boolean
  /** Asks once more. */
  readonly retry: () => void
}

/** The ECG of a stretch of time; an undefined window asks for nothing. */
export function useEcg(base: string, window: { fromMs: number; toMs: number } | undefined): LoadedEcg {
  const [attempt, setAttempt] = useState(0)
  const [state, setState] = useState<Omit<LoadedEcg, 'retry'>>({
    leads: [],
    measured: undefined,
    error: undefined,
    isBusy: true,
  })
  const { fromMs, toMs } = window ?? {}
  useEffect(() => {
    if (fromMs === undefined || toMs === undefined) return undefined
    let isWanted = true
    setState((before) => ({ ...before, isBusy: true }))
    loadMeasured<SentSamples>(base, 'ecg', { fromMs, toMs }).then(
      (measured) =>
        isWanted && setState({ leads: leadsOf(measured.pieces), measured, error: undefined, isBusy: false }),
      (cause: unknown) => isWanted && setState((before) => ({ ...before, error: messageFor(cause), isBusy: false })),
    )
    return () => {
      isWanted = false
    }
  }, [base, fromMs, toMs, attempt])
  return { ...state, retry: () => setAttempt((count) => count + 1) }
}
