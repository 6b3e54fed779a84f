/**
 * What the doctor sets for a patient: the limits beyond which findings are made, age and scale of the scores, the lead. They say something of a person, so they lie beside the
 * keys in a file that only the service's user can read, and are in each sealed diagnosis that was made with them. Small: read once, written whole.
 */
import { defaultParameters, type Parameters, parseParameters } from '@healthblock/diagnosis/diagnose'
import { DiagnosisError } from '@healthblock/diagnosis/errors'
import { decodeParameters, encodeParameters } from '@healthblock/diagnosis/parameters'
import { toHex } from '@healthblock/encoding/bytes'
import { type CborMap, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { readFileIfPresent, writeSecretFile } from '@healthblock/runtime/files'
import { DoctorNodeError } from '../errors.ts'

/** Most patients with limits of their own. */
export const patientsMax = 100_000

/** Pairs of limits of which the first must lie below the second. */
const ordered: readonly (readonly [keyof Parameters, keyof Parameters])[] = [
  ['bradycardiaBelow', 'tachycardiaAbove'],
  ['glucoseLow', 'glucoseHigh'],
  ['temperatureLow', 'temperatureHigh'],
  ['systolicLow', 'systolicHigh'],
]

/** A change: a number sets a limit, null gives it its default again. */
export type LimitChange = Partial<Record<keyof Parameters, number | null>>

/** The limits of all patients of this doctor. */
export class PatientLimits {
  readonly #path: string
  readonly #own: Map<string, Parameters>

  /** @throws {DoctorNodeError} `ERR_LIMITS_CORRUPT` for a file that is damaged: limits are never lost in silence. */
  constructor(path: string) {
    this.#path = path
    this.#own = readLimits(path)
  }

  /** What the patient's readings are judged by. */
  of(patient: Uint8Array): Parameters {
    return this.#own.get(toHex(patient)) ?? defaultParameters
  }

  /**
   * Changes limits. Durable when it returns.
   *
   * @returns what holds from now on, and whether that is another thing than before.
   * @throws {DoctorNodeError} `ERR_LIMIT_INVALID` naming the limit that is out of bounds, or not below the one that it must be below.
   */
  change(patient: Uint8Array, change: LimitChange): { limits: Parameters; hasChanged: boolean } {
    const before = this.of(patient)
    const wanted: Partial<Parameters> = { ...before }
    for (const [field, value] of Object.entries(change) as [keyof Parameters, number | null][])
      wanted[field] = value ?? defaultParameters[field]
    const limits = parse(wanted)
    const fields = Object.keys(limits) as (keyof Parameters)[]
    if (fields.every((field) => limits[field] === before[field])) return { limits, hasChanged: false }
    const next = new Map(this.#own)
    if (fields.every((field) => limits[field] === defaultParameters[field])) next.delete(toHex(patient))
    else next.set(toHex(patient), limits)
    if (next.size > patientsMax)
      throw new DoctorNodeError(`limits are kept for at most ${patientsMax} patients`, { code: 'ERR_LIMITS_FULL' })
    writeSecretFile(this.#path, encodeCbor({ v: 1, limits: rowsOf(next) }))
    this.#own.clear()
    for (const [name, own] of next) this.#own.set(name, own)
    return { limits, hasChanged: true }
  }
}

const rowsOf = (all: ReadonlyMap<string, Parameters>) =>
  [...all].map(([patient, own]): [string, CborMap] => [patient, encodeParameters(own)])

function parse(wanted: Partial<Parameters>): Parameters {
  let limits: Parameters
  try {
    limits = parseParameters(wanted)
  } catch (cause) {
    if (!(cause instanceof DiagnosisError)) throw cause
    const { field } = cause.detail
    throw new DoctorNodeError(cause.message, { code: 'ERR_LIMIT_INVALID', field }, { cause })
  }
  for (const [low, high] of ordered)
    if (limits[low] >= limits[high])
      throw new DoctorNodeError(`${low} is not below ${high}`, { code: 'ERR_LIMIT_INVALID', field: low })
  return limits
}

function readLimits(path: string): Map<string, Parameters> {
  const bytes = readFileIfPresent(path)
  if (bytes === undefined) return new Map()
  try {
    const map = decodeCbor(bytes) as CborMap
    if (map.v !== 1) throw new TypeError('unknown version')
    const rows = map.limits as [string, CborMap][]
    return new Map(rows.map(([patient, own]) => [patient, decodeParameters(own)]))
  } catch (cause) {
    const message = `${path} is damaged: restore it from a backup of its folder, or remove it to judge by the defaults`
    throw new DoctorNodeError(message, { code: 'ERR_LIMITS_CORRUPT', path }, { cause })
  }
}
