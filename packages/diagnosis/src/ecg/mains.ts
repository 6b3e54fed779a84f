/**
 * Takes the hum of the mains out of a lead, at 50 and 60 Hz and at any rate. Each tenth of a second (five and six periods) gives the phase and size of the hum in the signal less its mean
 * half a period before and after, where complexes are small; the median over five of them is what complexes do not move. Only what keeps its size and phase over a
 * second is hum, and is subtracted; how its phase turns tells by how much the mains differ from their name. A lead without hum passes unchanged. The idea of taking the hum from
 * where the heart is quiet is that of Levkov et al. 2005, "Removal of power-line interference from the ECG: a review of the subtraction procedure".
 */
import type { Carry } from './state.ts'

const lowHertz = 50
const highHertz = 60
const blocksASecond = 10
/** Blocks of a median, and blocks that are kept: two medians. */
const medianBlocks = 5
const keptBlocks = 2 * medianBlocks
/** Least size of hum, microvolts: until it is taken out, and then. */
const sizeOn = 20
const sizeOff = 12
/** Most that the size differs between the two medians, and the least cosine of the turn between them (0.33 Hz away). */
const sizeShare = 0.35
const turnCosine = 0.5
/** Of the kept blocks so many lie within this share of the size of where they should. */
const nearShare = 0.4
const nearLeast = 6
/** Least square of the size of such a block, with room for rounding. */
const nearSquareLeast = 0.99 * (1 - nearShare) * sizeOn * (1 - nearShare) * sizeOn
/** For so many blocks it is still taken out when it is not found: a beat or a movement hides it. */
const holdBlocks = 3
/** Half a period between the two, in periods a second: a mean of neighbours so far away is the opposite of both hums. */
const halfHertz = 110
const microvoltsMax = 1_000_000
const ringSize = 32
const ringMask = ringSize - 1
/** Below this determinant, over that of a whole period, sine and cosine are alike at the samples of a block: hum at half the rate has one phase only. */
const determinantLeast = 0.05

/** Cosine and sine of a part of a turn, 0 to 1, from series that every engine computes alike. */
export function turnOf(part: number): { cosine: number; sine: number } {
  const x = (2 * Math.PI * part) / 16
  const square = x * x
  let [cosine, sine] = [0, 0]
  for (let n = 16; n >= 2; n -= 2) {
    cosine = (1 - cosine) * (square / (n * (n - 1)))
    sine = (1 - sine) * (square / (n * (n + 1)))
  }
  cosine = 1 - cosine
  sine = x * (1 - sine)
  for (let i = 0; i < 4; i++) [cosine, sine] = [cosine * cosine - sine * sine, 2 * cosine * sine]
  return { cosine, sine }
}

/** Hum of one frequency: what is found in the open block, in those before, and what is subtracted. */
class Hum {
  /** Cosine and sine at the samples of a block, from its first one on. */
  readonly #cosineAt: Float64Array
  readonly #sineAt: Float64Array
  /** Turn from one block to the next. */
  readonly #blockTurn: { cosine: number; sine: number }
  /** Turn from the middle of the three samples to the newest, with the gain of that measure taken out. */
  readonly #back: { cosine: number; sine: number }
  /** Least squares: from the sums of a block to multiples of cosine and sine. */
  readonly #solve: { square: number; cross: number; other: number }
  /** Found in the kept blocks: multiples of cosine and sine; and where the oldest of them stands, which the next one replaces. */
  readonly #cosines = new Float32Array(keptBlocks)
  readonly #sines = new Float32Array(keptBlocks)
  #oldest = 0
  /** Where the open block begins. */
  #phaseCosine = 1
  #phaseSine = 0
  #cosineSum = 0
  #sineSum = 0
  /** What is subtracted, its turn from block to block, and the same from the begin of the open block on. */
  #outCosine = 0
  #outSine = 0
  #turnCosine = 1
  #turnSine = 0
  #ownCosine = 0
  #ownSine = 0
  #held = 0

  constructor(hertz: number, rate: number, half: number, count: number) {
    const turns = Array.from({ length: count + 1 }, (_, i) => turnOf(((hertz * i) / rate) % 1))
    this.#cosineAt = Float64Array.from(turns, ({ cosine }) => cosine)
    this.#sineAt = Float64Array.from(turns, ({ sine }) => sine)
    this.#blockTurn = turns[count] as { cosine: number; sine: number }
    const back = turnOf((hertz * half) / rate)
    const scale = 2 / (1 - back.cosine)
    this.#back = { cosine: back.cosine * scale, sine: back.sine * scale }
    this.#solve = leastSquares(turns.slice(0, count))
  }

  /** Size of what is subtracted, microvolts; 0 = nothing. */
  get size(): number {
    return this.#held === 0 ? 0 : Math.sqrt(this.#outCosine * this.#outCosine + this.#outSine * this.#outSine)
  }

