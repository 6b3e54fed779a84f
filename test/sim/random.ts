import { seededRandom } from '../support/seeded-random.ts'

/** All chance of one run, from one seed. */
export class Random {
  readonly #next: () => number

  constructor(seed: number) {
    // Neighbouring seeds shall have nothing in common.
    this.#next = seededRandom(Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995)
    this.#next()
  }

  /** From 0 up to, not with, 1. */
  unit(): number {
    return this.#next()
  }

  /** From `least` up to, not with, `most`. */
  between(least: number, most: number): number {
    return least + (most - least) * this.#next()
  }

  /** A whole number from 0 up to, not with, `count`. */
  below(count: number): number {
    return Math.floor(this.#next() * count)
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return probability > 0 && this.#next() < probability
  }

  /** One of them. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T
  }

  /** One of the names, each as often as its weight says. */
  weighted<T extends string>(weights: Readonly<Partial<Record<T, number>>>): T {
    const entries = Object.entries(weights) as [T, number][]
    let left = this.#next() * entries.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [name, weight] of entries) {
      left -= weight
      if (left < 0) return name
    }
    return (entries[entries.length - 1] as [T, number])[0]
  }

  /** In another order. */
  shuffled<T>(items: readonly T[]): T[] {
    const result = [...items]
    for (let i = result.length - 1; i > 0; i--) {
      const j = this.below(i + 1)
      ;[result[i], result[j]] = [result[j] as T, result[i] as T]
    }
    return result
  }
}
