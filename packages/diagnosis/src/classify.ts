/** Pure logic of `ecg classify`: one short single-lead ECG in, one of four labels out. */
import { analyseLead, type EcgLead } from './annotate.ts'
import type { EcgEvent } from './ecg/analyser.ts'

/** Normal, atrial fibrillation, other rhythm, too noisy to say (the labels of the CinC challenge of 2017). */
export type EcgLabel = 'N' | 'A' | 'O' | '~'

/** Outcome: the most probable label, and the four probabilities, which sum to 1. */
export interface Classification {
  label: EcgLabel
  probabilities: Record<EcgLabel, number>
}

/** What the rules look at. */
export interface EcgFeatures {
  beats: number
  /** Share of seconds that cannot be judged. */
  badShare: number
  /** Mean likeness of the beats to the normal one. */
  likeness: number
  /** Beats a minute by the median interval. */
  rate: number
  /** Share of pairs of neighbouring intervals that differ by more than 8 %. */
  jumpShare: number
  /** Share of pairs of intervals that lie within 5 % of the median. */
  nearShare: number
  /** Share of beats that are early by 15 % or ventricular. */
  earlyShare: number
}

/** Measures a lead for `classifyEcg`. */
export function measureEcg(lead: EcgLead): EcgFeatures {
  const { events, ticks } = analyseLead(lead)
  const beats = events.filter((event) => event.type === 'beat')
  const intervals = beats.map(({ intervalMs }) => intervalMs).filter((ms) => ms > 0)
  const sorted = [...intervals].sort((a, b) => a - b)
  const median = sorted[sorted.length >> 1] ?? 0
  let jumps = 0
  for (let i = 1; i < intervals.length; i++) {
    if (Math.abs((intervals[i] as number) - (intervals[i - 1] as number)) > 0.08 * median) jumps++
  }
  const near = intervals.filter((ms) => Math.abs(ms - median) <= 0.05 * median).length
  const early = beats.filter(
    ({ symbol, intervalMs }) => symbol === 'V' || (intervalMs > 0 && intervalMs < 0.85 * median),
  )
  const share = (count: number, of: number) => (of > 0 ? count / of : 0)
  return {
    beats: beats.length,
    badShare: share(badTicks(events, ticks), ticks),
    likeness: share(
      beats.reduce((sum, beat) => sum + Math.max(0, beat.likeness), 0),
      beats.length,
    ),
    rate: median > 0 ? 60_000 / median : 0,
    jumpShare: share(jumps, intervals.length - 1),
    nearShare: share(near, intervals.length),
    earlyShare: share(early.length, beats.length),
  }
}

function badTicks(events: readonly EcgEvent[], ticks: number): number {
  let bad = 0
  let since = -1
  for (const event of events) {
    if (event.type !== 'quality') continue
    if (event.quality !== 'good' && since < 0) since = event.tick
    else if (event.quality === 'good' && since >= 0) {
      bad += event.tick - since
      since = -1
    }
  }
  return since < 0 ? bad : bad + ticks - since
}

/** Classifies a lead of 5 to 120 seconds by rules over a few measures of it. */
export function classifyEcg(lead: EcgLead): Classification {
  return classifyFeatures(measureEcg(lead), lead.samples.length / lead.rate)
}

/** The rules: points for each label, shared out as probabilities. */
export function classifyFeatures(f: EcgFeatures, seconds: number): Classification {
  const points = { N: 1, A: 0.2, O: 0.6, '~': 0.1 }
  if (f.beats < Math.max(4, seconds / 3) || f.badShare > 0.35 || f.likeness < 0.62) points['~'] += 4
  if (f.jumpShare > 0.55 && f.nearShare < 0.5) points.A += 4
  else if (f.jumpShare > 0.15 || f.earlyShare > 0.06) points.O += 2.5
  else points.N += 2
  if (f.rate > 100 || (f.rate > 0 && f.rate < 52)) points.O += 1.5
  const sum = points.N + points.A + points.O + points['~']
  const probabilities = { N: points.N / sum, A: points.A / sum, O: points.O / sum, '~': points['~'] / sum }
  const labels = Object.keys(probabilities) as EcgLabel[]
  const label = labels.reduce((best, next) => (probabilities[next] > probabilities[best] ? next : best))
  return { label, probabilities }
}
