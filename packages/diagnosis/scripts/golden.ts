/** Writes the golden files in `vectors/`: `--records` makes the records anew, else only the diagnosis of those that are there. */
import { readFileSync, writeFileSync } from 'node:fs'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { algorithmName, algorithmVersion } from '../src/algorithm.ts'
import { encodeBatch, parseBatch } from '../src/batch.ts'
import { defaultParameters, diagnose } from '../src/diagnose.ts'
import { encodeDiagnosis } from '../src/document.ts'
import { generateEcg } from '../src/generator.ts'

const startMs = 1_790_000_000_000
const stream = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)
const recordsFile = new URL('../vectors/golden-records.cbor', import.meta.url)

if (process.argv.includes('--records')) {
  const changes = [
    { fromSeconds: 30, rhythm: 'irregular' as const },
    { fromSeconds: 260, rhythm: 'slow' as const },
  ]
  const ecg = generateEcg({ seed: 5, rateHz: 128, seconds: 300, changes, noise: 0.02 })
  const batches = Array.from({ length: 30 }, (_, i) =>
    encodeBatch({
      kind: 'ecg',
      startMs: startMs + i * 10_000,
      rateMilliHz: 128_000,
      leads: ['ii'],
      unit: 'mv',
      gainMilli: 100_000,
      baseline: 0,
      samples: Int16Array.from(ecg.subarray(i * 1280, (i + 1) * 1280), (mv) => Math.round(mv * 100)),
    }),
  )
  writeFileSync(recordsFile, encodeCbor(batches))
}
const batches = decodeCbor(new Uint8Array(readFileSync(recordsFile))) as Uint8Array[]
const records = batches.map((bytes, i) => ({ ...parseBatch(bytes), stream, sequence: i + 1 }))
const { findings, state } = diagnose({ records })
for (const { code, sentence } of findings) console.log(code, sentence)
const bytes = encodeDiagnosis({
  algorithm: { name: algorithmName, version: algorithmVersion, hash: new Uint8Array(32).fill(7) },
  parameters: defaultParameters,
  atMs: startMs,
  in: [{ stream, from: 1, to: 12 }],
  findings,
  state,
  carried: new Uint8Array(0),
  text: '',
})
writeFileSync(new URL('../vectors/golden-diagnosis.cbor', import.meta.url), bytes)
