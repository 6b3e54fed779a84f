/** Says for each second of signal whether it can be judged. What cannot be judged is never turned into a disease. */
import { highPass40 } from './coefficients.ts'
import { Filter } from './filter.ts'
import type { Carry } from './state.ts'

/** Why a second cannot be judged; `good` = it can. */
export type Quality = 'good' | 'missing' | 'flat' | 'railed' | 'noisy'

const qualities: readonly Quality[] = ['good', 'missing', 'flat', 'railed', 'noisy']
/** Ticks of one window: a second. */
export const qualityTicks = 250
const missingTicksMax = 62
const flatRange = 20
const railRange = 500
const railRun = 50
const partTicks = 25
const partCount = qualityTicks / partTicks
/** Mean size of what lies above 40 Hz, between the beats, above which a second is too noisy: microvolts. */
const noiseMax = 150

/** From half a second to the next the level moves by so much when an electrode is disturbed, and by so much at least while it comes back: microvolts. */
const swingOn = 1000
const swingOff = 60

/** One instance per lead. */
export class QualityMeter {
  readonly #high = new Filter(highPass40)
  readonly #parts = new Float64Array(partCount)
  /** Sums of the signal over the same parts. */
  readonly #levels = new Float64Array(partCount)
  #swings = 0
  /** Level of the last half second. */
  #level = 0
  #count = 0
  #missing = 0
  #minimum = 0
  #maximum = 0
  #previous = 0
  #run = 0
  #runMax = 0
  #settled = 0
  #last = 0

  /** The verdict on the last full second. */
  get quality(): Quality {
    return qualities[this.#last] as Quality
  }

  /** True while the level comes back from a jump or from a limit: an electrode or an amplifier that shows no heart need not mean that there is none. */
  get isSwinging(): boolean {
    return this.#swings === 1
  }

  /** Takes a tick in microvolts; true when a second is full and `quality` is new. */
  push(value: number, isMissing: boolean): boolean {
    const residue = this.#settled === 0 ? this.#high.settle(value) : this.#high.push(value)
    this.#settled = 1
    const count = this.#count
    if (count === 0) {
      this.#minimum = this.#maximum = value
      this.#runMax = this.#missing = 0
      this.#parts.fill(0)
      this.#levels.fill(0)
    }
    if (isMissing) this.#missing++
    if (value < this.#minimum) this.#minimum = value
    if (value > this.#maximum) this.#maximum = value
    this.#run = value === this.#previous ? this.#run + 1 : 0
    if (this.#run > this.#runMax) this.#runMax = this.#run
    this.#previous = value
    const part = (count / partTicks) | 0
    this.#parts[part] = (this.#parts[part] as number) + Math.round(Math.min(1e9, Math.abs(residue) * 16))
    this.#levels[part] = (this.#levels[part] as number) + value
    this.#count = count + 1
    if (this.#count < qualityTicks) return false
    this.#count = 0
    this.#last = qualities.indexOf(this.#judge())
    const [first, second] = [this.#levelFrom(0), this.#levelFrom(partCount / 2)]
    const moved = Math.max(Math.abs(first - this.#level), Math.abs(second - first))
    this.#level = second
    this.#swings = moved >= swingOn || this.quality === 'railed' || (this.isSwinging && moved >= swingOff) ? 1 : 0
    return true
  }

  /** Level of half a second: the median of five parts, which a beat does not move. */
  #levelFrom(from: number): number {
    const half = this.#levels.slice(from, from + partCount / 2).sort()
    return (half[partCount >> 2] as number) / partTicks
  }

  #judge(): Quality {
    if (this.#missing > missingTicksMax) return 'missing'
    const range = this.#maximum - this.#minimum
    if (range < flatRange) return 'flat'
    if (this.#runMax >= railRun && range >= railRange) return 'railed'
    const sorted = this.#parts.slice().sort()
    const middle = (sorted[partCount / 2] as number) / (16 * partTicks)
    return middle > noiseMax ? 'noisy' : 'good'
  }

  /** @see Carry */
  carry(c: Carry): void {
    this.#high.carry(c)
    c.integers('quality.parts', this.#parts, 0, 1e12)
    c.numbers('quality.levels', this.#levels, -1e12, 1e12)
    this.#level = c.number('quality.level', this.#level, -1e9, 1e9)
    this.#swings = c.integer('quality.swings', this.#swings, 0, 1)
    this.#count = c.integer('quality.count', this.#count, 0, qualityTicks - 1)
    this.#missing = c.integer('quality.missing', this.#missing, 0, qualityTicks)
    this.#minimum = c.number('quality.minimum', this.#minimum, -1e9, 1e9)
    this.#maximum = c.number('quality.maximum', this.#maximum, -1e9, 1e9)
    this.#previous = c.number('quality.previous', this.#previous, -1e9, 1e9)
    this.#run = c.integer('quality.run', this.#run, 0, 2 ** 45)
    this.#runMax = c.integer('quality.run-max', this.#runMax, 0, 2 ** 45)
    this.#settled = c.integer('quality.settled', this.#settled, 0, 1)
    this.#last = c.integer('quality.last', this.#last, 0, qualities.length - 1)
  }
}
