import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { VitalRow } from './batch.ts'
import { type DiagnosisRecord, diagnose } from './diagnose.ts'

const startMs = 1_790_000_000_000 - (1_790_000_000_000 % 86_400_000)
const stream = Uint8Array.of(8, 7, 6, 5, 4, 3, 2, 1)
const minute = (at: number, rows: [VitalRow['sign'], number][]): DiagnosisRecord => ({
  stream,
  sequence: at + 1,
  kind: 'vitals',
  startMs: startMs + at * 60_000,
  rows: rows.map(([sign, value]) => ({ atMs: startMs + at * 60_000, sign, value })),
})
const told = (records: DiagnosisRecord[], parameters = {}) =>
  diagnose({ records, parameters }).findings.map(({ code, severity, isOpen }) => [code, severity, isOpen])

describe('limits', () => {
  test.each([
    ['glucose', 69, 70, 'vitals.hypoglycaemia', 'medium'],
    ['glucose', 53, 70, 'vitals.hypoglycaemia', 'high'],
    ['glucose', 251, 250, 'vitals.hyperglycaemia', 'medium'],
    ['temperature', 38.1, 38, 'vitals.fever', 'medium'],
    ['temperature', 34.9, 35, 'vitals.hypothermia', 'medium'],
    ['systolic-pressure', 69, 90, 'vitals.hypotension', 'high'],
    ['systolic-pressure', 181, 180, 'vitals.hypertension', 'medium'],
    ['diastolic-pressure', 131, 110, 'vitals.diastolic-hypertension', 'high'],
  ] as const)('%s of %d (limit %d) is %s, %s; at the limit nothing is told', (sign, value, limit, code, severity) => {
    const codes = (v: number) => told([minute(0, [[sign, v]])]).filter(([found]) => found === code)
    expect(codes(value)).toEqual([[code, severity, true]])
    expect(codes(limit)).toEqual([])
  })

  test('a finding ends only some way back, and the doctor sets the limit', () => {
    const values = [60, 72, 74, 76]
    const open = values.map((_, i) => told(values.slice(0, i + 1).map((v, at) => minute(at, [['glucose', v]]))))
    expect(open.map((list) => list[0]?.[2])).toEqual([true, true, true, false])
    expect(told([minute(0, [['glucose', 75]])], { glucoseLow: 80 })).toEqual([['vitals.hypoglycaemia', 'medium', true]])
    expect(told([minute(0, [['glucose', 60]])], { glucoseLow: 55 })).toEqual([])
  })

  test('the sentence names value and unit, and of one measurement no length', () => {
    const said = (...values: number[]) =>
      diagnose({ records: values.map((value, at) => minute(at, [['temperature', value]])) }).findings[0]?.sentence
    expect(said(39.25)).toBe('Temperature 39.2 °C in one measurement: fever.')
    expect(said(39.25, 38.5)).toBe('Temperature up to 39.2 °C, 60 s: fever.')
  })
})

