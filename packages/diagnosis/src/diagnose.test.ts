import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { algorithmFiles, algorithmHashHex, algorithmName, algorithmVersion, hashAlgorithm } from './algorithm.ts'
import { type EcgBatch, encodeBatch, parseBatch, type VitalsBatch } from './batch.ts'
import { type DiagnosisRecord, defaultParameters, diagnose, type Parameters, stateBytesMax } from './diagnose.ts'
import { type DiagnosisDocument, documentBytesMax, encodeDiagnosis, encodeFitting, parseDiagnosis } from './document.ts'
import { DiagnosisError } from './errors.ts'
import { generateEcg } from './generator.ts'

const startMs = 1_790_000_000_000
const stream = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)
const rateHz = 250
const periodMs = 10_000
const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest())

/** Cuts millivolts into batches of ten seconds. */
function recordsOf(millivolts: Float32Array): DiagnosisRecord[] {
  const size = (rateHz * periodMs) / 1000
  return Array.from({ length: Math.ceil(millivolts.length / size) }, (_, i) => ({
    stream,
    sequence: i + 1,
    kind: 'ecg',
    startMs: startMs + i * periodMs,
    rateMilliHz: rateHz * 1000,
    leads: ['ii'],
    unit: 'mv',
    gainMilli: 200_000,
    baseline: 0,
    samples: Int16Array.from(millivolts.subarray(i * size, (i + 1) * size), (mv) => Math.round(mv * 200)),
  }))
}
const generated = (seconds: number, more: object = {}) => recordsOf(generateEcg({ seed: 11, rateHz, seconds, ...more }))
const codes = (result: ReturnType<typeof diagnose>) => result.findings.map(({ code }) => code)
const vitalsAt = (minute: number, rows: [string, number][]): DiagnosisRecord => ({
  stream,
  sequence: minute + 1,
  kind: 'vitals',
  startMs: startMs + minute * 60_000,
  rows: rows.map(([sign, value]) => ({ atMs: startMs + minute * 60_000, sign, value }) as VitalsBatch['rows'][number]),
})

describe('ECG', () => {
  test('a regular rhythm has no finding', () => {
    expect(diagnose({ records: generated(300) }).findings).toEqual([])
  })

  test('an irregular rhythm is one finding that grows, over runs that carry their state', () => {
    const records = generated(600, { changes: [{ fromSeconds: 60, rhythm: 'irregular' }] })
    const seen: [number, number][] = []
    let carriedState: Uint8Array | undefined
    for (let i = 0; i < records.length; i += 6) {
      const { findings, state } = diagnose({ records: records.slice(i, i + 6), carriedState })
      carriedState = state
      const af = findings.filter(({ code }) => code === 'ecg.possible-af')
      expect(af.length).toBeLessThanOrEqual(1)
      for (const { fromMs, toMs } of af) seen.push([fromMs, toMs])
    }
    expect(seen.length).toBeGreaterThan(4)
    const [first, ...rest] = seen as [[number, number], ...[number, number][]]
    for (const [from] of rest) expect(from).toBe(first[0])
    expect(first[0]).toBeGreaterThan(startMs + 60_000)
    expect(seen.at(-1)?.[1]).toBeGreaterThan(startMs + 590_000)
  })

  test('the state after any cut is the state of one run', () => {
    const records = generated(120, { changes: [{ fromSeconds: 40, rhythm: 'fast' }] })
    const whole = diagnose({ records })
    fc.assert(
      fc.property(fc.nat(records.length), fc.nat(records.length), (a, b) => {
        const [one, two] = [Math.min(a, b), Math.max(a, b)]
        let carriedState: Uint8Array | undefined
        for (const [from, to] of [
          [0, one],
          [one, two],
          [two, records.length],
        ]) {
          carriedState = diagnose({ records: records.slice(from, to), carriedState }).state
        }
        expect(carriedState).toEqual(whole.state)
      }),
      { numRuns: 8 },
    )
    expect(whole.state.length).toBeLessThanOrEqual(stateBytesMax)
    // A heart that is fast from one beat to the next looks like a run for a dozen beats, then like a tachycardia.
    expect(codes(whole)).toEqual(['ecg.tachycardia', 'ecg.supraventricular-tachycardia'])
  })

  test.each([
    ['fast', { changes: [{ fromSeconds: 60, rhythm: 'fast' }] }, 'ecg.tachycardia'],
    ['slow', { changes: [{ fromSeconds: 60, rhythm: 'slow' }] }, 'ecg.bradycardia'],
    ['pause', { pause: { atSeconds: 60, seconds: 3.4 } }, 'ecg.pause'],
  ])('%s', (_name, more, code) => {
    const { findings } = diagnose({ records: generated(180, more) })
    const finding = findings.find((found) => found.code === code)
    expect(finding?.sentence).toMatch(/\d/)
    const { record, first, last } = finding?.evidence[0] ?? { record: -1, first: 0, last: 0 }
    expect(record).toBeGreaterThanOrEqual(5)
    expect(last).toBeGreaterThanOrEqual(first)
  })

  test('a long gap is a finding; what was before and after is not joined', () => {
    const records = generated(120)
    const late = records.slice(6).map((record) => ({ ...record, startMs: record.startMs + 3_600_000 }))
    const { findings } = diagnose({ records: [...records.slice(0, 6), ...late] })
    expect(findings).toMatchObject([
      { code: 'stream.gap', fromMs: startMs + 60_000, toMs: startMs + 3_660_000, isOpen: false },
    ])
    expect(findings[0]?.sentence).toContain('60 min')
  })

  test('a flat lead cannot be judged, and is no asystole', () => {
    const records = generated(120).map((record, i) =>
      i >= 6 ? { ...record, samples: new Int16Array(2500) } : record,
    ) as DiagnosisRecord[]
    const { findings } = diagnose({ records })
    expect(findings).toMatchObject([{ code: 'ecg.unreadable', severity: 'info', isOpen: true }])
  })
})

