/** Measures of one short ECG for `classify.ts`: rate and irregularity, what the beats look like and how alike they are, P waves, extra beats, and noise. */
import { type EcgLead, microvoltsOf } from './annotate.ts'
import { type BeatSymbol, EcgAnalyser, type EcgEvent, tickRate } from './ecg/analyser.ts'
import { highPass1, highPass10, highPass40, lowPass25, lowPass40 } from './ecg/coefficients.ts'
import { Filter } from './ecg/filter.ts'
import { MainsRemover } from './ecg/mains.ts'
import { Resampler } from './ecg/resampler.ts'
import { type BeatEvent, isBeatEvent } from './leads.ts'
import { alignBeats } from './short/aligned.ts'
import { calmParts } from './short/calm.ts'
import { measureClean } from './short/clean.ts'
import { measureExtra } from './short/extra.ts'
import { measureOrder } from './short/order.ts'
import { measureOutliers, measurePeaks } from './short/outliers.ts'
import { mean, quantile, Sheet, share, sorted } from './short/sheet.ts'
import { measureWaves } from './short/waves.ts'

/** Measures of a beat that are looked at: their medians and spreads over the recording. */
const beatMeasures = [10, 11, 12, 13, 15, 16, 17, 19, 20, 22, 25, 27, 29, 31, 33, 37, 39, 40, 42, 47] as const
/** Fewest calm beats that stand for the whole recording, and fewest from which waves are averaged. */
const calmLeast = 8
const wavesLeast = 6
/** Rates that no healthy heart at rest has. */
const fastBpm = 100
const slowBpm = 52
const noLogit = -5000
/** Logit above which a beat counts as ventricular here: that of the beats that the tables were trained on. */
const ventricularLeast = -500

function medianOf3(a: number, b: number, c: number): number {
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c))
}

/** Share of pairs among eight neighbours that differ by more than `part` of the median, after a median of three. */
function pairShare(intervals: readonly number[], median: number, part: number): number {
  const smooth = intervals.map((ms, i) =>
    medianOf3(intervals[Math.max(0, i - 1)] ?? ms, ms, intervals[Math.min(intervals.length - 1, i + 1)] ?? ms),
  )
  let pairs = 0
  let differ = 0
  for (let i = 0; i < smooth.length; i++) {
    for (let k = i + 1; k < Math.min(smooth.length, i + 8); k++) {
      pairs++
      if (Math.abs((smooth[i] as number) - (smooth[k] as number)) > part * median) differ++
    }
  }
  return share(differ, pairs)
}

/** Share of pairs of neighbouring intervals whose like is nowhere else in the recording: chance has few repetitions. */
function novelty(intervals: readonly number[], tolerance: number): number {
  let alone = 0
  for (let i = 0; i + 1 < intervals.length; i++) {
    let like = 0
    for (let k = 0; k + 1 < intervals.length; k++) {
      const near = Math.abs((intervals[i] as number) - (intervals[k] as number)) <= tolerance
      if (k !== i && near && Math.abs((intervals[i + 1] as number) - (intervals[k + 1] as number)) <= tolerance) like++
    }
    if (like === 0) alone++
  }
  return share(alone, intervals.length - 1)
}

