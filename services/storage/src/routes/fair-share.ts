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
    const own = this.#byAccount.get(nameOf(account)) ?? 0
    return this.#taken + amount <= this.#max && own + amount <= this.#max / 2
  }

  /** Takes some for an account; false if that is too much. {@link give} must follow. */
  take(account: Uint8Array, amount: number): boolean {
    if (!this.has(account, amount)) return false
    const name = nameOf(account)
    this.#taken += amount
    this.#byAccount.set(name, (this.#byAccount.get(name) ?? 0) + amount)
    return true
  }

  /** Gives back what was taken. */
  give(account: Uint8Array, amount: number): void {
    const name = nameOf(account)
    const left = (this.#byAccount.get(name) ?? 0) - amount
    this.#taken -= amount
    if (left > 0) this.#byAccount.set(name, left)
    else this.#byAccount.delete(name)
  }
}

function nameOf(account: Uint8Array): string {
  return Buffer.from(account.buffer, account.byteOffset, account.length).toString('latin1')
}
