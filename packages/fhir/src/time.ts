/** Instants of FHIR: with seconds and a zone, so that they are instants. */
import { FhirError } from './errors.ts'

const pattern = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/
const timeMaxMs = 2 ** 45

/** An instant from Unix ms. */
export const isoOf = (ms: number): string => new Date(ms).toISOString()

/**
 * Unix ms of an instant.
 *
 * @throws {FhirError} for anything else: a date without a time or a zone, or a day that is none.
 */
export function parseInstant(value: unknown, field: string): number {
  const ms = typeof value === 'string' && pattern.test(value) ? Date.parse(value) : Number.NaN
  if (!(ms >= 0 && ms <= timeMaxMs))
    throw new FhirError(`${field} is not an instant with a zone`, { code: 'ERR_FHIR_INVALID', field })
  return ms
}