function measureIntervals(sheet: Sheet, beats: readonly BeatEvent[], seconds: number): void {
  const intervals = beats.map(({ intervalMs }) => intervalMs).filter((ms) => ms > 0)
  const order = sorted(intervals)
  const median = quantile(order, 0.5)
  const steps = intervals.slice(1).map((ms, i) => ms - (intervals[i] as number))
  const sizes = sorted(steps.map((step) => share(Math.abs(step), median)))
  const turns = steps.filter((step, i) => i > 0 && step > 0 !== (steps[i - 1] as number) > 0).length
  const average = mean(intervals)
  const power = intervals.reduce((sum, ms) => sum + (ms - average) * (ms - average), 1)
  const echo = (lag: number) =>
    intervals.reduce(
      (sum, ms, i) => sum + (i >= lag ? (ms - average) * ((intervals[i - lag] as number) - average) : 0),
      0,
    )
  sheet.add('rate', share(60_000, median))
  sheet.add('beats per second', share(beats.length, seconds))
  sheet.add('spread 10-90', share(quantile(order, 0.9) - quantile(order, 0.1), median))
  sheet.add('spread 25-75', share(quantile(order, 0.75) - quantile(order, 0.25), median))
  sheet.add('longest', share(order.at(-1) ?? 0, median))
  sheet.add('shortest', share(order[0] ?? 0, median))
  sheet.add('deviation', Math.sqrt(share(power, intervals.length)) / Math.max(1, average))
  sheet.add('step median', quantile(sizes, 0.5))
  sheet.add('step 80', quantile(sizes, 0.8))
  sheet.add('steps over 5 %', share(sizes.filter((size) => size > 0.05).length, sizes.length))
  sheet.add('steps over 12 %', share(sizes.filter((size) => size > 0.12).length, sizes.length))
  sheet.add('turns', share(turns, steps.length))
  sheet.add('echo 1', echo(1) / power)
  sheet.add('echo 2', echo(2) / power)
  sheet.add('pairs 4 %', pairShare(intervals, median, 0.04))
  sheet.add('pairs 8 %', pairShare(intervals, median, 0.08))
  sheet.add('novelty', novelty(intervals, 0.05 * median))
  sheet.add('early', share(intervals.filter((ms) => ms < 0.85 * median).length, intervals.length))
  sheet.add('late', share(intervals.filter((ms) => ms > 1.2 * median).length, intervals.length))
  sheet.add('intervals', intervals.length)
}

function measureBeats(sheet: Sheet, rows: readonly Float64Array[], beats: readonly BeatEvent[]): void {
  for (const f of beatMeasures) {
    const order = sorted(rows.map((row) => row[f] as number))
    sheet.add(`beat ${f} median`, quantile(order, 0.5))
    sheet.add(`beat ${f} spread`, quantile(order, 0.85) - quantile(order, 0.15))
  }
  const V = beats.filter(({ symbol }) => symbol === 'V').length
  const S = beats.filter(({ symbol }) => symbol === 'S').length
  sheet.add('V', V)
  sheet.add('S', S)
  sheet.add('V and S share', share(V + S, beats.length))
  sheet.add('V logit most', Math.max(-5000, ...beats.map(({ logits }) => logits.ventricular)))
  sheet.add('S logit most', Math.max(-5000, ...beats.map(({ logits }) => logits.supraventricular)))
  sheet.add('S logit mean', mean(beats.map(({ logits }) => logits.supraventricular)))
}

/** Mean beat of the most common look around the beats: what stays is the heart, noise and fibrillation waves cancel. */
function measureMean(sheet: Sheet, signal: Float64Array, beats: readonly BeatEvent[]): void {
  const [before, after] = [75, 110]
  const used = beats.filter(({ tick, symbol }) => symbol !== 'V' && tick >= before && tick + after < signal.length)
  const average = new Float64Array(before + after)
  for (const { tick } of used)
    for (let i = 0; i < average.length; i++)
      average[i] = (average[i] as number) + (signal[tick - before + i] as number) / used.length
  const part = (from: number, to: number) => [...average.subarray(before + from, before + to)]
  const base = mean(part(-25, -14))
  const qrs = part(-14, 18).map((value) => value - base)
  const height = Math.max(1, Math.max(...qrs) - Math.min(...qrs))
  const p = part(-65, -18)
  const wave = part(25, 100).map((value) => value - base)
  sheet.add('height', height)
  sheet.add('up', share(Math.max(0, ...qrs), height))
  sheet.add('P range', (Math.max(...p, base) - Math.min(...p, base)) / height)
  sheet.add('P peak', (Math.max(...p, base) - base) / height)
  sheet.add('P place', used.length > 0 ? p.indexOf(Math.max(...p)) : 0)
  sheet.add('wave up', Math.max(0, ...wave) / height)
  sheet.add('wave down', Math.min(0, ...wave) / height)
  // What differs from the mean beat before the complex, over its height: fibrillation waves, and noise.
  let away = 0
  let awayStep = 0
  for (const { tick } of used)
    for (let i = -65; i < -18; i++) {
      const value = (signal[tick + i] as number) - (average[before + i] as number)
      const earlier = (signal[tick + i - 6] as number) - (average[before + i - 6] as number)
      away += Math.abs(value)
      awayStep += Math.abs(value - earlier)
    }
  sheet.add('away', share(away, used.length * 47) / height)
  sheet.add('away step', share(awayStep, used.length * 47) / height)
  sheet.add('P over away', share(Math.max(...p, base) - base, 1 + share(away, used.length * 47)))
  sheet.add('width', qrs.filter((value) => Math.abs(value) > 0.2 * height).length)
}

