/** What the sequence of beats says: rate, rhythm, pauses. Knows beats only, never samples. */
import { Irregularity } from './irregularity.ts'
import type { Carry } from './state.ts'
import { type RunBeat, VentricularRun } from './ventricular-run.ts'

/** Class of a beat: normal, supraventricular, ventricular, fusion of both, made by a pacemaker or not classified. */
export type BeatSymbol = 'N' | 'S' | 'V' | 'F' | 'Q'

/**
 * WFDB texts without the parenthesis: normal, fibrillation, bigeminy, trigeminy, ventricular tachycardia, ventricular flutter, bradycardia,
 * idioventricular rhythm, supraventricular tachycardia, paced rhythm.
 */
export type Rhythm = 'N' | 'AFIB' | 'B' | 'T' | 'VT' | 'VFL' | 'SBR' | 'IVR' | 'SVTA' | 'P'

/** All rhythms, in the order of their place in a carried state. */
export const rhythms: readonly Rhythm[] = ['N', 'AFIB', 'B', 'T', 'VT', 'VFL', 'SBR', 'IVR', 'SVTA', 'P']
/** Intervals of which the rate is the mean. */
const rateBeats = 12
const historyMask = 0xffff
const slowBpm = 50
const runBpmMin = 100
/** Most that an interval of a supraventricular run differs from their mean, as a share of it: until it is told, and then. */
const evenShare = 0.08
const evenShareLater = 0.2
/** Beats of such a run: three early ones at much the same distance are frequent in fibrillation. */
const earlyBeatsMin = 4
/** Most of the last twelve intervals that are unlike the one before by this share, around such a run. */
const stepShare = 0.1
const stepsMask = 0xfff
const stepsMost = 4

/** Of the last eight beats so many are paced when that becomes the rhythm, and while it lasts. */
const pacedMask = 0xff
const pacedLeast = 6
const pacedLess = 3

/** What the shape of a beat says to the rhythm. */
export interface SeenBeat extends Omit<RunBeat, 'isVentricular'> {
  /** Supraventricular logit. */
  supraventricular: number
}

/** Running state of the rhythm of one lead. */
export class RhythmTracker {
  readonly #irregularity = new Irregularity()
  /** Over all intervals, those at ventricular beats too: what is measured of a beat must not depend on how others were classed. */
  readonly #all = new Irregularity()
  readonly #intervals = new Float64Array(rateBeats)
  #beats = 0
  /** Last sixteen beats, newest in bit 0: 1 = ventricular. */
  #history = 0
  /** Last eight beats, newest in bit 0: 1 = made by a pacemaker. */
  #paced = 0
  readonly #run = new VentricularRun()
  /** Supraventricular beats in a row, and ms from the first to the last. */
  #early = 0
  #earlyMs = 0
  /** The last interval, and of the last twelve which were unlike the one before, newest in bit 0. */
  #lastMs = 0
  #steps = 0
  #rhythm = 0
  /** Usual RR interval in ms; 0 = not known. */
  usual = 0
  /** Usual RR interval over some minutes, in ms; 0 = not known. */
  usualLong = 0
  /** Heart rate in 1/min over the last twelve intervals; 0 = not known. */
  rate = 0
  /** Irregularity of the rhythm, larger in atrial fibrillation. */
  score = 0

