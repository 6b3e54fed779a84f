/** Values of several signs over one row of times, null where a sign was not measured. */
export function alignSigns(signs: readonly (readonly (readonly [number, number])[])[]): {
  timesMs: number[]
  values: (number | null)[][]
} {
  const timesMs = [...new Set(signs.flatMap((sign) => sign.map(([at]) => at)))].toSorted((a, b) => a - b)
  const values = signs.map((sign) => {
    const byTime = new Map(sign)
    return timesMs.map((at) => byTime.get(at) ?? null)
  })
  return { timesMs, values }
}