/** Powers of bands, and how spiky and how rough the signal is, whatever its amplitude. */
function measureSignal(sheet: Sheet, ticks: Float64Array, events: readonly EcgEvent[]): Float64Array {
  const [wide, smooth, band, upper, high] = [
    new Filter(highPass1),
    new Filter(lowPass40),
    new Filter(highPass10),
    new Filter(lowPass25),
    new Filter(highPass40),
  ]
  const signal = new Float64Array(ticks.length)
  const powers = { all: 1, wide: 1, band: 1, high: 1 }
  const seconds: number[] = []
  let [first, second, square, fourth, step, second1] = [1, 0, 1, 0, 0, 0]
  const start = ticks[0] ?? 0
  for (let i = 0; i < ticks.length; i++) {
    const value = ticks[i] as number
    const flat = i === 0 ? wide.settle(value) : wide.push(value)
    const clean = i === 0 ? smooth.settle(flat) : smooth.push(flat)
    const peaky = i === 0 ? upper.settle(band.settle(value)) : upper.push(band.push(value))
    const rough = i === 0 ? high.settle(value) : high.push(value)
    const now = clean - (signal[i - 1] ?? clean)
    signal[i] = clean
    powers.all += (value - start) * (value - start)
    powers.wide += clean * clean
    powers.band += peaky * peaky
    powers.high += rough * rough
    first += Math.abs(now)
    second += Math.abs(now - step)
    square += now * now
    fourth += now * now * now * now
    step = now
    second1 += clean * clean
    if ((i + 1) % tickRate === 0) {
      seconds.push(Math.sqrt(second1 / tickRate))
      second1 = 0
    }
  }
  const order = sorted(seconds)
  sheet.add('band share', powers.band / powers.wide)
  sheet.add('high share', powers.high / powers.wide)
  sheet.add('wander share', Math.min(1000, powers.all / powers.wide))
  sheet.add('bend', second / first)
  sheet.add('spiky', (fourth * ticks.length) / (square * square))
  sheet.add('power spread', share(quantile(order, 0.9), quantile(order, 0.1)))
  sheet.add('power most', share(order.at(-1) ?? 0, quantile(order, 0.5)))
  let unreadable = 0
  let from = -1
  for (const event of events) {
    if (event.type !== 'quality') continue
    if (event.quality === 'good' && from >= 0) unreadable += event.tick - from
    from = event.quality === 'good' ? -1 : from < 0 ? event.tick : from
  }
  if (from >= 0) unreadable += ticks.length - from
  sheet.add('unreadable', share(unreadable, ticks.length))
  return signal
}

/** Beats of the shape that most beats have; adds how many that are. */
function usualBeats(sheet: Sheet, beats: readonly BeatEvent[], shapes: readonly number[]): BeatEvent[] {
  const counts = new Map<number, number>()
  for (const shape of shapes) counts.set(shape, (counts.get(shape) ?? 0) + 1)
  const common = [...counts].reduce((best, next) => (next[1] > best[1] ? next : best), [0, 0])[0]
  const usual = beats.filter((_, i) => shapes[i] === common)
  sheet.add('usual share', share(usual.length, beats.length))
  sheet.add('shapes', counts.size)
  return usual
}

