import type { Section } from './coefficients.ts'
import type { Carry } from './state.ts'

const stateMax = 1e12

/** One second-order section, transposed direct form II. */
export class Filter {
  readonly #b0: number
  readonly #b1: number
  readonly #b2: number
  readonly #a1: number
  readonly #a2: number
  #first = 0
  #second = 0

  constructor(section: Section) {
    // Fields, not the table: they are read once per section and tick.
    this.#b0 = section[0]
    this.#b1 = section[1]
    this.#b2 = section[2]
    this.#a1 = section[3]
    this.#a2 = section[4]
  }

  /** Filters one value. */
  push(value: number): number {
    const out = this.#b0 * value + this.#first
    this.#first = this.#b1 * value - this.#a1 * out + this.#second
    this.#second = this.#b2 * value - this.#a2 * out
    return out
  }

  /** Settles the section as if `value` had been there for ever, so that a stream does not begin with a step. */
  settle(value: number): number {
    const out = (value * (this.#b0 + this.#b1 + this.#b2)) / (1 + this.#a1 + this.#a2)
    this.#second = this.#b2 * value - this.#a2 * out
    this.#first = this.#b1 * value - this.#a1 * out + this.#second
    return out
  }

  /** @see Carry */
  carry(c: Carry): void {
    this.#first = c.number('filter.first', this.#first, -stateMax, stateMax)
    this.#second = c.number('filter.second', this.#second, -stateMax, stateMax)
  }
}
