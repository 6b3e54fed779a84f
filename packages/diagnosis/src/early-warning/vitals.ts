import { DiagnosisError } from '../errors.ts'

/** Alert, new confusion, responds to voice, to pain, unresponsive. */
export type Consciousness = 'A' | 'C' | 'V' | 'P' | 'U'

/** One set of vital signs; a sign that was not measured is left out. */
export interface VitalSet {
  /** Breaths a minute, 0 to 150. */
  respiratoryRate?: number
  /** Percent, 0 to 100. */
  spo2?: number
  /** NEWS2 scale of oxygen saturation; 2 only where a clinician chose it for hypercapnic failure. Default 1. */
  spo2Scale?: 1 | 2
  supplementalOxygen?: boolean
  /** mm[Hg], 0 to 350. */
  systolicPressure?: number
  /** Beats a minute, 0 to 400. */
  pulse?: number
  consciousness?: Consciousness
  /** Degrees Celsius, 10 to 50. */
  temperature?: number
  /** Years, 0 to 130. */
  ageYears?: number
  /** Millilitres in 24 hours, 0 to 20,000; MEWS alone uses it. */
  urineMl?: number
}

/** Clinical risk. */
export type Risk = 'low' | 'low-medium' | 'medium' | 'high'

/** Outcome of a score. `total` and `risk` are null where the score does not apply, or none of its signs was measured (`notApplicable` says which). */
export interface ScoreResult<Part extends string> {
  total: number | null
  /** Points of each sign that was there. */
  parts: Partial<Record<Part, number>>
  risk: Risk | null
  /** Signs that were not there; with any of these, `total` is the least that the score can be. */
  missing: Part[]
  notApplicable?: string
}

const bounds = {
  respiratoryRate: [0, 150],
  spo2: [0, 100],
  systolicPressure: [0, 350],
  pulse: [0, 400],
  temperature: [10, 50],
  ageYears: [0, 130],
  urineMl: [0, 20_000],
} as const
const words: Record<string, Consciousness> = {
  a: 'A',
  alert: 'A',
  c: 'C',
  confusion: 'C',
  confused: 'C',
  'new confusion': 'C',
  v: 'V',
  voice: 'V',
  verbal: 'V',
  p: 'P',
  pain: 'P',
  u: 'U',
  unresponsive: 'U',
}

function wrong(field: string, reason: string): DiagnosisError {
  return new DiagnosisError(`${field} ${reason}`, { code: 'ERR_INPUT_INVALID', field })
}

function readNumber(value: unknown, field: keyof typeof bounds): number {
  const [min, max] = bounds[field]
  if (typeof value !== 'number' || !(value >= min && value <= max))
    throw wrong(field, `is not a number in ${min}..${max}`)
  return value
}

/**
 * Reads a set of vital signs from outside. A sign that is absent or null was not measured.
 *
 * @throws {DiagnosisError} `ERR_INPUT_INVALID` with the field for a key that is not known, a wrong type, or a value out of its bounds.
 */
export function parseVitalSet(input: unknown): VitalSet {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) throw wrong('input', 'is not an object')
  const set: VitalSet = {}
  for (const [field, value] of Object.entries(input)) {
    if (value === null || value === undefined) continue
    if (Object.hasOwn(bounds, field)) {
      const key = field as keyof typeof bounds
      set[key] = readNumber(value, key)
    } else if (field === 'spo2Scale') {
      if (value !== 1 && value !== 2) throw wrong(field, 'is not 1 or 2')
      set.spo2Scale = value
    } else if (field === 'supplementalOxygen') {
      if (typeof value !== 'boolean') throw wrong(field, 'is not true or false')
      set.supplementalOxygen = value
    } else if (field === 'consciousness') {
      const level =
        typeof value === 'string' && Object.hasOwn(words, value.toLowerCase()) ? words[value.toLowerCase()] : undefined
      if (level === undefined) throw wrong(field, 'is not one of A, C, V, P, U')
      set.consciousness = level
    } else throw wrong(field.slice(0, 40), 'is not known')
  }
  return set
}

/** How a score is read: its name, the youngest it is for, and the risk of a total. */
export interface Reading<Part extends string> {
  name: string
  yearsLeast: number
  riskOf: (total: number, parts: Partial<Record<Part, number>>) => Risk
}

/**
 * Sums the parts that are there and lists those that are not. Of a person too young for the score, and of no sign at all, nothing is said: a sum of nothing is 0, which would read as a low risk.
 *
 * @param points - of each sign; undefined = not measured.
 * @param ageYears - undefined counts as adult.
 */
export function sumParts<Part extends string>(
  points: Record<Part, number | undefined>,
  ageYears: number | undefined,
  { name, yearsLeast, riskOf }: Reading<Part>,
): ScoreResult<Part> {
  const parts: Partial<Record<Part, number>> = {}
  const missing: Part[] = []
  let total = 0
  for (const name of Object.keys(points) as Part[]) {
    const value = points[name]
    if (value === undefined) missing.push(name)
    else {
      parts[name] = value
      total += value
    }
  }
  const silent = (notApplicable: string) => ({ total: null, parts: {}, risk: null, missing, notApplicable })
  if (ageYears !== undefined && ageYears < yearsLeast)
    return silent(`${name} is not for an age below ${yearsLeast} years`)
  if (Object.keys(parts).length === 0) return silent(`no sign that ${name} can score was measured`)
  return { total, parts, risk: riskOf(total, parts), missing }
}

/**
 * Points of a value by ascending bands: those of the first band whose upper end is at or above it, else `above`.
 *
 * @param bands - pairs of inclusive upper end and points.
 */
export function band(
  value: number | undefined,
  bands: readonly (readonly [number, number])[],
  above: number,
): number | undefined {
  if (value === undefined) return undefined
  for (const [upTo, points] of bands) if (value <= upTo) return points
  return above
}
