/** Named measures of one short ECG, and the small statistics that they share. */

/** Collects measures with their names; the names serve the training. */
export class Sheet {
  readonly names: string[] = []
  readonly values: number[] = []

  /** Adds a measure, kept within a million; what is no number counts as 0. */
  add(name: string, value: number): void {
    this.names.push(name)
    this.values.push(Number.isFinite(value) ? Math.max(-1e6, Math.min(1e6, value)) : 0)
  }
}

/** `count` over `of`; 0 when there is nothing. */
export const share = (count: number, of: number): number => (of > 0 ? count / of : 0)

/** A copy in rising order. */
export const sorted = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b)

/** Quantile of values in rising order; 0 of none. */
export const quantile = (ordered: readonly number[], q: number): number =>
  ordered[Math.min(ordered.length - 1, Math.floor(q * ordered.length))] ?? 0

/** Mean; 0 of none. */
export const mean = (values: readonly number[]): number =>
  share(
    values.reduce((sum, value) => sum + value, 0),
    values.length,
  )

/** Correlation of two stretches of the same length, -1 to 1; 0 when one is flat. */
export function correlation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [sumA, sumB] = [0, 0]
  for (let i = 0; i < a.length; i++) {
    sumA += a[i] as number
    sumB += b[i] as number
  }
  const [meanA, meanB] = [sumA / a.length, sumB / a.length]
  let [cross, own, other] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [(a[i] as number) - meanA, (b[i] as number) - meanB]
    cross += x * y
    own += x * x
    other += y * y
  }
  return own > 0 && other > 0 ? cross / Math.sqrt(own * other) : 0
}