describe('vital signs', () => {
  const well: [string, number][] = [
    ['respiratory-rate', 16],
    ['spo2', 97],
    ['temperature', 37],
    ['systolic-pressure', 120],
    ['heart-rate', 70],
    ['consciousness', 0],
    ['supplemental-oxygen', 0],
  ]
  const change = (...changes: [string, number][]) =>
    well.map(([sign, value]): [string, number] => changes.find(([s]) => s === sign) ?? [sign, value])

  test('NEWS2 from five is one finding with hysteresis', () => {
    const ill = change(['respiratory-rate', 24], ['spo2', 93], ['heart-rate', 100])
    const better = change(['respiratory-rate', 24], ['spo2', 93])
    const minutes = [well, ill, ill, better, well]
    const open = minutes.map((_, i) => {
      const { findings } = diagnose({ records: minutes.slice(0, i + 1).map((rows, minute) => vitalsAt(minute, rows)) })
      return findings.map(({ code, severity, isOpen }) => [code, severity, isOpen])
    })
    const told = ['early-warning.news2', 'medium']
    expect(open).toEqual([[], [[...told, true]], [[...told, true]], [[...told, true]], [[...told, false]]])
  })

  test('no score begins by old values, none ends because they grow old, children are not scored', () => {
    const signs: [string, number][] = [
      ['spo2', 94],
      ['respiratory-rate', 24],
      ['heart-rate', 125],
    ]
    const apart = (minutes: number) => diagnose({ records: signs.map((sign, i) => vitalsAt(minutes * i, [sign])) })
    expect(codes(apart(1))).toEqual(['early-warning.news2'])
    expect(codes(apart(10))).toEqual([])
    const records = [vitalsAt(0, [['spo2', 80]]), vitalsAt(10, [['heart-rate', 70]])]
    expect(diagnose({ records }).findings[0]).toMatchObject({ isOpen: true })
    expect(diagnose({ records, parameters: { ageYears: 8 } }).findings).toEqual([])
  })
})

