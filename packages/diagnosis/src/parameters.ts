import type { CborMap } from '@healthblock/encoding/cbor'
import { DiagnosisError } from './errors.ts'

/** What a doctor sets for a patient; whole numbers. Part of the sealed diagnosis. */
export interface Parameters {
  /** Rate in 1/min below which bradycardia is told. */
  bradycardiaBelow: number
  /** Rate in 1/min above which tachycardia is told. */
  tachycardiaAbove: number
  /** Interval in ms from which a pause is told. */
  pauseMs: number
  /** Years; 255 = not known. NEWS2 is not computed below 16. */
  ageYears: number
  /** Scale of oxygen saturation for NEWS2. */
  spo2Scale: number
  /** Total of NEWS2 from which it is a finding. */
  news2From: number
  /** Which lead of a batch is judged, from 0; 255, or one that a batch lacks = the best one (`lead-choice.ts`). */
  lead: number
  /** Glucose below and above which a finding is told, mg/dL. */
  glucoseLow: number
  glucoseHigh: number
  /** Temperature below and above which a finding is told, tenths of °C. */
  temperatureLow: number
  temperatureHigh: number
  /** Blood pressure below and above which a finding is told, mmHg. */
  systolicLow: number
  systolicHigh: number
  diastolicHigh: number
}

/** Published defaults: AHA rate limits widened for rest and exercise, pause of 2 s, NEWS2 from 5 (urgent response). */
export const defaultParameters: Parameters = {
  bradycardiaBelow: 50,
  tachycardiaAbove: 110,
  pauseMs: 2000,
  ageYears: 255,
  spo2Scale: 1,
  news2From: 5,
  lead: 255,
  glucoseLow: 70,
  glucoseHigh: 250,
  temperatureLow: 350,
  temperatureHigh: 380,
  systolicLow: 90,
  systolicHigh: 180,
  diastolicHigh: 110,
}

const bounds: Record<keyof Parameters, readonly [key: string, min: number, max: number]> = {
  bradycardiaBelow: ['bradycardia', 20, 100],
  tachycardiaAbove: ['tachycardia', 60, 250],
  pauseMs: ['pause', 1000, 10_000],
  ageYears: ['age', 0, 255],
  spo2Scale: ['spo2scale', 1, 2],
  news2From: ['news2', 1, 20],
  lead: ['lead', 0, 255],
  glucoseLow: ['glucose-low', 40, 120],
  glucoseHigh: ['glucose-high', 120, 600],
  temperatureLow: ['temperature-low', 300, 370],
  temperatureHigh: ['temperature-high', 370, 420],
  systolicLow: ['systolic-low', 50, 130],
  systolicHigh: ['systolic-high', 120, 260],
  diastolicHigh: ['diastolic-high', 70, 160],
}

/** The parameters as a CBOR map; every field is there. */
export function encodeParameters(parameters: Parameters): CborMap {
  const map: CborMap = {}
  for (const field of Object.keys(bounds) as (keyof Parameters)[]) map[bounds[field][0]] = parameters[field]
  return map
}

/**
 * Checks parameters from outside and fills in the defaults.
 *
 * @throws {DiagnosisError} `ERR_INPUT_INVALID` with the field that is out of bounds.
 */
export function parseParameters(input: Partial<Parameters>): Parameters {
  const parameters = { ...defaultParameters, ...input }
  for (const field of Object.keys(bounds) as (keyof Parameters)[]) {
    const [, min, max] = bounds[field]
    const value = parameters[field]
    if (!Number.isInteger(value) || value < min || value > max) {
      throw new DiagnosisError(`parameter ${field} is not in ${min}..${max}`, { code: 'ERR_INPUT_INVALID', field })
    }
  }
  return parameters
}

/** Reads the map of `encodeParameters`; `integer` and `map` check the types. */
export function decodeParameters(map: CborMap): Parameters {
  const input: Partial<Parameters> = {}
  for (const field of Object.keys(bounds) as (keyof Parameters)[]) input[field] = map[bounds[field][0]] as number
  return parseParameters(input)
}

/** Keys of the map, for strict readers. */
export const parameterKeys: readonly string[] = Object.values(bounds).map(([key]) => key)
