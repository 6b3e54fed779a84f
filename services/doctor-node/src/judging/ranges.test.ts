import { defaultParameters } from '@healthblock/diagnosis/diagnose'
import { documentBytesMax, encodeFitting, parseDiagnosis } from '@healthblock/diagnosis/document'
import type { findingKinds } from '@healthblock/diagnosis/findings'
import { describe, expect, test } from 'vitest'
import { rangesOf } from './judge.ts'
import type { LedgerRecord } from './reader.ts'

function records(stream: number, sequences: readonly number[]): LedgerRecord[] {
  const bytes = new Uint8Array(32)
  return sequences.map((sequence) => ({
    ...{ patient: bytes, stream: new Uint8Array(8).fill(stream), sequence, generation: 1, epoch: 1 },
    ...{ kind: 0, sizeBytes: 1024, cid: bytes, tx: bytes },
  }))
}

describe('ranges', () => {
  test('join what follows and break at each hole and each stream', () => {
    const all = [...records(1, [1, 2, 3, 5, 6]), ...records(2, [7])]
    const { ranges, records: taken } = rangesOf(all)
    expect(ranges.map(([stream, from, to]) => [stream[0], from, to])).toEqual([
      [1, 1, 3],
      [1, 5, 6],
      [2, 7, 7],
    ])
    expect(taken).toEqual(all)
    expect(rangesOf([])).toEqual({ ranges: [], records: [] })
  })

  test('are at most 16, and name exactly the records that were taken', () => {
    const all = records(
      1,
      Array.from({ length: 40 }, (_, i) => 2 * i + 1),
    )
    const { ranges, records: taken } = rangesOf(all)
    expect(ranges).toHaveLength(16)
    expect(taken).toEqual(all.slice(0, 16))
  })
})

describe('a document that fits its block', () => {
  const evidence = Array.from({ length: 4_096 }, (_, record) => ({ record, first: 0, last: 100_000 }))
  const document = (count: number) => ({
    algorithm: { name: 'healthblock-monitor', version: '0.1.0', hash: new Uint8Array(32).fill(7) },
    parameters: defaultParameters,
    atMs: 1_790_000_000_000,
    in: [{ stream: new Uint8Array(8), from: 1, to: 4_096 }],
    findings: Array.from({ length: count }, (_, i) => ({
      code: 'ecg.pause' as keyof typeof findingKinds,
      ...{ fromMs: i, toMs: i + 1, severity: 'low' as const, score: 1, isOpen: false, evidence, sentence: 'Pause.' },
    })),
    state: new Uint8Array(9_000),
    carried: new Uint8Array(0),
    text: '',
  })

  test.each([0, 1, 13, 64, 200])('with %i findings: the first 64, each with the same share of evidence', (count) => {
    const bytes = encodeFitting(document(count))
    expect(bytes.length).toBeLessThanOrEqual(documentBytesMax)
    const { findings } = parseDiagnosis(bytes)
    expect(findings).toHaveLength(Math.min(count, 64))
    const kept = new Set(findings.map((finding) => finding.evidence.length))
    expect(kept.size).toBe(count === 0 ? 0 : 1)
    for (const finding of findings) expect(finding.evidence).toEqual(evidence.slice(0, finding.evidence.length))
    expect(encodeFitting(document(count))).toEqual(bytes)
  })

  test('is refused for what no trimming mends', () => {
    expect(() => encodeFitting({ ...document(1), carried: new Uint8Array(3) })).toThrow(
      expect.objectContaining({ detail: { code: 'ERR_DOCUMENT_INVALID', field: 'carried' } }),
    )
  })
})
