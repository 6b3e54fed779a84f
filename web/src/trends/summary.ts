/** Least, greatest and newest value of a line; undefined if it has none. */
export function summariseSeries(
  timesMs: readonly number[],
  values: readonly (number | null)[],
): { min: number; max: number; last: number; lastMs: number } | undefined {
  let found: { min: number; max: number; last: number; lastMs: number } | undefined
  for (const [index, value] of values.entries()) {
    if (value === null) continue
    const lastMs = timesMs[index] as number
    found = {
      min: Math.min(value, found?.min ?? value),
      max: Math.max(value, found?.max ?? value),
      last: value,
      lastMs,
    }
  }
  return found
}
