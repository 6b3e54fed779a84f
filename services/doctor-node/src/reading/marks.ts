/** Beats and rhythm of a stretch of ECG, for who looks at it: the analysis of `packages/diagnosis`, over this stretch alone. Nothing is kept. */
import { annotateEcg } from '@healthblock/diagnosis/annotate'
import type { EcgBatch, ReadingBatch } from '@healthblock/diagnosis/batch'
import { batchSampleMissing } from '@healthblock/diagnosis/batch'
import { DiagnosisError } from '@healthblock/diagnosis/errors'
import { rankLeads } from '@healthblock/diagnosis/lead-choice'
import { sampleMissing } from '@healthblock/diagnosis/wfdb'

/** Marks, in Unix ms. */
export interface EcgMarks {
  readonly beats: readonly (readonly [number, string])[]
  /** N, AFIB, VT, VFL, … as WFDB names them. */
  readonly rhythms: readonly { readonly from: number; readonly to: number; readonly rhythm: string }[]
  /** Stretches that cannot be judged. */
  readonly unreadable: readonly { readonly from: number; readonly to: number }[]
}

/** The analysis settles over so much before the stretch. */
export const settleMs = 120_000
/** A hole that is longer begins the analysis afresh. */
const holeMsMax = 30_000

const isEcg = (batch: ReadingBatch): batch is EcgBatch => batch.kind === 'ecg'

/** Runs of batches of one rate and the same leads, with no hole that is too long. */
function runsOf(batches: readonly EcgBatch[]): EcgBatch[][] {
  const runs: EcgBatch[][] = []
  let endMs = Number.NEGATIVE_INFINITY
  for (const batch of batches) {
    const last = runs.at(-1)?.at(-1)
    const isSame = last?.rateMilliHz === batch.rateMilliHz && last.leads.join() === batch.leads.join()
    if (last !== undefined && isSame && batch.startMs >= endMs - 1_000 && batch.startMs - endMs <= holeMsMax)
      runs.at(-1)?.push(batch)
    else runs.push([batch])
    endMs = batch.startMs + (batch.samples.length / batch.leads.length) * (1_000_000 / batch.rateMilliHz)
  }
  return runs
}

/** One lead of a run as one piece, in microvolts; holes are missing samples. */
function leadOf(run: readonly EcgBatch[], lead: number): { samples: Int32Array; startMs: number; rate: number } {
  const [first, last] = [run[0], run.at(-1)] as [EcgBatch, EcgBatch]
  const rate = first.rateMilliHz / 1000
  const indexOf = (ms: number): number => Math.round(((ms - first.startMs) * rate) / 1000)
  const samples = new Int32Array(indexOf(last.startMs) + last.samples.length / last.leads.length).fill(sampleMissing)
  for (const { startMs, samples: raw, leads, gainMilli, baseline, unit } of run) {
    const offset = indexOf(startMs)
    const perUnit = (gainMilli / 1000) * (unit === 'uv' ? 1000 : 1)
    for (let at = 0; at * leads.length + lead < raw.length && offset + at < samples.length; at++) {
      const value = raw[at * leads.length + lead] as number
      if (value !== batchSampleMissing) samples[offset + at] = Math.round(((value - baseline) * 1000) / perUnit)
    }
  }
  return { samples, startMs: first.startMs, rate }
}

/** Marks of batches in order of time, those between `fromMs` and `toMs`. A rate that cannot be judged has none. */
export function marksOf(batches: readonly ReadingBatch[], range: { fromMs: number; toMs: number }): EcgMarks {
  const beats: [number, string][] = []
  const rhythms: { from: number; to: number; rhythm: string }[] = []
  const unreadable: { from: number; to: number }[] = []
  for (const run of runsOf(batches.filter(isEcg))) {
    const [best = 0, next] = rankLeads(run[0] as EcgBatch)
    const { samples, startMs, rate } = leadOf(run, best)
    const toLead = (index: number) => ({ samples: leadOf(run, index).samples, gain: 1000, baseline: 0, rate })
    const endMs = Math.round(startMs + (samples.length * 1000) / rate)
    const atOf = (sample: number): number => Math.round(startMs + (sample * 1000) / rate)
    const begin = <T extends { to: number }>(list: T[], item: T): void => {
      const before = list.at(-1)
      if (before !== undefined && before.to === endMs) before.to = (item as unknown as { from: number }).from
      list.push(item)
    }
    const second = next === undefined ? undefined : toLead(next)
    for (const { symbol, aux, subtype, sample } of annotate(toLead(best), second)) {
      const from = atOf(sample)
      if (symbol === '+') begin(rhythms, { from, to: endMs, rhythm: aux.slice(1) })
      else if (symbol !== '~') beats.push([from, symbol])
      else if (subtype !== 0) begin(unreadable, { from, to: endMs })
      else if (unreadable.at(-1)?.to === endMs) (unreadable.at(-1) as { to: number }).to = from
    }
  }
  const isInside = ({ from, to }: { from: number; to: number }): boolean => to > range.fromMs && from < range.toMs
  return {
    beats: beats.filter(([at]) => at >= range.fromMs && at < range.toMs),
    rhythms: rhythms.filter(isInside),
    unreadable: unreadable.filter(isInside),
  }
}

function annotate(...leads: Parameters<typeof annotateEcg>): ReturnType<typeof annotateEcg> {
  try {
    return annotateEcg(...leads)
  } catch (error) {
    if (error instanceof DiagnosisError) return []
    throw error
  }
}

/** Beats a minute of each minute of batches with at least ten seconds of beats in it: `[Unix ms of its begin, rate]`. */
export function heartRatesOf(marks: EcgMarks): [number, number][] {
  const minutes = new Map<number, number[]>()
  for (const [index, [at]] of marks.beats.entries()) {
    const before = marks.beats[index - 1]?.[0]
    if (before === undefined || at - before > 3_000 || at <= before) continue
    const minute = Math.floor(at / 60_000)
    const intervals = minutes.get(minute) ?? []
    intervals.push(at - before)
    minutes.set(minute, intervals)
  }
  const rates: [number, number][] = []
  for (const [minute, intervals] of minutes) {
    const sumMs = intervals.reduce((sum, ms) => sum + ms, 0)
    if (sumMs >= 10_000) rates.push([minute * 60_000, Math.round((intervals.length * 60_000) / sumMs)])
  }
  return rates
}