describe('input', () => {
  const [record] = generated(10) as [DiagnosisRecord]
  test.each([
    [{ stream: new Uint8Array(7) }, 'stream'],
    [{ unit: 'uv' }, 'unit'],
    [{ rateMilliHz: 50_000 }, 'rate'],
    [{ rateMilliHz: 0 }, 'rate'],
    [{ rateMilliHz: 1e12 }, 'rate'],
    [{ rateMilliHz: Number.NaN }, 'rate'],
    [{ gainMilli: 0 }, 'gain'],
    [{ gainMilli: Number.NaN }, 'gain'],
    [{ gainMilli: Number.POSITIVE_INFINITY }, 'gain'],
    [{ baseline: Number.NaN }, 'base'],
    [{ startMs: -1 }, 'start'],
    [{ startMs: 0.5 }, 'start'],
    [{ startMs: Number.NaN }, 'start'],
    [{ leads: [] }, 'leads'],
    [{ leads: ['ii', 'ii'] }, 'leads'],
    [{ leads: ['i', 'ii', 'iii'] }, 'samples'],
    [{ kind: 'eeg' }, 'kind'],
  ])('refuses a record with %j', (wrong, field) => {
    expect(() => diagnose({ records: [{ ...record, ...wrong } as DiagnosisRecord] })).toThrow(
      expect.objectContaining({ detail: { code: 'ERR_INPUT_INVALID', field } }),
    )
  })

  test.each([
    [{ startMs: -1 }, { value: 80 }, 'start'],
    [{}, { value: Number.NaN }, 'rows.value'],
    [{}, { value: Number.POSITIVE_INFINITY }, 'rows.value'],
    [{}, { value: -1 }, 'rows.value'],
    [{}, { atMs: startMs - 1 }, 'rows.time'],
    [{}, { atMs: Number.NaN }, 'rows.time'],
    [{}, { sign: 'mood' }, 'rows.sign'],
  ])('refuses vital signs with %j, %j', (batch, wrong, field) => {
    const rows = [{ atMs: startMs, sign: 'pulse', value: 80, ...wrong }]
    const vitals = { kind: 'vitals', stream, sequence: 1, startMs, rows, ...batch } as DiagnosisRecord
    expect(() => diagnose({ records: [vitals] })).toThrow(
      expect.objectContaining({ detail: { code: 'ERR_INPUT_INVALID', field } }),
    )
  })

  test.each(Object.keys(defaultParameters) as (keyof Parameters)[])('refuses parameter %s out of bounds', (field) => {
    for (const value of [-1, 1e6, 1.5, Number.NaN]) {
      expect(() => diagnose({ records: [], parameters: { [field]: value } })).toThrow(
        expect.objectContaining({ detail: { code: 'ERR_INPUT_INVALID', field } }),
      )
    }
  })

  test('a damaged state is refused with a typed error, or is another state', () => {
    const { state } = diagnose({ records: generated(30) })
    fc.assert(
      fc.property(fc.nat(state.length - 1), fc.integer({ min: 1, max: 255 }), (at, x) => {
        const bad = state.slice()
        bad[at] = (bad[at] as number) ^ x
        for (const carriedState of [bad, state.subarray(0, at)]) {
          try {
            diagnose({ records: [record], carriedState })
          } catch (error) {
            expect(error).toBeInstanceOf(DiagnosisError)
          }
        }
      }),
      { numRuns: 200 },
    )
  })
})

const { findings, state } = diagnose({ records: generated(120, { rhythm: 'fast' }) })
const document: DiagnosisDocument = {
  algorithm: { name: algorithmName, version: algorithmVersion, hash: new Uint8Array(32).fill(7) },
  parameters: defaultParameters,
  atMs: startMs,
  in: [{ stream, from: 1, to: 12 }],
  findings,
  state,
  carried: new Uint8Array(0),
  text: '',
}

describe('document', () => {
  test('however much was found, the document fits', () => {
    const changes = Array.from({ length: 40 }, (_, i) => ({
      fromSeconds: i * 90,
      rhythm: (['fast', 'slow', 'irregular'] as const)[i % 3] ?? 'fast',
    }))
    const one = generated(900, { changes })
    const two = one.map((record) => ({ ...record, stream: Uint8Array.of(8, 7, 6, 5, 4, 3, 2, 1) }))
    const result = diagnose({ records: [...one, ...two] })
    expect(result.findings.length).toBeGreaterThan(5)
    expect(result.findings.length).toBeLessThanOrEqual(16)
    const bytes = encodeFitting({ ...document, findings: result.findings, state: result.state })
    expect(bytes.length).toBeLessThanOrEqual(documentBytesMax)
    expect(parseDiagnosis(bytes).findings.length).toBe(result.findings.length)
  })

  test('what is encoded is parsed, and fits its sealed size', () => {
    expect(findings.length).toBeGreaterThan(0)
    const bytes = encodeDiagnosis(document)
    expect(parseDiagnosis(bytes)).toEqual(document)
    expect(bytes.length).toBeLessThanOrEqual(documentBytesMax)
    const byHand = {
      ...document,
      algorithm: { name: 'by-hand', version: '1', hash: new Uint8Array(32) },
      findings: [],
      state: new Uint8Array(0),
      text: 'Vorhofflimmern; Rücksprache.',
    }
    expect(parseDiagnosis(encodeDiagnosis(byHand))).toEqual(byHand)
  })

  test('damaged bytes are refused with a typed error, or encode to themselves', () => {
    const good = encodeDiagnosis(document)
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, x) => {
        const bytes = good.slice()
        bytes[at] = (bytes[at] as number) ^ x
        try {
          expect(encodeDiagnosis(parseDiagnosis(bytes))).toEqual(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(DiagnosisError)
        }
      }),
      { numRuns: 500 },
    )
  })

  test.each([
    [{ v: 2 }, 'v'],
    [{ at: 2 ** 50 }, 'at'],
    [{ in: [[stream, 5, 4]] }, 'in.to'],
    [{ in: [[new Uint8Array(7), 1, 1]] }, 'in.stream'],
    [{ carried: new Uint8Array(31) }, 'carried'],
    [{ text: Uint8Array.of(0xc3, 0x28) }, 'text'],
    [{ text: new Uint8Array(4001) }, 'text'],
    [{ algorithm: ['x', '1', new Uint8Array(31)] }, 'algorithm.hash'],
    [{ parameters: {} }, 'parameters.bradycardia'],
    [{ findings: [{}] }, 'findings.code'],
    [{ more: 1 }, 'diagnosis.more'],
  ])('refuses %j naming the field', (wrong, field) => {
    const map = decodeCbor(encodeDiagnosis(document)) as object
    expect(() => parseDiagnosis(encodeCbor({ ...map, ...wrong } as never))).toThrow(
      expect.objectContaining({ detail: { code: 'ERR_DOCUMENT_INVALID', field } }),
    )
  })
})