/** Extra beats, rate and order of intervals where nothing moves: of the whole recording when that leaves too few. */
function measureCalm(
  sheet: Sheet,
  beats: readonly BeatEvent[],
  isCalm: (tick: number) => boolean,
  calm: readonly BeatEvent[],
): void {
  const joined = beats.filter(({ intervalMs }) => intervalMs > 0)
  const timely = beats.filter(
    ({ tick, intervalMs }, i) => intervalMs > 0 && isCalm(tick) && isCalm(beats[i - 1]?.tick ?? 0),
  )
  const used = (timely.length >= calmLeast ? timely : joined).map(({ intervalMs }) => intervalMs)
  const rate = share(60_000, quantile(sorted(used), 0.5))
  const ventricular = sorted(calm.map(({ logits }) => logits.ventricular))
  const supraventricular = sorted(calm.map(({ logits }) => logits.supraventricular))
  sheet.add('calm', share(calm.length, beats.length))
  sheet.add('calm intervals', timely.length)
  sheet.add('calm rate', rate)
  sheet.add('calm rate away', Math.max(0, rate - fastBpm, slowBpm - rate))
  sheet.add('calm V', calm.filter(({ symbol }) => symbol === 'V').length)
  sheet.add('calm S', calm.filter(({ symbol }) => symbol === 'S').length)
  sheet.add('calm V logit', ventricular.at(-1) ?? noLogit)
  sheet.add('calm S logit', supraventricular.at(-1) ?? noLogit)
  sheet.add('calm S second', supraventricular.at(-2) ?? noLogit)
  sheet.add('calm V second', ventricular.at(-2) ?? noLogit)
  measureOrder(sheet, used)
}

/** The class of a beat by its logits alone, whatever the analyser made of it. */
function symbolOf({ isPaced, logits }: BeatEvent): BeatSymbol {
  if (isPaced) return 'Q'
  if (logits.ventricular > ventricularLeast) return 'V'
  return logits.supraventricular > 0 ? 'S' : 'N'
}

/** Measures a recording. */
export function measureEcg(lead: EcgLead): { names: readonly string[]; values: Float64Array } {
  const analyser = new EcgAnalyser({ rateMilliHz: Math.round(lead.rate * 1000) })
  const resampler = new Resampler(Math.round(lead.rate * 1000))
  const rows: Float64Array[] = []
  const shapes: number[] = []
  analyser.onBeat = (_tick, features, shape) => {
    rows.push(features.slice())
    shapes.push(shape.index)
  }
  const mains = new MainsRemover(Math.round(lead.rate * 1000))
  const microvolts = microvoltsOf(lead).map((value) => mains.push(value))
  const ticks: number[] = []
  for (const sample of microvolts) {
    const count = resampler.push(Number.isNaN(sample) ? (ticks.at(-1) ?? 0) : sample)
    for (let k = 0; k < count; k++) ticks.push(resampler.out[k] as number)
  }
  const events = [...analyser.push(microvolts), ...analyser.finish()]
  const beats = events.filter(isBeatEvent).map((beat) => ({ ...beat, symbol: symbolOf(beat) }))
  const sheet = new Sheet()
  const signal = measureSignal(sheet, Float64Array.from(ticks), events)
  measureIntervals(sheet, beats, lead.samples.length / lead.rate)
  measureBeats(sheet, rows, beats)
  measureMean(sheet, signal, beats)
  const usual = usualBeats(sheet, beats, shapes)
  const isCalm = calmParts(Float64Array.from(ticks), signal)
  const calm = beats.filter(({ tick }) => isCalm(tick))
  measureCalm(sheet, beats, isCalm, calm)
  const usualCalm = usual.filter(({ tick }) => isCalm(tick))
  measureWaves(
    sheet,
    signal,
    (usualCalm.length >= wavesLeast ? usualCalm : usual).map(({ tick }) => tick),
  )
  measureOutliers(sheet, signal, calm.length >= calmLeast ? calm : beats)
  measurePeaks(sheet, signal, beats)
  const aligned = alignBeats(signal, beats)
  measureClean(sheet, Float64Array.from(ticks), signal, aligned)
  measureExtra(sheet, signal, aligned.beats)
  return { names: sheet.names, values: Float64Array.from(sheet.values) }
}
