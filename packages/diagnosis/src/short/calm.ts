/** Which parts of a short ECG are calm: an electrode that moves makes swings that no beat of this heart has. */
import { quantile, sorted } from './sheet.ts'

/** Ticks of one part: half a second. */
const partTicks = 125
/** Ranges and roughness over the usual ones above which a part is not calm. */
const rangeMost = 1.7
const roughMost = 2.5

/** Tells for a tick whether the signal half a second around it is calm; `raw` = before filtering, `signal` = 0.7 to 40 Hz. */
export function calmParts(raw: Float64Array, signal: Float64Array): (tick: number) => boolean {
  const ranges: number[] = []
  const wanders: number[] = []
  const roughs: number[] = []
  for (let from = 0; from < signal.length; from += partTicks) {
    const to = Math.min(signal.length, from + 2 * partTicks)
    const start = Math.max(0, to - 2 * partTicks)
    let [low, high, rough] = [1e9, -1e9, 0]
    let [rawLow, rawHigh] = [1e9, -1e9]
    for (let i = start; i < to; i++) {
      low = Math.min(low, signal[i] as number)
      high = Math.max(high, signal[i] as number)
      rawLow = Math.min(rawLow, raw[i] as number)
      rawHigh = Math.max(rawHigh, raw[i] as number)
      if (i > start) rough += Math.abs((signal[i] as number) - (signal[i - 1] as number))
    }
    ranges.push(high - low)
    wanders.push(rawHigh - rawLow)
    roughs.push(rough)
  }
  const usual = [ranges, wanders, roughs].map((values) => quantile(sorted(values), 0.4))
  const isCalm = ranges.map(
    (range, i) =>
      range <= rangeMost * (usual[0] as number) &&
      (wanders[i] as number) <= rangeMost * (usual[1] as number) &&
      (roughs[i] as number) <= roughMost * (usual[2] as number),
  )
  return (tick) => {
    const at = Math.floor(tick / partTicks)
    return (isCalm[at] ?? true) && (isCalm[at - 1] ?? true)
  }
}
