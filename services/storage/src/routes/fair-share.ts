import { byteText } from '@healthblock/encoding/bytes'

/**
 * What all accounts have of something at once, and each: at most a limit together, and one alone at most half of it. So one
 * account that begins much and ends nothing leaves the others theirs.
 */
export class FairShare {
  readonly #max: number
  #taken = 0
  /** By account; those that have nothing are not here. */
  readonly #byAccount = new Map<string, number>()

  /** @param max - of all accounts together. */
  constructor(max: number) {
    this.#max = max
  }

  /** True if an account may have so much more. */
  has(account: Uint8Array, amount: number): boolean {
    return this.#ownWith(byteText(account), amount) !== undefined
  }

  /** Takes some for an account; false if that is too much. {@link give} must follow. */
  take(account: Uint8Array, amount: number): boolean {
    const name = byteText(account)
    const own = this.#ownWith(name, amount)
    if (own === undefined) return false
    this.#taken += amount
    this.#byAccount.set(name, own)
    return true
  }

  /** Gives back what was taken. */
  give(account: Uint8Array, amount: number): void {
    const name = byteText(account)
    const left = (this.#byAccount.get(name) ?? 0) - amount
    this.#taken -= amount
    if (left > 0) this.#byAccount.set(name, left)
    else this.#byAccount.delete(name)
  }

  /** What an account has with so much more; undefined if that is too much. */
  #ownWith(name: string, amount: number): number | undefined {
    const own = (this.#byAccount.get(name) ?? 0) + amount
    return this.#taken + amount <= this.#max && own <= this.#max / 2 ? own : undefined
  }
}
