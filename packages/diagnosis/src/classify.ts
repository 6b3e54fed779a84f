/** Pure logic of `ecg classify`: one short single-lead ECG in, one of four labels out, by boosted trees over measures of its beats, intervals and noise. */
import { type EcgLead, microvoltsOf } from './annotate.ts'
import { classTables } from './class-table.ts'
import { EcgAnalyser, type EcgEvent } from './ecg/analyser.ts'
import { featureCount } from './ecg/beat.ts'
import { shareOf, sumTrees, type TreeTable } from './ecg/trees.ts'

/** Normal, atrial fibrillation, other rhythm, too noisy to say (the labels of the CinC challenge of 2017). */
export type EcgLabel = 'N' | 'A' | 'O' | '~'

/** Outcome: the most probable label, and the four probabilities, which sum to 1. */
export interface Classification {
  label: EcgLabel
  probabilities: Record<EcgLabel, number>
}

/** Labels in the order of the tables. */
export const ecgLabels: readonly EcgLabel[] = ['N', 'A', 'O', '~']
const intervalMeasures = 14
const signalMeasures = 5
/** Number of measures of a recording. */
export const recordingFeatures = 2 * featureCount + intervalMeasures + signalMeasures

const share = (count: number, of: number) => (of > 0 ? count / of : 0)
const quantile = (sorted: readonly number[], q: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0

function measureIntervals(out: number[], events: readonly EcgEvent[], seconds: number): void {
  const beats = events.filter((event) => event.type === 'beat')
  const intervals = beats.map(({ intervalMs }) => intervalMs).filter((ms) => ms > 0)
  const sorted = [...intervals].sort((a, b) => a - b)
  const median = quantile(sorted, 0.5)
  const steps = intervals.slice(1).map((ms, i) => ms - (intervals[i] as number))
  const sizes = steps.map((step) => share(Math.abs(step), median)).sort((a, b) => a - b)
  const turns = steps.filter((step, i) => i > 0 && step > 0 !== (steps[i - 1] as number) > 0).length
  const echo = steps.reduce((sum, step, i) => sum + (i > 0 ? step * (steps[i - 1] as number) : 0), 0)
  const power = steps.reduce((sum, step) => sum + step * step, 1)
  out.push(
    share(60_000, median),
    share(beats.length, seconds),
    share(quantile(sorted, 0.9) - quantile(sorted, 0.1), median),
    share(quantile(sorted, 0.75) - quantile(sorted, 0.25), median),
    share(sorted.at(-1) ?? 0, median),
    share(sorted[0] ?? 0, median),
    quantile(sizes, 0.5),
    quantile(sizes, 0.8),
    share(sizes.filter((size) => size > 0.08).length, sizes.length),
    share(turns, steps.length),
    echo / power,
    share(beats.filter(({ symbol }) => symbol === 'V').length, beats.length),
    share(beats.filter(({ symbol }) => symbol === 'S').length, beats.length),
    beats.at(-1)?.score ?? 0,
  )
}

/** How spiky and how rough the signal is, whatever its amplitude. */
function measureSignal(out: number[], microvolts: Float64Array): void {
  let first = 0
  let second = 0
  let square = 0
  let fourth = 0
  let crossings = 0
  let step = 0
  const steps: number[] = []
  for (let i = 2; i < microvolts.length; i++) {
    const now = (microvolts[i] as number) - (microvolts[i - 1] as number)
    if (Number.isNaN(now)) continue
    if (now > 0 !== step > 0) crossings++
    second += Math.abs(now - step)
    step = now
    first += Math.abs(now)
    square += now * now
    fourth += now * now * now * now
    steps.push(Math.abs(now))
  }
  steps.sort((a, b) => a - b)
  const count = Math.max(1, steps.length)
  out.push(share(second, first), share(fourth * count, square * square), share(crossings, count))
  out.push(share(quantile(steps, 0.5), quantile(steps, 0.98)), Math.min(1000, quantile(steps, 0.5)))
}

/** Measures a recording for the trees. */
export function measureEcg(lead: EcgLead): Float64Array {
  const analyser = new EcgAnalyser({ rateMilliHz: Math.round(lead.rate * 1000) })
  const rows: Float64Array[] = []
  analyser.onBeat = (_tick, features) => void rows.push(features.slice())
  const microvolts = microvoltsOf(lead)
  const events = [...analyser.push(microvolts), ...analyser.finish()]
  const out: number[] = []
  for (let f = 0; f < featureCount; f++) {
    const mean = share(
      rows.reduce((sum, row) => sum + (row[f] as number), 0),
      rows.length,
    )
    const away = rows.reduce((sum, row) => sum + Math.abs((row[f] as number) - mean), 0)
    out.push(mean, share(away, rows.length))
  }
  measureIntervals(out, events, lead.samples.length / lead.rate)
  measureSignal(out, microvolts)
  return Float64Array.from(out)
}

/** Weighs measures by tables, one for each label against the others. */
export function classifyMeasures(measures: Float64Array, tables: readonly TreeTable[]): Classification {
  const shares = tables.map((table) => shareOf(sumTrees(table, measures)))
  const sum = shares.reduce((a, b) => a + b, 0)
  const [N = 0, A = 0, O = 0, noisy = 0] = shares.map((value) => value / sum)
  const probabilities = { N, A, O, '~': noisy }
  const label = ecgLabels.reduce((best, next) => (probabilities[next] > probabilities[best] ? next : best))
  return { label, probabilities }
}

/** Classifies a recording of 5 to 120 seconds. */
export function classifyEcg(lead: EcgLead): Classification {
  return classifyMeasures(measureEcg(lead), classTables)
}
