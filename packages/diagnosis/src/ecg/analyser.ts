/**
 * The streaming ECG analyser: samples of one lead in, events out. Samples may come in pieces of any size, the events are those of one piece; its state is a
 * few kilobytes and can be carried from one run to the next without a change in any event. Arithmetic is + - * / sqrt, comparisons and whole
 * numbers, so that every engine gives the same events. See SPEC.md §2.
 */
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { DiagnosisError } from '../errors.ts'
import {
  type BeatLogits,
  type BeatTiming,
  boundVentricular,
  classifyBeat,
  featureCount,
  fillFeatures,
  isUsualBeat,
  lastFeatures,
  ratioOf,
  timingOf,
  weighBeat,
} from './beat.ts'
import { highPass1, lowPass40 } from './coefficients.ts'
import { shapeRing } from './complex.ts'
import { Detector } from './detector.ts'
import { DisorderMeter } from './disorder.ts'
import { Filter } from './filter.ts'
import { FlutterMeter } from './flutter.ts'
import { comesAsFusion, isFusion, likestMixture, type Mixture } from './fusion.ts'
import { MainsRemover } from './mains.ts'
import { PacedBeats } from './paced.ts'
import { type Quality, QualityMeter, qualityTicks } from './quality.ts'
import { Resampler, tickRate } from './resampler.ts'
import { type BeatSymbol, type Rhythm, RhythmTracker, rhythms } from './rhythm.ts'
import { type Shape, Shapes, shapeCount } from './shape.ts'
import { SpikeRemover } from './spikes.ts'
import { type Carry, StateReader, StateWriter } from './state.ts'
import { knownShapeBeats, ShapeVotes } from './vote.ts'

export type { Quality } from './quality.ts'
export { tickRate } from './resampler.ts'
export type { BeatSymbol, Rhythm } from './rhythm.ts'

/** Milliseconds of one tick. */
export const tickMs = 1000 / tickRate
/** Lowest and highest rate that the analyser takes, in thousandths of a hertz. */
export const rateMilliHzMin = 100_000
/** Highest sampling rate, in thousandths of a sample a second. */
export const rateMilliHzMax = 1_000_000
/** Most bytes of an encoded state. */
export const stateBytesMax = 8192

/** What the analyser tells. `tick` counts 4 ms from the first sample; events come in the order in which they are known. */
export type EcgEvent =
  | {
      type: 'beat'
      tick: number
      symbol: BeatSymbol
      /** The class that counts for rhythms: of a fusion the one that it would have if fusions were not told. */
      counted: BeatSymbol
      intervalMs: number
      rate: number
      score: number
      logits: BeatLogits
      /** True for a beat that resembles none before. */
      isNew: boolean
      /** Ventricular logit of the beat's own measures, the place of its shape among those that are kept, whether it is a usual beat on time, whether a pacemaker made it, and when it comes. */
      own: number
      shape: number
      isUsual: boolean
      isPaced: boolean
      timing: BeatTiming
      /** The beat as a mixture of the usual shape and a ventricular one, where it may be a fusion. */
      mixture: Mixture | undefined
      /** Of the complex in the 10 to 25 Hz band, microvolts. */
      size: number
    }
  | { type: 'rhythm'; tick: number; rhythm: Rhythm }
  | { type: 'quality'; tick: number; quality: Quality }
  | { type: 'silence'; tick: number; ms: number }

const ringMask = shapeRing - 1
const sampleMax = 32_000
/** Ticks by which the ring lags behind the middle of a complex as the detector tells it. */
const beatLag = 2
/** Silence after which a stretch without a beat is told, while the signal can be judged. */
const silenceTicks = 4 * tickRate
/** Most that the logit of a paced beat counts, thousandths. */
const pacedLogitMost = -2000
/** Size of a complex over the usual one below which it is what is left of a spike, when one lies there. */
const spikeRestMost = 0.5
/** Without a beat for so long a signal that swings is not judged. */
const blindTicks = 2 * tickRate
/** The first beat of a stream, within so many ticks, is one when it has this share of the size of the next. */
const headTicks = 125
const headSizeLeast = 0.5
/** How long a beat waits for the next one before it is told. */
const pendingTicks = 2 * tickRate

