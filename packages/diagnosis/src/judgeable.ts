/** Whether a batch can be judged at all. What cannot is set aside by itself, and holds up nothing else of the patient. */
import type { ReadingBatch } from './batch.ts'
import { rateMilliHzMax, rateMilliHzMin } from './ecg/analyser.ts'

/** False for a batch that `diagnose` refuses whatever comes with it: an ECG that is not in millivolts, or of a rate that the analyser does not take. */
export function isJudgeable(batch: ReadingBatch): boolean {
  if (batch.kind === 'vitals') return true
  return batch.unit === 'mv' && batch.rateMilliHz >= rateMilliHzMin && batch.rateMilliHz <= rateMilliHzMax
}
