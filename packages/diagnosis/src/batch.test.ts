import { type CborMap, encodeCbor } from '@healthblock/encoding/cbor'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { batchSizeMax, encodeBatch, parseBatch, type ReadingBatch, type VitalSign, vitalSigns } from './batch.ts'
import { DiagnosisError } from './errors.ts'

const name = fc.stringMatching(/^[a-z0-9._-]{1,64}$/)
const ecg = fc
  .record({
    startMs: fc.nat(2 ** 44),
    rateMilliHz: fc.integer({ min: 1, max: 10_000_000 }),
    leads: fc.uniqueArray(name, { minLength: 1, maxLength: 12 }),
    gainMilli: fc.integer({ min: 1, max: 10 ** 12 }),
    baseline: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    frames: fc.nat(40),
  })
  .chain(({ frames, ...rest }) =>
    fc
      .int16Array({ minLength: frames * rest.leads.length, maxLength: frames * rest.leads.length })
      .map((samples): ReadingBatch => ({ kind: 'ecg', unit: 'mv', samples: Int16Array.from(samples), ...rest })),
  )
const vitals = fc
  .record({
    startMs: fc.nat(2 ** 44),
    rows: fc.array(
      fc.tuple(fc.nat(60_000), fc.constantFrom(...(Object.keys(vitalSigns) as VitalSign[])), fc.nat(1_000_000_000)),
      { maxLength: 30 },
    ),
  })
  .map(
    ({ startMs, rows }): ReadingBatch => ({
      kind: 'vitals',
      startMs,
      rows: rows
        .sort(([a], [b]) => a - b)
        .map(([at, sign, value]) => ({ atMs: startMs + at, sign, value: value / 1000 })),
    }),
  )
const batch = fc.oneof(ecg, vitals)

describe('batches', () => {
  test('what is encoded is parsed, and encodes to the same bytes', () => {
    fc.assert(
      fc.property(batch, (value) => {
        const bytes = encodeBatch(value)
        expect(parseBatch(bytes)).toEqual(value)
        expect(encodeBatch(parseBatch(bytes))).toEqual(bytes)
      }),
    )
  })

  test('damaged bytes are refused with a typed error, or are the one encoding of another batch', () => {
    fc.assert(
      fc.property(batch.map(encodeBatch), fc.nat(), fc.integer({ min: 1, max: 255 }), (bytes, at, x) => {
        bytes[at % bytes.length] = (bytes[at % bytes.length] as number) ^ x
        let parsed: ReadingBatch
        try {
          parsed = parseBatch(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(DiagnosisError)
          return
        }
        expect(encodeBatch(parsed)).toEqual(bytes)
      }),
      { numRuns: 1500 },
    )
  })

  const good: CborMap = {
    v: 1,
    kind: 'ecg',
    start: 5,
    rate: 360_000,
    leads: ['ii'],
    unit: 'mv',
    gain: 200_000,
    base: 2 ** 31,
    samples: new Uint8Array(4),
  }
  test.each([
    [{ v: 2 }, 'v'],
    [{ kind: 'eeg' }, 'kind'],
    [{ start: 2 ** 46 }, 'start'],
    [{ start: 'x' }, 'start'],
    [{ rate: 0 }, 'rate'],
    [{ rate: 10_000_001 }, 'rate'],
    [{ leads: [] }, 'leads'],
    [{ leads: ['ii', 'ii'] }, 'leads'],
    [{ leads: ['i', 'ii', 'iii'] }, 'samples'],
    [{ gain: 0 }, 'gain'],
    [{ base: 2 ** 32 }, 'base'],
    [{ samples: new Uint8Array(3) }, 'samples'],
    [{ extra: 1 }, 'batch.extra'],
    [{ unit: 5 }, 'unit'],
  ])('refuses %j naming the field', (wrong, field) => {
    expect(parseBatch(encodeCbor(good)).kind).toBe('ecg')
    expect(() => parseBatch(encodeCbor({ ...good, ...(wrong as CborMap) }))).toThrow(
      expect.objectContaining({ detail: { code: 'ERR_BATCH_INVALID', field } }),
    )
  })

  test.each([
    [
      [
        [5, 1, 1],
        [4, 1, 1],
      ],
      'rows.time',
    ],
    [[[5, 77, 1]], 'rows.sign'],
    [[[5, 1, 1_000_000_001]], 'rows.value'],
    [[[5, 1]], 'rows.value'],
    [[[5, 1, 1, 1]], 'rows'],
  ])('refuses rows %j', (rows, field) => {
    expect(() => parseBatch(encodeCbor({ v: 1, kind: 'vitals', start: 0, rows }))).toThrow(
      expect.objectContaining({ detail: { code: 'ERR_BATCH_INVALID', field } }),
    )
  })

  test('refuses to encode what would not parse', () => {
    const wrong: ReadingBatch = { kind: 'vitals', startMs: 1000, rows: [{ atMs: 999, sign: 'spo2', value: 98 }] }
    expect(() => encodeBatch(wrong)).toThrow(DiagnosisError)
    expect(() => encodeBatch({ kind: 'vitals', startMs: 0, rows: [{ atMs: 5, sign: 'spo2', value: -1 }] })).toThrow(
      DiagnosisError,
    )
  })

  test('the fixed size holds every batch of a period', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 1_000_000 }),
        fc.integer({ min: 1, max: 20_000 }),
        (leads, rateMilliHz, periodMs) => {
          const count = Math.ceil((rateMilliHz * periodMs) / 1_000_000) + 1
          if (count * leads > 100_000) return
          const names = Array.from({ length: leads }, (_, i) => `${'l'.repeat(62)}${i}`)
          const full: ReadingBatch = {
            kind: 'ecg',
            startMs: 2 ** 45 - 1,
            rateMilliHz,
            leads: names,
            unit: 'u'.repeat(64),
            gainMilli: 10 ** 12,
            baseline: 2 ** 31 - 1,
            samples: new Int16Array(count * leads),
          }
          expect(encodeBatch(full).length).toBeLessThanOrEqual(
            batchSizeMax({ kind: 'ecg', rateMilliHz, leads, periodMs }),
          )
        },
      ),
      { numRuns: 100 },
    )
    const rows = Array.from({ length: 61 * 6 }, (_, i) => ({
      atMs: Math.floor(i / 6) * 1000,
      sign: 'glucose' as const,
      value: 1_000_000,
    }))
    const size = encodeBatch({ kind: 'vitals', startMs: 0, rows }).length
    expect(size).toBeLessThanOrEqual(batchSizeMax({ kind: 'vitals', rateMilliHz: 1000, leads: 6, periodMs: 60_000 }))
  })
})