/** Settings that stay for the life of an analyser. */
export interface EcgSettings {
  /** Samples a second, in thousandths: 100,000 to 1,000,000. */
  rateMilliHz: number
}

/** One lead of one stream. */
export class EcgAnalyser {
  readonly rateMilliHz: number
  readonly #mains: MainsRemover
  readonly #spikes: SpikeRemover
  readonly #paced = new PacedBeats()
  readonly #resampler: Resampler
  readonly #quality = new QualityMeter()
  readonly #detector = new Detector()
  readonly #high = new Filter(highPass1)
  readonly #low = new Filter(lowPass40)
  readonly #ring = new Int16Array(shapeRing)
  readonly #shapes = new Shapes()
  readonly #votes = new ShapeVotes(shapeCount)
  readonly #rhythm = new RhythmTracker()
  readonly #flutter = new FlutterMeter()
  readonly #disorder = new DisorderMeter()
  #tick = 0
  #held = 0
  #lastBeat = -1
  /** Tick of the newest second that could not be judged; -1 = none. */
  #lastBad = -1
  /** The beat that waits for the next one: its tick (-1 = none waits), interval, size, slope and whether a pacemaker made it; then the features of the last one told. */
  #pendingTick = -1
  #pendingMs = 0
  #pendingSize = 0
  #pendingSlope = 0
  #pendingPaced = 0
  #features = new Float64Array(featureCount)
  #lastFeatures = new Float64Array(featureCount)
  #intervalBefore = 0
  #intervalBefore2 = 0
  #sizeLevel = 0
  /** Sees each beat's features, when it comes, and it as a mixture of the usual shape and another one; for the scripts that train. */
  onBeat:
    | ((tick: number, features: Float64Array, shape: Shape, timing: BeatTiming, mix: (k: number) => Mixture) => void)
    | undefined
  #told: Rhythm = 'N'
  #toldQuality: Quality = 'good'
  /** Where the last `quality` event lies. */
  #qualityTick = 0
  #events: EcgEvent[] = []

  /** @throws {DiagnosisError} `ERR_INPUT_INVALID` for a rate out of bounds. */
  constructor(settings: EcgSettings) {
    const { rateMilliHz } = settings
    if (!Number.isInteger(rateMilliHz) || rateMilliHz < rateMilliHzMin || rateMilliHz > rateMilliHzMax) {
      throw new DiagnosisError('rate is not from 100 to 1000 Hz', { code: 'ERR_INPUT_INVALID', field: 'rate' })
    }
    this.rateMilliHz = rateMilliHz
    this.#mains = new MainsRemover(rateMilliHz)
    this.#spikes = new SpikeRemover(rateMilliHz)
    this.#resampler = new Resampler(rateMilliHz)
  }

  /** Ticks seen so far. */
  get tick(): number {
    return this.#tick
  }

  /** What the last `quality` event said. */
  get quality(): Quality {
    return this.#toldQuality
  }