  get rhythm(): Rhythm {
    return rhythms[this.#rhythm] as Rhythm
  }

  /** Irregularity of the last intervals, 0 to 1, whatever their rate. */
  get spread(): number {
    return this.#all.share
  }

  /** The same over about the last seventeen; undefined while too few are known. */
  get spreadNow(): number | undefined {
    return this.#all.shareNow
  }

  /** True while the intervals look like atrial fibrillation. */
  get isIrregular(): boolean {
    return this.#irregularity.isAf
  }

  /**
   * Takes a beat and the ms since the one before; 0 ms = no beat before that counts (start, or an unreadable stretch between).
   *
   * @param seen - what its shape says.
   */
  push(interval: number, symbol: BeatSymbol, seen: SeenBeat): Rhythm {
    const isVentricular = symbol === 'V'
    this.#history = ((this.#history << 1) | (isVentricular ? 1 : 0)) & historyMask
    this.#paced = ((this.#paced << 1) | (symbol === 'Q' ? 1 : 0)) & pacedMask
    this.#run.push(interval, { isVentricular, ...seen })
    // One that is told as early by its interval alone makes no run: such are frequent where fibrillation begins.
    const isEarly = symbol === 'S' && seen.supraventricular > 0 && interval > 0
    this.#steps =
      ((this.#steps << 1) | (this.#lastMs > 0 && !isLike(interval, this.#lastMs, stepShare) ? 1 : 0)) & stepsMask
    this.#lastMs = interval
    // A run is even: what is told early in uneven intervals is fibrillation that is not known yet.
    const most = this.#early < earlyBeatsMin ? evenShare : evenShareLater
    const isEven = this.#early < 2 || isLike(interval, this.#earlyMs / (this.#early - 1), most)
    this.#early = isEarly && isEven ? this.#early + 1 : isEarly ? 1 : 0
    this.#earlyMs = this.#early > 1 ? this.#earlyMs + interval : 0
    if (interval > 0) {
      this.#intervals[this.#beats % rateBeats] = interval
      this.#beats++
      this.#learn(interval)
      this.#all.push(interval)
      if (!isVentricular && !this.#afterVentricular()) this.score = this.#irregularity.push(interval)
    }
    this.#rhythm = rhythms.indexOf(this.#decide())
    return this.rhythm
  }

  /** True when the beat before the newest was ventricular: the interval then ends its pause. */
  #afterVentricular(): boolean {
    return (this.#history & 2) !== 0
  }

  /** Forgets the pattern of beats: the newest one follows a stretch that cannot be judged. */
  restart(): void {
    this.#history = 0
    this.#run.restart()
    this.#early = this.#earlyMs = this.#lastMs = 0
  }

  #learn(interval: number): void {
    if (this.#beats >= rateBeats) {
      let sum = 0
      for (const ms of this.#intervals) sum += ms
      this.rate = (60_000 * rateBeats) / sum
    }
    if (this.usual === 0) this.usual = this.usualLong = interval
    this.usual += 0.1 * bounded(interval - this.usual, 0.3 * this.usual)
    this.usualLong += Math.max(0.01, 1 / this.#beats) * bounded(interval - this.usualLong, 0.3 * this.usualLong)
  }

  #decide(): Rhythm {
    const run = this.#run.rhythm
    if (run !== undefined) return run
    const six = this.#history & 0x3f
    if (six === 0b101010 || six === 0b010101) return 'B'
    const nine = this.#history & 0x1ff
    if (nine === 0b100100100 || nine === 0b010010010 || nine === 0b001001001) return 'T'
    if (this.isIrregular) return 'AFIB'
    if (bitsOf(this.#paced) >= (this.rhythm === 'P' ? pacedLess : pacedLeast)) return 'P'
    const isRun = this.#early >= earlyBeatsMin && isFast(this.#early, this.#earlyMs)
    if (isRun && bitsOf(this.#steps) <= stepsMost) return 'SVTA'
    return this.rate > 0 && this.rate < slowBpm ? 'SBR' : 'N'
  }

  /** @see Carry */
  carry(c: Carry): void {
    this.#irregularity.carry(c)
    this.#all.carry(c)
    c.integers('rhythm.intervals', this.#intervals, 0, 1e6)
    this.#beats = c.integer('rhythm.beats', this.#beats, 0, 2 ** 45)
    this.#history = c.integer('rhythm.history', this.#history, 0, historyMask)
    this.#paced = c.integer('rhythm.paced', this.#paced, 0, pacedMask)
    this.#run.carry(c)
    this.#early = c.integer('rhythm.early', this.#early, 0, 2 ** 45)
    this.#earlyMs = c.number('rhythm.early-ms', this.#earlyMs, 0, 2 ** 50)
    this.#lastMs = c.number('rhythm.last-ms', this.#lastMs, 0, 1e15)
    this.#steps = c.integer('rhythm.steps', this.#steps, 0, stepsMask)
    this.#rhythm = c.integer('rhythm.rhythm', this.#rhythm, 0, rhythms.length - 1)
    this.usual = c.number('rhythm.usual', this.usual, 0, 1e6)
    this.usualLong = c.number('rhythm.usual-long', this.usualLong, 0, 1e6)
    this.rate = c.number('rhythm.rate', this.rate, 0, 1e6)
    this.score = c.number('rhythm.score', this.score, 0, 1e6)
  }
}

const bounded = (value: number, most: number) => Math.min(most, Math.max(-most, value))

/** True for two intervals that one focus may have made. */
const isLike = (a: number, b: number, most: number) => Math.abs(a - b) <= most * b

function bitsOf(value: number): number {
  let count = 0
  for (let rest = value; rest > 0; rest >>= 1) count += rest & 1
  return count
}

/** True for a run of beats, `ms` from the first to the last, at `runBpmMin` or more. */
const isFast = (beats: number, ms: number) => ms > 0 && ms <= ((beats - 1) * 60_000) / runBpmMin
