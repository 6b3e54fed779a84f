/** Instants of FHIR: with seconds and a zone, so that they are instants. */
import { FhirError } from './errors.ts'

const pattern = /^(\d{4}-\d{2}-\d{2})T(\d{2}):\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-](\d{2}):(\d{2}))$/
const timeMaxMs = 2 ** 45
/** The greatest offset that FHIR has (dateTime, R4). */
const offsetMinutesMax = 14 * 60

/** An instant from Unix ms. */
export const isoOf = (ms: number): string => new Date(ms).toISOString()

/**
 * Unix ms of an instant.
 *
 * @throws {FhirError} for anything else: a date without a time or a zone, or a day that is none.
 */
export function parseInstant(value: unknown, field: string): number {
  const ms = typeof value === 'string' ? msOf(value) : Number.NaN
  if (!(ms >= 0 && ms <= timeMaxMs))
    throw new FhirError(`${field} is not an instant with a zone`, { code: 'ERR_FHIR_INVALID', field })
  return ms
}

/** NaN for what is none: `Date.parse` takes 31 February for 3 March, and hour 24 for the next day's first. */
function msOf(text: string): number {
  const [, day = '', hour, offsetHours = '0', offsetMinutes = '0'] = pattern.exec(text) ?? []
  const midnight = new Date(`${day}T00:00:00Z`)
  const isDay = !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(day)
  const isOffset = Number(offsetHours) * 60 + Number(offsetMinutes) <= offsetMinutesMax
  return isDay && Number(hour) < 24 && isOffset ? Date.parse(text) : Number.NaN
}