  /**
   * Takes samples in microvolts; NaN marks a missing one, and what is infinite is none.
   *
   * @returns the events that became known, oldest knowledge first.
   */
  push(microvolts: Float64Array | Float32Array | readonly number[]): EcgEvent[] {
    for (let i = 0; i < microvolts.length; i++) {
      const sample = microvolts[i] as number
      if (this.#spikes.push(this.#mains.push(Number.isFinite(sample) ? sample : Number.NaN)))
        this.#paced.hear((this.#spikes.spike * tickRate * 1000) / this.rateMilliHz)
      if (!this.#spikes.isFilled) continue
      const count = this.#resampler.push(this.#spikes.out)
      for (let k = 0; k < count; k++) this.#take(this.#resampler.out[k] as number)
    }
    const events = this.#events
    this.#events = []
    return events
  }

  #take(read: number): void {
    const isMissing = Number.isNaN(read)
    const value = isMissing ? this.#held : read
    this.#held = value
    const tick = this.#tick++
    const wide = tick === 0 ? this.#low.settle(this.#high.settle(value)) : this.#low.push(this.#high.push(value))
    this.#ring[tick & ringMask] = Math.round(Math.min(sampleMax, Math.max(-sampleMax, wide)))
    if (this.#detector.push(value)) this.#beat(this.#detector.beat.tick)
    if (this.#quality.push(value, isMissing)) this.#second(tick)
  }

  #beat(at: number): void {
    const tick = Math.max(0, at)
    const { size } = this.#detector.beat
    if (this.#paced.isAt(tick) && size < spikeRestMost * this.#sizeLevel) return
    if (this.#isHead(size)) this.#pendingTick = this.#lastBeat = -1
    this.#settlePending(tick)
    const isBad = this.#lastBad >= 0 && tick > this.#lastBad - qualityTicks
    if (isBad && (this.#toldQuality === 'missing' || this.#toldQuality === 'flat')) return
    const previous = this.#lastBeat
    // An interval that touches a stretch which cannot be judged is no interval.
    const isJoined = previous >= 0 && this.#lastBad < previous
    const intervalMs = isJoined ? (tick - previous) * tickMs : 0
    this.#lastBeat = tick
    this.#pendingTick = tick
    this.#pendingMs = intervalMs
    this.#pendingSize = size
    this.#pendingSlope = this.#detector.beat.slope
    this.#pendingPaced = this.#paced.push(tick) ? 1 : 0
  }

  /**
   * True when what waits is no beat but what the filters make of the first samples: a stream begins somewhere, and while no size is known everything is a beat.
   *
   * @param size - of the beat that came next.
   */
  #isHead(size: number): boolean {
    const isFirst = this.#pendingTick >= 0 && this.#pendingTick <= headTicks && this.#sizeLevel === 0
    return isFirst && this.#pendingSize < headSizeLeast * size
  }

  /** Tells the beat that waited for the interval after it; `next` = tick of the next beat, or now when none came for long. */
  #settlePending(next: number): void {
    const tick = this.#pendingTick
    if (tick < 0) return
    this.#pendingTick = -1
    const { spreadNow } = this.#rhythm
    const { features, shape } = this.#measure(tick, next)
    const timing = timingOf(features, spreadNow)
    this.#disorder.push(tick, shape.isNew ? 0 : shape.own)
    // Among beats that cannot be told from noise no interval counts.
    const intervalMs = this.#disorder.isOn ? 0 : this.#pendingMs
    const logits = weighBeat(features)
    const isPaced = this.#pendingPaced === 1
    // What a pacemaker made is wide, and is no ventricular beat; nor are beats that look like it.
    if (isPaced) logits.ventricular = Math.min(logits.ventricular, pacedLogitMost)
    const voted = this.#votes.push(shape.index, shape.isNew, logits.ventricular)
    const own = logits.ventricular
    const isUsual = isUsualBeat(features)
    logits.ventricular = boundVentricular(voted, this.#votes.meanOf(shape.index), isUsual)
    const { isNew, index } = shape
    const isDoubtful = this.#disorder.isOn && this.#votes.countOf(index) < knownShapeBeats
    const counted = isPaced ? 'Q' : classifyBeat(logits, { timing, isAlone: true, isWhole: false, isDoubtful })
    const mix = (k: number) => this.#shapes.mix(k)
    const mixture =
      !isPaced && comesAsFusion(features, timing === 'timely') ? likestMixture(index, this.#votes, mix) : undefined
    const fused = { count: this.#votes.countOf(index), mean: this.#votes.meanOf(index), mixture }
    const symbol = isFusion(logits.ventricular, fused) ? 'F' : counted
    const { ventricular: logit, supraventricular } = logits
    if (intervalMs > 0) this.#rhythm.push(intervalMs, counted, { isNew, shape: index, logit, supraventricular })
    else this.#rhythm.restart()
    const { rate, score } = this.#rhythm
    const beat = { type: 'beat', tick, symbol, counted, intervalMs, rate, score, logits, isNew } as const
    this.#events.push({ ...beat, own, shape: index, isUsual, isPaced, timing, mixture, size: this.#pendingSize })
    if (this.onBeat !== undefined) this.onBeat(tick, features, shape, timing, mix)
    this.#tellRhythm(tick)
  }

  /** Measures the beat that waited, now that `next` is known. */
  #measure(tick: number, next: number): { features: Float64Array; shape: Shape } {
    const { usual, usualLong, spread } = this.#rhythm
    const interval = this.#pendingMs
    const size = this.#pendingSize
    const nextMs = (next - tick) * tickMs
    const shape = this.#shapes.push(
      this.#ring,
      tick + beatLag,
      next - tick,
      ratioOf(interval, usual),
      ratioOf(nextMs, usual),
    )
    const times = {
      interval,
      before: this.#intervalBefore,
      before2: this.#intervalBefore2,
      next: nextMs,
      usual,
      usualLong,
    }
    const sizes = { size, slope: this.#pendingSlope, sizeLevel: this.#sizeLevel }
    const features = this.#lastFeatures
    this.#lastFeatures = this.#features
    this.#features = features
    fillFeatures(features, { ...times, ...sizes, spread }, shape, this.#lastFeatures)
    this.#sizeLevel =
      this.#sizeLevel === 0 ? size : this.#sizeLevel + (Math.min(size, 2 * this.#sizeLevel) - this.#sizeLevel) / 16
    this.#intervalBefore2 = this.#intervalBefore
    this.#intervalBefore = interval
    return { features, shape }
  }

  #second(tick: number): void {
    const signal = this.#quality.quality
    const wasOn = this.#flutter.isOn
    if (signal === 'good') this.#flutter.push(this.#ring, tick)
    else if (signal !== 'noisy') this.#flutter.restart()
    if (this.#flutter.isOn) this.#disorder.restart(tick)
    const isDisorder = signal === 'good' && this.#disorder.isOn && !this.#flutter.isLikely
    const isBlind = signal === 'good' && this.#quality.isSwinging && tick - this.#lastBeat >= blindTicks
    const quality = isDisorder || isBlind ? 'noisy' : signal
    if (quality !== 'good') this.#lastBad = tick
    if (quality !== this.#toldQuality) {
      const from = tick + 1 - qualityTicks
      // Disorder is known some beats after it began.
      const since = isDisorder ? Math.max(this.#qualityTick, Math.min(from, this.#disorder.steadyTick)) : from
      this.#toldQuality = quality
      this.#qualityTick = since
      this.#events.push({ type: 'quality', tick: since, quality })
    }
    if (this.#flutter.isOn !== wasOn) this.#tellRhythm(tick)
    if (this.#pendingTick >= 0 && tick - this.#pendingTick > pendingTicks) this.#settlePending(tick)
    this.#listen(tick)
  }

  /** Tells the last beat, which waits for one after it. For the end of a recording; a stream that goes on is never finished. */
  finish(): EcgEvent[] {
    this.#settlePending(this.#tick)
    const events = this.#events
    this.#events = []
    return events
  }

  /** Tells of a silence of the heart: signal that can be judged, and no beat in it. */
  #listen(tick: number): void {
    const since = Math.max(this.#lastBeat, this.#lastBad)
    if (since < 0 || tick - since < silenceTicks || this.#flutter.isOn) return
    this.#events.push({ type: 'silence', tick, ms: (tick - since) * tickMs })
  }

  #tellRhythm(tick: number): void {
    const rhythm = this.#flutter.isOn ? 'VFL' : this.#rhythm.rhythm
    if (rhythm === this.#told) return
    this.#told = rhythm
    this.#events.push({ type: 'rhythm', tick, rhythm })
  }

  /** The state as canonical CBOR {v, rate, state}, at most `stateBytesMax`; `parseEcgState` continues from it. */
  encodeState(): Uint8Array<ArrayBuffer> {
    const writer = new StateWriter()
    this.#carry(writer)
    return encodeCbor({ v: 1, rate: this.rateMilliHz, state: writer.finish() })
  }

  /** Takes over a state; only for a new analyser. */
  restore(state: Uint8Array): void {
    const reader = new StateReader(state)
    this.#carry(reader)
    reader.finish()
  }

  #carry(c: Carry): void {
    this.#mains.carry(c)
    this.#spikes.carry(c)
    this.#paced.carry(c)
    this.#resampler.carry(c)
    this.#quality.carry(c)
    this.#detector.carry(c)
    this.#high.carry(c)
    this.#low.carry(c)
    c.int16('ring', this.#ring)
    this.#shapes.carry(c)
    this.#votes.carry(c)
    this.#rhythm.carry(c)
    this.#flutter.carry(c)
    this.#disorder.carry(c)
    this.#tick = c.integer('tick', this.#tick, 0, 2 ** 45)
    this.#held = c.number('held', this.#held, -1e9, 1e9)
    this.#lastBeat = c.integer('last-beat', this.#lastBeat, -1, 2 ** 45)
    this.#lastBad = c.integer('last-bad', this.#lastBad, -1, 2 ** 45)
    for (const index of lastFeatures)
      this.#features[index] = c.number('features', this.#features[index] as number, -1e9, 1e9)
    this.#pendingTick = c.integer('pending-tick', this.#pendingTick, -1, 2 ** 45)
    this.#pendingMs = c.number('pending-ms', this.#pendingMs, 0, 1e15)
    this.#pendingSize = c.number('pending-size', this.#pendingSize, 0, 1e9)
    this.#pendingSlope = c.number('pending-slope', this.#pendingSlope, 0, 1e9)
    this.#pendingPaced = c.integer('pending-paced', this.#pendingPaced, 0, 1)
    this.#intervalBefore = c.number('interval-before', this.#intervalBefore, 0, 1e15)
    this.#intervalBefore2 = c.number('interval-before-2', this.#intervalBefore2, 0, 1e15)
    this.#sizeLevel = c.number('size-level', this.#sizeLevel, 0, 1e9)
    this.#told = pick(c, 'told', rhythms, this.#told)
    this.#qualityTick = c.integer('quality-tick', this.#qualityTick, 0, 2 ** 45)
    this.#toldQuality = pick(c, 'told-quality', qualityNames, this.#toldQuality)
  }
}

const qualityNames: readonly Quality[] = ['good', 'missing', 'flat', 'railed', 'noisy']

function pick<T>(c: Carry, field: string, names: readonly T[], value: T): T {
  return names[c.integer(field, names.indexOf(value), 0, names.length - 1)] as T
}

/**
 * Continues from an encoded state.
 *
 * @throws {DiagnosisError} `ERR_STATE_INVALID` with the field that is missing, too long or out of range.
 */
export function parseEcgState(bytes: Uint8Array): EcgAnalyser {
  const wrong = (field: string, cause?: unknown) =>
    new DiagnosisError(`carried state: ${field} is malformed`, { code: 'ERR_STATE_INVALID', field }, { cause })
  if (bytes.length > stateBytesMax) throw wrong('size')
  let value: ReturnType<typeof decodeCbor>
  try {
    value = decodeCbor(bytes)
  } catch (cause) {
    throw wrong('cbor', cause)
  }
  if (typeof value !== 'object' || Array.isArray(value) || value instanceof Uint8Array) throw wrong('map')
  const { v, rate, state } = value
  if (v !== 1 || Object.keys(value).length !== 3) throw wrong('v')
  if (typeof rate !== 'number' || rate < rateMilliHzMin || rate > rateMilliHzMax) throw wrong('rate')
  if (!(state instanceof Uint8Array)) throw wrong('state')
  const analyser = new EcgAnalyser({ rateMilliHz: rate })
  analyser.restore(state)
  return analyser
}
