/**
 * Ventricular fibrillation and flutter. Such a signal swings without rest: it cancels against itself half a period earlier (the leakage of Kuo and Dillman
 * 1978), it is seldom near zero (the threshold crossings of Arafat 2011), and its steps are all of about one size, while those of sharp complexes with
 * quiet between them are not. Boosted trees weigh these measures of the last four seconds, once a second.
 */
import { flutterTable } from './flutter-table.ts'
import type { Carry } from './state.ts'
import { sumTrees } from './trees.ts'

const windowTicks = 1000
/** Mean size below which a window is too quiet to be fibrillation, microvolts. */
const sizeMin = 45
const halfPeriodMin = 14
const halfPeriodMax = 63
/** Share of the greatest value above which the signal counts as away from zero. */
const awayShare = 0.2
const secondsOn = 3
/** Logit in thousandths above which a window counts. */
const logitOn = 1000
/** Measures of a window. */
export const flutterMeasures = 6

/** One instance per lead. */
export class FlutterMeter {
  readonly #measures = new Float64Array(flutterMeasures)
  #seconds = 0
  #on = 0

  /** True while fibrillation or flutter is likely. */
  get isOn(): boolean {
    return this.#on === 1
  }

  /** True while it is on, or may be within a second or two. */
  get isLikely(): boolean {
    return this.#seconds > 0
  }

  /**
   * Looks at the last four seconds; call it once a second.
   *
   * @param ring - ticks of the signal between 0.7 and 40 Hz, microvolts; a power of two of at least 1024.
   * @param tick - the newest tick in it.
   */
  push(ring: Int16Array, tick: number): boolean {
    const isLike = measureFlutter(this.#measures, ring, tick) && sumTrees(flutterTable, this.#measures) > logitOn
    this.#seconds = isLike ? Math.min(secondsOn, this.#seconds + 1) : Math.max(0, this.#seconds - 1)
    if (this.#seconds === secondsOn) this.#on = 1
    else if (this.#seconds === 0) this.#on = 0
    return this.isOn
  }

  /** What cannot be judged is no fibrillation: the count begins again. */
  restart(): void {
    this.#seconds = 0
    this.#on = 0
  }

  /** @see Carry */
  carry(c: Carry): void {
    this.#seconds = c.integer('flutter.seconds', this.#seconds, 0, secondsOn)
    this.#on = c.integer('flutter.on', this.#on, 0, 1)
  }
}

/** Measures the last four seconds; false when there are none yet, or too little signal in them. */
export function measureFlutter(out: Float64Array, ring: Int16Array, tick: number): boolean {
  if (tick < windowTicks) return false
  const mask = ring.length - 1
  let [size, steps, high, low, stepMax, square, fourth] = [0, 0, 0, 0, 1, 0, 0]
  for (let i = 0; i < windowTicks - 1; i++) {
    const value = ring[(tick - i) & mask] as number
    const step = Math.abs(value - (ring[(tick - i - 1) & mask] as number))
    size += Math.abs(value)
    steps += step
    if (step > stepMax) stepMax = step
    if (value > high) high = value
    else if (value < low) low = value
    square += step * step
    fourth += step * step * step * step
  }
  if (size < sizeMin * windowTicks) return false
  const away = awayShare * Math.max(high, -low)
  let count = 0
  for (let i = 0; i < windowTicks; i++) if (Math.abs(ring[(tick - i) & mask] as number) > away) count++
  // Of a sine wave, size over steps is the half period over pi.
  const half = Math.min(halfPeriodMax, Math.max(halfPeriodMin, Math.floor((Math.PI * size) / steps + 0.5)))
  out[0] = leakage(ring, tick, half)
  out[1] = count / windowTicks
  out[2] = steps / (windowTicks * stepMax)
  out[3] = half
  out[4] = (fourth * windowTicks) / (square * square + 1)
  out[5] = size / (windowTicks * Math.max(1, high - low))
  return true
}

/** Share of the last four seconds that is left after adding the signal half a period earlier. */
function leakage(ring: Int16Array, tick: number, half: number): number {
  const mask = ring.length - 1
  let left = 0
  let whole = 1
  for (let i = 0; i < windowTicks - half; i++) {
    const value = ring[(tick - i) & mask] as number
    const earlier = ring[(tick - i - half) & mask] as number
    left += Math.abs(value + earlier)
    whole += Math.abs(value) + Math.abs(earlier)
  }
  return left / whole
}
