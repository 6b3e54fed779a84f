/**
 * How the intervals of a short ECG follow each other: the plot of steps against steps before (Sarkar, Ritscher and Mehra 2008, "A detector for a chronic implantable
 * atrial tachyarrhythmia monitor"), sample entropy with a tolerance that fits the recording (Lake and Moorman 2011), and what is left when early beats are taken out.
 */
import { mean, quantile, type Sheet, share, sorted } from './sheet.ts'

const originMs = 80
const binMs = 40
const binsAcross = 31
const matchesLeast = 5

/** Places of the plot outside the origin: which side of it, by the signs and sizes of a step and the one before. */
function measurePlot(sheet: Sheet, steps: readonly number[]): void {
  const bins = new Set<number>()
  let [origin, outside, same, opposite, one, far] = [0, 0, 0, 0, 0, 0]
  for (let i = 1; i < steps.length; i++) {
    const [x, y] = [steps[i] as number, steps[i - 1] as number]
    const [isFarX, isFarY] = [Math.abs(x) > originMs, Math.abs(y) > originMs]
    if (!isFarX && !isFarY) {
      origin++
      continue
    }
    outside++
    const place = (value: number) => Math.max(0, Math.min(binsAcross - 1, Math.round(value / binMs) + 15))
    bins.add(place(x) * binsAcross + place(y))
    if (!isFarX || !isFarY) one++
    else if (x * y > 0) same++
    else opposite++
    if (Math.abs(x) > 3 * originMs || Math.abs(y) > 3 * originMs) far++
  }
  const points = Math.max(1, steps.length - 1)
  sheet.add('plot origin', origin / points)
  sheet.add('plot places', bins.size)
  sheet.add('plot places share', bins.size / points)
  sheet.add('plot density', share(outside, bins.size))
  sheet.add('plot evidence', (bins.size - origin) / points)
  sheet.add('plot same', same / points)
  sheet.add('plot opposite', opposite / points)
  sheet.add('plot one', one / points)
  sheet.add('plot far', far / points)
}

/** Counts of pairs of intervals within `tolerance`, and of those whose next ones are too. */
function matches(intervals: readonly number[], tolerance: number): { one: number; two: number } {
  let [one, two] = [0, 0]
  for (let i = 0; i + 1 < intervals.length; i++) {
    for (let k = i + 1; k + 1 < intervals.length; k++) {
      if (Math.abs((intervals[i] as number) - (intervals[k] as number)) > tolerance) continue
      one++
      if (Math.abs((intervals[i + 1] as number) - (intervals[k + 1] as number)) <= tolerance) two++
    }
  }
  return { one, two }
}

/** The share whose logarithm sample entropy is; trees look at order alone. */
function measureEntropy(sheet: Sheet, intervals: readonly number[], average: number): void {
  const fixed = matches(intervals, 30)
  let tolerance = 5
  let found = matches(intervals, tolerance)
  while (found.two < matchesLeast && tolerance < 400) {
    tolerance *= 1.25
    found = matches(intervals, tolerance)
  }
  sheet.add('entropy 30 ms', share(fixed.two, fixed.one))
  sheet.add('entropy share', share(found.two, found.one))
  sheet.add('entropy tolerance', tolerance / Math.max(1, average))
  sheet.add(
    'entropy over tolerance',
    (share(found.two, found.one) * average) / (2 * tolerance * Math.max(1, average) ** 0.5),
  )
}

/** What is early and what follows it, against the median of the neighbours; and how even the rest is. */
function measureEarly(sheet: Sheet, intervals: readonly number[]): void {
  const local = intervals.map((_, i) => quantile(sorted(intervals.slice(Math.max(0, i - 4), i + 5)), 0.5))
  const ratios = intervals.map((ms, i) => ms / Math.max(1, local[i] as number))
  const isOut = new Array<boolean>(intervals.length).fill(false)
  let [paused, plain, pairs, late] = [0, 0, 0, 0]
  for (const [i, ratio] of ratios.entries()) {
    if (ratio > 1.25 && (ratios[i - 1] ?? 1) > 0.88) late++
    if (ratio > 0.88) continue
    const next = ratios[i + 1] ?? 1
    if (next > 1.1) paused++
    else if (next > 0.92) plain++
    else pairs++
    isOut[i] = isOut[i + 1] = true
  }
  const rest = intervals.filter((_, i) => !isOut[i])
  const steps = ratios.slice(1).map((ratio, i) => Math.abs(ratio - (ratios[i] as number)))
  const restRatios = ratios.filter((_, i) => !isOut[i])
  const restSteps = sorted(
    intervals
      .slice(1)
      .flatMap((ms, i) =>
        isOut[i] || isOut[i + 1] ? [] : [Math.abs(ms - (intervals[i] as number)) / (local[i] as number)],
      ),
  )
  sheet.add('early paused', paused)
  sheet.add('early plain', plain)
  sheet.add('early pairs', pairs)
  sheet.add('late alone', late)
  sheet.add('early least', sorted(ratios)[0] ?? 1)
  sheet.add('late most', sorted(ratios).at(-1) ?? 1)
  sheet.add('rest share', share(rest.length, intervals.length))
  sheet.add('rest step median', quantile(restSteps, 0.5))
  sheet.add('rest step 80', quantile(restSteps, 0.8))
  sheet.add('rest step most', restSteps.at(-1) ?? 0)
  sheet.add('rest even', share(restRatios.filter((ratio) => Math.abs(ratio - 1) < 0.05).length, intervals.length))
  sheet.add('local step 90', quantile(sorted(steps), 0.9))
}

/** The calmest and the least calm dozen of intervals, the slowest and the fastest. */
function measureParts(sheet: Sheet, intervals: readonly number[]): void {
  const length = Math.min(12, intervals.length)
  const uneven: number[] = []
  const rates: number[] = []
  for (let i = 0; i + length <= intervals.length; i += 3) {
    const part = intervals.slice(i, i + length)
    const average = Math.max(1, mean(part))
    const steps = sorted(part.slice(1).map((ms, k) => Math.abs(ms - (part[k] as number)) / average))
    uneven.push(quantile(steps, 0.5))
    rates.push(60_000 / average)
  }
  sheet.add('part calm', sorted(uneven)[0] ?? 0)
  sheet.add('part uneven', sorted(uneven).at(-1) ?? 0)
  sheet.add('part slow', sorted(rates)[0] ?? 0)
  sheet.add('part fast', sorted(rates).at(-1) ?? 0)
}

/** Adds the measures of order of intervals in ms. */
export function measureOrder(sheet: Sheet, intervals: readonly number[]): void {
  const steps = intervals.slice(1).map((ms, i) => ms - (intervals[i] as number))
  const average = mean(intervals)
  measurePlot(sheet, steps)
  measureEntropy(sheet, intervals, average)
  measureEarly(sheet, intervals)
  measureParts(sheet, intervals)
  const squares = mean(steps.map((step) => step * step))
  sheet.add('root of squared steps', Math.sqrt(squares) / Math.max(1, average))
  sheet.add('steps over 20 ms', share(steps.filter((step) => Math.abs(step) > 20).length, steps.length))
  sheet.add('steps over 50 ms', share(steps.filter((step) => Math.abs(step) > 50).length, steps.length))
  const deviation = Math.sqrt(Math.max(1, mean(intervals.map((ms) => (ms - average) * (ms - average)))))
  const cubes = mean(
    intervals.map((ms) => ((ms - average) / deviation) * ((ms - average) / deviation) * ((ms - average) / deviation)),
  )
  sheet.add('skew', cubes)
  sheet.add('steps over deviation', Math.sqrt(squares) / deviation)
}
