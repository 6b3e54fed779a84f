import type { Section } from './coefficients.ts'
import type { Carry } from './state.ts'

const stateMax = 1e12

/** One second-order section, transposed direct form II. */
export class Filter {
  readonly #section: Section
  #first = 0
  #second = 0

  constructor(section: Section) {
    this.#section = section
  }

  /** Filters one value. */
  push(value: number): number {
    const [b0, b1, b2, a1, a2] = this.#section
    const out = b0 * value + this.#first
    this.#first = b1 * value - a1 * out + this.#second
    this.#second = b2 * value - a2 * out
    return out
  }

  /** Settles the section as if `value` had been there for ever, so that a stream does not begin with a step. */
  settle(value: number): number {
    const [b0, b1, b2, a1, a2] = this.#section
    const out = (value * (b0 + b1 + b2)) / (1 + a1 + a2)
    this.#second = b2 * value - a2 * out
    this.#first = b1 * value - a1 * out + this.#second
    return out
  }

  /** @see Carry */
  carry(c: Carry): void {
    this.#first = c.number('filter.first', this.#first, -stateMax, stateMax)
    this.#second = c.number('filter.second', this.#second, -stateMax, stateMax)
  }
}
