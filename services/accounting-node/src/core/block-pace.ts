/**
 * How many transactions a block may have so that the nodes decide it within a wanted time. A block costs something by itself, and
 * something for each transaction; both follow from the last blocks, the newest first. Where the block itself takes so long that little
 * of the wanted time is left, blocks take longer: else the nodes would do nothing but decide.
 */

/** Each block makes those before it count so much less. */
const kept = 0.95
/** What a transaction may take, ms: beyond these the measurement is of something else. */
const eachMsMin = 0.02
const eachMsMax = 5
/** Before blocks of different sizes show it: what a transaction takes, and at least such a part of a block. */
const eachMsFirst = 0.6
const eachPartFirst = 0.04
/** Sizes of blocks that differ so little, by their variance, say nothing about a transaction. */
const varianceMin = 16
/** A block that takes more than so many times what was expected was held up by something else, and counts as so long. */
const expectedTimesMax = 2

/** The measure of one leader's blocks. */
export class BlockPace {
  readonly #sum = { weight: 0, count: 0, ms: 0, countSquared: 0, countMs: 0 }
  #eachMs = eachMsFirst
  #blockMs = 0
  /** True once blocks of different sizes were seen. */
  #isKnown = false

  /** A block of `count` transactions was decided `tookMs` after it was proposed. */
  measure(count: number, tookMs: number): void {
    const sum = this.#sum
    const expectedMs = this.#blockMs + this.#eachMs * count
    const ms = this.#isKnown ? Math.min(tookMs, expectedTimesMax * expectedMs) : tookMs
    sum.weight = sum.weight * kept + 1
    sum.count = sum.count * kept + count
    sum.ms = sum.ms * kept + ms
    sum.countSquared = sum.countSquared * kept + count * count
    sum.countMs = sum.countMs * kept + count * ms
    const [meanCount, meanMs] = [sum.count / sum.weight, sum.ms / sum.weight]
    const variance = sum.countSquared / sum.weight - meanCount * meanCount
    if (variance >= varianceMin) {
      const slope = (sum.countMs / sum.weight - meanCount * meanMs) / variance
      this.#eachMs = Math.min(eachMsMax, Math.max(eachMsMin, slope))
      this.#isKnown = true
    } else if (!this.#isKnown) this.#eachMs = Math.max(eachMsFirst, eachPartFirst * meanMs)
    // A transaction takes no more than its part of a block that is nothing else.
    this.#eachMs = Math.max(eachMsMin, Math.min(this.#eachMs, meanMs / meanCount))
    this.#blockMs = Math.max(0, meanMs - this.#eachMs * meanCount)
  }

  /** How many transactions are decided within `wantedMs`, or within `timesBlock` times what a block takes by itself if that is longer. */
  countIn(wantedMs: number, timesBlock: number): number {
    const left = Math.max(wantedMs - this.#blockMs, (timesBlock - 1) * this.#blockMs)
    return Math.floor(left / this.#eachMs)
  }
}
