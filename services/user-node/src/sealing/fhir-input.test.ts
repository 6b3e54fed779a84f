import { expect, test } from 'vitest'
import type { Person } from '../store/person.ts'
import { readFhir } from './fhir-input.ts'

const [ecg, vitals] = [new Uint8Array(8).fill(1), new Uint8Array(8).fill(2)]
const person = {
  streams: [
    { kind: 'ecg', stream: ecg },
    { kind: 'vitals', stream: vitals },
  ],
} as unknown as Person
const observation = (code: string, unit: string, value: number, second = 0) => ({
  resourceType: 'Observation',
  status: 'final',
  code: { coding: [{ system: 'http://loinc.org', code }] },
  effectiveDateTime: new Date(1_790_000_000_000 + 1000 * second).toISOString(),
  valueQuantity: { value, system: 'http://unitsofmeasure.org', code: unit },
})
const lead = (data: string) => ({
  resourceType: 'Observation',
  status: 'final',
  code: { coding: [{ system: 'urn:iso:std:iso:11073:10101', code: '131328' }] },
  effectiveDateTime: '2026-09-21T10:00:00Z',
  component: [
    {
      code: { coding: [{ system: 'urn:iso:std:iso:11073:10101', code: '131330' }] },
      valueSampledData: {
        origin: { value: 0, system: 'http://unitsofmeasure.org', code: 'mV' },
        ...{ period: 4, factor: 0.005, dimensions: 1, data },
      },
    },
  ],
})
const bundle = (...resources: object[]) => ({
  resourceType: 'Bundle',
  entry: resources.map((resource) => ({ resource })),
})

test('vital signs and ECGs go to their streams', () => {
  const pieces = readFhir(
    person,
    bundle(observation('8867-4', '/min', 70, 1), lead('1 2 E'), observation('8310-5', 'Cel', 37)),
  )
  expect(pieces.map(({ stream, batch }) => [stream, batch.kind])).toEqual([
    [vitals, 'vitals'],
    [ecg, 'ecg'],
  ])
  expect(pieces[0]?.batch).toMatchObject({ rows: [{ sign: 'temperature' }, { sign: 'heart-rate' }] })
  expect(pieces[1]?.batch).toMatchObject({ rateMilliHz: 250_000, leads: ['ii'], gainMilli: 200_000 })
})

test('a long series comes in pieces that fit a batch', () => {
  const many = Array.from({ length: 12_000 }, (_, i) => observation('8867-4', '/min', 60 + (i % 9), i))
  const pieces = readFhir(person, bundle(...many))
  expect(pieces.length).toBe(3)
  expect(pieces.flatMap(({ batch }) => (batch.kind === 'vitals' ? batch.rows : [])).length).toBe(12_000)
})

test.each([
  [bundle(observation('8867-4', '/min', 70), observation('8310-5', 'K', 310)), 'entry[1].resource.valueQuantity.code'],
  [bundle(observation('1234-5', '/min', 70)), 'entry[0].resource.code'],
  [observation('2708-6', '%', 101), 'resource.valueQuantity.value'],
  [{ ...observation('2708-6', '%', 97), effectiveDateTime: '2026-09-21' }, 'resource.effectiveDateTime'],
  [bundle({ resourceType: 'Patient' }), 'entry[0].resource.resourceType'],
  [lead('1 2 x'), 'resource.component[0].valueSampledData.data'],
])('what is wrong is refused by its path, whole: %#', (body, field) => {
  expect(() => readFhir(person, body)).toThrow(
    expect.objectContaining({ detail: { code: 'ERR_SAMPLES_INVALID', field } }),
  )
})
