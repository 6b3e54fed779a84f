/** Which beats a pacemaker made: those that follow a spike at once, while spikes come again and again. A single spike is noise. */
import type { Carry } from './state.ts'

/** A spike lies so many ticks before the middle of the complex that it made: at most 152 ms, and at most 16 ms behind. */
const beforeTicks = 38
const behindTicks = 4
/** What is left of a spike is found at most so many ticks from it. */
const restTicks = 8
/** Of so many beats the newest so many follow a spike while a pacemaker is at work. */
const beatsMask = 0xff
const beatsLeast = 3
/** Spikes that are kept: two a beat, for the beats that the detector finds late. */
const spikesKept = 16

/** One instance per lead. */
export class PacedBeats {
  readonly #spikes = new Float64Array(spikesKept).fill(-1)
  #count = 0
  /** Last eight beats, newest in bit 0: 1 = after a spike. */
  #beats = 0

  /** Takes the tick of a spike; ticks may have fractions. */
  hear(tick: number): void {
    this.#spikes[this.#count % spikesKept] = tick
    this.#count++
  }

  /** True when a spike lies where something was taken for a beat: what is left of a spike lies there, and a beat that it made lies later. */
  isAt(tick: number): boolean {
    return this.#spikes.some((spike) => spike >= 0 && Math.abs(spike - tick) <= restTicks)
  }

  /** Takes the tick of the next beat; true when a pacemaker made it. */
  push(tick: number): boolean {
    const follows = this.#spikes.some(
      (spike) => spike >= 0 && spike >= tick - beforeTicks && spike <= tick + behindTicks,
    )
    this.#beats = ((this.#beats << 1) | (follows ? 1 : 0)) & beatsMask
    let paced = 0
    for (let rest = this.#beats; rest > 0; rest >>= 1) paced += rest & 1
    return follows && paced >= beatsLeast
  }

  /** @see Carry */
  carry(c: Carry): void {
    c.numbers('paced.spikes', this.#spikes, -1, 2 ** 46)
    this.#count = c.integer('paced.count', this.#count, 0, 2 ** 45)
    this.#beats = c.integer('paced.beats', this.#beats, 0, beatsMask)
  }
}
