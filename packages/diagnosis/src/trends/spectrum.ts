/** Values at uneven times brought to 4 Hz by straight lines, and their power spectrum. Trends are not hashed: any Math function may be used. */

/** Samples a second of a series. */
export const seriesHz = 4

/** A value and its time in ms. */
export interface Point {
  ms: number
  value: number
}

/** Samples at 4 Hz from 0 to `seconds`; before the first and after the last point their values hold. */
export function evenSeries(values: readonly Point[], seconds: number): Float64Array {
  const series = new Float64Array(seconds * seriesHz)
  let at = 0
  for (let i = 0; i < series.length; i++) {
    const ms = (i * 1000) / seriesHz
    while (at + 1 < values.length && (values[at + 1]?.ms ?? 0) <= ms) at++
    const [a, b] = [values[at] as Point, values[Math.min(at + 1, values.length - 1)] as Point]
    const part = b.ms > a.ms ? Math.min(1, Math.max(0, (ms - a.ms) / (b.ms - a.ms))) : 0
    series[i] = a.value + part * (b.value - a.value)
  }
  return series
}

/** Power at k cycles in the whole series, k from 0: mean taken away, Hann window, discrete Fourier transform; the sum is the variance. */
export function powersOf(series: Float64Array, kMax: number): Float64Array {
  const points = series.length
  const mean = series.reduce((sum, value) => sum + value, 0) / points
  let windowPower = 0
  const flat = series.map((value, i) => {
    const weight = 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / points)
    windowPower += weight * weight
    return (value - mean) * weight
  })
  const cosine = Float64Array.from({ length: points }, (_, i) => Math.cos((2 * Math.PI * i) / points))
  const sine = Float64Array.from({ length: points }, (_, i) => Math.sin((2 * Math.PI * i) / points))
  return Float64Array.from({ length: kMax + 1 }, (_, k) => {
    let [real, imaginary] = [0, 0]
    for (let i = 0; i < points; i++) {
      const at = (k * i) % points
      real += (flat[i] as number) * (cosine[at] as number)
      imaginary += (flat[i] as number) * (sine[at] as number)
    }
    return (2 * (real * real + imaginary * imaginary)) / (points * windowPower)
  })
}