  /** Takes the newest measure, sample `i` of its block, and tells the hum there. */
  push(measure: number, i: number): number {
    const cosine = this.#cosineAt[i] as number
    const sine = this.#sineAt[i] as number
    this.#cosineSum += measure * cosine
    this.#sineSum += measure * sine
    return this.#held === 0 ? 0 : this.#ownCosine * cosine + this.#ownSine * sine
  }

  /** Ends a block; `isKnown` is false when one of its samples is missing. */
  endBlock(isKnown: boolean): void {
    const { square, cross, other } = this.#solve
    const a = square * this.#cosineSum + cross * this.#sineSum
    const b = cross * this.#cosineSum + other * this.#sineSum
    const p = a * this.#back.cosine + b * this.#back.sine
    const q = b * this.#back.cosine - a * this.#back.sine
    this.#cosines[this.#oldest] = isKnown ? p * this.#phaseCosine - q * this.#phaseSine : 0
    this.#sines[this.#oldest] = isKnown ? p * this.#phaseSine + q * this.#phaseCosine : 0
    this.#oldest = (this.#oldest + 1) % keptBlocks
    this.#cosineSum = this.#sineSum = 0
    const { cosine, sine } = this.#blockTurn
    const [x, y] = [
      this.#phaseCosine * cosine - this.#phaseSine * sine,
      this.#phaseCosine * sine + this.#phaseSine * cosine,
    ]
    const length = Math.sqrt(x * x + y * y)
    this.#phaseCosine = x / length
    this.#phaseSine = y / length
    this.#decide()
    this.#placeOut()
  }