/** Uniform numbers from 0 to below 1. */
function numbers(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** Minutes of a heart rate that wanders around `level` and is slower at night. */
function heartRates(seed: number, minutes: number, level = 75): number[] {
  const random = numbers(seed)
  let wander = 0
  return Array.from({ length: minutes }, (_, i) => {
    wander = 0.95 * wander + 1.5 * (random() + random() + random() - 1.5)
    const night = i % 1440 < 360 ? -12 : 0
    return Math.round(level + wander + night + 4 * (random() - 0.5))
  })
}

describe('usual values', () => {
  const rows = (rates: number[]) => rates.map((rate, at) => minute(at, [['heart-rate', rate]]))
  const changes = (records: DiagnosisRecord[]) =>
    diagnose({ records }).findings.filter(({ code }) => code.startsWith('vitals.change'))

  test('forty made days of a calm heart have less than one finding in ten days', () => {
    let days = 0
    let found = 0
    for (let seed = 1; seed <= 20; seed++) {
      days += 2
      found += changes(rows(heartRates(seed, 2 * 1440))).length
    }
    expect(days).toBe(40)
    expect(found).toBeLessThan(4)
  })

  test('a jump by forty is told once it lasted five minutes, not before, and not for a new patient', () => {
    const rates = heartRates(3, 660)
    const jump = (minutes: number) => rows([...rates, ...Array.from({ length: minutes }, () => 115)])
    expect(changes(jump(4))).toEqual([])
    expect(changes(jump(5))).toMatchObject([{ code: 'vitals.change-heart-rate', isOpen: true }])
    expect(changes(rows([...heartRates(3, 100), ...Array.from({ length: 30 }, () => 115)]))).toEqual([])
  })

  test('the state after any cut is the state of one run', () => {
    const records = rows([...heartRates(5, 640), 120, 120, 121, 122, 121, 120, 119, 75])
    const whole = diagnose({ records })
    fc.assert(
      fc.property(fc.nat(records.length), (at) => {
        const one = diagnose({ records: records.slice(0, at) })
        expect(diagnose({ records: records.slice(at), carriedState: one.state }).state).toEqual(whole.state)
      }),
      { numRuns: 6 },
    )
  })
})

describe('MEWS and qSOFA', () => {
  const septic: [VitalRow['sign'], number][] = [
    ['respiratory-rate', 24],
    ['systolic-pressure', 95],
    ['heart-rate', 115],
    ['temperature', 39],
    ['consciousness', 0],
  ]
  const better = septic.map(([sign, value]): [VitalRow['sign'], number] =>
    sign === 'systolic-pressure' ? [sign, 110] : [sign, value],
  )
  const codes = (records: DiagnosisRecord[], parameters = {}) =>
    diagnose({ records, parameters }).findings.map(({ code, score, isOpen }) => [code, score, isOpen])

  test('are findings on a stream, beside NEWS2, and never alarms of their own', () => {
    const { findings } = diagnose({ records: [minute(0, septic)] })
    const of = (code: string) => findings.find((finding) => finding.code === code)
    expect(of('early-warning.mews')).toMatchObject({ severity: 'medium', score: 7000 })
    expect(of('early-warning.qsofa')).toMatchObject({ severity: 'medium', score: 2000 })
    expect(of('early-warning.mews')?.sentence).toBe('MEWS 7 in one set of measurements.')
  })

  test('qSOFA ends below two points, MEWS two points below its limit', () => {
    expect(codes([minute(0, septic), minute(1, better)])).toContainEqual(['early-warning.qsofa', 2000, false])
    expect(codes([minute(0, septic), minute(1, better)])).toContainEqual(['early-warning.mews', 7000, true])
    const well = minute(2, [
      ['respiratory-rate', 14],
      ['systolic-pressure', 120],
      ['heart-rate', 80],
      ['temperature', 37],
    ])
    expect(codes([minute(0, septic), well])).toContainEqual(['early-warning.mews', 7000, false])
  })

  test('are not for children', () => {
    expect(codes([minute(0, septic)], { ageYears: 15 }).map(([code]) => code)).toEqual(['vitals.fever'])
  })
})

describe('a score whose signs are no longer measured', () => {
  const ill: [VitalRow['sign'], number][] = [
    ['respiratory-rate', 26],
    ['spo2', 88],
    ['heart-rate', 135],
  ]
  const isOpen = (...records: DiagnosisRecord[]) => told(records).find(([code]) => code === 'early-warning.news2')?.[2]

  test('has not become better: its finding lasts while only other signs come', () => {
    expect(isOpen(minute(0, ill), minute(10, [['temperature', 37]]))).toBe(true)
    expect(isOpen(minute(0, ill), minute(10, [['glucose', 100]]))).toBe(true)
  })

  test('ends when they are measured again and are well, the pulse by either sign', () => {
    const well: [VitalRow['sign'], number][] = [
      ['respiratory-rate', 16],
      ['spo2', 98],
      ['pulse', 70],
    ]
    expect(isOpen(minute(0, ill), minute(10, well))).toBe(false)
    expect(isOpen(minute(0, ill), minute(10, well.slice(0, 2)))).toBe(true)
    // The newest of two signs of one thing counts, also when both are old.
    expect(isOpen(minute(0, ill), minute(10, well.slice(2)), minute(20, well.slice(0, 2)))).toBe(false)
  })

  test('lasts from run to run, by the state alone, until they are well', () => {
    const one = diagnose({ records: [minute(0, ill)] })
    const two = diagnose({ records: [minute(600, [['glucose', 100]])], carriedState: one.state })
    const ofNews2 = ({ findings }: typeof two) => findings.find(({ code }) => code === 'early-warning.news2')
    expect(ofNews2(two)).toMatchObject({ isOpen: true, toMs: startMs, evidence: [], severity: 'high' })
    const well = minute(601, [
      ['respiratory-rate', 16],
      ['spo2', 98],
      ['heart-rate', 70],
    ])
    expect(ofNews2(diagnose({ records: [well], carriedState: two.state }))?.isOpen).toBe(false)
  })

  test('ends with the next measurement once the patient turns out to be a child', () => {
    const septic = minute(0, [...ill, ['systolic-pressure', 85]])
    const adult = diagnose({ records: [septic], parameters: { ageYears: 44 } })
    const scores = ({ findings }: typeof adult) =>
      findings.filter(({ code }) => code.startsWith('early-warning.')).map(({ code, isOpen }) => [code, isOpen])
    const all = ['early-warning.mews', 'early-warning.news2', 'early-warning.qsofa']
    expect(scores(adult).sort()).toEqual(all.map((code) => [code, true]))
    for (const rows of [ill, [['glucose', 100]] as typeof ill]) {
      const carried = { records: [minute(10, rows)], carriedState: adult.state }
      expect(scores(diagnose({ ...carried, parameters: { ageYears: 44 } })).every(([, isOpen]) => isOpen)).toBe(true)
      const child = diagnose({ ...carried, parameters: { ageYears: 9 } })
      expect(scores(child).sort()).toEqual(all.map((code) => [code, false]))
      const next = { records: [minute(11, ill)], parameters: { ageYears: 9 }, carriedState: child.state }
      expect(scores(diagnose(next))).toEqual([])
    }
  })

  test('ends by what is measured, not before its hysteresis', () => {
    const better: [VitalRow['sign'], number][] = [
      ['respiratory-rate', 16],
      ['spo2', 93],
      ['heart-rate', 115],
    ]
    expect(isOpen(minute(0, ill), minute(10, better))).toBe(true)
    expect(isOpen(minute(0, ill), minute(10, [...better.slice(0, 2), ['heart-rate', 95]]))).toBe(false)
  })
})