describe('algorithm', () => {
  test('the hash in the source is that of the files', () => {
    const files = algorithmFiles.map((path) => ({
      path,
      bytes: new Uint8Array(readFileSync(new URL(`../${path}`, import.meta.url))),
    }))
    const hash = hashAlgorithm(files, sha256)
    expect(Buffer.from(hash).toString('hex')).toBe(algorithmHashHex)
    expect(hashAlgorithm([...files].reverse(), sha256)).toEqual(hash)
    const [first, ...rest] = files as [(typeof files)[number], ...typeof files]
    expect(hashAlgorithm([{ ...first, bytes: first.bytes.slice(1) }, ...rest], sha256)).not.toEqual(hash)
  })

  test('golden: the same records give the same bytes on every engine', () => {
    const read = (file: string) => new Uint8Array(readFileSync(new URL(`../vectors/${file}`, import.meta.url)))
    // The records are stored, not generated: a generator may differ between engines.
    const batches = (decodeCbor(read('golden-records.cbor')) as Uint8Array[]).map((bytes) => parseBatch(bytes))
    expect(batches.length).toBe(30)
    const records = batches.map((batch, i) => ({ ...batch, stream, sequence: i + 1 }))
    const result = diagnose({ records })
    const bytes = encodeDiagnosis({ ...document, findings: result.findings, state: result.state })
    expect(codes(result)).toContain('ecg.possible-af')
    expect(Buffer.from(bytes).equals(read('golden-diagnosis.cbor'))).toBe(true)
  })

  test.each([
    '0.7.0',
    '0.8.0',
    '0.9.0',
    '0.10.0',
    '0.10.1',
    '0.10.2',
    '0.11.0',
    '0.12.0',
    '0.13.0',
    '0.13.1',
    '0.14.0',
    '0.15.0',
    '0.16.0',
  ])(
    'a diagnosis of %s is still read; its state, laid out otherwise, is refused by name and never misread',
    (version) => {
      const bytes = readFileSync(new URL(`../vectors/diagnosis-${version}.cbor`, import.meta.url))
      const older = parseDiagnosis(new Uint8Array(bytes))
      expect(older.algorithm.version).toBe(version)
      expect(older.findings.map(({ code }) => code)).toContain('ecg.possible-af')
      // It ends where the golden records do.
      const records = generated(60).map((record) => ({ ...record, startMs: record.startMs + 300_000 }))
      expect(() => diagnose({ records, carriedState: older.state })).toThrow(/carried state/)
    },
  )

  test.each(['0.17.0', '0.18.0', '0.19.0'])(
    'a diagnosis of %s is still read, and its state, laid out as today, is carried on',
    (version) => {
      const bytes = readFileSync(new URL(`../vectors/diagnosis-${version}.cbor`, import.meta.url))
      const older = parseDiagnosis(new Uint8Array(bytes))
      expect(older.algorithm.version).toBe(version)
      const records = generated(60).map((record) => ({ ...record, startMs: record.startMs + 300_000 }))
      expect(diagnose({ records, carriedState: older.state }).state.length).toBeGreaterThan(1000)
    },
  )
})

test('a batch that went through its encoding gives the same findings', () => {
  const records = generated(60, { rhythm: 'fast' })
  const again = records.map(({ stream: s, sequence, ...batch }) => ({
    ...parseBatch(encodeBatch(batch as EcgBatch)),
    stream: s,
    sequence,
  }))
  expect(diagnose({ records: again })).toEqual(diagnose({ records }))
})
