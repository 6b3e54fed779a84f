import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generateEcg } from '@healthblock/diagnosis/generator'

/** Writes a generated one-lead WFDB record (format 16, 250 Hz) and returns its path without ending. */
export function writeRecord(
  folder: string,
  options: { seconds: number; rhythm?: 'regular' | 'irregular' | 'fast' | 'slow' },
): string {
  const rateHz = 250
  const gain = 200
  const ecg = generateEcg({ seed: 11, rateHz, seconds: options.seconds, rhythm: options.rhythm ?? 'regular' })
  const samples = Int16Array.from(ecg, (millivolts) => Math.round(millivolts * gain))
  const sum = samples.reduce((total, value) => (total + value) & 0xffff, 0)
  const checksum = sum > 0x7fff ? sum - 0x10000 : sum
  writeFileSync(
    join(folder, 'made.hea'),
    `made 1 ${rateHz} ${samples.length}\nmade.dat 16 ${gain} 16 0 ${samples[0]} ${checksum} 0 II\n`,
  )
  writeFileSync(join(folder, 'made.dat'), new Uint8Array(samples.buffer))
  return join(folder, 'made')
}