  /** What is subtracted, from the begin of the open block on. */
  #placeOut(): void {
    this.#ownCosine = this.#outCosine * this.#phaseCosine + this.#outSine * this.#phaseSine
    this.#ownSine = this.#outSine * this.#phaseCosine - this.#outCosine * this.#phaseSine
  }

  /** True when so few blocks have the size of what lies near the least hum that there is none: so it is in most leads, and the rest need not be asked. */
  #isQuiet(): boolean {
    let count = 0
    for (let i = 0; i < keptBlocks; i++) {
      const cosine = this.#cosines[i] as number
      const sine = this.#sines[i] as number
      if (cosine * cosine + sine * sine >= nearSquareLeast) count++
    }
    return count < nearLeast
  }

  #decide(): void {
    if (this.#held === 0 && this.#isQuiet()) return
    const older = this.#oldest
    const newer = older + medianBlocks
    const [a, b] = [medianFrom(this.#cosines, older), medianFrom(this.#sines, older)]
    const [c, d] = [medianFrom(this.#cosines, newer), medianFrom(this.#sines, newer)]
    const before = Math.sqrt(a * a + b * b)
    const now = Math.sqrt(c * c + d * d)
    const turn = { cosine: a * c + b * d, sine: a * d - b * c }
    const isSteady =
      Math.min(before, now) >= (this.#held > 0 ? sizeOff : sizeOn) &&
      Math.abs(before - now) <= sizeShare * now &&
      turn.cosine >= turnCosine * before * now
    if (isSteady) {
      // A fifth of the turn, as it is for small ones: the medians lie five blocks apart.
      const share = turn.sine / (turn.cosine * medianBlocks)
      const length = Math.sqrt(1 + share * share)
      this.#turnCosine = 1 / length
      this.#turnSine = share / length
      if (this.#countNear(c, d, nearShare * now) >= nearLeast) {
        this.#held = holdBlocks + 1
        this.#outCosine = c
        this.#outSine = d
        // The middle of the newer median lies three blocks before that of the next block.
        for (let i = 0; i < 3; i++) this.#turnOut()
        return
      }
    }
    this.#held = Math.max(0, this.#held - 1)
    if (this.#held === 0) this.#outCosine = this.#outSine = 0
    else this.#turnOut()
  }

  #turnOut(): void {
    const out = this.#outCosine
    this.#outCosine = out * this.#turnCosine - this.#outSine * this.#turnSine
    this.#outSine = out * this.#turnSine + this.#outSine * this.#turnCosine
  }

  /** Kept blocks that lie near where the newer median, turned back or on to their time, says. */
  #countNear(cosine: number, sine: number, most: number): number {
    let count = 0
    // From the oldest block on: the newer median is the value of the block before the last two.
    let [x, y] = [cosine, sine]
    for (let i = 0; i < keptBlocks - 3; i++)
      [x, y] = [x * this.#turnCosine + y * this.#turnSine, y * this.#turnCosine - x * this.#turnSine]
    for (let i = 0; i < keptBlocks; i++) {
      const at = (this.#oldest + i) % keptBlocks
      const [p, q] = [(this.#cosines[at] as number) - x, (this.#sines[at] as number) - y]
      if (p * p + q * q <= most * most) count++
      ;[x, y] = [x * this.#turnCosine - y * this.#turnSine, y * this.#turnCosine + x * this.#turnSine]
    }
    return count
  }

  /** @see Carry */
  carry(c: Carry): void {
    for (const values of [this.#cosines, this.#sines])
      for (let i = 0; i < keptBlocks; i++) values[i] = c.single('mains.blocks', values[i] as number, -1e8, 1e8)
    this.#oldest = c.integer('mains.oldest', this.#oldest, 0, keptBlocks - 1)
    this.#phaseCosine = c.number('mains.phase-cosine', this.#phaseCosine, -2, 2)
    this.#phaseSine = c.number('mains.phase-sine', this.#phaseSine, -2, 2)
    this.#cosineSum = c.number('mains.cosine-sum', this.#cosineSum, -1e12, 1e12)
    this.#sineSum = c.number('mains.sine-sum', this.#sineSum, -1e12, 1e12)
    this.#held = c.integer('mains.held', this.#held, 0, holdBlocks + 1)
    this.#outCosine = c.number('mains.out-cosine', this.#outCosine, -1e9, 1e9)
    this.#outSine = c.number('mains.out-sine', this.#outSine, -1e9, 1e9)
    this.#turnCosine = c.number('mains.turn-cosine', this.#turnCosine, -1, 1)
    this.#turnSine = c.number('mains.turn-sine', this.#turnSine, -1, 1)
    this.#placeOut()
  }
}

/** One instance per lead and stretch of samples. */
export class MainsRemover {
  readonly #half: number
  readonly #blockSamples: number
  readonly #low: Hum
  readonly #high: Hum
  readonly #ring = new Float32Array(ringSize)
  #count = 0
  #inBlock = 0
  /** Of the open block so many measures touch a missing sample. */
  #unknown = 0

  /** @param rateMilliHz - from 100,000 to 1,000,000. */
  constructor(rateMilliHz: number) {
    const rate = rateMilliHz / 1000
    this.#half = Math.max(1, Math.round(rate / halfHertz))
    this.#blockSamples = Math.round(rate / blocksASecond)
    const humOf = (hertz: number) => new Hum(hertz, rate, this.#half, this.#blockSamples)
    this.#low = humOf(lowHertz)
    this.#high = humOf(highHertz)
  }

  /** Takes a sample in microvolts, NaN when missing, and returns it without hum. */
  push(sample: number): number {
    const value = Math.min(microvoltsMax, Math.max(-microvoltsMax, sample))
    const newest = this.#count++
    const half = this.#half
    this.#ring[newest & ringMask] = value
    const left = this.#ring[(newest - 2 * half) & ringMask] as number
    const measured = (this.#ring[(newest - half) & ringMask] as number) - (left + Math.fround(value)) / 2
    const isKnown = newest >= 2 * half && measured - measured === 0
    if (!isKnown) this.#unknown++
    const measure = isKnown ? measured / 2 : 0
    const i = this.#inBlock++
    const hum = this.#low.push(measure, i) + this.#high.push(measure, i)
    if (i + 1 === this.#blockSamples) this.#endBlock()
    return value - hum
  }

  #endBlock(): void {
    this.#low.endBlock(this.#unknown === 0)
    this.#high.endBlock(this.#unknown === 0)
    this.#inBlock = this.#unknown = 0
  }

  /** Size of the hum that is subtracted now, microvolts. */
  get size(): number {
    return this.#low.size + this.#high.size
  }

  /** @see Carry */
  carry(c: Carry): void {
    this.#count = c.integer('mains.count', this.#count, 0, 2 ** 45)
    this.#inBlock = c.integer('mains.in-block', this.#inBlock, 0, this.#blockSamples - 1)
    this.#unknown = c.integer('mains.unknown', this.#unknown, 0, this.#blockSamples)
    for (let i = 1; i <= Math.min(this.#count, 2 * this.#half); i++) {
      const at = (this.#count - i) & ringMask
      const value = this.#ring[at] as number
      const read = c.single('mains.ring', Number.isNaN(value) ? missing : value, -missing, missing)
      this.#ring[at] = read === missing ? Number.NaN : read
    }
    this.#low.carry(c)
    this.#high.carry(c)
  }
}

/** What stands for a missing sample in a carried state: a power of two, which a single holds. */
const missing = 2 ** 40

/** The inverse of the sums of cosine times cosine, cosine times sine, and sine times sine. */
function leastSquares(turns: readonly { cosine: number; sine: number }[]) {
  let [square, cross] = [0, 0]
  for (const { cosine, sine } of turns) {
    square += cosine * cosine
    cross += cosine * sine
  }
  const count = turns.length
  const determinant = square * (count - square) - cross * cross
  if (4 * determinant < determinantLeast * count * count) return { square: 1 / square, cross: 0, other: 0 }
  return { square: (count - square) / determinant, cross: -cross / determinant, other: square / determinant }
}

/** Median of the five values from a place on, the first ones following the last. */
function medianFrom(values: Float32Array, from: number): number {
  const at = (i: number) => values[(from + i) % keptBlocks] as number
  const [a, b, c, d, e] = [at(0), at(1), at(2), at(3), at(4)]
  // Of the first four neither the least nor the greatest: their middle two and the fifth decide.
  const [low, high] = [Math.max(Math.min(a, b), Math.min(c, d)), Math.min(Math.max(a, b), Math.max(c, d))]
  return Math.max(Math.min(low, high), Math.min(Math.max(low, high), e))
}
