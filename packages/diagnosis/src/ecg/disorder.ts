/**
 * Says whether beats can be told from noise. A heart repeats itself: nearly every beat resembles one seen before, in fibrillation and with extra beats too.
 * Movement of the electrodes does not. Where many beats in a row resemble nothing, they are not to be believed.
 */
import type { Carry } from './state.ts'

const weight = 0.125
/** A beat that resembles nothing counts as much as one that resembles its shape by half. */
const likenessLeast = 0.5
const disorderOn = 0.22
const disorderOff = 0.14
/** Below this the beats are steady; what follows the last such beat is doubted when disorder is found. */
const disorderNone = 0.1

/** One instance per lead. */
export class DisorderMeter {
  #level = 0
  #on = 0
  #steadyTick = 0

  /** True while the beats cannot be told from noise. */
  get isOn(): boolean {
    return this.#on === 1
  }

  /** Tick of the last beat that was beyond doubt. */
  get steadyTick(): number {
    return this.#steadyTick
  }

  /** Takes a beat's likeness to the shape that it joined; 0 when it began a new one. */
  push(tick: number, likeness: number): void {
    this.#level += weight * (1 - Math.max(likenessLeast, likeness) - this.#level)
    if (this.#level > disorderOn) this.#on = 1
    else if (this.#level < disorderOff) this.#on = 0
    if (this.#level < disorderNone) this.#steadyTick = tick
  }

  /** Forgets: what happens up to `tick` has a name, fibrillation, and is no noise. */
  restart(tick: number): void {
    this.#level = 0
    this.#on = 0
    this.#steadyTick = tick
  }

  /** @see Carry */
  carry(c: Carry): void {
    this.#level = c.number('disorder.level', this.#level, 0, 1)
    this.#on = c.integer('disorder.on', this.#on, 0, 1)
    this.#steadyTick = c.integer('disorder.steady-tick', this.#steadyTick, 0, 2 ** 45)
  }
}
