/** Observations of FHIR R4 as readings: strict about code, unit and time, because a wrong unit is a wrong dose. See SPEC.md §2. */
import type { EcgBatch, ReadingBatch, VitalRow, VitalSign } from '@healthblock/diagnosis/batch'
import { batchSampleMissing } from '@healthblock/diagnosis/batch'
import { consciousness, ecgCode, leadCodes, pressure, readCodes, signCodes, systems } from './codes.ts'
import { FhirError } from './errors.ts'
import { parseInstant } from './time.ts'

/** Most entries of a bundle. */
export const entriesMax = 15_000
const samplesMax = 125_000
const valueMax = 1_000_000
const mostValues: Partial<Record<VitalSign, number>> = { spo2: 100, temperature: 50, 'heart-rate': 400, pulse: 400 }

type Json = Record<string, unknown>

function wrong(field: string, reason: string): FhirError {
  return new FhirError(`${field} ${reason}`, { code: 'ERR_FHIR_INVALID', field })
}

function objectAt(value: unknown, field: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(field, 'is not an object')
  return value as Json
}

function listAt(value: unknown, field: string): unknown[] {
  if (!Array.isArray(value)) throw wrong(field, 'is not a list')
  return value
}

function numberAt(value: unknown, field: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw wrong(field, 'is not a number')
  return value
}

/** Codes of one system in a concept. */
function codesAt(value: unknown, field: string, system: string): string[] {
  const concept = objectAt(value, field)
  const codings = listAt(concept.coding ?? [], `${field}.coding`).map((one, i) =>
    objectAt(one, `${field}.coding[${i}]`),
  )
  return codings.filter((coding) => coding.system === system).map(({ code }) => String(code))
}

function quantityAt(value: unknown, field: string, unit: string): number {
  const quantity = objectAt(value, field)
  if (quantity.system !== systems.ucum) throw wrong(`${field}.system`, 'is not that of UCUM')
  if (quantity.comparator !== undefined) throw wrong(`${field}.comparator`, 'is not read')
  const number = numberAt(quantity.value, `${field}.value`)
  // The profile of body temperature allows degrees Fahrenheit, too.
  const celsius = unit === 'Cel' && quantity.code === '[degF]' ? ((number - 32) * 5) / 9 : undefined
  if (celsius === undefined && quantity.code !== unit) throw wrong(`${field}.code`, `is not ${unit}`)
  const read = celsius ?? number
  if (read < 0 || read > valueMax) throw wrong(`${field}.value`, 'is out of range')
  return Math.round(read * 1000) / 1000
}

function row(sign: VitalSign, value: number, atMs: number, field: string): VitalRow {
  if (value > (mostValues[sign] ?? valueMax)) throw wrong(`${field}.value`, 'is out of range')
  return { sign, value, atMs }
}

function pressureRows(resource: Json, atMs: number, field: string): VitalRow[] {
  const rows: VitalRow[] = []
  for (const [i, one] of listAt(resource.component, `${field}.component`).entries()) {
    const at = `${field}.component[${i}]`
    const component = objectAt(one, at)
    const codes = codesAt(component.code, `${at}.code`, systems.loinc)
    const isSystolic = codes.includes(pressure.systolic.code)
    if (!isSystolic && !codes.includes(pressure.diastolic.code)) throw wrong(`${at}.code`, 'is no blood pressure')
    if (component.valueQuantity === undefined && component.dataAbsentReason !== undefined) continue
    const value = quantityAt(component.valueQuantity, `${at}.valueQuantity`, pressure.ucum)
    rows.push(row(isSystolic ? 'systolic-pressure' : 'diastolic-pressure', value, atMs, `${at}.valueQuantity`))
  }
  return rows
}

function vitalRows(resource: Json, field: string): VitalRow[] {
  const codes = codesAt(resource.code, `${field}.code`, systems.loinc)
  const atMs = parseInstant(resource.effectiveDateTime, `${field}.effectiveDateTime`)
  if (codes.includes(pressure.panel.code)) return pressureRows(resource, atMs, field)
  if (codes.includes(consciousness.loinc.code)) {
    const concepts = codesAt(resource.valueCodeableConcept, `${field}.valueCodeableConcept`, systems.snomed)
    const level = consciousness.levels.findIndex(({ code }) => concepts.includes(code))
    if (level < 0) throw wrong(`${field}.valueCodeableConcept`, 'is no level of consciousness')
    return [{ sign: 'consciousness', value: level, atMs }]
  }
  const sign = codes
    .map((code) => (Object.hasOwn(readCodes, code) ? readCodes[code] : undefined))
    .find((one) => one !== undefined)
  const known = sign === undefined ? undefined : signCodes[sign]
  if (sign === undefined || known === undefined) throw wrong(`${field}.code`, 'is none of those that are read')
  const at = `${field}.valueQuantity`
  return [row(sign, quantityAt(resource.valueQuantity, at, known.ucum), atMs, at)]
}

interface Lead {
  name: string
  period: number
  factor: number
  values: number[]
}

