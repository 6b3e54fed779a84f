/**
 * Ed25519 signatures under keys that come again and again (SPEC.md §1): with tables of a key's multiples 28 of 252 doublings are left. It
 * only confirms; whatever it does not confirm, the caller's other implementation judges.
 */
import { Equation, togetherMax } from './equation.ts'

/** Keys that have tables at once, in each thread: up to 31.5 MB. */
export const knownKeysMax = 4096
/** A key is made known when it was seen so often, at first: tables cost as much as one signature and spare four fifths of each. */
export const sightingsMin = 16
/** Then tables that never are of use take one hundredth of the time that OpenSSL takes. */
const sightingsMax = 256

/** A key that has tables. */
export interface KnownKey {
  /** False once its tables were given to another key. */
  readonly isKnown: boolean
}

/** A signature of 64 bytes over a message, under a key that is known. */
export interface KnownClaim {
  readonly key: KnownKey
  readonly signature: Uint8Array
  readonly message: Uint8Array
}

class Slot implements KnownKey {
  readonly publicKey: Uint8Array
  readonly index: number
  /** Where its tables are; -1 once they are another key's. */
  tables: number
  /** Signatures confirmed. */
  useCount = 0
  /** Since the hand came by. */
  isUsed = true
  constructor(publicKey: Uint8Array, index: number, tables: number) {
    this.publicKey = publicKey
    this.index = index
    this.tables = tables
  }
  get isKnown(): boolean {
    return this.tables >= 0
  }
}

/** The known keys of one thread. */
export class KnownKeys {
  readonly #equation: Equation
  readonly #max: number
  readonly #slots: Slot[] = []
  #hand = 0
  #sightingsNeeded = sightingsMin

  /**
   * @param sha512 - The digest as a text of 64 characters below 256.
   * @returns undefined where the platform lacks vectors with a fused multiply-add.
   */
  static create(sha512: (input: Uint8Array) => string, max = knownKeysMax): KnownKeys | undefined {
    const equation = Equation.create(sha512, max)
    return equation && new KnownKeys(equation, max)
  }

  private constructor(equation: Equation, max: number) {
    this.#equation = equation
    this.#max = max
  }

  /** How often a key should have been seen before it is made known: more often if tables had to go before they were worth it. */
  get sightingsNeeded(): number {
    return this.#sightingsNeeded
  }

  /**
   * Makes a key known, if need be in place of one that was not used for long.
   *
   * @param publicKey - 32 bytes.
   * @returns undefined if they do not encode a point (RFC 8032 §5.1.3); what they do encode may be of any order.
   */
  add(publicKey: Uint8Array): KnownKey | undefined {
    const point = this.#equation.decode(publicKey)
    if (point === undefined) return undefined
    const index = this.#slots.length < this.#max ? this.#slots.length : this.#leastUsed()
    const former = this.#slots[index]
    if (former !== undefined) former.tables = -1
    const slot = new Slot(publicKey, index, this.#equation.placeOf(index))
    this.#slots[index] = slot
    this.#equation.writeKey(slot.tables, point)
    return slot
  }

  /** Whose tables go: those of the first that was not used since the hand came by. */
  #leastUsed(): number {
    for (;;) {
      const slot = this.#slots[this.#hand] as Slot
      this.#hand = (this.#hand + 1) % this.#max
      if (!slot.isUsed) {
        const needed = slot.useCount < sightingsMin ? 2 * this.#sightingsNeeded : this.#sightingsNeeded / 2
        this.#sightingsNeeded = Math.min(Math.max(needed, sightingsMin), sightingsMax)
        return slot.index
      }
      slot.isUsed = false
    }
  }

  /** True for each claim that holds; false says nothing. Several at once cost less than one by one. */
  confirm(claims: readonly KnownClaim[]): boolean[] {
    const confirmed: boolean[] = []
    for (let from = 0; from < claims.length; from += togetherMax) {
      const some = claims.slice(from, from + togetherMax)
      const held = this.#equation.holds(
        some.map(({ key, signature, message }) => {
          const { tables, publicKey } = key as Slot
          return { tables, publicKey, signature, message }
        }),
      )
      for (const [i, isHeld] of held.entries()) {
        confirmed.push(isHeld)
        if (!isHeld) continue
        const slot = some[i]?.key as Slot
        slot.useCount++
        slot.isUsed = true
      }
    }
    return confirmed
  }
}
