import { existsSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { DiagnosisError } from '../errors.ts'
import { parseVitalSet, scoreMews, scoreNews2, scoreQsofa, type VitalSet } from './score.ts'

const data = new URL('../../../../../shared/data/early-warning/', import.meta.url)
const hasData = existsSync(data)

const well: VitalSet = {
  respiratoryRate: 16,
  spo2: 98,
  supplementalOxygen: false,
  systolicPressure: 125,
  pulse: 70,
  consciousness: 'A',
  temperature: 37,
  ageYears: 50,
}

describe('NEWS2', () => {
  test.each([
    [
      'respiratoryRate',
      [
        [8, 3],
        [9, 1],
        [11, 1],
        [12, 0],
        [20, 0],
        [21, 2],
        [24, 2],
        [25, 3],
      ],
    ],
    [
      'spo2',
      [
        [91, 3],
        [92, 2],
        [93, 2],
        [94, 1],
        [95, 1],
        [96, 0],
      ],
    ],
    [
      'systolicPressure',
      [
        [90, 3],
        [91, 2],
        [100, 2],
        [101, 1],
        [110, 1],
        [111, 0],
        [219, 0],
        [220, 3],
      ],
    ],
    [
      'pulse',
      [
        [40, 3],
        [41, 1],
        [50, 1],
        [51, 0],
        [90, 0],
        [91, 1],
        [110, 1],
        [111, 2],
        [130, 2],
        [131, 3],
      ],
    ],
    [
      'temperature',
      [
        [35, 3],
        [35.1, 1],
        [36, 1],
        [36.1, 0],
        [38, 0],
        [38.1, 1],
        [39, 1],
        [39.1, 2],
      ],
    ],
  ] as const)('%s: each edge of the chart', (sign, edges) => {
    for (const [value, points] of edges) {
      const { parts, total } = scoreNews2({ ...well, [sign]: value })
      expect([value, parts[sign], total]).toEqual([value, points, points])
    }
  })

  test.each([
    [83, 3, 3],
    [84, 2, 2],
    [85, 2, 2],
    [86, 1, 1],
    [87, 1, 1],
    [88, 0, 0],
    [92, 0, 0],
    [93, 0, 1],
    [94, 0, 1],
    [95, 0, 2],
    [96, 0, 2],
    [97, 0, 3],
  ])('scale 2 at %i %%: %i on air, %i on oxygen', (spo2, onAir, onOxygen) => {
    expect(scoreNews2({ ...well, spo2, spo2Scale: 2 }).parts.spo2).toBe(onAir)
    expect(scoreNews2({ ...well, spo2, spo2Scale: 2, supplementalOxygen: true }).parts.spo2).toBe(onOxygen)
  })

  test('scale 2 above its range needs to know about oxygen', () => {
    const { supplementalOxygen: _, ...rest } = well
    expect(scoreNews2({ ...rest, spo2Scale: 2 }).missing).toEqual(['spo2', 'supplementalOxygen'])
  })

  test.each([
    [{}, 0, 'low'],
    [{ pulse: 95 }, 1, 'low'],
    [{ consciousness: 'C' as const }, 3, 'low-medium'],
    [{ consciousness: 'V' as const, supplementalOxygen: true }, 5, 'medium'],
    [{ pulse: 95, supplementalOxygen: true, temperature: 39.5 }, 5, 'medium'],
    [{ respiratoryRate: 26, spo2: 90, pulse: 95 }, 7, 'high'],
  ])('%j: total %i, risk %s', (change, total, risk) => {
    expect(scoreNews2({ ...well, ...change })).toMatchObject({ total, risk, missing: [] })
  })

  test('is not for children, and says so', () => {
    expect(scoreNews2({ ...well, ageYears: 15 })).toMatchObject({
      total: null,
      risk: null,
      notApplicable: expect.stringContaining('16'),
    })
    expect(scoreNews2({ ...well, ageYears: 16 }).total).toBe(0)
  })

  test('whatever is missing is listed, and never lowers the total of the others', () => {
    const signs = Object.keys(well).filter((sign) => sign !== 'ageYears') as (keyof VitalSet)[]
    fc.assert(
      fc.property(fc.subarray(signs), (kept) => {
        const set = Object.fromEntries(kept.map((sign) => [sign, well[sign]])) as VitalSet
        const { total, missing, parts } = scoreNews2(set)
        expect([...missing].sort()).toEqual(signs.filter((sign) => !kept.includes(sign)).sort())
        expect(Object.values(parts).reduce((sum, points) => sum + points, 0)).toBe(kept.length === 0 ? 0 : total)
      }),
    )
  })
})

describe('of no sign at all', () => {
  const signsOf = {
    NEWS2: [
      'respiratoryRate',
      'spo2',
      'supplementalOxygen',
      'systolicPressure',
      'pulse',
      'consciousness',
      'temperature',
    ],
    MEWS: ['respiratoryRate', 'systolicPressure', 'pulse', 'consciousness', 'temperature'],
    qSOFA: ['respiratoryRate', 'systolicPressure', 'consciousness'],
  }
  const scoreOf = { NEWS2: scoreNews2, MEWS: scoreMews, qSOFA: scoreQsofa }

  test.each(['NEWS2', 'MEWS', 'qSOFA'] as const)('%s says nothing, and what it needs', (name) => {
    for (const set of [{}, { ageYears: 70 }, { spo2Scale: 2 as const }]) {
      expect(scoreOf[name](set)).toEqual({
        total: null,
        parts: {},
        risk: null,
        missing: signsOf[name],
        notApplicable: `no sign that ${name} can score was measured`,
      })
    }
  })

  test.each(['NEWS2', 'MEWS', 'qSOFA'] as const)('%s of one sign is a least total that names the others', (name) => {
    const { total, missing, notApplicable } = scoreOf[name]({ systolicPressure: 120 })
    expect([total, notApplicable]).toEqual([0, undefined])
    expect(missing).toEqual(signsOf[name].filter((sign) => sign !== 'systolicPressure'))
  })

  test('a saturation of 95 % on scale 2, where nothing is known of oxygen, is none that can be scored', () => {
    expect(scoreNews2({ spo2: 95, spo2Scale: 2 })).toMatchObject({ total: null, risk: null })
    expect(scoreNews2({ spo2: 90, spo2Scale: 2 })).toMatchObject({
      total: 0,
      missing: expect.arrayContaining(['pulse']),
    })
  })
})

describe('input', () => {
  test.each([
    [null, 'input'],
    [[], 'input'],
    ['x', 'input'],
    [{ pulse: '80' }, 'pulse'],
    [{ pulse: -1 }, 'pulse'],
    [{ spo2: 101 }, 'spo2'],
    [{ temperature: 371 }, 'temperature'],
    [{ spo2Scale: 3 }, 'spo2Scale'],
    [{ supplementalOxygen: 'yes' }, 'supplementalOxygen'],
    [{ consciousness: 'asleep' }, 'consciousness'],
    [{ consciousness: 'constructor' }, 'consciousness'],
    [{ heartrate: 80 }, 'heartrate'],
  ])('refuses %j naming the field', (input, field) => {
    expect(() => parseVitalSet(input)).toThrow(
      expect.objectContaining({ detail: { code: 'ERR_INPUT_INVALID', field } }),
    )
  })

  test('null is not measured; words for consciousness are understood', () => {
    expect(parseVitalSet({ pulse: null, consciousness: 'alert' })).toEqual({ consciousness: 'A' })
    expect(() => parseVitalSet(undefined)).toThrow(DiagnosisError)
  })
})

interface Cases {
  test_cases: { id: string; input: { 1: Record<string, unknown> }; expected_output: { 1: Record<string, unknown> } }[]
}
const casesOf = (file: string) => (parse(readFileSync(new URL(file, data), 'utf8')) as Cases).test_cases
/** The value whose key contains `part`. */
const entryOf = (record: Record<string, unknown>, part: string) =>
  Object.entries(record).find(([key]) => key.toLowerCase().includes(part))?.[1] as string | number | undefined
const numberOf = (value: string | number | undefined) =>
  value === undefined ? undefined : Number.parseFloat(String(value))

function mewsInput(input: Record<string, unknown>): VitalSet {
  const avpu = /\|(\w)\w*\|$/.exec(String(entryOf(input, 'avpu')))?.[1]
  const isConfused = String(entryOf(input, 'confusion')).includes('Present')
  const set = {
    pulse: numberOf(entryOf(input, '|rate') ?? entryOf(input, '|pulse')),
    respiratoryRate: numberOf(entryOf(input, 'respiration')),
    temperature: numberOf(entryOf(input, 'temperature')),
    systolicPressure: numberOf(entryOf(input, 'systolic')),
    urineMl: numberOf(entryOf(input, 'urine')),
    consciousness: avpu === 'A' && isConfused ? 'C' : avpu,
  }
  return parseVitalSet(Object.fromEntries(Object.entries(set).filter(([, value]) => value !== undefined)))
}

describe('published cases', () => {
  test.skipIf(!hasData).each(['MEWS.v1.1.test.yml', 'MEWS.v1.2.test.yml'])('data: %s', (file) => {
    const cases = casesOf(file)
    expect(cases.length).toBeGreaterThan(4)
    for (const { id, input, expected_output } of cases) {
      const expected = numberOf(entryOf(expected_output[1], 'total score'))
      expect([id, scoreMews(mewsInput(input[1])).total]).toEqual([id, expected])
    }
  })

  test.skipIf(!hasData)('data: qSOFA.v1.test.yml', () => {
    for (const { id, input, expected_output } of casesOf('qSOFA.v1.test.yml')) {
      const isPresent = (part: string) => String(entryOf(input[1], part)).startsWith('1')
      const set: VitalSet = {
        consciousness: isPresent('mentation') ? 'C' : 'A',
        respiratoryRate: isPresent('respiration') ? 22 : 21,
        systolicPressure: isPresent('systolic') ? 100 : 101,
      }
      const isHigh = String(entryOf(expected_output[1], 'risk')).startsWith('1')
      const expected = { total: numberOf(entryOf(expected_output[1], 'total')), risk: isHigh ? 'high' : 'low' }
      expect([id, scoreQsofa(set)]).toMatchObject([id, expected])
    }
  })

  test('MEWS: edges', () => {
    expect(scoreMews({ ...well, temperature: 35 }).parts.temperature).toBe(0)
    expect(scoreMews({ ...well, temperature: 34.9 }).parts.temperature).toBe(2)
    expect(scoreMews({ ...well, systolicPressure: 200 }).parts.systolicPressure).toBe(2)
    expect(scoreMews({}).missing).toHaveLength(5)
    expect(scoreMews({ ...well, ageYears: 3 }).total).toBeNull()
    expect(scoreQsofa({ ...well, ageYears: 17 }).total).toBeNull()
  })

  test.each([
    [{ respiratoryRate: 21.4 }, 0],
    [{ respiratoryRate: 21.6 }, 1],
    [{ systolicPressure: 100.4 }, 1],
    [{ systolicPressure: 100.6 }, 0],
  ])('qSOFA: %j is rounded as the others are: %i', (change, total) => {
    expect(scoreQsofa({ ...well, ...change }).total).toBe(total)
  })
})