function leadAt(value: unknown, field: string): Lead {
  const component = objectAt(value, field)
  const codes = codesAt(component.code, `${field}.code`, systems.mdc)
  const text = objectAt(component.code, `${field}.code`).text
  const known = Object.keys(leadCodes).find((lead) => codes.includes(leadCodes[lead]?.code ?? ''))
  const name = known ?? (typeof text === 'string' ? text.toLowerCase() : '')
  if (!/^[a-z0-9._-]{1,64}$/.test(name)) throw wrong(`${field}.code`, 'is no lead')
  const at = `${field}.valueSampledData`
  const sampled = objectAt(component.valueSampledData, at)
  if (quantityAt(sampled.origin, `${at}.origin`, 'mV') !== 0) throw wrong(`${at}.origin`, 'is not 0 mV')
  if (sampled.dimensions !== 1) throw wrong(`${at}.dimensions`, 'is not 1')
  const period = numberAt(sampled.period, `${at}.period`)
  const factor = numberAt(sampled.factor ?? 1, `${at}.factor`)
  if (!(period >= 0.1 && period <= 1_000_000)) throw wrong(`${at}.period`, 'is out of range')
  if (!(factor > 1e-9 && factor <= 1000)) throw wrong(`${at}.factor`, 'is out of range')
  if (typeof sampled.data !== 'string') throw wrong(`${at}.data`, 'is not a text')
  const words = sampled.data.trim().split(/\s+/)
  if (words.length > samplesMax) throw wrong(`${at}.data`, `has more than ${samplesMax} samples`)
  const values = words.map((word) => {
    if (word === 'E') return batchSampleMissing
    const number = /^-?\d+$/.test(word) ? Number(word) : Number.NaN
    if (!(number > batchSampleMissing && number <= 32_767)) throw wrong(`${at}.data`, 'has a word that is no sample')
    return number
  })
  return { name, period, factor, values }
}

function ecgBatch(resource: Json, field: string): EcgBatch {
  const leads = listAt(resource.component, `${field}.component`).map((one, i) =>
    leadAt(one, `${field}.component[${i}]`),
  )
  const [first] = leads
  if (first === undefined || leads.length > 12) throw wrong(`${field}.component`, 'has not 1 to 12 leads')
  if (new Set(leads.map(({ name }) => name)).size !== leads.length)
    throw wrong(`${field}.component`, 'has a lead twice')
  for (const { period, factor, values } of leads)
    if (period !== first.period || factor !== first.factor || values.length !== first.values.length)
      throw wrong(`${field}.component`, 'has leads of unequal period, factor or length')
  const samples = new Int16Array(leads.length * first.values.length)
  for (const [k, { values }] of leads.entries())
    for (const [i, value] of values.entries()) samples[i * leads.length + k] = value
  const period = objectAt(resource.effectivePeriod ?? {}, `${field}.effectivePeriod`)
  return {
    kind: 'ecg',
    startMs: parseInstant(period.start ?? resource.effectiveDateTime, `${field}.effectivePeriod.start`),
    rateMilliHz: Math.round(1_000_000 / first.period),
    leads: leads.map(({ name }) => name),
    unit: 'mv',
    gainMilli: Math.max(1, Math.round(1000 / first.factor)),
    baseline: 0,
    samples,
  }
}

const statuses: ReadonlySet<unknown> = new Set(['final', 'amended', 'corrected', 'preliminary'])

/**
 * Readings of Observations: a single one, or a Bundle of them. Vital signs come as one batch in order of time, each ECG as one of its own.
 *
 * @param value - parsed JSON.
 * @throws {FhirError} `ERR_FHIR_INVALID` with the path of the field: another resource, code, unit or status, a time without a zone, a value out of range.
 */
export function parseReadings(value: unknown): ReadingBatch[] {
  const top = objectAt(value, 'resource')
  const entries = top.resourceType === 'Bundle' ? listAt(top.entry ?? [], 'entry') : [{ resource: top }]
  if (entries.length > entriesMax) throw wrong('entry', `has more than ${entriesMax} items`)
  const rows: VitalRow[] = []
  const batches: ReadingBatch[] = []
  for (const [i, entry] of entries.entries()) {
    const field = top.resourceType === 'Bundle' ? `entry[${i}].resource` : 'resource'
    const resource = objectAt(objectAt(entry, `entry[${i}]`).resource, field)
    if (resource.resourceType !== 'Observation') throw wrong(`${field}.resourceType`, 'is not Observation')
    if (!statuses.has(resource.status)) throw wrong(`${field}.status`, 'is not that of a reading')
    const isEcg = codesAt(resource.code, `${field}.code`, systems.mdc).includes(ecgCode.code)
    if (isEcg) batches.push(ecgBatch(resource, field))
    else rows.push(...vitalRows(resource, field))
  }
  rows.sort((a, b) => a.atMs - b.atMs)
  if (rows.length > 0) batches.unshift({ kind: 'vitals', startMs: (rows[0] as VitalRow).atMs, rows })
  return batches
}
