/** Readings as Observations of FHIR R4: vital signs by their profiles, ECG as sampled data. See SPEC.md §1. */
import type { EcgBatch, ReadingBatch, VitalRow, VitalsBatch } from '@healthblock/diagnosis/batch'
import { batchSampleMissing } from '@healthblock/diagnosis/batch'
import type { CodeableConcept, Observation, Quantity } from 'fhir/r4.js'
import { consciousness, ecgCode, leadCodes, pressure, signCodes, systems } from './codes.ts'
import { isoOf } from './time.ts'

/** Whose readings they are, and where they stand on the ledger. Ids are of [A-Za-z0-9.-], at most 64. */
export interface ReadingContext {
  /** Reference such as `Patient/abc`. */
  patient: string
  device?: string | undefined
  /** Begin of the ids of the Observations. */
  idPrefix: string
  /** IoT transaction and content address of the sealed batch. */
  transactionId?: string | undefined
  cid?: string | undefined
}

const categoryOf = (code: string): CodeableConcept[] => [{ coding: [{ system: systems.category, code }] }]
const narrative = (text: string) => ({
  status: 'generated' as const,
  div: `<div xmlns="http://www.w3.org/1999/xhtml">${text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</div>`,
})

function base(
  context: ReadingContext,
  index: number,
): Pick<Observation, 'resourceType' | 'id' | 'status' | 'subject'> & Partial<Observation> {
  const { patient, device, idPrefix, transactionId, cid } = context
  const identifier = [
    ...(transactionId === undefined ? [] : [{ system: 'urn:healthblock:transaction', value: transactionId }]),
    ...(cid === undefined ? [] : [{ system: 'urn:healthblock:cid', value: cid }]),
  ]
  return {
    resourceType: 'Observation',
    id: `${idPrefix}-${index}`,
    ...(identifier.length === 0 ? {} : { identifier }),
    status: 'final',
    subject: { reference: patient },
    ...(device === undefined ? {} : { device: { reference: device } }),
  }
}

const quantity = (value: number, ucum: string, unit: string): Quantity => ({
  value,
  unit,
  system: systems.ucum,
  code: ucum,
})

function signObservation(row: VitalRow, context: ReadingContext, index: number): Observation {
  const effectiveDateTime = isoOf(row.atMs)
  if (row.sign === 'consciousness') {
    const level = consciousness.levels[row.value]
    return {
      ...base(context, index),
      category: categoryOf('exam'),
      code: { coding: [{ system: systems.loinc, ...consciousness.loinc }], text: 'Level of consciousness (ACVPU)' },
      effectiveDateTime,
      ...(level === undefined ? {} : { valueCodeableConcept: { coding: [{ system: systems.snomed, ...level }] } }),
      text: narrative(`Level of consciousness ${level?.display ?? 'not known'}`),
    }
  }
  const code = signCodes[row.sign]
  if (code === undefined) return pressureObservation([row], context, index)
  return {
    ...base(context, index),
    category: categoryOf(code.category),
    code: { coding: code.loinc.map((coding) => ({ system: systems.loinc, ...coding })) },
    effectiveDateTime,
    valueQuantity: quantity(row.value, code.ucum, code.unit),
    text: narrative(`${code.loinc[0]?.display} ${row.value} ${code.unit}`),
  }
}

/** Pressures of one moment as one panel; a part that was not measured says so. */
function pressureObservation(rows: readonly VitalRow[], context: ReadingContext, index: number): Observation {
  const part = (sign: VitalRow['sign'], coding: { code: string; display: string }) => {
    const row = rows.find((one) => one.sign === sign)
    const code = { coding: [{ system: systems.loinc, ...coding }] }
    return row === undefined
      ? {
          code,
          dataAbsentReason: {
            coding: [{ system: 'http://terminology.hl7.org/CodeSystem/data-absent-reason', code: 'not-performed' }],
          },
        }
      : { code, valueQuantity: quantity(row.value, pressure.ucum, pressure.unit) }
  }
  return {
    ...base(context, index),
    category: categoryOf('vital-signs'),
    code: { coding: [{ system: systems.loinc, ...pressure.panel }] },
    effectiveDateTime: isoOf((rows[0] as VitalRow).atMs),
    component: [part('systolic-pressure', pressure.systolic), part('diastolic-pressure', pressure.diastolic)],
    text: narrative(`Blood pressure ${rows.map(({ value }) => value).join('/')} ${pressure.unit}`),
  }
}

const isPressure = ({ sign }: VitalRow) => sign === 'systolic-pressure' || sign === 'diastolic-pressure'

/** Pressures of one moment belong together: the rows of each, at the place of the first of them. */
function pairPressures(rows: readonly VitalRow[]): VitalRow[][] {
  const groups: VitalRow[][] = []
  /** Those that have no partner yet, by moment: all of one sign. */
  const alone = new Map<number, { groups: VitalRow[][]; next: number }>()
  for (const row of rows) {
    const waiting = alone.get(row.atMs) ?? { groups: [], next: 0 }
    const first = waiting.groups[waiting.next]
    if (isPressure(row) && first !== undefined && first[0]?.sign !== row.sign) {
      waiting.next++
      first.push(row)
      continue
    }
    const group = [row]
    groups.push(group)
    if (!isPressure(row)) continue
    waiting.groups.push(group)
    alone.set(row.atMs, waiting)
  }
  return groups
}

function vitalObservations(batch: VitalsBatch, context: ReadingContext): Observation[] {
  return pairPressures(batch.rows).map((rows, index) => {
    const [row] = rows as [VitalRow]
    if (!isPressure(row)) return signObservation(row, context, index)
    rows.sort((a, b) => (a.sign === 'systolic-pressure' ? -1 : b.sign === 'systolic-pressure' ? 1 : 0))
    return pressureObservation(rows, context, index)
  })
}

/** One lead: values in the recorder's own units, whose factor and origin make millivolts of them. */
function leadData(batch: EcgBatch, lead: number): string {
  const count = batch.leads.length
  const values: string[] = []
  for (let i = lead; i < batch.samples.length; i += count) {
    const sample = batch.samples[i] as number
    values.push(sample === batchSampleMissing ? 'E' : String(sample - batch.baseline))
  }
  return values.join(' ')
}

function ecgObservation(batch: EcgBatch, context: ReadingContext): Observation {
  const seconds = batch.samples.length / batch.leads.length / (batch.rateMilliHz / 1000)
  return {
    ...base(context, 0),
    category: categoryOf('procedure'),
    code: { coding: [{ system: systems.mdc, ...ecgCode }], text: 'Electrocardiogram' },
    effectivePeriod: { start: isoOf(batch.startMs), end: isoOf(batch.startMs + Math.round(1000 * seconds)) },
    component: batch.leads.map((name, lead) => {
      const coding = leadCodes[name]
      return {
        code: { ...(coding === undefined ? {} : { coding: [{ system: systems.mdc, ...coding }] }), text: name },
        valueSampledData: {
          origin: quantity(0, 'mV', 'mV'),
          period: 1_000_000 / batch.rateMilliHz,
          factor: 1000 / batch.gainMilli,
          dimensions: 1,
          data: leadData(batch, lead),
        },
      }
    }),
    text: narrative(`ECG, ${batch.leads.length} leads, ${seconds.toFixed(1)} s`),
  }
}

/** The Observations of a batch. Pressures of one moment become one; an ECG is one with a component for each lead. */
export function encodeObservations(batch: ReadingBatch, context: ReadingContext): Observation[] {
  return batch.kind === 'vitals' ? vitalObservations(batch, context) : [ecgObservation(batch, context)]
}
