/**
 * Beats of one shape vote together: a beat is judged by its own measures and by how the beats of the same shape were judged before it. So the
 * classifier adapts to the patient without being told anything about her.
 */
import type { Carry } from './state.ts'

const countMax = 100
/** Logits beyond this, in thousandths, count as this in the mean. */
const logitMax = 4000
/** Weight of the mean over the beat's own logit, and beats after which the mean has half of it. */
const voteWeight = 1.5
const voteHalf = 3

/** Beats of one shape from which it is known: noise seldom repeats itself so often. */
export const knownShapeBeats = 3

/** A logit as it counts in the mean of a shape. */
export const boundLogit = (logit: number): number => Math.min(logitMax, Math.max(-logitMax, logit))

/** The logit that counts: a beat's own, and the mean of `count` other beats of its shape. */
export const voteOf = (logit: number, mean: number, count: number): number =>
  logit + (voteWeight * mean * count) / (count + voteHalf)

/** Means of the logits of each shape, in thousandths. */
export class ShapeVotes {
  readonly #means: Float64Array
  readonly #counts: Float64Array

  constructor(shapes: number) {
    this.#means = new Float64Array(shapes)
    this.#counts = new Float64Array(shapes)
  }

  /** Number of shapes. */
  get size(): number {
    return this.#means.length
  }

  /** Takes a beat's logit and its shape (`isNew` when the shape begins with it); returns the logit that counts. */
  push(shape: number, isNew: boolean, logit: number): number {
    if (isNew) this.#means[shape] = this.#counts[shape] = 0
    const mean = this.#means[shape] as number
    const count = this.#counts[shape] as number
    this.#means[shape] = (mean * count + boundLogit(logit)) / (count + 1)
    this.#counts[shape] = Math.min(countMax, count + 1)
    return voteOf(logit, mean, count)
  }

  /** Mean of the logits of a shape, in thousandths; 0 for a new one. */
  meanOf(shape: number): number {
    return this.#means[shape] as number
  }

  /** Beats of a shape that were seen, at most a hundred. */
  countOf(shape: number): number {
    return this.#counts[shape] as number
  }

  /** @see Carry */
  carry(c: Carry): void {
    c.numbers('votes.means', this.#means, -logitMax, logitMax)
    c.numbers('votes.counts', this.#counts, 0, countMax)
  }
}
