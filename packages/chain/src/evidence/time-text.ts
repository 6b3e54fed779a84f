/** The last moment that a `Date` can hold, Unix ms. */
const dateMsMax = 8.64e15

/** A time in words: ISO 8601, or its number where no calendar reaches, for whoever signed it may have written anything. */
export function timeText(ms: number): string {
  return ms <= dateMsMax ? new Date(ms).toISOString() : `${ms} ms`
}
