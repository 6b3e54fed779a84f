/** What calipers say, and what a picture says to somebody who does not see it. */
import { type EcgBeat, type EcgLead, millivoltsAt, type TimeRange } from './signal.ts'

/** What lies between two legs. */
export interface CaliperReading {
  /** Milliseconds, whole. */
  readonly ms: number
  /** Beats a minute if the length were an interval from beat to beat; undefined below 100 ms. */
  readonly perMinute: number | undefined
  /** Millivolts from the first leg to the second, a hundredth; undefined where nothing was measured. */
  readonly millivolts: number | undefined
}

/** Reads calipers on a lead. */
export function readCalipers(lead: EcgLead | undefined, { fromMs, toMs }: TimeRange): CaliperReading {
  const ms = Math.round(Math.abs(toMs - fromMs))
  const rise = lead === undefined ? Number.NaN : millivoltsAt(lead, toMs) - millivoltsAt(lead, fromMs)
  return {
    ms,
    perMinute: ms < 100 ? undefined : Math.round(60_000 / ms),
    millivolts: Number.isNaN(rise) ? undefined : Math.round(rise * 100) / 100,
  }
}

/** Beats of a stretch, counted. */
export interface BeatSummary {
  readonly count: number
  /** Those that are not N, by their letter. */
  readonly others: ReadonlyMap<string, number>
  /** Beats a minute between the first and the last, whole; undefined below three. */
  readonly perMinute: number | undefined
}

/** Counts the beats of a stretch. */
export function summariseBeats(beats: readonly EcgBeat[], { fromMs, toMs }: TimeRange): BeatSummary {
  const inside = beats.filter(({ atMs }) => atMs >= fromMs && atMs < toMs)
  const others = new Map<string, number>()
  for (const { label } of inside) if (label !== 'N') others.set(label, (others.get(label) ?? 0) + 1)
  const [first, last] = [inside[0], inside.at(-1)]
  const isRate = first !== undefined && last !== undefined && inside.length >= 3
  const perMinute = isRate ? Math.round(((inside.length - 1) * 60_000) / (last.atMs - first.atMs)) : undefined
  return { count: inside.length, others, perMinute }
}
