/**
 * Tells runs of ventricular beats from movement. An electrode that is moved makes two or three swings that look like wide beats, but each is another one, they come at any distance, and
 * little speaks for each. Beats of a ventricular focus repeat themselves, at even distances, or are beyond doubt; of a long fast run less is asked, because what matters most must not be missed.
 */
import type { Carry } from './state.ts'

/** What a run is called: at 100/min or more, or below. */
export type RunRhythm = 'VT' | 'IVR'

/** What is known of a beat. */
export interface RunBeat {
  isVentricular: boolean
  /** Resembles no beat before. */
  isNew: boolean
  /** Place of its shape among those that are kept, and the logit of a ventricular beat that counts, in thousandths. */
  shape: number
  logit: number
}

const beatsMin = 3
const knownMin = 2
const fastBpm = 100
/** A run that is fast is so until it is below this. */
const stillFastBpm = 90
/** Intervals of which the rate of a run is the mean. */
const rateIntervals = 4
/** Two neighbouring intervals of a run, the longer over the shorter, at most. */
const unevenMost = 1.75
/** Mean logit of the last three beats, each bounded by so much, at least: when two of them have one shape, and when none have. */
const logitMost = 4000
const logitAlikeLeast = 1500
const logitUnlikeLeast = 3000
/** Before so many beats were seen only a long run is told: a stream begins with an electrode that is put on. */
const openingBeats = 8
/** From so many beats at so many a minute on neither shapes nor logits are asked for. */
const longBeats = 6
const longBpm = 120

/** Running state of the run that lasts; one instance per lead. */
export class VentricularRun {
  #beats = 0
  #known = 0
  /** Beats seen since the begin, at most `openingBeats`. */
  #seen = 0
  /** Shapes and logits of the last three beats, the newest last; -1 = none. */
  readonly #shapes = new Float64Array(beatsMin).fill(-1)
  readonly #logits = new Float64Array(beatsMin)
  /** The last intervals, the newest last. */
  readonly #intervals = new Float64Array(rateIntervals)
  /** Pairs of neighbouring intervals that are even. */
  #even = 0
  #isTold = 0
  #isFast = 0

  /** Takes a beat and the ms since the one before. */
  push(interval: number, { isVentricular, isNew, shape, logit }: RunBeat): void {
    this.#seen = Math.min(openingBeats, this.#seen + 1)
    if (!isVentricular) {
      this.restart()
      return
    }
    const before = this.#intervals[rateIntervals - 1] as number
    if (this.#beats > 0) append(this.#intervals, interval)
    const isEven = this.#beats > 1 && Math.max(interval, before) <= unevenMost * Math.min(interval, before)
    if (isEven) this.#even++
    this.#beats++
    if (!isNew) this.#known++
    append(this.#shapes, shape)
    append(this.#logits, Math.min(logitMost, Math.max(-logitMost, logit)))
    const rate = this.#rate()
    this.#isFast = rate >= (this.#isFast === 1 ? stillFastBpm : fastBpm) ? 1 : 0
    if ((isEven && this.#isCertain()) || this.#isLong(rate)) this.#isTold = 1
  }

  /** What the run that lasts is called; undefined when there is none, or it may be movement. */
  get rhythm(): RunRhythm | undefined {
    if (this.#isTold === 0) return undefined
    return this.#isFast === 1 ? 'VT' : 'IVR'
  }

  #rate(): number {
    const count = Math.min(rateIntervals, this.#beats - 1)
    let ms = 0
    for (let i = rateIntervals - count; i < rateIntervals; i++) ms += this.#intervals[i] as number
    return ms > 0 ? (60_000 * count) / ms : 0
  }

  #isCertain(): boolean {
    if (this.#seen < openingBeats || this.#beats < beatsMin || this.#known < knownMin) return false
    const [a, b, c] = this.#shapes
    const mean = this.#logits.reduce((sum, logit) => sum + logit, 0) / beatsMin
    return mean >= (a === b || b === c || a === c ? logitAlikeLeast : logitUnlikeLeast)
  }

  #isLong(rate: number): boolean {
    const isEven = this.#even >= this.#beats - longBeats / 2
    return this.#beats >= longBeats && this.#known >= this.#beats / 2 && isEven && rate >= longBpm
  }

  /** Ends the run. */
  restart(): void {
    this.#beats = this.#known = this.#even = this.#isTold = this.#isFast = 0
    this.#shapes.fill(-1)
  }

  /** @see Carry */
  carry(c: Carry): void {
    this.#beats = c.integer('run.beats', this.#beats, 0, 2 ** 45)
    this.#seen = c.integer('run.seen', this.#seen, 0, openingBeats)
    this.#known = c.integer('run.known', this.#known, 0, 2 ** 45)
    this.#even = c.integer('run.even', this.#even, 0, 2 ** 45)
    this.#isTold = c.integer('run.is-told', this.#isTold, 0, 1)
    this.#isFast = c.integer('run.is-fast', this.#isFast, 0, 1)
    c.integers('run.shapes', this.#shapes, -1, 100)
    c.numbers('run.logits', this.#logits, -logitMost, logitMost)
    c.integers('run.intervals', this.#intervals, 0, 1e15)
  }
}

/** Puts a value at the end; the first one falls out. */
function append(values: Float64Array, value: number): void {
  values.copyWithin(0, 1)
  values[values.length - 1] = value
}
