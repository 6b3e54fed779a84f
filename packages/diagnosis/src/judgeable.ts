/** Whether a batch can be judged at all. What cannot is set aside by itself, and holds up nothing else of the patient. */
import type { ReadingBatch } from './batch.ts'
import { rateMilliHzMax, rateMilliHzMin } from './ecg/analyser.ts'

/** Of what is later a diagnosis would not parse (SPEC.md: times up to 2^45), after whatever the analysis adds to it. */
const judgedUntilMsMax = 2 ** 44

/** First and last moment of a batch, Unix ms. */
export function spanOf(batch: ReadingBatch): { startMs: number; untilMs: number } {
  const { startMs } = batch
  if (batch.kind === 'vitals') return { startMs, untilMs: batch.rows.at(-1)?.atMs ?? startMs }
  const frames = batch.samples.length / batch.leads.length
  return { startMs, untilMs: startMs + Math.round((frames * 1_000_000) / batch.rateMilliHz) }
}

/**
 * False for a batch that no diagnosis can rest on whatever comes with it: an ECG that is not in millivolts, or of a rate that the analyser
 * does not take; a time after 2^44 ms.
 */
export function isJudgeable(batch: ReadingBatch): boolean {
  if (spanOf(batch).untilMs > judgedUntilMsMax) return false
  if (batch.kind === 'vitals') return true
  return batch.unit === 'mv' && batch.rateMilliHz >= rateMilliHzMin && batch.rateMilliHz <= rateMilliHzMax
}
