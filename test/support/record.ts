import type { GeneratedRhythm } from '@healthblock/diagnosis/generator'
import { writeGeneratedRecord } from '../../cli/src/demo/record.ts'

/** Writes a generated one-lead WFDB record (format 16, 250 Hz) and returns its path without ending. */
export function writeRecord(folder: string, options: { seconds: number; rhythm?: GeneratedRhythm }): Promise<string> {
  const { seconds, rhythm = 'regular' } = options
  return writeGeneratedRecord(folder, { name: 'made', seed: 11, rateHz: 250, seconds, rhythm })
}
