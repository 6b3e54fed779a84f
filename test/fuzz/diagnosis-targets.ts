/** Readings, diagnoses, files of the field. */
import { readFileSync } from 'node:fs'
import { parseIntervals } from '@healthblock/diagnosis/annotate'
import { encodeBatch, parseBatch, type ReadingBatch } from '@healthblock/diagnosis/batch'
import { parseDiagnosis } from '@healthblock/diagnosis/document'
import { parseVitalSet } from '@healthblock/diagnosis/early-warning'
import { EcgAnalyser, parseEcgState } from '@healthblock/diagnosis/ecg'
import { decodeSignal, encodeAnnotations, parseAnnotations, parseHeader } from '@healthblock/diagnosis/wfdb'
import { concatBytes, encodeUtf8 } from '@healthblock/encoding/bytes'
import { type FuzzTarget, latin1, texts } from '../support/fuzz.ts'

/** Parsers of `packages/diagnosis`. */
export function diagnosisTargets(): FuzzTarget[] {
  const samples = Int16Array.from({ length: 200 }, (_, i) => i * 3)
  const ecg: ReadingBatch = {
    ...{ kind: 'ecg', startMs: 1_800_000_000_000, rateMilliHz: 250_000, leads: ['ii'], unit: 'mv', gainMilli: 200_000 },
    ...{ baseline: 0, samples },
  }
  const vitals: ReadingBatch = { kind: 'vitals', startMs: 1, rows: [{ atMs: 1, sign: 'spo2', value: 97 }] }
  const header = 'r 2 250 100\nr.dat 212 200 12 0 0 0 0 II\nr.dat 212 200 12 0 0 0 0 V5\n'
  const mat = 'm 1 250 20\nm.mat 16+24 1000 16 0 0 0 0 I\n'
  const annotations = encodeAnnotations([
    { sample: 5, symbol: 'N', subtype: 0, channel: 0, number: 0, aux: '' },
    { sample: 500, symbol: '+', subtype: 0, channel: 0, number: 0, aux: '(AFIB' },
  ])
  const documents = readFileSync(new URL('../../packages/diagnosis/vectors/golden-diagnosis.cbor', import.meta.url))
  const analyser = new EcgAnalyser({ rateMilliHz: 250_000 })
  const split = (bytes: Uint8Array): [Uint8Array, Uint8Array] => {
    const at = bytes.indexOf(0xff)
    return at === -1 ? [bytes, new Uint8Array(0)] : [bytes.subarray(0, at), bytes.subarray(at + 1)]
  }
  const record = (text: string, size: number) =>
    concatBytes(encodeUtf8(text), Uint8Array.of(0xff), new Uint8Array(size).fill(3))
  return [
    { name: 'batch of readings', corpus: [encodeBatch(ecg), encodeBatch(vitals)], parse: parseBatch },
    { name: 'diagnosis', corpus: [new Uint8Array(documents)], parse: parseDiagnosis },
    { name: 'state of an analyser', corpus: [analyser.encodeState()], parse: parseEcgState },
    {
      name: 'WFDB record',
      corpus: [record(header, 300), record(mat, 64)],
      parse: (bytes) => {
        const [head, data] = split(bytes)
        const parsed = parseHeader(head)
        for (const index of parsed.signals.keys()) decodeSignal(parsed, index, data)
      },
    },
    { name: 'WFDB annotations', corpus: [annotations], parse: parseAnnotations },
    { name: 'intervals', corpus: texts('0 0.8 200\n200 0.81 402\n'), parse: (bytes) => parseIntervals(latin1(bytes)) },
    {
      name: 'vital signs',
      corpus: texts('{"respiratoryRate":18,"spo2":96,"supplementalOxygen":false,"consciousness":"alert"}'),
      parse: (bytes) => {
        let value: unknown
        try {
          value = JSON.parse(latin1(bytes))
        } catch {
          return
        }
        parseVitalSet(value)
      },
    },
  ]
}
